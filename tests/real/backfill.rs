//! The past of the simulator in a real Prometheus: fetched, imported, checked and removed by the commands of
//! docs/guide/backfill.md, as they are written there.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use partner_license_exporter::domain::clock::{Clock, unix_seconds};
use serde_json::Value;

use crate::dashboards::prometheus::Prometheus;
use crate::support::real::{prometheus, root, tool};
use crate::support::{Exporter, Simulator, TENANT, account, agent, eventually, write_config};

const PAGE: &str = "docs/guide/backfill.md";
const DAYS: i64 = 400;
const ROWS: usize = 2;
const DAY: f64 = 86_400.0;
/// The expressions of a dashboard that compare now with a month ago.
const DETAIL: &str = "dashboards/partner-license-detail.json";

pub(crate) fn a_year_before_the_first_day(suite: &'static str) {
    let simulator = Simulator::start(&format!("{{ rows: portfolio, customers: {{ workloads: {ROWS} }} }}"));
    let source = ", collections: { usage: { source: commercial } }";
    let accounts = account(Some("contoso"), TENANT, &simulator.url, &simulator.url, source);
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    write_config(place, &format!("accounts:\n{accounts}"));
    let began = Clock::system().now();
    let first = (began - SignedDuration::from_hours(24 * DAYS)).to_zoned(TimeZone::UTC).date().to_string();

    // The commands of the page, with another first day and without pauses.
    let commands = commands();
    let [fetch, create, check, import, undo] = &commands[..] else { panic!("not five blocks: {commands:?}") };
    let fetch = fetch.replace("2025-01-01", &first).replace("--output", "--pace=0s --output");
    let said = shell(suite, place, &fetch);
    let (samples, _) = said.lines().last().unwrap().split_once(" samples of 8 series on ").unwrap();
    shell(suite, place, create);
    // These are ROWS of the 20 rows for which the limit is.
    let size = bytes_below(&place.join("blocks")) * 20 / ROWS as u64;
    assert!(size < 100_000_000, "the blocks of {DAYS} days of 20 rows would have {size} bytes");
    let counts = shell(suite, place, check);
    assert_eq!(counts.lines().collect::<Vec<_>>(), [samples, samples], "{said}");
    let data = place.join("data");
    fs::create_dir(&data).unwrap();
    let here = |commands: &str| commands.replace("/var/lib/prometheus/", &format!("{}/", data.display()));
    shell(suite, place, &here(import));

    let exporter = Exporter::start(&format!("accounts:\n{accounts}"), &[]);
    exporter.wait_for_polls(Some("contoso"), 1.0);
    let config = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: partner-license\n  honor_labels: true\n  \
         static_configs: [{{ targets: [{:?}], labels: {{ instance: \"exporter:10365\" }} }}]\n",
        exporter.url.trim_start_matches("http://"),
    );
    let start =
        || Prometheus::run(prometheus(suite, place, &config).arg("--storage.tsdb.retention.time=800d"));
    let server = start();
    let now = eventually("a scrape", || {
        let now = unix_seconds(Clock::system().now());
        (server.query("partner_license_usage_percent", now).unwrap().len() == ROWS).then_some(now)
    });
    figures_of_the_simulator(&server, &simulator, unix_seconds(began));
    one_series_from_the_past_to_now(&server, now);
    comparisons_are_filled(&server, now);

    drop(server);
    shell(suite, place, &here(undo));
    let server = start();
    let query = "count(last_over_time(partner_license_usage_percent[400d] offset 1d))";
    assert!(server.query(query, now).unwrap().is_empty(), "the past is gone");
    eventually("the live series", || {
        let now = unix_seconds(Clock::system().now());
        (server.query("partner_license_usage_percent", now).unwrap().len() == ROWS).then_some(())
    });
}

/// The size of all files in a directory and below.
fn bytes_below(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let size = |entry: fs::DirEntry| {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() { bytes_below(&entry.path()) } else { metadata.len() }
    };
    entries.map(size).sum()
}

/// At any time of a day before the fetch there are the figures that the simulator has for that day.
fn figures_of_the_simulator(server: &Prometheus, simulator: &Simulator, began: f64) {
    let token = access_token(simulator);
    let midnight = |ago: f64| ((began / DAY).floor() - ago) * DAY;
    for ago in [399.0, 398.0, 365.0, 364.0, 200.0, 30.0, 7.0, 2.0] {
        let date = Timestamp::from_second(format!("{}", midnight(ago)).parse().unwrap()).unwrap();
        let expected = figures(simulator, &token, &date.to_zoned(TimeZone::UTC).date().to_string());
        assert_eq!(expected.len(), ROWS);
        for seconds in [0.0, 0.001, 299.999, 300.0, 300.001, 4321.0, 43_200.0, 86_399.999] {
            let at = midnight(ago) + seconds;
            let of = |name: &str| -> BTreeMap<String, f64> {
                let series = server.query(&format!("partner_license_usage_{name}"), at).unwrap();
                series.iter().map(|it| (it.label("workload").unwrap().to_owned(), it.samples[0].1)).collect()
            };
            let (active, qualified, percent) =
                (of("active_licenses"), of("qualified_licenses"), of("percent"));
            for (workload, (used, total)) in &expected {
                let found = (active[workload], qualified[workload], percent[workload]);
                assert_eq!(
                    found,
                    (*used, *total, used * 100.0 / total),
                    "{workload} {ago} days ago, {seconds} s"
                );
            }
        }
    }
}

/// The live series are the imported ones: no label differs.
fn one_series_from_the_past_to_now(server: &Prometheus, now: f64) {
    for name in ["percent", "active_licenses", "qualified_licenses", "processed_timestamp_seconds"] {
        let query = format!("count_over_time(partner_license_usage_{name}[400d])");
        let found = server.query(&query, now).unwrap();
        assert_eq!(found.len(), ROWS, "{name}");
        assert!(
            found.iter().all(|series| series.samples[0].1 > 100_000.0),
            "{name} has the past and the present"
        );
    }
}

/// Each query that compares with a month or a year ago has a value for each row.
fn comparisons_are_filled(server: &Prometheus, now: f64) {
    let dashboard = fs::read_to_string(root().join(DETAIL)).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut queries = Vec::new();
    expressions(&dashboard, &mut queries);
    for offset in ["offset 30d", "offset 364d"] {
        // A table and a graph.
        let queries: Vec<_> = queries.iter().filter(|it| it.contains(offset)).collect();
        assert_eq!(queries.len(), 2, "{offset}");
        for query in queries {
            let query = ["account", "service", "workload", "channel"]
                .iter()
                .fold(query.clone(), |query, variable| query.replace(&format!("${variable}"), ".*"));
            let found = server.query(&query, now).unwrap_or_else(|error| panic!("{query}: {error}"));
            assert_eq!(found.len(), ROWS, "{query}");
        }
    }
    let year = server.query_range("partner_license_usage_percent", (now - 364.0 * DAY, now), 21_600).unwrap();
    assert_eq!(year.len(), ROWS);
    for series in year {
        // The last days have no figures yet.
        assert!(series.samples.len() >= 362 * 4, "{} points", series.samples.len());
    }
}

fn expressions(json: &Value, found: &mut Vec<String>) {
    match json {
        Value::Object(members) => {
            found.extend(members.get("expr").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|value| expressions(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

fn access_token(simulator: &Simulator) -> String {
    let url = format!("{}/{TENANT}/oauth2/v2.0/token", simulator.url);
    let scope = format!("{}/user_impersonation", simulator.url);
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", partner_center_simulator::CLIENT_ID),
        ("client_secret", partner_center_simulator::CLIENT_SECRET),
        ("refresh_token", partner_center_simulator::REFRESH_TOKEN),
        ("scope", &scope),
    ];
    let mut answer = agent().post(&url).send_form(form).unwrap();
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Active and qualified licences by workload, added up from the rows of a day.
fn figures(simulator: &Simulator, token: &str, day: &str) -> BTreeMap<String, (f64, f64)> {
    let url = format!("{}/v1/analytics/commercial/usage/license", simulator.url);
    let request =
        agent().get(&url).query("processedDateTime", day).header("Authorization", format!("Bearer {token}"));
    let text = request.call().unwrap().body_mut().read_to_string().unwrap();
    let answer: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap();
    let mut sums = BTreeMap::<String, (f64, f64)>::new();
    for row in answer["Value"].as_array().unwrap_or_else(|| panic!("{answer}")) {
        let sum = sums.entry(row["workloadName"].as_str().unwrap().to_owned()).or_default();
        sum.0 += row["licenseActive"].as_f64().unwrap();
        sum.1 += row["licensesQualified"].as_f64().unwrap();
    }
    sums
}

/// The blocks of commands of the page.
fn commands() -> Vec<String> {
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    page.split("```sh\n").skip(1).map(|block| block.split_once("```").unwrap().0.to_owned()).collect()
}

/// Runs commands in a shell that finds the program and the tools, and returns what they print.
fn shell(suite: &str, directory: &Path, commands: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_partner-license-exporter"));
    let tools = tool(suite, "promtool");
    let path = format!(
        "{}:{}:{}",
        program.parent().unwrap().display(),
        tools.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let output = Command::new("sh")
        .args(["-euc", commands])
        .current_dir(directory)
        .env("PATH", path)
        .output()
        .unwrap();
    let [text, complaints] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{commands}\n{text}{complaints}");
    text
}
