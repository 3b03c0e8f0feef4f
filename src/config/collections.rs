//! Which collections of an account are polled, and how: defaults for all accounts, and what an account has of its own.

use std::time::Duration;

use exporter_toolkit::yaml::{Problems, Section};

/// The shortest interval and timeout.
pub(super) const MIN_DURATION: Duration = Duration::from_secs(1);
/// The longest duration: a year as humantime counts it, so that messages say `1year`, and far from overflowing a
/// timestamp.
pub(super) const MAX_DURATION: Duration = Duration::from_hours(8766);

/// The settings of one account's collections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collections {
    /// Where the rows of the usage collection, which is always polled, and of the deployment collection come from.
    pub source: SourceChoice,
    /// Whether the deployment collection is polled; default no.
    pub deployment: bool,
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
    /// Reads the key `collections` of a section; what is absent there is as in `defaults`.
    pub(super) fn read(parent: &mut Section, defaults: &Self, problems: &mut Problems) -> Self {
        let mut section = parent.section("collections", problems);
        let mut usage = section.section("usage", problems);
        let source = read_source(&mut usage, problems).unwrap_or(defaults.source);
        usage.finish(problems);
        let mut deployment = section.section("deployment", problems);
        let deploys = deployment.boolean("enabled", problems).unwrap_or(defaults.deployment);
        deployment.finish(problems);
        section.finish(problems);
        Self { source, deployment: deploys }
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
