//! The polling loop of one collection of an account: wait, fetch, record the outcome.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::domain::clock::{Clock, Deadline, STEP};
use crate::domain::collection::{Collected, Collection};
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::polled::CollectionStatus;
use crate::domain::row::listing;
use crate::domain::schedule::Schedule;
use crate::domain::status::{AccountStatus, Ledger};
use crate::domain::usage::EMPTY_REMEDY;
use crate::partner::{FetchError, Source};

use super::shared::Shared;

/// How to poll one collection of an account.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The account's name in logs.
    pub account: String,
    /// The collection.
    pub collection: Collection,
    /// When to poll.
    pub schedule: Schedule,
    /// How long a poll may take.
    pub timeout: Duration,
    /// When the last good poll of an earlier process ended, if the first poll is to keep a distance from it.
    pub resumes: Option<Timestamp>,
    /// How long the first poll is delayed, so that many accounts do not start at once.
    pub stagger: Duration,
    /// Notified when an operator asks for a poll now.
    pub asked: Arc<Notify>,
    /// What the collections of the account share.
    pub shared: Shared,
    /// The wall clock.
    pub clock: Clock,
    /// A source of random numbers in `0.0..1.0`.
    pub jitter: fn() -> f64,
}

/// The least time between two polls of which the second was not due by the schedule.
const LEAST_DISTANCE: Duration = Duration::from_mins(1);

/// Polls until `stop`: first at once, or some minutes after the last poll of an earlier process, then according to the
/// schedule, and never before the server's `Retry-After` has passed.
pub async fn run<S: Source>(source: Arc<S>, plan: Plan, ledger: Ledger, stop: CancellationToken) {
    let mut poller = Poller::new(source, plan, ledger);
    let polling = async {
        loop {
            poller.wait().await;
            poller.poll().await;
        }
    };
    stop.run_until_cancelled(polling).await;
    poller.write(|status| status.next_poll_at = None);
    poller.source.drain().await;
}

/// The polling of one collection.
struct Poller<S> {
    source: Arc<S>,
    plan: Plan,
    ledger: Ledger,
    /// When the next poll is due, unless the server asked for a longer wait.
    deadline: Deadline,
    /// When the last poll of this task began.
    begun: Option<Instant>,
    /// How many changes of the credentials are known.
    changes: u64,
    /// The causes of the current outage that were logged. Empty at the start, since an operator who reloads wants to
    /// see whether it helped.
    reported: BTreeSet<(FailureReason, Cow<'static, str>)>,
}

impl<S: Source> Poller<S> {
    fn new(source: Arc<S>, plan: Plan, ledger: Ledger) -> Self {
        let resumed = plan.resumes.map_or(Duration::ZERO, |at| {
            let age = Duration::try_from(plan.clock.now().duration_since(at)).unwrap_or(Duration::ZERO);
            plan.schedule.resume(age, (plan.jitter)())
        });
        let wait = held(&ledger.read()).max(resumed) + plan.stagger;
        let deadline = plan.clock.deadline(wait);
        let changes = plan.shared.changes();
        let poller = Self { source, plan, ledger, deadline, begun: None, changes, reported: BTreeSet::new() };
        poller.write(|status| status.next_poll_at = Some(after(poller.plan.clock.now(), wait)));
        poller
    }

    fn status(&self) -> CollectionStatus {
        self.ledger.read().of(self.plan.collection).cloned().unwrap_or_default()
    }

    fn write(&self, change: impl FnOnce(&mut CollectionStatus)) {
        // A reload may have removed the collection.
        self.ledger.write(|status| {
            if let Some(status) = status.collections.get_mut(&self.plan.collection) {
                change(status);
            }
        });
    }

    /// Whether the credentials have changed since this collection looked last.
    async fn credentials_changed(&mut self) -> bool {
        if self.source.credentials_changed().await {
            self.plan.shared.note_change();
        }
        let changes = self.plan.shared.changes();
        std::mem::replace(&mut self.changes, changes) != changes
    }

    /// Waits for the next poll. The ledger says when that is, also after the wall clock was set.
    async fn wait(&mut self) {
        loop {
            let (status, now) = (self.status(), self.plan.clock.now());
            if status.is_ahead_of(now) {
                self.write(|status| status.correct_times(now));
                let wait = LEAST_DISTANCE + self.plan.stagger;
                self.deadline = Deadline::monotonic(self.deadline.remaining(now).min(wait));
            } else if self.deadline.was_overtaken(now) {
                // What is due for one account is then due for all.
                self.deadline = Deadline::monotonic(self.plan.stagger);
            }
            let remaining = self.deadline.remaining(now).max(held(&self.ledger.read()));
            if remaining.is_zero() {
                return;
            }
            let due = after(now, remaining);
            if status.next_poll_at.is_none_or(|published| due.duration_since(published).unsigned_abs() > STEP)
            {
                self.write(|status| status.next_poll_at = Some(due));
            }
            tokio::select! { biased;
                () = self.plan.asked.notified() => {
                    self.reported.clear();
                    let elapsed = self.begun.map_or(LEAST_DISTANCE, |begun| begun.elapsed());
                    let has_changed = self.credentials_changed().await;
                    let rest = if has_changed { Duration::ZERO } else { LEAST_DISTANCE.saturating_sub(elapsed) };
                    self.advance(rest.max(self.plan.stagger));
                }
                () = sleep(remaining.min(STEP)) => {
                    // For any reason: refused credentials may be reported as an outage.
                    let fails = status.failure().is_some_and(|failure| !failure.asks_to_slow_down());
                    if fails && self.credentials_changed().await {
                        tracing::info!(account = self.plan.account, "The credentials have changed; polling now");
                        self.reported.clear();
                        self.advance(self.plan.stagger);
                    }
                }
            }
        }
    }

    /// Makes the next poll due within `wait`.
    fn advance(&mut self, wait: Duration) {
        let clock = &self.plan.clock;
        self.deadline = clock.deadline(self.deadline.remaining(clock.now()).min(wait));
    }

    /// Polls once, unless the server asks another collection for a pause before it is this one's turn.
    async fn poll(&mut self) {
        let mut turn = self.plan.shared.turns.take().await;
        if !held(&self.ledger.read()).is_zero() {
            return;
        }
        let (plan, begun) = (&self.plan, Instant::now());
        self.begun = Some(begun);
        self.changes = self.plan.shared.changes();
        let collection = plan.collection;
        tracing::debug!(account = %plan.account, collection = collection.as_str(), "Polling");
        // On the heap for as long as it takes, since it is large, and polls are hours apart.
        let fetching = Box::pin(self.source.fetch(collection, &mut turn));
        let outcome = timeout(plan.timeout, fetching).await;
        drop(turn);
        let outcome =
            outcome.unwrap_or_else(|_| Err(FetchError::deadline(plan.timeout))).map_err(Failure::from);
        let before = self.status();
        let (at, took) = (plan.clock.now(), begun.elapsed());
        let mut wait = Duration::ZERO;
        self.ledger.write(|account| {
            let held = held(account);
            let Some(status) = account.collections.get_mut(&collection) else { return };
            status.poll_ended(outcome, at, took);
            // A request within the poll may have been asked for a longer wait than the outcome shows.
            wait = plan.schedule.next(&status.last_poll, (plan.jitter)()).max(held);
            status.next_poll_at = Some(after(plan.clock.now(), wait));
            if status.failure().is_some_and(Failure::asks_to_slow_down) {
                account.hold_until = Some(Instant::now() + wait);
            }
        });
        self.deadline = plan.clock.deadline(wait);
        log_change(plan, &before, &self.status(), wait, &mut self.reported);
    }
}

/// How long the server still asks for no request. Only the monotonic clock counts: if the wall clock is set, less time
/// than it says may have passed.
fn held(status: &AccountStatus) -> Duration {
    status.hold_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// Logs changes, not states: a thirtieth equal failure is a metric, not a log line. Each cause of an outage is logged
/// once, even if causes alternate.
fn log_change(
    Plan { account, collection, .. }: &Plan,
    before: &CollectionStatus,
    now: &CollectionStatus,
    wait: Duration,
    reported: &mut BTreeSet<(FailureReason, Cow<'static, str>)>,
) {
    let (next_poll_s, collection) = (wait.as_secs_f64().round(), collection.as_str());
    let Some(failure) = now.failure() else {
        reported.clear();
        return log_success((account, collection), before, now, next_poll_s);
    };
    let (reason, remedy, err) = (failure.reason.as_str(), &*failure.remedy, &failure.text);
    if !reported.insert((failure.reason, failure.remedy.clone())) {
        tracing::debug!(account, collection, reason, err, next_poll_s, "Polling still fails");
    } else if failure.needs_operator {
        tracing::error!(account, collection, reason, err, remedy, next_poll_s, "Polling failed");
    } else {
        tracing::warn!(account, collection, reason, err, remedy, next_poll_s, "Polling failed");
    }
}

fn log_success(
    (account, collection): (&str, &str),
    before: &CollectionStatus,
    now: &CollectionStatus,
    next_poll_s: f64,
) {
    let duration_s = now.last_poll_duration.unwrap_or_default().as_secs_f64();
    let Some(report) = now.last_good.as_ref().map(|good| &good.report) else { return };
    let rows = report.len();
    if let Some(was) = before.failure() {
        let was = was.reason.as_str();
        tracing::info!(account, collection, was, rows, duration_s, "Polling works again");
    } else if before.was_polled() {
        tracing::debug!(account, collection, rows, duration_s, next_poll_s, "Poll succeeded");
    } else {
        // `source` is the place in the code.
        let rows_from = report.source().as_str();
        tracing::info!(account, collection, rows, rows_from, duration_s, next_poll_s, "First poll succeeded");
    }
    if let Some(was) = before.last_good.as_ref().map(|good| good.report.source())
        && was != report.source()
        && before.has_succeeded()
    {
        let (was, rows_from) = (was.as_str(), report.source().as_str());
        tracing::info!(account, collection, was, rows_from, rows, "The rows come from another source");
    }
    // After a restart an empty collection is reported once more.
    let before_rows = before.last_good.as_ref().map(|good| good.report.len());
    let was_empty = before.has_succeeded() && before_rows == Some(0);
    if rows == 0 && !was_empty {
        tracing::warn!(account, collection, remedy = EMPTY_REMEDY, "The collection has no rows");
    } else if rows > 0 && was_empty {
        tracing::info!(account, collection, rows, "The collection has rows again");
    }
    let dropped = |report: &Collected| report.rejected().values().sum::<u64>();
    let rejected = dropped(report);
    if rejected > before.last_good.as_ref().map_or(0, |good| dropped(&good.report)) {
        let reasons = listing(report.rejected());
        tracing::warn!(account, collection, rejected, reasons, rows, "Rows of the collection were dropped");
    }
}
