//! Several collections of one account, and the two sources of a collection.

use std::collections::BTreeSet;

use crate::support::exposition::Exposition;
use crate::support::{Exporter, Simulator, account, get, write_config};

const TENANT: &str = "contoso.example";
const USAGE: &str = "partner_license_usage_percent";

/// A configuration of one account that is polled every second, with these collections.
fn config(simulator: &Simulator, collections: &str) -> String {
    let more = format!(", collections: {{ {collections} }}");
    format!("poll_interval: 1s\naccounts:\n{}", account(None, TENANT, &simulator.url, &simulator.url, &more))
}

/// The label sets of the usage percentages.
fn keys(metrics: &Exposition) -> BTreeSet<Vec<(String, String)>> {
    let labels = metrics.named(USAGE).map(|(labels, _)| labels.clone().into_iter().collect());
    labels.collect()
}

fn source(metrics: &Exposition) -> Vec<String> {
    let sources = metrics.named("partner_license_usage_source_info");
    sources.map(|(labels, _)| labels["source"].clone()).collect()
}

#[test]
fn when_the_source_changes_and_changes_back_the_series_of_usage_stay_the_same() {
    let simulator = Simulator::start("rows: portfolio");
    let exporter = Exporter::start(&config(&simulator, ""), &[]);
    exporter.wait_for("the old source", |metrics| (source(metrics) == ["licenses"]).then_some(()));
    let before = exporter.metrics();
    assert_eq!(keys(&before).len(), 14);
    assert_eq!(
        before.named("partner_license_usage_active_licenses").count(),
        0,
        "the old source has no numbers"
    );
    for (scenario, expected, numbers) in [
        ("{rows: portfolio, usage: {answer: not_found}}", "commercial", 14),
        ("{rows: portfolio}", "licenses", 0),
        ("{rows: portfolio, usage: {answer: empty}}", "commercial", 14),
        ("{rows: portfolio}", "licenses", 0),
    ] {
        simulator.scenario(scenario);
        let changed = exporter.wait_for("the other source", |metrics| {
            assert_eq!(keys(metrics), keys(&before), "no series comes, goes or is doubled");
            assert_eq!(metrics.of_usage("partner_license_up", &[]), Some(1.0));
            (source(metrics) == [expected]).then(|| exporter.metrics())
        });
        assert_eq!(changed.named("partner_license_usage_qualified_licenses").count(), numbers, "{scenario}");
    }
    let log = exporter.process.stderr.text();
    assert_eq!(
        log.matches("The rows come from another source").count(),
        4,
        "one line for each change:\n{log}"
    );
    assert!(get(&exporter.url).contains("Rows fetched"));
}

#[test]
fn a_collection_that_fails_leaves_the_others_alone() {
    let simulator = Simulator::start("{rows: portfolio, deployment: {answer: server_error, retry_after: 1}}");
    let exporter = Exporter::start(&config(&simulator, "deployment: { enabled: true }"), &[]);
    exporter.wait_for("usage that works and deployment that fails", |metrics| {
        let up = |collection| metrics.value("partner_license_up", &[("collection", collection)]);
        let failures = [("collection", "deployment"), ("reason", "server")];
        let failed = metrics.value("partner_license_scrape_failures_total", &failures)?;
        (up("usage") == Some(1.0) && up("deployment") == Some(0.0) && failed > 0.0).then_some(())
    });
    assert_eq!(keys(&exporter.metrics()).len(), 14);
    let page = get(&exporter.url);
    for text in ["<h3>Usage</h3>", "<h3>Deployment</h3>", "failing"] {
        assert!(page.contains(text), "{text} is missing in {page}");
    }
    simulator.scenario("rows: portfolio");
    exporter.wait_for("deployment", |metrics| {
        let sold = metrics.named("partner_license_deployment_sold_licenses").count();
        let percent = metrics.named("partner_license_deployment_percent").count();
        ((sold, percent) == (4, 4)).then_some(())
    });
}

#[test]
fn a_collection_that_a_reload_turns_on_or_off_costs_the_others_nothing() {
    let simulator = Simulator::start("rows: portfolio");
    let (without, with) = (config(&simulator, ""), config(&simulator, "deployment: { enabled: true }"));
    let exporter = Exporter::start(&without, &[]);
    let polls = |metrics: &Exposition| metrics.of_usage("partner_license_scrapes_total", &[]);
    let mut before = exporter.wait_for("three polls", |metrics| polls(metrics).filter(|polls| *polls >= 3.0));
    for (config, expected) in [(&with, 4), (&without, 0), (&with, 4)] {
        write_config(exporter.directory.path(), config);
        assert_eq!(exporter.reload(), 200);
        exporter.wait_for("the deployment collection, or its end", |metrics| {
            assert_eq!(keys(metrics).len(), 14, "the rows of usage stay");
            assert!(polls(metrics) >= Some(before), "its counters go on");
            let of_deployment =
                metrics.named("partner_license_up").any(|(labels, _)| labels["collection"] == "deployment");
            let rows = metrics.named("partner_license_deployment_percent").count();
            (rows == expected && of_deployment == (expected > 0)).then_some(())
        });
        before = polls(&exporter.metrics()).unwrap();
    }
}

#[test]
fn the_rows_of_every_collection_are_restored_after_a_restart() {
    let simulator = Simulator::start("{rows: portfolio, usage: {answer: not_found}}");
    let config = config(&simulator, "deployment: { enabled: true }");
    let exporter = Exporter::start(&config, &[]);
    let complete = |metrics: &Exposition| {
        let rows = metrics.named("partner_license_deployment_percent").count();
        (rows == 4 && keys(metrics).len() == 14).then_some(())
    };
    exporter.wait_for("both collections", complete);
    let directory = std::sync::Arc::clone(&exporter.directory);
    exporter.process.kill();
    simulator.kill();
    let again = Exporter::start_in(directory, &config, &[]);
    let metrics = again.metrics();
    assert_eq!(complete(&metrics), Some(()), "restored before the first scrape");
    assert_eq!(source(&metrics), ["commercial"]);
    assert_eq!(metrics.named("partner_license_usage_active_licenses").count(), 14);
}
