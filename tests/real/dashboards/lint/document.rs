//! The rules about the JSON of a dashboard.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Finding;
use crate::dashboards::grafana::{BY_NAME, label_values, query_result};
use crate::dashboards::model::{Dashboard, Panel, list, pretty, text, texts};

pub(crate) const RULES: &[&str] = &[
    "classic-json-rule",
    "identity-rule",
    "layout-rule",
    "link-rule",
    "uneditable-dashboard",
    "template-datasource-rule",
    "template-job-rule",
    "template-instance-rule",
    "template-label-promql-rule",
    "template-on-time-change-reload-rule",
    "template-shape-rule",
    "template-chain-rule",
    "panel-datasource-rule",
    "panel-title-description-rule",
    "panel-units-rule",
    "panel-no-targets-rule",
    "panel-names-rule",
    "panel-truth-rule",
];

/// The variables of rows of usage; each depends on those before it. Links from alerts rely on their names.
const CHAIN: [&str; 4] = ["account", "service", "workload", "channel"];
const DATA_SOURCE: &str = "${datasource}";

pub(crate) fn lint(dashboard: &Dashboard, all: &[Dashboard]) -> Vec<Finding> {
    let mut lint = Lint { title: dashboard.title(), panel: None, findings: Vec::new() };
    lint.classic_json(dashboard);
    lint.identity(dashboard, all);
    lint.layout(dashboard);
    lint.links(dashboard, all);
    lint.templates(dashboard);
    for panel in dashboard.panels() {
        lint.panel = Some(panel.title());
        lint.panel_rules(panel);
    }
    lint.findings
}

/// The findings in the dashboard with this title, and the panel that is being checked.
struct Lint<'a> {
    title: &'a str,
    panel: Option<&'a str>,
    findings: Vec<Finding>,
}

impl Lint<'_> {
    fn found(&mut self, rule: &'static str, message: impl Into<String>) {
        debug_assert!(RULES.contains(&rule), "{rule} is not listed");
        self.findings.push(Finding {
            rule,
            dashboard: self.title.to_owned(),
            panel: self.panel.map(str::to_owned),
            target: None,
            message: message.into(),
        });
    }

    fn demand(&mut self, rule: &'static str, condition: bool, message: impl Into<String>) {
        if !condition {
            self.found(rule, message);
        }
    }

    /// Checks that the dashboard can be imported by hand and provisioned: it has neither Grafana 13's new model nor
    /// inputs that only the import wizard fills in.
    fn classic_json(&mut self, dashboard: &Dashboard) {
        const RULE: &str = "classic-json-rule";
        const FOREIGN: [&str; 9] = [
            "elements",
            "layout",
            "apiVersion",
            "kind",
            "spec",
            "id",
            "__inputs",
            "__requires",
            "__elements",
        ];
        for key in FOREIGN.into_iter().filter(|key| dashboard.json.get(key).is_some()) {
            self.found(RULE, format!("{key} does not belong in a classic dashboard"));
        }
        for key in ["uid", "title", "description", "panels", "templating", "time"] {
            self.demand(RULE, dashboard.json.get(key).is_some(), format!("{key} is missing"));
        }
        let version = dashboard.json["schemaVersion"].as_u64().unwrap_or_default();
        self.demand(RULE, (39..=42).contains(&version), format!("schemaVersion is {version}, not 39 to 42"));
        self.demand(RULE, dashboard.json["version"] == 1, "version is not 1");
        for string in texts(&dashboard.json).into_iter().filter(|text| text.contains("${DS_")) {
            self.found(RULE, format!("{string}: only the import wizard replaces that"));
        }
        let as_written = dashboard.text == pretty(&dashboard.json);
        self.demand(RULE, as_written, "not formatted as serde_json and jq do, with an indent of two spaces");
    }

    fn identity(&mut self, dashboard: &Dashboard, all: &[Dashboard]) {
        const RULE: &str = "identity-rule";
        let uid = dashboard.uid();
        self.demand(
            RULE,
            (8..=40).contains(&uid.len()),
            format!("a uid has 8 to 40 characters, not {uid:?}"),
        );
        self.demand(RULE, dashboard.file == format!("{uid}.json"), format!("{uid} is in {}", dashboard.file));
        for (what, of) in [("uid", Dashboard::uid as fn(&Dashboard) -> &str), ("title", Dashboard::title)] {
            let same = all.iter().filter(|other| of(other) == of(dashboard)).count();
            self.demand(RULE, same == 1, format!("{what} {:?} is not unique", of(dashboard)));
        }
        let tags = &dashboard.json["tags"];
        self.demand(RULE, tags == &serde_json::json!(["partner-license"]), format!("the tags are {tags}"));
    }

    fn layout(&mut self, dashboard: &Dashboard) {
        const RULE: &str = "layout-rule";
        let mut ids = BTreeSet::new();
        let mut taken = BTreeMap::new();
        for panel in list(&dashboard.json["panels"]) {
            let title = text(&panel["title"]);
            self.demand(RULE, ids.insert(panel["id"].as_u64()), format!("{title}: the id is not unique"));
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64());
            let (Some(x), Some(y), Some(w), Some(h)) = (x, y, w, h) else {
                self.found(RULE, format!("{title} has no position"));
                continue;
            };
            self.demand(RULE, x + w <= 24, format!("{title} exceeds the width of the page"));
            let cells = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
            let overlapped: BTreeSet<&str> = cells.filter_map(|cell| taken.insert(cell, title)).collect();
            self.demand(RULE, overlapped.is_empty(), format!("{title} overlaps {overlapped:?}"));
        }
    }

    /// Checks that the dashboard links to the others by tag, and that data links lead to existing dashboards and
    /// variables.
    fn links(&mut self, dashboard: &Dashboard, all: &[Dashboard]) {
        const RULE: &str = "link-rule";
        let by_tag = |link: &Value| {
            link["type"] == "dashboards"
                && link["tags"] == serde_json::json!(["partner-license"])
                && link["includeVars"] == true
                && link["keepTime"] == true
        };
        let linked = list(&dashboard.json["links"]).iter().any(by_tag);
        self.demand(RULE, linked, "no link to the other dashboards by tag");
        for url in texts(&dashboard.json).into_iter().filter(|text| text.starts_with("/d/")) {
            let (path, query) = url.split_once('?').unwrap_or((url, ""));
            let Some(target) = all.iter().find(|other| path == format!("/d/{}", other.uid())) else {
                self.found(RULE, format!("there is no {path}"));
                continue;
            };
            self.demand(
                RULE,
                query.contains("${__url_time_range}"),
                format!("the link to {path} does not keep the time range"),
            );
            self.demand(
                RULE,
                query.contains("${datasource:queryparam}"),
                format!("the link to {path} does not keep the data source"),
            );
            let variables = query.split('&').filter_map(|part| part.strip_prefix("var-")?.split_once('='));
            for (name, value) in variables {
                self.demand(RULE, target.variable(name).is_some(), format!("{path} has no variable {name}"));
                let encoded = value.ends_with(":percentencode}");
                self.demand(RULE, encoded, format!("{value} is not percent-encoded"));
            }
        }
    }

    fn templates(&mut self, dashboard: &Dashboard) {
        self.demand("uneditable-dashboard", dashboard.json["editable"] == false, "editable is not false");
        let sources = dashboard.variables().iter().filter(|variable| variable["type"] == "datasource");
        let sources: Vec<_> =
            sources.map(|source| [&source["name"], &source["label"], &source["query"]]).collect();
        let right = sources == [["datasource", "Data source", "prometheus"]];
        self.demand("template-datasource-rule", right, format!("data sources are {sources:?}"));
        for (rule, name) in [("template-job-rule", "job"), ("template-instance-rule", "instance")] {
            match dashboard.variable(name).map(|variable| &variable["allValue"]) {
                None => self.found(rule, format!("there is no variable {name}")),
                Some(all) => self.demand(rule, all == ".+", format!("All of {name} is {all}, not .+")),
            }
        }
        for variable in dashboard.variables().iter().filter(|variable| variable["type"] != "datasource") {
            let name = text(&variable["name"]);
            let query = text(&variable["query"]["query"]);
            let label = name.get(..1).unwrap_or_default().to_uppercase() + name.get(1..).unwrap_or_default();
            let rule = "template-shape-rule";
            self.demand(rule, variable["label"] == label, format!("{name} is not labelled {label}"));
            self.demand(rule, variable["multi"] == true, format!("{name} takes one value only"));
            self.demand(rule, variable["includeAll"] == true, format!("{name} has no All"));
            let rule = "template-label-promql-rule";
            let is_list = label_values(query).is_some();
            let is_named = query_result(query).is_some() && variable["regex"] == BY_NAME;
            self.demand(rule, is_list || is_named, format!("{name}: {query} is not label_values"));
            self.demand(
                rule,
                variable["definition"] == query,
                format!("{name}: definition and query differ"),
            );
            let rule = "template-on-time-change-reload-rule";
            self.demand(rule, variable["refresh"] == 2, format!("{name} does not follow the time range"));
            let rule = "panel-datasource-rule";
            self.demand(
                rule,
                is_templated(&variable["datasource"]),
                format!("{name} has a data source of its own"),
            );
            self.demand("template-chain-rule", is_used(dashboard, name), format!("nothing uses {name}"));
        }
        self.chain(dashboard);
    }

    /// Checks that the variables of rows of usage exist in order and that each is filtered by those before it; and
    /// that `All` includes series without the label, because an account without a name has none.
    fn chain(&mut self, dashboard: &Dashboard) {
        const RULE: &str = "template-chain-rule";
        let has_rows = dashboard.variable("service").is_some();
        let chain: &[&str] = if has_rows { &CHAIN } else { &CHAIN[..1] };
        let positions: Vec<_> = chain
            .iter()
            .map(|name| dashboard.variables().iter().position(|variable| variable["name"] == *name))
            .collect();
        let in_order = positions.iter().all(Option::is_some) && positions.is_sorted();
        self.demand(RULE, in_order, format!("{chain:?} do not all exist in this order"));
        for (n, name) in chain.iter().enumerate() {
            let Some(variable) = dashboard.variable(name) else { continue };
            let all = &variable["allValue"];
            self.demand(
                RULE,
                all == ".*",
                format!("All of {name} is {all}, which excludes series without the label"),
            );
            let query = text(&variable["query"]["query"]);
            for before in &chain[..n] {
                let matcher = format!("{before}=~\"${before}\"");
                self.demand(RULE, query.contains(&matcher), format!("{name} does not follow {before}"));
            }
        }
    }

    fn panel_rules(&mut self, panel: Panel<'_>) {
        let rule = "panel-datasource-rule";
        self.demand(rule, is_templated(&panel.0["datasource"]), "the panel has a data source of its own");
        for target in panel.targets() {
            let templated = is_templated(&target["datasource"]);
            self.demand(rule, templated, format!("target {} has a data source of its own", target["refId"]));
        }
        for part in ["title", "description"] {
            let there = !text(&panel.0[part]).trim().is_empty();
            self.demand("panel-title-description-rule", there, format!("there is no {part}"));
        }
        let no_targets = panel.targets().is_empty();
        self.demand("panel-no-targets-rule", !no_targets, "there is no query");

        let defaults = &panel.0["fieldConfig"]["defaults"];
        let (unit, mapped) = (text(&defaults["unit"]), !list(&defaults["mappings"]).is_empty());
        let known = mapped || !(unit.is_empty() || unit.contains(':'));
        self.demand("panel-units-rule", known, format!("{unit:?} is not a unit"));

        // The columns and targets that an override names must exist.
        let columns = names_in(panel);
        let references: Vec<_> = panel.targets().iter().map(|target| &target["refId"]).collect();
        let by_name = list(&panel.0["options"]["sortBy"]).iter().map(|sort| &sort["displayName"]);
        let matchers = panel.overrides().iter().map(|of| &of["matcher"]);
        let (by_reference, more): (Vec<_>, Vec<_>) =
            matchers.partition(|matcher| matcher["id"] == "byFrameRefID");
        let named = by_name.chain(more.iter().map(|matcher| &matcher["options"]));
        for name in named.filter(|name| !columns.contains(text(name))) {
            self.demand("panel-names-rule", false, format!("there is no column {name}"));
        }
        for matcher in by_reference {
            let there = references.contains(&&matcher["options"]);
            self.demand("panel-names-rule", there, format!("there is no target {}", matcher["options"]));
        }
        for message in misleading(panel) {
            self.demand("panel-truth-rule", false, message);
        }
    }
}

fn is_templated(source: &Value) -> bool {
    *source == serde_json::json!({ "type": "prometheus", "uid": DATA_SOURCE })
}

fn is_used(dashboard: &Dashboard, name: &str) -> bool {
    let (plain, braced) = (format!("${name}"), format!("${{{name}"));
    let in_panels = texts(&dashboard.json["panels"]).into_iter();
    let variables = dashboard.variables().iter().map(|variable| text(&variable["query"]["query"]));
    in_panels.chain(variables).any(|text| text.contains(&plain) || text.contains(&braced))
}

/// The columns of a table after its transformations.
fn names_in(panel: Panel<'_>) -> BTreeSet<&str> {
    let organize = panel.transformations().iter().find(|step| step["id"] == "organize");
    let renamed = organize.and_then(|step| step["options"]["renameByName"].as_object());
    renamed.into_iter().flat_map(|names| names.values().map(text)).collect()
}

/// Ways in which a panel misleads its readers.
fn misleading(panel: Panel<'_>) -> Vec<String> {
    let mut messages = Vec::new();
    let defaults = &panel.0["fieldConfig"]["defaults"];
    let custom = &defaults["custom"];
    if panel.kind() == "timeseries" {
        let interpolated = custom["drawStyle"] == "line" && custom["lineInterpolation"] != "stepAfter";
        // An age does grow linearly.
        let is_age = panel.targets().iter().any(|target| text(&target["expr"]).contains("time() -"));
        if interpolated && !is_age {
            messages.push(format!(
                "lines are {}: values between two polls are unknown",
                custom["lineInterpolation"]
            ));
        }
        if custom["spanNulls"] != false {
            messages.push("gaps are bridged".to_owned());
        }
    }
    let overrides = panel.overrides().iter().flat_map(|of| list(&of["properties"]));
    let of_overrides =
        overrides.filter(|property| property["id"] == "thresholds").map(|property| &property["value"]);
    let unit = text(&defaults["unit"]);
    let steps = |thresholds: &Value| list(&thresholds["steps"]).len();
    if unit == "percent" && steps(&defaults["thresholds"]) > 1 {
        messages.push("usage is coloured by thresholds that are not those of the row".to_owned());
    }
    if panel.kind() != "table" && unit == "percent" && of_overrides.map(steps).any(|steps| steps > 1) {
        messages.push("usage is coloured by thresholds that are not those of the row".to_owned());
    }
    if defaults["noValue"] == "0" {
        messages.push("missing data are shown as 0".to_owned());
    }
    messages
}
