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

#[tokio::test(start_paused = true)]
async fn rows_that_could_not_be_written_are_written_as_soon_as_they_can_be() {
    let directory = tempfile::tempdir().unwrap();
    let (store, ledger, ended) = (store(&directory), ledger(), CancellationToken::new());
    // A directory in the place of the file.
    let name = "usage-contoso.example-00000000-0000-0000-0000-00000000c11e.json";
    let obstacle = directory.path().join(name);
    std::fs::create_dir_all(obstacle.join("x")).unwrap();
    good_poll(&ledger, START);
    let persisting = super::persist(store.clone(), ("contoso", Collection::Usage), &ledger, None, ended);
    let waiting = async {
        // Time passes while nothing else happens.
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(obstacle.is_dir());
        std::fs::remove_dir_all(&obstacle).unwrap();
        while !obstacle.is_file() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = persisting => unreachable!("it has not ended"),
        () = waiting => {}
    }
    assert_eq!(saved(&store), Some(START));
}
