//! The percentages below which usage counts as low: a default, and overrides of which the first match wins.

use crate::domain::customers::CustomerUsage;
use crate::domain::usage::LicenseUsage;
use exporter_toolkit::yaml::{Problems, Section};

/// The thresholds, exported per row as `partner_license_usage_threshold_percent`.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    default_percent: f64,
    overrides: Vec<Override>,
}

#[derive(Clone, Debug, PartialEq)]
struct Override {
    customer: Option<String>,
    service: Option<String>,
    workload: Option<String>,
    channel: Option<String>,
    /// `None` means muted.
    percent: Option<f64>,
}

impl Thresholds {
    /// The default of `default_percent`, on the scale 0–100.
    const DEFAULT_PERCENT: f64 = 40.0;

    /// The threshold of a row, on the scale 0–100; `None` if the row is muted.
    pub fn applying_to(&self, row: &LicenseUsage) -> Option<f64> {
        self.of([None, Some(&row.service), Some(&row.workload), Some(&row.channel)])
    }

    /// The threshold of a customer's row, on the scale 0–100; `None` if the row is muted.
    pub fn applying_to_customer(&self, row: &CustomerUsage) -> Option<f64> {
        self.of([&row.customer, &row.service, &row.workload, &row.channel].map(|label| Some(&**label)))
    }

    /// The customers that overrides name, each with the position of its override.
    pub(super) fn customers(&self) -> impl Iterator<Item = (usize, &str)> {
        let overrides = self.overrides.iter().enumerate();
        overrides.filter_map(|(n, rule)| Some((n, rule.customer.as_deref()?)))
    }

    fn of(&self, labels: [Option<&str>; 4]) -> Option<f64> {
        let rule = self.overrides.iter().find(|rule| rule.matches(labels));
        rule.map_or(Some(self.default_percent), |rule| rule.percent)
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
        let customer = section.text("customer", problems);
        let service = section.text("service", problems);
        let workload = section.text("workload", problems);
        let channel = section.text("channel", problems);
        let before = problems.len();
        let percent = section.number("percent", problems);
        let mute = section.boolean("mute", problems);
        match (percent, mute) {
            // A value of the wrong type has been reported already.
            _ if problems.len() > before => {}
            (Some(_), Some(true)) => problems.add(section.own_path(), "set percent or mute: true, not both"),
            (None, None | Some(false)) => problems.add(section.own_path(), "set percent or mute: true"),
            _ => {}
        }
        section.finish(problems);
        Self { customer, service, workload, channel, percent }
    }

    /// Whether it applies to a customer, if it is about one, a service, a workload and a channel. An absent field matches
    /// any value. Letter case is ignored, since Microsoft's own varies.
    fn matches(&self, labels: [Option<&str>; 4]) -> bool {
        let wanted = [&self.customer, &self.service, &self.workload, &self.channel];
        wanted.into_iter().zip(labels).all(|(wanted, found)| {
            wanted.as_ref().is_none_or(|wanted| found.is_some_and(|found| equal_ignoring_case(wanted, found)))
        })
    }
}

/// Compares ASCII without allocating, since a page may compare every row with every override.
fn equal_ignoring_case(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        a.eq_ignore_ascii_case(b)
    } else {
        a.to_lowercase() == b.to_lowercase()
    }
}
