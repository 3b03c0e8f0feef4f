//! What is known about the server of the commercial collections, from one poll to the next.
//!
//! Two collections may be made of the rows of one endpoint.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::collection::Collection;
use crate::domain::failure::FailureReason;
use crate::domain::status::Endpoint;

/// What is known about each endpoint, as a collection uses it.
#[derive(Debug, Default)]
pub(super) struct KnownServer(Mutex<BTreeMap<Use, Known>>);

/// A collection, and one of the endpoints from which its rows come.
pub(super) type Use = (Collection, Endpoint);

/// What is known about an endpoint, as one collection uses it.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Which of the two documented forms of its path exists.
    pub(super) version: Option<Cow<'static, str>>,
    /// Whether the server refuses to group its rows.
    pub(super) ungrouped: bool,
    /// The reasons of failures that were logged since the last success.
    pub(super) told: Vec<FailureReason>,
    /// The number of rows that came and that was announced, if they differed.
    pub(super) discrepancy: Option<(usize, u64)>,
}

impl KnownServer {
    pub(super) fn get(&self, of: Use) -> Known {
        self.all().get(&of).cloned().unwrap_or_default()
    }

    pub(super) fn set<T>(&self, of: Use, change: impl FnOnce(&mut Known) -> T) -> T {
        change(self.all().entry(of).or_default())
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Use, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
