//! Ordinary scrapes, as Prometheus makes them, all the while; how long they took, and whether they were whole.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Certificate, Client, ClientBuilder, Response};
use tokio::runtime::Runtime;
use tokio::time::MissedTickBehavior;

use super::door::{Door, ROWS};
use crate::support::eventually;

/// Prometheus' own, unless it is told otherwise.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);
/// More often than anybody scrapes.
const SCRAPE_INTERVAL: Duration = Duration::from_millis(50);

/// One scrape.
struct Scrape {
    began: Instant,
    took: Duration,
    failure: Option<String>,
}

impl Scrape {
    fn told(&self) -> Option<String> {
        Some(format!("after {:?}: {}", self.took, self.failure.as_ref()?))
    }
}

/// Two who scrape a door: one keeps its connection, the other makes a new one each time. With TLS the first speaks
/// HTTP/2.
pub(crate) struct Scrapes {
    log: Arc<Mutex<Vec<Scrape>>>,
    _runtime: Runtime,
}

impl Scrapes {
    pub(crate) fn begin(door: &Door) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let log = Arc::<Mutex<Vec<Scrape>>>::default();
        let (kept, anew) = (client(door), client(door).http1_only().pool_max_idle_per_host(0));
        for (client, is_kept) in [(kept, true), (anew, false)] {
            let scheme = if door.certificate.is_some() { "https" } else { "http" };
            let url = format!("{scheme}://localhost:{}/metrics", door.address.port());
            let (client, log) = (client.build().unwrap(), Arc::clone(&log));
            let guarded = !door.authorization.is_empty();
            runtime.spawn(async move {
                let mut turns = tokio::time::interval(SCRAPE_INTERVAL);
                turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    turns.tick().await;
                    let began = Instant::now();
                    let mut request = client.get(&url);
                    if guarded {
                        request = request.basic_auth("alice", Some("sesame"));
                    }
                    let again = request.try_clone().filter(|_| is_kept);
                    let mut answer = request.send().await;
                    if let (Err(error), Some(again)) = (&answer, again)
                        && error.is_request()
                        && !error.is_timeout()
                    {
                        // A connection that was closed before it was used again. Prometheus does the same.
                        answer = again.send().await;
                    }
                    let failure = examine(answer).await.err();
                    log.lock().unwrap().push(Scrape { began, took: began.elapsed(), failure });
                }
            });
        }
        let scrapes = Self { log, _runtime: runtime };
        scrapes.more(20);
        scrapes
    }

    /// Waits until so many more have ended that began after now.
    pub(crate) fn more(&self, count: usize) {
        let now = Instant::now();
        eventually("scrapes", || (self.since(now).count >= count).then_some(()));
    }

    /// Those that began after a moment.
    pub(crate) fn since(&self, moment: Instant) -> Figures {
        let log = self.log.lock().unwrap();
        let since = || log.iter().filter(|scrape| scrape.began >= moment);
        let mut took: Vec<_> = since().map(|scrape| scrape.took).collect();
        took.sort();
        let at = |percent: usize| took.get(took.len() * percent / 100).or(took.last()).copied();
        Figures {
            count: took.len(),
            p50: at(50).unwrap_or_default(),
            p99: at(99).unwrap_or_default(),
            most: took.last().copied().unwrap_or_default(),
            failures: since().filter_map(Scrape::told).collect(),
        }
    }
}

/// What became of scrapes.
pub(crate) struct Figures {
    pub(crate) count: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) most: Duration,
    pub(crate) failures: Vec<String>,
}

#[expect(clippy::disallowed_methods, reason = "it is the other side that is tested")]
fn client(door: &Door) -> ClientBuilder {
    let client = Client::builder()
        .no_proxy()
        .timeout(SCRAPE_TIMEOUT)
        .pool_idle_timeout(Duration::from_secs(300))
        .resolve("localhost", door.address);
    match &door.certificate {
        Some(certificate) => client.tls_certs_only([Certificate::from_der(certificate).unwrap()]),
        None => client,
    }
}

/// Is it the page, as a whole?
#[expect(clippy::disallowed_methods, reason = "it is the other side that is tested")]
async fn examine(answer: reqwest::Result<Response>) -> Result<(), String> {
    let chain = |error: reqwest::Error| format!("{:#}", anyhow::Error::new(error));
    let answer = answer.map_err(chain)?;
    let status = answer.status();
    let text = answer.text().await.map_err(chain)?;
    let rows = text.matches("\npartner_license_usage_percent{").count();
    if status == 200 && rows == ROWS { Ok(()) } else { Err(format!("{status} with {rows} rows")) }
}
