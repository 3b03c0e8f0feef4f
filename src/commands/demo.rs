//! `demo`: runs the exporter on top of the simulator, in one process, with nothing to configure.
//!
//! The set-up is a real one: a configuration file, tokens on disk, HTTP in between. Everything but `--history` is
//! written to a temporary directory that is removed at the end.

use std::fs;
use std::io::BufWriter;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::watch;

use exporter_toolkit::listen::ListenError;
use exporter_toolkit::negotiation::Format;
use exporter_toolkit::web_config::WebConfig;
use partner_center_simulator::Scenario;

use crate::commands::cli::DemoFlags;
use crate::commands::history::History;
use crate::commands::lifecycle::Lifecycle;
use crate::commands::simulate::{self, TENANT_ID, account};
use crate::commands::{loopback, output, serve, settings};
use crate::config::ConfigSource;
use crate::domain::clock::{Clock, unix_seconds};
use crate::metrics::{MetricsSnapshot, OwnMetrics, Selection};

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
    let (snapshots, own) =
        serve::start(ConfigSource::File(config), vec![listener], web_config, flags.web, &lifecycle)?;
    let mut running = pin!(lifecycle.run());
    if let Some(file) = &flags.history {
        tokio::select! {
            code = &mut running => {
                // The thread that writes the file is not waited for.
                drop(fs::remove_file(unfinished(file)));
                return Ok(code);
            }
            written = write_history(file, address.to_string(), snapshots, own) => written?,
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

/// Writes a made-up past of what a scrape of `instance` returns once all accounts were polled successfully.
async fn write_history(
    file: &Path,
    instance: String,
    mut snapshots: watch::Receiver<Arc<MetricsSnapshot>>,
    own: Arc<OwnMetrics>,
) -> anyhow::Result<()> {
    let complete = snapshots.wait_for(|snapshot| snapshot.is_complete()).await;
    let Ok(snapshot) = complete.map(|snapshot| Arc::clone(&snapshot)) else {
        // The program is stopping, and the caller ends this wait.
        return std::future::pending().await;
    };
    let (target, end) = (file.to_owned(), unix_seconds(Clock::system().now()).floor());
    let written = tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
        let selection = Selection::everything();
        let own = own.encode(Format::Classic, &selection);
        let scrape = String::from_utf8([snapshot.encode(Format::Classic, &selection), own].concat())?;
        let history = History { scrape: &scrape, instances: &[&instance], end, days: DAYS_OF_HISTORY };

        let directory = target.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create the directory {}", directory.display()))?;
        if fs::symlink_metadata(&target).is_ok_and(|there| !there.is_file()) {
            anyhow::bail!("it exists and is not a regular file");
        }
        // The file gets its name when it is complete, so that nobody reads a part of it.
        let new = unfinished(&target);
        let written = fs::File::create(&new).and_then(|file| {
            let mut out = BufWriter::new(file);
            history.write(&mut out)?;
            out.into_inner()?;
            fs::rename(&new, &target)
        });
        if written.is_err() {
            drop(fs::remove_file(&new));
        }
        Ok(written?)
    });
    written.await?.with_context(|| format!("cannot write {}", file.display()))?;
    output::print(&format!(
        "A made-up past is in {}, for promtool tsdb create-blocks-from openmetrics.",
        file.display()
    ))?;
    Ok(())
}

/// The name of the history while it is being written.
fn unfinished(history: &Path) -> PathBuf {
    history.with_added_extension("new")
}

/// Binds a loopback address. The error names the flag that changes the address.
fn bind(address: &str, flag: &str) -> anyhow::Result<TcpListener> {
    loopback::bind(address).map_err(|error| match error.downcast_ref() {
        Some(ListenError::Bind { .. }) => anyhow::anyhow!("{error}; choose another one with {flag}"),
        _ => error,
    })
}
