//! The client of the Partner Center API for one account.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::config::Account;
use crate::domain::clock::Clock;
use crate::domain::status::{Endpoint, Ledger};
use crate::domain::usage::UsageReport;

use super::access_token::AccessToken;
use super::access_token_cache::AccessTokenCache;
use super::blocking::on_one_thread;
use super::claims::Claims;
use super::error::FetchError;
use super::http::{ClientError, HttpClient, Retries, RetryPolicy};
use super::paging::{PageRequest, Pages};
use super::redaction::Redactor;
use super::refresh_tokens::RefreshTokens;
use super::refusal;
use super::renewal::Renewal;
use super::response::HttpResponse;
use super::server_certificate::ServerCertificate;
use super::sign_in::SignIn;
use super::source::UsageSource;
use super::store::TokenStore;
use super::token_endpoint::{Rotation, TokenEndpoint};
use super::trust_anchors::TrustAnchors;
use super::wire::{Collection, WireError};

/// Partner Center, as one account uses it.
pub struct PartnerCenter {
    account: Arc<Account>,
    ledger: Ledger,
    http: Arc<HttpClient>,
    token_endpoint: Arc<TokenEndpoint>,
    refresh_tokens: Arc<RefreshTokens>,
    pub(super) access_tokens: AccessTokenCache,
}

impl PartnerCenter {
    /// A client for `account`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError`] if `ca_file`, `proxy_url` or the system's trust store cannot be used.
    pub fn new(
        account: &Account,
        store: TokenStore,
        ledger: &Ledger,
        clock: &Clock,
        poll_timeout: Duration,
        trust_anchors: &TrustAnchors,
    ) -> Result<Self, ClientError> {
        Self::with_retry(account, store, ledger, clock, RetryPolicy::new(poll_timeout), trust_anchors)
    }

    pub(super) fn with_retry(
        account: &Account,
        store: TokenStore,
        ledger: &Ledger,
        clock: &Clock,
        retry: RetryPolicy,
        trust_anchors: &TrustAnchors,
    ) -> Result<Self, ClientError> {
        let timeout = retry.renewal_timeout;
        let (account, ledger) = (Arc::new(account.clone()), ledger.clone());
        let http = Arc::new(HttpClient::new(&account, ledger.clone(), retry, clock.clone(), trust_anchors)?);
        let token_endpoint = Arc::new(TokenEndpoint {
            account: Arc::clone(&account),
            http: Arc::clone(&http),
            ledger: ledger.clone(),
            clock: clock.clone(),
        });
        let refresh_tokens = Arc::new(RefreshTokens::new(Arc::clone(&account), store, ledger.clone()));
        let (endpoint, tokens) = (Arc::clone(&token_endpoint), Arc::clone(&refresh_tokens));
        let renewal = Renewal::new(endpoint, tokens, ledger.clone(), timeout);
        let access_tokens = AccessTokenCache::new(renewal, clock.clone(), timeout);
        Ok(Self { account, ledger, http, token_endpoint, refresh_tokens, access_tokens })
    }

    /// Notes in the ledger what is known about the refresh token before its first use.
    pub fn announce(&self) {
        self.refresh_tokens.announce();
    }

    /// Signs in without asking for a successor of the refresh token, which a running exporter continues to use.
    #[must_use]
    pub fn without_rotation(mut self) -> Self {
        self.access_tokens.rotation = Rotation::Unwanted;
        self
    }

    /// Checks that a service responds, and returns its certificate if it uses TLS.
    ///
    /// # Errors
    /// [`FetchError`] if it does not respond.
    pub async fn reach(&self, endpoint: Endpoint) -> Result<Option<ServerCertificate>, FetchError> {
        let url = match endpoint {
            Endpoint::Token => self.token_endpoint.url("token"),
            Endpoint::Usage => format!("{}/", self.account.cloud.api_base_url),
        };
        self.http.reach(endpoint, &url).await
    }

    /// Signs in, and returns the claims of the access token if it can be read, and the ids of the sign-in.
    ///
    /// # Errors
    /// [`FetchError`] if the sign-in fails.
    pub async fn claims(&self) -> Result<(Option<Claims>, Vec<String>), FetchError> {
        let token = self.access_tokens.token().await?;
        Ok((Claims::of(token.secret()), token.ids))
    }

    /// Prepares the sign-in of a person to this account.
    pub fn sign_in(&self) -> SignIn {
        SignIn::new(Arc::clone(&self.token_endpoint), Arc::clone(&self.refresh_tokens))
    }

    async fn get(&self, page: &PageRequest, token: &AccessToken) -> Result<HttpResponse, FetchError> {
        // As documented, a retry repeats the request id; neither id is used for another call.
        let (request_id, correlation_id) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let request = |client: &Client| {
            client
                .get(page.url.clone())
                .headers(page.headers.clone())
                .bearer_auth(token.secret().expose_secret())
                .header("Accept", "application/json")
                .header("MS-RequestId", &request_id)
                .header("MS-CorrelationId", &correlation_id)
                .header("X-Locale", &self.account.locale)
                // Asks for `isMfaCompliant`, which says whether the token has the MFA claim that the API demands.
                .header("ValidateMfa", "true")
        };
        let ids = [format!("MS-RequestId {request_id}"), format!("MS-CorrelationId {correlation_id}")];
        let response = self.http.send(Endpoint::Usage, request, Retries::ByPolicy).await;
        let mut response = response.map_err(|error| error.with_ids(&ids))?;
        // The API repeats the ids. A gateway or a proxy does not, but may log them.
        for (name, id) in [("ms-requestid", request_id), ("ms-correlationid", correlation_id)] {
            let id = HeaderValue::from_maybe_shared(id).expect("an id is plain ASCII");
            response.headers.entry(name).or_insert(id);
        }
        let compliant = response.headers.get("isMfaCompliant").and_then(|value| value.to_str().ok());
        if let Some(compliant) = compliant.and_then(|text| text.to_ascii_lowercase().parse().ok()) {
            self.ledger.write(|status| status.credentials.mfa_compliant = Some(compliant));
        }
        Ok(response)
    }

    /// Requests a page. An access token may be refused before it expires: it is renewed once per collection.
    async fn get_with_valid_token(
        &self,
        page: &PageRequest,
        token: &mut AccessToken,
        renewed: &mut bool,
    ) -> Result<HttpResponse, FetchError> {
        let is_refused = |response: &HttpResponse| response.status == StatusCode::UNAUTHORIZED;
        let mut response = self.get(page, token).await?;
        if is_refused(&response) && response.retry_after.is_none() && !*renewed {
            *renewed = true;
            self.access_tokens.discard(token).await;
            *token = self.access_tokens.token().await?;
            response = self.get(page, token).await?;
        }
        if is_refused(&response) {
            self.access_tokens.discard(token).await;
        }
        Ok(response)
    }

    /// Fetches the usage collection, and returns it with the ids of its last page.
    ///
    /// # Errors
    /// [`FetchError`] if the sign-in or a request fails, or if the collection cannot be used.
    pub async fn fetch_with_ids(&self) -> Result<(UsageReport, Vec<String>), FetchError> {
        let mut token = self.access_tokens.token().await?;
        let mut renewed = false;
        let mut collection = Collection::new(self.account.label_value_length_limit);
        let mut pages = Pages::begin(&self.account.cloud.api_base_url, "analytics/licenses/usage");
        loop {
            let mut response = self.get_with_valid_token(pages.current(), &mut token, &mut renewed).await?;
            let redactor = Redactor::new(vec![token.secret().clone()]);
            if !response.status.is_success() {
                let error = refusal::by_api(&response, &redactor);
                return Err(error.with_command_flags(&self.account.command_flags));
            }
            // A large page takes a tenth of a second, in which scrapes would wait for a worker.
            let read = move || {
                let next = collection.read(response.json());
                // The rows are sorted without it.
                response.body = Vec::new();
                collection.settle();
                (next, collection, response)
            };
            let (next, so_far, response) = on_one_thread(read).await;
            collection = so_far;
            let unusable = |why: &dyn fmt::Display| refusal::unusable(&why.to_string(), &response, &redactor);
            if response.status == StatusCode::NO_CONTENT {
                return Err(unusable(&"the response has no content"));
            }
            let next = next.map_err(|error| unusable(&error))?;
            // The report has all pages or there is none, since missing pages would look like lost series.
            let Some(next) = next else {
                let report = collection.report().map_err(|error| match &error {
                    WireError::NothingUsable(rejected) => {
                        FetchError { rejected: rejected.clone(), ..unusable(&error) }
                    }
                    _ => unusable(&error),
                });
                return Ok((report?, refusal::ids(&response, &redactor)));
            };
            pages.follow(&next).map_err(|error| unusable(&error))?;
        }
    }
}

impl UsageSource for PartnerCenter {
    async fn fetch(&self) -> Result<UsageReport, FetchError> {
        Ok(self.fetch_with_ids().await?.0)
    }

    async fn credentials_changed(&self) -> bool {
        self.access_tokens.credentials_changed().await
    }

    async fn drain(&self) {
        self.access_tokens.drain().await;
    }
}

impl fmt::Debug for PartnerCenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartnerCenter").field("account", &self.account.display_name()).finish_non_exhaustive()
    }
}
