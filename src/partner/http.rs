//! One HTTP request, with its limits, its repeats and its entry in the ledger.
//!
//! An answer of any status is a [`Reply`]; only what is no answer is an error. Repeated within the poll is
//! what can pass by itself: connections, timeouts, 408 and 5xx, unless the server said when to come back.
//! 429 is not: the poll has failed for now, and the schedule knows when the next one may be.

use std::error::Error;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use reqwest::tls::TlsInfo;
use reqwest::{Client, Proxy, RequestBuilder, Response, StatusCode, redirect};
use secrecy::ExposeSecret;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::name::Name;

use crate::config::{Account, SecretError, trust_anchors};
use crate::domain::clock::Clock;
use crate::domain::reason::Reason;
use crate::domain::schedule::Schedule;
use crate::domain::status::{Code, Endpoint, Ledger};

use super::error::{FetchError, Secrets};
use super::retry_after::retry_after;

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Whole, if the status is a success. Otherwise as much of it as came soon: the status decides then.
    pub(super) body: Vec<u8>,
    pub(super) retry_after: Option<Duration>,
}

impl Reply {
    /// The body without the UTF-8 byte order mark that Partner Center puts before successful answers.
    pub(super) fn json(&self) -> &[u8] {
        self.body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.body)
    }
}

/// A service that answered, whatever it said.
#[derive(Clone, Debug)]
pub struct Reached {
    /// Its certificate, which was found good, if it was asked by https.
    pub certificate: Option<ServerCertificate>,
}

/// What a server's certificate says.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    /// Whose it is. Often empty: the names that count are elsewhere.
    pub subject: String,
    /// Who vouches for it.
    pub issuer: String,
    /// When it ends.
    pub not_after: Timestamp,
}

impl ServerCertificate {
    fn read(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let fields = certificate.tbs_certificate();
        let line = |name: &Name| Secrets(Vec::new()).one_line(&name.to_string());
        let end = fields.validity().not_after.to_unix_duration().as_secs();
        Some(Self {
            subject: line(fields.subject()),
            issuer: line(fields.issuer()),
            not_after: Timestamp::from_second(end.try_into().ok()?).unwrap_or(Timestamp::MAX),
        })
    }
}

/// How often a request is repeated, and how patiently.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Requests in all.
    attempts: u32,
    /// The first pause; doubled each time, and a random share of it is waited.
    pub(super) pause: Duration,
    /// The longest a single request may take.
    request_timeout: Duration,
    /// The longest that the body of an answer is waited for whose status says enough.
    failure_body_timeout: Duration,
    /// The longest that a renewal is waited for: another process' of the same refresh token, and one's own while the
    /// current access token lives.
    pub(super) renewal_timeout: Duration,
}

impl RetryPolicy {
    /// The longest a single request may take; Partner Center has been seen to need more than 30 s.
    const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

    /// Three attempts, the first repeat after up to one second, or sooner where polls must be short.
    pub fn new(poll_timeout: Duration) -> Self {
        Self {
            attempts: 3,
            pause: Duration::from_secs(1).min(poll_timeout / 8),
            request_timeout: poll_timeout.min(Self::REQUEST_TIMEOUT),
            failure_body_timeout: Duration::from_secs(5).min(poll_timeout / 8),
            renewal_timeout: poll_timeout / 2,
        }
    }

    /// The pause before attempt `attempt` (from 2): "full jitter", so that many clients do not return at once.
    fn pause_before(&self, attempt: u32, dice: f64) -> Duration {
        self.pause.saturating_mul(1 << (attempt - 2).min(10)).mul_f64(dice)
    }
}

/// Why no HTTP client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file of extra trust anchors.
    #[error("ca_file: {0}")]
    CaFile(String),
    /// The proxy's address.
    #[error("proxy_url cannot be used")]
    Proxy(#[from] SecretError),
    /// The TLS back end or the system's trust store.
    #[error("cannot set up TLS: {0}")]
    Build(String),
}

/// The HTTP clients of one account.
#[derive(Debug)]
pub(super) struct Http {
    token_client: Client,
    usage_client: Client,
    ledger: Ledger,
    retry: RetryPolicy,
    clock: Clock,
}

/// The largest body that is read, after decompression: some 50,000 rows.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// As much as is read of an answer that is no success.
const MAX_FAILURE_BODY: usize = 64 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

impl Http {
    pub(super) fn new(
        account: &Account,
        ledger: Ledger,
        retry: RetryPolicy,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let [login, api] = [&account.cloud.login_base_url, &account.cloud.api_base_url]
            .map(|url| if url.starts_with("http:") { Scheme::Http } else { Scheme::Https });
        let token_client = client(account, login, retry.request_timeout)?;
        let usage_client =
            if api == login { token_client.clone() } else { client(account, api, retry.request_timeout)? };
        Ok(Self { token_client, usage_client, ledger, retry, clock })
    }

    /// Sends the request that `make` makes, anew for each attempt; no further one once `abandoned`.
    pub(super) async fn send(
        &self,
        endpoint: Endpoint,
        make: impl Fn(&Client) -> RequestBuilder,
        abandoned: &CancellationToken,
    ) -> Result<Reply, FetchError> {
        let mut attempt = 1;
        loop {
            let outcome = self.send_once(endpoint, make(self.client(endpoint))).await;
            if attempt >= self.retry.attempts || !worth_repeating(&outcome) {
                return outcome;
            }
            attempt += 1;
            tokio::select! { biased;
                () = abandoned.cancelled() => return outcome,
                () = tokio::time::sleep(self.retry.pause_before(attempt, fastrand::f64())) => {}
            }
            self.ledger.write(|status| *status.traffic.retries.entry(endpoint).or_insert(0) += 1);
        }
    }

    /// Asks for `url` once, outside the ledger: is there anybody, and with which certificate?
    pub(super) async fn reach(&self, endpoint: Endpoint, url: &str) -> Result<Reached, FetchError> {
        let response =
            self.client(endpoint).get(url).send().await.map_err(|error| failed(endpoint, error))?;
        let tls = response.extensions().get::<TlsInfo>();
        let certificate = tls.and_then(TlsInfo::peer_certificate).and_then(ServerCertificate::read);
        Ok(Reached { certificate })
    }

    fn client(&self, endpoint: Endpoint) -> &Client {
        match endpoint {
            Endpoint::Token => &self.token_client,
            Endpoint::Usage => &self.usage_client,
        }
    }

    async fn send_once(&self, endpoint: Endpoint, request: RequestBuilder) -> Result<Reply, FetchError> {
        let mut entry = Entry {
            ledger: &self.ledger,
            endpoint,
            code: Code::Error,
            slow_down: false,
            sent: Instant::now(),
        };
        let response = request.send().await.map_err(|error| failed(endpoint, error))?;
        let status = response.status();
        let headers = response.headers().clone();
        let retry_after = retry_after(&headers, self.clock.now());
        // Known from here on, whatever becomes of the body, of this poll and of whoever waits for it.
        entry.slow_down = status == StatusCode::TOO_MANY_REQUESTS || retry_after.is_some();
        if entry.slow_down && !status.is_success() {
            let until = Instant::now() + Schedule::hold(retry_after);
            self.ledger.write(|status| status.hold_until = status.hold_until.max(Some(until)));
        }
        let body = if status.is_success() {
            let body = read_capped(endpoint, response).await;
            body.map_err(|error| error.with_retry_after(retry_after))?
        } else {
            // So is this, even if the rest never comes and the poll's time runs out over it.
            entry.code = Code::Status(status.as_u16());
            read_what_comes(response, self.retry.failure_body_timeout).await
        };
        entry.code = Code::Status(status.as_u16());
        Ok(Reply { status, headers, body, retry_after })
    }
}

/// How an address is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// Without TLS, which the configuration allows for this machine only.
    Http,
    /// With TLS, and through a proxy if there is one.
    Https,
}

fn client(account: &Account, scheme: Scheme, limit: Duration) -> Result<Client, ClientError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where it is built, with limits and a user agent"
    )]
    let mut builder = Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(limit)
        // A redirect could carry the token elsewhere. The API has none, so one is reported as it is.
        .redirect(redirect::Policy::none())
        .tls_info(true);
    if let Some(path) = &account.ca_file {
        builder = builder.tls_certs_merge(trust_anchors(path).map_err(ClientError::CaFile)?);
    }
    if scheme == Scheme::Http {
        // No certificate is checked, so a system without trust anchors will do. A proxy would look for the
        // address on its own machine, after it had read the token.
        builder = builder.tls_certs_only([]).no_proxy();
    } else if let Some(proxy_url) = &account.proxy_url {
        let proxy_url = proxy_url.read()?;
        let proxy = Proxy::all(proxy_url.expose_secret())
            .map_err(|error| ClientError::Build(chain(&error.without_url())))?;
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| ClientError::Build(chain(&error)))
}

/// One line of the ledger. It is written on drop, so that a request cut off by a deadline counts as well.
struct Entry<'a> {
    ledger: &'a Ledger,
    endpoint: Endpoint,
    code: Code,
    slow_down: bool,
    sent: Instant,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let (endpoint, code) = (self.endpoint, self.code);
        self.ledger.write(|status| {
            let traffic = &mut status.traffic;
            *traffic.requests.entry((endpoint, code)).or_insert(0) += 1;
            traffic.durations.entry(endpoint).or_default().observe(self.sent.elapsed().as_secs_f64());
            *traffic.throttled.entry(endpoint).or_insert(0) += u64::from(self.slow_down);
        });
    }
}

fn worth_repeating(outcome: &Result<Reply, FetchError>) -> bool {
    let (passing, retry_after) = match outcome {
        Ok(Reply { status, retry_after, .. }) => {
            (*status == StatusCode::REQUEST_TIMEOUT || status.is_server_error(), *retry_after)
        }
        Err(error) => (matches!(error.reason(), Reason::Network | Reason::Timeout), error.retry_after()),
    };
    passing && retry_after.is_none()
}

async fn read_capped(endpoint: Endpoint, mut response: Response) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(endpoint, error))? {
        if body.len() + chunk.len() > MAX_BODY {
            let text = format!("the answer of {} is larger than {} MiB", service(endpoint), MAX_BODY >> 20);
            return Err(FetchError::new(Reason::Payload, text));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What an answer says of its failure, as far as it comes. A 429 whose body is cut off is still a 429.
async fn read_what_comes(mut response: Response, limit: Duration) -> Vec<u8> {
    let mut body = Vec::new();
    let reading = async {
        while body.len() < MAX_FAILURE_BODY
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
    };
    // What is there by then is enough.
    drop(tokio::time::timeout(limit, reading).await);
    body.truncate(MAX_FAILURE_BODY);
    body
}

/// What a request without an answer means. The address is left out of the text: it may hold a tenant.
fn failed(endpoint: Endpoint, error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    let (service, causes_text) = (service(endpoint), chain(&error));
    let (reason, text) = if error.is_timeout() {
        (Reason::Timeout, format!("{service} did not answer in time"))
    } else if is_garbled(&error) {
        (Reason::Payload, format!("the answer of {service} cannot be decompressed"))
    } else {
        let reason = if causes(&error).any(is_tls) { Reason::Tls } else { Reason::Network };
        (reason, format!("{service} could not be asked"))
    };
    FetchError::new(reason, format!("{text}: {causes_text}"))
}

/// Whether a body came and its decompression failed. What fails on the way is an error of the connection first,
/// and an `io::Error` only below that.
fn is_garbled(error: &reqwest::Error) -> bool {
    error.is_decode() && causes(error).find(|cause| !cause.is::<reqwest::Error>()).is_some_and(is_io)
}

fn service(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Token => "the sign-in service",
        Endpoint::Usage => "the API",
    }
}

/// The causes of an error, itself first. An `io::Error` hides its cause from `source`, hence the detour.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
        Some(error)
    })
}

fn is_tls(error: &(dyn Error + 'static)) -> bool {
    error.is::<rustls::Error>()
}

fn is_io(error: &(dyn Error + 'static)) -> bool {
    error.is::<io::Error>()
}

/// An error and its causes on one line, without repetitions.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in causes(error) {
        let part = cause.to_string();
        if parts.last().is_none_or(|last| !last.ends_with(&part)) {
            parts.push(part);
        }
    }
    parts.join(": ")
}
