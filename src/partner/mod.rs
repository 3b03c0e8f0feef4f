//! The way out: signing in at Entra ID and fetching from the Partner Center API.
//!
//! [`Source`] is the seam to the rest of the program; [`PartnerCenter`] the real one. Knows nothing of
//! timers, metrics or pages: it fetches once, and says what happened.

mod claims;
mod credential;
mod error;
mod grant;
pub mod hints;
mod http;
mod paging;
mod retry_after;
mod sign_in;
mod store;
mod token;
mod wire;

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::Account;
use crate::domain::clock::Clock;
use crate::domain::status::{Endpoint, Ledger};
use crate::domain::usage::UsageReport;

pub use claims::Claims;
pub use error::FetchError;
use error::Secrets;
use grant::{Grant, Rotation};
pub use http::{ClientError, Reached, RetryPolicy, ServerCertificate};
use http::{Http, Reply};
use paging::{PageRequest, Pages};
pub use sign_in::{BrowserSignIn, DeviceCode, Progress, SignIn, SignedIn, ended, refused_redirect};
pub use store::{StoreError, TokenStore};
use token::{Bearer, TokenSource};
use wire::WireError;

/// Something that can be asked for the usage collection.
pub trait Source: Send + Sync + 'static {
    /// Fetches the whole collection once. May be dropped at any time.
    fn fetch(&self) -> impl Future<Output = Result<UsageReport, FetchError>> + Send;

    /// Waits until a fetch that failed may go better, because there are other credentials now.
    fn changed(&self) -> impl Future<Output = ()> + Send;

    /// Waits for work that must not be cut off, such as storing a refresh token just received.
    fn settle(&self) -> impl Future<Output = ()> + Send;
}

/// Partner Center, for one account.
#[derive(Debug)]
pub struct PartnerCenter {
    ledger: Ledger,
    http: Arc<Http>,
    grant: Arc<Grant>,
    tokens: TokenSource,
    api_base_url: String,
    locale: String,
}

impl PartnerCenter {
    /// Prepares a client for `account`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError`] if no HTTP client can be made of `ca_file`, `proxy_url` or the system's trust store.
    pub fn new(
        account: &Account,
        store: TokenStore,
        ledger: &Ledger,
        clock: &Clock,
        poll_timeout: Duration,
    ) -> Result<Self, ClientError> {
        Self::with_retry(account, store, ledger, clock, RetryPolicy::new(poll_timeout))
    }

    fn with_retry(
        account: &Account,
        store: TokenStore,
        ledger: &Ledger,
        clock: &Clock,
        retry: RetryPolicy,
    ) -> Result<Self, ClientError> {
        let renewal_timeout = retry.renewal_timeout;
        let http = Arc::new(Http::new(account, ledger.clone(), retry, clock.clone())?);
        let grant =
            Grant::new(account, store, Arc::clone(&http), ledger.clone(), clock.clone(), renewal_timeout);
        let grant = Arc::new(grant);
        let tokens = TokenSource::new(Arc::clone(&grant), Rotation::Wanted, renewal_timeout);
        Ok(Self {
            ledger: ledger.clone(),
            http,
            grant,
            tokens,
            api_base_url: account.cloud.api_base_url.clone(),
            locale: account.locale.clone(),
        })
    }

    /// Says of the refresh token that will be used what is known without using it.
    pub fn announce(&self) {
        self.grant.announce();
    }

    /// Signs in without a successor of the refresh token: a running exporter goes on with the one it has.
    #[must_use]
    pub fn without_rotation(mut self) -> Self {
        self.tokens.rotation = Rotation::Unwanted;
        self
    }

    /// Asks whether a service is there at all.
    ///
    /// # Errors
    /// [`FetchError`] if it does not answer.
    pub async fn reach(&self, endpoint: Endpoint) -> Result<Reached, FetchError> {
        let url = match endpoint {
            Endpoint::Token => self.grant.endpoint("token"),
            Endpoint::Usage => format!("{}/", self.api_base_url),
        };
        self.http.reach(endpoint, &url).await
    }

    /// Signs in, and says what the access token says of itself, if it can be read.
    ///
    /// # Errors
    /// [`FetchError`] if the sign-in fails.
    pub async fn claims(&self) -> Result<Option<Claims>, FetchError> {
        Ok(Claims::of(self.tokens.bearer().await?.secret()))
    }

    /// Prepares a person's sign-in to this account.
    pub fn sign_in(&self) -> SignIn {
        SignIn::new(Arc::clone(&self.grant))
    }

    async fn get(&self, page: &PageRequest, bearer: &Bearer) -> Result<Reply, FetchError> {
        // Documented: the request id stays the same when the call is repeated, the correlation id does not
        // outlive the call either.
        let (request_id, correlation_id) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let request = |client: &Client| {
            client
                .get(page.url.clone())
                .headers(page.headers.clone())
                .bearer_auth(bearer.secret().expose_secret())
                .header("Accept", "application/json")
                .header("MS-RequestId", &request_id)
                .header("MS-CorrelationId", &correlation_id)
                .header("X-Locale", &self.locale)
                // Asks whether the token carries the MFA claim that the API has come to demand.
                .header("ValidateMfa", "true")
        };
        // Whoever drops this future drops the request with it.
        let abandoned = CancellationToken::new();
        let reply = self.http.send(Endpoint::Usage, request, &abandoned).await;
        let mut reply = reply.map_err(|error| error.with_ids(&request_id, &correlation_id))?;
        // The API repeats the ids. A gateway or a proxy does not, and they are what its log has, too.
        for (name, id) in [("ms-requestid", request_id), ("ms-correlationid", correlation_id)] {
            let id = HeaderValue::from_maybe_shared(id).expect("an id is plain ASCII");
            reply.headers.entry(name).or_insert(id);
        }
        let compliant = reply.headers.get("isMfaCompliant").and_then(|value| value.to_str().ok());
        if let Some(compliant) = compliant.and_then(|text| text.to_ascii_lowercase().parse().ok()) {
            self.ledger.write(|status| status.credentials.mfa_compliant = Some(compliant));
        }
        Ok(reply)
    }

    /// Asks for a page. A token can end before its time: it is renewed once for the whole collection.
    async fn get_with_valid_token(
        &self,
        page: &PageRequest,
        bearer: &mut Bearer,
        renewed: &mut bool,
    ) -> Result<Reply, FetchError> {
        let refused = |reply: &Reply| reply.status == StatusCode::UNAUTHORIZED;
        let mut reply = self.get(page, bearer).await?;
        if refused(&reply) && reply.retry_after.is_none() && !*renewed {
            *renewed = true;
            self.tokens.discard(bearer).await;
            *bearer = self.tokens.bearer().await?;
            reply = self.get(page, bearer).await?;
        }
        if refused(&reply) {
            self.tokens.discard(bearer).await;
        }
        Ok(reply)
    }
}

impl Source for PartnerCenter {
    async fn fetch(&self) -> Result<UsageReport, FetchError> {
        let mut bearer = self.tokens.bearer().await?;
        let (mut renewed, mut rows) = (false, Vec::new());
        let mut pages = Pages::begin(&self.api_base_url, "analytics/licenses/usage");
        loop {
            let reply = self.get_with_valid_token(pages.current(), &mut bearer, &mut renewed).await?;
            let secrets = Secrets(vec![bearer.secret().clone()]);
            let unusable = |what: &dyn Display| FetchError::payload(&what.to_string(), &reply, &secrets);
            if !reply.status.is_success() {
                return Err(FetchError::api(&reply, &secrets));
            }
            if reply.status == StatusCode::NO_CONTENT {
                return Err(unusable(&"the answer has no content"));
            }
            let page = wire::page(reply.json()).map_err(|error| unusable(&error))?;
            wire::append(&mut rows, page.rows).map_err(|error| unusable(&error))?;
            // All pages or none: half a collection would look like lost series.
            let Some(next) = page.next else {
                return wire::report(rows).map_err(|error| match &error {
                    WireError::NothingUsable(rejected) => unusable(&error).with_rejected(rejected.clone()),
                    _ => unusable(&error),
                });
            };
            pages.follow(&next).map_err(|error| unusable(&error))?;
        }
    }

    async fn changed(&self) {
        self.tokens.changed().await;
    }

    async fn settle(&self) {
        self.tokens.settle().await;
    }
}

#[cfg(any(test, fuzzing))]
pub mod invariants;
#[cfg(test)]
mod tests;
