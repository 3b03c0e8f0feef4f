//! The client of the Partner Center API for one account.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Account;
use crate::domain::clock::Clock;
use crate::domain::status::{Endpoint, Ledger};

use super::access_token_cache::AccessTokenCache;
use super::claims::Claims;
use super::error::FetchError;
use super::http::{ClientError, HttpClient, RetryPolicy};
use super::known_server::KnownServer;
use super::received::Received;
use super::refresh_tokens::RefreshTokens;
use super::renewal::Renewal;
use super::server_certificate::ServerCertificate;
use super::sign_in::SignIn;
use super::store::TokenStore;
use super::token_endpoint::{Rotation, TokenEndpoint};
use super::trust_anchors::TrustAnchors;

/// Partner Center, as one account uses it.
pub struct PartnerCenter {
    pub(super) account: Arc<Account>,
    pub(super) ledger: Ledger,
    pub(super) http: Arc<HttpClient>,
    token_endpoint: Arc<TokenEndpoint>,
    refresh_tokens: Arc<RefreshTokens>,
    pub(super) access_tokens: AccessTokenCache,
    pub(super) commercial: KnownServer,
    pub(super) received: Arc<Received>,
    /// The limit of a poll, unless its collection has one of its own.
    pub(super) poll_timeout: Duration,
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

    /// The same, with at least `pace` between the starts of two requests to the API.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn with_pace(
        account: &Account,
        store: TokenStore,
        ledger: &Ledger,
        clock: &Clock,
        (poll_timeout, pace): (Duration, Duration),
        trust_anchors: &TrustAnchors,
    ) -> Result<Self, ClientError> {
        let mut retry = RetryPolicy::new(poll_timeout);
        retry.pace = pace;
        Self::with_retry(account, store, ledger, clock, retry, trust_anchors)
    }

    pub(super) fn with_retry(
        account: &Account,
        store: TokenStore,
        ledger: &Ledger,
        clock: &Clock,
        retry: RetryPolicy,
        trust_anchors: &TrustAnchors,
    ) -> Result<Self, ClientError> {
        let (poll_timeout, timeout) = (retry.poll_timeout, retry.renewal_timeout);
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
        Ok(Self {
            account,
            ledger,
            http,
            token_endpoint,
            refresh_tokens,
            access_tokens,
            commercial: KnownServer::default(),
            received: Arc::default(),
            poll_timeout,
        })
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

    /// The same, which adds what it receives to `received`.
    #[must_use]
    pub fn counting(mut self, received: &Arc<Received>) -> Self {
        self.received = Arc::clone(received);
        self
    }

    /// Checks that a service responds, and returns its certificate if it uses TLS.
    ///
    /// # Errors
    /// [`FetchError`] if it does not respond.
    pub async fn reach(&self, endpoint: Endpoint) -> Result<Option<ServerCertificate>, FetchError> {
        let url = match endpoint {
            Endpoint::Token => self.token_endpoint.url("token"),
            _ => format!("{}/", self.account.cloud.api_base_url),
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
}

impl fmt::Debug for PartnerCenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartnerCenter").field("account", &self.account.display_name()).finish_non_exhaustive()
    }
}
