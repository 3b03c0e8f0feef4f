//! `simulate`: the simulated Partner Center and Entra ID alone, for tests and for trying things out.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::Context;
use axum::Router;
use axum::serve::ListenerExt;

use crate::commands::cli::SimulateFlags;
use crate::commands::lifecycle::Lifecycle;
use crate::domain::clock::Clock;
use partner_center_simulator::{CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, Scenario, Simulator};

/// A tenant that the simulator knows as little as any other: it takes all.
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
    let listener = super::loopback::bind(&flags.simulator_address)?;
    let address = listener.local_addr()?;
    start(listener, scenario, &lifecycle);
    super::say(&format!(
        "Simulated Partner Center and Entra ID at http://{address}/

\
         An account for the exporter's configuration:

accounts:
{}",
        account(None, &address.to_string(), TENANT_ID)
    ))?;
    Ok(lifecycle.run().await)
}

/// Starts the simulator's task. `demo` uses it as well.
pub(super) fn start(listener: TcpListener, scenario: Scenario, lifecycle: &Lifecycle) {
    let router = Simulator::new(scenario, || Clock::system().now()).router();
    let stop = lifecycle.stop().cancelled_owned();
    lifecycle.spawn(async move {
        if let Err(error) = serve(listener, router, stop).await {
            tracing::error!(err = %error, "Cannot serve the simulator");
        }
    });
}

/// Without the exporter's limits: whoever can reach the simulator owns the machine.
async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|stream| {
        // Small answers should not wait for more. A socket that refuses works all the same.
        drop(stream.set_nodelay(true));
    });
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

/// An account of the simulator at `address`, as an item of `accounts`.
pub(super) fn account(name: Option<&str>, address: &str, tenant_id: &str) -> String {
    let name = name.map_or_else(String::new, |name| format!("name: {name}\n    "));
    format!(
        "  - {name}tenant_id: {tenant_id}\n    client_id: {CLIENT_ID}\n    client_secret: {CLIENT_SECRET}\n    \
         refresh_token: {REFRESH_TOKEN}\n    cloud: custom\n    api_base_url: http://{address}\n    \
         login_base_url: http://{address}\n"
    )
}
