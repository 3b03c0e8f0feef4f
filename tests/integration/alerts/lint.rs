//! Lints the alert rules beyond what promtool checks: against the metrics that the program exports and the conventions
//! of this project. `alerts/tests/lint-exclusions.yml` lists the exclusions, each with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use partner_license_exporter::metrics::{FAMILIES, Family, Kind as FamilyKind};
use promql_parser::parser::token::T_LOR;
use promql_parser::parser::{self, BinaryExpr, Expr, LabelModifier, MatrixSelector, Offset, VectorSelector};
use promql_parser::util::parse_duration;
use serde::Deserialize;
use serde_json::Value;

use super::promql::{nodes, selector, selectors};
use super::rules::{Group, Rule, Rules, files, queries, read, without_verbs};

const EXCLUSIONS: &str = "alerts/tests/lint-exclusions.yml";

/// The default retention of Prometheus, in seconds.
const RETENTION: u64 = 15 * 86_400;
/// The dashboards that alerts link to, and the variables that links may set.
const DASHBOARDS: [(&str, &[&str]); 4] = [
    ("partner-license-overview", &["account"]),
    ("partner-license-customers", &["account", "customer", "service"]),
    ("partner-license-detail", &["account", "service", "workload", "channel"]),
    ("partner-license-exporter", &["account", "collection"]),
];
/// The label that tells apart what an account has several of.
const COLLECTION: &str = "collection";
const ANNOTATIONS: [&str; 4] = ["summary", "description", "dashboard_url", "runbook_url"];
/// The annotation of alerts whose message is for people who do not know what the figures mean.
const NUMBERS: (&str, &str) = ("numbers_url", "docs/concepts/the-numbers.md");

/// A fault in a rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    pub(crate) rule: String,
    /// The check that found it, such as `series`.
    pub(crate) check: &'static str,
    pub(crate) text: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exclusion {
    rule: String,
    check: String,
    reason: String,
}

/// Returns the findings that are not excluded, and the exclusions that exclude nothing or give no reason.
pub(crate) fn not_excluded(rules: &Rules) -> Vec<String> {
    let exclusions: Vec<Exclusion> = serde_saphyr::from_str(&read(EXCLUSIONS)).unwrap();
    let findings = findings(rules);
    let hits = |exclusion: &Exclusion, finding: &Finding| {
        exclusion.rule == finding.rule && exclusion.check == finding.check
    };
    let idle = exclusions.iter().filter(|exclusion| {
        exclusion.reason.is_empty() || !findings.iter().any(|finding| hits(exclusion, finding))
    });
    let idle = idle
        .map(|it| format!("{EXCLUSIONS}: {}, {}: excludes nothing, or gives no reason", it.rule, it.check));
    let left = findings.iter().filter(|finding| !exclusions.iter().any(|exclusion| hits(exclusion, finding)));
    left.map(|it| format!("{}: {}: {}", it.rule, it.check, it.text)).chain(idle).collect()
}

pub(crate) fn findings(rules: &Rules) -> Vec<Finding> {
    let mut all = Findings::default();
    all.dashboards();
    let mut names = BTreeSet::new();
    for group in &rules.groups {
        let mut known = Series::exported();
        for rule in &group.rules {
            all.rule = rule.name();
            all.unless(names.insert(rule.name()), "duplicate", "there is another rule of this name");
            let Some(expr) = all.parsed("syntax", &rule.expr) else { continue };
            all.expression(&expr, &known);
            let labels = known.labels(&expr);
            match &rule.record {
                Some(record) => {
                    all.recording(record, rule, group, &known);
                    let mut labels = labels.unwrap_or_default();
                    if selects_a_collection(&expr) {
                        // What reads the recording cannot mix collections.
                        labels.remove(COLLECTION);
                    }
                    known.recorded.insert(record.clone(), labels);
                }
                None => all.alert(rule, &expr, &labels.unwrap_or_default(), group, &known),
            }
        }
        all.rule.clone_from(&group.name);
        let interval = seconds(&group.interval);
        all.unless(
            interval.is_some_and(|it| it <= 300),
            "interval",
            "more than five minutes: series would have gaps",
        );
    }
    all.found
}

// === series ===

struct Series {
    families: BTreeMap<String, &'static Family>,
    /// The recordings of the same group, with their labels.
    recorded: BTreeMap<String, BTreeSet<String>>,
}

impl Series {
    fn exported() -> Self {
        let families = FAMILIES.iter().flat_map(|family| {
            let parts: &[&str] =
                if family.kind == FamilyKind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
            parts.iter().map(|part| (format!("{}{part}", family.name), *family))
        });
        Self { families: families.collect(), recorded: BTreeMap::new() }
    }

    fn has(&self, metric: &str) -> bool {
        self.families.contains_key(metric) || self.recorded.contains_key(metric) || metric == "up"
    }

    fn is_counter(&self, metric: &str) -> bool {
        self.families.get(metric).is_some_and(|family| family.kind != FamilyKind::Gauge)
    }

    /// Returns the labels of a metric, with those of its target.
    fn of_metric(&self, metric: &str) -> BTreeSet<String> {
        if let Some(labels) = self.recorded.get(metric) {
            return labels.clone();
        }
        let target = ["job", "instance"].map(str::to_owned);
        let Some(family) = self.families.get(metric) else { return target.into() };
        let own = family.labels.iter().map(|label| (*label).to_owned());
        let per_account = family.name.starts_with("partner_license_")
            && !family.name.starts_with("partner_license_exporter_");
        own.chain(per_account.then(|| "account".to_owned())).chain(target).collect()
    }

    /// Returns the labels of a result, or none for a number.
    fn labels(&self, expr: &Expr) -> Option<BTreeSet<String>> {
        match expr {
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => None,
            Expr::VectorSelector(VectorSelector { name, .. })
            | Expr::MatrixSelector(MatrixSelector { vs: VectorSelector { name, .. }, .. }) => {
                Some(self.of_metric(name.as_deref().unwrap_or_default()))
            }
            Expr::Subquery(subquery) => self.labels(&subquery.expr),
            Expr::Paren(paren) => self.labels(&paren.expr),
            Expr::Unary(unary) => self.labels(&unary.expr),
            Expr::Call(call) => match call.func.name {
                "time" => None,
                "absent" => Some(BTreeSet::new()),
                "label_replace" => {
                    let [inner, added, ..] = &call.args.args[..] else { return None };
                    let Expr::StringLiteral(added) = &**added else { return None };
                    let inner = self.labels(inner).unwrap_or_default();
                    Some(inner.into_iter().chain([added.val.clone()]).collect())
                }
                _ => call.args.args.iter().find_map(|argument| self.labels(argument)),
            },
            Expr::Aggregate(aggregate) => Some(match &aggregate.modifier {
                Some(LabelModifier::Exclude(without)) => {
                    let inner = self.labels(&aggregate.expr).unwrap_or_default();
                    inner.into_iter().filter(|label| !without.labels.contains(label)).collect()
                }
                by => by.iter().flat_map(|by| by.labels().labels.clone()).collect(),
            }),
            Expr::Binary(binary) => match (self.labels(&binary.lhs), self.labels(&binary.rhs)) {
                (Some(left), Some(right)) if binary.op.id() == T_LOR => {
                    Some(left.union(&right).cloned().collect())
                }
                (Some(left), _) => Some(left),
                (None, right) => right,
            },
        }
    }
}

// === checks ===

#[derive(Default)]
struct Findings {
    rule: String,
    found: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, check: &'static str, text: impl Into<String>) {
        self.found.push(Finding { rule: self.rule.clone(), check, text: text.into() });
    }

    fn unless(&mut self, fine: bool, check: &'static str, text: impl Into<String>) {
        if !fine {
            self.add(check, text);
        }
    }

    /// Checks that the dashboards that rules link to exist, with their variables.
    fn dashboards(&mut self) {
        let files = files("dashboards", ".json").into_iter();
        let found: Vec<Value> =
            files.map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap()).collect();
        for (uid, variables) in DASHBOARDS {
            uid.clone_into(&mut self.rule);
            let names = |list: &Value| -> BTreeSet<String> {
                let variables = list.as_array().into_iter().flatten();
                variables.filter_map(|variable| Some(variable["name"].as_str()?.to_owned())).collect()
            };
            let dashboard = found.iter().find(|dashboard| dashboard["uid"] == uid);
            let names =
                dashboard.map(|dashboard| names(&dashboard["templating"]["list"])).unwrap_or_default();
            let fine = variables.iter().all(|variable| names.contains(*variable));
            self.unless(
                fine,
                "dashboard",
                format!("there is none in dashboards/ with the variables {variables:?}"),
            );
        }
    }

    fn parsed(&mut self, check: &'static str, text: &str) -> Option<Expr> {
        parser::parse(text).map_err(|error| self.add(check, error)).ok()
    }

    /// Checks an expression of a rule or an annotation.
    fn expression(&mut self, expr: &Expr, known: &Series) {
        for selector in selectors(expr) {
            let metric = metric(selector);
            self.unless(
                known.has(metric),
                "series",
                format!("{metric} is neither exported nor recorded above"),
            );
            let labels = known.of_metric(metric);
            for label in selector.matchers.matchers.iter().map(|matcher| &matcher.name) {
                self.unless(labels.contains(label), "label", format!("{metric} has no label {label}"));
                let target = ["job", "instance"].contains(&label.as_str());
                self.unless(!target, "selector", format!("{label} differs from site to site"));
            }
        }
        let mut inside_rate = BTreeSet::new();
        for node in nodes(expr) {
            match node {
                Expr::Call(call) if ["increase", "rate"].contains(&call.func.name) => {
                    let function = call.func.name;
                    for metric in call.args.args.iter().flat_map(|argument| selectors(argument)).map(metric) {
                        self.unless(
                            known.is_counter(metric),
                            "counter",
                            format!("{function} of {metric}, a gauge"),
                        );
                        inside_rate.insert(metric);
                    }
                }
                Expr::Aggregate(aggregate) => {
                    let labels = known.labels(&aggregate.expr).unwrap_or_default();
                    for label in aggregate.modifier.iter().flat_map(|modifier| &modifier.labels().labels) {
                        self.unless(
                            labels.contains(label),
                            "label",
                            format!("{label} is not a label of the series that {node} aggregates"),
                        );
                    }
                    let kept = known.labels(node).unwrap_or_default();
                    self.collection(kept.contains(COLLECTION), &aggregate.expr, known);
                }
                Expr::Binary(binary) => self.matching(binary, known),
                _ => {}
            }
            if let Some(metric) = selector(node).map(metric) {
                let fine = !known.is_counter(metric) || inside_rate.contains(metric);
                self.unless(
                    fine,
                    "counter",
                    format!("{metric} is a counter, of which only the increase has a meaning"),
                );
            }
            let fine = look_back(node) <= RETENTION;
            self.unless(fine, "retention", format!("{node} looks further back than the retention"));
        }
    }

    /// Checks that series of both sides can match.
    fn matching(&mut self, binary: &BinaryExpr, known: &Series) {
        let (Some(left), Some(right)) = (known.labels(&binary.lhs), known.labels(&binary.rhs)) else {
            return;
        };
        match binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()) {
            Some(matching) => {
                let on = &matching.labels().labels;
                self.collection(on.contains(&COLLECTION.to_owned()), &binary.rhs, known);
                for label in on {
                    let fine = left.contains(label) && right.contains(label);
                    self.unless(fine, "label", format!("{label} is not on both sides of {binary}"));
                }
            }
            None if binary.op.id() == T_LOR => {}
            None => self.unless(left == right, "matching", format!("no series can match in {binary}")),
        }
    }

    /// Checks that an expression whose label `collection` is not `kept` selects one collection: the health of one
    /// collection says nothing about another.
    fn collection(&mut self, kept: bool, expr: &Expr, known: &Series) {
        let has_label = known.labels(expr).is_some_and(|labels| labels.contains(COLLECTION));
        let fine = kept || !has_label || selects_a_collection(expr);
        self.unless(fine, COLLECTION, format!("{expr} mixes the collections of an account"));
    }

    fn recording(&mut self, record: &str, rule: &Rule, group: &Group, known: &Series) {
        let parts: Vec<_> = record.split(':').collect();
        let fine = parts.len() == 3 && known.families.contains_key(parts[1]);
        self.unless(fine, "name", "a recording is called level:metric:operation");
        let users = group.rules.iter().skip_while(|other| other.record != rule.record).skip(1);
        let mut texts = users.flat_map(|other| [other.expr.as_str(), other.annotation("description")]);
        self.unless(texts.any(|text| text.contains(record)), "dependency", "no rule of its group uses it");
        self.unless(rule.labels.is_empty(), "labels", "a recording has the labels of its expression");
    }

    fn alert(&mut self, rule: &Rule, expr: &Expr, labels: &BTreeSet<String>, group: &Group, known: &Series) {
        let name = rule.base_name();
        self.unless(name.starts_with("PartnerLicense"), "name", "alerts begin with PartnerLicense");
        let only = rule.labels.keys().collect::<Vec<_>>() == ["severity"];
        let severity = ["critical", "warning"].contains(&rule.severity());
        self.unless(only && severity, "labels", "the one label is severity: critical or warning");
        let mut found: BTreeSet<_> = rule.annotations.keys().map(String::as_str).collect();
        let links = found.remove(NUMBERS.0);
        self.unless(
            !links || rule.annotation(NUMBERS.0) == NUMBERS.1,
            "annotations",
            "another page of numbers",
        );
        self.unless(found == ANNOTATIONS.into(), "annotations", format!("has {found:?}"));

        let compares = |node: &Expr| match node {
            Expr::Binary(binary) => binary.op.is_comparison_operator(),
            Expr::Call(call) => call.func.name == "absent",
            _ => false,
        };
        self.unless(
            nodes(expr).into_iter().any(compares),
            "comparison",
            "has no comparison, and would always fire",
        );
        let calls = |function: &str| {
            nodes(expr).into_iter().any(|node| matches!(node, Expr::Call(call) if call.func.name == function))
        };
        let waits = rule.r#for.as_deref().and_then(seconds).unwrap_or(0);
        let interval = seconds(&group.interval).unwrap_or(0);
        self.unless(!calls("absent") || waits >= 2 * interval, "absent", "one missed scrape would fire");
        self.unless(
            !calls("avg_over_time") || waits <= 3600,
            "for",
            "avg_over_time needs no for: above an hour",
        );
        let held = rule.keep_firing_for.as_deref().map_or(Some(u64::MAX), seconds);
        self.unless(
            held.is_some_and(|held| held > 86_400),
            "hold",
            "a daily value needs keep_firing_for: above a day",
        );

        let summary = rule.annotation("summary");
        self.unless(!summary.contains("{{"), "summary", "must not contain a template");
        for text in [summary, rule.annotation("description")] {
            let words: String =
                text.split("{{").map(|part| part.rsplit("}}").next().unwrap_or_default()).collect();
            self.unless(words.trim_end().ends_with('.'), "sentence", text);
        }
        for annotation in ANNOTATIONS {
            self.annotation(rule.annotation(annotation), labels, known);
        }
        self.seconds_only(rule, expr);
        self.links(rule, name);
    }

    /// Checks the queries and labels in an annotation.
    fn annotation(&mut self, text: &str, labels: &BTreeSet<String>, known: &Series) {
        for (_, query) in queries(text) {
            let query = without_verbs(query);
            if let Some(expr) = self.parsed("template", &query) {
                self.expression(&expr, known);
            }
        }
        for rest in text.split("$labels.").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let label = &rest[..end];
            self.unless(labels.contains(label), "template", format!("the alert has no label {label}"));
        }
    }

    /// Checks that `humanizeDuration` formats seconds.
    fn seconds_only(&mut self, rule: &Rule, expr: &Expr) {
        let text = rule.annotation("description");
        let are_seconds = |expr: &Expr| selectors(expr).map(metric).all(|metric| metric.contains("_seconds"));
        for action in text.split("{{").skip(1).filter(|action| action.contains("humanizeDuration")) {
            let fine = if action.contains("$value") {
                are_seconds(expr)
            } else {
                let before = text.split(action).next().unwrap_or_default();
                let query = queries(before).pop().map(|(_, query)| without_verbs(query));
                query.and_then(|query| parser::parse(&query).ok()).is_some_and(|expr| are_seconds(&expr))
            };
            self.unless(fine, "unit", format!("{action} is not about seconds"));
        }
    }

    fn links(&mut self, rule: &Rule, name: &str) {
        let runbook = format!("docs/runbooks/{name}.md");
        self.unless(rule.annotation("runbook_url") == runbook, "runbook", format!("its page is {runbook}"));
        for url in branches(rule.annotation("dashboard_url")) {
            self.dashboard_link(&url);
        }
    }

    fn dashboard_link(&mut self, url: &str) {
        let uid = url.strip_prefix("/d/").unwrap_or_default();
        let uid = uid.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default();
        let dashboard = DASHBOARDS.iter().find(|(known, _)| *known == uid);
        self.unless(dashboard.is_some(), "dashboard", format!("{url} leads to no dashboard"));
        let variables = dashboard.map_or(&[][..], |(_, variables)| variables);
        for rest in url.split("var-").skip(1) {
            let (variable, value) = rest.split_once('=').unwrap_or_default();
            let fine = variables.contains(&variable) && value.contains("| urlquery }}");
            self.unless(fine, "dashboard", format!("{variable}: an unknown variable, or not escaped"));
        }
    }
}

/// Returns both results of a template that ends in a condition with an alternative, or otherwise the template.
fn branches(template: &str) -> Vec<String> {
    let parts = || {
        let (before, rest) = template.split_once("{{ if ")?;
        let (then, otherwise) = rest.split_once("}}")?.1.split_once("{{ else }}")?;
        Some([then, otherwise.strip_suffix("{{ end }}")?].map(|branch| [before, branch].concat()))
    };
    parts().map_or_else(|| vec![template.to_owned()], Vec::from)
}

/// Returns whether a selector of an expression names a collection.
fn selects_a_collection(expr: &Expr) -> bool {
    selectors(expr).any(|it| it.matchers.matchers.iter().any(|of| of.name == COLLECTION))
}

/// Returns the name of the metric that a selector selects.
fn metric(selector: &VectorSelector) -> &str {
    selector.name.as_deref().unwrap_or_default()
}

/// Returns how far back a range and its offset reach together, in seconds.
fn look_back(node: &Expr) -> u64 {
    let (range, offset) = match node {
        Expr::VectorSelector(selector) => (Duration::ZERO, &selector.offset),
        Expr::MatrixSelector(matrix) => (matrix.range, &matrix.vs.offset),
        Expr::Subquery(subquery) => (subquery.range, &subquery.offset),
        _ => return 0,
    };
    let by = match offset {
        Some(Offset::Pos(by)) => *by,
        Some(Offset::Neg(_)) | None => Duration::ZERO,
    };
    (range + by).as_secs()
}

/// Returns the seconds of a duration in a rule or a group.
fn seconds(duration: &str) -> Option<u64> {
    parse_duration(duration).ok().map(|duration| duration.as_secs())
}

/// Faults to plant in the shipped rules: the check that must find the fault, the text to replace, and its replacement.
pub(crate) const SEEDS: &[(&str, &str, &str)] = &[
    ("syntax", "expr: collection:partner_license_rows:max == 0", "expr: max by (account"),
    ("series", "partner_license_rows[15m]", "partner_license_usage_rows[15m]"),
    ("series", "row:partner_license_usage_percent:max < row", "row:partner_license_usage_percent:min < row"),
    (
        "label",
        "max by (account, collection) (\n            last_over_time(partner_license_rows",
        "max by (tenant, collection) (\n            last_over_time(partner_license_rows",
    ),
    ("label", "seconds{account=%q}", "seconds{tenant=%q}"),
    (
        "label",
        "and on (account) collection:partner_license_rows:max",
        "and on (endpoint) collection:partner_license_rows:max",
    ),
    (
        "matching",
        "and on (account) collection:partner_license_rows:max",
        "and collection:partner_license_rows:max",
    ),
    (
        "collection",
        "max by (account, collection) (last_over_time(partner_license_up",
        "max by (account) (last_over_time(partner_license_up",
    ),
    (
        "collection",
        "collection:partner_license_rows:max{collection=\"usage\"} > 0",
        "collection:partner_license_rows:max > 0",
    ),
    (
        "collection",
        "max by (collection) (partner_license_poll_interval_seconds",
        "max(partner_license_poll_interval_seconds",
    ),
    (
        "selector",
        "absent(partner_license_exporter_build_info)",
        "absent(partner_license_exporter_build_info{job=\"licences\"})",
    ),
    (
        "counter",
        "increase(partner_license_api_throttled_total[7h])",
        "last_over_time(partner_license_api_throttled_total[7h])",
    ),
    ("counter", "max_over_time(partner_license_up[1d])", "increase(partner_license_up[1d])"),
    ("retention", "[1d] offset 1w)", "[1d] offset 15d)"),
    ("interval", "interval: 2m", "interval: 10m"),
    ("duplicate", "severity: critical", "severity: warning"),
    ("labels", "severity: critical", "severity: page"),
    ("labels", "severity: critical", "severity: critical\n          value: '{{ $value }}'"),
    ("annotations", "          runbook_url: docs/runbooks/PartnerLicenseUsageLow.md\n", ""),
    ("annotations", "numbers_url: docs/concepts/the-numbers.md", "numbers_url: docs/concepts/numbers.md"),
    (
        "comparison",
        "min by (account) (last_over_time(partner_license_mfa_compliant[15m])) == 0",
        "min by (account) (last_over_time(partner_license_mfa_compliant[15m]))",
    ),
    (
        "absent",
        "        for: 15m\n        labels:\n          severity: critical\n        annotations:\n          summary: The licence usage exporter is down.",
        "        for: 1m\n        labels:\n          severity: critical\n        annotations:\n          summary: The licence usage exporter is down.",
    ),
    (
        "for",
        "        keep_firing_for: 2d\n        labels:\n          severity: warning\n        annotations:\n          summary: Licence usage has dropped sharply",
        "        for: 6h\n        labels:\n          severity: warning\n        annotations:\n          summary: Licence usage has dropped sharply",
    ),
    ("hold", "keep_firing_for: 2d", "keep_firing_for: 20h"),
    (
        "summary",
        "summary: Polls of Partner Center are failing.",
        "summary: Polls of {{ $labels.account }} fail.",
    ),
    (
        "sentence",
        "summary: Polls of Partner Center are failing.",
        "summary: Polls of Partner Center are failing",
    ),
    ("template", "{{ $labels.endpoint }}", "{{ $labels.workload }}"),
    (
        "template",
        "partner_license_poll_interval_seconds{account=%q})\"",
        "partner_license_poll_interval_seconds{account=%q}\"",
    ),
    (
        "unit",
        "max(partner_license_poll_interval_seconds{account=%q,collection=%q})",
        "max(partner_license_rows{account=%q,collection=%q})",
    ),
    (
        "runbook",
        "runbook_url: docs/runbooks/PartnerLicenseUsageDropped.md",
        "runbook_url: docs/runbooks/PartnerLicenseUsageLow.md",
    ),
    ("dashboard", "/d/partner-license-detail?var-service", "/d/partner-license-details?var-service"),
    ("dashboard", "var-workload={{ $labels.workload | urlquery }}", "var-workload={{ $labels.workload }}"),
    ("dashboard", "?var-account={{ . | urlquery }}", "?var-tenant={{ . | urlquery }}"),
    ("dashboard", "{{ else }}detail?var-service", "{{ else }}details?var-service"),
    ("dashboard", "var-customer={{ $labels.customer", "var-client={{ $labels.customer"),
    ("template", "\"collection\", \"customers\", \"\", \"\"", "\"kind\", \"customers\", \"\", \"\""),
    ("name", "alert: PartnerLicenseApiThrottled", "alert: ApiThrottled"),
    ("name", "record: row:partner_license_usage_percent:headroom", "record: usage_headroom"),
    ("dependency", " > row:partner_license_usage_processed_timestamp_seconds:age_limit", " > 1209600"),
];
