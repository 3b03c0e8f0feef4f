//! The access token in use: cached until shortly before its end, then renewed.
//!
//! One renewal is in flight at a time, and once begun it runs to its end, whoever stops waiting: a refresh
//! token received must not be lost.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::error::FetchError;
use super::grant::{Grant, Rotation, Tokens};

/// An access token.
#[derive(Clone, Debug)]
pub(super) struct Bearer {
    secret: SecretString,
    renew_at: Instant,
    ends_at: Instant,
    /// A renewal was tried and failed.
    is_late: bool,
}

/// Where one account's access tokens come from.
#[derive(Debug)]
pub(super) struct TokenSource {
    grant: Arc<Grant>,
    pub(super) rotation: Rotation,
    /// How long a renewal is waited for while the current token lives.
    patience: Duration,
    cache: Arc<Mutex<Option<Bearer>>>,
}

/// A token is renewed this long before its end, so that it does not end on its way.
const RENEW_BEFORE_END: Duration = Duration::from_mins(5);
/// How long a renewal that failed is left alone while the current token lives.
const RETRY_RENEWAL: Duration = Duration::from_mins(1);

impl TokenSource {
    pub(super) fn new(grant: Arc<Grant>, rotation: Rotation, patience: Duration) -> Self {
        Self { grant, rotation, patience, cache: Arc::default() }
    }

    /// An access token that is good for some minutes at least, unless no newer one can be had.
    pub(super) async fn bearer(&self) -> Result<Bearer, FetchError> {
        let mut cache = Arc::clone(&self.cache).lock_owned().await;
        if let Some(bearer) = cache.as_ref().filter(|bearer| Instant::now() < bearer.renew_at) {
            return Ok(bearer.clone());
        }
        let current = cache.clone().filter(|bearer| Instant::now() + self.patience < bearer.ends_at);
        let (grant, rotation) = (Arc::clone(&self.grant), self.rotation);
        // A task of its own, which keeps the lock: dropping this future does not end it. It only keeps it
        // from trying again, so that a stop or a reload waits for one request at most.
        let abandoned = CancellationToken::new();
        let _guard = abandoned.clone().drop_guard();
        let renewal = tokio::spawn(async move {
            let outcome = grant.renew(rotation, &abandoned).await;
            match (outcome, cache.as_mut()) {
                (Ok(tokens), _) => Ok(cache.insert(Bearer::from(tokens)).clone()),
                (Err(error), Some(current)) if Instant::now() < current.ends_at => {
                    let pause = error.retry_after().unwrap_or_default().max(RETRY_RENEWAL);
                    current.renew_at = current.ends_at.min(Instant::now() + pause);
                    if !std::mem::replace(&mut current.is_late, true) {
                        let (account, ends_in_s) =
                            (grant.account(), (current.ends_at - Instant::now()).as_secs());
                        tracing::warn!(
                            account,
                            reason = error.reason().as_str(),
                            err = %error,
                            remedy = error.remedy(),
                            ends_in_s,
                            "Cannot renew the access token, using the current one until its end"
                        );
                    }
                    Ok(current.clone())
                }
                (Err(error), _) => Err(error),
            }
        });
        let renewed = match current {
            Some(current) => match timeout(self.patience, renewal).await {
                Ok(renewed) => renewed,
                // The renewal goes on, and says what became of it.
                Err(_) => return Ok(current),
            },
            None => renewal.await,
        };
        renewed.expect("a renewal neither panics nor is aborted")
    }

    /// Forgets a token that the API refused. One that was renewed meanwhile stays.
    pub(super) async fn discard(&self, refused: &Bearer) {
        let mut cache = self.cache.lock().await;
        let same = |bearer: &mut Bearer| bearer.secret.expose_secret() == refused.secret.expose_secret();
        drop(cache.take_if(same));
    }

    /// Waits until there are other credentials than those that were used last, and forgets what they brought.
    pub(super) async fn changed(&self) {
        self.grant.changed().await;
        *self.cache.lock().await = None;
    }

    /// Waits until no renewal is in flight.
    pub(super) async fn settle(&self) {
        drop(self.cache.lock().await);
    }
}

impl Bearer {
    pub(super) fn secret(&self) -> &SecretString {
        &self.secret
    }
}

impl From<Tokens> for Bearer {
    fn from(tokens: Tokens) -> Self {
        // A token that lives for less than ten minutes is renewed after half its life.
        let renew_after = tokens.lifetime.saturating_sub(RENEW_BEFORE_END).max(tokens.lifetime / 2);
        Self {
            secret: tokens.access,
            renew_at: tokens.sent + renew_after,
            ends_at: tokens.sent + tokens.lifetime,
            is_late: false,
        }
    }
}
