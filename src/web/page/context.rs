//! What the page is about besides the accounts.

use jiff::Timestamp;

use crate::domain::shard::Shard;
use crate::metrics::FailedReload;

/// What the page is about besides the accounts.
pub(super) struct Context {
    pub(super) now: Timestamp,
    pub(super) shard: Shard,
    pub(super) failed_reload: Option<FailedReload>,
    pub(super) telemetry_path: String,
    /// A command that polls every account.
    pub(super) poll_now: String,
}
