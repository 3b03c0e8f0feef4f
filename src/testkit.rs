//! How the unit tests of several modules hear the log.

use std::sync::LazyLock;

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer, Registry};

/// As long as there is only one subscriber, events that another thread reaches first are switched off for all threads.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));

/// Passes the events of this thread to the layer until the returned value is dropped.
pub(crate) fn listen(layer: impl Layer<Registry> + Send + Sync) -> DefaultGuard {
    LazyLock::force(&ANOTHER);
    tracing::subscriber::set_default(tracing_subscriber::registry().with(layer))
}
