//! Runs file access outside the runtime's workers, which a file system that hangs would block.

use std::future::pending;
use std::panic::resume_unwind;

/// Runs `work` on a thread for blocking work, and returns its outcome.
pub(super) async fn off_workers<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends, and with it the caller.
            Err(_) => pending().await,
        },
    }
}
