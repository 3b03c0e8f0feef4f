//! Persistence in a real directory.

use super::*;
use crate::config::Config;
use crate::state::snapshot::SnapshotStore;

fn store(directory: &tempfile::TempDir) -> SnapshotStore {
    let config = "accounts: [{tenant_id: contoso.example, client_secret: s, refresh_token: r, \
                  client_id: 00000000-0000-0000-0000-00000000c11e}]";
    let account = Config::parse(config, &|_| None).unwrap().accounts.remove(0);
    SnapshotStore::new(directory.path(), &account, Collection::Usage)
}

fn good_poll(ledger: &Ledger, at: Timestamp) {
    ledger
        .write(|status| status.usage_mut().poll_ended(Ok(UsageReport::default().into()), at, Duration::ZERO));
}

fn saved(store: &SnapshotStore) -> Option<Timestamp> {
    store.restore(Timestamp::MAX, None).unwrap().map(|good| good.at)
}

#[tokio::test]
async fn the_last_good_poll_is_saved_even_if_polling_ends_right_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, ledger, ended) = (store(&directory), ledger(), CancellationToken::new());
    let polling = async {
        good_poll(&ledger, START);
        good_poll(&ledger, START + HOUR);
        ended.cancel();
    };
    tokio::join!(
        super::persist(store.clone(), ("contoso", Collection::Usage), &ledger, None, ended.clone()),
        polling
    );
    assert_eq!(saved(&store), Some(START + HOUR));
}

#[tokio::test]
async fn a_failed_poll_keeps_the_saved_rows_and_marks_them_as_failed_since() {
    let directory = tempfile::tempdir().unwrap();
    let (store, ledger, ended) = (store(&directory), ledger(), CancellationToken::new());
    good_poll(&ledger, START);
    let polling = async {
        let error = FetchError::scripted(FailureReason::Server, None);
        ledger.write(|status| status.usage_mut().poll_ended(Err(error.into()), START + HOUR, Duration::ZERO));
        ended.cancel();
    };
    tokio::join!(
        super::persist(store.clone(), ("contoso", Collection::Usage), &ledger, None, ended.clone()),
        polling
    );
    assert_eq!(saved(&store), Some(START));
    assert!(store.restore(Timestamp::MAX, None).unwrap().unwrap().failed_since);
}

#[tokio::test]
async fn rows_that_were_restored_are_not_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, ledger, ended) = (store(&directory), ledger(), CancellationToken::new());
    good_poll(&ledger, START);
    let restored = ledger.read().usage().last_good.clone();
    ended.cancel();
    super::persist(store.clone(), ("contoso", Collection::Usage), &ledger, restored, ended).await;
    assert_eq!(saved(&store), None, "nothing was written");
}
