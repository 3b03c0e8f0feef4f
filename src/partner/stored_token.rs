//! A stored refresh token and the sign-in or configured token from which it descends.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::state::file::sha256;

/// A refresh token as the store keeps it.
#[derive(Clone, Debug)]
pub(super) struct StoredToken {
    pub(super) token: SecretString,
    pub(super) issued_at: Timestamp,
    pub(super) lineage: Lineage,
}

/// A token that is to replace the stored one.
#[derive(Clone, Debug)]
pub(super) struct Successor {
    pub(super) token: StoredToken,
    /// The token that was stored when the predecessor was chosen.
    pub(super) replaced: Option<StoredToken>,
}

/// The origin of a refresh token, which its successors inherit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lineage {
    pub(super) ancestor: Ancestor,
    /// The time of the sign-in by which a person obtained the first token of this lineage, if it began like that.
    pub(super) signed_in_at: Option<Timestamp>,
}

/// The configured token from which a stored token descends, or which it replaced. A configured token that differs from
/// it was supplied later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(super) enum Ancestor {
    /// SHA-256 of the token in hexadecimal digits, which identifies the token without revealing it.
    Configured(String),
    /// A token was configured and could not be read; stored as an empty string.
    Unreadable,
    /// No token was configured; stored as `none`.
    NotConfigured,
}

const UNREADABLE: &str = "";
const NOT_CONFIGURED: &str = "none";

impl Successor {
    /// Whether it may replace the token that is `stored` now. A token that another process has stored since the choice
    /// remains, unless it is an older successor of the same lineage.
    pub(super) fn may_replace(&self, stored: &StoredToken) -> bool {
        let is_unchanged = |replaced: &StoredToken| {
            replaced.lineage == stored.lineage && replaced.issued_at == stored.issued_at
        };
        // The clock may have been set back since the stored token was issued.
        self.replaced.as_ref().is_some_and(is_unchanged)
            || stored.lineage == self.token.lineage && stored.issued_at < self.token.issued_at
    }
}

impl Lineage {
    /// Whether it began with a sign-in during which the configured token could not be read.
    pub(super) fn has_unknown_ancestor(&self) -> bool {
        self.ancestor == Ancestor::Unreadable && self.signed_in_at.is_some()
    }
}

impl Ancestor {
    /// The ancestor of the successors of a configured token.
    pub(super) fn configured(token: &SecretString) -> Self {
        Self::Configured(sha256(token.expose_secret().as_bytes()))
    }
}

impl From<String> for Ancestor {
    fn from(text: String) -> Self {
        match text.as_str() {
            UNREADABLE => Self::Unreadable,
            NOT_CONFIGURED => Self::NotConfigured,
            _ => Self::Configured(text),
        }
    }
}

impl From<Ancestor> for String {
    fn from(ancestor: Ancestor) -> Self {
        match ancestor {
            Ancestor::Configured(digits) => digits,
            Ancestor::Unreadable => UNREADABLE.to_owned(),
            Ancestor::NotConfigured => NOT_CONFIGURED.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(signed_in_at: i64, issued_at: i64) -> StoredToken {
        let at = |second| Timestamp::from_second(second).unwrap();
        let lineage = Lineage { ancestor: Ancestor::NotConfigured, signed_in_at: Some(at(signed_in_at)) };
        StoredToken { token: "a-token".into(), issued_at: at(issued_at), lineage }
    }

    #[test]
    fn a_successor_replaces_the_token_that_was_chosen_and_older_ones_of_its_lineage_only() {
        let successor = |replaced| Successor { token: token(1, 20), replaced };
        for (replaced, stored, expected, why) in [
            (Some(token(1, 10)), token(1, 10), true, "nobody has stored another one"),
            (Some(token(2, 10)), token(2, 10), true, "of another lineage, but unchanged"),
            (Some(token(2, 10)), token(3, 10), false, "another sign-in, issued at the same time"),
            (Some(token(2, 10)), token(2, 15), false, "another process has renewed it"),
            (Some(token(1, 10)), token(1, 15), true, "older than the successor, of its lineage"),
            (Some(token(1, 10)), token(1, 20), false, "as new as the successor"),
            (None, token(1, 15), true, "older, of its lineage"),
            (None, token(3, 15), false, "somebody has signed in meanwhile"),
        ] {
            assert_eq!(successor(replaced).may_replace(&stored), expected, "{why}");
        }
    }

    #[test]
    fn an_ancestor_is_stored_as_the_same_string_as_ever() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for (ancestor, text) in [
            (Ancestor::configured(&"abc".into()), abc),
            (Ancestor::Unreadable, ""),
            (Ancestor::NotConfigured, "none"),
        ] {
            let json = format!("\"{text}\"");
            assert_eq!(serde_json::to_string(&ancestor).unwrap(), json);
            assert_eq!(serde_json::from_str::<Ancestor>(&json).unwrap(), ancestor);
        }
    }
}
