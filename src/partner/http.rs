//! HTTP requests with limits and retries, each attempt counted in the ledger.
//!
//! A response of any status is an [`HttpResponse`]; only a request without a complete response is an error. Failures
//! that may end without intervention are retried within a poll: connections, timeouts, 408 and 5xx, unless the server
//! said when to come back. 429 is not retried: the poll fails, and the schedule decides when the next one may start.

use std::time::Duration;

use reqwest::tls::TlsInfo;
use reqwest::{Client, Proxy, RequestBuilder, Response, StatusCode, redirect};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::config::{Account, SecretError, is_https};
use crate::domain::clock::Clock;
use crate::domain::failure::FailureReason;
use crate::domain::schedule::Schedule;
use crate::domain::status::{Code, Endpoint, Ledger};
use crate::large_buffer;

use super::error::FetchError;
use super::response::HttpResponse;
use super::retry_after::retry_after;
use super::server_certificate::ServerCertificate;
use super::transport::{chain, service, transport_error};
use super::trust_anchors::{NO_TLS, Tls, TrustAnchors, TrustAnchorsError};

/// The limits of requests and retries.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryPolicy {
    /// The limit of a poll, unless its collection has one of its own.
    pub(super) poll_timeout: Duration,
    /// The number of attempts, the first one included.
    attempts: u32,
    /// The longest pause before the second attempt; it doubles with each further attempt.
    pub(super) pause: Duration,
    /// The limit of a single request.
    request_timeout: Duration,
    /// The limit of reading the body of a response that is not a success.
    failure_body_timeout: Duration,
    /// The limit of waiting for another process to renew the same refresh token, and of waiting for a renewal while
    /// the current access token is valid.
    pub(super) renewal_timeout: Duration,
    /// The shortest time between the starts of two requests to the API.
    pub(super) pace: Duration,
}

impl RetryPolicy {
    /// The limit of a single request; Partner Center has been seen to need more than 30 s.
    const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

    /// Three attempts, with limits that fit into a poll of `poll_timeout`.
    pub(super) fn new(poll_timeout: Duration) -> Self {
        Self {
            poll_timeout,
            attempts: 3,
            pause: Duration::from_secs(1).min(poll_timeout / 8),
            request_timeout: poll_timeout.min(Self::REQUEST_TIMEOUT),
            failure_body_timeout: Duration::from_secs(5).min(poll_timeout / 8),
            renewal_timeout: poll_timeout / 2,
            pace: Duration::ZERO,
        }
    }

    /// The pause before `attempt`, counted from 1, with full jitter: `jitter`, in `0.0..1.0`, is the share to wait.
    fn pause_before(&self, attempt: u32, jitter: f64) -> Duration {
        self.pause.saturating_mul(1 << (attempt - 2).min(10)).mul_f64(jitter)
    }
}

/// Whether a failed request is retried.
#[derive(Clone, Copy)]
pub(super) enum Retries<'a> {
    /// Never: the caller decides when to ask again.
    Never,
    /// As often as the policy allows.
    ByPolicy,
    /// As often as the policy allows, until this token is cancelled.
    UntilCancelled(&'a CancellationToken),
}

/// Why the HTTP clients of an account cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There are no trust anchors.
    #[error(transparent)]
    TrustAnchors(#[from] TrustAnchorsError),
    /// The URL of the proxy cannot be read.
    #[error("proxy_url cannot be used")]
    Proxy(#[from] SecretError),
    /// The TLS back end or the proxy cannot be used.
    #[error("cannot set up TLS: {0}")]
    Build(String),
}

impl From<ClientError> for FetchError {
    fn from(error: ClientError) -> Self {
        let remedy = "correct ca_file or proxy_url, or give the system CA certificates: the package ca-certificates, or SSL_CERT_FILE";
        Self::new(FailureReason::Tls, chain(&error)).with_remedy(remedy)
    }
}

/// The HTTP clients of one account.
pub(super) struct HttpClient {
    token_client: Client,
    api_client: Client,
    ledger: Ledger,
    retry: RetryPolicy,
    clock: Clock,
    /// When the last request to the API started.
    last_request: Mutex<Option<Instant>>,
}

/// The longest body that is read, after decompression; it holds some 50,000 rows.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// The longest part that is read of a body that is not a success.
const MAX_FAILURE_BODY: usize = 64 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next request of a poll, which follows at once unless the server asks for a pause.
/// Each connection has 25 kB or more, and many accounts are polled one after the other.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

impl HttpClient {
    /// How long to wait before a page is asked for again that still failed after its retries, and after `pauses` pauses:
    /// five seconds, twice as long each time.
    pub(super) fn pause_between_pages(&self, pauses: u32) -> Duration {
        self.retry.pause.saturating_mul(5 << pauses.min(10))
    }

    pub(super) fn new(
        account: &Account,
        ledger: Ledger,
        retry: RetryPolicy,
        clock: Clock,
        trust_anchors: &TrustAnchors,
    ) -> Result<Self, ClientError> {
        let tls = trust_anchors.of(account)?;
        let [login, api] =
            [&account.cloud.login_base_url, &account.cloud.api_base_url].map(|url| is_https(url));
        let build =
            |https: bool| build_client(account, tls.as_ref().filter(|_| https), retry.request_timeout);
        let token_client = build(login)?;
        let api_client = if api == login { token_client.clone() } else { build(api)? };
        Ok(Self { token_client, api_client, ledger, retry, clock, last_request: Mutex::default() })
    }

    /// Sends a request, which `make_request` builds anew for each attempt.
    pub(super) async fn send(
        &self,
        endpoint: Endpoint,
        make_request: impl Fn(&Client) -> RequestBuilder,
        retries: Retries<'_>,
    ) -> Result<HttpResponse, FetchError> {
        let mut attempt = 1;
        loop {
            let outcome = self.send_once(endpoint, make_request(self.client(endpoint))).await;
            if attempt >= self.retry.attempts || !is_worth_retrying(&outcome) {
                return outcome;
            }
            attempt += 1;
            let pause = tokio::time::sleep(self.retry.pause_before(attempt, fastrand::f64()));
            match retries {
                Retries::Never => return outcome,
                Retries::ByPolicy => pause.await,
                Retries::UntilCancelled(token) => tokio::select! { biased;
                    () = token.cancelled() => return outcome,
                    () = pause => {}
                },
            }
            self.ledger.write(|status| *status.traffic.retries.entry(endpoint).or_insert(0) += 1);
        }
    }

    /// Requests `url` once, without counting it, and returns the server's certificate if there is one.
    pub(super) async fn reach(
        &self,
        endpoint: Endpoint,
        url: &str,
    ) -> Result<Option<ServerCertificate>, FetchError> {
        let response = self.client(endpoint).get(url).send().await;
        let response = response.map_err(|error| transport_error(endpoint, error))?;
        let tls = response.extensions().get::<TlsInfo>();
        Ok(tls.and_then(TlsInfo::peer_certificate).and_then(ServerCertificate::from_der))
    }

    fn client(&self, endpoint: Endpoint) -> &Client {
        match endpoint {
            Endpoint::Token => &self.token_client,
            _ => &self.api_client,
        }
    }

    /// Waits until a request to the API may start.
    async fn keep_pace(&self) {
        let mut last_request = self.last_request.lock().await;
        if let Some(last_request) = *last_request {
            sleep_until(last_request + self.retry.pace).await;
        }
        *last_request = Some(Instant::now());
    }

    async fn send_once(
        &self,
        endpoint: Endpoint,
        request: RequestBuilder,
    ) -> Result<HttpResponse, FetchError> {
        if endpoint != Endpoint::Token {
            self.keep_pace().await;
        }
        let mut entry = LedgerEntry {
            ledger: &self.ledger,
            endpoint,
            code: Code::Error,
            throttled: false,
            sent: Instant::now(),
        };
        let response = request.send().await.map_err(|error| transport_error(endpoint, error))?;
        let status = response.status();
        let headers = response.headers().clone();
        let retry_after = retry_after(&headers, self.clock.now());
        // Recorded before the body is read, because the poll may be cancelled meanwhile.
        entry.throttled = status == StatusCode::TOO_MANY_REQUESTS || retry_after.is_some();
        if entry.throttled && !status.is_success() {
            let until = Instant::now() + Schedule::hold(retry_after);
            self.ledger.write(|status| status.hold_until = status.hold_until.max(Some(until)));
        }
        let body = if status.is_success() {
            let body = read_capped(endpoint, response).await;
            body.map_err(|error| FetchError { retry_after, ..error })?
        } else {
            // A failure status counts even if the poll is cancelled while its body is read.
            entry.code = Code::Status(status.as_u16());
            read_failure_body(response, self.retry.failure_body_timeout).await
        };
        entry.code = Code::Status(status.as_u16());
        Ok(HttpResponse { status, headers, body, retry_after })
    }
}

/// Builds a client for `https`, which uses a proxy if there is one, or without `tls` for `http` on loopback.
fn build_client(
    account: &Account,
    tls: Option<&Tls>,
    request_timeout: Duration,
) -> Result<Client, ClientError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where clients are built, with limits and a user agent"
    )]
    let mut builder = Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(request_timeout)
        .pool_idle_timeout(IDLE_TIMEOUT)
        // Redirects are reported, not followed: the API has none, and one could send the token elsewhere.
        .redirect(redirect::Policy::none())
        .tls_info(true);
    let Some(tls) = tls else {
        // No trust anchors are needed. A proxy could read the token, and would look for the loopback address on its
        // own machine.
        let builder = builder.tls_backend_preconfigured(NO_TLS.clone()).no_proxy();
        return builder.build().map_err(|error| ClientError::Build(chain(&error)));
    };
    builder = builder.tls_backend_preconfigured(tls.config.clone());
    if let Some(proxy_url) = &account.proxy_url {
        let proxy_url = proxy_url.read()?;
        let proxy = Proxy::all(proxy_url.expose_secret())
            .map_err(|error| ClientError::Build(chain(&error.without_url())))?;
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| ClientError::Build(chain(&error)))
}

/// The ledger entry of one request. It is written on drop, so that a cancelled request counts as well.
struct LedgerEntry<'a> {
    ledger: &'a Ledger,
    endpoint: Endpoint,
    code: Code,
    throttled: bool,
    sent: Instant,
}

impl Drop for LedgerEntry<'_> {
    fn drop(&mut self) {
        let (endpoint, code) = (self.endpoint, self.code);
        self.ledger.write(|status| {
            let traffic = &mut status.traffic;
            *traffic.requests.entry((endpoint, code)).or_insert(0) += 1;
            traffic.durations.entry(endpoint).or_default().observe(self.sent.elapsed().as_secs_f64());
            *traffic.throttled.entry(endpoint).or_insert(0) += u64::from(self.throttled);
        });
    }
}

fn is_worth_retrying(outcome: &Result<HttpResponse, FetchError>) -> bool {
    let (is_transient, retry_after) = match outcome {
        Ok(HttpResponse { status, retry_after, .. }) => {
            (*status == StatusCode::REQUEST_TIMEOUT || status.is_server_error(), *retry_after)
        }
        Err(error) => {
            (matches!(error.reason(), FailureReason::Network | FailureReason::Timeout), error.retry_after)
        }
    };
    is_transient && retry_after.is_none()
}

async fn read_capped(endpoint: Endpoint, mut response: Response) -> Result<Vec<u8>, FetchError> {
    let (mut body, url) = (Vec::new(), response.url().clone());
    let lost = |error: reqwest::Error| transport_error(endpoint, error.with_url(url.clone()));
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if body.len() + chunk.len() > MAX_BODY {
            let (service, limit) = (service(endpoint), MAX_BODY >> 20);
            let text = format!("the response from {service} is larger than {limit} MiB");
            return Err(match endpoint {
                Endpoint::Token => FetchError::sign_in_payload(text),
                _ => FetchError::new(FailureReason::Payload, text),
            });
        }
        large_buffer::reserve(&mut body, chunk.len());
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads the part of a failure's body that arrives within `limit`: a 429 whose body is cut off is still a 429.
async fn read_failure_body(mut response: Response, limit: Duration) -> Vec<u8> {
    let mut body = Vec::new();
    let reading = async {
        while body.len() < MAX_FAILURE_BODY
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
    };
    // After the limit, the part that was read is used.
    drop(tokio::time::timeout(limit, reading).await);
    body.truncate(MAX_FAILURE_BODY);
    body
}
