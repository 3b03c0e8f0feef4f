//! The values that Grafana inserts into a query: variables, intervals, and the step of a graph.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::dashboards::model::{Dashboard, Panel, text};
use crate::dashboards::prometheus::{Prometheus, Series};

/// The scrape interval that Grafana assumes if the data source does not set one, in seconds.
const SCRAPE_INTERVAL: u64 = 15;
/// The assumed width of a dashboard, in pixels.
const WIDTH: u64 = 1600;

/// The regular expression of a variable whose options are the names of customers and whose values are their ids.
/// Grafana applies it to each series of the result as text, with the labels in the order of their names.
pub(crate) const BY_NAME: &str = r#"/customer="(?<value>[^"]+)",customer_name="(?<text>.+)"\}/"#;

/// The selected value of each variable.
pub(crate) type Values = BTreeMap<String, String>;

/// The time range that a dashboard shows, in Unix seconds.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Range {
    /// The default range of a dashboard, if it ends at `to`.
    pub(crate) fn of(dashboard: &Dashboard, to: f64) -> Self {
        let span = text(&dashboard.json["time"]["from"]).strip_prefix("now-").map(seconds);
        Self { from: to - span.unwrap_or_else(|| panic!("{}: no time range", dashboard.file)), to }
    }

    fn seconds(self) -> f64 {
        self.to - self.from
    }
}

/// A duration such as `30d`, in seconds.
pub(crate) fn seconds(duration: &str) -> f64 {
    let (number, unit) = duration.split_at(duration.len() - 1);
    let unit = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => panic!("{duration:?} has an unknown unit"),
    };
    number.parse::<f64>().unwrap() * unit
}

/// The query of a target as Grafana sends it, and its step.
pub(crate) fn interpolate(panel: Panel<'_>, target: &Value, values: &Values, range: Range) -> (String, u64) {
    let step = step(panel, target, range);
    // If the target sets a smallest step, it takes the place of the scrape interval.
    let scrape = target["interval"].as_str().map_or(SCRAPE_INTERVAL, |interval| whole(seconds(interval)));
    let rate = (step + scrape).max(4 * scrape);
    let span = whole(range.seconds());
    let builtin = [
        ("__rate_interval", format!("{rate}s")),
        ("__interval_ms", (step * 1000).to_string()),
        ("__interval", format!("{step}s")),
        ("__range_s", span.to_string()),
        ("__range", format!("{span}s")),
    ];
    let builtin = builtin.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    (replace(&replace(text(&target["expr"]), &builtin), values), step)
}

/// Replaces each `$name` and `${name}` by its value. Variables without a value remain, and are reported later.
pub(crate) fn replace(query: &str, values: &Values) -> String {
    let mut names: Vec<&String> = values.keys().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    names.iter().fold(query.to_owned(), |query, name| {
        let value = &values[*name];
        query.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
    })
}

fn step(panel: Panel<'_>, target: &Value, range: Range) -> u64 {
    let width = panel.0["gridPos"]["w"].as_u64().unwrap_or(24);
    let points = panel.0["maxDataPoints"].as_u64().unwrap_or(WIDTH * width / 24);
    let least = target["interval"].as_str().or(panel.0["interval"].as_str());
    let least = least.map_or(SCRAPE_INTERVAL, |interval| whole(seconds(interval)));
    #[expect(clippy::cast_precision_loss, reason = "a few hundred points")]
    let wanted = range.seconds() / points as f64;
    rounded(wanted).max(least)
}

/// Rounds an interval as Grafana does: each pair is a limit and the interval that applies below it.
fn rounded(wanted: f64) -> u64 {
    const UP_TO: [(f64, u64); 19] = [
        (1.5, 1),
        (3.5, 2),
        (7.5, 5),
        (12.5, 10),
        (17.5, 15),
        (25.0, 20),
        (45.0, 30),
        (90.0, 60),
        (210.0, 120),
        (450.0, 300),
        (750.0, 600),
        (1050.0, 900),
        (1500.0, 1200),
        (2700.0, 1800),
        (5400.0, 3600),
        (9000.0, 7200),
        (16200.0, 10800),
        (32400.0, 21600),
        (86400.0, 43200),
    ];
    UP_TO.iter().find(|(limit, _)| wanted < *limit).map_or(86400, |(_, interval)| *interval)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "durations of days at most")]
fn whole(seconds: f64) -> u64 {
    seconds.round() as u64
}

/// Queries the options of each variable in turn, as Grafana does, and selects the value in `chosen`, or all values.
/// The variables in `empty` may have no options.
pub(crate) fn choose(
    dashboard: &Dashboard,
    prometheus: &Prometheus,
    range: Range,
    chosen: &[(&str, &str)],
    empty: &[&str],
    findings: &mut Vec<String>,
) -> Values {
    let mut values = Values::from([("datasource".to_owned(), "the data source".to_owned())]);
    for variable in dashboard.variables().iter().filter(|variable| variable["type"] == "query") {
        let name = text(&variable["name"]);
        let query = replace(text(&variable["query"]["query"]), &values);
        let mut found =
            |message: String| findings.push(format!("{}, variable {name}: {message}", dashboard.file));
        let options = match (label_values(&query), query_result(&query)) {
            (Some((selector, label)), _) => prometheus.label_values(label, selector, (range.from, range.to)),
            (None, Some(query)) => prometheus.query(query, range.to).map(|found| customers(&found)),
            (None, None) => {
                Err(format!("{query} is neither label_values(selector, label) nor query_result(query)"))
            }
        };
        let options = options.unwrap_or_else(|error| {
            found(error);
            Vec::new()
        });
        if options.is_empty() && !empty.contains(&name) {
            found(format!("{query} has no values"));
        }
        let chosen = chosen.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
        let value = match (chosen, variable["allValue"].as_str()) {
            (Some(chosen), _) => {
                if !options.contains(&chosen) {
                    found(format!("{chosen} is not among {options:?}"));
                }
                escape(&chosen)
            }
            (None, Some(all)) => all.to_owned(),
            (None, None) => match &options[..] {
                [one] => escape(one),
                many => format!("({})", many.iter().map(|one| escape(one)).collect::<Vec<_>>().join("|")),
            },
        };
        values.insert(name.to_owned(), value);
    }
    values
}

/// The selector and the label in the query of a variable.
pub(crate) fn label_values(query: &str) -> Option<(&str, &str)> {
    let inside = query.strip_prefix("label_values(")?.strip_suffix(')')?;
    let (selector, label) = inside.rsplit_once(',')?;
    Some((selector.trim(), label.trim()))
}

/// The query whose result has the options of a variable; [`BY_NAME`] finds them in it.
pub(crate) fn query_result(query: &str) -> Option<&str> {
    query.strip_prefix("query_result(")?.strip_suffix(')')
}

/// The values that [`BY_NAME`] finds; a customer without the text to show has none.
fn customers(result: &[Series]) -> Vec<String> {
    let named = result.iter().filter(|series| series.label("customer_name").is_some());
    named.filter_map(|series| series.label("customer").map(str::to_owned)).collect()
}

/// Escapes a value for a regular expression in a quoted string.
fn escape(value: &str) -> String {
    let mut escaped = String::new();
    for character in value.chars() {
        match character {
            '\\' => escaped += r"\\\\",
            special if "$^*{}[]'+?.()|".contains(special) => {
                escaped += r"\\";
                escaped.push(special);
            }
            other => escaped.push(other),
        }
    }
    escaped
}
