//! The wall clock and the monotonic clock part: a machine was suspended, or its clock was set.

use super::*;

fn start_by(clock: &Clock, ledger: &Ledger, answers: impl IntoIterator<Item = Answer>) -> Polling {
    start_with(ledger, |plan| plan.clock = clock.clone(), answers)
}

#[tokio::test(start_paused = true)]
async fn after_a_suspension_the_poll_that_was_due_meanwhile_starts_within_five_seconds() {
    let (ledger, (time, clock)) = (ledger(), Settable::new());
    let mut polling = start_by(&clock, &ledger, [Succeeds, Succeeds, Succeeds]);
    polling.next().await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    time.advance(72);
    assert_eq!(polling.next().await, 65_000);
    assert_eq!(polling.next().await, 65_000 + 20_520_000, "then as usual");
    polling.stop().await;
}

#[tokio::test(start_paused = true)]
async fn accounts_that_are_due_together_after_a_suspension_or_a_correction_of_the_clock_are_staggered() {
    let (time, clock) = Settable::new();
    let ledgers = [ledger(), ledger()];
    let [mut first, mut second] = [0, 20].map(|seconds| {
        let change = |plan: &mut Plan| {
            plan.clock = clock.clone();
            plan.stagger = Duration::from_secs(seconds);
        };
        start_with(&ledgers[usize::from(seconds > 0)], change, [Succeeds, Succeeds, Succeeds])
    });
    assert_eq!((first.next().await, second.next().await), (0, 20_000));
    for (hours, due) in [(72, 65_000), (-48, 190_000)] {
        tokio::time::sleep_until(first.started + Duration::from_millis(due - 4_000)).await;
        time.advance(hours);
        let (one, other) = (first.next().await, second.next().await);
        assert!((15_000..=25_000).contains(&(other - one)), "{hours} h: {one} and {other} ms");
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_suspension_shorter_than_the_wait_counts_as_time_that_has_passed() {
    let (ledger, (time, clock)) = (ledger(), Settable::new());
    let mut polling = start_by(&clock, &ledger, [Succeeds, Succeeds]);
    polling.next().await;
    let due = START + Duration::from_secs(20_520);
    tokio::time::sleep(Duration::from_secs(1)).await;
    time.advance(2);
    assert_eq!(ledger.read().usage().next_poll_at, Some(due));
    assert_eq!(polling.next().await, 20_520_000 - 7_200_000, "at the time that was published");
    polling.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_delays_no_poll_and_no_time_remains_in_the_future() {
    let (ledger, (time, clock)) = (ledger(), Settable::new());
    let mut polling = start_by(&clock, &ledger, [Succeeds, Succeeds]);
    polling.next().await;
    tokio::time::sleep(Duration::from_secs(601)).await;
    time.advance(-24);
    assert_eq!(polling.next().await, 665_000, "a minute after it was noticed");
    let now = clock.now();
    let status = ledger.read();
    assert!(
        status.usage().last_poll_at <= Some(now) && status.usage().last_good.as_ref().unwrap().at <= now,
        "{now}"
    );
    polling.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_during_an_outage_delays_no_retry_and_the_published_time_follows() {
    let (ledger, (time, clock)) = (ledger(), Settable::new());
    let mut polling = start_by(&clock, &ledger, [Throttles(600), Succeeds]);
    polling.next().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    time.advance(-24);
    let mut changes = ledger.subscribe();
    let due = START - 24 * HOUR + Duration::from_secs(600);
    let follows = changes.wait_for(|status| status.usage().next_poll_at == Some(due));
    timeout(Duration::from_secs(6), follows).await.expect("within a step").unwrap();
    assert_eq!(polling.next().await, 600_000);
    polling.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_forward_does_not_shorten_a_retry_after() {
    let (ledger, (time, clock)) = (ledger(), Settable::new());
    let mut polling = start_by(&clock, &ledger, [Throttles(600), Succeeds]);
    polling.next().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    time.advance(72);
    assert_eq!(polling.next().await, 600_000);
    polling.stop().await;
}

#[tokio::test(start_paused = true)]
async fn two_daemons_that_fight_over_the_clock_cause_no_more_than_two_polls_a_minute() {
    let (ledger, (time, clock)) = (ledger(), Settable::new());
    let polling = start_by(&clock, &ledger, std::iter::repeat_with(|| Succeeds).take(100));
    for _ in 0..30 {
        for hours in [24, -24] {
            tokio::time::sleep(Duration::from_secs(10)).await;
            time.advance(hours);
        }
    }
    let (polls, minutes) = (polling.fetches.len(), 10);
    assert!((minutes..=2 * minutes).contains(&polls), "{polls} polls");
    polling.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_an_operator_asks_for_starts_at_once_but_at_most_once_a_minute() {
    let ledger = ledger();
    let mut polling = start(&ledger, [Succeeds, Succeeds, Succeeds, Throttles(600), Succeeds]);
    polling.next().await;
    tokio::time::sleep(HOUR).await;
    for _ in 0..100 {
        polling.asked.notify_one();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(polling.next().await, 3_600_000, "at once");
    assert_eq!(polling.next().await, 3_660_000, "once for all that asked meanwhile");
    tokio::time::sleep(Duration::from_secs(1)).await;
    polling.new_credentials.store(true, Ordering::Relaxed);
    polling.asked.notify_one();
    assert_eq!(polling.next().await, 3_661_000, "at once, since the credentials have changed");
    tokio::time::sleep(Duration::from_mins(2)).await;
    polling.asked.notify_one();
    assert_eq!(polling.next().await, 4_261_000, "not within a Retry-After");
    polling.stop().await;
}
