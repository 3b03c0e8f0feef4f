//! `demo`: runs the exporter on top of the simulator, in one process, with nothing to configure.
//!
//! The set-up is a real one: a configuration file, tokens on disk, HTTP in between. Everything but `--history` is
//! written to a temporary directory that is removed at the end.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::SignedDuration;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::watch;

use exporter_toolkit::listen::ListenError;
use exporter_toolkit::negotiation::Format;
use exporter_toolkit::web_config::WebConfig;
use partner_center_simulator::Scenario;

use crate::commands::backfill::{Past, days};
use crate::commands::cli::DemoFlags;
use crate::commands::history::{Figures, History};
use crate::commands::lifecycle::Lifecycle;
use crate::commands::simulate::{self, TENANT_ID, account};
use crate::commands::{loopback, new_file, output, serve, settings};
use crate::config::ConfigSource;
use crate::domain::clock::{Clock, unix_seconds};
use crate::domain::collection::Collection;
use crate::domain::shard::Shard;
use crate::domain::status::Ledger;
use crate::metrics::{MetricsSnapshot, OwnMetrics, Selection};
use crate::partner::{PartnerCenter, TokenStore, TrustAnchors, Turns};

/// The tenant whose values move. It has all collections, and only the commercial source.
const PORTFOLIO_TENANT_ID: &str = "00000000-0000-0000-0000-00000000f011";
const PORTFOLIO_COLLECTIONS: &str =
    "    collections: { deployment: { enabled: true }, customers: { enabled: true } }\n";
/// A threshold that mutes one row, and prices of all products but one, so that the demonstration shows what both look like.
const PORTFOLIO_SETTINGS: &str = "\
thresholds:
  overrides:
    - { service: o365, workload: OneDrive, channel: direct, mute: true }
prices:
  - { product: OFFICE 365 PLAN E1, per_month: 9.40, currency: EUR }
  - { product: OFFICE 365 PLAN E2, per_month: 21.60, currency: EUR }
  - { product: DYNAMICS 365 PLAN 1, per_month: 60.50, currency: EUR }
";

/// Enough for dashboards that look back a month, and a day to open them.
const DAYS_OF_HISTORY: u32 = 31;

pub(super) async fn run(flags: DemoFlags) -> anyhow::Result<ExitCode> {
    let lifecycle = Lifecycle::new()?;
    let web_config = settings::web_config(&flags.web.access)?;
    let listener = bind(&flags.listen_address, "--web.listen-address")?;
    let simulator = bind(&flags.simulator_address, "--simulator.listen-address")?;
    let (address, simulator_address) = (listener.local_addr()?, simulator.local_addr()?.to_string());

    let directory = tempfile::tempdir().context("cannot create a temporary directory")?;
    let config = directory.path().join("config.yml");
    fs::write(&config, configuration(&flags, directory.path(), &simulator_address))
        .with_context(|| format!("cannot write {}", config.display()))?;

    // A PUT replaces the whole scenario, so both commands repeat its rows.
    let (scenario, failure, note) = if flags.documented {
        (
            "{rows: documented}".to_owned(),
            "{usage: {answer: forbidden}, rows: documented}".to_owned(),
            "The rows are those of Microsoft's documentation.",
        )
    } else {
        let portfolio = |usage| {
            format!(
                "tenants: {{{PORTFOLIO_TENANT_ID}: {{rows: portfolio, {usage}deployment: {{answer: not_found}}}}}}"
            )
        };
        (
            format!("{{{}}}", portfolio("usage: {answer: not_found}, ")),
            format!("{{usage: {{answer: forbidden}}, {}}}", portfolio("")),
            "The values of the account `portfolio` are made up and move. `documented` has the rows of Microsoft's \
             documentation.",
        )
    };
    simulate::start(simulator, Scenario::parse(&scenario)?, &lifecycle)?;
    let scheme = if web_config.as_ref().is_some_and(WebConfig::has_tls) { "https" } else { "http" };
    output::print(&format!(
        "A simulated Partner Center and the exporter on top of it. Nothing leaves this machine.\n\n  \
         status page   {scheme}://{address}/\n  \
         metrics       {scheme}://{address}{}\n  \
         simulator     http://{simulator_address}/\n\n\
         {note}\n\n\
         To cause a failure, and then end it:\n  \
         curl -X PUT -d '{failure}' http://{simulator_address}/simulator/scenario\n  \
         curl -X PUT -d '{scenario}' http://{simulator_address}/simulator/scenario\n\n\
         Stop with Ctrl+C.\n",
        flags.web.telemetry_path
    ))?;
    let source = ConfigSource::File(config.clone());
    let (snapshots, own) =
        serve::start(source, Shard::default(), vec![listener], web_config, flags.web, &lifecycle)?;
    let mut running = pin!(lifecycle.run());
    if let Some(file) = &flags.history {
        tokio::select! {
            code = &mut running => return Ok(code),
            written = write_history(file, &config, address.to_string(), snapshots, own) => written?,
        }
    }
    Ok(running.await)
}

/// Writes the configuration: both accounts, or with `--documented` the one whose rows Microsoft documents.
fn configuration(flags: &DemoFlags, directory: &Path, simulator_address: &str) -> String {
    let (settings, accounts) = if flags.documented {
        ("", account(None, simulator_address, TENANT_ID))
    } else {
        let portfolio = account(Some("portfolio"), simulator_address, PORTFOLIO_TENANT_ID);
        let documented = account(Some("documented"), simulator_address, TENANT_ID);
        (PORTFOLIO_SETTINGS, portfolio + PORTFOLIO_COLLECTIONS + &documented)
    };
    format!(
        "poll_interval: {}\nstate_directory: {}\n{settings}accounts:\n{accounts}",
        humantime::format_duration(flags.poll_interval),
        serde_json::Value::from(directory.join("state").display().to_string()),
    )
}

/// Writes a past of what a scrape of `instance` returns once all accounts were polled successfully.
async fn write_history(
    file: &Path,
    config: &Path,
    instance: String,
    mut snapshots: watch::Receiver<Arc<MetricsSnapshot>>,
    own: Arc<OwnMetrics>,
) -> anyhow::Result<()> {
    let complete = snapshots.wait_for(|snapshot| snapshot.is_complete()).await;
    let Ok(snapshot) = complete.map(|snapshot| Arc::clone(&snapshot)) else {
        // The program is stopping, and the caller ends this wait.
        return std::future::pending().await;
    };
    let figures = figures(config).await?;
    let end = unix_seconds(Clock::system().now()).floor();
    let cannot_write = || format!("cannot write {}", file.display());
    new_file::prepare(file).with_context(cannot_write)?;
    let written = new_file::replace(file, move |out| {
        let selection = Selection::everything();
        let own = own.encode(Format::Classic, &selection);
        let scrape = [snapshot.encode(Format::Classic, &selection), own].concat();
        let scrape = String::from_utf8(scrape).map_err(io::Error::other)?;
        let history = History {
            scrape: &scrape,
            figures: &figures,
            instances: &[&instance],
            end,
            days: DAYS_OF_HISTORY,
        };
        history.write(out)
    });
    written.await.with_context(cannot_write)?;
    output::print(&format!(
        "A made-up past is in {}, for promtool tsdb create-blocks-from openmetrics.",
        file.display()
    ))?;
    Ok(())
}

/// The figures of past days, which the simulator has of accounts with the commercial source alone.
async fn figures(config: &Path) -> anyhow::Result<Figures> {
    let config = ConfigSource::File(config.to_owned()).load(&settings::environment)?;
    let (clock, mut figures) = (Clock::system(), Figures::new());
    let today = clock.now().to_zoned(TimeZone::UTC).date();
    // The figures that were shown on the first day are some days older.
    let from = today.saturating_sub(SignedDuration::from_hours(24 * i64::from(DAYS_OF_HISTORY + 7)));
    for account in config.accounts.iter().filter(|account| account.tenant_id == PORTFOLIO_TENANT_ID) {
        let ledger = Ledger::new(account.name.clone(), Arc::default());
        let store = TokenStore::read_only(&config.state_directory, account);
        let (times, anchors) = ((config.poll_timeout, Duration::ZERO), TrustAnchors::default());
        let center =
            PartnerCenter::with_pace(account, store, &ledger, &clock, times, &anchors)?.without_rotation();
        let mut turn = Turns::default().take().await;
        for collection in Collection::ALL {
            let (account, pace) = (account.name.as_ref(), Duration::ZERO);
            let past = Past { center: &center, ledger: &ledger, account, collection, pace };
            for day in days(from, today) {
                let number = day.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24;
                let content = past.day(day, &mut turn).await?;
                for (series, value) in content.samples.iter().filter_map(|line| line.rsplit_once(' ')) {
                    figures.entry(series.to_owned()).or_default().insert(number, value.parse()?);
                }
            }
        }
    }
    Ok(figures)
}

/// Binds a loopback address. The error names the flag that changes the address.
fn bind(address: &str, flag: &str) -> anyhow::Result<TcpListener> {
    loopback::bind(address).map_err(|error| match error.downcast_ref() {
        Some(ListenError::Bind { .. }) => anyhow::anyhow!("{error}; choose another one with {flag}"),
        _ => error,
    })
}
