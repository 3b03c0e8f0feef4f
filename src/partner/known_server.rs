//! What is known about the server of the commercial collections, from one poll to the next.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::failure::FailureReason;
use crate::domain::status::Endpoint;

/// What is known about each commercial collection.
#[derive(Debug, Default)]
pub(super) struct KnownServer(Mutex<BTreeMap<Endpoint, Known>>);

/// What is known about one collection.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Which of the two documented forms of its path exists.
    pub(super) version: Option<&'static str>,
    /// Whether the server refuses to group its rows.
    pub(super) ungrouped: bool,
    /// The reasons of failures that were logged since the last success.
    pub(super) told: Vec<FailureReason>,
    /// The number of rows that came and that was announced, if they differed.
    pub(super) discrepancy: Option<(usize, u64)>,
}

impl KnownServer {
    pub(super) fn get(&self, endpoint: Endpoint) -> Known {
        self.all().get(&endpoint).cloned().unwrap_or_default()
    }

    pub(super) fn set<T>(&self, endpoint: Endpoint, change: impl FnOnce(&mut Known) -> T) -> T {
        change(self.all().entry(endpoint).or_default())
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Endpoint, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
