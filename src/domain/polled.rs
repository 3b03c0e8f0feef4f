//! What is known about one collection of an account: its last good rows and how its polls ended.
//!
//! [`CollectionStatus`] is plain data with one pure transition, [`CollectionStatus::poll_ended`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::collection::Collected;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::row::RowError;
use crate::domain::schedule::LastPoll;

/// The last good collection.
#[derive(Clone, Debug)]
pub struct LastGood {
    /// Its rows.
    pub report: Arc<Collected>,
    /// When its poll ended.
    pub at: Timestamp,
    /// Whether a later poll failed.
    pub failed_since: bool,
}

/// What is known about one collection of an account.
#[derive(Clone, Debug, Default)]
pub struct CollectionStatus {
    /// Whether a reload added the collection to the account.
    pub added_by_reload: bool,
    /// The configured time between two successful polls.
    pub poll_interval: Duration,
    /// The last good rows, kept through failures and restored after a restart.
    pub last_good: Option<LastGood>,
    /// How the last poll ended.
    pub last_poll: LastPoll,
    /// When the last poll ended.
    pub last_poll_at: Option<Timestamp>,
    /// How long the last poll took.
    pub last_poll_duration: Option<Duration>,
    /// When the first poll of the current run of successes or of failures ended.
    pub outcome_since: Option<Timestamp>,
    /// When the next poll is due; in the past while a poll is in progress.
    pub next_poll_at: Option<Timestamp>,
    /// The number of completed polls, successful or failed.
    pub polls: u64,
    /// The number of failed polls, by reason.
    pub failures: BTreeMap<FailureReason, u64>,
    /// The number of dropped rows, by error.
    pub rejected: BTreeMap<RowError, u64>,
}

// === impl LastGood ===

impl LastGood {
    /// When these rows stop being served; `None` = never.
    pub fn vanishes_at(&self, stale_after: Option<Duration>) -> Option<Timestamp> {
        Some(self.at.saturating_add(stale_after?).unwrap_or(Timestamp::MAX))
    }

    /// Whether these rows may be served at `now`.
    pub fn is_fresh(&self, now: Timestamp, stale_after: Option<Duration>) -> bool {
        self.vanishes_at(stale_after).is_none_or(|end| now < end)
    }
}

// === impl CollectionStatus ===

impl CollectionStatus {
    /// Records a poll that ended at `at` after `took`. A failure leaves the last good rows as they are.
    pub fn poll_ended(&mut self, outcome: Result<Collected, Failure>, at: Timestamp, took: Duration) {
        self.polls += 1;
        self.last_poll_at = Some(at);
        self.last_poll_duration = Some(took);
        let rejected = match &outcome {
            Ok(report) => report.rejected(),
            Err(failure) => &failure.rejected,
        };
        self.count_rejected(rejected);
        let last = match outcome {
            Ok(report) => {
                self.last_good = Some(LastGood { report: Arc::new(report), at, failed_since: false });
                LastPoll::Succeeded
            }
            Err(failure) => {
                *self.failures.entry(failure.reason).or_insert(0) += 1;
                if let Some(good) = &mut self.last_good {
                    good.failed_since = true;
                }
                let before =
                    if let LastPoll::Failed { in_a_row, .. } = self.last_poll { in_a_row } else { 0 };
                LastPoll::Failed { failure, in_a_row: before.saturating_add(1) }
            }
        };
        if std::mem::discriminant(&self.last_poll) != std::mem::discriminant(&last) {
            self.outcome_since = Some(at);
        }
        self.last_poll = last;
    }

    /// Counts rows that were dropped.
    pub fn count_rejected(&mut self, rejected: &BTreeMap<RowError, u64>) {
        for (error, count) in rejected {
            *self.rejected.entry(*error).or_insert(0) += count;
        }
    }

    /// Whether something happened later than `now`, so that the clock was wrong then.
    pub fn is_ahead_of(&self, now: Timestamp) -> bool {
        const TOLERANCE: Duration = Duration::from_mins(1);
        let times = [self.last_poll_at, self.last_good.as_ref().map(|good| good.at)];
        times.into_iter().flatten().max().is_some_and(|at| at > now.saturating_add(TOLERANCE).unwrap_or(now))
    }

    /// Replaces times after `now`: what they belong to happened no later than that.
    pub fn correct_times(&mut self, now: Timestamp) {
        let good = self.last_good.as_mut().map(|good| &mut good.at);
        let polls = [self.last_poll_at.as_mut(), self.outcome_since.as_mut()];
        for at in polls.into_iter().chain([good]).flatten() {
            *at = now.min(*at);
        }
    }

    /// The failure of the last poll, if it failed.
    pub fn failure(&self) -> Option<&Failure> {
        if let LastPoll::Failed { failure, .. } = &self.last_poll { Some(failure) } else { None }
    }

    /// Whether the last poll of this process succeeded; restored rows do not count.
    pub fn up(&self) -> bool {
        self.last_poll == LastPoll::Succeeded
    }

    /// Whether this process has completed a poll, successful or failed.
    pub fn was_polled(&self) -> bool {
        self.last_poll != LastPoll::Never
    }

    /// Whether a poll of this process has succeeded; restored rows do not count.
    pub fn has_succeeded(&self) -> bool {
        self.polls > self.failures.values().sum()
    }

    /// Whether readiness need not wait for it: a poll has completed, rows have been restored, or a reload added it.
    pub fn is_ready(&self) -> bool {
        self.was_polled() || self.last_good.is_some() || self.added_by_reload
    }

    /// The rows that may be served at `now`: the last good ones, until they are older than `stale_after`.
    pub fn visible(&self, now: Timestamp, stale_after: Option<Duration>) -> Option<&LastGood> {
        self.last_good.as_ref().filter(|good| good.is_fresh(now, stale_after))
    }

    /// When the last good rows stop being served; `None` = never, or there are none.
    pub fn vanishes_at(&self, stale_after: Option<Duration>) -> Option<Timestamp> {
        self.last_good.as_ref()?.vanishes_at(stale_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::usage::UsageReport;

    fn empty() -> Collected {
        Collected::Usage(UsageReport::default())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn failure() -> Failure {
        Failure::of(FailureReason::Network)
    }

    #[test]
    fn good_rows_survive_failures_until_they_are_stale() {
        let day = Duration::from_hours(24);
        let mut status = CollectionStatus::default();
        status.poll_ended(Ok(empty()), at(0), Duration::ZERO);
        status.poll_ended(Err(failure()), at(100), Duration::ZERO);
        assert!(!status.up());
        assert!(status.visible(at(86_399), Some(day)).is_some());
        assert!(status.visible(at(86_400), Some(day)).is_none());
        assert!(status.visible(at(10_000_000), None).is_some());
    }

    #[test]
    fn after_the_clock_was_set_back_no_time_is_in_the_future_and_rows_last_as_long_as_configured() {
        let (mut status, hour) = (CollectionStatus::default(), Duration::from_hours(1));
        status.poll_ended(Ok(empty()), at(100_000), Duration::ZERO);
        assert!(!status.is_ahead_of(at(99_940)), "a minute is within the corrections of a clock");
        assert!(status.is_ahead_of(at(99_939)));
        status.correct_times(at(50_000));
        assert!(!status.is_ahead_of(at(50_000)));
        assert_eq!((status.last_poll_at, status.outcome_since), (Some(at(50_000)), Some(at(50_000))));
        assert_eq!(status.vanishes_at(Some(hour)), Some(at(53_600)));
        status.correct_times(at(60_000));
        assert_eq!(status.vanishes_at(Some(hour)), Some(at(53_600)), "the past stays");
    }

    #[test]
    fn failures_in_a_row_are_counted_until_a_success() {
        let mut status = CollectionStatus::default();
        for second in 1..=3 {
            status.poll_ended(Err(failure()), at(second), Duration::ZERO);
        }
        assert!(matches!(status.last_poll, LastPoll::Failed { in_a_row: 3, .. }));
        assert_eq!((status.failures[&FailureReason::Network], status.outcome_since), (3, Some(at(1))));
        status.poll_ended(Ok(empty()), at(9), Duration::ZERO);
        assert!(status.up() && status.failure().is_none());
        assert_eq!((status.polls, status.outcome_since), (4, Some(at(9))));
    }
}
