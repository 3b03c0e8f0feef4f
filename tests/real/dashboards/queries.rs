//! Runs every query of every dashboard on a real Prometheus, as Grafana would send it. A query must return data if
//! there are samples, and nothing if there are none.

use serde_json::Value;

use crate::dashboards::grafana::{Range, Values, choose, interpolate};
use crate::dashboards::model::{Dashboard, Panel, legend_labels, text};
use crate::dashboards::prometheus::{Prometheus, Series};
use crate::dashboards::sample::Sample;

/// One target with its result.
pub(crate) struct QueryResult<'a> {
    pub(crate) panel: Panel<'a>,
    pub(crate) target: &'a Value,
    pub(crate) query: String,
    pub(crate) series: Vec<Series>,
}

impl QueryResult<'_> {
    /// The last value of the only series.
    pub(crate) fn value(&self) -> f64 {
        match &self.series[..] {
            [one] => one.samples.last().unwrap().1,
            other => panic!("{} series instead of one for {}", other.len(), self.query),
        }
    }

    /// Describes which data are missing, if any.
    fn missing_data(&self) -> Option<&'static str> {
        let all = |is: fn(&Series) -> bool| self.series.iter().all(is);
        if self.series.is_empty() {
            Some("no data")
        } else if all(|series| series.samples.iter().all(|(_, value)| value.is_nan())) {
            Some("nothing but NaN")
        } else if self.target["instant"] != true && all(|series| series.samples.len() < 2) {
            Some("a single point")
        } else {
            None
        }
    }
}

/// The result of a target of a panel.
pub(crate) fn find<'a, 'b>(
    results: &'b [QueryResult<'a>],
    panel: &str,
    reference: &str,
) -> &'b QueryResult<'a> {
    let wanted =
        |result: &&QueryResult<'_>| result.panel.title() == panel && result.target["refId"] == reference;
    results.iter().find(wanted).unwrap_or_else(|| panic!("no panel {panel:?} with target {reference}"))
}

/// Runs all queries of a dashboard with the values in `chosen`, and all values of the other variables.
pub(crate) fn run<'a>(
    dashboard: &'a Dashboard,
    sample: &Sample,
    chosen: &[(&str, &str)],
    findings: &mut Vec<String>,
) -> Vec<QueryResult<'a>> {
    let empty: &[&str] = if sample.accounts.is_empty() { &["account"] } else { &[] };
    let range = Range::of(dashboard, sample.now);
    let values = choose(dashboard, &sample.prometheus, range, chosen, empty, findings);
    run_all(dashboard, &sample.prometheus, range, &values, findings)
}

/// Runs all queries of a dashboard with these values of the variables.
pub(crate) fn run_all<'a>(
    dashboard: &'a Dashboard,
    prometheus: &Prometheus,
    range: Range,
    values: &Values,
    findings: &mut Vec<String>,
) -> Vec<QueryResult<'a>> {
    let mut results = Vec::new();
    for panel in dashboard.panels() {
        for target in panel.targets() {
            let (query, step) = interpolate(panel, target, values, range);
            let mut found = |message: String| {
                let reference = text(&target["refId"]);
                findings.push(format!("{}, {}, {reference}: {message}", dashboard.file, panel.title()));
            };
            if query.contains('$') {
                found(format!("an unknown variable in {query}"));
                continue;
            }
            let result = if target["instant"] == true {
                prometheus.query(&query, range.to)
            } else {
                #[expect(clippy::cast_precision_loss, reason = "hours")]
                let align = |at: f64| (at / step as f64).floor() * step as f64;
                prometheus.query_range(&query, (align(range.from), align(range.to)), step)
            };
            match result {
                Ok(series) => results.push(QueryResult { panel, target, query, series }),
                Err(error) => found(format!("{error}, in {query}")),
            }
        }
    }
    results
}

/// Reports results that have no data, and legends whose labels no series has.
pub(crate) fn check_data(dashboard: &Dashboard, results: &[QueryResult<'_>], findings: &mut Vec<String>) {
    for result in results {
        let QueryResult { panel, target, query, series } = result;
        let mut found = |message: String| {
            let reference = text(&target["refId"]);
            findings.push(format!("{}, {}, {reference}: {message}", dashboard.file, panel.title()));
        };
        if let Some(missing) = result.missing_data() {
            found(format!("{missing} for {query}"));
        }
        // The account may have no name. Alerts differ in their labels, so one series with the label is enough.
        for label in legend_labels(target).into_iter().filter(|label| *label != "account") {
            if !series.is_empty() && series.iter().all(|series| series.label(label).is_none()) {
                found(format!("the legend's {label} is not among {:?}", series[0].labels));
            }
        }
    }
}

/// Reports panels in which no target has data.
pub(crate) fn check_panels(dashboard: &Dashboard, results: &[QueryResult<'_>], findings: &mut Vec<String>) {
    for panel in dashboard.panels() {
        let of_panel = results.iter().filter(|result| std::ptr::eq(result.panel.0, panel.0));
        let missing: Vec<_> = of_panel.map(|result| (result.missing_data(), &result.query)).collect();
        if missing.iter().all(|(data, _)| data.is_some()) {
            findings.push(format!("{}, {} is empty: {missing:#?}", dashboard.file, panel.title()));
        }
    }
}
