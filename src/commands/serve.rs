//! `serve`: the exporter itself. Load, bind, start, and wait for the end.

use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::commands::cli::{AccessFlag, ServeFlags, WebFlags};
use crate::commands::lifecycle::Lifecycle;
use crate::config::{ConfigError, Source};
use crate::domain::clock::Clock;
use crate::metrics::{BUILD, MetricsSnapshot, OwnMetrics};
use crate::polling::{self, Scene};
use crate::supervisor::Supervisor;
use crate::web::{self, Web};
use exporter_toolkit::listen;
use exporter_toolkit::server::Server;
use exporter_toolkit::web_config::Access;

pub(super) async fn run(flags: ServeFlags) -> anyhow::Result<ExitCode> {
    let lifecycle = Lifecycle::new()?;
    let access = access(&flags.web.access)?;
    let listeners = if flags.listen.systemd_socket {
        listen::from_systemd()?
    } else {
        flags.listen.listen_addresses.iter().map(|text| listen::bind(text)).collect::<Result<_, _>>()?
    };
    start(super::check::source(&flags.config), listeners, access.as_ref(), flags.web, &lifecycle)?;
    Ok(lifecycle.run().await)
}

/// The rules of the web configuration file, if one is named.
pub(super) fn access(flag: &AccessFlag) -> Result<Option<Arc<Access>>, ConfigError> {
    let path = Some(&flag.web_config_file).filter(|path| !path.is_empty());
    path.map(|path| Access::open(Path::new(path), web::WEB_CONFIG_EXTENSION).map(Arc::new)).transpose()
}

/// Starts the exporter's tasks, and gives what its scrapes are made of. `demo` uses it as well.
pub(super) fn start(
    source: Source,
    listeners: Vec<TcpListener>,
    access: Option<&Arc<Access>>,
    flags: WebFlags,
    lifecycle: &Lifecycle,
) -> anyhow::Result<(watch::Receiver<Arc<MetricsSnapshot>>, Arc<OwnMetrics>)> {
    let [(_, version), (_, revision), (_, branch), (_, rustversion)] = BUILD;
    tracing::info!(version, "Starting partner-license-exporter");
    tracing::info!(revision, branch, rustversion, "Build context");

    // Before anything takes time: until somebody listens, SIGHUP ends the process.
    let mut hangup = signal(SignalKind::hangup())?;
    let clock = Clock::system();
    let config = source.load(&super::environment)?;
    let own = Arc::new(OwnMetrics::new(!flags.disable_exporter_metrics, &clock));
    let (supervisor, reloader) = Supervisor::start(source, config, Arc::clone(&own), clock.clone())?;

    let fleet = supervisor.fleet();
    let first = fleet.borrow().draw(clock.now());
    let (snapshot_sender, snapshot) = watch::channel(Arc::new(first));
    lifecycle.spawn(polling::publish(
        fleet.clone(),
        supervisor.bell(),
        snapshot_sender,
        clock.clone(),
        lifecycle.stop(),
    ));
    lifecycle.spawn(supervisor.run(super::environment, lifecycle.stop()));

    let scraped = (snapshot.clone(), Arc::clone(&own));
    let (telemetry_path, max_requests) = (flags.telemetry_path, flags.max_requests);
    let web = Web { snapshot, own, fleet, reloader: reloader.clone(), clock, telemetry_path, max_requests };
    if let Some(access) = access {
        access.announce();
    }
    let server = Server::new(web::router(web), access.cloned(), max_requests);
    for listener in listeners {
        let address = listener.local_addr()?;
        tracing::info!(%address, "Listening on");
        if let Some(access) = access.filter(|access| access.encrypts()) {
            tracing::info!(http2 = access.http2(), %address, "TLS is enabled.");
        } else {
            tracing::info!(http2 = false, %address, "TLS is disabled.");
        }
        let (server, stop) = (server.clone(), lifecycle.stop());
        lifecycle.spawn(async move {
            if let Err(error) = server.serve(listener, stop).await {
                tracing::error!(err = %error, "Cannot serve");
            }
        });
    }

    let stop = lifecycle.stop();
    lifecycle.spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = hangup.recv() => {}
            }
            // The supervisor logs the outcome.
            drop(reloader.reload().await);
        }
    });
    Ok(scraped)
}
