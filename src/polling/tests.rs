//! These tests run on a paused clock: hours pass at once, and every second is exact.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::clock::Clock;
use crate::domain::collection::{Collected, Collection};
use crate::domain::failure::FailureReason;
use crate::domain::figures::Percent;
use crate::domain::schedule::Schedule;
use crate::domain::status::{AccountStatus, Ledger};
use crate::domain::usage::{LicenseUsage, UsageReport};
use crate::partner::{FetchError, Source, Turn};

mod clocks;
mod outage;
mod persist;
mod publish;
mod together;

const START: Timestamp = Timestamp::constant(1_795_410_800, 0);
const HOUR: Duration = Duration::from_hours(1);

/// What a fetch does.
enum Answer {
    /// Succeeds with one row.
    Succeeds,
    /// Succeeds without a row.
    Empty,
    Fails(FailureReason),
    /// Fails with `Retry-After` in seconds.
    Throttles(u64),
    Hangs,
}

use Answer::{Empty, Fails, Hangs, Succeeds, Throttles};

/// A source that follows a script and reports when each fetch began.
struct Scripted {
    answers: Mutex<mpsc::UnboundedReceiver<Answer>>,
    fetches: mpsc::UnboundedSender<Instant>,
    drained: Arc<AtomicU64>,
    new_credentials: Arc<AtomicBool>,
}

impl Source for Scripted {
    async fn fetch(&self, _: Collection, _: &mut Turn) -> Result<Collected, FetchError> {
        self.fetches.send(Instant::now()).unwrap();
        let answer = self.answers.lock().unwrap().try_recv();
        match answer.expect("the script has another answer") {
            Succeeds => Ok(UsageReport::collect([Ok(row())]).into()),
            Empty => Ok(UsageReport::default().into()),
            Fails(reason) => Err(FetchError::scripted(reason, None)),
            Throttles(s) => Err(FetchError::scripted(FailureReason::Throttled, Some(Duration::from_secs(s)))),
            Hangs => std::future::pending().await,
        }
    }

    async fn credentials_changed(&self) -> bool {
        self.new_credentials.swap(false, Ordering::Relaxed)
    }

    async fn drain(&self) {
        self.drained.fetch_add(1, Ordering::Relaxed);
    }
}

/// A source whose fetch needs much memory while it lasts.
struct Large;

impl Source for Large {
    async fn fetch(&self, _: Collection, _: &mut Turn) -> Result<Collected, FetchError> {
        let buffer = [0_u8; 16_000];
        std::future::pending::<()>().await;
        Err(FetchError::scripted(FailureReason::Payload, Some(Duration::from_secs(buffer[0].into()))))
    }

    async fn credentials_changed(&self) -> bool {
        false
    }

    async fn drain(&self) {}
}

/// A wall clock that goes with the monotonic clock and can be set.
#[derive(Clone)]
struct Settable(Arc<AtomicI64>);

impl Settable {
    fn new() -> (Self, Clock) {
        let ahead = Arc::new(AtomicI64::new(0));
        let (set, origin) = (Arc::clone(&ahead), Instant::now());
        let time = move || {
            let seconds = jiff::SignedDuration::from_secs(set.load(Ordering::Relaxed));
            START + origin.elapsed() + seconds
        };
        (Self(ahead), Clock::from_fn(time))
    }

    /// Sets the clock ahead, as after a suspension, or back.
    fn advance(&self, hours: i64) {
        self.0.fetch_add(hours * 3600, Ordering::Relaxed);
    }
}

/// A polling task with a script.
struct Polling {
    started: Instant,
    fetches: mpsc::UnboundedReceiver<Instant>,
    drained: Arc<AtomicU64>,
    /// Whether the credentials have changed.
    new_credentials: Arc<AtomicBool>,
    /// Notified when an operator asks for a poll.
    asked: Arc<Notify>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// Keeps the channel open.
    _script: mpsc::UnboundedSender<Answer>,
}

fn start(ledger: &Ledger, answers: impl IntoIterator<Item = Answer>) -> Polling {
    start_with(ledger, |_| {}, answers)
}

/// Starts a task that continues the interval of an earlier process.
fn resume(ledger: &Ledger, at: Timestamp, answers: impl IntoIterator<Item = Answer>) -> Polling {
    start_with(ledger, |plan| plan.resumes = Some(at), answers)
}

fn start_with(
    ledger: &Ledger,
    change: impl FnOnce(&mut Plan),
    answers: impl IntoIterator<Item = Answer>,
) -> Polling {
    let (script, scripted) = mpsc::unbounded_channel();
    for answer in answers {
        script.send(answer).unwrap_or_else(|_| panic!("the receiver exists"));
    }
    let (sender, fetches) = mpsc::unbounded_channel();
    let (drained, new_credentials): (Arc<AtomicU64>, Arc<AtomicBool>) = Default::default();
    let source = Scripted {
        answers: Mutex::new(scripted),
        fetches: sender,
        drained: Arc::clone(&drained),
        new_credentials: Arc::clone(&new_credentials),
    };
    let mut plan = plan();
    change(&mut plan);
    let asked = Arc::clone(&plan.asked);
    let stop = CancellationToken::new();
    let task = tokio::spawn(run(Arc::new(source), plan, ledger.clone(), stop.clone()));
    Polling { started: Instant::now(), fetches, drained, new_credentials, asked, stop, task, _script: script }
}

/// A plan for every six hours.
fn plan() -> Plan {
    Plan {
        account: "contoso".to_owned(),
        collection: Collection::Usage,
        schedule: Schedule::new(6 * HOUR),
        timeout: Duration::from_mins(2),
        resumes: None,
        stagger: Duration::ZERO,
        asked: Arc::default(),
        shared: Shared::default(),
        clock: Clock::from_tokio(START),
        jitter: || 0.0,
    }
}

impl Polling {
    /// The start of the next poll, in milliseconds since the task's start.
    async fn next(&mut self) -> u128 {
        (self.fetches.recv().await.expect("another poll") - self.started).as_millis()
    }

    async fn stop(self) -> u64 {
        self.stop.cancel();
        let before = Instant::now();
        self.task.await.unwrap();
        assert_eq!(Instant::now(), before, "the task ends at once");
        self.drained.load(Ordering::Relaxed)
    }
}

fn row() -> LicenseUsage {
    LicenseUsage {
        service: "o365".into(),
        workload: "Exchange".into(),
        channel: "reseller".into(),
        percent: Percent::new(80.0).unwrap(),
        licenses: None,
        processed_at: START,
    }
}

fn ledger() -> Ledger {
    Ledger::of_usage(None)
}

#[tokio::test(start_paused = true)]
async fn each_poll_starts_at_its_second_through_successes_and_failures() {
    let ledger = ledger();
    let script = [
        Succeeds,
        Fails(FailureReason::Network),
        Fails(FailureReason::Server),
        Throttles(57),
        Hangs,
        Fails(FailureReason::Consent),
        Succeeds,
        Succeeds,
    ];
    let mut polling = start(&ledger, script);
    let expected: [(u128, &str); 8] = [
        (0, "at once"),
        (20_520, "6h less 5 %"),
        (20_550, "30s after the first failure"),
        (20_610, "60s after the second"),
        (20_667, "the 57s of Retry-After"),
        (21_027, "the timeout of 120s, then 240s after the fourth failure"),
        (41_547, "6h less 5 %, since only an operator can fix it"),
        (62_067, "6h less 5 % again"),
    ];
    for (second, why) in expected {
        assert_eq!(polling.next().await, second * 1000, "{why}");
    }
    polling.stop().await;
    let status = ledger.read();
    let failures: Vec<_> = status.usage().failures.iter().map(|(reason, n)| (reason.as_str(), *n)).collect();
    let once = ["consent", "throttled", "server", "timeout", "network"].map(|reason| (reason, 1));
    assert_eq!((status.usage().polls, failures), (8, once.to_vec()));
}

#[tokio::test(start_paused = true)]
async fn the_ledger_says_how_each_poll_ended_and_when_the_next_is_due() {
    let ledger = ledger();
    let mut changes = ledger.subscribe();
    let polling = start(&ledger, [Succeeds, Hangs]);
    let good = changes
        .wait_for(|status| status.usage().polls == 1 && status.usage().next_poll_at > Some(START))
        .await;
    let status = good.unwrap().clone();
    assert!(status.usage().up() && status.usage().failure().is_none());
    assert_eq!(
        (status.usage().last_poll_at, status.usage().last_poll_duration),
        (Some(START), Some(Duration::ZERO))
    );
    assert_eq!(status.usage().next_poll_at, Some(START + Duration::from_mins(342)));
    assert_eq!(status.usage().last_good.as_ref().map(|good| good.at), Some(START));

    let failed = changes.wait_for(|status| status.usage().polls == 2).await;
    let status = failed.unwrap().clone();
    let failure = status.usage().failure().cloned().unwrap();
    assert_eq!(failure.reason, FailureReason::Timeout);
    assert_eq!(failure.text, "the poll took longer than poll_timeout (2m)");
    assert_eq!(status.usage().last_poll_duration, Some(Duration::from_mins(2)));
    assert_eq!(status.usage().last_poll_at, Some(START + Duration::from_mins(344)));
    assert_eq!(status.usage().last_good.as_ref().map(|good| good.at), Some(START), "the last good rows stay");
    polling.stop().await;
    assert_eq!(ledger.read().usage().next_poll_at, None, "no poll is due");
}

#[tokio::test(start_paused = true)]
async fn a_reload_does_not_shorten_a_retry_after() {
    let ledger = ledger();
    let mut before = start(&ledger, [Throttles(600)]);
    assert_eq!(before.next().await, 0);
    tokio::time::sleep(Duration::from_secs(100)).await;
    before.stop().await;
    let mut after = start(&ledger, [Succeeds, Succeeds]);
    assert_eq!(after.next().await, 500_000, "the rest of the ten minutes");
    assert_eq!(after.next().await, 500_000 + 20_520_000);
    after.stop().await;
    let mut later = start(&ledger, [Succeeds]);
    assert_eq!(later.next().await, 0, "a successful poll ends the hold");
    later.stop().await;
}

#[tokio::test(start_paused = true)]
async fn no_poll_starts_within_a_retry_after_of_57_seconds_however_often_the_loop_restarts() {
    let ledger = ledger();
    let started = Instant::now();
    let mut before = start(&ledger, [Throttles(57)]);
    before.next().await;
    before.stop().await;
    for second in 1..57 {
        let restarted = start(&ledger, [Hangs]);
        tokio::time::sleep_until(started + Duration::from_secs(second)).await;
        assert!(restarted.fetches.is_empty(), "a poll before second {second}");
        restarted.stop().await;
    }
    let mut last = start(&ledger, [Succeeds]);
    last.next().await;
    assert_eq!(started.elapsed(), Duration::from_secs(57));
    last.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_does_not_shorten_the_wait_after_a_429_without_retry_after() {
    let ledger = ledger();
    let mut before = start(&ledger, [Fails(FailureReason::Throttled)]);
    before.next().await;
    before.stop().await;
    let mut after = start(&ledger, [Succeeds]);
    assert_eq!(after.next().await, 30_000);
    after.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_times_out_still_honours_a_retry_after_received_meanwhile() {
    let ledger = ledger();
    let mut polling = start(&ledger, [Hangs, Succeeds]);
    polling.next().await;
    ledger.write(|status| status.hold_until = Some(Instant::now() + Duration::from_secs(600)));
    assert_eq!(polling.next().await, 600_000, "not 30s after the timeout of 120s");
    polling.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stagger_delays_the_first_poll_and_a_poll_after_a_hold() {
    let ledger = ledger();
    let polling = |answer, ledger: &Ledger| {
        start_with(ledger, |plan| plan.stagger = Duration::from_millis(300), [answer])
    };
    let mut first = polling(Throttles(57), &ledger);
    assert_eq!(first.next().await, 300);
    first.stop().await;
    let mut held = polling(Succeeds, &ledger);
    assert_eq!(held.next().await, 57_300);
    held.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_polls_at_once_after_any_other_failure() {
    let ledger = ledger();
    let mut before = start(&ledger, [Fails(FailureReason::Server)]);
    assert_eq!(before.next().await, 0);
    before.stop().await;
    let mut after = start(&ledger, [Succeeds]);
    assert_eq!(after.next().await, 0);
    after.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_first_poll_is_due_a_quarter_of_an_hour_after_the_restored_one() {
    let ledger = ledger();
    let minute = Duration::from_mins(1);
    let mut polling = resume(&ledger, START - 4 * minute, [Fails(FailureReason::Server), Succeeds]);
    let mut changes = ledger.subscribe();
    let due =
        changes.wait_for(|status| status.usage().next_poll_at.is_some()).await.unwrap().usage().next_poll_at;
    assert_eq!(due, Some(START + 11 * minute), "known at once");
    assert_eq!(polling.next().await, 660_000, "15 min less 4 min");
    assert_eq!(polling.next().await, 690_000, "30s after the failure, as usual");
    polling.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_first_poll_starts_at_once_if_the_restored_one_is_a_quarter_of_an_hour_old() {
    for age in [HOUR / 4, 7 * HOUR] {
        let ledger = ledger();
        let mut polling = resume(&ledger, START - age, [Succeeds]);
        assert_eq!(polling.next().await, 0);
        polling.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_of_restarts_polls_no_more_often_than_every_quarter_of_an_hour() {
    let pause = Duration::from_secs(11);
    let (mut last_poll, mut polls) = (None, 0);
    for _ in 0..320 {
        let ledger = ledger();
        let polling = start_with(&ledger, |plan| plan.resumes = last_poll, [Succeeds]);
        tokio::time::sleep(pause).await;
        polling.stop().await;
        let status = ledger.read();
        polls += status.usage().polls;
        // The clock of each process starts at the same time, so the poll moves into the past instead.
        last_poll = status.usage().last_poll_at.or(last_poll).map(|at| at - pause);
    }
    assert_eq!(polls, 4);
}

#[tokio::test(start_paused = true)]
async fn new_credentials_are_used_at_once_after_a_failure_but_not_within_a_retry_after() {
    let ledger = ledger();
    // Refused credentials may be reported as an outage.
    let script = [Fails(FailureReason::Credentials), Fails(FailureReason::Server), Throttles(57), Succeeds];
    let mut polling = start(&ledger, script);
    assert_eq!(polling.next().await, 0);
    tokio::time::sleep(Duration::from_secs(601)).await;
    polling.new_credentials.store(true, Ordering::Relaxed);
    assert_eq!(polling.next().await, 605_000, "within five seconds, not after six hours");
    tokio::time::sleep(Duration::from_secs(1)).await;
    polling.new_credentials.store(true, Ordering::Relaxed);
    assert_eq!(polling.next().await, 610_000, "not after a minute");
    tokio::time::sleep(Duration::from_secs(1)).await;
    polling.new_credentials.store(true, Ordering::Relaxed);
    assert_eq!(polling.next().await, 667_000, "after the 57s of Retry-After");
    polling.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_wait_at_once_and_drains_the_source() {
    let ledger = ledger();
    let mut polling = start(&ledger, [Succeeds]);
    polling.next().await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(polling.stop().await, 1);
    assert_eq!(ledger.read().usage().polls, 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_fetch_needs_is_not_kept_between_polls() {
    let waiting = run(Arc::new(Large), plan(), ledger(), CancellationToken::new());
    assert!(size_of_val(&waiting) < 8_000, "{} bytes", size_of_val(&waiting));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_fetch_at_once_and_drains_the_source() {
    let ledger = ledger();
    let mut polling = start(&ledger, [Hangs]);
    polling.next().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(polling.stop().await, 1);
    let status = ledger.read();
    assert_eq!(
        (status.usage().polls, status.usage().was_polled(), status.usage().failures.len()),
        (0, false, 0),
        "a stop is not a failure"
    );
}

#[tokio::test(start_paused = true)]
async fn the_failures_of_one_account_do_not_affect_another() {
    let (good, bad) = (ledger(), ledger());
    let mut polling_good = start(&good, [Succeeds, Succeeds]);
    let mut polling_bad =
        start(&bad, [Fails(FailureReason::Tls), Hangs, Throttles(7_200), Fails(FailureReason::Mfa)]);
    for second in [0, 30, 210, 7_410] {
        assert_eq!(polling_bad.next().await, second * 1000);
    }
    for second in [0, 20_520] {
        assert_eq!(polling_good.next().await, second * 1000);
    }
    let (good, bad) = (good.read(), bad.read());
    assert!(good.usage().up() && good.usage().failures.is_empty() && good.hold_until.is_none());
    assert_eq!(bad.usage().polls, bad.usage().failures.values().sum::<u64>());
    assert!(!bad.usage().up() && bad.usage().last_good.is_none());
}
