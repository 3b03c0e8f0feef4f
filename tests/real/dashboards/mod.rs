//! Tests of the dashboards, from lint to data.
//!
//! A lint checks the files. Each query and variable is then run on a real Prometheus, in both versions, with forty days
//! of history and the real exporter. Each of these checks is tested with the faults that it must find. The commands of
//! docs/start/demo.md must fill every panel.
//!
//! With `SERVE_SAMPLE=1` the program runs no test: it prints the address of that Prometheus and the time at which the
//! dashboards end, and runs until its standard input ends. scripts/screenshots-dashboards uses that.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests fail by panicking"
)]

mod demo;
mod grafana;
mod lint;
mod model;
pub(crate) mod prometheus;
mod promql;
mod provisioning;
mod queries;
mod sample;
mod seeds;

use std::collections::BTreeSet;
use std::path::PathBuf;

use libtest_mimic::{Arguments, Conclusion, Trial};
use partner_license_exporter::metrics::FAMILIES;

use crate::support::real::{root, tool};
use lint::Exclusions;
use model::Dashboard;
use prometheus::{Prometheus, Series};
use queries::{check_data, find, run_all};
use sample::{CUSTOMERS, ROWS, Row, SERIES, Sample, VANISHED};

const SUITES: [&str; 2] = ["bookworm", "testing"];
/// The suite whose Prometheus returns syntax trees.
const WITH_PARSER: &str = "testing";
const ACCOUNTS: [&[&str]; 2] = [&[], &["contoso", "fabrikam"]];

/// Tests that need only the files.
const OF_FILES: [(&str, fn()); 5] = [
    ("the_linter_finds_no_fault_in_the_dashboards", documents_are_clean),
    ("the_linter_finds_every_fault_planted_in_a_dashboard", faults_of_documents_are_found),
    ("the_provider_and_the_data_source_are_as_documented", provisioning::provider_and_data_source_are_valid),
    (
        "the_kustomization_contains_every_dashboard_and_the_label_of_the_sidecar",
        provisioning::kustomization_has_every_dashboard,
    ),
    ("npm_packages_have_exact_versions_and_no_addresses", provisioning::npm_packages_are_exact),
];

/// Tests that need a Prometheus that returns syntax trees.
const OF_TREES: [(&str, fn()); 3] = [
    ("the_linter_finds_no_fault_in_the_queries", queries_are_clean),
    ("the_linter_finds_every_fault_planted_in_a_query", faults_of_queries_are_found),
    ("every_metric_is_in_a_panel_or_an_alert_or_excluded_with_a_reason", every_metric_is_used),
];

pub(crate) fn run(arguments: &Arguments) -> Conclusion {
    let arguments = Arguments { test_threads: arguments.test_threads.or(Some(2)), ..arguments.clone() };
    let trial = |name: String, suites: &[&str], test: Box<dyn FnOnce() + Send>| {
        let missing = missing(suites);
        let required = std::env::var_os("REQUIRE_TOOLS").is_some();
        Trial::test(name, move || {
            test();
            Ok(())
        })
        .with_ignored_flag(!missing.is_empty() && !required)
    };
    for path in missing(&SUITES) {
        eprintln!("not found: {} (scripts/fetch-tools downloads it)", path.display());
    }
    let mut trials = Vec::new();
    trials.extend(OF_FILES.map(|(name, test)| trial(name.to_owned(), &[], Box::new(test))));
    trials.extend(OF_TREES.map(|(name, test)| trial(name.to_owned(), &[WITH_PARSER], Box::new(test))));
    let has_kubectl = provisioning::has_kubectl();
    if !has_kubectl {
        eprintln!("not found: kubectl, which makes the ConfigMap");
    }
    let name = "kubectl_makes_a_config_map_with_the_content_of_the_files".to_owned();
    let config_map = trial(name, &[], Box::new(provisioning::config_map_has_the_content_of_the_files));
    trials.push(config_map.with_ignored_flag(!has_kubectl));
    for suite in SUITES {
        for accounts in ACCOUNTS {
            let which = if accounts.is_empty() { "without_names" } else { "with_names" };
            let name = format!("{suite}::{which}::every_query_returns_data_and_every_planted_fault_is_found");
            trials.push(trial(name, &[suite], Box::new(move || queries_return_data(suite, accounts))));
        }
        let name = format!("{suite}::with_the_demo::the_commands_of_its_page_fill_every_panel");
        trials.push(trial(name, &[suite], Box::new(move || demo::every_panel_is_filled(suite))));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.num_ignored > 0 {
        eprintln!(
            "{} tests of dashboards were NOT run, because tools are missing: see above\n",
            conclusion.num_ignored
        );
    }
    conclusion
}

fn missing(suites: &[&str]) -> Vec<PathBuf> {
    let paths = suites.iter().flat_map(|suite| ["prometheus", "promtool"].map(|part| tool(suite, part)));
    paths.filter(|path| !path.exists()).collect()
}

pub(crate) fn serve() {
    let sample = Sample::start(WITH_PARSER, ACCOUNTS[1]);
    println!("{} {}", sample.prometheus.url, sample.now);
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

fn none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

// === lint ===

fn documents_are_clean() {
    let findings = lint::documents(&Dashboard::all());
    none(&Exclusions::read().apply(findings, lint::DOCUMENT_RULES));
}

fn faults_of_documents_are_found() {
    let (dashboards, exclusions) = (Dashboard::all(), Exclusions::read());
    for seed in seeds::DOCUMENTS {
        let findings = exclusions.apply(lint::documents(&seed.plant(&dashboards)), lint::DOCUMENT_RULES);
        let found = findings.iter().any(|finding| finding.contains(seed.found));
        assert!(found, "{}: {:?} is not among {findings:#?}", seed.name, seed.found);
    }
}

fn with_parser<T>(test: impl FnOnce(lint::Parse<'_>) -> T) -> T {
    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(WITH_PARSER, directory.path(), "");
    test(&|query| prometheus.parse(query))
}

fn queries_are_clean() {
    let findings = with_parser(|parse| lint::queries(&Dashboard::all(), parse));
    none(&Exclusions::read().apply(findings, lint::QUERY_RULES));
}

fn faults_of_queries_are_found() {
    let (dashboards, exclusions) = (Dashboard::all(), Exclusions::read());
    with_parser(|parse| {
        for seed in seeds::QUERIES {
            let findings = exclusions.apply(lint::queries(&[seed.planted(&dashboards)], parse), &[]);
            let found = findings.iter().any(|finding| finding.contains(seed.found));
            assert!(found, "{}: {:?} is not among {findings:#?}", seed.name, seed.found);
        }
    });
}

fn every_metric_is_used() {
    let dashboards = Dashboard::all();
    let mut used: BTreeSet<String> = with_parser(|parse| {
        dashboards.iter().flat_map(|dashboard| lint::metrics(dashboard, parse)).collect()
    });
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for file in std::fs::read_dir(root().join("alerts")).unwrap().map(|entry| entry.unwrap().path()) {
        if file.is_file() {
            let rules = std::fs::read_to_string(&file).unwrap();
            used.extend(rules.split(|c| !is_word(c)).map(str::to_owned));
        }
    }
    let unused = Exclusions::read().unused_metrics;
    let mut findings = Vec::new();
    for family in FAMILIES {
        let is_used = used.iter().any(|name| promql::family(name).is_some_and(|of| of.name == family.name));
        match (is_used, unused.get(family.name)) {
            (false, None) => findings.push(format!("no dashboard and no rule uses {}", family.name)),
            (true, Some(_)) => findings.push(format!("dashboards/.lint: {} is used", family.name)),
            (false, Some(reason)) if reason.is_empty() => {
                findings.push(format!("dashboards/.lint: {}: no reason", family.name));
            }
            _ => {}
        }
    }
    let unknown = unused.keys().filter(|name| promql::family(name).is_none());
    findings.extend(unknown.map(|name| format!("dashboards/.lint: there is no {name}")));
    none(&findings);
}

// === data ===

fn queries_return_data(suite: &str, accounts: &'static [&'static str]) {
    let sample = Sample::start(suite, accounts);
    let dashboards = Dashboard::all();
    let mut findings = Vec::new();
    for dashboard in &dashboards {
        let results = queries::run(dashboard, &sample, &[], &mut findings);
        check_data(dashboard, &results, &mut findings);
        match dashboard.uid() {
            "partner-license-overview" => rows_are_counted_once(&sample, &results),
            "partner-license-customers" => customers_are_counted_once(&sample, &results),
            _ => {}
        }
        no_data_without_samples(dashboard, &sample, &mut findings);
    }
    a_row_is_found_by_its_labels(&sample, &dashboards, &mut findings);
    none(&findings);

    for seed in seeds::RESULTS {
        let mut findings = Vec::new();
        let dashboard = seed.planted(&dashboards);
        let results = queries::run(&dashboard, &sample, &[], &mut findings);
        check_data(&dashboard, &results, &mut findings);
        let found = findings.iter().any(|finding| finding.contains(seed.found));
        assert!(found, "{}: {:?} is not among {findings:#?}", seed.name, seed.found);
    }
}

/// Two replicas report each row, and each row counts once. Muted rows are shown and do not count as below a threshold.
fn rows_are_counted_once(sample: &Sample, results: &[queries::QueryResult<'_>]) {
    let low = |row: &Row| row.threshold.is_some_and(|threshold| row.percent < threshold);
    let near =
        |row: &Row| row.threshold.is_some_and(|threshold| (0.0..5.0).contains(&(row.percent - threshold)));
    let muted = |row: &Row| row.threshold.is_none();
    let expected = [
        ("Below threshold", "A", sample.count(low)),
        ("Rows", "A", sample.count(|row| !muted(row))),
        ("Rows", "B", sample.count(muted)),
        ("Alerts firing", "A", sample.count(low)),
    ];
    for (panel, target, count) in expected {
        #[expect(clippy::cast_precision_loss, reason = "a few rows")]
        let count = count as f64;
        let value = find(results, panel, target).value();
        assert!((value - count).abs() < 0.5, "{panel}, {target}: {value} instead of {count}");
    }
    // The rows for which the critical alert fires as well, found by Prometheus in the figures of the past.
    let row = "max by (account, service, workload, channel)";
    let headroom =
        format!("{row} (partner_license_usage_percent) - {row} (partner_license_usage_threshold_percent)");
    let query = format!("max_over_time(({headroom})[1w:10m]) < 0");
    let low_for_a_week = sample.prometheus.query(&query, sample.now).unwrap().len();
    assert!(low_for_a_week > 0, "no row of the sample has been low for a week");
    let bars = "Usage now, by distance from the threshold";
    let series = [
        (bars, "A", sample.count(low)),
        (bars, "B", sample.count(near)),
        (bars, "C", sample.count(|row| !muted(row) && !low(row) && !near(row))),
        (bars, "D", sample.count(muted)),
        ("Every row", "A", sample.count(|row| !muted(row))),
        ("Every row", "B", sample.count(|_| true)),
        ("Every row", "F", sample.count(low)),
        ("Below threshold, and since when", "A", sample.count(|_| true)),
        ("Alerts firing now", "A", sample.count(low) + low_for_a_week),
    ];
    for (panel, target, count) in series {
        let result = find(results, panel, target);
        assert_eq!(result.series.len(), count, "{panel}, {target}: {}", result.query);
    }
    let headroom: Vec<f64> =
        find(results, "Every row", "A").series.iter().map(|one| one.samples[0].1).collect();
    assert!(headroom.is_sorted(), "the row with the least headroom is not the first: {headroom:?}");
    assert!(
        ROWS.iter().any(muted) && ROWS.iter().any(near),
        "the sample has no muted row or no row near its threshold"
    );
}

/// Two replicas report each customer, who counts once, and is shown by name, or by id if there are no names.
fn customers_are_counted_once(sample: &Sample, results: &[queries::QueryResult<'_>]) {
    let low = sample.count(|row| row.threshold.is_some_and(|threshold| row.percent < threshold));
    let (customers, accounts) = (CUSTOMERS.len(), sample.accounts.len().max(1));
    let rows = customers * sample.count(|_| true);
    let withheld = customers * ROWS.len() - SERIES;
    for (panel, target, count) in
        [("Customers", "A", customers * accounts), ("Below threshold", "A", customers * low)]
    {
        #[expect(clippy::cast_precision_loss, reason = "a few rows")]
        let count = count as f64;
        let value = find(results, panel, target).value();
        assert!((value - count).abs() < 0.5, "{panel}, {target}: {value} instead of {count}");
    }
    let bars = "Customers with most licences not in use";
    let table = "Workloads of customers";
    for (panel, target, count) in [
        ("Rows", "A", 2),
        // The second account has no row below its threshold.
        (bars, "A", customers),
        (table, "A", rows - withheld),
        (table, "E", rows - withheld),
    ] {
        let result = find(results, panel, target);
        assert_eq!(result.series.len(), count, "{panel}, {target}: {}", result.query);
    }
    for (state, count) in [("published", rows - withheld), ("withheld", withheld)] {
        let series = &find(results, "Rows", "A").series;
        let found = series.iter().find(|series| series.label("state") == Some(state)).unwrap().samples[0].1;
        #[expect(clippy::cast_precision_loss, reason = "a few rows")]
        let count = count as f64;
        assert!((found - count).abs() < 0.5, "{found} rows are {state}, not {count}");
    }
    // Another replica has an older poll, with more licences. Two of the replicas have the newest one.
    let newest = "instance=~\"exporter-[12]:10365\"";
    let row = "max by (account, customer, service, workload, channel)";
    let query = format!(
        "sum({row} (partner_license_customer_qualified_licenses{{{newest}}}) - {row} (partner_license_customer_active_licenses{{{newest}}}))"
    );
    let unused = sample.prometheus.query(&query, sample.now).unwrap()[0].samples[0].1;
    let found = find(results, "Licences not in use", "B").value();
    assert!((found - unused).abs() < 0.5, "{found} licences are not in use, instead of {unused}");
    // Which customers are new or have vanished, and for which the past is known.
    let changes = "Changes in a week and a month";
    let state = &find(results, changes, "D").series;
    let of = |id: &str| -> BTreeSet<String> {
        let found = state.iter().filter(|one| one.label("customer") == Some(id));
        found.map(|one| format!("{} {}", one.label("customer_name").unwrap(), one.samples[0].1)).collect()
    };
    let (new, name, _) = CUSTOMERS[customers - 1];
    let named = |name: &str, id: &str, state| {
        BTreeSet::from([format!("{} {state}", if sample.accounts.is_empty() { id } else { name })])
    };
    assert_eq!((of(new), of(VANISHED)), (named(name, new, 1), named("Vanished", VANISHED, 2)));
    assert_eq!(state.len(), accounts * 2, "{state:?}");
    for (target, count) in [("A", customers), ("B", customers - 1), ("C", 1)] {
        let result = find(results, changes, target);
        assert_eq!(result.series.len(), count * accounts, "{changes}, {target}: {}", result.query);
    }
    // The exporters with an older poll know another name of the first customer.
    let expected = CUSTOMERS.map(|(id, name, _)| if sample.accounts.is_empty() { id } else { name });
    for panel in [bars, table] {
        let series = &find(results, panel, "A").series;
        let shown = series.iter().map(|series| series.label("customer_name").unwrap());
        assert_eq!(shown.collect::<BTreeSet<_>>(), BTreeSet::from(expected), "{panel}");
    }
}

/// Before the first sample no query returns anything.
fn no_data_without_samples(dashboard: &Dashboard, sample: &Sample, findings: &mut Vec<String>) {
    let range = grafana::Range::of(dashboard, sample.now);
    let values = grafana::choose(dashboard, &sample.prometheus, range, &[], &["account"], findings);
    let before = sample.now - 100.0 * 86400.0;
    let range = grafana::Range::of(dashboard, before);
    for result in run_all(dashboard, &sample.prometheus, range, &values, findings) {
        if let Some(series) = result.series.first() {
            let panel = result.panel.title();
            findings.push(format!(
                "{}, {panel}: {series:?} without any sample: {}",
                dashboard.file, result.query
            ));
        }
    }
}

/// A single row is selected by labels that contain special characters of regular expressions.
fn a_row_is_found_by_its_labels(sample: &Sample, dashboards: &[Dashboard], findings: &mut Vec<String>) {
    let mut chosen = vec![("service", "o365"), ("workload", "Teams (calls + PSTN)"), ("channel", "direct")];
    chosen.extend(sample.accounts.first().map(|name| ("account", *name)));
    for dashboard in dashboards.iter().filter(|dashboard| dashboard.variable("workload").is_some()) {
        let results = queries::run(dashboard, sample, &chosen, findings);
        if dashboard.uid() == "partner-license-detail" {
            check_data(dashboard, &results, findings);
        }
        for result in &results {
            let other = |series: &&Series| {
                chosen.iter().any(|(label, value)| series.label(label).is_some_and(|found| found != *value))
            };
            if let Some(series) = result.series.iter().find(other) {
                let panel = result.panel.title();
                findings.push(format!("{}, {panel}: {:?} is a different row", dashboard.file, series.labels));
            }
        }
    }
}
