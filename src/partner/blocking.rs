//! Runs work outside the runtime's workers, which long computations and file systems that hang would block.

use std::future::pending;
use std::panic::resume_unwind;

use tracing::dispatcher;

/// Runs `work` on a thread for blocking work, and returns its outcome. What `work` logs goes to the caller's subscriber.
pub async fn off_workers<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let subscriber = dispatcher::get_default(Clone::clone);
    match tokio::task::spawn_blocking(move || dispatcher::with_default(&subscriber, work)).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends, and with it the caller.
            Err(_) => pending().await,
        },
    }
}
