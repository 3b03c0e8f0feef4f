//! `serve`: runs the exporter.

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use exporter_toolkit::listen;
use exporter_toolkit::server::Server;
use exporter_toolkit::web_config::WebConfig;

use crate::commands::cli::{ServeFlags, WebFlags};
use crate::commands::lifecycle::Lifecycle;
use crate::commands::logging;
use crate::commands::settings;
use crate::config::ConfigSource;
use crate::domain::clock::Clock;
use crate::metrics::{BUILD, MetricsSnapshot, OwnMetrics};
use crate::polling::{self, Render};
use crate::supervisor::{Reloader, Supervisor};
use crate::web::{self, Site};

pub(super) async fn run(flags: ServeFlags) -> anyhow::Result<ExitCode> {
    let lifecycle = Lifecycle::new()?;
    let web_config = settings::web_config(&flags.web.access)?;
    let listeners = listen::open(&flags.listen.listen_addresses, flags.listen.systemd_socket)?;
    start(settings::source(&flags.config), listeners, web_config, flags.web, &lifecycle)?;
    Ok(lifecycle.run().await)
}

/// Starts the tasks of the exporter, and returns what its scrapes are made of.
pub(super) fn start(
    source: ConfigSource,
    listeners: Vec<TcpListener>,
    web_config: Option<WebConfig>,
    flags: WebFlags,
    lifecycle: &Lifecycle,
) -> anyhow::Result<(watch::Receiver<Arc<MetricsSnapshot>>, Arc<OwnMetrics>)> {
    let [(_, version), (_, revision), (_, branch), (_, rustversion)] = BUILD;
    tracing::info!(version, "Starting partner-license-exporter");
    tracing::info!(revision, branch, rustversion, "Build context");

    // Comes first, because SIGHUP ends a process that does not handle it.
    let hangup = signal(SignalKind::hangup())?;
    let clock = Clock::system();
    let config = source.load(&settings::environment)?;
    let own = OwnMetrics::new(!flags.disable_exporter_metrics, &clock);
    let own = Arc::new(own.with_log_lines_dropped(logging::dropped()));
    let (supervisor, reloader) = Supervisor::start(source, config, Arc::clone(&own), clock.clone())?;

    let accounts = supervisor.accounts();
    let first = accounts.borrow().render(clock.now());
    let (snapshot_sender, snapshot) = watch::channel(Arc::new(first));
    lifecycle.spawn(polling::publish(
        accounts.clone(),
        supervisor.changed(),
        snapshot_sender,
        clock.clone(),
        lifecycle.stop(),
    ));
    lifecycle.spawn(supervisor.run(settings::environment, lifecycle.stop()));
    lifecycle.spawn(reload_on_hangup(hangup, reloader.clone(), lifecycle.stop()));

    let scraped = (snapshot.clone(), Arc::clone(&own));
    let telemetry_path = flags.telemetry_path;
    let refused = web::count_refusals(Arc::clone(&own), telemetry_path.clone());
    let has_tls = web_config.as_ref().is_some_and(WebConfig::has_tls);
    let site = Site { snapshot, own, accounts, reloader, clock, telemetry_path, has_tls };
    let server = Server::new(web::router(site), web_config, flags.max_requests, refused);
    let stop = lifecycle.stop().cancelled_owned();
    lifecycle.spawn(async move {
        if let Err(error) = server.serve(listeners, stop).await {
            tracing::error!(err = %error, "Cannot serve");
        }
    });
    Ok(scraped)
}

/// Reloads the configuration at each SIGHUP. The supervisor logs the outcome.
async fn reload_on_hangup(mut hangup: Signal, reloader: Reloader, stop: CancellationToken) {
    while stop.run_until_cancelled(hangup.recv()).await.is_some() {
        drop(reloader.reload().await);
    }
}
