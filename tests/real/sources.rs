//! A change of the source of usage and deployment, as the real Prometheus sees it.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;

use crate::support::real::{Prometheus, root, with_short_waits};
use crate::support::{Exporter, Simulator, TENANT, account, eventually, put_scenario};

/// What the old sources do one after the other, and which source the rows then come from.
const SCENARIOS: [(&str, &str); 6] = [
    ("{answer: not_found}", "commercial"),
    ("{}", "licenses"),
    ("{answer: empty}", "commercial"),
    ("{}", "licenses"),
    ("{status: 410, body: ''}", "commercial"),
    ("{}", "licenses"),
];

/// The families whose series stay the same, each with the number of its series.
const FAMILIES: [(&str, u16); 5] = [
    ("partner_license_usage_percent", 14),
    ("partner_license_usage_threshold_percent", 14),
    ("partner_license_deployment_percent", 4),
    ("partner_license_deployment_sold_licenses", 4),
    ("partner_license_customer_qualified_licenses", 500),
];

/// Checks that Prometheus sees a change of the source in `partner_license_usage_source_info` alone.
pub(crate) fn change(suite: &'static str) {
    let simulator = Simulator::start("rows: portfolio");
    let collections = ", collections: { deployment: { enabled: true }, customers: { enabled: true } }";
    let account = account(None, TENANT, &simulator.url, &simulator.url, collections);
    // No row is below this threshold, so that none is low for a reason of its own.
    let config = format!("poll_interval: 3s\nthresholds: {{ default_percent: 0 }}\naccounts:\n{account}");
    let exporter = Exporter::start(&config, &[]);
    exporter.wait_for("a poll of each collection", |metrics| {
        FAMILIES.iter().all(|(name, count)| metrics.named(name).count() == usize::from(*count)).then_some(())
    });
    let prometheus = start(suite, &exporter);
    let query = |query: &str| prometheus.query(query).into_values().collect::<Vec<_>>();
    // Before the first scrape there is no exporter for the rules.
    let began = eventually("scrapes, and no alert", || {
        let is_scraped = query("count_over_time(up[10m])").first()? >= &3.0;
        (is_scraped && query("ALERTS").is_empty()).then(|| query("vector(time())")[0])
    });
    for (old, source) in SCENARIOS {
        let scenario = format!("{{rows: portfolio, usage: {old}, deployment: {old}}}");
        put_scenario(&simulator.url, &scenario);
        eventually("the source in Prometheus", || {
            let found = prometheus.query("partner_license_usage_source_info");
            let sources: Vec<_> = found.keys().map(|(_, labels)| labels["source"].as_str()).collect();
            (sources == [source]).then_some(())
        });
        // Two further evaluations of the rules.
        let scrapes = query("count_over_time(up[10m])")[0];
        eventually("some scrapes", || (query("count_over_time(up[10m])")[0] >= scrapes + 2.0).then_some(()));
    }

    for (name, count) in FAMILIES {
        // One query, as Prometheus goes on to scrape.
        let missing = query(&format!(
            "sum(count_over_time(up[10m])) - on() group_right() count_over_time({name}[10m])"
        ));
        assert_eq!(missing.len(), usize::from(count), "{name} has had no other series");
        assert!(missing.iter().all(|samples| samples.abs() <= 1.0), "{name} has gaps: {missing:?}");
        for aggregation in ["min", "max"] {
            let counts = query(&format!("{aggregation}_over_time(count({name})[10m:1s])"));
            assert_eq!(counts, [f64::from(count)], "{aggregation} of {name}");
        }
    }
    for (what, expected) in [
        ("max_over_time(count(partner_license_usage_source_info)[10m:1s])", 1.0),
        ("count(count by (source) (count_over_time(partner_license_usage_source_info[10m])))", 2.0),
        ("min(min_over_time(partner_license_up[10m]))", 1.0),
        ("sum(partner_license_scrape_failures_total)", 0.0),
        ("sum(partner_license_rows_rejected_total)", 0.0),
    ] {
        assert_eq!(query(what), [expected], "{what}");
    }
    let seconds = (query("vector(time())")[0] - began).ceil();
    let alerts = prometheus.query(&format!("count_over_time(ALERTS[{seconds}s])"));
    let names: BTreeSet<_> = alerts.keys().map(|(_, labels)| labels["alertname"].clone()).collect();
    assert_eq!(names, BTreeSet::new(), "no alert has been pending or firing");

    // These rules do see what is wrong.
    put_scenario(&simulator.url, "{rows: portfolio, usage: {answer: forbidden}}");
    eventually("an alert about a failing poll", || {
        let query = "ALERTS{alertname=\"PartnerLicenseScrapeFailing\", collection=\"usage\"}";
        (!prometheus.query(query).is_empty()).then_some(())
    });
}

/// Starts Prometheus with the shipped rules, which it evaluates every second. A scrape may take two on a busy machine.
fn start(suite: &str, exporter: &Exporter) -> Prometheus {
    let shipped = fs::read_to_string(root().join("alerts/partner-license.rules.yml")).unwrap();
    let rules = exporter.directory.path().join("rules.yml");
    fs::write(&rules, with_short_waits(&shipped, &["interval"])).unwrap();
    let config = format!(
        "global: {{ scrape_interval: 2s, evaluation_interval: 1s }}\nrule_files: [ {} ]\n\
         scrape_configs: [{{ job_name: any, honor_labels: true, static_configs: [{{ targets: [{:?}] }}] }}]\n",
        rules.display(),
        exporter.url.trim_start_matches("http://"),
    );
    Prometheus::start(suite, &config)
}
