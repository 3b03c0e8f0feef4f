//! Renders a snapshot whenever its source changes.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::clock::Clock;

/// A source of snapshots.
pub trait Render: Send + Sync + 'static {
    /// The snapshot.
    type Output: Send + Sync + 'static;

    /// The snapshot at `now`.
    fn render(&self, now: Timestamp) -> Self::Output;

    /// The next moment after `now` at which the snapshot changes by the passage of time alone.
    fn next_change(&self, now: Timestamp) -> Option<Timestamp>;
}

/// Changes that follow one another within this time are rendered together.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// The longest wait for a moment of the wall clock, which may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);

/// Renders at the start, when `changed` is notified, when the source is replaced, and when time alone changes the
/// snapshot, until `stop`.
pub async fn publish<R: Render>(
    mut source: watch::Receiver<Arc<R>>,
    changed: Arc<Notify>,
    out: watch::Sender<Arc<R::Output>>,
    clock: Clock,
    stop: CancellationToken,
) {
    loop {
        let current = Arc::clone(&source.borrow_and_update());
        let now = clock.now();
        out.send_replace(Arc::new(current.render(now)));
        let next_change = async {
            let Some(at) = current.next_change(now) else { return pending().await };
            let wait = Duration::try_from(at.duration_since(clock.now())).unwrap_or(Duration::ZERO);
            sleep(wait.min(LONGEST_SLEEP)).await;
        };
        tokio::select! { biased;
            () = stop.cancelled() => return,
            () = changed.notified() => {}
            replaced = source.changed() => if replaced.is_err() { return },
            () = next_change => {}
        }
        sleep(DEBOUNCE).await;
    }
}
