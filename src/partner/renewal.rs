//! Renews the access token: lock, choose a refresh token, exchange it, persist its successor.

use std::fs::File;
use std::iter;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use crate::domain::failure::FailureReason;
use crate::domain::status::Ledger;
use crate::state::file::Stamp;

use super::access_token::AccessToken;
use super::blocking::off_workers;
use super::error::FetchError;
use super::http::Retries;
use super::oauth::OAuthError;
use super::refresh_tokens::{Choice, RefreshTokens};
use super::stored_token::{Lineage, StoredToken, Successor};
use super::token_choice::Candidate;
use super::token_endpoint::{Rotation, TokenEndpoint, TokenResponse};

/// Renews the access tokens of one account.
pub(super) struct Renewal {
    endpoint: Arc<TokenEndpoint>,
    refresh_tokens: Arc<RefreshTokens>,
    ledger: Ledger,
    lock_timeout: Duration,
    /// The credentials of the last renewal.
    used: Mutex<CredentialState>,
}

/// The state of all credentials at one time.
#[derive(Clone, Default, PartialEq, Eq)]
struct CredentialState {
    secret_files: Vec<Option<Stamp>>,
    lineage: Option<Lineage>,
}

const LOCK_REMEDY: &str = "find the process that holds the lock, for instance with `fuser`, and stop it";

impl Renewal {
    pub(super) fn new(
        endpoint: Arc<TokenEndpoint>,
        refresh_tokens: Arc<RefreshTokens>,
        ledger: Ledger,
        lock_timeout: Duration,
    ) -> Self {
        Self { endpoint, refresh_tokens, ledger, lock_timeout, used: Mutex::default() }
    }

    pub(super) fn account(&self) -> &str {
        self.endpoint.account.display_name()
    }

    /// Exchanges a refresh token for an access token. No further attempt is made once `abandoned`.
    pub(super) async fn renew(
        &self,
        rotation: Rotation,
        abandoned: &CancellationToken,
    ) -> Result<AccessToken, FetchError> {
        // Before the exchange: a file that is replaced during it is a change.
        let before = self.credential_state().await;
        *self.used() = before;
        let outcome = self.renew_under_lock(rotation, abandoned).await;
        outcome.map_err(|error| error.with_command_flags(&self.endpoint.account.command_flags))
    }

    async fn renew_under_lock(
        &self,
        rotation: Rotation,
        abandoned: &CancellationToken,
    ) -> Result<AccessToken, FetchError> {
        let _lock = self.lock(abandoned).await?;
        self.refresh_tokens.save_unsaved().await;
        let mut refusal: Option<(Candidate, FetchError)> = None;
        let refresh_tokens = Arc::clone(&self.refresh_tokens);
        let Choice { candidates, stored } = off_workers(move || refresh_tokens.choose()).await?;
        self.used().lineage = stored.as_ref().map(|stored| stored.lineage.clone());
        for candidate in candidates {
            if let Some((_, error)) = refusal.take_if(|_| abandoned.is_cancelled()) {
                return Err(error);
            }
            let response = match self.exchange(&candidate, rotation, abandoned).await {
                Ok(response) => response,
                // If no candidate is accepted, the first refusal is the one that is reported.
                Err(error) if error.oauth_error.is_some_and(OAuthError::refuses_refresh_token) => {
                    refusal.get_or_insert((candidate, error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            // The successor comes first, because the refresh token may have ended with its use.
            self.persist(&candidate, &response, stored.clone()).await;
            let access_token = response.access_token()?;
            self.note_expiry(&response);
            self.ledger.write(|status| status.credentials.refresh_token_refused = false);
            if let Some((refused, error)) = &refusal {
                self.refresh_tokens.note_refusal(refused, error, &candidate);
            }
            return Ok(access_token);
        }
        self.ledger.write(|status| status.credentials.refresh_token_refused = true);
        let (_, error) = refusal.expect("there is a candidate, and each was refused");
        Err(error)
    }

    /// Waits for the lock: the next process then finds the successor of the token that is used here.
    async fn lock(&self, abandoned: &CancellationToken) -> Result<Option<Arc<File>>, FetchError> {
        let timed_out = |text: String| FetchError::new(FailureReason::Timeout, text);
        tokio::select! {
            lock = self.refresh_tokens.lock(self.lock_timeout) => {
                lock.map_err(|busy| timed_out(busy.to_string()).with_remedy(LOCK_REMEDY))
            }
            () = abandoned.cancelled() => Err(timed_out("the renewal was abandoned".to_owned())),
        }
    }

    async fn exchange(
        &self,
        candidate: &Candidate,
        rotation: Rotation,
        abandoned: &CancellationToken,
    ) -> Result<TokenResponse, FetchError> {
        self.refresh_tokens.note_issue(candidate.issued_at);
        let scope = self.endpoint.scope(rotation);
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", candidate.token.expose_secret()),
            ("scope", scope.as_str()),
        ];
        let secrets = vec![candidate.token.clone()];
        self.endpoint.exchange(&form, secrets, Retries::UntilCancelled(abandoned)).await
    }

    async fn persist(&self, candidate: &Candidate, response: &TokenResponse, replaced: Option<StoredToken>) {
        if let Some(token) = response.refresh_token.clone() {
            let lineage = candidate.lineage.clone();
            let token = StoredToken { token, issued_at: response.sent_at, lineage: lineage.clone() };
            if self.refresh_tokens.persist(Successor { token, replaced }).await {
                // A successor that this renewal stores is no change.
                self.used().lineage = Some(lineage);
            }
        } else if response.has_malformed_refresh_token {
            tracing::warn!(
                account = self.account(),
                "The new refresh token is malformed; the old one works until 90 days after its issue"
            );
        }
    }

    fn note_expiry(&self, response: &TokenResponse) {
        let expires_at = response.sent_at.saturating_add(response.lifetime).unwrap_or(Timestamp::MAX);
        self.ledger.write(|status| status.credentials.access_token_expires_at = Some(expires_at));
    }

    /// Whether the credentials differ from those used or compared last, for example after a new sign-in.
    pub(super) async fn credentials_changed(&self) -> bool {
        let now = self.credential_state().await;
        mem::replace(&mut *self.used(), now.clone()) != now
    }

    /// What cannot be examined counts as unchanged.
    async fn credential_state(&self) -> CredentialState {
        let (account, refresh_tokens) =
            (Arc::clone(&self.endpoint.account), Arc::clone(&self.refresh_tokens));
        let before = self.used().clone();
        off_workers(move || {
            let known = before.secret_files.into_iter().chain(iter::repeat(None));
            let secret_files = account.secret_files().zip(known);
            CredentialState {
                secret_files: secret_files.map(|(path, known)| Stamp::of(path).unwrap_or(known)).collect(),
                lineage: refresh_tokens.lineage().unwrap_or(before.lineage),
            }
        })
        .await
    }

    fn used(&self) -> MutexGuard<'_, CredentialState> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
