//! The state that all handlers share.

use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::clock::Clock;
use crate::domain::shard::Shard;
use crate::metrics::{Accounts, MetricsSnapshot, OwnMetrics};
use crate::supervisor::Reloader;

/// What is served, and what requests can change.
#[derive(Debug)]
pub struct Site {
    /// The series of the accounts, ready to be sent.
    pub snapshot: watch::Receiver<Arc<MetricsSnapshot>>,
    /// The series of the process.
    pub own: Arc<OwnMetrics>,
    /// The accounts, for the status page and for readiness.
    pub accounts: watch::Receiver<Arc<Accounts>>,
    /// Which of the configuration's accounts these are.
    pub shard: Shard,
    /// Reloads the configuration.
    pub reloader: Reloader,
    /// The time of day.
    pub clock: Clock,
    /// The path of the metrics, such as `/metrics`.
    pub telemetry_path: String,
    /// Whether the listeners use TLS.
    pub has_tls: bool,
}
