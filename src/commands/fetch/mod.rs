//! `fetch`: polls a collection once, with the credentials of each account, and prints the rows.
//!
//! A running exporter is not disturbed: the sign-in asks for no new refresh token, and the state directory stays as it
//! is.

mod fetched;
mod document;
mod exposition;

use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use exporter_toolkit::negotiation::Format;
use jiff::Timestamp;
use tokio::time::{Instant, interval_at, timeout};

use crate::commands::cli::{FetchBy, FetchFlags, FetchFormat, Fetchable};
use crate::commands::lifecycle::EXIT_FAILED;
use crate::commands::{output, settings};
use crate::config::{Account, Config};
use crate::domain::clock::Clock;
use crate::domain::collection::{Collected, Collection};
use crate::domain::failure::Failure;
use crate::domain::status::Ledger;
use crate::metrics::{Accounts, Choices};
use crate::partner::{FetchError, PartnerCenter, Received, TokenStore, TrustAnchors, Turns, remedy};
use crate::state::pause::PauseFile;

use document::View;
use fetched::Fetched;

/// A poll that takes longer shows its progress, and then this often.
const PATIENCE: Duration = Duration::from_secs(1);
/// The characters of the line for that.
const LINE: usize = 75;

pub(super) async fn run(flags: FetchFlags) -> anyhow::Result<ExitCode> {
    let by_product = flags.by == FetchBy::Product;
    if by_product && flags.collection != Fetchable::Customers {
        anyhow::bail!("--by=product is about customers: use fetch customers --by=product");
    }
    if by_product && (flags.textfile.is_some() || flags.format == FetchFormat::Openmetrics) {
        anyhow::bail!("--by=product has no series: use --format=table, json or csv");
    }
    if let Some(file) =
        flags.textfile.as_deref().filter(|file| file.extension().is_none_or(|it| it != "prom"))
    {
        let better = file.with_extension("prom");
        anyhow::bail!(
            "--textfile: node_exporter reads files *.prom alone; use --textfile={}",
            better.display()
        );
    }
    let config = settings::source(&flags.config).load(&settings::environment)?;
    let chosen = match flags.account.as_deref() {
        None => config.accounts.iter().collect(),
        name => vec![settings::account(&config, name)?],
    };
    let collection = match flags.collection {
        Fetchable::Usage => Collection::Usage,
        Fetchable::Deployment => Collection::Deployment,
        Fetchable::Customers => Collection::Customers,
    };
    let (clock, mut ledgers, mut all) = (Clock::system(), Vec::new(), Vec::new());
    for account in chosen {
        let (ledger, began) = (Ledger::new(account.name.clone(), Arc::default()), Instant::now());
        ledger.write(|status| status.keeps_products = by_product);
        let outcome = poll(account, &config, collection, &ledger).await;
        let limits = account.collections.customers.limits;
        let failure = outcome.as_ref().err().cloned();
        let mut good = None;
        ledger.write(|status| {
            status.customers = limits;
            let interval = account.collections.interval_of(collection, config.poll_interval);
            status.track([(collection, interval)], false);
            let status = status.of_mut(collection);
            status.poll_ended(outcome, clock.now(), began.elapsed());
            good = status.last_good.as_ref().map(|good| Arc::clone(&good.report));
        });
        let outcome = failure.map_or_else(|| Ok(good.expect("the poll succeeded")), Err);
        ledgers.push(ledger);
        all.push(Fetched { account: account.name.as_ref().map(ToString::to_string), limits, outcome });
    }
    let fails = all.iter().any(|fetched| fetched.outcome.is_err());
    let accounts = Accounts {
        ledgers,
        stale_after: None,
        thresholds: config.thresholds.clone(),
        prices: config.prices.clone(),
        choices: Choices::default(),
    };
    let written = write(&flags, collection, &all, &accounts, clock.now());
    if let Err(error) = &written {
        output::print_error(error);
    }
    Ok(if fails || written.is_err() { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

/// Writes what was fetched, in the format and to the place that the flags say.
fn write(
    flags: &FetchFlags,
    collection: Collection,
    all: &[Fetched],
    accounts: &Accounts,
    now: Timestamp,
) -> anyhow::Result<()> {
    if let Some(file) = &flags.textfile {
        return exposition::write(file, accounts, now);
    }
    let view = View {
        collection,
        by_product: flags.by == FetchBy::Product,
        thresholds: &accounts.thresholds,
        prices: &accounts.prices,
    };
    if flags.format == FetchFormat::Csv {
        // CSV has no place for it.
        stderr().write_all(document::notes(all, &view, now).as_bytes()).ok();
    }
    output::print_pieces(|out| match flags.format {
        FetchFormat::Table => {
            let has_colour = stdout().is_terminal() && settings::environment("NO_COLOR").is_none();
            document::write_table(out, all, &view, has_colour, now)
        }
        FetchFormat::Csv => document::write_csv(out, all, &view),
        FetchFormat::Json => document::write_json(out, all, &view, now),
        FetchFormat::Openmetrics => {
            out.write_all(exposition::text(accounts, Format::OpenMetrics, now).as_bytes())
        }
    })?;
    Ok(())
}

/// Polls once. A failure is printed, with what to do.
async fn poll(
    account: &Account,
    config: &Config,
    collection: Collection,
    ledger: &Ledger,
) -> Result<Collected, Failure> {
    let store = TokenStore::read_only(&config.state_directory, account);
    let anchors = TrustAnchors::default();
    let limit = account.collections.timeout_of(collection, config.poll_timeout);
    let received = Arc::default();
    let fetched = async {
        let clock = Clock::system();
        if let Some(until) = PauseFile::new(&config.state_directory, account).until(clock.now()) {
            return Err(FetchError::paused(until, clock.now()));
        }
        let center = PartnerCenter::new(account, store, ledger, &clock, config.poll_timeout, &anchors)?;
        let mut turn = Turns::default().take().await;
        let center = center.without_rotation().counting(&received);
        let (collected, _) = center.fetch_with_ids(collection, &mut turn).await?;
        Ok(collected)
    };
    let outcome = with_progress(timeout(limit, fetched), collection, &received).await;
    let outcome = outcome.unwrap_or_else(|_| Err(FetchError::deadline(limit)));
    outcome.map_err(|error| {
        let (name, failure) = (account.display_name(), Failure::from(error));
        let remedy = remedy::of_failed_attempt(&failure, &account.command_flags);
        let reason = failure.reason.as_str();
        output::print_error(&anyhow!("account {name}: {reason}: {}\n  what to do: {remedy}", failure.text));
        Failure { remedy: remedy.into(), ..failure }
    })
}

/// Says on a terminal how many pages and rows have come, as soon as that takes long.
async fn with_progress<T>(work: impl Future<Output = T>, collection: Collection, received: &Received) -> T {
    let mut work = std::pin::pin!(work);
    let mut ticks = interval_at(Instant::now() + PATIENCE, PATIENCE);
    let mut has_shown = false;
    loop {
        tokio::select! { biased;
            outcome = &mut work => {
                if has_shown {
                    // Erases the line.
                    write!(stderr(), "\r{:LINE$}\r", "").ok();
                }
                return outcome;
            }
            _ = ticks.tick(), if stderr().is_terminal() => {
                has_shown = true;
                let text = format!("{}: {received}", collection.as_str());
                write!(stderr(), "\r{text:LINE$}").ok();
            }
        }
    }
}
