//! The routes, asked without a socket.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use jiff::Timestamp;
use tokio::sync::watch;
use tower::ServiceExt;

use super::{Site, router};
use crate::config::{Config, ConfigSource, Prices, Thresholds};
use crate::domain::clock::Clock;
use crate::domain::shard::Shard;
use crate::domain::status::Ledger;
use crate::domain::usage::UsageReport;
use crate::metrics::{Accounts, Choices, MetricsSnapshot, OwnMetrics};
use crate::polling::Render;
use crate::supervisor::{Reloader, Supervisor};
use exporter_toolkit::negotiation::Format;

mod customers;
mod endpoints;
mod pages;
mod scrapes;

const NOW: Timestamp = Timestamp::constant(1_795_410_800, 0);

fn no_environment(_: &str) -> Option<String> {
    None
}

/// The ledgers of accounts with these names.
fn ledgers(names: &[&str]) -> Vec<Ledger> {
    let mut text = "accounts:\n".to_owned();
    for name in names {
        text += &format!(
            "  - {{name: {name:?}, tenant_id: t{}.example, client_secret: s, refresh_token: r, \
             client_id: 00000000-0000-0000-0000-00000000c11e}}\n",
            name.len()
        );
    }
    let config = Config::parse(&text, &no_environment).unwrap();
    config.accounts.into_iter().map(|account| Ledger::of_usage(account.name)).collect()
}

fn accounts_with(ledgers: Vec<Ledger>) -> Accounts {
    Accounts {
        ledgers,
        stale_after: None,
        thresholds: Thresholds::default(),
        prices: Prices::default(),
        choices: Choices::default(),
    }
}

fn succeed(ledger: &Ledger) {
    ledger.write(|status| {
        status.usage_mut().poll_ended(Ok(UsageReport::default().into()), NOW, Duration::ZERO);
    });
}

/// A supervisor without accounts that reloads `source`.
fn supervisor(source: ConfigSource) -> (Supervisor, Reloader) {
    let state = tempfile::tempdir().unwrap();
    let config = Config {
        file: None,
        poll_interval: Duration::from_hours(6),
        poll_timeout: Duration::from_mins(2),
        stale_after: None,
        state_directory: state.path().to_owned(),
        thresholds: Thresholds::default(),
        prices: Prices::default(),
        accounts: Vec::new(),
    };
    let clock = Clock::fixed(NOW);
    Supervisor::start(source, config, Shard::default(), Arc::new(OwnMetrics::new(true, &clock)), clock)
        .unwrap()
}

/// The router for some accounts, and handles that change what it serves.
struct TestSite {
    router: Router,
    own: Arc<OwnMetrics>,
    accounts: watch::Sender<Arc<Accounts>>,
    snapshot: watch::Sender<Arc<MetricsSnapshot>>,
}

fn web_site(
    first: Accounts,
    reloader: Reloader,
    with_process: bool,
) -> (Site, watch::Sender<Arc<Accounts>>, watch::Sender<Arc<MetricsSnapshot>>) {
    let clock = Clock::fixed(NOW);
    let snapshot_sender = watch::Sender::new(Arc::new(first.render(NOW)));
    let accounts_sender = watch::Sender::new(Arc::new(first));
    let site = Site {
        snapshot: snapshot_sender.subscribe(),
        own: Arc::new(OwnMetrics::new(with_process, &clock)),
        accounts: accounts_sender.subscribe(),
        shard: Shard::default(),
        reloader,
        clock,
        telemetry_path: "/metrics".to_owned(),
        has_tls: false,
    };
    (site, accounts_sender, snapshot_sender)
}

/// A site whose supervisor has stopped.
fn site(first: Accounts) -> TestSite {
    site_with(first, true)
}

/// A site whose supervisor has stopped, with or without `promhttp_*` and `process_*`.
fn site_with(first: Accounts, with_process: bool) -> TestSite {
    let (_, reloader) = supervisor(ConfigSource::Environment);
    let (site, accounts, snapshot) = web_site(first, reloader, with_process);
    TestSite { own: Arc::clone(&site.own), router: router(site), accounts, snapshot }
}

/// A response whose body was received completely.
struct Received {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

async fn receive(response: Response) -> Received {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Received { status: parts.status.as_u16(), headers: parts.headers, body }
}

async fn send(router: &Router, method: &str, path: &str, headers: &[(&str, &str)]) -> Received {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    receive(router.clone().oneshot(request).await.unwrap()).await
}

async fn get_text(router: &Router, path: &str) -> (u16, String) {
    let received = send(router, "GET", path, &[]).await;
    (received.status, received.text().to_owned())
}
