//! Writes the last good rows of a collection to disk in the background, without delaying the polls.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::collection::Collection;
use crate::domain::polled::LastGood;
use crate::domain::status::{AccountStatus, Ledger};
use crate::state::snapshot::SnapshotStore;

/// The pause before rows that could not be written are written again.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);

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
