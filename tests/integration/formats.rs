//! Every format, as independent parsers read it: the Python client library of Prometheus for the text formats, the
//! protobuf library for the messages, and the parser of these tests.
//!
//! scripts/fetch-tools installs the Python libraries. Without them, these tests report that they were not run; with
//! `REQUIRE_TOOLS=1`, which scripts/test sets, they fail.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use partner_license_exporter::metrics::FAMILIES;

use crate::support;
use crate::support::exposition::{self, Series};
use crate::support::{Exporter, OTHER_TENANT, Simulator, TENANT, eventually};

const USAGE: &str = "partner_license_usage_percent";

/// The formats by their names in tests/integration/formats/parse.py, each with the `Accept` header that requests it.
const FORMATS: [(&str, &str); 4] = [
    ("classic", "text/plain;version=0.0.4"),
    ("openmetrics", "application/openmetrics-text;version=1.0.0"),
    ("openmetrics", "application/openmetrics-text;version=0.0.1"),
    (
        "delimited",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    ),
];

/// The output of a parser.
#[derive(Debug, PartialEq)]
struct Found {
    samples: BTreeMap<Series, f64>,
    /// The types and help texts of the families, by name.
    families: BTreeMap<String, (String, String)>,
    /// The units of the families, by name; a format without units has empty ones.
    units: BTreeMap<String, String>,
}

fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/python/bin/python");
    if python.exists() {
        return Some(python);
    }
    let what = format!("not found: {} (scripts/fetch-tools installs it)", python.display());
    assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "{what}");
    // The test harness hides what a passing test prints, so this goes to stderr directly.
    let mut terminal = std::io::stderr();
    writeln!(terminal, "NOT compared with other parsers: {what}").unwrap();
    None
}

/// Parses a body with an independent parser.
fn read(python: &Path, form: &str, coding: Option<&str>, body: &[u8]) -> Found {
    let mut child = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/formats/parse.py"))
        .arg(form)
        .args(coding)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{form}: {said}\n{}", String::from_utf8_lossy(body));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let samples: Vec<(String, BTreeMap<String, String>, String)> =
        serde_json::from_value(found["samples"].clone()).unwrap();
    let number_of_samples = samples.len();
    let samples: BTreeMap<Series, f64> = samples
        .into_iter()
        .map(|(name, labels, value)| (normal(name, labels), value.parse().unwrap()))
        .collect();
    assert_eq!(samples.len(), number_of_samples, "{form}: a series occurs twice");
    let families: BTreeMap<String, (String, String, String)> =
        serde_json::from_value(found["families"].clone()).unwrap();
    let units = families.iter().map(|(name, (.., unit))| (name.clone(), unit.clone())).collect();
    let families = families.into_iter().map(|(name, (kind, help, _))| (name, (kind, help))).collect();
    Found { samples, families, units }
}

/// Returns a series with the bounds of buckets as numbers, since each format writes them differently.
fn normal(name: String, mut labels: BTreeMap<String, String>) -> Series {
    if let Some(le) = labels.get_mut("le") {
        *le = le.parse::<f64>().unwrap().to_string();
    }
    (name, labels)
}

/// Returns the body of a response as the exporter sends it.
fn scrape(exporter: &Exporter, accept: &str, coding: &str) -> Vec<u8> {
    let request = support::agent().get(format!("{}/metrics", exporter.url));
    let mut answer = request.header("Accept", accept).header("Accept-Encoding", coding).call().unwrap();
    assert_eq!(answer.status(), 200);
    let header = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("content-encoding").unwrap_or("identity".to_owned()), coding);
    let length = header("content-length").unwrap();
    let mut body = Vec::new();
    answer.body_mut().as_reader().read_to_end(&mut body).unwrap();
    assert_eq!(body.len().to_string(), length, "{accept} {coding}");
    body
}

/// Checks that all parsers find the same in all formats, and returns it.
fn same_in_all_formats(exporter: &Exporter) -> Option<Found> {
    let python = python()?;
    // No poll runs meanwhile, but the page may not show the end of the last poll yet.
    let classic = eventually("a page that does not change", || {
        let [before, after] = [(); 2].map(|()| scrape(exporter, FORMATS[0].1, "identity"));
        (before == after).then_some(before)
    });
    let expected = read(&python, "classic", None, &classic);
    for (form, accept) in FORMATS {
        let plain = scrape(exporter, accept, "identity");
        let found = read(&python, form, None, &plain);
        assert_eq!(found.samples, expected.samples, "{accept}");
        assert_eq!(found.families, expected.families, "{accept}");
        let unit_of = |name: &str| found.units[name].clone();
        if form == "classic" {
            assert!(found.units.values().all(String::is_empty), "this format has units");
        } else if found.families.contains_key(USAGE) {
            assert_eq!(unit_of(USAGE), "percent", "{accept}");
        }
        let compressed = scrape(exporter, accept, "gzip");
        assert!(compressed.len() < plain.len() / 2, "{} of {}", compressed.len(), plain.len());
        assert_eq!(read(&python, form, Some("gzip"), &compressed), found, "{accept}");
        let compressed = scrape(exporter, accept, "zstd");
        assert_eq!(zstd::decode_all(&compressed[..]).unwrap(), plain, "{accept}");
        if let "classic" | "openmetrics" = form {
            let own = exposition::parse(&String::from_utf8(plain).unwrap()).0;
            let own: BTreeMap<Series, f64> =
                own.into_iter().map(|((name, labels), value)| (normal(name, labels), value)).collect();
            assert_eq!(own, expected.samples, "{accept}");
        }
    }
    Some(expected)
}

/// Without these metrics, pages do not change between polls.
const CONSTANT_PAGE: [&str; 1] = ["--web.disable-exporter-metrics"];

#[test]
fn all_parsers_agree_about_all_formats_for_any_labels_of_rows() {
    let simulator = Simulator::start(&format!(
        r##"
rows:
  - {{ service: o365, workload: "Exchange \"Online\" \\ {{<b>&amp;}}, x=\"y\"", channel: reseller, percent: 104.25, processed: "2026-11-20T00:00:00Z" }}
  - {{ service: "\\n", workload: "Téams\n✓ 雲 \U0001F600", channel: "\"", percent: 0.1, processed: "2026-11-20T00:00:00.5" }}
  - {{ service: "#\t\r", workload: " ", channel: "\u0001\u007f\u2028", percent: 0.0000000012, processed: "2026-11-20T00:00:00Z" }}
  - {{ service: large, workload: number, channel: direct, percent: 1.7976931348623157e308, processed: "2026-11-20T00:00:00Z" }}
commercial_usage:
  rows:
    - {{ customerTenantId: "c\"1\\", customerName: "Contoso \"Ltd\"\n✓ 雲 \\", serviceCode: o365, workloadName: "\t{{}}", channel: reseller, licensesActive: 3, licensesQualified: 9007199254740992, processedDateTime: "2026-11-20" }}
commercial_deployment:
  rows:
    - {{ customerTenantId: "c\"1\\", serviceCode: o365, channel: "#", licensesDeployed: 0, licensesSold: 7, processedDateTime: "2026-11-20" }}
tenants:
  {OTHER_TENANT}: {{ usage: {{ answer: forbidden }} }}
"##
    ));
    let config = format!(
        "collections: {{deployment: {{enabled: true}}, customers: {{enabled: true}}}}\naccounts:\n{}{}{}",
        simulator.account(Some("contoso"), TENANT),
        simulator.account(Some("fabrikam"), OTHER_TENANT),
        support::account(
            Some("tailspin"),
            "33333333-3333-3333-3333-333333333333",
            &simulator.url,
            &simulator.url,
            ", collections: { usage: { source: commercial } }"
        ),
    );
    let exporter = Exporter::start(&config, &CONSTANT_PAGE);
    // From then on the page stays the same.
    exporter.wait_for("a poll of each of three collections of three accounts", |metrics| {
        let polls = metrics.named("partner_license_scrapes_total");
        (polls.filter(|(_, count)| *count >= 1.0).count() == 9).then_some(())
    });
    for name in ["contoso", "fabrikam", "tailspin"] {
        let labels = [("account", name), ("collection", "customers")];
        let is_up =
            |metrics: &exposition::Exposition| metrics.value("partner_license_up", &labels) == Some(1.0);
        exporter.wait_for("customers", |metrics| is_up(metrics).then_some(()));
    }
    let Some(found) = same_in_all_formats(&exporter) else { return };
    let of_accounts = FAMILIES.iter().map(|family| family.name).filter(|name| {
        name.starts_with("partner_license_") && !name.starts_with("partner_license_exporter_")
    });
    let missing: Vec<_> = of_accounts.filter(|name| !found.families.contains_key(*name)).collect();
    assert_eq!(missing, ["partner_license_client_certificate_expiry_timestamp_seconds"]);
    let info = found.samples.keys().find(|(name, _)| name == "partner_license_customer_info").unwrap();
    assert_eq!((&*info.1["customer"], &*info.1["customer_name"]), ("c\"1\\", "Contoso \"Ltd\"\n✓ 雲 \\"));

    let rows: Vec<(&BTreeMap<String, String>, f64)> = found
        .samples
        .iter()
        .filter(|((name, _), _)| name == USAGE)
        .map(|((_, labels), value)| (labels, *value))
        .collect();
    let value = |workload: &str| {
        rows.iter().find(|(labels, _)| labels["workload"] == workload).unwrap_or_else(|| panic!("{rows:?}")).1
    };
    let values = ["Exchange \"Online\" \\ {<b>&amp;}, x=\"y\"", "Téams\n✓ 雲 😀", " ", "number"].map(value);
    assert_eq!(values.map(f64::to_bits), [104.25, 0.1, 1.2e-9, f64::MAX].map(f64::to_bits));
    let count = ("partner_license_api_request_duration_seconds_count".to_owned(), BTreeMap::new());
    let observed = found.samples.range(count..).next().unwrap();
    assert!(*observed.1 >= 1.0, "an empty histogram: {observed:?}");
}

#[test]
fn all_parsers_agree_about_all_formats_without_rows() {
    let simulator = Simulator::start("usage: { answer: empty }");
    let exporter =
        Exporter::start(&format!("accounts:\n{}", simulator.account(None, TENANT)), &CONSTANT_PAGE);
    exporter.wait_for_polls(None, 1.0);
    let Some(found) = same_in_all_formats(&exporter) else { return };
    assert!(!found.families.contains_key(USAGE), "a family without samples is exported");
    let labels = BTreeMap::from([("collection".to_owned(), "usage".to_owned())]);
    let value = |name: &str| found.samples[&(name.to_owned(), labels.clone())].to_bits();
    assert_eq!(value("partner_license_rows"), 0.0_f64.to_bits());
    assert_eq!(value("partner_license_up"), 1.0_f64.to_bits());
}

#[test]
fn every_format_has_the_process_metrics() {
    let simulator = Simulator::start("");
    let exporter = Exporter::start(&format!("accounts:\n{}", simulator.account(None, TENANT)), &[]);
    exporter.wait_for_polls(None, 1.0);
    let Some(python) = python() else { return };
    let series = |found: Found| -> BTreeSet<Series> { found.samples.into_keys().collect() };
    let expected = series(read(&python, "classic", None, &scrape(&exporter, FORMATS[0].1, "identity")));
    for name in
        ["process_cpu_seconds_total", "process_network_receive_bytes_total", "process_start_time_seconds"]
    {
        assert!(expected.contains(&(name.to_owned(), BTreeMap::new())), "{name}");
    }
    for (form, accept) in FORMATS {
        let body = scrape(&exporter, accept, "gzip");
        assert_eq!(series(read(&python, form, Some("gzip"), &body)), expected, "{accept}");
    }
}
