//! `demo`: the exporter on top of the simulator, in one process, with nothing to configure.
//!
//! It goes the way of a real set-up: a configuration file, tokens on disk, HTTP in between. Everything it
//! writes is in a temporary directory that vanishes with it.

use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::DemoFlags;
use crate::config::Source;
use crate::lifecycle::Lifecycle;
use crate::simulator::Scenario;
use crate::web::{self, ListenError};

use super::simulate::{TENANT_ID, account};

/// The tenant of the livelier portfolio.
const PORTFOLIO_TENANT_ID: &str = "00000000-0000-0000-0000-00000000f011";

pub(super) async fn run(flags: DemoFlags) -> anyhow::Result<ExitCode> {
    let lifecycle = Lifecycle::new()?;
    let access = super::serve::access(&flags.web.access)?;
    let listener = bind(&flags.listen_address, "--web.listen-address")?;
    let simulator = bind(&flags.simulator_address, "--simulator.listen-address")?;
    let (address, simulator_address) = (listener.local_addr()?, simulator.local_addr()?.to_string());

    let directory = tempfile::tempdir().context("cannot create a temporary directory")?;
    let accounts = if flags.portfolio {
        account(Some("documented"), &simulator_address, TENANT_ID)
            + &account(Some("portfolio"), &simulator_address, PORTFOLIO_TENANT_ID)
    } else {
        account(None, &simulator_address, TENANT_ID)
    };
    let config = directory.path().join("config.yml");
    let text = format!(
        "poll_interval: {}\nstate_directory: {}\naccounts:\n{accounts}",
        humantime::format_duration(flags.poll_interval),
        serde_json::Value::from(directory.path().join("state").display().to_string()),
    );
    std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;

    let scenario = format!("tenants:\n  {PORTFOLIO_TENANT_ID}:\n    rows: portfolio\n");
    super::simulate::start(simulator, Scenario::parse(&scenario)?, &lifecycle);
    let scheme = if access.as_ref().is_some_and(|access| access.encrypts()) { "https" } else { "http" };
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
         To see a failure:\n  \
         curl -X PUT -d 'usage: {{answer: forbidden}}' http://{simulator_address}/simulator/scenario\n\n\
         Stop with Ctrl+C.\n",
        flags.web.telemetry_path
    ))?;
    super::serve::start(Source::File(config), vec![listener], access.as_ref(), flags.web, &lifecycle)?;
    let code = lifecycle.run().await;
    drop(directory);
    Ok(code)
}

/// Binds a loopback address; one that is taken can be changed with `flag`.
fn bind(address: &str, flag: &str) -> anyhow::Result<TcpListener> {
    web::bind_loopback(address).map_err(|error| match error {
        ListenError::Bind { .. } => anyhow::anyhow!("{error}; choose another one with {flag}"),
        other => other.into(),
    })
}
