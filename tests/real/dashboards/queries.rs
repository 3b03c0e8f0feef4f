//! Every query of every dashboard, as Grafana would send it, on a real Prometheus: it has to bring data where there is
//! some, and nothing where there is none.

use serde_json::Value;

use crate::dashboards::grafana::{Range, Values, choose, interpolate};
use crate::dashboards::model::{Dashboard, Panel, legend_labels, text};
use crate::dashboards::prometheus::{Prometheus, Series};
use crate::dashboards::sample::Sample;

/// One target with its answer.
pub(crate) struct Answer<'a> {
    pub(crate) panel: Panel<'a>,
    pub(crate) target: &'a Value,
    pub(crate) query: String,
    pub(crate) series: Vec<Series>,
}

impl Answer<'_> {
    /// The one value of the answer.
    pub(crate) fn value(&self) -> f64 {
        match &self.series[..] {
            [one] => one.samples.last().unwrap().1,
            other => panic!("{} series answer {}", other.len(), self.query),
        }
    }

    /// What data is lacking, if any is.
    fn lack(&self) -> Option<&'static str> {
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

/// The answer to a target of a panel.
pub(crate) fn find<'a, 'b>(answers: &'b [Answer<'a>], panel: &str, reference: &str) -> &'b Answer<'a> {
    let wanted = |answer: &&Answer<'_>| answer.panel.title() == panel && answer.target["refId"] == reference;
    answers.iter().find(wanted).unwrap_or_else(|| panic!("no panel {panel:?} with target {reference}"))
}

/// Runs everything with all values of the variables but those that are chosen; what should not be is found.
pub(crate) fn run<'a>(
    dashboard: &'a Dashboard,
    sample: &Sample,
    chosen: &[(&str, &str)],
    findings: &mut Vec<String>,
) -> Vec<Answer<'a>> {
    let empty: &[&str] = if sample.accounts.is_empty() { &["account"] } else { &[] };
    let range = Range::of(dashboard, sample.now);
    let values = choose(dashboard, &sample.prometheus, range, chosen, empty, findings);
    ask(dashboard, &sample.prometheus, range, &values, findings)
}

/// Asks all queries of a dashboard.
pub(crate) fn ask<'a>(
    dashboard: &'a Dashboard,
    prometheus: &Prometheus,
    range: Range,
    values: &Values,
    findings: &mut Vec<String>,
) -> Vec<Answer<'a>> {
    let mut answers = Vec::new();
    for panel in dashboard.panels() {
        for target in panel.targets() {
            let (query, step) = interpolate(panel, target, values, range);
            let mut found = |said: String| {
                let reference = text(&target["refId"]);
                findings.push(format!("{}, {}, {reference}: {said}", dashboard.file, panel.title()));
            };
            if query.contains('$') {
                found(format!("an unknown variable in {query}"));
                continue;
            }
            let answer = if target["instant"] == true {
                prometheus.query(&query, range.to)
            } else {
                #[expect(clippy::cast_precision_loss, reason = "hours")]
                let align = |at: f64| (at / step as f64).floor() * step as f64;
                prometheus.query_range(&query, (align(range.from), align(range.to)), step)
            };
            match answer {
                Ok(series) => answers.push(Answer { panel, target, query, series }),
                Err(error) => found(format!("{error}, in {query}")),
            }
        }
    }
    answers
}

/// What is wrong with answers that should have data.
pub(crate) fn lacking(dashboard: &Dashboard, answers: &[Answer<'_>], findings: &mut Vec<String>) {
    for answer in answers {
        let Answer { panel, target, query, series } = answer;
        let mut found = |said: String| {
            let reference = text(&target["refId"]);
            findings.push(format!("{}, {}, {reference}: {said}", dashboard.file, panel.title()));
        };
        if let Some(lack) = answer.lack() {
            found(format!("{lack} for {query}"));
        }
        // An account may have no name, and alerts differ in their labels.
        for label in legend_labels(target).into_iter().filter(|label| *label != "account") {
            if !series.is_empty() && series.iter().all(|series| series.label(label).is_none()) {
                found(format!("the legend's {label} is not among {:?}", series[0].labels));
            }
        }
    }
}

/// Panels none of whose targets has something to show.
pub(crate) fn empty(dashboard: &Dashboard, answers: &[Answer<'_>], findings: &mut Vec<String>) {
    for panel in dashboard.panels() {
        let of_panel = answers.iter().filter(|answer| std::ptr::eq(answer.panel.0, panel.0));
        let lacks: Vec<_> = of_panel.map(|answer| (answer.lack(), &answer.query)).collect();
        if lacks.iter().all(|(lack, _)| lack.is_some()) {
            findings.push(format!("{}, {} is empty: {lacks:#?}", dashboard.file, panel.title()));
        }
    }
}
