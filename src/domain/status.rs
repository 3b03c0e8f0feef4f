//! What is known about one account: its last good rows, how its last poll ended, its HTTP requests.
//!
//! [`AccountStatus`] is plain data with one pure transition, [`AccountStatus::poll_ended`]. The account's own task
//! writes it through its [`Ledger`]; everything else reads it there and is notified of changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::domain::account::AccountName;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::schedule::LastPoll;
use crate::domain::usage::{RowError, UsageReport};

/// The last good collection.
#[derive(Clone, Debug)]
pub struct LastGood {
    /// Its rows.
    pub report: Arc<UsageReport>,
    /// When its poll ended.
    pub at: Timestamp,
    /// Whether a later poll failed.
    pub failed_since: bool,
}

/// What is known about one account.
#[derive(Clone, Debug, Default)]
pub struct AccountStatus {
    /// The value of the `account` label, if there is one.
    pub name: Option<AccountName>,
    /// Whether a reload added the account: readiness does not wait for it.
    pub added_by_reload: bool,
    /// The last good collection, kept through failures and restored after a restart.
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
    /// The account's HTTP requests.
    pub traffic: Traffic,
    /// What is known about the account's credentials.
    pub credentials: Credentials,
    /// The server asked for no request before this moment.
    pub hold_until: Option<Instant>,
}

/// The HTTP requests of one account.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// The number of requests sent, by endpoint and code.
    pub requests: BTreeMap<(Endpoint, Code), u64>,
    /// The durations of requests, by endpoint.
    pub durations: BTreeMap<Endpoint, Latency>,
    /// The number of requests that repeated another one within the same poll, by endpoint.
    pub retries: BTreeMap<Endpoint, u64>,
    /// The number of answers that asked for fewer requests (429, or any with `Retry-After`), by endpoint.
    pub throttled: BTreeMap<Endpoint, u64>,
}

/// What is known about an account's credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// When the access token in use expires.
    pub access_token_expires_at: Option<Timestamp>,
    /// When the refresh token in use was issued; unknown for a configured one until it is renewed.
    pub refresh_token_issued_at: Option<Timestamp>,
    /// Whether the sign-in service refused every refresh token at the last renewal that it decided.
    pub refresh_token_refused: bool,
    /// When the client certificate expires, if the application signs in with one.
    pub client_certificate_expires_at: Option<Timestamp>,
    /// Whether the access token meets the multi-factor authentication requirement, according to the API.
    pub mfa_compliant: Option<bool>,
}

impl Credentials {
    /// The lifetime of a refresh token: Entra ID's default for clients other than single-page applications.
    pub const REFRESH_TOKEN_LIFETIME: Duration = Duration::from_hours(24 * 90);

    /// When the refresh token in use expires. Unknown while it is refused, unless its lifetime has passed at `now`.
    pub fn refresh_token_expires_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.refresh_token_end().filter(|end| !self.refresh_token_refused || *end <= now)
    }

    /// When the lifetime of the refresh token in use ends, whether or not it is refused.
    pub fn refresh_token_end(&self) -> Option<Timestamp> {
        self.refresh_token_issued_at?.checked_add(Self::REFRESH_TOKEN_LIFETIME).ok()
    }
}

/// The service that a request is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// Entra ID's token endpoint.
    Token,
    /// Partner Center's licence usage collection.
    Usage,
}

impl Endpoint {
    /// Every endpoint, in the order in which they are exported.
    pub const ALL: [Self; 2] = [Self::Token, Self::Usage];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Usage => "usage",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// With a complete answer of this HTTP status.
    Status(u16),
    /// Without a complete answer.
    Error,
}

/// A histogram of request durations in seconds.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// The number of requests between each bound and the one below it; the last number is for those above all bounds.
    counts: [u64; Self::BOUNDS.len() + 1],
    sum: f64,
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

// === impl Latency ===

impl Latency {
    const BOUNDS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

    /// Records the duration of a request, in seconds.
    pub fn observe(&mut self, seconds: f64) {
        let bucket = Self::BOUNDS.iter().position(|bound| seconds <= *bound);
        self.counts[bucket.unwrap_or(Self::BOUNDS.len())] += 1;
        self.sum += seconds;
    }

    /// Each bound with the number of requests between it and the bound below; the last bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        Self::BOUNDS.into_iter().chain([f64::INFINITY]).zip(self.counts)
    }

    /// The total duration of all requests, in seconds.
    pub const fn sum(&self) -> f64 {
        self.sum
    }
}

// === impl AccountStatus ===

impl AccountStatus {
    /// Records a poll that ended at `at` after `took`. A failure leaves the last good rows as they are.
    pub fn poll_ended(&mut self, outcome: Result<UsageReport, Failure>, at: Timestamp, took: Duration) {
        self.polls += 1;
        self.last_poll_at = Some(at);
        self.last_poll_duration = Some(took);
        let rejected = match &outcome {
            Ok(report) => report.rejected(),
            Err(failure) => &failure.rejected,
        };
        for (error, count) in rejected {
            *self.rejected.entry(*error).or_insert(0) += count;
        }
        let last = match outcome {
            Ok(report) => {
                self.hold_until = None;
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

    /// Whether the account is ready: a poll has completed, or rows have been restored.
    pub fn is_ready(&self) -> bool {
        self.was_polled() || self.last_good.is_some()
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

// === Ledger ===

/// The shared handle of one account's status; each write notifies those who render it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    status: Arc<watch::Sender<AccountStatus>>,
    changed: Arc<Notify>,
}

impl Ledger {
    /// The ledger of a new account. Each write notifies `changed`.
    pub fn new(name: Option<AccountName>, changed: Arc<Notify>) -> Self {
        let mut status = AccountStatus { name, ..AccountStatus::default() };
        for endpoint in Endpoint::ALL {
            // These series exist from the start, so that rate() sees their first increase.
            status.traffic.requests.insert((endpoint, Code::Status(200)), 0);
            status.traffic.requests.insert((endpoint, Code::Error), 0);
            status.traffic.durations.insert(endpoint, Latency::default());
            status.traffic.retries.insert(endpoint, 0);
            status.traffic.throttled.insert(endpoint, 0);
        }
        Self { status: Arc::new(watch::Sender::new(status)), changed }
    }

    /// Changes the status. Readers wait for `change`, so it must be quick.
    pub fn write(&self, change: impl FnOnce(&mut AccountStatus)) {
        self.status.send_modify(change);
        self.changed.notify_one();
    }

    /// A receiver that can wait for changes.
    pub fn subscribe(&self) -> watch::Receiver<AccountStatus> {
        self.status.subscribe()
    }

    /// A copy of the current status, so that rendering holds no lock.
    pub fn read(&self) -> AccountStatus {
        self.status.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_below_the_first_bound_that_it_does_not_exceed() {
        let mut latency = Latency::default();
        for seconds in [0.01, 0.05, 0.06, 120.0, 121.0] {
            latency.observe(seconds);
        }
        let counts: Vec<(f64, u64)> = latency.buckets().collect();
        assert_eq!(counts[..3], [(0.05, 2), (0.1, 1), (0.25, 0)]);
        assert_eq!(counts[9..], [(60.0, 0), (120.0, 1), (f64::INFINITY, 1)]);
        assert!((latency.sum() - 241.12).abs() < 1e-9);
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
        let mut status = AccountStatus::default();
        status.poll_ended(Ok(UsageReport::default()), at(0), Duration::ZERO);
        status.poll_ended(Err(failure()), at(100), Duration::ZERO);
        assert!(!status.up());
        assert!(status.visible(at(86_399), Some(day)).is_some());
        assert!(status.visible(at(86_400), Some(day)).is_none());
        assert!(status.visible(at(10_000_000), None).is_some());
    }

    #[test]
    fn after_the_clock_was_set_back_no_time_is_in_the_future_and_rows_last_as_long_as_configured() {
        let (mut status, hour) = (AccountStatus::default(), Duration::from_hours(1));
        status.poll_ended(Ok(UsageReport::default()), at(100_000), Duration::ZERO);
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
        let mut status = AccountStatus::default();
        for second in 1..=3 {
            status.poll_ended(Err(failure()), at(second), Duration::ZERO);
        }
        assert!(matches!(status.last_poll, LastPoll::Failed { in_a_row: 3, .. }));
        assert_eq!((status.failures[&FailureReason::Network], status.outcome_since), (3, Some(at(1))));
        status.poll_ended(Ok(UsageReport::default()), at(9), Duration::ZERO);
        assert!(status.up() && status.failure().is_none());
        assert_eq!((status.polls, status.outcome_since), (4, Some(at(9))));
    }
}
