//! Which collections of an account are polled, and how: defaults for all accounts, and what an account has of its own.

use std::time::Duration;

use exporter_toolkit::yaml::{Problems, Section};

use crate::domain::collection::Collection;
use crate::domain::customers::Limits;
use crate::domain::figures::MAX_LICENSES;

/// The shortest interval and timeout.
pub(super) const MIN_DURATION: Duration = Duration::from_secs(1);
/// The longest duration: a year as humantime counts it, so that messages say `1year`, and far from overflowing a
/// timestamp.
pub(super) const MAX_DURATION: Duration = Duration::from_hours(8766);

/// The settings of one account's collections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collections {
    /// The path of the API below which `analytics/commercial` is; both documented ones are tried unless it is set.
    pub commercial_path: Option<String>,
    /// Where the rows of the usage collection, which is always polled, and of the deployment collection come from.
    pub source: SourceChoice,
    /// Whether the deployment collection is polled; default no.
    pub deployment: bool,
    /// How the customers collection is polled and published.
    pub customers: Customers,
}

/// The settings of the customers collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Customers {
    /// Whether it is polled; default no.
    pub enabled: bool,
    /// The time between two successful polls; ≥ 1 s, default 24 h.
    pub poll_interval: Duration,
    /// How long one poll may take, retries included; ≥ 1 s, default 15 min.
    pub poll_timeout: Duration,
    /// How many rows are published, default 500 of 25 licences or more.
    pub limits: Limits,
    /// Whether the names of customers are read and published; default yes.
    pub names: bool,
}

/// The most rows of customers that can be published.
const MAX_SERIES: u64 = 100_000;

impl Default for Customers {
    fn default() -> Self {
        Self {
            enabled: false,
            poll_interval: Duration::from_hours(24),
            poll_timeout: Duration::from_mins(15),
            limits: Limits::default(),
            names: true,
        }
    }
}

/// Which of Partner Center's two sources is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceChoice {
    /// The old one, and its successor where that is gone or has no row.
    #[default]
    Auto,
    /// Only the old one, `/v1/analytics/licenses`.
    Licenses,
    /// Only its successor, `analytics/commercial`.
    Commercial,
}

impl Collections {
    /// How long one poll of a collection may take, which is `usual` unless the collection has a setting of its own.
    pub fn timeout_of(&self, collection: Collection, usual: Duration) -> Duration {
        match collection {
            Collection::Usage | Collection::Deployment => usual,
            Collection::Customers => self.customers.poll_timeout,
        }
    }

    /// The time between two polls of a collection, which is `usual` unless the collection has a setting of its own.
    pub fn interval_of(&self, collection: Collection, usual: Duration) -> Duration {
        match collection {
            Collection::Usage | Collection::Deployment => usual,
            Collection::Customers => self.customers.poll_interval,
        }
    }

    /// Reads the key `collections` of a section; what is absent there is as in `defaults`.
    pub(super) fn read(parent: &mut Section, defaults: &Self, problems: &mut Problems) -> Self {
        let mut section = parent.section("collections", problems);
        let mut usage = section.section("usage", problems);
        let source = read_source(&mut usage, problems).unwrap_or(defaults.source);
        usage.finish(problems);
        let mut deployment = section.section("deployment", problems);
        let deploys = deployment.boolean("enabled", problems).unwrap_or(defaults.deployment);
        deployment.finish(problems);
        let customers = Customers::read(&mut section, &defaults.customers, problems);
        let path = read_path(&mut section, problems);
        section.finish(problems);
        let commercial_path = path.or_else(|| defaults.commercial_path.clone());
        Self { commercial_path, source, deployment: deploys, customers }
    }
}

impl Customers {
    fn read(parent: &mut Section, defaults: &Self, problems: &mut Problems) -> Self {
        let mut section = parent.section("customers", problems);
        let enabled = section.boolean("enabled", problems);
        let poll_interval = section.duration("poll_interval", MIN_DURATION, MAX_DURATION, problems);
        let poll_timeout = section.duration("poll_timeout", MIN_DURATION, MAX_DURATION, problems);
        let series = section.whole_number("series", 0..=MAX_SERIES, problems);
        let names = section.boolean("names", problems);
        let min_licenses = section.whole_number("min_licenses", 0..=MAX_LICENSES, problems);
        section.finish(problems);
        let series = series.and_then(|series| usize::try_from(series).ok());
        Self {
            enabled: enabled.unwrap_or(defaults.enabled),
            poll_interval: poll_interval.unwrap_or(defaults.poll_interval),
            poll_timeout: poll_timeout.unwrap_or(defaults.poll_timeout),
            limits: Limits {
                series: series.unwrap_or(defaults.limits.series),
                min_licenses: min_licenses.unwrap_or(defaults.limits.min_licenses),
            },
            names: names.unwrap_or(defaults.names),
        }
    }
}

/// Reads a path such as `/partner/v1`; the value ends in a slash.
fn read_path(section: &mut Section, problems: &mut Problems) -> Option<String> {
    let text = section.text("commercial_path", problems)?;
    let path = text.trim_matches('/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let is_name = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(is_plain);
    if text.starts_with('/') && path.split('/').all(is_name) {
        return Some(format!("/{path}/"));
    }
    problems.add(section.path("commercial_path"), "must be a path such as /partner/v1 or /v1");
    None
}

fn read_source(section: &mut Section, problems: &mut Problems) -> Option<SourceChoice> {
    let name = section.text("source", problems)?;
    match name.as_str() {
        "auto" => Some(SourceChoice::Auto),
        "licenses" => Some(SourceChoice::Licenses),
        "commercial" => Some(SourceChoice::Commercial),
        _ => {
            problems.add(section.path("source"), "must be one of auto, licenses, commercial");
            None
        }
    }
}
