//! `simulate`: runs the simulated Partner Center and Entra ID alone.

use std::io;
use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::Context;
use axum::serve::ListenerExt;

use partner_center_simulator::{CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, Scenario, Simulator};

use crate::commands::cli::SimulateFlags;
use crate::commands::lifecycle::Lifecycle;
use crate::commands::{loopback, output};
use crate::domain::clock::Clock;

/// A tenant for examples. The simulator accepts any other as well.
pub(super) const TENANT_ID: &str = "00000000-0000-0000-0000-00000000dec0";

pub(super) async fn run(flags: SimulateFlags) -> anyhow::Result<ExitCode> {
    let lifecycle = Lifecycle::new()?;
    let scenario = match &flags.scenario {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Scenario::parse(&text).with_context(|| path.display().to_string())?
        }
        None => Scenario::default(),
    };
    let listener = loopback::bind(&flags.simulator_address)?;
    let address = listener.local_addr()?;
    start(listener, scenario, &lifecycle)?;
    output::print(&format!(
        "Simulated Partner Center and Entra ID at http://{address}/\n\n\
         An account for the exporter's configuration:\n\naccounts:\n{}",
        account(None, &address.to_string(), TENANT_ID)
    ))?;
    Ok(lifecycle.run().await)
}

/// Starts the task of the simulator. It has none of the exporter's limits, because only this machine can reach it.
pub(super) fn start(listener: TcpListener, scenario: Scenario, lifecycle: &Lifecycle) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|stream| {
        // Without TCP_NODELAY small answers may be delayed, which is no reason to fail.
        drop(stream.set_nodelay(true));
    });
    let router = Simulator::new(scenario, || Clock::system().now()).router();
    let serving = axum::serve(listener, router).with_graceful_shutdown(lifecycle.stop().cancelled_owned());
    lifecycle.spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(err = %error, "Cannot serve the simulator");
        }
    });
    Ok(())
}

/// Writes an account of the simulator at `address`, as an item of `accounts`.
pub(super) fn account(name: Option<&str>, address: &str, tenant_id: &str) -> String {
    let name = name.map_or_else(String::new, |name| format!("name: {name}\n    "));
    format!(
        "  - {name}tenant_id: {tenant_id}\n    client_id: {CLIENT_ID}\n    client_secret: {CLIENT_SECRET}\n    \
         refresh_token: {REFRESH_TOKEN}\n    cloud: custom\n    api_base_url: http://{address}\n    \
         login_base_url: http://{address}\n"
    )
}
