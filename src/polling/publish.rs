//! Renders a snapshot whenever its source changes.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::domain::clock::{Clock, STEP};

/// A source of snapshots.
pub trait Render: Send + Sync + 'static {
    /// The snapshot.
    type Output: Send + Sync + 'static;

    /// The snapshot at `now`.
    fn render(&self, now: Timestamp) -> Self::Output;

    /// The next moment after `now` at which the snapshot changes by the passage of time alone. Between two times with
    /// the same answer nothing changes.
    fn next_change(&self, now: Timestamp) -> Option<Timestamp>;

    /// What is to be done with `next` before it takes the place of `before`, so that nobody has to wait for it. It may
    /// take long.
    fn preparation(before: &Arc<Self::Output>, next: &Arc<Self::Output>) -> Option<Preparation> {
        let _ = (before, next);
        None
    }
}

/// Work that may take long.
pub type Preparation = Box<dyn FnOnce() + Send>;

/// Changes that follow one another within this time are rendered together.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// Where a snapshot takes long to prepare, changes are collected for this many times as long.
const DEBOUNCE_FACTOR: u32 = 4;
/// The longest time for which changes are collected.
const LONGEST_DEBOUNCE: Duration = Duration::from_secs(1);

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
        let (began, next) = (Instant::now(), Arc::new(current.render(now)));
        let before = Arc::clone(&out.borrow());
        if let Some(preparation) = R::preparation(&before, &next) {
            // If it panics, the first scrape that needs it does too, and says so.
            spawn_blocking(preparation).await.ok();
        }
        let debounce = (began.elapsed() * DEBOUNCE_FACTOR).clamp(DEBOUNCE, LONGEST_DEBOUNCE);
        out.send_replace(next);
        drop(before);
        let next_change = async {
            let expected = current.next_change(now);
            let mut now = now;
            // Another answer means that the moment has passed, or that the clock was set back beyond an earlier one.
            while current.next_change(now) == expected {
                let wait = expected.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
                sleep(wait.unwrap_or(STEP).min(STEP)).await;
                now = clock.now();
            }
        };
        tokio::select! { biased;
            () = stop.cancelled() => return,
            () = changed.notified() => {}
            replaced = source.changed() => if replaced.is_err() { return },
            () = next_change => {}
        }
        sleep(debounce).await;
    }
}
