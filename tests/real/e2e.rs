//! Tests of the exporter with the real Prometheus, from the text of the metrics to the stored series.

#![expect(clippy::unwrap_used, clippy::float_cmp, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use libtest_mimic::{Arguments, Conclusion};
use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::backfill;
use crate::shards;
use crate::sources;
use crate::support;
use crate::support::exposition::Series;
use crate::support::real::{Case, Prometheus, run_cases, run_tool, serve_text};
use crate::support::{Exporter, OTHER_TENANT, Simulator, TENANT, eventually, get};
use crate::textfile;

const CASES: [Case; 8] = [
    ("promtool_reports_no_problem_with_the_metrics", the_metrics_are_clean),
    ("promtool_reports_no_problem_with_many_series", many_metrics_are_clean),
    ("a_source_that_changes_and_changes_back_leaves_no_gap_and_raises_no_alert", sources::change),
    ("two_shards_with_two_replicas_each_are_to_prometheus_as_one_process", shards::are_as_one_process),
    ("a_year_before_the_first_day_is_imported_queried_and_removed", backfill::a_year_before_the_first_day),
    ("the_files_of_fetch_are_collected_by_node_exporter", textfile::files_are_collected),
    ("prometheus_stores_every_series_in_both_formats", every_series_is_stored),
    ("prometheus_scrapes_over_tls_with_a_password_by_every_protocol", every_protocol_over_tls),
];

pub(crate) fn run(arguments: &Arguments) -> Conclusion {
    run_cases(arguments, &CASES)
}

fn the_metrics_are_clean(suite: &'static str) {
    let (_simulator, exporter) = two_accounts();
    let text = get(&format!("{}/metrics", exporter.url));
    let output = run_tool(suite, "promtool", &["check", "metrics"], &text);
    assert_eq!(output.trim(), "");
}

fn many_metrics_are_clean(suite: &'static str) {
    // A newer promtool compares every series of a family with every other, which takes minutes for a hundred thousand.
    let (customers, least) = if suite == "bookworm" { (17_000, 100_000) } else { (1_700, 10_000) };
    let simulator = Simulator::start(&format!(
        "{{rows: portfolio, customers: {{count: {customers}, products: 1, workloads: 1}}}}"
    ));
    let collections =
        ", collections: { deployment: { enabled: true }, customers: { enabled: true, series: 100000 } }";
    let account = support::account(Some("contoso"), TENANT, &simulator.url, &simulator.url, collections);
    let exporter = Exporter::start(&format!("accounts:\n{account}"), &[]);
    let metrics = || {
        let mut answer = support::agent().get(format!("{}/metrics", exporter.url)).call().unwrap();
        answer.body_mut().with_config().limit(1 << 30).read_to_string().unwrap()
    };
    let text = eventually("the customers", || {
        Some(metrics()).filter(|text| text.contains("\npartner_license_customer_qualified_licenses{"))
    });
    let series = support::exposition::parse(&text).0.len();
    assert!(series >= least, "only {series} series");
    let output = run_tool(suite, "promtool", &["check", "metrics"], &text);
    assert_eq!(output.trim(), "");
}

/// An exporter with an account that works, whose rows need escaping, and an account that fails.
fn two_accounts() -> (Simulator, Exporter) {
    let simulator = Simulator::start(&format!(
        r#"
rows:
  - {{ service: o365, workload: "Exchange \"Online\" \\ <b>&amp;", channel: reseller, percent: 104.25, processed: "2026-11-20T00:00:00+00:00" }}
  - {{ service: o365, workload: "Téams\n✓", channel: direct, percent: 0.1, processed: "2026-11-20T00:00:00" }}
tenants:
  {OTHER_TENANT}: {{ usage: {{ answer: forbidden }} }}
"#
    ));
    let config = format!(
        "accounts:\n{}{}",
        simulator.account(Some("contoso"), TENANT),
        simulator.account(Some("fabrikam"), OTHER_TENANT)
    );
    let exporter = Exporter::start(&config, &[]);
    exporter.wait_for_polls(Some("contoso"), 1.0);
    exporter.wait_for_polls(Some("fabrikam"), 1.0);
    (simulator, exporter)
}

// === Prometheus ===

fn every_series_is_stored(suite: &'static str) {
    let (_simulator, exporter) = two_accounts();
    let classic = get(&format!("{}/metrics", exporter.url));
    // Prometheus prefers OpenMetrics, so a target that serves only the classic text stands in for that format.
    let classic_only = serve_text(classic.clone());
    let config = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs:\n\
         - {{ job_name: openmetrics, honor_labels: true, static_configs: [{{ targets: [\"{}\"] }}] }}\n\
         - {{ job_name: classic, honor_labels: true, static_configs: [{{ targets: [\"{classic_only}\"] }}] }}\n",
        exporter.url.trim_start_matches("http://"),
    );
    let prometheus = Prometheus::start(suite, &config);
    let exposed = support::exposition::parse(&classic);
    for job in ["openmetrics", "classic"] {
        eventually("a scrape", || {
            let up = prometheus.query(&format!("up{{job=\"{job}\"}}"));
            up.values().any(|up| *up == 1.0).then_some(())
        });
        let stored = prometheus.query(&format!("{{job=\"{job}\", __name__!~\"up|scrape_.*\"}}"));
        let stored: BTreeMap<Series, f64> = stored
            .into_iter()
            .map(|((name, mut labels), value)| {
                assert_eq!(labels.remove("job").as_deref(), Some(job));
                assert!(labels.remove("instance").is_some());
                (normalized(name, labels), value)
            })
            .collect();
        let exposed: BTreeMap<Series, f64> = exposed
            .0
            .clone()
            .into_iter()
            .map(|((name, labels), value)| (normalized(name, labels), value))
            .collect();
        let names = |samples: &BTreeMap<Series, f64>| samples.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&stored), names(&exposed), "series stored from {job}");
        for (series, value) in &exposed {
            let polled = series.0.starts_with("partner_license_");
            assert!(
                !polled || stored[series] == *value,
                "{series:?} is {value}, stored as {}",
                stored[series]
            );
        }
    }
    assert!(exposed.0.len() > 100, "only {} series were compared", exposed.0.len());
    // Only OpenMetrics contains units, so the unit shows which format was scraped.
    for (job, unit) in [("openmetrics", "percent"), ("classic", "")] {
        assert_eq!(prometheus.unit_of("partner_license_usage_percent", job), unit, "{job}");
    }
}

/// Prometheus formats the bounds of buckets in its own way: `1` or `1.0`.
fn normalized(name: String, mut labels: BTreeMap<String, String>) -> Series {
    if let Some(le) = labels.get_mut("le") {
        *le = le.parse::<f64>().unwrap().to_string();
    }
    (name, labels)
}

/// The scrape protocols that can be configured in a version of Prometheus; `None` configures none.
fn scrape_protocols(suite: &str) -> Vec<Option<&'static str>> {
    match suite {
        "bookworm" => vec![None],
        _ => vec![
            None,
            Some("PrometheusProto"),
            Some("OpenMetricsText0.0.1"),
            Some("OpenMetricsText1.0.0"),
            Some("PrometheusText0.0.4"),
            Some("PrometheusText1.0.0"),
        ],
    }
}

fn every_protocol_over_tls(suite: &'static str) {
    let simulator = Simulator::start("");
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(path("cert.pem"), cert.pem()).unwrap();
    fs::write(path("key.pem"), signing_key.serialize_pem()).unwrap();
    let hash = bcrypt::hash("sesame", 4).unwrap();
    let web = format!(
        "tls_server_config: {{ cert_file: cert.pem, key_file: key.pem }}\n\
         basic_auth_users: {{ prometheus: {hash} }}\n"
    );
    fs::write(path("web.yml"), web).unwrap();
    let accounts = format!("accounts:\n{}", simulator.account(None, TENANT));
    let exporter =
        Exporter::start_in(Arc::clone(&directory), &accounts, &["--web.config.file", &path("web.yml")]);

    let job = |name: &str, password: &str, protocols: &str| {
        format!(
            "- job_name: {name}\n  scheme: https\n  honor_labels: true\n  \
             tls_config: {{ ca_file: {ca}, server_name: localhost }}\n  \
             basic_auth: {{ username: prometheus, password: {password} }}\n  {protocols}\n  \
             static_configs: [{{ targets: [\"{address}\"] }}]\n",
            ca = path("cert.pem"),
            address = exporter.url.trim_start_matches("http://"),
        )
    };
    let protocols = scrape_protocols(suite);
    let name = |protocol: Option<&'static str>| protocol.unwrap_or("default");
    let mut jobs = job("wrong_password", "wrong", "");
    for protocol in &protocols {
        let setting = protocol.map_or_else(String::new, |protocol| format!("scrape_protocols: [{protocol}]"));
        jobs += &job(name(*protocol), "sesame", &setting);
    }
    let config = format!("global: {{ scrape_interval: 1s }}\nscrape_configs:\n{jobs}");
    let prometheus = Prometheus::start(suite, &config);
    for protocol in protocols.into_iter().map(name) {
        let rows = format!("partner_license_usage_percent{{job=\"{protocol}\"}}");
        eventually(&format!("rows by {protocol}"), || (prometheus.query(&rows).len() == 5).then_some(()));
        let up = prometheus.query(&format!("up{{job=\"{protocol}\"}}"));
        assert_eq!(up.into_values().collect::<Vec<_>>(), [1.0], "{protocol}");
        // The text formats of Prometheus cannot contain units; the other formats do.
        let unit = if protocol.starts_with("PrometheusText") { "" } else { "percent" };
        assert_eq!(prometheus.unit_of("partner_license_usage_percent", protocol), unit, "{protocol}");
    }
    eventually("the wrong password is refused", || {
        let up = prometheus.query("up{job=\"wrong_password\"}");
        (up.into_values().collect::<Vec<_>>() == [0.0]).then_some(())
    });
}
