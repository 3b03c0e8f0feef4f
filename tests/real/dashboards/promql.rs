//! Analysis of a query by its syntax tree, which Prometheus' own parser returns: the series that it selects, and the
//! labels that its result can have.

use std::collections::BTreeSet;

use partner_license_exporter::metrics::{FAMILIES, Family, Kind};
use serde_json::Value;

use crate::dashboards::model::{list, text};

/// The labels that rows of usage have.
pub(crate) const ROW: [&str; 4] = ["account", "service", "workload", "channel"];

pub(crate) type Labels = BTreeSet<String>;

/// A selector and its context in the query.
#[derive(Debug)]
pub(crate) struct Selector<'a> {
    pub(crate) metric: &'a str,
    pub(crate) matchers: Vec<(&'a str, &'a str, &'a str)>,
    /// The range in milliseconds, if it selects one.
    pub(crate) range: Option<u64>,
    /// The functions and aggregations around it, innermost first.
    pub(crate) within: Vec<&'a str>,
    /// Whether it is the left side of `and` with the replicas whose poll is the newest.
    pub(crate) is_filtered_by_newest: bool,
    /// The grouping labels of the aggregation that directly encloses it or its last value, if one does.
    pub(crate) by: Option<Vec<&'a str>>,
}

impl Selector<'_> {
    pub(crate) fn has_matcher(&self, label: &str, operator: &str, value: &str) -> bool {
        self.matchers.contains(&(label, operator, value))
    }
}

/// The selectors of a query.
pub(crate) fn selectors(tree: &Value) -> Vec<Selector<'_>> {
    let mut found = Vec::new();
    collect(tree, false, &mut Vec::new(), &mut found);
    found
}

fn collect<'a>(
    node: &'a Value,
    is_filtered_by_newest: bool,
    around: &mut Vec<&'a Value>,
    found: &mut Vec<Selector<'a>>,
) {
    let kind = text(&node["type"]);
    if !["vectorSelector", "matrixSelector"].contains(&kind) {
        // `and` passes samples of its left side on as they are.
        let passes_on = (text(&node["type"]), text(&node["op"])) == ("binaryExpr", "and");
        for child in children(node) {
            let is_passed_on = passes_on && std::ptr::eq(child, &raw const node["lhs"]);
            if !is_passed_on {
                around.push(node);
            }
            let by_newest = is_passed_on && is_newest(&node["rhs"]);
            let is_last = operator(node) == "last_over_time" && is_filtered_by_newest;
            collect(child, by_newest || is_last, around, found);
            if !is_passed_on {
                around.pop();
            }
        }
        return;
    }
    let matcher =
        |matcher: &'a Value| (text(&matcher["name"]), text(&matcher["type"]), text(&matcher["value"]));
    // The last value within a while is still one sample of the series.
    let enclosing = around.iter().rev().find(|node| operator(node) != "last_over_time");
    let aggregation = enclosing.filter(|node| node["type"] == "aggregation");
    found.push(Selector {
        metric: text(&node["name"]),
        matchers: list(&node["matchers"]).iter().map(matcher).collect(),
        is_filtered_by_newest,
        range: node["range"].as_u64().filter(|_| kind == "matrixSelector"),
        within: around.iter().rev().map(|node| operator(node)).collect(),
        by: aggregation.map(|node| list(&node["grouping"]).iter().map(text).collect()),
    });
}

/// Whether an expression selects the replica whose poll of customers is the newest.
fn is_newest(node: &Value) -> bool {
    let mut polls = selectors(&node["expr"]).into_iter();
    node["op"] == "topk"
        && polls.next().is_some_and(|poll| {
            poll.metric == "partner_license_last_success_timestamp_seconds"
                && poll.has_matcher("collection", "=", "customers")
        })
        && polls.next().is_none()
}

/// The name of a function or an aggregation, or else the type of the node.
fn operator(node: &Value) -> &str {
    match text(&node["type"]) {
        "call" => text(&node["func"]["name"]),
        "aggregation" => text(&node["op"]),
        kind => kind,
    }
}

fn children(node: &Value) -> Vec<&Value> {
    let single = ["expr", "lhs", "rhs", "param"].map(|name| &node[name]);
    single.into_iter().filter(|child| child.is_object()).chain(list(&node["args"])).collect()
}

/// The labels that the result of a query can have. A label that the query names and that cannot exist is a finding.
pub(crate) fn labels(node: &Value, findings: &mut Vec<String>) -> Labels {
    let below = children(node);
    match text(&node["type"]) {
        "vectorSelector" | "matrixSelector" => {
            let metric = text(&node["name"]);
            let known = exposed_labels(metric).unwrap_or_else(|| {
                findings.push(format!("nothing exposes {metric:?}"));
                Labels::new()
            });
            for matcher in list(&node["matchers"]).iter().map(|matcher| text(&matcher["name"])) {
                if matcher != "__name__" {
                    demand(&known, matcher, metric, findings);
                }
            }
            known
        }
        "aggregation" => {
            let inner = labels(&node["expr"], findings);
            let named: Labels = list(&node["grouping"]).iter().map(text).map(str::to_owned).collect();
            for label in &named {
                demand(&inner, label, text(&node["op"]), findings);
            }
            match text(&node["op"]) {
                "topk" | "bottomk" | "limitk" => inner,
                _ if node["without"] == true => &inner - &named,
                _ => named,
            }
        }
        "binaryExpr" => {
            let (left, right) = (labels(&node["lhs"], findings), labels(&node["rhs"], findings));
            let matching = &node["matching"];
            let named: Labels = list(&matching["labels"]).iter().map(text).map(str::to_owned).collect();
            for label in &named {
                demand(&(&left | &right), label, text(&node["op"]), findings);
            }
            match text(&node["op"]) {
                "or" => &left | &right,
                "and" | "unless" => left,
                // An operation between a vector and a number.
                _ if matching.is_null() => &left | &right,
                _ if matching["card"] == "one-to-one" && matching["on"] == true => named,
                _ if matching["card"] == "one-to-one" => &left - &named,
                _ => {
                    let many = if matching["card"] == "one-to-many" { right } else { left };
                    let more = list(&matching["include"]).iter().map(text).map(str::to_owned);
                    many.into_iter().chain(more).collect()
                }
            }
        }
        "call" if node["func"]["name"] == "histogram_quantile" => {
            let mut inner = labels(&node["args"][1], findings);
            demand(&inner, "le", "histogram_quantile", findings);
            inner.remove("le");
            inner
        }
        "call" if text(&node["func"]["name"]).starts_with("label_") => {
            let mut inner = labels(&node["args"][0], findings);
            inner.insert(text(&node["args"][1]["val"]).to_owned());
            inner
        }
        _ => below.into_iter().flat_map(|child| labels(child, findings)).collect(),
    }
}

fn demand(known: &Labels, label: &str, place: &str, findings: &mut Vec<String>) {
    if !known.contains(label) {
        findings.push(format!("{place} names the label {label:?}, but there are only {known:?}"));
    }
}

/// The labels that the series of a metric have in Prometheus.
fn exposed_labels(metric: &str) -> Option<Labels> {
    let mut labels: Vec<&str> = vec!["job", "instance"];
    match metric {
        "up" => {}
        "ALERTS" | "ALERTS_FOR_STATE" => {
            labels.extend(ROW);
            labels.extend(["alertname", "severity", "collection", "customer"]);
            if metric == "ALERTS" {
                labels.push("alertstate");
            }
        }
        _ => {
            let family = family(metric)?;
            labels.extend(family.labels);
            if family.name.starts_with("partner_license_")
                && !family.name.starts_with("partner_license_exporter_")
            {
                labels.push("account");
            }
            if metric.ends_with("_bucket") && family.kind == Kind::Histogram {
                labels.push("le");
            }
        }
    }
    Some(labels.into_iter().map(str::to_owned).collect())
}

/// The metric family to which a series of this name belongs.
pub(crate) fn family(metric: &str) -> Option<&'static Family> {
    let parts = |family: &Family| -> &[&str] {
        if family.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] }
    };
    let named = |family: &&&Family| {
        metric.strip_prefix(family.name).is_some_and(|rest| parts(family).contains(&rest))
    };
    FAMILIES.iter().find(named).copied()
}
