//! The state that all handlers share.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::domain::clock::Clock;
use crate::metrics::{Fleet, MetricsSnapshot, OwnMetrics};
use crate::supervisor::Reloader;

/// What is served, and what requests can change.
#[derive(Debug)]
pub struct Web {
    /// The series of the accounts as they are now.
    pub snapshot: watch::Receiver<Arc<MetricsSnapshot>>,
    /// The series of the process.
    pub own: Arc<OwnMetrics>,
    /// The accounts, for the status page and for readiness.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// Reloads the configuration.
    pub reloader: Reloader,
    /// The time of day.
    pub clock: Clock,
    /// The path of the metrics, such as `/metrics`.
    pub telemetry_path: String,
    /// How many scrapes are served at a time; 0 = any number.
    pub max_requests: usize,
}

/// The state of the router.
pub(super) struct Site {
    pub(super) web: Web,
    /// A permit for each scrape that is being served.
    pub(super) scrapes: Arc<Semaphore>,
}

impl Site {
    pub(super) fn new(web: Web) -> Self {
        let permits = if web.max_requests == 0 { Semaphore::MAX_PERMITS } else { web.max_requests };
        Self { web, scrapes: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))) }
    }
}
