//! Tests of the client against the simulator, over sockets on loopback.

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::{self, Next};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;
use tower::ServiceExt;

use partner_center_simulator::{CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, Scenario, Simulator};

use super::http::RetryPolicy;
use super::*;
use crate::config::{Account, Config};
use crate::domain::clock::Clock;
use crate::domain::collection::{Collected, Collection};
use crate::domain::deployment::LicenseDeployment;
use crate::domain::failure::FailureReason;
use crate::domain::status::{Code, Endpoint, Ledger};
use crate::domain::usage::{LicenseUsage, UsageReport};

mod credentials;
mod logs;
mod refresh_tokens;
mod renewals;
mod requests;
mod responses;
mod secrets;
mod sources;
mod store;
mod unusual_responses;

const TENANT: &str = "contoso.example";
const USAGE: &str = "/v1/analytics/licenses/usage";
const START: Timestamp = Timestamp::constant(1_795_410_800, 0);

impl PartnerCenter {
    /// Fetches the usage collection.
    pub(crate) async fn usage(&self) -> Result<UsageReport, FetchError> {
        let mut turn = Turns::default().take().await;
        match self.fetch(Collection::Usage, &mut turn).await? {
            Collected::Usage(report) => Ok(report),
            other => panic!("{other:?}"),
        }
    }
}

/// A request that arrived at the simulator.
#[derive(Clone, Debug)]
struct Arrival {
    path: String,
    /// The body, which is the form of a token request.
    form: String,
    /// The refresh token that was on disk when the request arrived.
    stored: Option<String>,
}

/// A simulator on a port of its own, and everything that a client of it needs.
struct TestBed {
    simulator: Simulator,
    address: SocketAddr,
    directory: tempfile::TempDir,
    ledger: Ledger,
    clock: Clock,
    arrivals: watch::Receiver<Vec<Arrival>>,
    /// While this is false, requests wait after their arrival.
    gate: watch::Sender<bool>,
}

impl TestBed {
    async fn new(scenario: &str) -> Self {
        let simulator = Simulator::new(Scenario::parse(scenario).unwrap(), || START);
        let router = simulator.router();
        Self::serving(simulator, router).await
    }

    /// A test bed with `first` in front of the simulator's routes.
    async fn with(first: Router) -> Self {
        let simulator = Simulator::new(Scenario::default(), || START);
        let router = first.fallback_service(simulator.router());
        Self::serving(simulator, router).await
    }

    async fn serving(simulator: Simulator, router: Router) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (arrived, arrivals) = watch::channel(Vec::new());
        let gate = watch::Sender::new(true);
        let (open, state) = (gate.subscribe(), directory.path().join("state"));
        let recording = middleware::from_fn(move |request: Request, next: Next| {
            let (arrived, mut open, state) = (arrived.clone(), open.clone(), state.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, 10_000).await.unwrap();
                arrived.send_modify(|all| {
                    all.push(Arrival {
                        path: parts.uri.path().to_owned(),
                        form: String::from_utf8(body.to_vec()).unwrap(),
                        stored: stored_in(&state).map(|record| text(&record["refresh_token"])),
                    });
                });
                open.wait_for(|open| *open).await.unwrap();
                next.run(Request::from_parts(parts, Body::from(body))).await
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, router.layer(recording)).into_future());
        let ledger = Ledger::new(None, Arc::default());
        Self { simulator, address, directory, ledger, clock: Clock::fixed(START), arrivals, gate }
    }

    fn scenario(&self, text: &str) {
        self.simulator.set_scenario(Scenario::parse(text).unwrap());
    }

    fn state_directory(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn account(&self, first_token: &str, scheme: &str) -> Account {
        self.account_with(first_token, scheme, "licenses")
    }

    fn account_with(&self, first_token: &str, scheme: &str, source: &str) -> Account {
        let address = self.address;
        let config = format!(
            "accounts: [{{tenant_id: {TENANT}, client_id: {CLIENT_ID}, client_secret: {CLIENT_SECRET}, \
             refresh_token: {first_token}, cloud: custom, api_base_url: \"{scheme}://{address}\", \
             login_base_url: \"{scheme}://{address}\", locale: de-DE, \
             collections: {{usage: {{source: {source}}}}}}}]"
        );
        Config::parse(&config, &|_| None).unwrap().accounts.remove(0)
    }

    /// A client as at a start of the program, but with short pauses between attempts.
    fn client_of(&self, account: &Account, limit: Duration) -> PartnerCenter {
        let store = TokenStore::open(&self.state_directory(), account).unwrap();
        let mut retry = RetryPolicy::new(limit);
        retry.pause = Duration::from_millis(1);
        let anchors = TrustAnchors::default();
        PartnerCenter::with_retry(account, store, &self.ledger, &self.clock, retry, &anchors).unwrap()
    }

    fn client(&self) -> PartnerCenter {
        self.client_with_token(REFRESH_TOKEN)
    }

    /// A client with another configured refresh token.
    fn client_with_token(&self, token: &str) -> PartnerCenter {
        self.client_of(&self.account(token, "http"), Duration::from_mins(1))
    }

    /// The log of the simulator.
    async fn log(&self) -> Value {
        let request = Request::get("/simulator/requests").body(Body::empty()).unwrap();
        let response = self.simulator.router().oneshot(request).await.unwrap();
        serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap()
    }

    /// The logged requests of an endpoint.
    async fn log_of(&self, endpoint: &str) -> VecDeque<Value> {
        let log = self.log().await;
        let requests = log["requests"].as_array().unwrap().iter();
        requests.filter(|request| request["endpoint"] == endpoint).cloned().collect()
    }

    async fn wait_for_arrivals(&self, count: usize) {
        let mut arrivals = self.arrivals.clone();
        let arrived = arrivals.wait_for(|all| all.len() >= count);
        drop(timeout(Duration::from_secs(30), arrived).await.expect("the requests arrive").unwrap());
    }

    fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.borrow().clone()
    }

    /// The refresh tokens that were sent, in order.
    fn sent_tokens(&self) -> Vec<String> {
        let arrivals = self.arrivals().into_iter().filter(|arrival| arrival.path.ends_with("/token"));
        arrivals
            .map(|arrival| {
                let token = arrival.form.split('&').find_map(|pair| pair.strip_prefix("refresh_token="));
                token.unwrap().to_owned()
            })
            .collect()
    }

    fn token_file(&self) -> PathBuf {
        token_file_in(&self.state_directory())
    }

    fn stored(&self) -> Option<Value> {
        stored_in(&self.state_directory())
    }

    /// The counters of traffic in the ledger that are not zero.
    fn traffic(&self) -> String {
        let traffic = self.ledger.read().traffic;
        let requests = traffic.requests.iter().map(|((endpoint, code), count)| {
            let code = match code {
                Code::Status(status) => status.to_string(),
                Code::Error => "error".to_owned(),
            };
            (format!("{} {code}", endpoint.as_str()), *count)
        });
        let others = [("retries", &traffic.retries), ("throttled", &traffic.throttled)];
        let others = others.into_iter().flat_map(|(what, counts)| {
            counts.iter().map(move |(endpoint, count)| (format!("{} {what}", endpoint.as_str()), *count))
        });
        let all = requests.chain(others).filter(|(_, count)| *count > 0);
        all.map(|(what, count)| format!("{what}: {count}")).collect::<Vec<_>>().join(", ")
    }
}

fn token_file_in(directory: &Path) -> PathBuf {
    directory.join(format!("refresh-token-{TENANT}-{CLIENT_ID}.json"))
}

/// The content of the token file in a directory, without its checksum: a test may change it and write it again.
fn stored_in(directory: &Path) -> Option<Value> {
    let text = fs::read_to_string(token_file_in(directory)).ok()?;
    let mut record: Value = serde_json::from_str(&text).ok()?;
    record.as_object_mut()?.remove("sha256");
    Some(record)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no string")).to_owned()
}

/// Advances the clock of the runtime. No request may be in progress.
async fn advance(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}
