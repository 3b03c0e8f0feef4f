//! Writes the last good rows of a collection to disk in the background, without delaying the polls.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::domain::clock::Clock;
use crate::domain::collection::Collection;
use crate::domain::polled::LastGood;
use crate::domain::status::{AccountStatus, Ledger};
use crate::state::pause::PauseFile;
use crate::state::snapshot::SnapshotStore;

/// The pause before rows that could not be written are written again.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);
/// A shorter pause is over before a restart.
const SHORT_PAUSE: Duration = Duration::from_secs(5);

/// Saves each change of the last good rows, of which `saved` are on disk already, until `ended`, including the last one.
/// Changes made during a write are saved after it, and only the newest of them.
pub async fn persist(
    store: SnapshotStore,
    (account, collection): (&str, Collection),
    ledger: &Ledger,
    saved: Option<LastGood>,
    ended: CancellationToken,
) {
    let good = |status: &AccountStatus| status.of(collection)?.last_good.clone();
    // What was written last, or should have been.
    let mut last = saved;
    let mut changes = ledger.subscribe();
    let mut failing = false;
    loop {
        let is_last = tokio::select! { biased;
            () = ended.cancelled() => true,
            changed = changes.wait_for(|status| !same(good(status).as_ref(), last.as_ref())) => changed.is_err(),
            () = sleep(RETRY_INTERVAL), if failing => false,
        };
        let current = good(&ledger.read());
        if let Some(good) = current.clone().filter(|_| failing || !same(current.as_ref(), last.as_ref())) {
            let store = store.clone();
            // The disk may be slow, so the write must not block the runtime's threads.
            let result = tokio::task::spawn_blocking(move || store.save(&good)).await;
            let result = result.unwrap_or_else(|panic| Err(io::Error::other(panic)));
            log_change((account, collection.as_str()), failing, &result);
            failing = result.is_err();
        }
        last = current;
        if is_last {
            return;
        }
    }
}

/// Saves the end of each pause that a server asks for. What cannot be saved is not kept by a restart, and nothing else.
pub async fn persist_pauses(file: PauseFile, account: &str, ledger: &Ledger, clock: &Clock) {
    let mut changes = ledger.subscribe();
    let mut saved = changes.borrow().hold_until;
    loop {
        let Ok(until) = changes.wait_for(|status| status.hold_until > saved).await.map(|it| it.hold_until)
        else {
            return;
        };
        saved = until;
        let pause = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        let (Ok(end), true) = (clock.now().checked_add(pause), pause > SHORT_PAUSE) else { continue };
        let file = file.clone();
        let written = tokio::task::spawn_blocking(move || file.save(end)).await;
        if let Err(error) = written.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            tracing::debug!(account, err = %error, "Cannot save until when the server asked for a pause");
        }
    }
}

fn same(one: Option<&LastGood>, other: Option<&LastGood>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            Arc::ptr_eq(&one.report, &other.report) && one.failed_since == other.failed_since
        }
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn log_change((account, collection): (&str, &str), was_failing: bool, result: &io::Result<()>) {
    match (was_failing, result) {
        (false, Ok(())) => {}
        (true, Ok(())) => tracing::info!(account, collection, "The last good rows are saved to disk again"),
        (false, Err(error)) => {
            tracing::warn!(account, collection, err = %error, "Cannot save the last good rows to disk");
        }
        (true, Err(error)) => {
            tracing::debug!(account, collection, err = %error, "Still cannot save the last good rows to disk");
        }
    }
}
