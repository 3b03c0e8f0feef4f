//! What is known about the server of the commercial collections, from one poll to the next.

use std::sync::{Mutex, PoisonError};

use crate::domain::failure::FailureReason;
use crate::domain::status::Endpoint;

/// What is known about the server of the commercial collections.
#[derive(Debug, Default)]
pub(super) struct CommercialServer(Mutex<Known>);

/// What is known about it at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Which of the two documented forms of its paths exists.
    pub(super) version: Option<&'static str>,
    /// Whether it refuses to group rows.
    pub(super) ungrouped: bool,
    /// The failures that were logged since the last success.
    pub(super) told: Vec<(Endpoint, FailureReason)>,
}

impl CommercialServer {
    pub(super) fn get(&self) -> Known {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
