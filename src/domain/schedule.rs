//! When to poll next. Pure: the dice are an argument.
//!
//! A good poll is followed by the interval, a failed one sooner, with exponential backoff; what the
//! server asked for with `Retry-After` wins over both.

use std::time::Duration;

use crate::domain::reason::Reason;

/// How the last poll ended, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastPoll {
    /// There was none yet.
    #[default]
    Never,
    /// It succeeded.
    Good,
    /// It failed, for the `in_a_row`-th time in succession (from 1).
    Failed {
        /// Why.
        reason: Reason,
        /// Failures since the last success, this one included.
        in_a_row: u32,
        /// Whether only a person can mend it.
        needs_operator: bool,
        /// What the server asked for, if it did.
        retry_after: Option<Duration>,
    },
}

/// The rhythm of one account's polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    interval: Duration,
}

impl Schedule {
    /// The first pause after a failure that may pass by itself.
    const FIRST_RETRY: Duration = Duration::from_secs(30);
    /// The longest pause after such a failure.
    const LAST_RETRY: Duration = Duration::from_hours(1);
    /// `Retry-After: 0` is no licence to hammer.
    const LEAST_RETRY_AFTER: Duration = Duration::from_secs(1);
    /// A server that asks for more than a day is asked again after a day.
    const MOST_RETRY_AFTER: Duration = Duration::from_hours(24);

    /// A rhythm of one poll per `interval` (> 0).
    pub const fn new(interval: Duration) -> Self {
        Self { interval }
    }

    /// The configured interval.
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// How long to wait after `last`; `dice` is in `0.0..1.0`.
    ///
    /// * the first poll: at once;
    /// * after a good one: the interval, ± 5 % so that many accounts and replicas spread out;
    /// * after a failure: 30 s, 1 min, 2 min … up to an hour, each shortened by up to half at random, and
    ///   never more than half the interval; if only a person can mend it: the interval, as after a good one;
    /// * after a 429 that names no time: 30 s, 1 min, 2 min … up to an hour, plus up to 10 %, however short the
    ///   interval is;
    /// * after `Retry-After`: that long (1 s … 24 h), plus up to 10 %, whatever the above says.
    pub fn next(&self, last: &LastPoll, dice: f64) -> Duration {
        match *last {
            LastPoll::Never => Duration::ZERO,
            LastPoll::Failed { retry_after: Some(asked), .. } => {
                Self::hold(Some(asked)).mul_f64(1.0 + 0.1 * dice)
            }
            LastPoll::Good | LastPoll::Failed { needs_operator: true, .. } => self.regular(dice),
            LastPoll::Failed { reason: Reason::Throttled, in_a_row, .. } => {
                let ceiling = Self::LAST_RETRY;
                doubled(Self::hold(None), in_a_row).min(ceiling).mul_f64(1.0 + 0.1 * dice)
            }
            LastPoll::Failed { in_a_row, .. } => {
                let ceiling = (self.interval / 2).min(Self::LAST_RETRY);
                let first = Self::FIRST_RETRY.min(self.interval / 8);
                doubled(first, in_a_row).min(ceiling).mul_f64(1.0 - 0.5 * dice)
            }
        }
    }

    /// How long a server is left alone at least that asked to slow down, and perhaps for how long.
    pub fn hold(asked: Option<Duration>) -> Duration {
        asked.map_or(Self::FIRST_RETRY, |asked| asked.clamp(Self::LEAST_RETRY_AFTER, Self::MOST_RETRY_AFTER))
    }

    /// The interval, with its jitter.
    fn regular(&self, dice: f64) -> Duration {
        self.interval.mul_f64(0.95 + 0.1 * dice)
    }

    /// How long the account at `position` (from 0) of `accounts` puts off its first poll: 100 ms for each before
    /// it, less where that would take all of them more than 30 s or a tenth of the interval.
    pub fn stagger(&self, position: u32, accounts: u32) -> Duration {
        let most = Duration::from_secs(30).min(self.interval / 10);
        Duration::from_millis(100).min(most / accounts.max(1)).saturating_mul(position)
    }

    /// How long to wait when the last poll was a good one of an earlier process, `age` ago: the rest of the
    /// interval.
    pub fn resume(&self, age: Duration, dice: f64) -> Duration {
        self.next(&LastPoll::Good, dice).saturating_sub(age)
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

    fn failed(reason: Reason, in_a_row: u32) -> LastPoll {
        LastPoll::Failed { reason, in_a_row, needs_operator: reason.needs_operator(), retry_after: None }
    }

    #[test]
    fn the_first_poll_is_at_once() {
        assert_eq!(Schedule::new(6 * HOUR).next(&LastPoll::Never, 0.7), Duration::ZERO);
    }

    #[test]
    fn after_a_restart_the_rest_of_the_interval_is_waited_for_and_at_once_is_the_least() {
        let schedule = Schedule::new(6 * HOUR);
        let minutes = |age, dice| schedule.resume(age, dice).as_secs() / 60;
        assert_eq!((minutes(HOUR, 0.5), minutes(HOUR, 0.0)), (300, 282));
        assert_eq!(schedule.resume(7 * HOUR, 1.0), Duration::ZERO);
    }

    #[test]
    fn many_accounts_begin_one_after_the_other_within_half_a_minute() {
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
            (1..=9).map(|n| schedule.next(&failed(Reason::Network, n), 0.0).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
    }

    #[test]
    fn what_only_a_person_can_mend_is_tried_no_more_often_than_what_works() {
        for n in [1, 2, 1000] {
            assert_eq!(Schedule::new(6 * HOUR).next(&failed(Reason::Consent, n), 0.5), 6 * HOUR);
        }
    }

    #[test]
    fn it_is_not_the_reason_alone_that_says_who_can_mend_it() {
        let schedule = Schedule::new(6 * HOUR);
        let wait = |reason, needs_operator| {
            let last = LastPoll::Failed { reason, in_a_row: 1, needs_operator, retry_after: None };
            schedule.next(&last, 0.0).as_secs()
        };
        assert_eq!((wait(Reason::Server, true), wait(Reason::Credentials, false)), (20_520, 30));
    }

    #[test]
    fn a_429_that_names_no_time_is_answered_with_patience_however_short_the_interval() {
        let schedule = Schedule::new(Duration::from_secs(1));
        let waits: Vec<u64> =
            (1..=9).map(|n| schedule.next(&failed(Reason::Throttled, n), 0.0).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
    }

    #[test]
    fn retry_after_wins_over_backoff_and_interval_alike() {
        let schedule = Schedule::new(HOUR);
        for (asked, waits) in [(57, 57), (5, 5), (7_200, 7_200), (0, 1), (10_000_000, 86_400)] {
            let retry_after = Some(Duration::from_secs(asked));
            let last = LastPoll::Failed {
                reason: Reason::Throttled,
                in_a_row: 3,
                needs_operator: false,
                retry_after,
            };
            assert_eq!(schedule.next(&last, 0.0).as_secs(), waits, "asked for {asked} s");
        }
    }

    proptest! {
        #[test]
        fn what_may_pass_by_itself_is_repeated_sooner_than_a_good_poll(
            interval in 1u64..1_000_000, n in 1u32..u32::MAX, dice in 0.0..1.0f64, which in 0usize..10,
        ) {
            let reason = Reason::ALL[which];
            prop_assume!(!reason.needs_operator() && reason != Reason::Throttled);
            let schedule = Schedule::new(Duration::from_secs(interval));
            let wait = schedule.next(&failed(Reason::ALL[which], n), dice);
            prop_assert!(wait > Duration::ZERO);
            prop_assert!(wait < schedule.next(&LastPoll::Good, 0.0));
        }

        #[test]
        fn the_server_is_never_asked_before_its_retry_after(asked in 0u64..86_400, dice in 0.0..1.0f64) {
            let asked = Duration::from_secs(asked);
            let last = LastPoll::Failed {
                reason: Reason::Throttled, in_a_row: 1, needs_operator: false, retry_after: Some(asked),
            };
            prop_assert!(Schedule::new(HOUR).next(&last, dice) >= asked);
        }
    }
}
