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
use crate::metrics::{BUILD, OwnMetrics, Page};
use crate::polling::{self, Scene};
use crate::supervisor::Supervisor;
use crate::web::{self, Web};
use exporter_toolkit::listen;
use exporter_toolkit::server::Server;
use exporter_toolkit::web_config::WebConfig;

pub(super) async fn run(flags: ServeFlags) -> anyhow::Result<ExitCode> {
    let lifecycle = Lifecycle::new()?;
    let web_config = web_config(&flags.web.access)?;
    let listeners = listen::open(&flags.listen.listen_addresses, flags.listen.systemd_socket)?;
    start(super::check::source(&flags.config), listeners, web_config, flags.web, &lifecycle)?;
    Ok(lifecycle.run().await)
}

/// Opens the web configuration file, if one is named.
pub(super) fn web_config(flag: &AccessFlag) -> Result<Option<WebConfig>, ConfigError> {
    let path = Some(&flag.web_config_file).filter(|path| !path.is_empty());
    path.map(|path| WebConfig::open(Path::new(path), web::WEB_CONFIG_EXTENSION)).transpose()
}

/// Starts the exporter's tasks, and gives what its scrapes are made of. `demo` uses it as well.
pub(super) fn start(
    source: Source,
    listeners: Vec<TcpListener>,
    web_config: Option<WebConfig>,
    flags: WebFlags,
    lifecycle: &Lifecycle,
) -> anyhow::Result<(watch::Receiver<Arc<Page>>, Arc<OwnMetrics>)> {
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
    let (page_sender, page) = watch::channel(Arc::new(first));
    lifecycle.spawn(polling::publish(
        fleet.clone(),
        supervisor.bell(),
        page_sender,
        clock.clone(),
        lifecycle.stop(),
    ));
    lifecycle.spawn(supervisor.run(super::environment, lifecycle.stop()));

    let scraped = (page.clone(), Arc::clone(&own));
    let telemetry_path = flags.telemetry_path;
    let refused = web::count_refusals(Arc::clone(&own), telemetry_path.clone());
    let web = Web { page, own, fleet, reloader: reloader.clone(), clock, telemetry_path };
    let server = Server::new(web::router(web), web_config, flags.max_requests, refused);
    let stop = lifecycle.stop().cancelled_owned();
    lifecycle.spawn(async move {
        if let Err(error) = server.serve(listeners, stop).await {
            tracing::error!(err = %error, "Cannot serve");
        }
    });

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
