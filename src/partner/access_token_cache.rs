//! The access token in use: cached, and renewed shortly before it expires.
//!
//! There is one renewal at a time. A renewal that has begun runs to its end even if its caller is dropped, because a
//! refresh token that the sign-in service has issued must not be lost.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::domain::clock::Clock;

use super::access_token::AccessToken;
use super::error::FetchError;
use super::renewal::Renewal;
use super::token_endpoint::Rotation;

/// The access token of one account.
pub(super) struct AccessTokenCache {
    renewal: Arc<Renewal>,
    clock: Clock,
    pub(super) rotation: Rotation,
    /// The limit of waiting for a renewal while the current token is valid.
    renewal_timeout: Duration,
    cached: Arc<Mutex<Option<AccessToken>>>,
}

/// The pause between a failed renewal and the next attempt while the current token is valid.
const RENEWAL_RETRY_PAUSE: Duration = Duration::from_mins(1);

impl AccessTokenCache {
    pub(super) fn new(renewal: Renewal, clock: Clock, renewal_timeout: Duration) -> Self {
        let rotation = Rotation::Wanted;
        Self { renewal: Arc::new(renewal), clock, rotation, renewal_timeout, cached: Arc::default() }
    }

    /// An access token that remains valid for some minutes, or for less if a renewal fails.
    pub(super) async fn token(&self) -> Result<AccessToken, FetchError> {
        let mut cached = Arc::clone(&self.cached).lock_owned().await;
        let now = self.clock.now();
        if let Some(token) = cached.as_ref().filter(|token| !token.renewal.has_passed(now)) {
            return Ok(token.clone());
        }
        let outlives = |token: &AccessToken| token.expiry.remaining(now) > self.renewal_timeout;
        let current = cached.clone().filter(outlives);
        let (renewal, rotation, clock) = (Arc::clone(&self.renewal), self.rotation, self.clock.clone());
        // A task of its own holds the lock and outlives this future. Dropping this future prevents further attempts,
        // so that a stop or a reload waits for one request at most.
        let abandoned = CancellationToken::new();
        let _guard = abandoned.clone().drop_guard();
        let renewing = tokio::spawn(async move {
            let outcome = renewal.renew(rotation, &abandoned).await;
            match (outcome, cached.as_mut()) {
                (Ok(token), _) => Ok(cached.insert(token).clone()),
                (Err(error), Some(current)) if !current.expiry.has_passed(clock.now()) => {
                    postpone_renewal(current, &clock, renewal.account(), &error);
                    Ok(current.clone())
                }
                (Err(error), _) => Err(error),
            }
        });
        let renewed = match current {
            Some(current) => match timeout(self.renewal_timeout, renewing).await {
                Ok(renewed) => renewed,
                // The renewal continues in its task.
                Err(_) => return Ok(current),
            },
            None => renewing.await,
        };
        renewed.expect("a renewal neither panics nor is aborted")
    }

    /// Removes a token that the API refused, unless it has been replaced meanwhile.
    pub(super) async fn discard(&self, refused: &AccessToken) {
        drop(self.cached.lock().await.take_if(|token| token.is_same_as(refused)));
    }

    /// Whether the credentials differ from those used last; the token that they brought is then removed.
    pub(super) async fn credentials_changed(&self) -> bool {
        let changed = self.renewal.credentials_changed().await;
        if changed {
            *self.cached.lock().await = None;
        }
        changed
    }

    /// Waits until no renewal is in progress.
    pub(super) async fn drain(&self) {
        drop(self.cached.lock().await);
    }
}

fn postpone_renewal(current: &mut AccessToken, clock: &Clock, account: &str, error: &FetchError) {
    let pause = error.retry_after().unwrap_or_default().max(RENEWAL_RETRY_PAUSE);
    let expires_in = current.expiry.remaining(clock.now());
    current.renewal = clock.deadline(pause.min(expires_in));
    if !mem::replace(&mut current.renewal_failed, true) {
        tracing::warn!(
            account,
            reason = error.reason().as_str(),
            err = %error,
            remedy = error.remedy(),
            expires_in_s = expires_in.as_secs(),
            "Cannot renew the access token, using the current one until it expires"
        );
    }
}
