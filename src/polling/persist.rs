//! The keeper: an account's last good rows, and whether polls have failed since, put on the disk beside the
//! polling and never in its way.

use std::io;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::status::{Good, Ledger};
use crate::state::snapshot::SnapshotStore;

/// Keeps what is in the ledger, and each change of it, until `ended`, the last one included. What comes while
/// something else is being written is written after it; of several changes only the newest.
pub async fn keep(store: SnapshotStore, account: &str, ledger: &Ledger, ended: CancellationToken) {
    let mut kept = None;
    let mut changes = ledger.subscribe();
    let mut failing = false;
    loop {
        let last_look = tokio::select! { biased;
            () = ended.cancelled() => true,
            changed = changes.wait_for(|status| !same(status.good.as_ref(), kept.as_ref())) => changed.is_err(),
        };
        let now = ledger.read().good;
        let is_new = !same(now.as_ref(), kept.as_ref());
        kept = now;
        if let Some(good) = kept.clone().filter(|_| is_new) {
            let store = store.clone();
            // The disk may be slow; the threads that answer and poll do not wait for it.
            let written = tokio::task::spawn_blocking(move || store.save(&good)).await;
            let written = written.unwrap_or_else(|died| Err(io::Error::other(died)));
            log_change(account, failing, &written);
            failing = written.is_err();
        }
        if last_look {
            return;
        }
    }
}

fn same(one: Option<&Good>, other: Option<&Good>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            Arc::ptr_eq(&one.report, &other.report) && one.failed_since == other.failed_since
        }
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn log_change(account: &str, was_failing: bool, written: &io::Result<()>) {
    match (was_failing, written) {
        (false, Ok(())) => {}
        (true, Ok(())) => tracing::info!(account, "The last good rows are kept on disk again"),
        (false, Err(error)) => {
            tracing::warn!(account, err = %error, "Cannot keep the last good rows on disk for the next start");
        }
        (true, Err(error)) => {
            tracing::debug!(account, err = %error, "Still cannot keep the last good rows on disk");
        }
    }
}
