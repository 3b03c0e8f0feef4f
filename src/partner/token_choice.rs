//! Which refresh tokens may be used, and in which order. Pure.

use jiff::Timestamp;
use secrecy::SecretString;

use super::stored_token::{Ancestor, Lineage, StoredToken};

/// A refresh token that may be used.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) token: SecretString,
    /// Unknown for a configured token.
    pub(super) issued_at: Option<Timestamp>,
    /// The lineage of its successors.
    pub(super) lineage: Lineage,
    pub(super) source: CandidateSource,
}

/// Where a candidate was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CandidateSource {
    Store,
    Configuration,
    /// The memory of the process, because the disk did not accept the token.
    Memory,
}

impl CandidateSource {
    /// The adjective for a token of this source.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Store => "stored",
            Self::Configuration => "configured",
            Self::Memory => "not yet stored",
        }
    }
}

impl Candidate {
    pub(super) fn configured(token: SecretString) -> Self {
        let lineage = Lineage { ancestor: Ancestor::configured(&token), signed_in_at: None };
        Self { token, issued_at: None, lineage, source: CandidateSource::Configuration }
    }

    fn stored(stored: StoredToken, source: CandidateSource) -> Self {
        let StoredToken { token, issued_at, lineage } = stored;
        Self { token, issued_at: Some(issued_at), lineage, source }
    }
}

/// The candidates in the order in which they are tried. `refused` is the ancestor of a configured token that the
/// sign-in service refused; `unsaved` is the newest token, if the disk did not accept it.
pub(super) fn candidates(
    stored: Option<StoredToken>,
    configured: Option<SecretString>,
    refused: Option<&Ancestor>,
    unsaved: Option<StoredToken>,
) -> Vec<Candidate> {
    let stored = stored.map(|stored| Candidate::stored(stored, CandidateSource::Store));
    let mut candidates = match (stored, configured.map(Candidate::configured)) {
        (Some(stored), Some(configured)) => order(stored, configured, refused),
        (stored, configured) => stored.into_iter().chain(configured).collect(),
    };
    // It comes last, because the disk decides as long as its token is accepted.
    let is_known = |unsaved: &StoredToken| candidates.iter().any(|known| known.lineage == unsaved.lineage);
    let unsaved = unsaved.filter(is_known).map(|unsaved| Candidate::stored(unsaved, CandidateSource::Memory));
    candidates.extend(unsaved);
    candidates
}

fn order(mut stored: Candidate, configured: Candidate, refused: Option<&Ancestor>) -> Vec<Candidate> {
    let ancestor = &configured.lineage.ancestor;
    if stored.lineage.ancestor == *ancestor || refused == Some(ancestor) {
        // The stored token is the successor, or the only one that is left.
        vec![stored]
    } else if stored.lineage.has_unknown_ancestor() {
        // The sign-in is newer than the configured token, which from now on counts as its ancestor, so that a token
        // that is configured later is recognised.
        stored.lineage.ancestor = ancestor.clone();
        vec![stored, configured]
    } else {
        // The operator has supplied another token since the stored one was issued.
        vec![configured, stored]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn stored(ancestor: Ancestor, signed_in_at: Option<Timestamp>) -> StoredToken {
        StoredToken { token: "s".into(), issued_at: AT, lineage: Lineage { ancestor, signed_in_at } }
    }

    #[test]
    fn the_order_of_the_candidates_follows_from_the_ancestor_of_the_stored_token() {
        use CandidateSource::{Configuration, Memory, Store};
        let ancestor = |token: &str| Ancestor::configured(&token.into());
        let descendant = || Some(stored(ancestor("c"), None));
        let other = || Some(stored(ancestor("other"), None));
        let signed_in = |ancestor| Some(stored(ancestor, Some(AT)));
        let c = || Some(SecretString::from("c"));
        for (stored, configured, refused, unsaved, expected) in [
            (None, None, None, None, vec![]),
            (None, c(), None, None, vec![Configuration]),
            (None, c(), Some(ancestor("c")), None, vec![Configuration]),
            (descendant(), None, None, None, vec![Store]),
            (descendant(), c(), None, None, vec![Store]),
            (other(), c(), None, None, vec![Configuration, Store]),
            (other(), c(), Some(ancestor("c")), None, vec![Store]),
            (other(), c(), Some(ancestor("x")), None, vec![Configuration, Store]),
            (signed_in(Ancestor::Unreadable), c(), None, None, vec![Store, Configuration]),
            (signed_in(Ancestor::NotConfigured), c(), None, None, vec![Configuration, Store]),
            (Some(stored(Ancestor::Unreadable, None)), c(), None, None, vec![Configuration, Store]),
            (None, c(), None, descendant(), vec![Configuration, Memory]),
            (None, c(), None, other(), vec![Configuration]),
            (descendant(), c(), None, descendant(), vec![Store, Memory]),
        ] {
            let what = format!("{stored:?} {refused:?} {unsaved:?}");
            let found = candidates(stored, configured, refused.as_ref(), unsaved);
            assert_eq!(found.iter().map(|found| found.source).collect::<Vec<_>>(), expected, "{what}");
        }
    }
}
