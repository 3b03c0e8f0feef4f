//! The rules about queries, checked on their syntax trees.

use std::collections::BTreeSet;

use partner_license_exporter::metrics::Kind;
use serde_json::Value;

use super::{Finding, Parse};
use crate::dashboards::grafana::{Values, label_values, query_result, replace};
use crate::dashboards::model::{Dashboard, Panel, legend_labels, text};
use crate::dashboards::promql::{ROW, Selector, family, labels, selectors};

pub(crate) const RULES: &[&str] = &[
    "target-promql-rule",
    "target-rate-interval-rule",
    "target-job-rule",
    "target-instance-rule",
    "target-counter-agg-rule",
    "target-labels-rule",
    "target-rows-rule",
    "target-polls-rule",
    "target-zero-rule",
];

/// The duration that replaces `$__rate_interval` for the parser: no query contains it otherwise.
const RATE_INTERVAL: (&str, u64) = ("1234567ms", 1_234_567);
/// The prefixes of the metrics about what Partner Center reports, which every replica exports.
const REPORTED: [&str; 3] =
    ["partner_license_usage_", "partner_license_deployment_", "partner_license_customer"];

/// The prefix of the metrics about customers, of which only the replica with the newest poll counts.
const CUSTOMERS: &str = "partner_license_customer";

pub(crate) fn lint(dashboard: &Dashboard, parse: Parse<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for panel in dashboard.panels() {
        for (n, target) in panel.targets().iter().enumerate() {
            for (rule, message) in target_findings(dashboard, panel, target, parse) {
                debug_assert!(RULES.contains(&rule), "{rule} is not listed");
                findings.push(Finding {
                    rule,
                    dashboard: dashboard.title().to_owned(),
                    panel: Some(panel.title().to_owned()),
                    target: Some(n),
                    message,
                });
            }
        }
    }
    for variable in dashboard.variables() {
        let query = text(&variable["query"]["query"]);
        let by_name = query_result(query).map(|query| (query, "customer_name"));
        let Some((query, label)) = label_values(query).or(by_name) else { continue };
        let messages = match parse(query) {
            Err(error) => vec![error],
            Ok(tree) => {
                let mut messages = Vec::new();
                if !labels(&tree, &mut messages).contains(label) {
                    messages.push(format!("{query} has no label {label}"));
                }
                messages
            }
        };
        findings.extend(messages.into_iter().map(|message| Finding {
            rule: "target-labels-rule",
            dashboard: dashboard.title().to_owned(),
            panel: None,
            target: None,
            message: format!("variable {}: {message}", text(&variable["name"])),
        }));
    }
    findings
}

/// The metrics that the queries of a dashboard select.
pub(crate) fn metrics(dashboard: &Dashboard, parse: Parse<'_>) -> BTreeSet<String> {
    let panels = dashboard.panels();
    let targets = panels.iter().flat_map(|panel| panel.targets());
    let trees = targets.filter_map(|target| parse(&parseable(target)).ok());
    trees
        .flat_map(|tree| selectors(&tree).iter().map(|one| one.metric.to_owned()).collect::<Vec<_>>())
        .collect()
}

/// A query that Prometheus can parse. Variables are inside strings and can stay; Grafana's durations are replaced.
fn parseable(target: &Value) -> String {
    let durations = [("__rate_interval", RATE_INTERVAL.0), ("__interval", "1m"), ("__range", "1d")];
    let values = durations.map(|(name, value)| (name.to_owned(), value.to_owned()));
    replace(text(&target["expr"]), &Values::from(values))
}

fn target_findings(
    dashboard: &Dashboard,
    panel: Panel<'_>,
    target: &Value,
    parse: Parse<'_>,
) -> Vec<(&'static str, String)> {
    let tree = match parse(&parseable(target)) {
        Ok(tree) => tree,
        Err(error) => return vec![("target-promql-rule", error)],
    };
    let mut messages = Vec::new();
    let mut about_labels = Vec::new();
    let result = labels(&tree, &mut about_labels);
    for label in legend_labels(target).into_iter().filter(|label| !result.contains(*label)) {
        about_labels.push(format!("the legend's {label} is not among {result:?}"));
    }
    // The columns of a table are labels, so every column that it renames must be one.
    for label in renamed_labels(panel).filter(|label| !result.contains(*label) && !is_value(label)) {
        let other = panel.targets().iter().filter(|other| *other != target);
        let elsewhere = other.filter_map(|other| parse(&parseable(other)).ok());
        if !elsewhere.into_iter().any(|tree| labels(&tree, &mut Vec::new()).contains(label)) {
            about_labels.push(format!("there is no label for the column {label}"));
        }
    }
    messages.extend(about_labels.into_iter().map(|text| ("target-labels-rule", text)));

    let selectors = selectors(&tree);
    for selector in &selectors {
        messages.extend(selector_findings(dashboard, selector));
    }
    if calls(&tree).contains(&"vector") || calls(&tree).contains(&"absent") {
        messages.push(("target-zero-rule", "returns a number where there is no data".to_owned()));
    }
    messages
}

fn selector_findings(dashboard: &Dashboard, selector: &Selector<'_>) -> Vec<(&'static str, String)> {
    let mut messages = Vec::new();
    let metric = selector.metric;
    let innermost =
        selector.within.iter().find(|name| **name != "last_over_time").copied().unwrap_or_default();
    let is_rate = ["rate", "irate", "increase"].contains(&innermost);
    if is_rate && selector.range != Some(RATE_INTERVAL.1) {
        messages.push((
            "target-rate-interval-rule",
            format!("{innermost} of {metric} is not over $__rate_interval"),
        ));
    }
    let counts = family(metric).is_some_and(|family| family.kind != Kind::Gauge);
    if counts && !is_rate {
        messages.push((
            "target-counter-agg-rule",
            format!("{metric} is a counter, which only grows and restarts with the process"),
        ));
    }
    if is_rate && !counts {
        messages.push((
            "target-counter-agg-rule",
            format!("{metric} is not a counter, so {innermost} does not apply"),
        ));
    }
    for (rule, label) in [("target-job-rule", "job"), ("target-instance-rule", "instance")] {
        if !selector.has_matcher(label, "=~", &format!("${label}")) {
            messages.push((rule, format!("{metric} is not filtered by ${label}")));
        }
    }
    // The chain of variables filters every metric that has the labels, with an operator that supports "All".
    for label in ROW.iter().chain(&["customer"]).filter(|label| dashboard.variable(label).is_some()) {
        let of_rows = family(metric).is_some_and(|family| family.labels.contains(label));
        let of_account =
            *label == "account" && metric.starts_with("partner_license_") && !metric.contains("_exporter_");
        let of_alerts = metric.starts_with("ALERTS");
        if (of_rows || of_account || of_alerts) && !selector.has_matcher(label, "=~", &format!("${label}")) {
            messages.push(("target-rows-rule", format!("{metric} is not filtered by ${label}")));
        }
    }
    let is_poll = family(metric).is_some_and(|family| family.labels.contains(&"collection"));
    let names_one =
        selector.matchers.iter().any(|(label, operator, _)| (*label, *operator) == ("collection", "="));
    if is_poll && !names_one && !selector.has_matcher("collection", "=~", "$collection") {
        messages.push(("target-polls-rule", format!("{metric} is not filtered by $collection")));
    }
    if is_poll
        && !names_one
        && innermost == "max"
        && !selector.by.as_ref().is_some_and(|by| by.contains(&"collection"))
    {
        messages
            .push(("target-polls-rule", format!("{metric} mixes collections: it needs max by (collection)")));
    }
    // A replica that cannot poll still has customers who have vanished.
    if metric.starts_with(CUSTOMERS) && !selector.is_filtered_by_newest {
        messages.push(("target-rows-rule", format!("{metric} does not take the newest poll")));
    }
    // A dashboard that can be filtered by replicas shows each of them.
    let is_reported = REPORTED.iter().any(|prefix| metric.starts_with(prefix));
    if is_reported && dashboard.variable("instance").is_none() {
        let known = family(metric).map_or(&[][..], |family| family.labels);
        let all: Vec<&str> = ["account"].into_iter().chain(known.iter().copied()).collect();
        if !(innermost == "max" && selector.by.as_ref() == Some(&all)) {
            messages.push((
                "target-rows-rule",
                format!("{metric} counts every replica: it needs max by ({})", all.join(", ")),
            ));
        }
    }
    messages
}

fn renamed_labels(panel: Panel<'_>) -> impl Iterator<Item = &str> {
    let organize = panel.transformations().iter().find(|step| step["id"] == "organize");
    let names = organize.and_then(|step| step["options"]["renameByName"].as_object());
    names.into_iter().flat_map(|names| names.keys().map(String::as_str))
}

/// Whether a column contains the values of a query.
fn is_value(column: &str) -> bool {
    column == "Value" || column.starts_with("Value #")
}

/// The functions that a query calls.
fn calls(tree: &Value) -> Vec<&str> {
    let below = match tree {
        Value::Array(items) => items.iter().flat_map(calls).collect(),
        Value::Object(members) => members.values().flat_map(calls).collect(),
        _ => Vec::new(),
    };
    let own = (tree["type"] == "call").then(|| text(&tree["func"]["name"]));
    own.into_iter().chain(below).collect()
}
