//! What is known about one account: its collections, its HTTP requests, its credentials.
//!
//! [`AccountStatus`] is plain data. The account's own task writes it through its [`Ledger`]; everything else reads it
//! there and is notified of changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::domain::account::AccountName;
use crate::domain::collection::Collection;
use crate::domain::customers::Limits;
use crate::domain::failure::Failure;
use crate::domain::polled::CollectionStatus;

/// What is known about one account.
#[derive(Clone, Debug, Default)]
pub struct AccountStatus {
    /// The value of the `account` label, if there is one.
    pub name: Option<AccountName>,
    /// Whether a reload added the account: readiness does not wait for it.
    pub added_by_reload: bool,
    /// What is known about each collection that is polled. Boxed, since a map has room for eleven.
    pub collections: BTreeMap<Collection, Box<CollectionStatus>>,
    /// How much of the customers collection is published, as configured.
    pub customers: Limits,
    /// Whether the customers' licences are kept by product as well, as configured.
    pub keeps_products: bool,
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
    /// Its licence deployment collection.
    Deployment,
    /// The commercial usage collection, the successor of the usage collection.
    CommercialUsage,
    /// The commercial deployment collection.
    CommercialDeployment,
}

impl Endpoint {
    /// Every endpoint, in the order in which they are exported.
    pub const ALL: [Self; 5] =
        [Self::Token, Self::Usage, Self::Deployment, Self::CommercialUsage, Self::CommercialDeployment];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Usage => "usage",
            Self::Deployment => "deployment",
            Self::CommercialUsage => "commercial_usage",
            Self::CommercialDeployment => "commercial_deployment",
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

// === impl Traffic ===

impl Traffic {
    /// Starts the counters of endpoints to which requests may be sent, so that `rate()` sees their first increase.
    pub fn expect(&mut self, endpoints: impl IntoIterator<Item = Endpoint>) {
        for endpoint in endpoints {
            for code in [Code::Status(200), Code::Error] {
                self.requests.entry((endpoint, code)).or_default();
            }
            self.durations.entry(endpoint).or_default();
            self.retries.entry(endpoint).or_default();
            self.throttled.entry(endpoint).or_default();
        }
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
    /// What is known about a collection, if it is polled.
    pub fn of(&self, collection: Collection) -> Option<&CollectionStatus> {
        self.collections.get(&collection).map(Box::as_ref)
    }

    /// What is known about a collection, which is added if it was not polled before.
    pub fn of_mut(&mut self, collection: Collection) -> &mut CollectionStatus {
        self.collections.entry(collection).or_default()
    }

    /// Sets which collections are polled, each with its interval. One that is no longer polled is forgotten. Readiness
    /// does not wait for one that is added `by_reload`.
    pub fn track(&mut self, polled: impl IntoIterator<Item = (Collection, Duration)>, by_reload: bool) {
        let mut before = std::mem::take(&mut self.collections);
        for (collection, poll_interval) in polled {
            let added = || CollectionStatus { added_by_reload: by_reload, ..CollectionStatus::default() };
            let mut status = before.remove(&collection).unwrap_or_else(|| Box::new(added()));
            status.poll_interval = poll_interval;
            self.collections.insert(collection, status);
        }
    }

    /// Removes the names of customers from the last good rows.
    pub fn forget_names(&mut self) {
        let good = self.collections.get_mut(&Collection::Customers).and_then(|it| it.last_good.as_mut());
        if let Some(good) = good
            && let Some(customers) = good.report.customers().filter(|it| !it.names().is_empty())
        {
            good.report = Arc::new(customers.without_names().into());
        }
    }

    /// What is known about the usage collection, which is always polled.
    #[cfg(test)]
    pub(crate) fn usage(&self) -> &CollectionStatus {
        &self.collections[&Collection::Usage]
    }

    /// The same, to change it.
    #[cfg(test)]
    pub(crate) fn usage_mut(&mut self) -> &mut CollectionStatus {
        self.of_mut(Collection::Usage)
    }

    /// The collections whose last poll failed, each with its failure.
    pub fn failures(&self) -> impl Iterator<Item = (Collection, &Failure)> {
        self.collections.iter().filter_map(|(collection, status)| Some((*collection, status.failure()?)))
    }

    /// Whether each collection was polled, or its rows were restored. A large one is not waited for, and a pause that the
    /// server asked for neither.
    pub fn is_ready(&self) -> bool {
        let mut collections = self.collections.iter().filter(|(it, _)| !it.is_large());
        self.hold_until.is_some() || collections.all(|(_, status)| status.is_ready())
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
        status.traffic.expect([Endpoint::Token]);
        Self { status: Arc::new(watch::Sender::new(status)), changed }
    }

    /// The ledger of an account whose usage collection is polled every six hours.
    #[cfg(test)]
    pub(crate) fn of_usage(name: Option<AccountName>) -> Self {
        let ledger = Self::new(name, Arc::default());
        ledger.write(|status| {
            status.track([(Collection::Usage, Duration::from_hours(6))], false);
            status.traffic.expect([Endpoint::Usage]);
        });
        ledger
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
    use crate::domain::failure::FailureReason;

    #[test]
    fn an_account_is_ready_when_all_but_its_customers_were_polled() {
        let mut status = AccountStatus::default();
        status.track(Collection::ALL.map(|collection| (collection, Duration::from_hours(6))), false);
        for (collection, is_ready) in [(Collection::Usage, false), (Collection::Deployment, true)] {
            let failure = Failure::of(FailureReason::Network);
            status.of_mut(collection).poll_ended(Err(failure), Timestamp::UNIX_EPOCH, Duration::ZERO);
            assert_eq!(status.is_ready(), is_ready, "{collection:?}");
        }
        let mut held = AccountStatus { hold_until: Some(Instant::now()), ..AccountStatus::default() };
        held.track([(Collection::Usage, Duration::from_hours(6))], false);
        assert!(held.is_ready(), "the server has answered");
    }

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
}
