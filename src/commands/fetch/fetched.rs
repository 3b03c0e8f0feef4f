//! What the poll of one account brought.

use std::sync::Arc;

use crate::domain::collection::Collected;
use crate::domain::customers::Limits;
use crate::domain::failure::Failure;

/// What the poll of one account brought.
pub(super) struct Fetched {
    /// The account's name, if it has one.
    pub(super) account: Option<String>,
    /// What may raise an alert.
    pub(super) limits: Limits,
    pub(super) outcome: Result<Arc<Collected>, Failure>,
}
