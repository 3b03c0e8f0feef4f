//! An access token and the times that depend on its lifetime.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::domain::clock::Deadline;

/// An access token.
#[derive(Clone, Debug)]
pub(super) struct AccessToken {
    secret: SecretString,
    pub(super) renewal: Deadline,
    pub(super) expiry: Deadline,
    /// Whether a renewal was tried and failed.
    pub(super) renewal_failed: bool,
    /// The ids of the response that brought it.
    pub(super) ids: Vec<String>,
}

/// A token is renewed this long before it expires, so that it does not expire on its way to the API.
const RENEW_BEFORE_EXPIRY: Duration = Duration::from_mins(5);

impl AccessToken {
    /// A token with a `lifetime` that began at `issued`, by both clocks. A token that lives for less than ten minutes is
    /// renewed after half of its lifetime.
    pub(super) fn new(secret: SecretString, issued: (Instant, Timestamp), lifetime: Duration) -> Self {
        let renew_after = lifetime.saturating_sub(RENEW_BEFORE_EXPIRY).max(lifetime / 2);
        Self {
            secret,
            renewal: Deadline::after(issued, renew_after),
            expiry: Deadline::after(issued, lifetime),
            renewal_failed: false,
            ids: Vec::new(),
        }
    }

    pub(super) fn secret(&self) -> &SecretString {
        &self.secret
    }

    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.secret.expose_secret() == other.secret.expose_secret()
    }
}
