//! Which collections of an account are polled, and how: defaults for all accounts, and what an account has of its own.

use std::time::Duration;

use exporter_toolkit::yaml::{Problems, Section};

/// The shortest interval and timeout.
pub(super) const MIN_DURATION: Duration = Duration::from_secs(1);
/// The longest duration: a year as humantime counts it, so that messages say `1year`, and far from overflowing a
/// timestamp.
pub(super) const MAX_DURATION: Duration = Duration::from_hours(8766);

/// The settings of one account's collections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collections {
    /// Where the rows of the usage collection, which is always polled, and of the deployment collection come from.
    pub source: SourceChoice,
    /// Whether the deployment collection is polled; default no.
    pub deployment: bool,
    /// The customers' collection.
    pub customers: Customers,
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

/// The settings of the customers' collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Customers {
    /// Whether it is polled; default no.
    pub enabled: bool,
    /// The time between two successful polls; ≥ 1 s, default 24 h.
    pub poll_interval: Duration,
    /// How long one poll may take, retries included; ≥ 1 s, default 15 min.
    pub poll_timeout: Duration,
    /// How many rows are published at most; default 500.
    pub series: usize,
    /// Whether names of customers are kept; default yes.
    pub names: bool,
    /// A row with fewer qualified licences has no threshold; default 25.
    pub min_licenses: u64,
}

impl Default for Collections {
    fn default() -> Self {
        let customers = Customers {
            enabled: false,
            poll_interval: Duration::from_hours(24),
            poll_timeout: Duration::from_mins(15),
            series: 500,
            names: true,
            min_licenses: 25,
        };
        Self { source: SourceChoice::default(), deployment: false, customers }
    }
}

/// The most series of customers: more than a Prometheus should take from one target.
const MAX_SERIES: u64 = 100_000;
/// The most licences of one row, which a float can count.
const MAX_LICENSES: u64 = 1 << 53;

impl Collections {
    /// Reads the key `collections` of a section; what is absent there is as in `defaults`.
    pub(super) fn read(parent: &mut Section, defaults: &Self, problems: &mut Problems) -> Self {
        let mut section = parent.section("collections", problems);
        let mut usage = section.section("usage", problems);
        let source = read_source(&mut usage, problems).unwrap_or(defaults.source);
        usage.finish(problems);
        let mut deployment = section.section("deployment", problems);
        let deploys = deployment.boolean("enabled", problems).unwrap_or(defaults.deployment);
        deployment.finish(problems);
        let customers = section.section("customers", problems);
        let customers = Customers::read(customers, &defaults.customers, problems);
        section.finish(problems);
        Self { source, deployment: deploys, customers }
    }
}

impl Customers {
    fn read(mut section: Section, defaults: &Self, problems: &mut Problems) -> Self {
        let enabled = section.boolean("enabled", problems).unwrap_or(defaults.enabled);
        let mut duration =
            |key, default| section.duration(key, MIN_DURATION, MAX_DURATION, problems).unwrap_or(default);
        let poll_interval = duration("poll_interval", defaults.poll_interval);
        let poll_timeout = duration("poll_timeout", defaults.poll_timeout);
        let series = section.whole_number("series", 0..=MAX_SERIES, problems);
        let names = section.boolean("names", problems).unwrap_or(defaults.names);
        let min_licenses = section.whole_number("min_licenses", 0..=MAX_LICENSES, problems);
        section.finish(problems);
        Self {
            enabled,
            poll_interval,
            poll_timeout,
            series: series.map_or(defaults.series, |series| usize::try_from(series).unwrap_or(usize::MAX)),
            names,
            min_licenses: min_licenses.unwrap_or(defaults.min_licenses),
        }
    }
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
