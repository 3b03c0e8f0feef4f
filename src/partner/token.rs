//! Signing in: an access token from Entra ID by the OAuth 2.0 refresh-token grant.
//!
//! The access token is cached until shortly before it expires. Entra ID answers with a new refresh token
//! each time; it is on the disk before anything else is done with it. One renewal is in flight at a time,
//! and once begun it runs to its end, whoever stops waiting: a token received must not be lost. What was on
//! the disk once is remembered too, should it vanish from there.

use std::fmt;
use std::mem;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Account, Secret, SecretError};
use crate::reason::Reason;
use crate::status::{Endpoint, Ledger};

use super::error::{FetchError, Secrets};
use super::http::{Http, Reply};
use super::store::{StoreError, Stored, TokenStore, fingerprint};

/// An access token.
#[derive(Clone)]
pub(super) struct Bearer {
    secret: SecretString,
    renew_at: Instant,
}

impl Bearer {
    pub(super) fn secret(&self) -> &SecretString {
        &self.secret
    }
}

/// Where one account's access tokens come from.
pub(super) struct TokenSource {
    grant: Arc<Grant>,
    cache: Arc<Mutex<Option<Bearer>>>,
}

/// The refresh token to use now, and the configured one that it descends from.
struct Current {
    token: SecretString,
    ancestor: String,
}

/// What one renewal leaves to the next.
#[derive(Default)]
struct Memory {
    /// The newest refresh token that is in the store, or was until the store lost it.
    newest: Option<Stored>,
    /// The last token could not be loaded, not even set aside.
    unreadable: bool,
    /// The last token could not be saved.
    unwritable: bool,
}

/// All that a renewal needs.
struct Grant {
    account: String,
    http: Arc<Http>,
    store: TokenStore,
    ledger: Ledger,
    clock: Clock,
    token_url: String,
    scope: String,
    client_id: String,
    client_secret: Secret,
    first_token: Secret,
    memory: std::sync::Mutex<Memory>,
}

/// A token is renewed this long before its end, so that it does not end on its way.
const RENEW_BEFORE_END: Duration = Duration::from_mins(5);
/// What is assumed when the answer does not say how long the token lives.
const ASSUMED_LIFETIME: Duration = Duration::from_hours(1);

impl TokenSource {
    pub(super) fn new(
        account: &Account,
        store: TokenStore,
        http: Arc<Http>,
        ledger: Ledger,
        clock: Clock,
    ) -> Self {
        let cloud = &account.cloud;
        let grant = Grant {
            account: account.display_name().to_owned(),
            http,
            store,
            ledger,
            clock,
            token_url: format!("{}/{}/oauth2/v2.0/token", cloud.login_base_url, account.tenant_id),
            // `offline_access` is what makes Entra ID answer with a new refresh token.
            scope: format!("{}/user_impersonation offline_access", cloud.api_base_url),
            client_id: account.client_id.clone(),
            client_secret: account.client_secret.clone(),
            first_token: account.refresh_token.clone(),
            memory: std::sync::Mutex::default(),
        };
        Self { grant: Arc::new(grant), cache: Arc::default() }
    }

    /// An access token that is good for some minutes at least.
    pub(super) async fn bearer(&self) -> Result<Bearer, FetchError> {
        let mut cache = Arc::clone(&self.cache).lock_owned().await;
        if let Some(bearer) = cache.as_ref().filter(|bearer| Instant::now() < bearer.renew_at) {
            return Ok(bearer.clone());
        }
        let grant = Arc::clone(&self.grant);
        // A task of its own, which keeps the lock: dropping this future does not end it. It only keeps it
        // from trying again, so that a stop or a reload waits for one request at most.
        let abandoned = CancellationToken::new();
        let _guard = abandoned.clone().drop_guard();
        let renewal = tokio::spawn(async move {
            let bearer = grant.renew(&abandoned).await?;
            *cache = Some(bearer.clone());
            Ok(bearer)
        });
        renewal.await.expect("a renewal neither panics nor is aborted")
    }

    /// Forgets a token that the API refused. One that was renewed meanwhile stays.
    pub(super) async fn discard(&self, refused: &Bearer) {
        let mut cache = self.cache.lock().await;
        let same = |bearer: &mut Bearer| bearer.secret.expose_secret() == refused.secret.expose_secret();
        drop(cache.take_if(same));
    }

    /// Waits until no renewal is in flight.
    pub(super) async fn settle(&self) {
        drop(self.cache.lock().await);
    }
}

impl Grant {
    async fn renew(&self, abandoned: &CancellationToken) -> Result<Bearer, FetchError> {
        let unreadable = |what: &str, error: &SecretError| {
            FetchError::new(Reason::Credentials, format!("{what}: {error}"))
        };
        let client_secret = self.client_secret.read().map_err(|error| unreadable("client secret", &error))?;
        let current = self.current_token().map_err(|error| unreadable("refresh token", &error))?;
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", &self.client_id),
            ("client_secret", client_secret.expose_secret()),
            ("refresh_token", current.token.expose_secret()),
            ("scope", &self.scope),
        ];
        let sent_at = (Instant::now(), self.clock.now());
        let request = |client: &Client| client.post(&self.token_url).form(&form);
        let reply = self.http.send(Endpoint::Token, request, abandoned).await?;
        if !reply.status.is_success() {
            let secrets = Secrets(vec![client_secret, current.token]);
            return Err(FetchError::token(&reply, &secrets));
        }
        self.accept(&reply, sent_at, current.ancestor)
    }

    /// The refresh token to use: the stored one, unless the operator has supplied another first token since.
    fn current_token(&self) -> Result<Current, SecretError> {
        let first = self.first_token.read().map(|token| (fingerprint(&token), token));
        match (self.load(), first) {
            // The first token has done its work once there is a successor: nobody misses it.
            (Some(stored), Err(_)) => Ok(self.stored_token(stored)),
            (Some(stored), Ok((ancestor, _))) if stored.ancestor == ancestor => Ok(self.stored_token(stored)),
            (_, Ok((ancestor, token))) => {
                self.note_refresh_token(None);
                Ok(Current { token, ancestor })
            }
            (None, Err(error)) => Err(error),
        }
    }

    /// The newest token that is in the store, or was.
    fn load(&self) -> Option<Stored> {
        let (mut memory, account) = (self.memory(), &self.account);
        match self.store.load() {
            Ok(stored) => {
                if mem::take(&mut memory.unreadable) {
                    tracing::info!(account, "The stored refresh token can be read again");
                }
                memory.newest = stored.or_else(|| memory.newest.take());
            }
            Err(error) => {
                // What was set aside is an event; what cannot be read stays like that.
                let lasting = !matches!(error, StoreError::SetAside(_));
                if mem::replace(&mut memory.unreadable, lasting) && lasting {
                    tracing::debug!(account, err = %error, "Still cannot use the stored refresh token");
                } else {
                    tracing::warn!(
                        account,
                        err = %error,
                        "Cannot use the stored refresh token, trying the newest one known"
                    );
                }
            }
        }
        memory.newest.clone()
    }

    fn stored_token(&self, stored: Stored) -> Current {
        self.note_refresh_token(Some(stored.issued_at));
        Current { token: stored.token, ancestor: stored.ancestor }
    }

    fn accept(
        &self,
        reply: &Reply,
        (sent, sent_at): (Instant, Timestamp),
        ancestor: String,
    ) -> Result<Bearer, FetchError> {
        // The parser's message is left out: it may quote the answer, and the answer is made of secrets.
        let answer: TokenAnswer = serde_json::from_slice(reply.json()).map_err(|_| {
            FetchError::new(Reason::Payload, "the sign-in service answered with no token document")
        })?;
        // First of all, whatever the rest of the answer is worth: the old one may have ended with it.
        if let Some(next) = answer.refresh_token.as_ref().filter(|token| is_token(token)) {
            self.save(Stored { token: next.clone(), issued_at: sent_at, ancestor });
        } else if answer.refresh_token.is_some() {
            let account = &self.account;
            tracing::warn!(
                account,
                "The new refresh token is no token; the old one works until 90 days after its issue"
            );
        }
        let Some(access_token) = answer.access_token.clone().filter(is_token) else {
            let text = "the sign-in service answered with no usable access token";
            return Err(FetchError::new(Reason::Payload, text));
        };
        let lifetime = answer.lifetime();
        let expires_at = sent_at.saturating_add(lifetime).unwrap_or(Timestamp::MAX);
        self.ledger.write(|status| status.credentials.access_token_expires_at = Some(expires_at));
        // A token that lives for less than ten minutes is renewed after half its life.
        let renew_after = lifetime.saturating_sub(RENEW_BEFORE_END).max(lifetime / 2);
        Ok(Bearer { secret: access_token, renew_at: sent + renew_after })
    }

    /// Keeps a successor. One that cannot be kept is not used: the one on disk, or the first, still is the truth.
    fn save(&self, successor: Stored) {
        let (mut memory, account) = (self.memory(), &self.account);
        match self.store.save(&successor) {
            Ok(()) => {
                self.note_refresh_token(Some(successor.issued_at));
                memory.newest = Some(successor);
                if mem::take(&mut memory.unwritable) {
                    tracing::info!(account, "New refresh tokens are stored again");
                }
            }
            Err(error) => {
                if mem::replace(&mut memory.unwritable, true) {
                    tracing::debug!(account, err = %error, "Still cannot store the new refresh token");
                } else {
                    tracing::error!(
                        account,
                        err = %error,
                        "Cannot store the new refresh token; the old one works until 90 days after its issue"
                    );
                }
            }
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_refresh_token(&self, issued_at: Option<Timestamp>) {
        self.ledger.write(|status| status.credentials.refresh_token_issued_at = issued_at);
    }
}

/// Whether it can be one: printable ASCII without spaces, and not empty.
fn is_token(text: &SecretString) -> bool {
    let bytes = text.expose_secret().as_bytes();
    !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic)
}

/// Entra ID's answer, as documented for v2 (v1 writes numbers as strings).
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<SecretString>,
    expires_in: Option<Value>,
    refresh_token: Option<SecretString>,
}

impl TokenAnswer {
    fn lifetime(&self) -> Duration {
        /// Longer than Entra ID grants; keeps a nonsensical answer from overflowing a clock.
        const MOST: u64 = 24 * 3600;
        let seconds = match &self.expires_in {
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        seconds.map_or(ASSUMED_LIFETIME, |seconds| Duration::from_secs(seconds.min(MOST)))
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("token_url", &self.grant.token_url).finish_non_exhaustive()
    }
}
