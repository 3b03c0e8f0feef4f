//! `demo`: the exporter on top of the simulator, in one process, with nothing to configure.
//!
//! It goes the way of a real set-up: a configuration file, tokens on disk, HTTP in between. Everything it
//! writes is in a temporary directory that vanishes with it.

use std::fs;
use std::io::BufWriter;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::watch;

use crate::commands::cli::DemoFlags;
use crate::commands::history::History;
use crate::commands::lifecycle::Lifecycle;
use crate::config::Source;
use crate::domain::clock::{Clock, unix_seconds};
use crate::exposition::{Exposition, Format, Selection};
use crate::metrics::{OwnMetrics, Page};
use exporter_toolkit::listen::ListenError;
use exporter_toolkit::web_config::WebConfig;
use partner_center_simulator::Scenario;

use super::loopback;
use super::simulate::{TENANT_ID, account};

/// The tenant of the livelier portfolio.
const PORTFOLIO_TENANT_ID: &str = "00000000-0000-0000-0000-00000000f011";
/// One row of it is muted, so that there is something to see of muted rows.
const PORTFOLIO_THRESHOLDS: &str =
    "thresholds:\n  overrides:\n    - { service: o365, workload: OneDrive, channel: direct, mute: true }\n";

/// Dashboards look back a month, and nobody takes more than a day to open them.
const DAYS_OF_HISTORY: u32 = 31;

pub(super) async fn run(flags: DemoFlags) -> anyhow::Result<ExitCode> {
    let lifecycle = Lifecycle::new()?;
    let web_config = super::serve::web_config(&flags.web.access)?;
    let listener = bind(&flags.listen_address, "--web.listen-address")?;
    let simulator = bind(&flags.simulator_address, "--simulator.listen-address")?;
    let (address, simulator_address) = (listener.local_addr()?, simulator.local_addr()?.to_string());

    let directory = tempfile::tempdir().context("cannot create a temporary directory")?;
    let (thresholds, accounts) = if flags.portfolio {
        let documented = account(Some("documented"), &simulator_address, TENANT_ID);
        let portfolio = account(Some("portfolio"), &simulator_address, PORTFOLIO_TENANT_ID);
        (PORTFOLIO_THRESHOLDS, documented + &portfolio)
    } else {
        ("", account(None, &simulator_address, TENANT_ID))
    };
    let config = directory.path().join("config.yml");
    let text = format!(
        "poll_interval: {}\nstate_directory: {}\n{thresholds}accounts:\n{accounts}",
        humantime::format_duration(flags.poll_interval),
        serde_json::Value::from(directory.path().join("state").display().to_string()),
    );
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;

    let tenants = if flags.portfolio {
        format!("tenants: {{{PORTFOLIO_TENANT_ID}: {{rows: portfolio}}}}")
    } else {
        String::new()
    };
    let scenario = format!("{{{tenants}}}");
    super::simulate::start(simulator, Scenario::parse(&scenario)?, &lifecycle);
    // Who replaces the scenario has to say all of it.
    let comma = if flags.portfolio { ", " } else { "" };
    let failure = format!("{{usage: {{answer: forbidden}}{comma}{tenants}}}");
    let scheme = if web_config.as_ref().is_some_and(WebConfig::has_tls) { "https" } else { "http" };
    let rows = if flags.portfolio {
        ""
    } else {
        "The rows are Microsoft's documented example. --portfolio adds an account whose values move.\n\n"
    };
    super::say(&format!(
        "A simulated Partner Center and the exporter on top of it. Nothing leaves this machine.\n\n  \
         status page   {scheme}://{address}/\n  \
         metrics       {scheme}://{address}{}\n  \
         simulator     http://{simulator_address}/\n\n\
         {rows}\
         To see a failure, and then its end:\n  \
         curl -X PUT -d '{failure}' http://{simulator_address}/simulator/scenario\n  \
         curl -X PUT -d '{scenario}' http://{simulator_address}/simulator/scenario\n\n\
         Stop with Ctrl+C.\n",
        flags.web.telemetry_path
    ))?;
    let scraped =
        super::serve::start(Source::File(config), vec![listener], web_config, flags.web, &lifecycle)?;
    let mut running = pin!(lifecycle.run());
    if let Some(file) = &flags.history {
        tokio::select! {
            code = &mut running => {
                // Whoever writes it is not waited for.
                drop(fs::remove_file(unfinished(file)));
                return Ok(code);
            }
            written = write_history(file, address.to_string(), scraped) => written?,
        }
    }
    Ok(running.await)
}

/// Waits for good polls, and writes a past of what a scrape of `instance` says then.
async fn write_history(
    file: &Path,
    instance: String,
    (mut page, own): (watch::Receiver<Arc<Page>>, Arc<OwnMetrics>),
) -> anyhow::Result<()> {
    let Ok(page) = page.wait_for(|page| page.is_complete()).await.map(|page| Arc::clone(&page)) else {
        // The demo ends, which is for others to say.
        return std::future::pending().await;
    };
    let (target, end) = (file.to_owned(), unix_seconds(Clock::system().now()).floor());
    let written = tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
        let selection = Selection::everything();
        let mut scrape = Exposition::new(Format::Classic, &selection);
        page.write(&mut scrape);
        own.write(&mut scrape);
        let scrape = String::from_utf8(scrape.into_bytes())?;
        let history = History { scrape: &scrape, instances: &[&instance], end, days: DAYS_OF_HISTORY };

        let directory = target.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        if fs::symlink_metadata(&target).is_ok_and(|there| !there.is_file()) {
            anyhow::bail!("it is there already, and is no regular file");
        }
        // Whoever comes before the file is complete should find none.
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
    super::say(&format!(
        "A made-up past is in {}, for promtool tsdb create-blocks-from openmetrics.",
        file.display()
    ))?;
    Ok(())
}

/// What the past is called until it is complete.
fn unfinished(history: &Path) -> PathBuf {
    history.with_added_extension("new")
}

/// Binds a loopback address; one that is taken can be changed with `flag`.
fn bind(address: &str, flag: &str) -> anyhow::Result<TcpListener> {
    loopback::bind(address).map_err(|error| match error.downcast_ref() {
        Some(ListenError::Bind { .. }) => anyhow::anyhow!("{error}; choose another one with {flag}"),
        _ => error,
    })
}
