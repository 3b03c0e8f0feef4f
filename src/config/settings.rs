//! The whole configuration: defaults, limits, and warnings.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use humantime::format_duration;
use jiff::Timestamp;
use uuid::Uuid;

use exporter_toolkit::yaml::{Problem, Problems, Section};

use crate::domain::collection::Collection;
use crate::domain::row::MAX_LABEL_BYTES;

use super::account::{self, Account};
use super::collections::{Collections, MAX_DURATION, MIN_DURATION};
use super::environment::{self, Environment};
use super::exposure;
use super::prices::Prices;
use super::provided;
use super::proxy;
use super::thresholds::Thresholds;

/// A whole, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file from which it was read, if any.
    pub file: Option<PathBuf>,
    /// The time between two successful polls of an account; ≥ 1 s, default 6 h.
    pub poll_interval: Duration,
    /// How long one poll of one account may take, retries included; ≥ 1 s, default 2 min.
    pub poll_timeout: Duration,
    /// How long the last good rows are served without a successful poll; `None` = forever; default 48 h.
    pub stale_after: Option<Duration>,
    /// The directory of refresh tokens and snapshots.
    pub state_directory: PathBuf,
    /// The percentages below which usage counts as low.
    pub thresholds: Thresholds,
    /// What licences cost.
    pub prices: Prices,
    /// At least one account. Names are unique, and only a single account may have none.
    pub accounts: Vec<Account>,
}

/// A shorter `poll_interval` causes a warning.
const SENSIBLE_INTERVAL: Duration = Duration::from_mins(15);
/// A longer `poll_interval` causes a warning: it is a third of a refresh token's lifetime.
const LONGEST_SAFE_INTERVAL: Duration = Duration::from_hours(30 * 24);

const DEFAULT_POLL_INTERVAL: Duration = Duration::from_hours(6);
const DEFAULT_POLL_TIMEOUT: Duration = Duration::from_mins(2);
const DEFAULT_STALE_AFTER: Duration = Duration::from_hours(48);
/// The bounds of `label_value_length_limit`.
const LABEL_LIMITS: RangeInclusive<u64> = 1..=MAX_LABEL_BYTES as u64;

/// How a collection of an account is polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polled {
    /// The collection.
    pub collection: Collection,
    /// The time between two successful polls.
    pub interval: Duration,
    /// How long one poll may take, retries included.
    pub timeout: Duration,
}

impl Config {
    /// The collections of an account that are polled.
    pub fn polled(&self, account: &Account) -> Vec<Polled> {
        let Collections { deployment, ref customers, .. } = account.collections;
        let intervals = [
            (Collection::Usage, true, self.poll_interval),
            (Collection::Deployment, deployment, self.poll_interval),
            (Collection::Customers, customers.enabled, customers.poll_interval),
        ];
        let polled = intervals.into_iter().filter(|(_, is_polled, _)| *is_polled);
        let polled = polled.map(|(collection, _, interval)| {
            let timeout = account.collections.timeout_of(collection, self.poll_timeout);
            Polled { collection, interval, timeout }
        });
        polled.collect()
    }

    /// Checks the text of a configuration file.
    ///
    /// # Errors
    /// Every problem, in the order in which the reference lists the keys.
    pub fn parse(text: &str, environment: Environment<'_>) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let Some(mut root) = Section::parse(text, &mut problems) else { return Err(problems.into_vec()) };
        let poll_interval = root.duration("poll_interval", MIN_DURATION, MAX_DURATION, &mut problems);
        let poll_timeout = root.duration("poll_timeout", MIN_DURATION, MAX_DURATION, &mut problems);
        let stale_after = root.duration("stale_after", Duration::ZERO, MAX_DURATION, &mut problems);
        let state_directory = root.text("state_directory", &mut problems).map(PathBuf::from);
        let thresholds = Thresholds::read(root.section("thresholds", &mut problems), &mut problems);
        let prices = Prices::read(&mut root, &mut problems);
        let collections = Collections::read(&mut root, &Collections::default(), &mut problems);
        let label_limit = root.whole_number("label_value_length_limit", LABEL_LIMITS, &mut problems);
        let label_limit =
            label_limit.map_or(MAX_LABEL_BYTES, |limit| usize::try_from(limit).unwrap_or(MAX_LABEL_BYTES));
        let mut accounts = account::read_all(&mut root, &collections, &mut problems);
        for (n, account) in accounts.iter_mut().enumerate() {
            account.label_value_length_limit = label_limit;
            if account.name.as_ref().is_some_and(|name| name.as_str().len() > label_limit) {
                problems.add(format!("accounts[{n}].name"), "is longer than label_value_length_limit");
            }
        }
        root.finish(&mut problems);
        if accounts.iter().any(Account::uses_environment_proxy) {
            proxy::check_environment(environment, &mut problems);
        }
        let config = Self {
            file: None,
            poll_interval: poll_interval.unwrap_or(DEFAULT_POLL_INTERVAL),
            poll_timeout: poll_timeout.unwrap_or(DEFAULT_POLL_TIMEOUT),
            stale_after: Some(stale_after.unwrap_or(DEFAULT_STALE_AFTER)).filter(|d| !d.is_zero()),
            state_directory: state_directory.unwrap_or_else(|| environment::state_directory(environment)),
            thresholds,
            prices,
            accounts,
        };
        problems.into_result(config)
    }

    /// One unnamed account from the environment, with the defaults of everything else.
    pub(super) fn from_environment(environment: Environment<'_>) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let account = account::from_environment(environment, &mut problems);
        proxy::check_environment(environment, &mut problems);
        let config = Self {
            file: None,
            poll_interval: DEFAULT_POLL_INTERVAL,
            poll_timeout: DEFAULT_POLL_TIMEOUT,
            stale_after: Some(DEFAULT_STALE_AFTER),
            state_directory: environment::state_directory(environment),
            thresholds: Thresholds::default(),
            prices: Prices::default(),
            accounts: account.into_iter().collect(),
        };
        problems.into_result(config)
    }

    /// What is valid at `now` but probably not intended.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let mut warnings = Vec::new();
        let simulated = |account: &Account| account.cloud.api_base_url.starts_with("http:");
        let customers = self.accounts.iter().map(|account| &account.collections.customers);
        let of_customers =
            customers.filter(|it| it.enabled).map(|it| ("customers.poll_interval", it.poll_interval));
        // A set, since most accounts have the same.
        let intervals: BTreeSet<_> = of_customers.chain([("poll_interval", self.poll_interval)]).collect();
        for (key, length) in intervals.into_iter().rev() {
            let interval = format_duration(length);
            let usual = if key == "poll_interval" { "6h" } else { "24h" };
            if length < SENSIBLE_INTERVAL && !self.accounts.iter().all(simulated) {
                warnings.push(format!(
                    "{key} is {interval}: the data changes about once a day, and every request counts against the \
                     partner's request limits; {usual} is a good value"
                ));
            }
            if length > LONGEST_SAFE_INTERVAL && key == "poll_interval" {
                warnings.push(format!(
                    "{key} is {interval}: a refresh token expires after 90 days without use, so two failed polls \
                     would end the sign-in; 6h is a good value"
                ));
            }
            if let Some(stale_after) = self.stale_after.filter(|stale_after| *stale_after <= length) {
                warnings.push(format!(
                    "stale_after ({}) is not longer than {key} ({interval}): rows vanish between two successful polls",
                    format_duration(stale_after),
                ));
            }
        }
        let polls_customers = self.accounts.iter().any(|account| account.collections.customers.enabled);
        for (n, customer) in self.thresholds.customers() {
            let key = format!("thresholds.overrides[{n}].customer");
            if !polls_customers {
                warnings.push(format!(
                    "{key} has no effect: no account polls customers (collections.customers.enabled)"
                ));
            } else if Uuid::try_parse(customer).is_err() {
                warnings.push(format!(
                    "{key} is no GUID: write the id of the customer's tenant, names are not compared"
                ));
            }
        }
        warnings.extend(exposure::directory_warning(&self.state_directory));
        for account in &self.accounts {
            let warning = account.client_credential.warning(now);
            warnings.extend(warning.map(|text| format!("account {}: {text}", account.display_name())));
        }
        // A set, since several accounts may share a file.
        let mut files: BTreeSet<&Path> = self.accounts.iter().flat_map(Account::secret_files).collect();
        // The secrets of a simulator need no protection.
        if self.accounts.iter().any(|account| !simulated(account) && account.has_inline_secret()) {
            files.extend(self.file.as_deref());
        }
        warnings.extend(files.iter().copied().filter_map(provided::warning));
        warnings.extend(files.into_iter().filter_map(exposure::warning));
        warnings
    }
}
