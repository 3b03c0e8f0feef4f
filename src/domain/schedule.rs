//! When to poll next, as a pure function of the last poll and a random number.
//!
//! A successful poll is followed by the interval, a failed one by a shorter wait with exponential backoff; a
//! `Retry-After` of the server overrides both.

use std::time::Duration;

use crate::domain::failure::{Failure, FailureReason};

/// How the last poll ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LastPoll {
    /// No poll has completed yet.
    #[default]
    Never,
    /// The poll succeeded.
    Succeeded,
    /// The poll failed.
    Failed {
        /// What is known about the failure.
        failure: Failure,
        /// The number of failed polls since the last successful one, including this one.
        in_a_row: u32,
    },
}

/// The times of one account's polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    interval: Duration,
    /// The least time between a successful poll and the first one of a restarted process.
    restart_pause: Duration,
}

impl Schedule {
    /// The first wait after a failure that may pass by itself.
    const FIRST_RETRY: Duration = Duration::from_secs(30);
    /// The longest wait after such a failure.
    const LAST_RETRY: Duration = Duration::from_hours(1);
    /// The shortest wait after a `Retry-After`, which may be 0.
    const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);
    /// The longest wait after a `Retry-After`, which may be any number.
    pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);
    /// The usual restart pause, so that a process that is restarted in a loop does not poll more often than the shortest
    /// interval without a warning.
    const RESTART_PAUSE: Duration = Duration::from_mins(15);

    /// One poll per `interval`, which must not be zero.
    pub const fn new(interval: Duration) -> Self {
        Self { interval, restart_pause: Self::RESTART_PAUSE }
    }

    /// The same for polls of many requests, which a restart must not bring forward.
    #[must_use]
    pub const fn despite_restarts(self) -> Self {
        Self { restart_pause: self.interval, ..self }
    }

    /// How long to wait after `last`; `jitter` is a random number in `0.0..1.0`.
    ///
    /// * Before the first poll: no wait.
    /// * After a success: the interval ± 5 %, so that accounts and replicas spread out.
    /// * After a failure: 30 s, 1 min, 2 min … up to an hour, each shortened by up to half at random, and
    ///   never more than half the interval; if only an operator can fix it, the interval as after a success.
    /// * After a 429 without `Retry-After`: 30 s, 1 min, 2 min … up to an hour, plus up to 10 %, however short
    ///   the interval is.
    /// * After `Retry-After`: that long (1 s … 24 h), plus up to 10 %, regardless of the above.
    pub fn next(&self, last: &LastPoll, jitter: f64) -> Duration {
        let LastPoll::Failed { failure, in_a_row } = last else {
            return if *last == LastPoll::Never { Duration::ZERO } else { self.regular(jitter) };
        };
        if failure.retry_after.is_some() {
            return Self::hold(failure.retry_after).mul_f64(1.0 + 0.1 * jitter);
        }
        match failure.reason {
            _ if failure.needs_operator => self.regular(jitter),
            FailureReason::Throttled => {
                doubled(Self::hold(None), *in_a_row).min(Self::LAST_RETRY).mul_f64(1.0 + 0.1 * jitter)
            }
            _ => {
                let ceiling = (self.interval / 2).min(Self::LAST_RETRY);
                let first = Self::FIRST_RETRY.min(self.interval / 8);
                doubled(first, *in_a_row).min(ceiling).mul_f64(1.0 - 0.5 * jitter)
            }
        }
    }

    /// The shortest wait for a server that asked for fewer requests, with or without a `Retry-After`.
    pub fn hold(retry_after: Option<Duration>) -> Duration {
        retry_after.map_or(Self::FIRST_RETRY, |wait| wait.clamp(Self::MIN_RETRY_AFTER, Self::MAX_RETRY_AFTER))
    }

    /// The interval ± 5 %.
    fn regular(&self, jitter: f64) -> Duration {
        self.interval.mul_f64(0.95 + 0.1 * jitter)
    }

    /// How long the account at `position` (from 0) of `accounts` delays its first poll: 100 ms for each account
    /// before it, or less so that the last one waits at most 30 s and a tenth of the interval.
    pub fn stagger(&self, position: u32, accounts: u32) -> Duration {
        let most = Duration::from_secs(30).min(self.interval / 10);
        Duration::from_millis(100).min(most / accounts.max(1)).saturating_mul(position)
    }

    /// How long to wait at a start after a successful poll of an earlier process, `age` ago: the rest of
    /// 15 minutes, or of the interval if that is shorter or restarts make no difference.
    pub fn resume(&self, age: Duration, jitter: f64) -> Duration {
        self.regular(jitter).min(self.restart_pause).saturating_sub(age)
    }
}

/// `first`, doubled with each failure after the first.
fn doubled(first: Duration, in_a_row: u32) -> Duration {
    first.saturating_mul(1 << in_a_row.saturating_sub(1).min(20))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn failed(reason: FailureReason, in_a_row: u32) -> LastPoll {
        LastPoll::Failed { failure: Failure::of(reason), in_a_row }
    }

    fn throttled(retry_after: Duration, in_a_row: u32) -> LastPoll {
        let failure = Failure::of(FailureReason::Throttled);
        LastPoll::Failed { failure: Failure { retry_after: Some(retry_after), ..failure }, in_a_row }
    }

    #[test]
    fn the_first_poll_is_at_once() {
        assert_eq!(Schedule::new(6 * HOUR).next(&LastPoll::Never, 0.7), Duration::ZERO);
    }

    #[test]
    fn a_restart_polls_at_once_unless_the_last_poll_was_within_a_quarter_of_an_hour() {
        let minutes = Duration::from_mins;
        let schedule = Schedule::new(6 * HOUR);
        for (age, wait) in [(0, 15), (1, 14), (14, 1), (15, 0), (60, 0), (420, 0)] {
            assert_eq!(schedule.resume(minutes(age), 0.5), minutes(wait), "{age} min");
        }
        assert_eq!(
            Schedule::new(minutes(10)).resume(minutes(4), 0.5),
            minutes(6),
            "a shorter interval counts"
        );
        let daily = Schedule::new(24 * HOUR).despite_restarts();
        assert_eq!(daily.resume(HOUR, 0.5), 23 * HOUR);
    }

    #[test]
    fn many_accounts_start_one_after_the_other_within_half_a_minute() {
        let last = |interval, accounts| Schedule::new(interval).stagger(accounts - 1, accounts);
        assert_eq!(last(6 * HOUR, 1), Duration::ZERO);
        assert_eq!(last(6 * HOUR, 20), Duration::from_millis(1_900));
        assert_eq!(last(6 * HOUR, 1_000), Duration::from_millis(29_970));
        assert_eq!(last(Duration::from_secs(1), 10), Duration::from_millis(90));
    }

    #[test]
    fn a_failed_poll_is_repeated_after_30_seconds_then_doubling_up_to_an_hour() {
        let schedule = Schedule::new(6 * HOUR);
        let waits: Vec<u64> =
            (1..=9).map(|n| schedule.next(&failed(FailureReason::Network, n), 0.0).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
    }

    #[test]
    fn a_poll_that_only_an_operator_can_fix_is_repeated_no_more_often_than_a_successful_one() {
        for n in [1, 2, 1000] {
            assert_eq!(Schedule::new(6 * HOUR).next(&failed(FailureReason::Consent, n), 0.5), 6 * HOUR);
        }
    }

    #[test]
    fn the_reason_alone_does_not_decide_whether_only_an_operator_can_fix_it() {
        let schedule = Schedule::new(6 * HOUR);
        let wait = |reason, needs_operator| {
            let failure = Failure { needs_operator, ..Failure::of(reason) };
            schedule.next(&LastPoll::Failed { failure, in_a_row: 1 }, 0.0).as_secs()
        };
        let waits = (wait(FailureReason::Server, true), wait(FailureReason::Credentials, false));
        assert_eq!(waits, (20_520, 30));
    }

    #[test]
    fn a_429_without_retry_after_backs_off_however_short_the_interval_is() {
        let schedule = Schedule::new(Duration::from_secs(1));
        let waits: Vec<u64> =
            (1..=9).map(|n| schedule.next(&failed(FailureReason::Throttled, n), 0.0).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
    }

    #[test]
    fn retry_after_overrides_backoff_and_interval_alike() {
        let schedule = Schedule::new(HOUR);
        for (retry_after, wait) in [(57, 57), (5, 5), (7_200, 7_200), (0, 1), (10_000_000, 86_400)] {
            let last = throttled(Duration::from_secs(retry_after), 3);
            assert_eq!(schedule.next(&last, 0.0).as_secs(), wait, "Retry-After: {retry_after}");
        }
    }

    #[test]
    fn jitter_changes_each_wait_in_the_direction_and_to_the_extent_that_is_documented() {
        let minute = Duration::from_secs(60);
        let schedule = Schedule::new(6 * HOUR);
        for (last, without, with) in [
            (LastPoll::Succeeded, 20_520, 22_680),
            (failed(FailureReason::Consent, 1), 20_520, 22_680),
            (failed(FailureReason::Network, 2), 60, 30),
            (failed(FailureReason::Throttled, 2), 60, 66),
            (throttled(minute, 1), 60, 66),
        ] {
            let waits = [0.0, 1.0].map(|jitter| schedule.next(&last, jitter).as_millis().div_ceil(1000));
            assert_eq!(waits, [without, with], "{last:?}");
        }
    }

    #[test]
    fn retries_of_a_short_interval_begin_with_its_eighth_and_end_with_its_half() {
        let schedule = Schedule::new(Duration::from_secs(80));
        let waits: Vec<u64> =
            (1..=4).map(|n| schedule.next(&failed(FailureReason::Network, n), 0.0).as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 40]);
    }

    proptest! {
        #[test]
        fn a_failure_that_may_pass_by_itself_is_retried_sooner_than_a_successful_poll_is_repeated(
            interval in 1u64..1_000_000, n in 1u32..u32::MAX, jitter in 0.0..1.0f64, which in 0usize..10,
        ) {
            let reason = FailureReason::ALL[which];
            prop_assume!(!reason.needs_operator() && reason != FailureReason::Throttled);
            let schedule = Schedule::new(Duration::from_secs(interval));
            let wait = schedule.next(&failed(reason, n), jitter);
            prop_assert!(wait > Duration::ZERO);
            prop_assert!(wait < schedule.next(&LastPoll::Succeeded, 0.0));
        }

        #[test]
        fn no_request_is_sent_before_the_servers_retry_after(seconds in 0u64..86_400, jitter in 0.0..1.0f64) {
            let retry_after = Duration::from_secs(seconds);
            prop_assert!(Schedule::new(HOUR).next(&throttled(retry_after, 1), jitter) >= retry_after);
        }
    }
}
