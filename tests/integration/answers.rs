//! The responses of Entra ID and Partner Center, and how the program handles each: the tables in `answers/`.
//!
//! One process polls all rows of a table, each as an account with its own tenant, with the real client over real
//! sockets. Everything observed of an account after its first poll is compared with its row: a series, a request or a
//! log line that the row does not mention fails the test.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod api_errors;
mod bodies;
mod commands;
mod customers;
mod decoding;
mod observed;
mod paging;
mod row;
mod sign_in;
mod sources;
mod successor;

use std::collections::{BTreeMap, BTreeSet};

use crate::support;
use crate::support::exposition::{self, Exposition};
use crate::support::{Exporter, Simulator, account, eventually, get};
use observed::{Observed, breaks_a_line};
use row::{Facts, NO_ROWS, POLL_INTERVAL, Poll, Row};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn every_successful_response_of_the_api_yields_its_rows_or_fails_for_its_reason() {
    check_rows(|_| decoding::rows());
}

#[test]
fn a_paged_collection_is_accepted_as_a_whole_or_not_at_all() {
    check_rows(paging::rows);
}

#[test]
fn every_error_response_of_the_api_has_its_reason() {
    check_rows(|_| api_errors::rows());
}

#[test]
fn every_response_of_the_successor_of_usage_yields_its_rows_or_fails_for_its_reason() {
    check_rows(successor::rows);
}

#[test]
fn each_collection_comes_from_the_source_that_has_it_or_fails_alone_for_its_reason() {
    check_rows(|_| sources::rows());
}

#[test]
fn every_response_about_customers_yields_their_rows_or_fails_for_its_reason() {
    check_rows(|_| customers::rows());
}

#[test]
fn every_response_of_the_sign_in_service_yields_a_token_or_has_its_reason() {
    check_rows(|_| sign_in::rows());
}

#[test]
fn fetch_prints_what_the_exporter_would_serve_or_fails_for_the_same_reason() {
    commands::check_fetch(|_| decoding::rows());
    commands::check_fetch(paging::rows);
    commands::check_fetch(|_| api_errors::rows());
    commands::check_fetch(successor::rows);
    commands::check_fetch(|_| sources::rows());
    commands::check_fetch(|_| customers::rows());
    commands::check_fetch(|_| sign_in::rows());
}

#[test]
fn backfill_writes_the_rows_of_the_successor_or_fails_for_the_same_reason() {
    commands::check_backfill(successor::rows);
}

/// What no page and no log may contain: the beginnings of the simulator's secrets, and of the tests' own tokens.
const SECRETS: [&str; 4] = [
    partner_center_simulator::CLIENT_SECRET,
    partner_center_simulator::REFRESH_TOKEN,
    "simulated-access-token",
    "another-token",
];

/// Checks the rows of a table, which may depend on the simulator's address, with one process.
fn check_rows(table: impl FnOnce(&str) -> Vec<Row>) {
    let simulator = Simulator::start("");
    let table = table(&simulator.url);
    let mut names = BTreeSet::new();
    for row in &table {
        assert!(names.insert(row.name), "two rows have the name {:?}", row.name);
    }
    simulator.scenario(&scenario(&table));
    let flags = ["--log.level", "debug", "--log.format", "json"];
    let mut exporter = Exporter::start(&config(&simulator, &table), &flags);

    let mut differences = Vec::new();
    for (row, seen) in table.iter().zip(observe_all(&exporter, &simulator, &table)) {
        differences.extend(compare(row, &row.facts(), &seen.facts(row)));
    }
    let (count, all) = (differences.len(), table.len());
    assert!(differences.is_empty(), "{count} of {all} rows differ:\n{}", differences.join("\n"));

    let log = exporter.process.stderr.text();
    for line in log.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "not a log line in JSON: {line}");
        assert!(!line.contains(breaks_a_line), "a control character in {line:?}");
    }
    let page = get(&exporter.url);
    assert!(!page.contains("<script"), "a label is not escaped");
    let shown = [log, page, both_formats(&exporter)];
    for secret in SECRETS {
        let leak = shown.iter().flat_map(|text| text.lines()).find(|line| line.contains(secret));
        assert_eq!(leak, None, "{secret} leaked");
    }
    exporter.process.wait_until_idle();
    exporter.process.signal(Signal::TERM);
    assert_eq!(exporter.process.wait().0.code(), Some(0), "a task ended before the shutdown");
}

fn tenant(number: usize) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

fn scenario(table: &[Row]) -> String {
    let of = |(number, row): (usize, &Row)| format!("  {}: {{ {} }}\n", tenant(number), row.scenario);
    format!("tenants:\n{}", table.iter().enumerate().map(of).collect::<String>())
}

fn config(simulator: &Simulator, table: &[Row]) -> String {
    let of = |(number, row): (usize, &Row)| {
        let collections = format!(", collections: {{ {} }}", row.collections);
        account(Some(row.name), &tenant(number), &simulator.url, &simulator.url, &collections)
    };
    let accounts: String = table.iter().enumerate().map(of).collect();
    format!("poll_interval: {POLL_INTERVAL}s\npoll_timeout: 60s\naccounts:\n{accounts}")
}

/// Observes each account as soon as the first poll of each of its collections is over. A failed poll is repeated after
/// 15 s at the earliest, so none has been repeated.
fn observe_all(exporter: &Exporter, simulator: &Simulator, rows: &[Row]) -> Vec<Observed> {
    let mut seen = BTreeMap::new();
    while seen.len() < rows.len() {
        let before = seen.len();
        eventually("the first polls of another account", || {
            let metrics = exporter.metrics();
            let is_new = |(number, row): &(usize, &Row)| !seen.contains_key(number) && is_over(row, &metrics);
            let new: Vec<_> = rows.iter().enumerate().filter(is_new).collect();
            if !new.is_empty() {
                let received = simulator.requests();
                let observed = |(number, row)| (number, observe(exporter, &metrics, &received, number, row));
                seen.extend(new.into_iter().map(observed));
            }
            (seen.len() > before).then_some(())
        });
    }
    seen.into_values().collect()
}

/// Returns whether each collection of the account has been polled.
fn is_over(row: &Row, metrics: &Exposition) -> bool {
    row.polls.iter().all(|poll| {
        let labels = [("account", row.name), ("collection", poll.collection)];
        metrics.value("partner_license_scrapes_total", &labels) >= Some(1.0)
    })
}

/// Waits for the log lines about the polls of an account, and returns what can be observed of it.
fn observe(
    exporter: &Exporter,
    metrics: &Exposition,
    received: &Value,
    number: usize,
    row: &Row,
) -> Observed {
    let log = &exporter.process.stderr;
    let wait_for_line = |poll: &Poll, messages: &[&str]| {
        log.wait_for(&format!("line of {:?}: {messages:?}", row.name), |line| {
            matching_line(line, row.name, messages).filter(|line| line["collection"] == poll.collection)
        });
    };
    let series =
        metrics.0.iter().filter(|((_, labels), _)| labels.get("account").is_some_and(|it| it == row.name));
    let tenant = tenant(number);
    let requests = received["requests"].as_array().unwrap().iter().filter(|it| it["tenant"] == *tenant);
    let mut seen = Observed {
        series: series.map(|(series, value)| (series.clone(), *value)).collect(),
        requests: requests.cloned().collect(),
        lines: Vec::new(),
    };
    for poll in &row.polls {
        wait_for_line(poll, &["First poll succeeded", "Polling failed"]);
        if poll.tells_dropped && seen.rows_were_dropped(poll.collection) {
            wait_for_line(poll, &["Rows of the collection were dropped"]);
        }
        if poll.is_empty() {
            wait_for_line(poll, &[NO_ROWS]);
        }
    }
    seen.lines.extend(log.text().lines().filter_map(|line| matching_line(line, row.name, &[])));
    seen
}

/// Returns the parsed line if it is about the account and has one of the messages; without messages, if it is a warning
/// or an error.
fn matching_line(line: &str, account: &str, messages: &[&str]) -> Option<Value> {
    // This is cheaper than parsing every line.
    line.contains(&Value::from(account).to_string()).then_some(())?;
    let line: Value = serde_json::from_str(line).ok()?;
    let is_wanted = match (messages, line["level"].as_str()?) {
        ([], level) => matches!(level, "WARN" | "ERROR"),
        (messages, _) => messages.contains(&line["msg"].as_str()?),
    };
    (line["account"] == account && is_wanted).then_some(line)
}

/// Returns the differences between what was expected of an account and what was found, if there are any.
fn compare(row: &Row, expected: &Facts, found: &Facts) -> Option<String> {
    let names: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let mut differences = String::new();
    for name in names {
        let [expected, found] = [expected, found].map(|facts| facts.get(name));
        if expected != found {
            let [expected, found] = [expected, found].map(|value| value.map_or("nothing", String::as_str));
            differences += &format!("\n  {name}\n    expected {expected}\n    found    {found}");
        }
    }
    let scenario: String = row.scenario.chars().take(200).collect();
    (!differences.is_empty()).then(|| format!("\n{}\n  {scenario}{differences}", row.name))
}

/// Returns the metrics as text and as OpenMetrics, and checks that both can be parsed and have the same rows.
fn both_formats(exporter: &Exporter) -> String {
    let url = format!("{}/metrics", exporter.url);
    let open = || {
        let accept = "application/openmetrics-text;version=1.0.0";
        let mut answer = support::agent().get(&url).header("Accept", accept).call().unwrap();
        let format = answer.headers()["content-type"].to_str().unwrap();
        assert!(format.starts_with("application/openmetrics-text"), "{format}");
        answer.body_mut().read_to_string().unwrap()
    };
    let rows = |text: &str| -> BTreeMap<_, _> {
        let Exposition(series) = exposition::parse(text);
        series.into_iter().filter(|((name, _), _)| name == "partner_license_usage_percent").collect()
    };
    let (text, open) = (get(&url), open());
    assert_eq!(rows(&text), rows(&open), "the formats disagree about rows");
    text + &open
}
