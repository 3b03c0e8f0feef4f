//! Faults to plant in the dashboards, each with the finding that a check must report, to test the checks themselves.

use serde_json::{Value, json};

use crate::dashboards::model::Dashboard;

/// A fault to plant in one of the dashboards.
pub(crate) struct Seed {
    pub(crate) name: &'static str,
    /// Text that the finding must contain.
    pub(crate) found: &'static str,
    uid: &'static str,
    fault: fn(&mut Value),
}

impl Seed {
    /// Returns all dashboards, one of them with the fault.
    pub(crate) fn plant(&self, dashboards: &[Dashboard]) -> Vec<Dashboard> {
        let plant = |dashboard: &Dashboard| {
            if dashboard.uid() != self.uid {
                return dashboard.clone();
            }
            let mut json = dashboard.json.clone();
            (self.fault)(&mut json);
            assert_ne!(json, dashboard.json, "{}: the seed is not in the dashboard", self.name);
            dashboard.with(json)
        };
        dashboards.iter().map(plant).collect()
    }

    /// Returns only the dashboard with the fault.
    pub(crate) fn planted(&self, dashboards: &[Dashboard]) -> Dashboard {
        let mut all = self.plant(dashboards);
        let faulty = dashboards.iter().position(|dashboard| dashboard.uid() == self.uid).unwrap();
        all.swap_remove(faulty)
    }
}

const OVERVIEW: &str = "partner-license-overview";
const DETAIL: &str = "partner-license-detail";
const CUSTOMERS: &str = "partner-license-customers";
const EXPORTER: &str = "partner-license-exporter";

const fn seed(name: &'static str, found: &'static str, uid: &'static str, fault: fn(&mut Value)) -> Seed {
    Seed { name, found, uid, fault }
}

/// Faults that the JSON of a dashboard shows.
pub(crate) const DOCUMENTS: &[Seed] = &[
    seed("an export of Grafana's new model", "classic-json-rule", OVERVIEW, |json| {
        *json = json!({ "apiVersion": "dashboard.grafana.app/v2", "kind": "Dashboard", "spec": { "elements": {} } });
    }),
    seed("an export for the import wizard", "__inputs", OVERVIEW, |json| {
        json["__inputs"] = json!([{ "name": "DS_PROMETHEUS", "type": "datasource" }]);
    }),
    seed("a wizard's data source", "${DS_PROMETHEUS}", DETAIL, |json| {
        json["panels"][0]["datasource"]["uid"] = json!("${DS_PROMETHEUS}");
    }),
    seed("the id of a database", "id does not belong", EXPORTER, |json| json["id"] = json!(38)),
    seed("a hard-coded data source", "panel-datasource-rule", DETAIL, |json| {
        json["panels"][1]["targets"][0]["datasource"]["uid"] = json!("PBFA97CFB590B2093");
    }),
    seed("a variable's hard-coded data source", "panel-datasource-rule", OVERVIEW, |json| {
        variable(json, "service")["datasource"] = json!({ "type": "prometheus", "uid": "P1" });
    }),
    seed("an old schema", "schemaVersion is 16", OVERVIEW, |json| json["schemaVersion"] = json!(16)),
    seed("another uid", "identity-rule", OVERVIEW, |json| json["uid"] = json!("abcdefgh")),
    seed("a missing tag", "identity-rule", DETAIL, |json| json["tags"] = json!([])),
    seed("a missing unit", "panel-units-rule", DETAIL, |json| {
        remove(&mut panel(json, "Usage and threshold")["fieldConfig"]["defaults"], "unit");
    }),
    seed("a missing description", "panel-title-description-rule", EXPORTER, |json| {
        panel(json, "Memory")["description"] = json!("");
    }),
    seed("a panel without a query", "panel-no-targets-rule", EXPORTER, |json| {
        panel(json, "Memory")["targets"] = json!([]);
    }),
    seed("overlapping panels", "layout-rule", OVERVIEW, |json| {
        json["panels"][1]["gridPos"]["x"] = json!(0);
    }),
    seed("a duplicate id", "layout-rule", OVERVIEW, |json| json["panels"][1]["id"] = json!(1)),
    seed("a link to an unknown dashboard", "there is no /d/partner-license-details", OVERVIEW, |json| {
        replace(json, "/d/partner-license-detail?", "/d/partner-license-details?");
    }),
    seed("a link with an unknown variable", "no variable product", OVERVIEW, |json| {
        replace(json, "var-workload=", "var-product=");
    }),
    seed("a link without percent-encoding", "is not percent-encoded", OVERVIEW, |json| {
        replace(json, "fields.workload:percentencode}", "fields.workload}");
    }),
    seed("no link by tag", "link-rule", EXPORTER, |json| json["links"] = json!([])),
    seed("an editable dashboard", "uneditable-dashboard", DETAIL, |json| json["editable"] = json!(true)),
    seed("no data source variable", "template-datasource-rule", DETAIL, |json| {
        json["templating"]["list"].as_array_mut().unwrap().remove(0);
    }),
    seed("a variable for a single job", "job takes one value only", EXPORTER, |json| {
        variable(json, "job")["multi"] = json!(false);
    }),
    seed("an unlabelled instance", "instance is not labelled Instance", EXPORTER, |json| {
        variable(json, "instance")["label"] = json!("");
    }),
    seed("a variable whose query is not label_values", "template-label-promql-rule", OVERVIEW, |json| {
        variable(json, "channel")["query"]["query"] = json!("query_result(up)");
    }),
    seed(
        "a variable that does not follow the time range",
        "template-on-time-change-reload-rule",
        OVERVIEW,
        |json| {
            variable(json, "channel")["refresh"] = json!(1);
        },
    ),
    seed("customers listed by id", "customer: query_result(", CUSTOMERS, |json| {
        variable(json, "customer")["regex"] = json!("/customer=\"(.+)\"/");
    }),
    seed("an All that excludes accounts without a name", "template-chain-rule", OVERVIEW, |json| {
        variable(json, "account")["allValue"] = json!(".+");
    }),
    seed("a broken chain", "workload does not follow service", DETAIL, |json| {
        let query = json!("label_values(partner_license_usage_percent{account=~\"$account\"}, workload)");
        variable(json, "workload")["query"]["query"] = query.clone();
        variable(json, "workload")["definition"] = query;
    }),
    seed("a colour for an unknown column", "there is no column \"Headrom\"", OVERVIEW, |json| {
        replace(&mut panel(json, "Every row")["fieldConfig"], "Headroom", "Headrom");
    }),
    seed("a colour for an unknown target", "there is no target \"E\"", OVERVIEW, |json| {
        panel(json, "Usage now, by distance from the threshold")["fieldConfig"]["overrides"][0]["matcher"]
            ["options"] = json!("E");
    }),
    seed("interpolated usage", "values between two polls are unknown", DETAIL, |json| {
        panel(json, "Usage and threshold")["fieldConfig"]["defaults"]["custom"]["lineInterpolation"] =
            json!("linear");
    }),
    seed("bridged gaps", "gaps are bridged", OVERVIEW, |json| {
        panel(json, "Usage over time")["fieldConfig"]["defaults"]["custom"]["spanNulls"] = json!(true);
    }),
    seed(
        "thresholds that are not those of the row",
        "thresholds that are not those of the row",
        OVERVIEW,
        |json| {
            panel(json, "Usage now, by distance from the threshold")["fieldConfig"]["defaults"]["thresholds"]
                ["steps"] = json!([{ "color": "red", "value": null }, { "color": "green", "value": 40 }]);
        },
    ),
    seed("missing data shown as 0", "missing data are shown as 0", OVERVIEW, |json| {
        panel(json, "Alerts firing")["fieldConfig"]["defaults"]["noValue"] = json!("0");
    }),
];

/// Faults that the syntax tree of a query shows.
pub(crate) const QUERIES: &[Seed] = &[
    seed("half a query", "target-promql-rule", DETAIL, |json| {
        expression(json, "Headroom", 0, |query| query.trim_end_matches(')').to_owned());
    }),
    seed("a renamed metric", "nothing exposes \"partner_license_usage_percentage\"", DETAIL, |json| {
        expression(json, "Usage and threshold", 0, |query| {
            query.replace("usage_percent{", "usage_percentage{")
        });
    }),
    seed("a recording rule", "nothing exposes \"workload:partner_license_usage:max\"", OVERVIEW, |json| {
        expression(json, "Usage over time", 0, |_| "workload:partner_license_usage:max".to_owned());
    }),
    seed("a wrong legend label", "the legend's work_load", DETAIL, |json| {
        replace(panel(json, "Usage and threshold"), "{{workload}}", "{{work_load}}");
    }),
    seed("an aggregation by an unknown label", "names the label \"lee\"", EXPORTER, |json| {
        expression(json, "Duration of requests", 0, |query| query.replace("le)", "lee)"));
    }),
    seed("a filter by an unknown label", "names the label \"endpiont\"", EXPORTER, |json| {
        expression(json, "Throttling", 0, |query| query.replace("{account", "{endpiont=\"usage\", account"));
    }),
    seed("a fixed window for a rate", "target-rate-interval-rule", EXPORTER, |json| {
        expression(json, "Throttling", 0, |query| query.replace("$__rate_interval", "30s"));
    }),
    seed("a counter without a rate", "target-counter-agg-rule", EXPORTER, |json| {
        expression(json, "Throttling", 0, |query| {
            query.replace("increase(", "(").replace("[$__rate_interval]", "")
        });
    }),
    seed("a rate of a gauge", "is not a counter", EXPORTER, |json| {
        expression(json, "Memory", 0, |query| {
            query.replace("max by (instance) (", "rate(").replace("})", "}[$__rate_interval])")
        });
    }),
    seed("a hard-coded job", "target-job-rule", EXPORTER, |json| {
        expression(json, "Memory", 0, |query| query.replace("job=~\"$job\"", "job=\"partner-license\""));
    }),
    seed("a missing filter by instance", "target-instance-rule", EXPORTER, |json| {
        expression(json, "Memory", 0, |query| query.replace(", instance=~\"$instance\"", ""));
    }),
    seed("replicas counted twice", "counts every replica", OVERVIEW, |json| {
        expression(json, "Rows", 0, |query| {
            query.replace("max by (account, service, workload, channel) ", "")
        });
    }),
    seed("deployment counted twice", "needs max by (account, service, channel)", OVERVIEW, |json| {
        expression(json, "Deployment over time", 0, |query| {
            query.replace("max by (account, service, channel) ", "")
        });
    }),
    seed("replicas with older polls", "does not take the newest poll", CUSTOMERS, |json| {
        expression(json, "Customers", 0, |query| query.split_once(" and on").unwrap().0.to_owned() + "))");
    }),
    seed("customers counted twice", "needs max by (account)", CUSTOMERS, |json| {
        expression(json, "Customers", 0, |query| query.replace("max by (account) ", ""));
    }),
    seed("a missing filter by customer", "is not filtered by $customer", CUSTOMERS, |json| {
        expression(json, "Workloads of customers", 3, |query| query.replace("customer=~\"$customer\", ", ""));
    }),
    seed("a variable without the names that it shows", "has no label customer_name", CUSTOMERS, |json| {
        replace(variable(json, "customer"), "customer_name", "customer_title");
    }),
    seed("an equality that does not support All", "is not filtered by $channel", OVERVIEW, |json| {
        expression(json, "Rows", 0, |query| query.replace("channel=~\"$channel\"", "channel=\"$channel\""));
    }),
    seed("a missing filter by collection", "is not filtered by $collection", EXPORTER, |json| {
        expression(json, "Polls by outcome", 1, |query| query.replace("collection=~\"$collection\", ", ""));
    }),
    seed("collections that are mixed", "mixes collections", EXPORTER, |json| {
        expression(json, "Duration of the last poll", 0, |query| query.replace("collection, ", ""));
    }),
    seed("a number where there is no data", "target-zero-rule", OVERVIEW, |json| {
        expression(json, "Alerts firing", 0, |query| format!("{query} or vector(0)"));
    }),
    seed("a variable for an unknown label", "has no label chanel", OVERVIEW, |json| {
        replace(variable(json, "channel"), ", channel)", ", chanel)");
    }),
    seed("a column for an unknown label", "no label for the column servce", OVERVIEW, |json| {
        let organize =
            panel(json, "Every row")["transformations"].as_array_mut().unwrap().last_mut().unwrap();
        organize["options"]["renameByName"] = json!({ "servce": "Service" });
    }),
];

/// Faults that only the result of a query shows.
pub(crate) const RESULTS: &[Seed] = &[
    seed("a renamed metric", "no data for", DETAIL, |json| {
        expression(json, "Usage and threshold", 0, |query| {
            query.replace("usage_percent{", "usage_percentage{")
        });
    }),
    seed("a wrong legend label", "the legend's work_load", DETAIL, |json| {
        replace(panel(json, "Usage and threshold"), "{{workload}}", "{{work_load}}");
    }),
    seed("a quantile without its buckets", "nothing but NaN for", EXPORTER, |json| {
        expression(json, "Duration of requests", 0, |query| format!("0 * {query} / 0"));
    }),
    seed("an aggregation by an unknown label", "no data for", EXPORTER, |json| {
        expression(json, "Duration of requests", 0, |query| query.replace("le)", "lee)"));
    }),
    seed("an offset beyond the stored history", "no data for", DETAIL, |json| {
        expression(json, "Now and before", 5, |query| query.replace("offset 30d", "offset 60d"));
    }),
    seed("a window below the scrape interval", "no data for", EXPORTER, |json| {
        expression(json, "Throttling", 0, |query| query.replace("$__rate_interval", "100ms"));
    }),
    seed("a label value that no series has", "no data for", EXPORTER, |json| {
        expression(json, "Scrapes served", 0, |query| query.replace("{job", "{code=\"418\", job"));
    }),
    seed("a comparison of vectors that do not match", "no data for", OVERVIEW, |json| {
        expression(json, "Smallest headroom", 0, |query| {
            query.replacen("max by (account, service, workload, channel)", "max by (service)", 1)
        });
    }),
    seed("an unknown variable", "an unknown variable in", OVERVIEW, |json| {
        expression(json, "Rows", 0, |query| query.replace("$service", "$product"));
    }),
    seed("a function that Prometheus does not have", "unknown function", OVERVIEW, |json| {
        expression(json, "Rows", 0, |query| query.replace("count(", "tally("));
    }),
    seed("a variable without values", "has no values", OVERVIEW, |json| {
        replace(variable(json, "channel"), ", channel)", ", chanel)");
    }),
];

fn panel<'a>(json: &'a mut Value, title: &str) -> &'a mut Value {
    let panels = json["panels"].as_array_mut().unwrap();
    panels.iter_mut().find(|panel| panel["title"] == title).unwrap_or_else(|| panic!("no panel {title:?}"))
}

fn variable<'a>(json: &'a mut Value, name: &str) -> &'a mut Value {
    let variables = json["templating"]["list"].as_array_mut().unwrap();
    variables.iter_mut().find(|variable| variable["name"] == name).unwrap()
}

fn expression(json: &mut Value, title: &str, target: usize, change: fn(&str) -> String) {
    let query = &mut panel(json, title)["targets"][target]["expr"];
    *query = change(query.as_str().unwrap()).into();
}

fn remove(json: &mut Value, key: &str) {
    json.as_object_mut().unwrap().remove(key);
}

/// Replaces text in every string of a document.
fn replace(json: &mut Value, from: &str, to: &str) {
    match json {
        Value::String(text) => *text = text.replace(from, to),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, from, to)),
        Value::Object(members) => members.values_mut().for_each(|member| replace(member, from, to)),
        _ => {}
    }
}
