//! The checks of Grafana's dashboard-linter, under the names of its rules, and further rules for these dashboards.
//!
//! Its two rules about `LogQL` do not apply here, because `panel-datasource-rule` requires Prometheus. Unlike that
//! program, the rules here check every type of panel. `dashboards/.lint` excludes findings, in the format of that
//! program, each with a reason. An exclusion that excludes nothing is itself a finding.

mod document;
mod query;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::dashboards::model::Dashboard;

pub(crate) use query::metrics;

/// A violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) rule: &'static str,
    pub(crate) dashboard: String,
    pub(crate) panel: Option<String>,
    pub(crate) target: Option<usize>,
    pub(crate) message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule, self.dashboard)?;
        self.panel.iter().try_for_each(|panel| write!(f, ", {panel}"))?;
        self.target.iter().try_for_each(|target| write!(f, ", target {target}"))?;
        write!(f, ": {}", self.message)
    }
}

/// Parses a query without Grafana's durations into Prometheus' syntax tree.
pub(crate) type Parse<'a> = &'a dyn Fn(&str) -> Result<Value, String>;

/// Every finding in the JSON of the dashboards.
pub(crate) fn documents(dashboards: &[Dashboard]) -> Vec<Finding> {
    dashboards.iter().flat_map(|dashboard| document::lint(dashboard, dashboards)).collect()
}

/// Every finding in the queries of the dashboards.
pub(crate) fn queries(dashboards: &[Dashboard], parse: Parse<'_>) -> Vec<Finding> {
    dashboards.iter().flat_map(|dashboard| query::lint(dashboard, parse)).collect()
}

/// The content of dashboards/.lint.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exclusions {
    exclusions: BTreeMap<String, Excluded>,
    /// Metrics that no dashboard and no rule uses, with the reasons. Grafana's linter ignores this key.
    pub(crate) unused_metrics: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Excluded {
    reason: String,
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dashboard: String,
    panel: Option<String>,
}

impl Exclusions {
    pub(crate) fn read() -> Self {
        let text = std::fs::read_to_string(crate::dashboards::root().join("dashboards/.lint")).unwrap();
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("dashboards/.lint: {error}"))
    }

    /// Returns the findings that are not excluded, and the exclusions for these rules that exclude nothing.
    pub(crate) fn apply(&self, findings: Vec<Finding>, rules: &[&str]) -> Vec<String> {
        let mut used = BTreeSet::new();
        let mut remaining = Vec::new();
        for finding in findings {
            let entries = self.exclusions.get(finding.rule).map_or(&[][..], |excluded| &excluded.entries);
            let matches =
                |entry: &Entry| entry.dashboard == finding.dashboard && entry.panel == finding.panel;
            match entries.iter().position(matches) {
                Some(n) => drop(used.insert((finding.rule, n))),
                None => remaining.push(finding.to_string()),
            }
        }
        for (rule, excluded) in &self.exclusions {
            let known = document::RULES.contains(&rule.as_str()) || query::RULES.contains(&rule.as_str());
            if !known || excluded.reason.trim().is_empty() {
                remaining
                    .push(format!("dashboards/.lint: {rule} is not a rule, or its exclusion has no reason"));
            }
            for (n, entry) in excluded.entries.iter().enumerate() {
                if rules.contains(&rule.as_str()) && !used.contains(&(rule.as_str(), n)) {
                    remaining.push(format!("dashboards/.lint: {rule}: {entry:?} excludes nothing"));
                }
            }
        }
        remaining
    }
}

pub(crate) const DOCUMENT_RULES: &[&str] = document::RULES;
pub(crate) const QUERY_RULES: &[&str] = query::RULES;
