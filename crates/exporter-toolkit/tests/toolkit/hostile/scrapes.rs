//! Ordinary scrapes in the background: how long they take, and whether the responses are complete.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Certificate, Client, ClientBuilder, Response};
use tokio::runtime::Runtime;
use tokio::time::MissedTickBehavior;

use super::target::Target;
use crate::support::eventually;

/// The default scrape timeout of Prometheus.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);
/// The interval between scrapes, which is far shorter than that of a Prometheus server.
const SCRAPE_INTERVAL: Duration = Duration::from_millis(50);

/// One scrape.
struct Scrape {
    began: Instant,
    took: Duration,
    failure: Option<String>,
}

impl Scrape {
    fn report(&self) -> Option<String> {
        Some(format!("after {:?}: {}", self.took, self.failure.as_ref()?))
    }
}

/// Two scrapers: one keeps its connection, and speaks HTTP/2 if there is TLS; the other opens a new one each time. Each
/// uses another listener.
pub(crate) struct Scrapes {
    log: Arc<Mutex<Vec<Scrape>>>,
    _runtime: Runtime,
}

impl Scrapes {
    pub(crate) fn start(target: &Target) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let log = Arc::<Mutex<Vec<Scrape>>>::default();
        for (address, keeps_connection) in target.example.addresses.iter().zip([true, false]) {
            let client = client(target).resolve("localhost", *address);
            let client =
                if keeps_connection { client } else { client.http1_only().pool_max_idle_per_host(0) };
            let scheme = if target.certificate.is_some() { "https" } else { "http" };
            let url = format!("{scheme}://localhost:{}/metrics", address.port());
            let (client, log) = (client.build().unwrap(), Arc::clone(&log));
            let padding = target.padding;
            let has_user = !target.authorization.is_empty();
            runtime.spawn(async move {
                let mut ticks = tokio::time::interval(SCRAPE_INTERVAL);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let began = Instant::now();
                    let mut request = client.get(&url);
                    if has_user {
                        request = request.basic_auth("alice", Some("sesame"));
                    }
                    let again = request.try_clone().filter(|_| keeps_connection);
                    let mut response = request.send().await;
                    if let (Err(error), Some(again)) = (&response, again)
                        && error.is_request()
                        && !error.is_timeout()
                    {
                        // The idle connection was closed meanwhile. Prometheus retries as well.
                        response = again.send().await;
                    }
                    let failure = check(response, padding).await.err();
                    log.lock().unwrap().push(Scrape { began, took: began.elapsed(), failure });
                }
            });
        }
        let scrapes = Self { log, _runtime: runtime };
        scrapes.more(20);
        scrapes
    }

    /// Waits until a number of scrapes have started and ended.
    pub(crate) fn more(&self, count: usize) {
        let now = Instant::now();
        eventually("scrapes", || (self.since(now).count >= count).then_some(()));
    }

    /// Returns the figures of the scrapes that have started since a moment.
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
            max: took.last().copied().unwrap_or_default(),
            failures: since().filter_map(Scrape::report).collect(),
        }
    }
}

/// The durations and failures of scrapes.
pub(crate) struct Figures {
    pub(crate) count: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
    pub(crate) failures: Vec<String>,
}

#[expect(clippy::disallowed_methods, reason = "it takes the place of Prometheus")]
fn client(target: &Target) -> ClientBuilder {
    let client = Client::builder()
        .no_proxy()
        .no_gzip()
        .timeout(SCRAPE_TIMEOUT)
        .pool_idle_timeout(Duration::from_secs(300));
    match &target.certificate {
        Some(certificate) => client.tls_certs_only([Certificate::from_der(certificate).unwrap()]),
        None => client,
    }
}

/// Checks that a response is complete.
#[expect(clippy::disallowed_methods, reason = "it takes the place of Prometheus")]
async fn check(response: reqwest::Result<Response>, expected: usize) -> Result<(), String> {
    let chain = |error: reqwest::Error| format!("{:#}", anyhow::Error::new(error));
    let response = response.map_err(chain)?;
    let status = response.status();
    let text = response.text().await.map_err(chain)?;
    let series = text.split_once("\nscrapes_total{padding=\"").map_or("", |(_, series)| series);
    let padding = series.bytes().take_while(|byte| *byte == b'x').count();
    let is_complete = status == 200 && padding == expected && series.ends_with('\n');
    if is_complete { Ok(()) } else { Err(format!("{status} with {padding} of {expected} bytes")) }
}
