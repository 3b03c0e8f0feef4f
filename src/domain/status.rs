//! What is known of one account: its last good rows, how the last poll ended, what went over the wire.
//!
//! [`AccountStatus`] is plain data with one pure transition, [`AccountStatus::poll_ended`]. Its [`Ledger`]
//! is the one handle through which the account's own task writes; everybody else reads, and is told of
//! changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::domain::account::AccountName;
use crate::domain::reason::Reason;
use crate::domain::schedule::LastPoll;
use crate::domain::usage::{RowError, UsageReport};

/// A poll that failed, as far as the account's status cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The word it is counted under.
    pub reason: Reason,
    /// Whether only a person can mend it.
    pub needs_operator: bool,
    /// What the server asked for, if it did.
    pub retry_after: Option<Duration>,
    /// Rows dropped on the way to it, by reason.
    pub rejected: BTreeMap<RowError, u64>,
    /// What to do about it.
    pub remedy: &'static str,
    /// One line for people, without any secret.
    pub text: String,
}

/// The last good collection.
#[derive(Clone, Debug)]
pub struct Good {
    /// Its rows.
    pub report: Arc<UsageReport>,
    /// When its poll ended.
    pub at: Timestamp,
    /// Whether a poll after it failed.
    pub failed_since: bool,
}

/// What is known of one account.
#[derive(Clone, Debug, Default)]
pub struct AccountStatus {
    /// The value of the `account` label, if there is one.
    pub name: Option<AccountName>,
    /// Whether the account came later than the program: then nobody waits for it to be ready.
    pub added_by_reload: bool,
    /// The last good collection; kept through failures, and restored after a restart.
    pub good: Option<Good>,
    /// How the last poll ended.
    pub last: LastPoll,
    /// Its failure, if it failed.
    pub failure: Option<Failure>,
    /// When it ended.
    pub last_at: Option<Timestamp>,
    /// How long it took.
    pub took: Option<Duration>,
    /// Since when polls end the way they do now: the first of the current run of good or of failed ones.
    pub since: Option<Timestamp>,
    /// When the next one is due; in the past while one is under way.
    pub next_at: Option<Timestamp>,
    /// Polls that ended.
    pub polls: u64,
    /// Those that failed, by reason.
    pub failures: BTreeMap<Reason, u64>,
    /// Rows dropped, by reason.
    pub rejected: BTreeMap<RowError, u64>,
    /// What went over the wire.
    pub traffic: Traffic,
    /// What is known of the credentials.
    pub credentials: Credentials,
    /// No request before this moment: the server asked for it.
    pub hold_until: Option<Instant>,
}

/// HTTP requests of one account, as they happened.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Requests sent, by endpoint and status (or `error`).
    pub requests: BTreeMap<(Endpoint, Code), u64>,
    /// Their duration, by endpoint.
    pub durations: BTreeMap<Endpoint, Latency>,
    /// Those that repeated another one within the same poll.
    pub retries: BTreeMap<Endpoint, u64>,
    /// Answers that asked to slow down: 429, or any with `Retry-After`.
    pub throttled: BTreeMap<Endpoint, u64>,
}

/// What is known of an account's credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// When the access token in use expires.
    pub access_token_expires_at: Option<Timestamp>,
    /// When the refresh token in use was issued; unknown for one that only the configuration knows.
    pub refresh_token_issued_at: Option<Timestamp>,
    /// When the certificate expires that the application signs in with, if it does.
    pub client_certificate_expires_at: Option<Timestamp>,
    /// Whether the API called the access token compliant with its demand for multi-factor authentication.
    pub mfa_compliant: Option<bool>,
}

impl Credentials {
    /// Refresh tokens live 90 days (Entra ID's default, for other clients than single-page applications).
    pub const REFRESH_TOKEN_LIFETIME: Duration = Duration::from_hours(24 * 90);
}

/// Which service a request went to.
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

/// How a request ended: an HTTP status, or no answer at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The status of the answer.
    Status(u16),
    /// No complete answer.
    Error,
}

/// A histogram of request durations in seconds.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// How many fell between a bound and the one below it; the last ones are above all bounds.
    counts: [u64; Self::BOUNDS.len() + 1],
    sum: f64,
}

// === impl Good ===

impl Good {
    /// When these rows stop being shown; `None` = never.
    pub fn vanishes_at(&self, stale_after: Option<Duration>) -> Option<Timestamp> {
        Some(self.at.saturating_add(stale_after?).unwrap_or(Timestamp::MAX))
    }

    /// Whether they may be shown at `now`.
    pub fn is_fresh(&self, now: Timestamp, stale_after: Option<Duration>) -> bool {
        self.vanishes_at(stale_after).is_none_or(|end| now < end)
    }
}

// === impl Latency ===

impl Latency {
    const BOUNDS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

    /// Takes note of a request that took this many seconds.
    pub fn observe(&mut self, seconds: f64) {
        let bucket = Self::BOUNDS.iter().position(|bound| seconds <= *bound);
        self.counts[bucket.unwrap_or(Self::BOUNDS.len())] += 1;
        self.sum += seconds;
    }

    /// Each bound with how many requests fell between it and the bound below; the last bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        Self::BOUNDS.into_iter().chain([f64::INFINITY]).zip(self.counts)
    }

    /// Seconds of all requests together.
    pub const fn sum(&self) -> f64 {
        self.sum
    }
}

// === impl AccountStatus ===

impl AccountStatus {
    /// Takes note of a poll that ended at `at` after `took`. Good rows survive a failure.
    pub fn poll_ended(&mut self, outcome: Result<UsageReport, Failure>, at: Timestamp, took: Duration) {
        let was = self.last;
        self.polls += 1;
        self.last_at = Some(at);
        self.took = Some(took);
        let rejected = match &outcome {
            Ok(report) => report.rejected(),
            Err(failure) => &failure.rejected,
        };
        for (error, count) in rejected {
            *self.rejected.entry(*error).or_insert(0) += count;
        }
        match outcome {
            Ok(report) => {
                self.last = LastPoll::Good;
                self.failure = None;
                self.hold_until = None;
                self.good = Some(Good { report: Arc::new(report), at, failed_since: false });
            }
            Err(failure) => {
                *self.failures.entry(failure.reason).or_insert(0) += 1;
                if let Some(good) = &mut self.good {
                    good.failed_since = true;
                }
                let in_a_row = match was {
                    LastPoll::Failed { in_a_row, .. } => in_a_row.saturating_add(1),
                    LastPoll::Never | LastPoll::Good => 1,
                };
                let Failure { reason, needs_operator, retry_after, .. } = failure;
                self.last = LastPoll::Failed { reason, in_a_row, needs_operator, retry_after };
                self.failure = Some(failure);
            }
        }
        if std::mem::discriminant(&was) != std::mem::discriminant(&self.last) {
            self.since = Some(at);
        }
    }

    /// Whether the last poll succeeded. Rows of an earlier process do not make it so: nobody knows whether a
    /// poll would succeed now.
    pub fn up(&self) -> bool {
        self.last == LastPoll::Good
    }

    /// Whether the account was polled at least once, well or not.
    pub fn tried(&self) -> bool {
        self.last != LastPoll::Never
    }

    /// Whether there is something to tell: a poll ended, or rows were restored.
    pub fn told(&self) -> bool {
        self.tried() || self.good.is_some()
    }

    /// The rows that may be shown at `now`: the last good ones, until they are older than `stale_after`.
    pub fn visible(&self, now: Timestamp, stale_after: Option<Duration>) -> Option<&Good> {
        self.good.as_ref().filter(|good| good.is_fresh(now, stale_after))
    }

    /// When the last good rows stop being shown; `None` = never, or there are none.
    pub fn vanishes_at(&self, stale_after: Option<Duration>) -> Option<Timestamp> {
        self.good.as_ref()?.vanishes_at(stale_after)
    }
}

// === Ledger ===

/// Writes one account's status and rings the bell that all accounts share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    status: Arc<watch::Sender<AccountStatus>>,
    bell: Arc<Notify>,
}

impl Ledger {
    /// The ledger of a new account. `bell` rings at every change.
    pub fn new(name: Option<AccountName>, bell: Arc<Notify>) -> Self {
        let mut status = AccountStatus { name, ..AccountStatus::default() };
        for endpoint in Endpoint::ALL {
            // Series that are sure to come exist from the start, so that their first increase can be seen.
            status.traffic.requests.insert((endpoint, Code::Status(200)), 0);
            status.traffic.requests.insert((endpoint, Code::Error), 0);
            status.traffic.durations.insert(endpoint, Latency::default());
            status.traffic.retries.insert(endpoint, 0);
            status.traffic.throttled.insert(endpoint, 0);
        }
        Self { status: Arc::new(watch::Sender::new(status)), bell }
    }

    /// Changes the status. `change` must be quick: readers wait for it.
    pub fn write(&self, change: impl FnOnce(&mut AccountStatus)) {
        self.status.send_modify(change);
        self.bell.notify_one();
    }

    /// A reader that can wait for changes.
    pub fn subscribe(&self) -> watch::Receiver<AccountStatus> {
        self.status.subscribe()
    }

    /// The status as it is now. A copy: nobody holds a lock while rendering.
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
        Failure {
            reason: Reason::Network,
            needs_operator: false,
            retry_after: None,
            rejected: BTreeMap::new(),
            remedy: "wait",
            text: "refused".into(),
        }
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
    fn failures_in_a_row_are_counted_and_a_success_ends_the_row() {
        let mut status = AccountStatus::default();
        for second in 1..=3 {
            status.poll_ended(Err(failure()), at(second), Duration::ZERO);
        }
        assert!(matches!(status.last, LastPoll::Failed { in_a_row: 3, .. }));
        assert_eq!((status.failures[&Reason::Network], status.since), (3, Some(at(1))));
        status.poll_ended(Ok(UsageReport::default()), at(9), Duration::ZERO);
        assert!(status.up() && status.failure.is_none());
        assert_eq!((status.polls, status.since), (4, Some(at(9))));
    }
}
