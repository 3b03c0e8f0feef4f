//! In virtual time: hours pass at once, and every second is exact.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::domain::usage::UsageReport;

mod keeper;
mod outage;
mod publisher;

const START: Timestamp = Timestamp::constant(1_795_410_800, 0);
const HOUR: Duration = Duration::from_hours(1);

/// What the source does when it is asked.
enum Answer {
    Good,
    Fails(Reason),
    /// With `Retry-After` in seconds.
    Throttles(u64),
    Hangs,
}

use Answer::{Fails, Good, Hangs, Throttles};

/// A source that does what it is told, and tells when it was asked.
struct Scripted {
    answers: Mutex<mpsc::UnboundedReceiver<Answer>>,
    asked: mpsc::UnboundedSender<Instant>,
    settled: Arc<AtomicU64>,
    changes: Arc<Notify>,
}

impl UsageSource for Scripted {
    async fn fetch(&self) -> Result<UsageReport, FetchError> {
        self.asked.send(Instant::now()).unwrap();
        let answer = self.answers.lock().unwrap().try_recv();
        match answer.expect("the script goes on") {
            Good => Ok(UsageReport::default()),
            Fails(reason) => Err(FetchError::scripted(reason, None)),
            Throttles(s) => Err(FetchError::scripted(Reason::Throttled, Some(Duration::from_secs(s)))),
            Hangs => std::future::pending().await,
        }
    }

    async fn credentials_changed(&self) {
        self.changes.notified().await;
    }

    async fn settle(&self) {
        self.settled.fetch_add(1, Ordering::Relaxed);
    }
}

/// A polling task with a script.
struct Polling {
    began: Instant,
    asked: mpsc::UnboundedReceiver<Instant>,
    settled: Arc<AtomicU64>,
    /// Rings when the credentials change.
    changes: Arc<Notify>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// Kept, for the script ends with an error otherwise.
    _script: mpsc::UnboundedSender<Answer>,
}

fn start(ledger: &Ledger, answers: impl IntoIterator<Item = Answer>) -> Polling {
    start_with(ledger, |_| {}, answers)
}

/// A task that goes on where an earlier process stopped.
fn resume(ledger: &Ledger, at: Timestamp, answers: impl IntoIterator<Item = Answer>) -> Polling {
    start_with(ledger, |plan| plan.resumes = Some(at), answers)
}

fn start_with(
    ledger: &Ledger,
    change: impl FnOnce(&mut Plan),
    answers: impl IntoIterator<Item = Answer>,
) -> Polling {
    let (script, answers_to_come) = mpsc::unbounded_channel();
    for answer in answers {
        script.send(answer).unwrap_or_else(|_| panic!("the receiver is here"));
    }
    let (asked, asked_at) = mpsc::unbounded_channel();
    let settled = Arc::new(AtomicU64::new(0));
    let changes = Arc::new(Notify::new());
    let source = Scripted {
        answers: Mutex::new(answers_to_come),
        asked,
        settled: Arc::clone(&settled),
        changes: Arc::clone(&changes),
    };
    let mut plan = Plan {
        account: "contoso".to_owned(),
        schedule: Schedule::new(6 * HOUR),
        timeout: Duration::from_mins(2),
        resumes: None,
        stagger: Duration::ZERO,
        clock: Clock::from_tokio(START),
        dice: || 0.0,
    };
    change(&mut plan);
    let stop = CancellationToken::new();
    let task = tokio::spawn(run(source, plan, ledger.clone(), stop.clone()));
    Polling { began: Instant::now(), asked: asked_at, settled, changes, stop, task, _script: script }
}

impl Polling {
    /// The next poll, in milliseconds since the task's start.
    async fn next(&mut self) -> u128 {
        (self.asked.recv().await.expect("another poll") - self.began).as_millis()
    }

    async fn stop(self) -> u64 {
        self.stop.cancel();
        let before = Instant::now();
        self.task.await.unwrap();
        assert_eq!(Instant::now(), before, "it ended at once");
        self.settled.load(Ordering::Relaxed)
    }
}

fn ledger() -> Ledger {
    Ledger::new(None, Arc::default())
}

#[tokio::test(start_paused = true)]
async fn each_poll_comes_at_its_second_through_good_and_bad_times() {
    let ledger = ledger();
    let script = [
        Good,
        Fails(Reason::Network),
        Fails(Reason::Server),
        Throttles(57),
        Hangs,
        Fails(Reason::Consent),
        Good,
        Good,
    ];
    let mut polling = start(&ledger, script);
    let expected: [(u128, &str); 8] = [
        (0, "at once"),
        (20_520, "6h less 5 %"),
        (20_550, "30s after the first failure"),
        (20_610, "60s after the second"),
        (20_667, "the 57s that were asked for"),
        (21_027, "the deadline of 120s, then 240s after the fourth failure"),
        (41_547, "6h less 5 %, for only a person can mend it"),
        (62_067, "6h less 5 % again"),
    ];
    for (second, why) in expected {
        assert_eq!(polling.next().await, second * 1000, "{why}");
    }
    polling.stop().await;
    let status = ledger.read();
    let failures: Vec<_> = status.failures.iter().map(|(reason, n)| (reason.as_str(), *n)).collect();
    let once = ["consent", "throttled", "server", "timeout", "network"].map(|reason| (reason, 1));
    assert_eq!((status.polls, failures), (8, once.to_vec()));
}

#[tokio::test(start_paused = true)]
async fn the_ledger_says_how_each_poll_ended_and_when_the_next_is_due() {
    let ledger = ledger();
    let mut changes = ledger.subscribe();
    let polling = start(&ledger, [Good, Hangs]);
    let good = changes.wait_for(|status| status.polls == 1 && status.next_at > Some(START)).await;
    let status = good.unwrap().clone();
    assert!(status.up() && status.failure.is_none());
    assert_eq!((status.last_at, status.took), (Some(START), Some(Duration::ZERO)));
    assert_eq!(status.next_at, Some(START + Duration::from_mins(342)));
    assert_eq!(status.good.map(|good| good.at), Some(START));

    let failed = changes.wait_for(|status| status.polls == 2).await;
    let status = failed.unwrap().clone();
    let failure = status.failure.clone().unwrap();
    assert_eq!(failure.reason, Reason::Timeout);
    assert_eq!(failure.text, "the poll took longer than poll_timeout (2m)");
    assert_eq!(status.took, Some(Duration::from_mins(2)));
    assert_eq!(status.last_at, Some(START + Duration::from_mins(344)));
    assert_eq!(status.good.map(|good| good.at), Some(START), "the good rows stay");
    polling.stop().await;
    assert_eq!(ledger.read().next_at, None, "nobody polls any more");
}

#[tokio::test(start_paused = true)]
async fn a_reload_does_not_shorten_what_the_server_asked_for() {
    let ledger = ledger();
    let mut before = start(&ledger, [Throttles(600)]);
    assert_eq!(before.next().await, 0);
    tokio::time::sleep(Duration::from_secs(100)).await;
    before.stop().await;
    let mut after = start(&ledger, [Good, Good]);
    assert_eq!(after.next().await, 500_000, "the rest of the ten minutes");
    assert_eq!(after.next().await, 500_000 + 20_520_000);
    after.stop().await;
    let mut later = start(&ledger, [Good]);
    assert_eq!(later.next().await, 0, "a good poll ends the hold");
    later.stop().await;
}

#[tokio::test(start_paused = true)]
async fn in_the_57_seconds_that_were_asked_for_nobody_asks_however_often_the_loop_begins_anew() {
    let ledger = ledger();
    let began = Instant::now();
    let mut before = start(&ledger, [Throttles(57)]);
    before.next().await;
    before.stop().await;
    for second in 1..57 {
        let restarted = start(&ledger, [Hangs]);
        tokio::time::sleep_until(began + Duration::from_secs(second)).await;
        assert!(restarted.asked.is_empty(), "asked before second {second}");
        restarted.stop().await;
    }
    let mut last = start(&ledger, [Good]);
    last.next().await;
    assert_eq!(began.elapsed(), Duration::from_secs(57));
    last.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_does_not_hurry_after_a_429_that_names_no_time_either() {
    let ledger = ledger();
    let mut before = start(&ledger, [Fails(Reason::Throttled)]);
    before.next().await;
    before.stop().await;
    let mut after = start(&ledger, [Good]);
    assert_eq!(after.next().await, 30_000);
    after.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_whose_time_was_up_still_keeps_to_what_the_server_asked_for_meanwhile() {
    let ledger = ledger();
    let mut polling = start(&ledger, [Hangs, Good]);
    polling.next().await;
    ledger.write(|status| status.hold_until = Some(Instant::now() + Duration::from_secs(600)));
    assert_eq!(polling.next().await, 600_000, "not 30s after the deadline of 120s");
    polling.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_staggered_first_poll_comes_that_much_later_and_so_does_one_after_a_hold() {
    let ledger = ledger();
    let polling = |answer, ledger: &Ledger| {
        start_with(ledger, |plan| plan.stagger = Duration::from_millis(300), [answer])
    };
    let mut first = polling(Throttles(57), &ledger);
    assert_eq!(first.next().await, 300);
    first.stop().await;
    let mut held = polling(Good, &ledger);
    assert_eq!(held.next().await, 57_300);
    held.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_polls_at_once_after_any_other_failure() {
    let ledger = ledger();
    let mut before = start(&ledger, [Fails(Reason::Server)]);
    assert_eq!(before.next().await, 0);
    before.stop().await;
    let mut after = start(&ledger, [Good]);
    assert_eq!(after.next().await, 0);
    after.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_first_poll_is_due_an_interval_after_the_restored_one() {
    let ledger = ledger();
    let mut polling = resume(&ledger, START - HOUR, [Fails(Reason::Server), Good]);
    let mut changes = ledger.subscribe();
    let due = changes.wait_for(|status| status.next_at.is_some()).await.unwrap().next_at;
    assert_eq!(due, Some(START + Duration::from_mins(342 - 60)), "told at once");
    assert_eq!(polling.next().await, 16_920_000, "6h less 5 % less the hour");
    assert_eq!(polling.next().await, 16_950_000, "30s after the failure, as ever");
    polling.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_first_poll_is_at_once_if_it_is_overdue() {
    let ledger = ledger();
    let mut polling = resume(&ledger, START - 7 * HOUR, [Good]);
    assert_eq!(polling.next().await, 0);
    polling.stop().await;
}

#[tokio::test(start_paused = true)]
async fn new_credentials_are_tried_at_once_after_a_failure_but_not_before_a_server_wants_to_be_asked() {
    let ledger = ledger();
    // A sign-in that cannot go better without them may look like an outage.
    let script = [Fails(Reason::Credentials), Fails(Reason::Server), Throttles(57), Good];
    let mut polling = start(&ledger, script);
    assert_eq!(polling.next().await, 0);
    tokio::time::sleep(Duration::from_mins(10)).await;
    polling.changes.notify_waiters();
    assert_eq!(polling.next().await, 600_000, "not after six hours");
    tokio::time::sleep(Duration::from_secs(1)).await;
    polling.changes.notify_waiters();
    assert_eq!(polling.next().await, 601_000, "not after a minute");
    tokio::time::sleep(Duration::from_secs(1)).await;
    polling.changes.notify_waiters();
    assert_eq!(polling.next().await, 658_000, "as the server asked");
    polling.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_wait_at_once_and_settles_the_source() {
    let ledger = ledger();
    let mut polling = start(&ledger, [Good]);
    polling.next().await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(polling.stop().await, 1);
    assert_eq!(ledger.read().polls, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_fetch_at_once_and_settles_the_source() {
    let ledger = ledger();
    let mut polling = start(&ledger, [Hangs]);
    polling.next().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(polling.stop().await, 1);
    let status = ledger.read();
    assert_eq!((status.polls, status.tried(), status.failures.len()), (0, false, 0), "it is no failure");
}

#[tokio::test(start_paused = true)]
async fn the_failures_of_one_account_are_not_another_ones() {
    let (good, bad) = (ledger(), ledger());
    let mut polling_good = start(&good, [Good, Good]);
    let mut polling_bad = start(&bad, [Fails(Reason::Tls), Hangs, Throttles(7_200), Fails(Reason::Mfa)]);
    for second in [0, 30, 210, 7_410] {
        assert_eq!(polling_bad.next().await, second * 1000);
    }
    for second in [0, 20_520] {
        assert_eq!(polling_good.next().await, second * 1000);
    }
    let (good, bad) = (good.read(), bad.read());
    assert!(good.up() && good.failures.is_empty() && good.hold_until.is_none());
    assert_eq!(bad.polls, bad.failures.values().sum::<u64>());
    assert!(!bad.up() && bad.good.is_none());
}
