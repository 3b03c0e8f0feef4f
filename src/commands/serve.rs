//! `serve`: runs the exporter.

use std::collections::BTreeSet;
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
use crate::commands::service_manager::ServiceManager;
use crate::commands::settings;
use crate::config::ConfigSource;
use crate::domain::account::AccountName;
use crate::domain::clock::Clock;
use crate::domain::shard::Shard;
use crate::domain::status::{AccountStatus, Ledger};
use crate::metrics::{Accounts, BUILD, MetricsSnapshot, OwnMetrics};
use crate::polling::{self, Render};
use crate::supervisor::{Reloader, Supervisor};
use crate::web::{self, Site};

/// The number of failing accounts that the status line names.
const MAX_NAMES: usize = 3;

pub(super) async fn run(flags: ServeFlags) -> anyhow::Result<ExitCode> {
    let lifecycle = Lifecycle::new()?;
    let shard = flags.shard.shard()?;
    let web_config = settings::web_config(&flags.web.access)?;
    let listeners = listen::open(&flags.listen.listen_addresses, flags.listen.systemd_socket)?;
    start(settings::source(&flags.config), shard, listeners, web_config, flags.web, &lifecycle)?;
    Ok(lifecycle.run().await)
}

/// Starts the tasks of the exporter for the accounts of a shard, and returns what its scrapes are made of.
pub(super) fn start(
    source: ConfigSource,
    shard: Shard,
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
    let (supervisor, reloader) = Supervisor::start(source, config, shard, Arc::clone(&own), clock.clone())?;

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
    let service = lifecycle.service();
    lifecycle.spawn(report(accounts.clone(), snapshot.clone(), service.clone(), lifecycle.stop()));
    let reloading = move || service.reloading();
    lifecycle.spawn(supervisor.run(settings::environment, reloading, lifecycle.stop()));
    lifecycle.spawn(reload_on_hangup(hangup, reloader.clone(), lifecycle.stop()));

    let scraped = (snapshot.clone(), Arc::clone(&own));
    let telemetry_path = flags.telemetry_path;
    let refused = web::count_refusals(Arc::clone(&own), telemetry_path.clone());
    let has_tls = web_config.as_ref().is_some_and(WebConfig::has_tls);
    let site = Site { snapshot, own, accounts, shard, reloader, clock, telemetry_path, has_tls };
    let server = Server::new(web::router(site), web_config, flags.max_requests, refused);
    let stop = lifecycle.stop().cancelled_owned();
    lifecycle.spawn(async move {
        if let Err(error) = server.serve(listeners, stop).await {
            tracing::error!(err = %error, "Cannot serve");
        }
    });
    Ok(scraped)
}

/// Reports the state of the accounts to the service manager whenever it changes.
async fn report(
    accounts: watch::Receiver<Arc<Accounts>>,
    mut snapshot: watch::Receiver<Arc<MetricsSnapshot>>,
    service: ServiceManager,
    stop: CancellationToken,
) {
    let mut last = String::new();
    loop {
        let line = status_line(accounts.borrow().ledgers.iter().map(Ledger::read));
        if line != last {
            service.status(&line);
            last = line;
        }
        if !matches!(stop.run_until_cancelled(snapshot.changed()).await, Some(Ok(()))) {
            return;
        }
    }
}

/// Returns a line such as `1 of 2 accounts up; failing: fabrikam (credentials)`.
fn status_line(statuses: impl Iterator<Item = AccountStatus>) -> String {
    let (mut all, mut up, mut failing) = (0, 0, Vec::new());
    for status in statuses {
        all += 1;
        up += usize::from(status.collections.values().all(|status| status.up()));
        let reasons: BTreeSet<_> = status.failures().map(|(_, failure)| failure.reason.as_str()).collect();
        if !reasons.is_empty() {
            let name = status.name.as_ref().map_or("the account", AccountName::as_str);
            failing.push(format!("{name} ({})", Vec::from_iter(reasons).join(", ")));
        }
    }
    let more = failing.len().saturating_sub(MAX_NAMES);
    failing.truncate(MAX_NAMES);
    if more > 0 {
        failing.push(format!("{more} more"));
    }
    let accounts = if all == 1 { "account" } else { "accounts" };
    let failing =
        if failing.is_empty() { String::new() } else { format!("; failing: {}", failing.join(", ")) };
    format!("{up} of {all} {accounts} up{failing}")
}

/// Reloads the configuration at each SIGHUP. The supervisor logs the outcome.
async fn reload_on_hangup(mut hangup: Signal, reloader: Reloader, stop: CancellationToken) {
    while stop.run_until_cancelled(hangup.recv()).await.is_some() {
        drop(reloader.reload().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::{Failure, FailureReason};
    use crate::domain::schedule::LastPoll;

    #[test]
    fn the_status_line_counts_the_accounts_and_names_a_few_that_fail() {
        let account = |name: &str, last_poll| {
            let name = AccountName::new(name.to_owned()).filter(|name| !name.as_str().is_empty());
            let mut status = AccountStatus { name, ..AccountStatus::default() };
            status.usage_mut().last_poll = last_poll;
            status
        };
        let failed = |reason| LastPoll::Failed { failure: Failure::of(reason), in_a_row: 1 };
        let up = || account("a", LastPoll::Succeeded);
        let down = |name| account(name, failed(FailureReason::Mfa));
        for (statuses, expected) in [
            (vec![account("", LastPoll::Never)], "0 of 1 account up"),
            (vec![account("", failed(FailureReason::Tls))], "0 of 1 account up; failing: the account (tls)"),
            (vec![up(), up()], "2 of 2 accounts up"),
            (vec![up(), down("b")], "1 of 2 accounts up; failing: b (mfa)"),
            (
                ["b", "c", "d", "e", "f"].map(down).into(),
                "0 of 5 accounts up; failing: b (mfa), c (mfa), d (mfa), 2 more",
            ),
        ] {
            assert_eq!(status_line(statuses.into_iter()), expected);
        }
    }
}
