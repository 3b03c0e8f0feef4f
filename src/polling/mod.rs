//! The heartbeat: one task per account that polls, notes the outcome and waits; beside it the keeper, which
//! puts good outcomes on the disk; and the publisher, which renders anew when something changed. Rendering
//! comes in as a function, so that this module stays above it.

mod keep;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::domain::clock::Clock;
use crate::domain::reason::Reason;
use crate::domain::schedule::{LastPoll, Schedule};
use crate::domain::status::{AccountStatus, Failure, Ledger};
use crate::domain::usage::listing;
use crate::partner::{FetchError, UsageSource};

pub use keep::keep;

/// What a polling task needs to know besides its source.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to call the account in logs.
    pub account: String,
    /// When to poll.
    pub schedule: Schedule,
    /// How long a poll may take.
    pub timeout: Duration,
    /// When the last good poll of an earlier process ended, if this task is to go on where that one stopped.
    pub resumes: Option<Timestamp>,
    /// How long the first poll is put off, so that many accounts do not begin at once.
    pub stagger: Duration,
    /// The time of day.
    pub clock: Clock,
    /// Throws dice in `0.0..1.0`.
    pub dice: fn() -> f64,
}

/// Polls until `stop`: at once or when an earlier process would have, then as the schedule says, never before
/// the server's `Retry-After` is over.
pub async fn run<S: UsageSource>(source: S, plan: Plan, ledger: Ledger, stop: CancellationToken) {
    let due = |wait| Some(plan.clock.now().saturating_add(wait).unwrap_or(Timestamp::MAX));
    let held = ledger.read().hold_until;
    let held = held.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
    let resumed = plan.resumes.map_or(Duration::ZERO, |at| {
        let age = Duration::try_from(plan.clock.now().duration_since(at)).unwrap_or(Duration::ZERO);
        plan.schedule.resume(age, (plan.dice)())
    });
    let mut wait = held.max(resumed) + plan.stagger;
    ledger.write(|status| status.next_at = due(wait));
    let mut told = BTreeSet::new();
    loop {
        // Whatever the reason: a sign-in that is misread as an outage ends with new credentials as well.
        let may_go_better = match ledger.read().last {
            LastPoll::Failed { reason, retry_after, .. } => {
                reason != Reason::Throttled && retry_after.is_none()
            }
            LastPoll::Never | LastPoll::Good => false,
        };
        tokio::select! { biased;
            () = stop.cancelled() => break,
            () = sleep(wait) => {}
            () = source.credentials_changed(), if may_go_better => {
                tracing::info!(account = plan.account, "The credentials have changed, polling at once");
                told.clear();
            }
        }
        let started = Instant::now();
        tracing::debug!(account = %plan.account, "Polling");
        let outcome = tokio::select! { biased;
            () = stop.cancelled() => break,
            outcome = timeout(plan.timeout, source.fetch()) => outcome,
        };
        let outcome =
            outcome.unwrap_or_else(|_| Err(FetchError::deadline(plan.timeout))).map_err(Failure::from);
        let before = ledger.read();
        let (at, took) = (plan.clock.now(), started.elapsed());
        ledger.write(|status| {
            status.poll_ended(outcome, at, took);
            wait = plan.schedule.next(&status.last, (plan.dice)());
            // The server may have asked for more than this poll lived to see.
            if let Some(until) = status.hold_until {
                wait = wait.max(until.saturating_duration_since(Instant::now()));
            }
            status.next_at = due(wait);
            if let LastPoll::Failed { retry_after: Some(_), .. }
            | LastPoll::Failed { reason: Reason::Throttled, .. } = status.last
            {
                status.hold_until = Some(Instant::now() + wait);
            }
        });
        log_change(&plan.account, &before, &ledger.read(), wait, &mut told);
    }
    ledger.write(|status| status.next_at = None);
    source.settle().await;
}

/// Says what changed, not what is: the thirtieth failure is a metric, not a line. Of one outage each cause is
/// told once, however they alternate; `told` begins empty with the loop, since somebody who reloads waits to see
/// whether it helped.
fn log_change(
    account: &str,
    before: &AccountStatus,
    now: &AccountStatus,
    wait: Duration,
    told: &mut BTreeSet<(Reason, &'static str)>,
) {
    let duration_s = now.took.unwrap_or_default().as_secs_f64();
    let next_poll_s = wait.as_secs_f64().round();
    let Some(failure) = &now.failure else {
        told.clear();
        let report = now.good.as_ref().map(|good| &good.report);
        let rows = report.map_or(0, |report| report.rows().len());
        match &before.failure {
            Some(was) => {
                let was = was.reason.as_str();
                tracing::info!(account, was, rows, duration_s, "Polling works again");
            }
            None if !before.tried() => {
                tracing::info!(account, rows, duration_s, next_poll_s, "First poll succeeded");
            }
            None => tracing::debug!(account, rows, duration_s, next_poll_s, "Poll succeeded"),
        }
        let dropped = |status: &AccountStatus| -> u64 {
            status.good.as_ref().map_or(0, |good| good.report.rejected().values().sum())
        };
        let rejected = dropped(now);
        if rejected > dropped(before) {
            let reasons = report.map(|report| listing(report.rejected())).unwrap_or_default();
            tracing::warn!(account, rejected, reasons, rows, "Rows of the collection were dropped");
        }
        return;
    };
    let (reason, remedy, err) = (failure.reason.as_str(), failure.remedy, &failure.text);
    if !told.insert((failure.reason, failure.remedy)) {
        tracing::debug!(account, reason, err, next_poll_s, "Polling still fails");
    } else if failure.needs_operator {
        tracing::error!(account, reason, err, remedy, next_poll_s, "Polling failed");
    } else {
        tracing::warn!(account, reason, err, remedy, next_poll_s, "Polling failed");
    }
}

/// What the publisher renders from: something that can tell when its picture next changes by time alone.
pub trait Scene: Send + Sync + 'static {
    /// What is published.
    type Picture: Send + Sync + 'static;
    /// Draws it as it is at `now`.
    fn draw(&self, now: Timestamp) -> Self::Picture;
    /// The next moment after `now` at which it changes although nobody writes.
    fn changes_by_itself_at(&self, now: Timestamp) -> Option<Timestamp>;
}

/// Draws the scene whenever the bell rings, the scene is replaced, or time alone changes it.
pub async fn publish<S: Scene>(
    mut scene: watch::Receiver<Arc<S>>,
    bell: Arc<Notify>,
    out: watch::Sender<Arc<S::Picture>>,
    clock: Clock,
    stop: CancellationToken,
) {
    /// Changes that follow each other this quickly are drawn together.
    const BREATH: Duration = Duration::from_millis(20);
    loop {
        let current = Arc::clone(&scene.borrow_and_update());
        let now = clock.now();
        out.send_replace(Arc::new(current.draw(now)));
        let next = current.changes_by_itself_at(now);
        let by_itself = async {
            match next {
                Some(at) => sleep_until(Instant::now() + until(at, clock.now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! { biased;
            () = stop.cancelled() => return,
            () = bell.notified() => {}
            changed = scene.changed() => if changed.is_err() { return },
            () = by_itself => {}
        }
        sleep(BREATH).await;
    }
}

/// How long until `at`; a minute at most, since the wall clock may be set while we sleep.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO).min(Duration::from_mins(1))
}

#[cfg(test)]
mod tests;
