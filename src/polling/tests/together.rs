//! Two collections of one account.

use super::*;

/// Starts the two collections of one account.
fn start_both(
    ledger: &Ledger,
    usage: impl IntoIterator<Item = Answer>,
    deployment: impl IntoIterator<Item = Answer>,
) -> [Polling; 2] {
    ledger.write(|status| {
        status.track([Collection::Usage, Collection::Deployment].map(|it| (it, 6 * HOUR)), false);
    });
    let shared = Shared::default();
    let first = start_with(ledger, |plan| plan.shared = shared.clone(), usage);
    let change = |plan: &mut Plan| {
        plan.shared = shared.clone();
        plan.collection = Collection::Deployment;
        plan.stagger = Duration::from_secs(1);
    };
    [first, start_with(ledger, change, deployment)]
}

#[tokio::test(start_paused = true)]
async fn one_collection_waits_while_another_is_fetched_and_its_own_time_begins_afterwards() {
    let ledger = ledger();
    let [mut usage, mut deployment] = start_both(&ledger, [Hangs, Succeeds], [Hangs, Succeeds]);
    assert_eq!(usage.next().await, 0);
    assert_eq!(deployment.next().await, 120_000, "when the first poll has timed out");
    let timed_out = |status: &AccountStatus| {
        status
            .of(Collection::Deployment)
            .is_some_and(|it| it.last_poll_duration == Some(Duration::from_mins(2)))
    };
    ledger.subscribe().wait_for(timed_out).await.unwrap();
    usage.stop().await;
    deployment.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_of_one_collection_holds_the_other_too_also_if_it_waits_for_its_turn() {
    let ledger = ledger();
    let [mut usage, mut deployment] = start_both(&ledger, [Throttles(600), Succeeds], [Succeeds]);
    assert_eq!(usage.next().await, 0);
    assert_eq!(deployment.next().await, 601_000);
    assert_eq!(usage.next().await, 600_000);
    usage.stop().await;
    deployment.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_success_does_not_end_a_pause_that_the_server_asked_for_within_the_poll() {
    let ledger = ledger();
    let [mut usage, mut deployment] = start_both(&ledger, [Succeeds, Succeeds], [Succeeds]);
    ledger.write(|status| status.hold_until = Some(Instant::now() + Duration::from_secs(600)));
    assert_eq!(usage.next().await, 600_000);
    assert_eq!(deployment.next().await, 601_000);
    usage.stop().await;
    deployment.stop().await;
}

#[tokio::test(start_paused = true)]
async fn new_credentials_that_one_collection_notices_are_used_by_all_that_fail() {
    let ledger = ledger();
    let refused = || Fails(FailureReason::Credentials);
    let [mut usage, mut deployment] = start_both(&ledger, [refused(), Succeeds], [refused(), Succeeds]);
    assert_eq!((usage.next().await, deployment.next().await), (0, 1_000));
    tokio::time::sleep(Duration::from_secs(600)).await;
    usage.new_credentials.store(true, Ordering::Relaxed);
    let (first, second) = (usage.next().await, deployment.next().await);
    assert!((601_000..=612_000).contains(&first), "{first}");
    assert!((601_000..=612_000).contains(&second), "{second}");
    usage.stop().await;
    deployment.stop().await;
}
