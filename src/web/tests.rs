use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use jiff::Timestamp;
use tower::ServiceExt;

use super::*;
use crate::config::{Config, Source, Thresholds};
use crate::domain::status::Ledger;
use crate::domain::usage::UsageReport;
use crate::exposition::Format;
use crate::polling::Scene;
use crate::supervisor::Supervisor;

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
    config.accounts.into_iter().map(|account| Ledger::new(account.name, Arc::default())).collect()
}

fn fleet(accounts: Vec<Ledger>) -> Fleet {
    Fleet {
        accounts,
        poll_interval: std::time::Duration::from_hours(6),
        stale_after: None,
        thresholds: Thresholds::default(),
    }
}

fn succeed(ledger: &Ledger) {
    ledger.write(|status| {
        status.poll_ended(Ok(UsageReport::default()), NOW, std::time::Duration::ZERO);
    });
}

/// A supervisor without any account, which reloads `source`.
fn supervisor(source: Source) -> (Supervisor, Reloader) {
    let config = Config {
        file: None,
        poll_interval: std::time::Duration::from_hours(6),
        poll_timeout: std::time::Duration::from_mins(2),
        stale_after: None,
        state_directory: "/nowhere".into(),
        thresholds: Thresholds::default(),
        accounts: Vec::new(),
    };
    let clock = Clock::fixed(NOW);
    Supervisor::start(source, config, Arc::new(OwnMetrics::new(true, &clock)), clock).unwrap()
}

/// What is served for a fleet, with handles to change it.
struct Site {
    router: Router,
    own: Arc<OwnMetrics>,
    fleet: watch::Sender<Arc<Fleet>>,
    page: watch::Sender<Arc<Page>>,
}

fn web(first: Fleet, reloader: Reloader) -> (Web, watch::Sender<Arc<Fleet>>, watch::Sender<Arc<Page>>) {
    web_with(first, reloader, true)
}

fn web_with(
    first: Fleet,
    reloader: Reloader,
    with_process: bool,
) -> (Web, watch::Sender<Arc<Fleet>>, watch::Sender<Arc<Page>>) {
    let clock = Clock::fixed(NOW);
    let page_sender = watch::Sender::new(Arc::new(first.draw(NOW)));
    let fleet_sender = watch::Sender::new(Arc::new(first));
    let web = Web {
        page: page_sender.subscribe(),
        own: Arc::new(OwnMetrics::new(with_process, &clock)),
        fleet: fleet_sender.subscribe(),
        reloader,
        clock,
        telemetry_path: "/metrics".to_owned(),
    };
    (web, fleet_sender, page_sender)
}

/// A site whose supervisor has stopped.
fn site(first: Fleet) -> Site {
    site_with(first, true)
}

/// The same, with or without `promhttp_*` and `process_*`.
fn site_with(first: Fleet, with_process: bool) -> Site {
    let (_, reloader) = supervisor(Source::Environment);
    let (web, fleet, page) = web_with(first, reloader, with_process);
    Site { own: Arc::clone(&web.own), router: router(web), fleet, page }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

async fn read(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body).unwrap() }
}

async fn send(router: &Router, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    read(router.clone().oneshot(request).await.unwrap()).await
}

async fn get_text(router: &Router, path: &str) -> (u16, String) {
    let answer = send(router, "GET", path, &[]).await;
    (answer.status.as_u16(), answer.body)
}
