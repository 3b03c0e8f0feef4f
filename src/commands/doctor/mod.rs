//! `doctor`: tries each step of a poll for real, and reports whether it works, and if not, the cause and the remedy.
//!
//! A running exporter is not disturbed: the doctor signs in without a new refresh token and leaves the state directory
//! as it is.

mod claims;
mod network;
mod report;
mod state;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::time::timeout;

use crate::commands::cli::DoctorFlags;
use crate::commands::settings;
use crate::config::{Account, Config, Polled};
use crate::domain::clock::Clock;
use crate::domain::collection::Collected;
use crate::domain::row::Source;
use crate::domain::status::{Endpoint, Ledger};
use crate::domain::usage::EMPTY_REMEDY;
use crate::partner::hints::LOGIN;
use crate::partner::{FetchError, PartnerCenter, TokenStore, TrustAnchors, Turns};

use report::{Outcome, Report, failed, ok, skipped, warning};

pub(super) async fn run(flags: DoctorFlags) -> anyhow::Result<ExitCode> {
    let source = settings::source(&flags.config);
    let mut report = Report::new(flags.format, source.flags());
    match source.load(&settings::environment) {
        Err(error) => {
            let cause = format!("{:#}", anyhow::Error::new(error));
            let remedy = "correct it; `partner-license-exporter check` examines it alone";
            report.add("configuration", failed(cause, remedy))?;
        }
        Ok(config) => {
            let chosen = match flags.account.as_deref() {
                None => config.accounts.iter().collect(),
                name => vec![settings::account(&config, name)?],
            };
            report.add("configuration", ok(format!("{source} is valid")))?;
            for account in chosen {
                report.begin(account);
                examine(account, &config, &mut report).await?;
            }
        }
    }
    report.finish()
}

/// Examines one account in the order of a poll. A failure that makes the rest pointless ends the examination.
async fn examine(account: &Account, config: &Config, report: &mut Report) -> io::Result<()> {
    let store = TokenStore::read_only(&config.state_directory, account);
    match state::examine(config, &store) {
        Ok(outcome) => report.add("state_directory", outcome)?,
        Err(outcome) => return report.add("state_directory", outcome),
    }
    // Only the doctor reads this one.
    let ledger = Ledger::new(None, Arc::default());
    let clock = Clock::system();
    let center = match PartnerCenter::new(
        account,
        store,
        &ledger,
        &clock,
        config.poll_timeout,
        &TrustAnchors::default(),
    ) {
        Ok(center) => center.without_rotation(),
        Err(error) => {
            let error = FetchError::from(error);
            return report.add("http_client", failed(error.to_string(), error.remedy()));
        }
    };
    let mut answers = [false; 2];
    for (answers, (endpoint, base, [resolve, reach])) in answers.iter_mut().zip([
        (Endpoint::Token, &account.cloud.login_base_url, ["resolve_sign_in", "reach_sign_in"]),
        (Endpoint::Usage, &account.cloud.api_base_url, ["resolve_api", "reach_api"]),
    ]) {
        let resolved = network::resolve(base, account).await;
        let reached = if matches!(resolved, Outcome::Failed { .. }) {
            skipped("its name cannot be resolved")
        } else {
            center.reach(endpoint).await.map_or_else(Outcome::from, |certificate| {
                network::describe(base, certificate.as_ref(), clock.now())
            })
        };
        *answers = matches!(reached, Outcome::Ok { .. });
        report.add(resolve, resolved)?;
        report.add(reach, reached)?;
    }
    let [sign_in_answers, api_answers] = answers;

    if !sign_in_answers {
        return report.add("sign_in", skipped("the sign-in service does not answer"));
    }
    let late = |_| Err(FetchError::deadline(config.poll_timeout));
    match timeout(config.poll_timeout, center.claims()).await.unwrap_or_else(late) {
        Err(error) => return report.add("sign_in", error.into()),
        Ok((claims, ids)) => {
            let detail = "an access token was issued; the refresh token stays as it is";
            report.add("sign_in", ok(with_ids(detail, &ids)))?;
            for (step, outcome) in claims::examine(claims.as_ref(), account) {
                report.add(step, outcome)?;
            }
        }
    }
    for Polled { collection, timeout: limit, .. } in config.polled(account) {
        let outcome = if api_answers {
            let mut turn = Turns::default().take().await;
            let fetched = timeout(limit, center.fetch_with_ids(collection, &mut turn)).await;
            let fetched = fetched.unwrap_or_else(|_| Err(FetchError::deadline(limit)));
            fetched.map_or_else(Outcome::from, |(rows, ids)| collected(&rows, &ids))
        } else {
            skipped("the API does not answer")
        };
        report.add(collection.as_str(), outcome)?;
    }
    if !api_answers {
        return Ok(());
    }
    let compliance = match ledger.read().credentials.mfa_compliant {
        Some(true) => ok("Partner Center calls the sign-in compliant"),
        Some(false) => failed("Partner Center calls the sign-in not compliant", LOGIN),
        None => skipped("Partner Center did not say"),
    };
    report.add("mfa_compliance", compliance)
}

fn collected(collected: &Collected, ids: &[String]) -> Outcome {
    let (rows, rejected) = (collected.len(), collected.rejected().values().sum::<u64>());
    // If none of the rows can be used, the poll fails.
    if rows == 0 {
        warning(with_ids("the collection is empty", ids), EMPTY_REMEDY)
    } else {
        let source = match collected.source() {
            Source::Licenses => "",
            Source::Commercial => " from analytics/commercial",
        };
        ok(with_ids(&format!("{rows} rows{source}, {rejected} dropped"), ids))
    }
}

/// Appends the ids with which Microsoft's support finds the call.
fn with_ids(text: &str, ids: &[String]) -> String {
    if ids.is_empty() { text.to_owned() } else { format!("{text} ({})", ids.join(", ")) }
}
