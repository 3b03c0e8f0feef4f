//! From which percentage on a row counts as low: a default, and overrides of which the first match wins.

use crate::domain::usage::LicenseUsage;
use exporter_toolkit::yaml::{Problems, Section};

/// The thresholds, published per row as `partner_license_usage_threshold_percent`.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    default_percent: f64,
    overrides: Vec<Override>,
}

#[derive(Clone, Debug, PartialEq)]
struct Override {
    service: Option<String>,
    workload: Option<String>,
    channel: Option<String>,
    /// `None` = muted.
    percent: Option<f64>,
}

impl Thresholds {
    /// Scale 0–100.
    pub const DEFAULT_PERCENT: f64 = 40.0;

    /// The threshold of a row, scale 0–100; `None` when the row is muted.
    pub fn applying_to(&self, row: &LicenseUsage) -> Option<f64> {
        self.overrides
            .iter()
            .find(|rule| rule.matches(row))
            .map_or(Some(self.default_percent), |rule| rule.percent)
    }

    pub(super) fn read(mut section: Section, problems: &mut Problems) -> Self {
        let default_percent = section.number("default_percent", problems).unwrap_or(Self::DEFAULT_PERCENT);
        let overrides = section
            .sections("overrides", problems)
            .unwrap_or_default()
            .into_iter()
            .map(|rule| Override::read(rule, problems))
            .collect();
        section.finish(problems);
        Self { default_percent, overrides }
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { default_percent: Self::DEFAULT_PERCENT, overrides: Vec::new() }
    }
}

impl Override {
    fn read(mut section: Section, problems: &mut Problems) -> Self {
        let service = section.text("service", problems);
        let workload = section.text("workload", problems);
        let channel = section.text("channel", problems);
        let before = problems.len();
        let percent = section.number("percent", problems);
        let mute = section.boolean("mute", problems);
        match (percent, mute) {
            // What was not understood is not missing.
            _ if problems.len() > before => {}
            (Some(_), Some(true)) => problems.add(section.own_path(), "give percent or mute: true, not both"),
            (None, None | Some(false)) => problems.add(section.own_path(), "give percent or mute: true"),
            _ => {}
        }
        section.finish(problems);
        Self { service, workload, channel, percent }
    }

    /// An absent field matches any value; letter case does not matter, since Microsoft's own is not steady.
    fn matches(&self, row: &LicenseUsage) -> bool {
        let fits = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| same_but_for_case(wanted, found))
        };
        fits(&self.service, &row.service)
            && fits(&self.workload, &row.workload)
            && fits(&self.channel, &row.channel)
    }
}

/// Without allocating in the usual case: a page may compare every row with every override.
fn same_but_for_case(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        a.eq_ignore_ascii_case(b)
    } else {
        a.to_lowercase() == b.to_lowercase()
    }
}
