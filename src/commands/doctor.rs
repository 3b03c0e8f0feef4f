//! `doctor`: tries each step of a poll for real, and says of each whether it works, and if not why and what to
//! do. Takes nothing away from a running exporter: it signs in without a new refresh token, and leaves the state
//! directory as it is.

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;
use serde::Serialize;
use tokio::time::timeout;

use crate::commands::cli::{DoctorFlags, ReportFormat};
use crate::commands::lifecycle::EXIT_FAILED;
use crate::config::{Account, Config};
use crate::domain::clock::Clock;
use crate::domain::status::{Endpoint, Ledger};
use crate::partner::hints::LOGIN;
use crate::partner::{Claims, FetchError, PartnerCenter, ServerCertificate, TokenStore, UsageSource as _};

/// What became of one step.
#[derive(Serialize)]
struct Finding {
    /// Absent where the step is about the configuration as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    step: &'static str,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase", tag = "outcome")]
enum Outcome {
    Ok { detail: String },
    Failed { cause: String, remedy: String },
    Skipped { detail: String },
}

pub(super) async fn run(flags: DoctorFlags) -> anyhow::Result<ExitCode> {
    let mut report = Report { format: flags.format, account: None, findings: Vec::new() };
    let source = super::check::source(&flags.config);
    match source.load(&super::environment) {
        Err(error) => {
            let cause = format!("{:#}", anyhow::Error::new(error));
            report.add("configuration", failed(cause, "mend it; `check` looks at nothing else"))?;
        }
        Ok(config) => {
            let chosen = match flags.account.as_deref() {
                None => config.accounts.iter().collect(),
                name => vec![super::choose(&config, name)?],
            };
            report.add("configuration", ok(format!("{source} is valid")))?;
            for account in chosen {
                report.account = Some(account.display_name().to_owned());
                examine(account, &config, &mut report).await?;
            }
        }
    }
    report.finish()
}

async fn examine(account: &Account, config: &Config, report: &mut Report) -> anyhow::Result<()> {
    let directory = &config.state_directory;
    let store = TokenStore::read_only(directory, account);
    let found = match writable(directory) {
        Ok(true) => state(directory, &store),
        // Made by the doctor, it could belong to somebody else than the exporter.
        Ok(false) => skipped(format!("{} is not there yet; the exporter makes it", directory.display())),
        Err(cause) => {
            let remedy = "make the directory and give it to the exporter's user, as systemd does with \
                          StateDirectory=, and run the doctor as that user";
            return report.add("state_directory", failed(cause, remedy));
        }
    };
    report.add("state_directory", found)?;
    // Nobody reads this one.
    let ledger = Ledger::new(None, Arc::default());
    let clock = Clock::system();
    let center = match PartnerCenter::new(account, store, &ledger, &clock, config.poll_timeout) {
        Ok(center) => center.without_rotation(),
        Err(error) => {
            let cause = format!("{:#}", anyhow::Error::new(error));
            let remedy = "check ca_file, proxy_url and the system's trust store";
            return report.add("http_client", failed(cause, remedy));
        }
    };
    let [mut sign_in_answers, mut api_answers] = [false; 2];
    for (endpoint, base, [name, answer], answers) in [
        (
            Endpoint::Token,
            &account.cloud.login_base_url,
            ["resolve_sign_in", "reach_sign_in"],
            &mut sign_in_answers,
        ),
        (Endpoint::Usage, &account.cloud.api_base_url, ["resolve_api", "reach_api"], &mut api_answers),
    ] {
        let resolved = resolve(base, account).await;
        let outcome = match &resolved {
            Outcome::Failed { .. } => skipped("its name is not known".to_owned()),
            _ => match center.reach(endpoint).await {
                Ok(certificate) => ok(verdict(base, certificate.as_ref(), clock.now())),
                Err(error) => failure(&error),
            },
        };
        *answers = matches!(outcome, Outcome::Ok { .. });
        report.add(name, resolved)?;
        report.add(answer, outcome)?;
    }
    if !sign_in_answers {
        return report.add("sign_in", skipped("the sign-in service does not answer".to_owned()));
    }
    let late = |_| Err(FetchError::deadline(config.poll_timeout));
    match timeout(config.poll_timeout, center.claims()).await.unwrap_or_else(late) {
        Err(error) => return report.add("sign_in", failure(&error)),
        Ok(claims) => {
            let detail = "an access token was issued; the refresh token stays as it is";
            report.add("sign_in", ok(detail.to_owned()))?;
            for (step, outcome) in judge(claims.as_ref(), account) {
                report.add(step, outcome)?;
            }
        }
    }
    if !api_answers {
        return report.add("usage", skipped("the API does not answer".to_owned()));
    }
    let late = |_| Err(FetchError::deadline(config.poll_timeout));
    let usage = match timeout(config.poll_timeout, center.fetch()).await.unwrap_or_else(late) {
        Ok(usage) => {
            let (rows, rejected) = (usage.rows().len(), usage.rejected().values().sum::<u64>());
            let why = if rows == 0 { EMPTY } else { "" };
            ok(format!("{rows} rows, {rejected} dropped{why}"))
        }
        Err(error) => failure(&error),
    };
    report.add("usage", usage)?;
    let compliant = match ledger.read().credentials.mfa_compliant {
        Some(true) => ok("Partner Center calls the sign-in compliant".to_owned()),
        Some(false) => failed("Partner Center calls the sign-in not compliant".to_owned(), LOGIN),
        None => skipped("Partner Center did not say".to_owned()),
    };
    report.add("mfa_compliance", compliant)
}

/// Whether a directory is there. If it is not, it can be made, or else the error says why not.
fn writable(directory: &Path) -> Result<bool, String> {
    let is_there = directory.exists();
    let there = directory.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    // A file that vanishes again.
    match tempfile::NamedTempFile::new_in(there) {
        Ok(_) => Ok(is_there),
        Err(error) if is_there => Err(format!("cannot write to {}: {error}", directory.display())),
        Err(error) => {
            let (directory, there) = (directory.display(), there.display());
            Err(format!("{directory} is not there, and {there} cannot be written: {error}"))
        }
    }
}

/// What is in a directory that can be written.
fn state(directory: &Path, store: &TokenStore) -> Outcome {
    let directory = directory.display();
    if let Err(error) = store.check_lock() {
        return failed(error.to_string(), "put state_directory on a file system with locks (flock)");
    }
    match store.has_token() {
        Ok(true) => ok(format!("{directory} can be written, and has a refresh token")),
        Ok(false) => ok(format!("{directory} can be written, and has no refresh token yet")),
        Err(error) => failed(
            error.to_string(),
            "check cloud; if that is right, sign in with `partner-license-exporter login`",
        ),
    }
}

/// Nobody but Partner Center knows which.
const EMPTY: &str =
    ": there is no usage to report, or none that the signed-in user's role in Partner Center may see";

async fn resolve(base: &str, account: &Account) -> Outcome {
    const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    const LIMIT: Duration = Duration::from_secs(10);
    let by_proxy =
        account.proxy_url.is_some() || PROXIES.into_iter().any(|name| super::environment(name).is_some());
    let url = Url::parse(base).ok();
    let host = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    let Some((host, port)) = host else { return failed(format!("{base} has no host"), "check the address") };
    let host = host.trim_matches(['[', ']']);
    if host.parse::<IpAddr>().is_ok() {
        return ok(format!("{host} is an address"));
    }
    // Plain http, which is on this machine, goes through no proxy.
    if by_proxy && base.starts_with("https:") {
        return skipped(format!("{host}: there is a proxy, which may do it"));
    }
    match timeout(LIMIT, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.map(|address| address.ip().to_string()).collect();
            ok(format!("{host} is {}", addresses.join(", ")))
        }
        Ok(Err(error)) => failed(format!("{host}: {error}"), "check the name and the system's DNS"),
        Err(_) => failed(format!("{host}: no answer within 10 s"), "check the system's DNS"),
    }
}

/// What a service showed of itself by answering.
fn verdict(base: &str, certificate: Option<&ServerCertificate>, now: Timestamp) -> String {
    let Some(certificate) = certificate else {
        let without = if base.starts_with("https:") { "" } else { ", without TLS" };
        return format!("{base} answers{without}");
    };
    let days = certificate.not_after.duration_since(now).as_hours() / 24;
    format!(
        "{base} answers; its certificate is trusted: subject {}, issuer {}, until {} ({days} days left)",
        certificate.subject, certificate.issuer, certificate.not_after
    )
}

/// What the claims mean for Partner Center.
fn judge(claims: Option<&Claims>, account: &Account) -> Vec<(&'static str, Outcome)> {
    let Some(claims) = claims else {
        let detail = "the access token cannot be looked into".to_owned();
        return vec![("claims", skipped(detail))];
    };
    let unknown = || "not said".to_owned();
    let audience = claims.audience.clone().unwrap_or_else(unknown);
    let user = claims.user.clone().unwrap_or_else(unknown);
    let tenant = claims.tenant.clone().unwrap_or_else(unknown);
    vec![
        (
            "audience",
            if claims.is_for(&account.cloud) {
                ok(format!("the token is for {audience}"))
            } else {
                failed(
                    format!("the token is for {audience}, not for {}", account.cloud.api_base_url),
                    "check cloud, or api_base_url if the cloud is custom",
                )
            },
        ),
        (
            "user",
            if claims.is_delegated() {
                ok(format!("{user} of tenant {tenant}, with {}", claims.scopes.join(" ")))
            } else {
                let roles = claims.roles.join(" ");
                failed(
                    format!("the token is the application's own, not a user's (roles: {roles})"),
                    "sign in as a user with `partner-license-exporter login`",
                )
            },
        ),
        (
            "mfa_claim",
            match (claims.has_mfa(), &claims.methods) {
                (Some(true), Some(methods)) => ok(format!("the user signed in with {}", methods.join(" "))),
                (_, Some(methods)) => {
                    failed(format!("the user signed in with {} only", methods.join(" ")), LOGIN)
                }
                (_, None) => skipped("the token does not say how the user signed in".to_owned()),
            },
        ),
        (
            "access_token",
            claims.expires_at.map_or_else(
                || skipped("the token does not say when it ends".to_owned()),
                |end| ok(format!("ends at {end}")),
            ),
        ),
    ]
}

fn ok(detail: String) -> Outcome {
    Outcome::Ok { detail }
}

fn failed(cause: String, remedy: &str) -> Outcome {
    Outcome::Failed { cause, remedy: remedy.to_owned() }
}

fn skipped(detail: String) -> Outcome {
    Outcome::Skipped { detail }
}

fn failure(error: &FetchError) -> Outcome {
    failed(format!("{}: {error}", error.reason().as_str()), error.remedy())
}

// === the report ===

struct Report {
    format: ReportFormat,
    /// The one that is examined.
    account: Option<String>,
    findings: Vec<Finding>,
}

/// For machines. Steps are added with time; names and meaning of those that are there stay.
#[derive(Serialize)]
struct Document<'a> {
    well: bool,
    findings: &'a [Finding],
}

impl Report {
    /// People see each finding when it is made, machines all of them at the end.
    fn add(&mut self, step: &'static str, outcome: Outcome) -> anyhow::Result<()> {
        if self.format == ReportFormat::Text {
            let place = self.account.as_ref().map_or_else(String::new, |account| format!("{account}: "));
            super::say(&match &outcome {
                Outcome::Ok { detail } => format!("ok       {place}{step}: {detail}"),
                Outcome::Failed { cause, remedy } => {
                    format!("FAILED   {place}{step}: {cause}\n         what to do: {remedy}")
                }
                Outcome::Skipped { detail } => format!("skipped  {place}{step}: {detail}"),
            })?;
        }
        self.findings.push(Finding { account: self.account.clone(), step, outcome });
        Ok(())
    }

    fn finish(self) -> anyhow::Result<ExitCode> {
        let failures =
            self.findings.iter().filter(|finding| matches!(finding.outcome, Outcome::Failed { .. })).count();
        match self.format {
            ReportFormat::Json => {
                let document = Document { well: failures == 0, findings: &self.findings };
                super::say(&serde_json::to_string_pretty(&document)?)?;
            }
            ReportFormat::Text if failures == 0 => super::say("\nAll is well.")?,
            ReportFormat::Text => {
                let plural = if failures == 1 { "" } else { "s" };
                super::say(&format!("\n{failures} step{plural} failed."))?;
            }
        }
        Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
    }
}
