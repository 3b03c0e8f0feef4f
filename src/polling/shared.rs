//! What the polling loops of one account's collections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::partner::Turns;

/// What the collections of one account share. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// Who may send requests.
    pub turns: Turns,
    changes: Arc<AtomicU64>,
}

impl Shared {
    /// The number of changes of the credentials that any of the loops has seen.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Tells all loops that the credentials have changed: each change is seen by one of them only.
    pub(super) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }
}
