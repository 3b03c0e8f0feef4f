//! What Grafana's dashboard-linter checks, under the names of its rules, and what is said of these dashboards besides.
//!
//! Of its rules the two about `LogQL` have nothing to look at here: `panel-datasource-rule` demands Prometheus. The rules
//! here look at every type of panel, which is more than that program does. `dashboards/.lint` excludes findings, in that
//! program's format, each with a reason; an exclusion that excludes nothing is a finding itself.

mod document;
mod query;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::dashboards::model::Dashboard;

pub(crate) use query::metrics;

/// Something that a rule has to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) rule: &'static str,
    pub(crate) dashboard: String,
    pub(crate) panel: Option<String>,
    pub(crate) target: Option<usize>,
    pub(crate) said: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule, self.dashboard)?;
        self.panel.iter().try_for_each(|panel| write!(f, ", {panel}"))?;
        self.target.iter().try_for_each(|target| write!(f, ", target {target}"))?;
        write!(f, ": {}", self.said)
    }
}

/// Turns a query, without durations that only Grafana knows, into Prometheus' syntax tree.
pub(crate) type Parse<'a> = &'a dyn Fn(&str) -> Result<Value, String>;

/// Every finding in the documents themselves.
pub(crate) fn documents(dashboards: &[Dashboard]) -> Vec<Finding> {
    dashboards.iter().flat_map(|dashboard| document::lint(dashboard, dashboards)).collect()
}

/// Every finding in their queries.
pub(crate) fn queries(dashboards: &[Dashboard], parse: Parse<'_>) -> Vec<Finding> {
    dashboards.iter().flat_map(|dashboard| query::lint(dashboard, parse)).collect()
}

/// What dashboards/.lint says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exclusions {
    exclusions: BTreeMap<String, Excluded>,
    /// Metrics that no dashboard and no rule uses, and why. The linter passes over what it does not know.
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

    /// What is left of findings of these rules, and exclusions that none of them needs.
    pub(crate) fn apply(&self, findings: Vec<Finding>, rules: &[&str]) -> Vec<String> {
        let mut used = BTreeSet::new();
        let mut left = Vec::new();
        for finding in findings {
            let entries = self.exclusions.get(finding.rule).map_or(&[][..], |excluded| &excluded.entries);
            let matches =
                |entry: &Entry| entry.dashboard == finding.dashboard && entry.panel == finding.panel;
            match entries.iter().position(matches) {
                Some(n) => drop(used.insert((finding.rule, n))),
                None => left.push(finding.to_string()),
            }
        }
        for (rule, excluded) in &self.exclusions {
            let known = document::RULES.contains(&rule.as_str()) || query::RULES.contains(&rule.as_str());
            if !known || excluded.reason.trim().is_empty() {
                left.push(format!("dashboards/.lint: {rule} is no rule, or its exclusion has no reason"));
            }
            for (n, entry) in excluded.entries.iter().enumerate() {
                if rules.contains(&rule.as_str()) && !used.contains(&(rule.as_str(), n)) {
                    left.push(format!("dashboards/.lint: {rule}: nothing is excluded by {entry:?}"));
                }
            }
        }
        left
    }
}

pub(crate) const DOCUMENT_RULES: &[&str] = document::RULES;
pub(crate) const QUERY_RULES: &[&str] = query::RULES;
