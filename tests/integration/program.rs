//! What users rely on: the real program against the simulator, over real sockets.

#![expect(clippy::float_cmp, reason = "0, 1 and counts are exact")]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "real processes take real time")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use partner_license_exporter::metrics::FAMILIES;
use rustix::process::Signal;

use crate::support;
use crate::support::{
    Exporter, OTHER_TENANT, Process, STOP, Simulator, TENANT, eventually, get, listening_on, program, run,
    write_config,
};

/// The rows in Microsoft's documentation, all of them at 0 %: service, workload and channel.
const DOCUMENTED: [(&str, &str, &str); 5] = [
    ("crm", "Microsoft Dynamics CRM", "reseller"),
    ("crm", "SharePoint", "reseller"),
    ("o365", "Exchange", "reseller"),
    ("o365", "SharePoint", "reseller"),
    ("o365", "Skype For Business", "reseller"),
];

const USAGE: &str = "partner_license_usage_percent";

fn usage_of(percent: f64) -> String {
    format!(
        "rows: [{{ service: o365, workload: Exchange, channel: reseller, percent: {percent:?}, \
         processed: \"2026-11-20T00:00:00+00:00\" }}]\n"
    )
}

#[test]
fn the_documented_demo_serves_exactly_the_documented_series_without_account_labels() {
    let loopback = ["--web.listen-address", "127.0.0.1:0", "--simulator.listen-address", "127.0.0.1:0"];
    let mut demo = Process::start(&mut program(&[&["demo", "--documented"], &loopback[..]].concat()));
    let url = format!("http://{}", listening_on(&demo.stderr));
    let metrics = eventually("the first poll", || {
        let metrics = support::exposition::parse(&get(&format!("{url}/metrics")));
        (metrics.of_usage("partner_license_up", &[]) == Some(1.0)).then_some(metrics)
    });
    let mut expected: Vec<_> = DOCUMENTED
        .map(|(service, workload, channel)| {
            let labels = [("channel", channel), ("service", service), ("workload", workload)];
            labels.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
        })
        .to_vec();
    expected.sort();
    let mut found: Vec<Vec<_>> = metrics
        .named(USAGE)
        .map(|(labels, value)| {
            assert!(value.abs() < f64::EPSILON, "{labels:?} is {value}");
            labels.clone().into_iter().collect()
        })
        .collect();
    found.sort();
    assert_eq!(found, expected);
    let address = format!("{url}/metrics");
    demo.stdout.wait_for("address of the metrics", |line| line.contains(&address).then_some(()));

    demo.signal(Signal::INT);
    assert_eq!(demo.wait().0.code(), Some(0));
}

#[test]
fn the_demo_has_a_portfolio_with_changing_values_beside_the_documented_rows() {
    let loopback = ["--web.listen-address", "127.0.0.1:0", "--simulator.listen-address", "127.0.0.1:0"];
    let demo = Process::start(&mut program(&[&["demo", "--poll-interval=1s"], &loopback[..]].concat()));
    let url = format!("http://{}", listening_on(&demo.stderr));
    let (documented, portfolio, muted) = eventually("polls of both accounts", || {
        let metrics = support::exposition::parse(&get(&format!("{url}/metrics")));
        let count = |name, account| metrics.named(name).filter(|(of, _)| of["account"] == account).count();
        let (documented, portfolio) = (count(USAGE, "documented"), count(USAGE, "portfolio"));
        let muted = portfolio - count("partner_license_usage_threshold_percent", "portfolio");
        (documented > 0 && portfolio > 0).then_some((documented, portfolio, muted))
    });
    assert_eq!(documented, 5);
    assert!(portfolio > 5, "the portfolio has {portfolio} rows");
    assert_eq!(muted, 1, "not exactly one row is muted");
    let values = |account: &str| -> Vec<String> {
        let metrics = support::exposition::parse(&get(&format!("{url}/metrics")));
        let rows = metrics.named(USAGE).filter(|(labels, _)| labels["account"] == account);
        rows.map(|(labels, value)| format!("{labels:?} {value}")).collect()
    };
    let (moving, still) = (values("portfolio"), values("documented"));
    eventually("changed values", || (values("portfolio") != moving).then_some(()));
    assert_eq!(values("documented"), still);
}

#[test]
fn the_demo_has_every_series_about_licences_and_forty_customers() {
    let loopback = ["--web.listen-address", "127.0.0.1:0", "--simulator.listen-address", "127.0.0.1:0"];
    let demo = Process::start(&mut program(&[&["demo"], &loopback[..]].concat()));
    let url = format!("http://{}", listening_on(&demo.stderr));
    let reported = ["partner_license_usage_", "partner_license_deployment_", "partner_license_customer"];
    let families = || FAMILIES.iter().map(|family| family.name);
    let expected: Vec<_> = families().filter(|name| reported.iter().any(|of| name.starts_with(of))).collect();
    let metrics = eventually("polls of all collections", || {
        let metrics = support::exposition::parse(&get(&format!("{url}/metrics")));
        let has_all = expected.iter().all(|name| metrics.named(name).next().is_some());
        let sources = metrics.named("partner_license_usage_source_info").count();
        (has_all && sources == 2).then_some(metrics)
    });
    assert_eq!(metrics.value("partner_license_customers", &[("account", "portfolio")]), Some(40.0));
    let sources = metrics.named("partner_license_usage_source_info");
    let sources: Vec<_> = sources.map(|(labels, _)| (&*labels["account"], &*labels["source"])).collect();
    assert_eq!(sources, [("documented", "licenses"), ("portfolio", "commercial")]);
}

#[test]
fn the_commands_that_the_demo_prints_start_and_end_a_failure_and_keep_the_rows() {
    let loopback = ["--web.listen-address", "127.0.0.1:0", "--simulator.listen-address", "127.0.0.1:0"];
    let flags = ["demo", "--poll-interval=1s"];
    let demo = Process::start(&mut program(&[&flags[..], &loopback[..]].concat()));
    let url = format!("http://{}", listening_on(&demo.stderr));
    let rows_if_up = |up: f64| {
        let metrics = support::exposition::parse(&get(&format!("{url}/metrics")));
        let of_usage = metrics.named("partner_license_up").filter(|(of, _)| of["collection"] == "usage");
        let accounts: Vec<f64> = of_usage.map(|(_, value)| value).collect();
        let all = accounts.len() == 2 && accounts.iter().all(|value| *value == up);
        all.then(|| metrics.named(USAGE).count())
    };
    let before = eventually("good polls", || rows_if_up(1.0));
    // curl -X PUT -d '{…}' http://…/simulator/scenario
    let said = eventually("two commands", || {
        Some(demo.stdout.text()).filter(|said| said.matches("curl -X PUT -d '").count() >= 2)
    });
    let puts: Vec<_> = said.lines().filter_map(|line| line.trim().strip_prefix("curl -X PUT -d '")).collect();
    let puts: Vec<_> = puts.iter().map(|put| put.split_once("' ").unwrap()).collect();
    let [(failure, address), (end, _)] = puts[..] else { panic!("not two commands: {said}") };
    let simulator = address.strip_suffix("/simulator/scenario").unwrap();
    support::put_scenario(simulator, failure);
    eventually("failures", || rows_if_up(0.0));
    support::put_scenario(simulator, end);
    assert_eq!(eventually("good polls again", || rows_if_up(1.0)), before);
}

#[test]
fn the_demo_exits_with_one_line_if_it_cannot_write_the_history() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("file"), directory.path().join("link"));
    std::fs::write(&file, "not a directory").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let below = file.join("history.om");
    for (history, why) in [
        (&below, format!("cannot create the directory {}: File exists (os error 17)", file.display())),
        (&link, "it exists and is not a regular file".to_owned()),
    ] {
        let (code, said, errors) = run(&[
            "demo",
            "--web.listen-address=127.0.0.1:0",
            "--simulator.listen-address=127.0.0.1:0",
            "--history",
            history.to_str().unwrap(),
        ]);
        let errors: Vec<&str> = errors.lines().filter(|line| !line.starts_with("time=")).collect();
        let expected = format!("error: cannot write {}: {why}", history.display());
        assert_eq!((code, &errors[..]), (2, &[expected.as_str()][..]));
        assert!(!said.contains("past"), "{said}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a directory");
}

#[test]
fn a_demo_that_is_stopped_while_it_writes_the_history_leaves_no_partial_file() {
    let directory = tempfile::tempdir().unwrap();
    let history = directory.path().join("history.om");
    let mut command = program(&["demo", "--web.listen-address=127.0.0.1:0"]);
    command.args(["--simulator.listen-address=127.0.0.1:0", "--history"]).arg(&history);
    let mut demo = Process::start(&mut command);
    let files = || std::fs::read_dir(directory.path()).unwrap().count();
    eventually("a part of the history", || (files() > 0).then_some(()));
    demo.signal(Signal::INT);
    assert_eq!(demo.wait().0.code(), Some(0));
    // If the history was already complete, the file has its final name.
    assert_eq!(files(), usize::from(history.exists()));
}

#[test]
fn a_thousand_scrapes_cause_no_request_to_the_api() {
    let simulator = Simulator::start("");
    let exporter = Exporter::start(&format!("accounts:\n{}", simulator.account(None, TENANT)), &[]);
    exporter.wait_for_polls(None, 1.0);
    let before = simulator.requests()["totals"].clone();
    let agent = support::agent();
    for _ in 0..1000 {
        assert_eq!(agent.get(&format!("{}/metrics", exporter.url)).call().unwrap().status(), 200);
    }
    assert_eq!(simulator.requests()["totals"], before);
    assert_eq!(before, serde_json::json!({ "token": 1, "usage": 1 }));
}

#[test]
fn during_an_outage_of_the_api_rows_stay_until_they_are_stale_and_health_metrics_stay() {
    let simulator = Simulator::start(&usage_of(41.5));
    let config = format!(
        "poll_interval: 1s\npoll_timeout: 5s\nstale_after: 8s\naccounts:\n{}",
        simulator.account(None, TENANT)
    );
    let exporter = Exporter::start(&config, &[]);
    exporter.wait_for_polls(None, 1.0);
    simulator.kill();

    let labels = [("service", "o365"), ("workload", "Exchange"), ("channel", "reseller")];
    exporter.wait_for("a failure under its reason, and the last good rows", |metrics| {
        let failures = metrics.of_usage("partner_license_scrape_failures_total", &[("reason", "network")])?;
        let up = metrics.of_usage("partner_license_up", &[])?;
        let value = metrics.value(USAGE, &labels)?;
        (failures >= 1.0 && up == 0.0 && (value - 41.5).abs() < 1e-9).then_some(())
    });
    let after = exporter.wait_for("the removal of stale rows", |metrics| {
        let metrics = metrics.named(USAGE).next().is_none().then(|| exporter.metrics())?;
        Some(metrics)
    });
    for family in [
        USAGE,
        "partner_license_usage_processed_timestamp_seconds",
        "partner_license_usage_threshold_percent",
    ] {
        assert_eq!(after.named(family).count(), 0, "{family}");
    }
    for family in [
        "partner_license_up",
        "partner_license_last_success_timestamp_seconds",
        "partner_license_scrapes_total",
    ] {
        assert_eq!(after.named(family).count(), 1, "{family}");
    }
}

#[test]
fn series_of_rows_that_are_removed_from_the_collection_are_removed() {
    let simulator = Simulator::start("");
    let config = format!("poll_interval: 1s\naccounts:\n{}", simulator.account(None, TENANT));
    let exporter = Exporter::start(&config, &[]);
    exporter.wait_for("five rows", |metrics| (metrics.named(USAGE).count() == 5).then_some(()));
    simulator.scenario(&usage_of(7.0));
    exporter.wait_for("one row", |metrics| (metrics.named(USAGE).count() == 1).then_some(()));
    simulator.scenario("usage: { answer: empty }");
    exporter.wait_for("an empty collection, which is a success", |metrics| {
        let rows = metrics.of_usage("partner_license_rows", &[])?;
        let up = metrics.of_usage("partner_license_up", &[])?;
        (rows == 0.0 && up == 1.0 && metrics.named(USAGE).count() == 0).then_some(())
    });
}

#[test]
fn after_kill_9_the_exporter_signs_in_with_the_stored_successor_of_the_first_refresh_token() {
    let simulator = Simulator::start("rotation: strict");
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    let exporter = Exporter::start(&config, &[]);
    exporter.wait_for_polls(None, 1.0);
    let directory = Arc::clone(&exporter.directory);
    exporter.process.kill();

    // An exporter with only the first token shows that this token is refused by now.
    let newcomer = Exporter::start(&config, &[]);
    newcomer.wait_for("refused credentials", |metrics| {
        let refused =
            metrics.of_usage("partner_license_scrape_failures_total", &[("reason", "credentials")])?;
        (refused == 1.0).then_some(())
    });

    let again = Exporter::start_in(directory, &format!("poll_interval: 1s\n{config}"), &[]);
    again.wait_for_polls(None, 1.0);
    assert_eq!(again.metrics().of_usage("partner_license_up", &[]), Some(1.0));
}

/// Returns the snapshot file of the only account.
fn snapshot_in(directory: &Path) -> PathBuf {
    let client = partner_center_simulator::CLIENT_ID;
    directory.join(format!("state/usage-{TENANT}-{client}.json"))
}

/// Runs an exporter until its rows are on the disk, and kills it; returns its directory and metrics.
fn store_rows(config: &str) -> (Arc<tempfile::TempDir>, support::exposition::Exposition) {
    let exporter = Exporter::start(config, &[]);
    exporter.wait_for_polls(None, 1.0);
    let (directory, metrics) = (Arc::clone(&exporter.directory), exporter.metrics());
    eventually("rows on the disk", || snapshot_in(directory.path()).exists().then_some(()));
    exporter.process.kill();
    (directory, metrics)
}

#[test]
fn a_restart_while_the_api_is_down_serves_the_last_good_rows_on_the_first_scrape() {
    let simulator = Simulator::start("");
    // A poll is due a second later, so the new process notices that the API is down.
    let config = format!("poll_interval: 1s\naccounts:\n{}", simulator.account(None, TENANT));
    let (directory, _) = store_rows(&config);
    let snapshot = std::fs::read_to_string(snapshot_in(directory.path())).unwrap();
    let snapshot: serde_json::Value = serde_json::from_str(&snapshot).unwrap();
    simulator.kill();

    let again = Exporter::start_in(directory, &config, &[]);
    let first = again.metrics();
    assert_eq!(first.named(USAGE).count(), 5);
    assert_eq!(first.named("partner_license_usage_processed_timestamp_seconds").count(), 5);
    assert_eq!(first.of_usage("partner_license_rows", &[]), Some(5.0));
    assert_eq!(first.of_usage("partner_license_up", &[]), Some(0.0));
    let polled_at: jiff::Timestamp = snapshot["polled_at"].as_str().unwrap().parse().unwrap();
    let polled_at = partner_license_exporter::domain::clock::unix_seconds(polled_at);
    assert_eq!(first.of_usage("partner_license_last_success_timestamp_seconds", &[]), Some(polled_at));
    let failed = again.wait_for("a failed poll", |metrics| {
        let failures = metrics.of_usage("partner_license_scrape_failures_total", &[("reason", "network")])?;
        (failures >= 1.0).then(|| metrics.named(USAGE).count())
    });
    assert_eq!(failed, 5, "rows are missing after a failed poll");
    assert_eq!(again.metrics().of_usage("partner_license_up", &[]), Some(0.0));
}

#[test]
fn the_first_scrape_after_a_restart_during_an_outage_takes_less_than_50_ms() {
    let simulator = Simulator::start("");
    let config = format!("poll_interval: 1s\naccounts:\n{}", simulator.account(None, TENANT));
    let (directory, _) = store_rows(&config);
    simulator.kill();
    // The machine may be busy, so it is enough if one of five starts is that fast.
    let starts = (0..5).map(|_| {
        let again = Exporter::start_in(Arc::clone(&directory), &config, &[]);
        let listening = Instant::now();
        assert_eq!(again.metrics().named(USAGE).count(), 5);
        listening.elapsed()
    });
    let fastest = starts.min().unwrap();
    assert!(fastest < Duration::from_millis(50), "took {fastest:?}");
}

#[test]
fn a_restart_within_a_quarter_of_an_hour_is_ready_at_once_and_sends_no_request() {
    let simulator = Simulator::start("");
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    let (directory, before) = store_rows(&config);
    let again = Exporter::start_in(directory, &config, &[]);
    assert_eq!(support::agent().get(format!("{}/-/ready", again.url)).call().unwrap().status(), 200);
    let due = again.wait_for("the next poll's time", |metrics| {
        metrics.of_usage("partner_license_next_scrape_timestamp_seconds", &[])
    });
    let metrics = again.metrics();
    let last = "partner_license_last_success_timestamp_seconds";
    assert_eq!(metrics.of_usage(last, &[]), before.of_usage(last, &[]));
    // Alerts on a refresh token that is about to expire must not wait for the next poll.
    let issued = "partner_license_refresh_token_issued_timestamp_seconds";
    assert!(before.value(issued, &[]).is_some());
    assert_eq!(metrics.value(issued, &[]), before.value(issued, &[]));
    let wait = due - metrics.of_usage(last, &[]).unwrap();
    assert!((899.0..901.0).contains(&wait), "due {wait} s after the last good poll");
    assert_eq!(metrics.of_usage("partner_license_scrapes_total", &[]), Some(0.0));
    assert_eq!(metrics.of_usage("partner_license_up", &[]), Some(0.0), "a poll has run");
    assert_eq!(simulator.requests()["totals"], serde_json::json!({ "token": 1, "usage": 1 }));
    // A reload polls.
    assert_eq!(again.reload(), 200);
    again.wait_for_polls(None, 1.0);
    assert_eq!(again.metrics().of_usage("partner_license_up", &[]), Some(1.0));
}

#[test]
fn restored_rows_are_removed_after_stale_after_from_their_own_poll() {
    let simulator = Simulator::start("");
    let account = simulator.account(None, TENANT);
    let config = format!("stale_after: 8s\naccounts:\n{account}");
    let (directory, _) = store_rows(&config);
    let again = Exporter::start_in(Arc::clone(&directory), &config, &[]);
    assert_eq!(again.metrics().named(USAGE).count(), 5);
    again.wait_for("the removal of the rows", |metrics| metrics.named(USAGE).next().is_none().then_some(()));
    assert_eq!(simulator.count("usage"), 1);
    again.process.kill();
    // The rows are too old to be restored by now, so the poll starts at once.
    let later = Exporter::start_in(directory, &config, &[]);
    later.wait_for_polls(None, 1.0);
    assert_eq!(simulator.count("usage"), 2);
}

#[test]
fn a_damaged_snapshot_is_set_aside_with_one_warning_and_a_poll_starts_at_once() {
    let simulator = Simulator::start("");
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    let (directory, _) = store_rows(&config);
    let file = snapshot_in(directory.path());
    let damaged = std::fs::read_to_string(&file).unwrap().replace("Exchange", "Exchanged");
    std::fs::write(&file, &damaged).unwrap();
    simulator.scenario("usage: { delay: 1h }");
    let again = Exporter::start_in(directory, &config, &[]);
    assert_eq!(again.metrics().named(USAGE).count(), 0);
    eventually("a running poll", || (simulator.count("usage") == 2).then_some(()));
    let log = again.process.stderr.text();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("level=WARN")).collect();
    assert!(
        matches!(&warnings[..], [line] if line.contains("Cannot restore the last good rows")),
        "{warnings:?}"
    );
    assert_eq!(std::fs::read_to_string(file.with_extension("json.set-aside")).unwrap(), damaged);
}

#[test]
fn rows_that_cannot_be_saved_are_served_and_one_warning_is_logged() {
    let simulator = Simulator::start("");
    let config = format!("poll_interval: 1s\naccounts:\n{}", simulator.account(None, TENANT));
    let exporter = Exporter::start(&config, &[]);
    let file = snapshot_in(exporter.directory.path());
    eventually("rows on the disk", || file.exists().then_some(()));
    // A directory with the name of the file cannot be replaced by a file.
    let made = || {
        drop(std::fs::remove_file(&file));
        std::fs::create_dir_all(file.join("x")).ok()
    };
    eventually("a directory with the name of the file", made);
    let cannot = |line: &str| line.contains("Cannot save the last good rows").then_some(());
    exporter.process.stderr.wait_for("warning", cannot);
    let polls = exporter.metrics().of_usage("partner_license_scrapes_total", &[]).unwrap();
    exporter.wait_for_polls(None, polls + 2.0);
    assert_eq!(exporter.metrics().of_usage("partner_license_up", &[]), Some(1.0));
    assert_eq!(exporter.metrics().named(USAGE).count(), 5);
    std::fs::remove_dir_all(&file).unwrap();
    exporter
        .process
        .stderr
        .wait_for("recovery", |line| line.contains("rows are saved to disk again").then_some(()));
    assert!(file.is_file());
    let log = exporter.process.stderr.text();
    assert_eq!(log.lines().filter_map(cannot).count(), 1, "{log}");
}

#[test]
fn sigterm_during_a_poll_ends_the_program_with_status_0_within_5_seconds() {
    let simulator = Simulator::start("usage: { delay: 1h }");
    let mut exporter = Exporter::start(&format!("accounts:\n{}", simulator.account(None, TENANT)), &[]);
    eventually("the running poll", || (simulator.count("usage") == 1).then_some(()));
    exporter.process.signal(Signal::TERM);
    let (status, took) = exporter.process.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took < STOP, "took {took:?}");
}

#[test]
fn sigterm_during_a_sign_in_ends_the_program_with_status_0_within_5_seconds() {
    let simulator = Simulator::start("token: { delay: 1h }");
    let mut exporter = Exporter::start(&format!("accounts:\n{}", simulator.account(None, TENANT)), &[]);
    eventually("the running sign-in", || (simulator.count("token") == 1).then_some(()));
    exporter.process.signal(Signal::TERM);
    let (status, took) = exporter.process.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took < STOP, "took {took:?}");
}

/// Begins a scrape of a page that is larger than the socket buffers, sends `signal` during the response, reads the
/// rest, and returns how many bytes of the body are missing.
fn scrape_interrupted_by(signal: Signal) -> (usize, Exporter) {
    let row = "service: o365, channel: reseller, percent: 1.0, processed: \"2026-11-20T00:00:00Z\"";
    let rows: Vec<String> =
        (0..15_000).map(|n| format!("  - {{ workload: \"workload {n}\", {row} }}")).collect();
    let rows = rows.join("\n");
    let directory = tempfile::tempdir().unwrap();
    let scenario = directory.path().join("scenario.yml");
    std::fs::write(&scenario, format!("rows:\n{rows}")).unwrap();
    let simulator = Simulator::with_file(&scenario);
    let exporter = Exporter::start(&format!("accounts:\n{}", simulator.account(None, TENANT)), &[]);
    exporter.wait_for_polls(None, 1.0);

    let mut scrape = TcpStream::connect(exporter.url.trim_start_matches("http://")).unwrap();
    scrape.set_read_timeout(Some(support::TIMEOUT)).unwrap();
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = [0; 15];
    scrape.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    exporter.process.signal(signal);
    if signal == Signal::TERM {
        exporter
            .process
            .stderr
            .wait_for("notice of the stop", |line| line.contains("Stopping").then_some(()));
    }
    let mut rest = Vec::new();
    // A program that is killed resets the connection.
    drop(scrape.read_to_end(&mut rest));
    let text = String::from_utf8_lossy(&rest);
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
    let length: usize = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())
        .expect("a length");
    (length - body.len(), exporter)
}

#[test]
fn sigterm_during_a_scrape_completes_the_response_and_ends_the_program_with_status_0_within_5_seconds() {
    let (missing, mut exporter) = scrape_interrupted_by(Signal::TERM);
    let (status, took) = exporter.process.wait();
    assert_eq!(missing, 0, "bytes are missing");
    assert_eq!(status.code(), Some(0));
    assert!(took < STOP, "took {took:?}");
    // SIGKILL truncates the response, which shows that the signal arrives during the response.
    assert!(scrape_interrupted_by(Signal::KILL).0 > 0);
}

#[test]
fn a_failing_account_does_not_affect_another_account() {
    let simulator = Simulator::start(&format!(
        "tenants: {{ {OTHER_TENANT}: {{ token: {{ answer: consent_revoked }} }} }}"
    ));
    let config = format!(
        "poll_interval: 1s\naccounts:\n{}{}",
        simulator.account(Some("contoso"), TENANT),
        simulator.account(Some("fabrikam"), OTHER_TENANT)
    );
    let exporter = Exporter::start(&config, &[]);
    exporter.wait_for_polls(Some("contoso"), 3.0);
    exporter.wait_for_polls(Some("fabrikam"), 1.0);
    let metrics = exporter.metrics();
    let (contoso, fabrikam) = (("account", "contoso"), ("account", "fabrikam"));
    assert_eq!(metrics.of_usage("partner_license_up", &[contoso]), Some(1.0));
    assert_eq!(metrics.of_usage("partner_license_up", &[fabrikam]), Some(0.0));
    let refused =
        metrics.of_usage("partner_license_scrape_failures_total", &[fabrikam, ("reason", "consent")]);
    assert!(refused >= Some(1.0), "{refused:?}");
    assert_eq!(metrics.named(USAGE).count(), 5);
    assert!(metrics.named(USAGE).all(|(labels, _)| labels["account"] == "contoso"));
    for ((name, labels), _) in metrics.0 {
        let per_account =
            name.starts_with("partner_license_") && !name.starts_with("partner_license_exporter_");
        assert_eq!(labels.contains_key("account"), per_account, "{name}");
    }
}

#[test]
fn a_reload_applies_a_valid_configuration_and_polls_and_an_invalid_one_changes_nothing() {
    let simulator = Simulator::start(&usage_of(50.0));
    let account = simulator.account(None, TENANT);
    let exporter =
        Exporter::start(&format!("thresholds: {{ default_percent: 60 }}\naccounts:\n{account}"), &[]);
    exporter.wait_for_polls(None, 1.0);
    let labels = [("service", "o365"), ("workload", "Exchange"), ("channel", "reseller")];
    let threshold = |value: f64| {
        exporter.wait_for("threshold", |metrics| {
            let found = metrics.value("partner_license_usage_threshold_percent", &labels)?;
            ((found - value).abs() < 1e-9).then_some(())
        });
    };
    threshold(60.0);

    support::write_config(
        exporter.directory.path(),
        &format!("poll_interval: 5h\nthresholds: {{ default_percent: 30 }}\naccounts:\n{account}"),
    );
    assert_eq!(exporter.reload(), 200);
    threshold(30.0);
    exporter.wait_for_polls(None, 2.0);

    support::write_config(exporter.directory.path(), "accounts: []\n");
    assert_eq!(exporter.reload(), 500);
    let ok = "partner_license_exporter_config_last_reload_successful";
    assert_eq!(exporter.metrics().value(ok, &[]), Some(0.0));
    threshold(30.0);

    support::write_config(
        exporter.directory.path(),
        &format!("thresholds: {{ default_percent: 20 }}\naccounts:\n{account}"),
    );
    exporter.process.signal(Signal::HUP);
    threshold(20.0);
    assert_eq!(exporter.metrics().value(ok, &[]), Some(1.0));
}

#[test]
fn a_shard_logs_how_many_accounts_it_polls_at_the_start_and_after_a_reload() {
    let simulator = Simulator::start("");
    let accounts = |names: &[&str]| {
        let accounts: Vec<_> =
            names.iter().map(|name| simulator.account(Some(name), &format!("{name}.example"))).collect();
        format!("accounts:\n{}", accounts.concat())
    };
    let flags = ["--shard=0", "--total-shards=2"];
    let exporter = Exporter::start(&accounts(&["contoso", "a", "b"]), &flags);
    let logged = |line: &str| {
        exporter.process.stderr.wait_for(line, |log| log.contains(line).then_some(()));
    };
    logged("Polling 1 of 3 accounts");
    write_config(exporter.directory.path(), &accounts(&["contoso", "a", "b", "fabrikam"]));
    assert_eq!(exporter.reload(), 200);
    logged("Polling 2 of 4 accounts");
}

#[test]
fn reloads_do_not_poll_before_retry_after_has_passed() {
    let simulator = Simulator::start("usage: { answer: throttled, retry_after: 57 }");
    // Without `Retry-After`, this interval would cause 57 polls.
    let config = format!("poll_interval: 1s\naccounts:\n{}", simulator.account(None, TENANT));
    let exporter = Exporter::start(&config, &[]);
    exporter.wait_for_polls(None, 1.0);
    let metrics = exporter.metrics();
    let last = metrics.of_usage("partner_license_last_scrape_timestamp_seconds", &[]).unwrap();
    let next = "partner_license_next_scrape_timestamp_seconds";
    let due = metrics.of_usage(next, &[]).unwrap();
    assert!((57.0..63.0).contains(&(due - last)), "due {} s after the answer", due - last);
    for _ in 0..10 {
        assert_eq!(exporter.reload(), 200);
        let still_due = exporter.wait_for("the next poll's time", |metrics| metrics.of_usage(next, &[]));
        assert!((still_due - due).abs() < 5.0, "due at {due}, after the reload at {still_due}");
    }
    assert_eq!(simulator.requests()["totals"], serde_json::json!({ "token": 1, "usage": 1 }));
}

#[test]
fn the_exporter_is_ready_after_one_poll_of_every_account_even_if_one_failed() {
    let simulator = Simulator::start(&format!("tenants: {{ {OTHER_TENANT}: {{ token: {{ delay: 1h }} }} }}"));
    let config = format!(
        "poll_timeout: 8s\naccounts:\n{}{}",
        simulator.account(Some("contoso"), TENANT),
        simulator.account(Some("fabrikam"), OTHER_TENANT)
    );
    let exporter = Exporter::start(&config, &[]);
    exporter.wait_for_polls(Some("contoso"), 1.0);
    let ready = format!("{}/-/ready", exporter.url);
    let answer = support::agent().get(&ready).call().unwrap();
    assert_eq!(answer.status(), 503, "ready although one account has not been polled");
    assert!(get(&format!("{}/-/healthy", exporter.url)).contains("Healthy"));
    eventually("readiness", || (support::agent().get(&ready).call().unwrap().status() == 200).then_some(()));
    assert_eq!(exporter.metrics().of_usage("partner_license_up", &[("account", "fabrikam")]), Some(0.0));
}

#[test]
fn a_command_that_cannot_start_prints_its_cause_and_exits_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let bad = directory.path().join("bad.yml");
    std::fs::write(&bad, "poll_interval: soon\naccounts: [{ tenant_id: x }]\n").unwrap();
    let bad = bad.to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (arguments, said) in [
        (vec!["--no-such-flag"], "--no-such-flag"),
        (vec!["--web.telemetry-path", ""], "metrics path must not be empty"),
        (vec!["--web.telemetry-path", "/:x"], "metrics path must begin with / and be a plain path"),
        (vec!["--web.listen-address", "127.0.0.1:0", "--config.file", bad], "poll_interval: is no duration"),
        (
            vec!["--web.listen-address", "127.0.0.1:0", "--config.file", "/nowhere.yml"],
            "cannot read /nowhere.yml",
        ),
        (vec!["--web.listen-address", "127.0.0.1:0"], "AZURE_TENANT_ID: is not set"),
        (vec!["--web.listen-address", &taken], "cannot listen on"),
        (vec!["--web.systemd-socket"], "no socket activation file descriptors found"),
        (vec!["simulate", "--simulator.listen-address", "0.0.0.0:0"], "no loopback address"),
        (vec!["simulate", "--scenario", "/nowhere.yml"], "cannot read /nowhere.yml"),
    ] {
        let (code, stdout, stderr) = run(&arguments);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?} should print {said:?} and prints {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
    }
}

#[test]
fn check_exits_with_1_and_lists_every_problem_or_exits_with_0() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "pol_interval: 6h\naccounts: [{ tenant_id: x, client_id: y }]\n").unwrap();
    for arguments in [&["check", "--config.file", path][..], &["--config.check", "--config.file", path]] {
        let (code, _, stderr) = run(arguments);
        assert_eq!(code, 1);
        for place in ["pol_interval:", "accounts[0].tenant_id:", "accounts[0].client_id:"] {
            assert!(stderr.contains(place), "{place} is not in:\n{stderr}");
        }
    }
    // Nothing listens at the address of this account, since `check` does not use the network.
    let client = partner_center_simulator::CLIENT_ID;
    let account = format!(
        "{{ tenant_id: {TENANT}, client_id: {client}, client_secret: s, refresh_token: r, cloud: custom, \
         api_base_url: \"https://127.0.0.1:1\", login_base_url: \"https://127.0.0.1:1\" }}"
    );
    std::fs::write(&file, format!("poll_interval: 5m\naccounts: [{account}]\n")).unwrap();
    let (code, stdout, stderr) = run(&["check", "--config.file", path]);
    assert_eq!((code, stdout), (0, format!("{path}: valid, 1 account\n")));
    assert!(stderr.starts_with("warning: poll_interval is 5m"), "{stderr}");
}

#[test]
fn the_expiry_of_a_client_certificate_is_exported_from_the_start_until_the_certificate_is_removed() {
    const EXPIRY: &str = "partner_license_client_certificate_expiry_timestamp_seconds";
    let simulator = Simulator::start("");
    let secret = simulator.account(None, TENANT);
    let certificate = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/client-certificates/rsa.pem");
    let pair = format!("client_secret: {}", partner_center_simulator::CLIENT_SECRET);
    let with_certificate = secret.replace(&pair, &format!("client_certificate_file: {certificate}"));
    let exporter = Exporter::start(&format!("accounts:\n{with_certificate}"), &[]);
    assert_eq!(exporter.metrics().value(EXPIRY, &[]), Some(4_949_023_396.0));
    write_config(exporter.directory.path(), &format!("accounts:\n{secret}"));
    assert_eq!(exporter.reload(), 200);
    exporter
        .wait_for("metrics without the expiry", |metrics| metrics.value(EXPIRY, &[]).is_none().then_some(()));
}

#[test]
fn a_missing_credential_and_a_world_readable_file_cause_one_warning_each() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("refresh-token");
    std::fs::write(&token, "t").unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let client = partner_center_simulator::CLIENT_ID;
    let account = |name: &str| {
        format!(
            "  - {{ name: {name}, tenant_id: {name}.example, client_id: {client}, cloud: custom, \
             api_base_url: \"http://127.0.0.1:1\", login_base_url: \"http://127.0.0.1:1\", \
             refresh_token_file: {} }}\n",
            token.display()
        )
    };
    let config = format!("accounts:\n{}{}", account("a"), account("b"));
    let file = write_config(directory.path(), &config);
    let (code, _, stderr) = run(&["check", "--config.file", file.to_str().unwrap()]);
    let exporter = Exporter::start(&config, &[]);
    let log = exporter.process.stderr.text();
    assert_eq!(code, 0);
    for (warnings, source) in [(stderr, "check"), (log, "the start")] {
        for said in [
            "account a: no client credential",
            "account b: no client credential",
            "is readable by every user",
        ] {
            assert_eq!(warnings.matches(said).count(), 1, "{source}: {said}\n{warnings}");
        }
    }
}

#[test]
fn one_account_can_be_configured_by_environment_variables_alone() {
    let environment = [
        ("AZURE_TENANT_ID", "contoso.onmicrosoft.com"),
        ("AZURE_CLIENT_ID", partner_center_simulator::CLIENT_ID),
        ("AZURE_CLIENT_SECRET", "environment-secret"),
        ("PARTNER_CENTER_REFRESH_TOKEN", "environment-token"),
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/"),
    ];
    let output = program(&["check"]).envs(environment).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "environment: valid, 1 account\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn logs_are_logfmt_or_json_lines_on_stderr_without_secrets_at_any_level() {
    for (format, fails) in [("logfmt", "expired"), ("json", "expired"), ("json", "ok")] {
        let answer = if fails == "ok" { "ok" } else { "refresh_token_expired" };
        let simulator = Simulator::start(&format!("token: {{ answer: {answer} }}"));
        let config = format!("poll_interval: 1s\naccounts:\n{}", simulator.account(None, TENANT));
        let exporter = Exporter::start(&config, &["--log.level", "debug", "--log.format", format]);
        exporter.wait_for_polls(None, 2.0);
        assert_eq!(exporter.reload(), 200);
        let log = exporter.process.stderr.text();
        for line in log.lines() {
            if format == "json" {
                let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
                for key in ["time", "level", "source", "msg"] {
                    assert!(line[key].is_string(), "no {key} in {line}");
                }
            } else {
                assert!(
                    line.starts_with("time=") && line.contains(" level=") && line.contains(" msg="),
                    "{line}"
                );
            }
        }
        assert!(log.contains("Polling"), "{log}");
        let shown = [log, get(&format!("{}/metrics", exporter.url)), get(&exporter.url)].concat();
        let simulated = [
            partner_center_simulator::CLIENT_SECRET,
            partner_center_simulator::REFRESH_TOKEN,
            // The access tokens that the simulator issues begin with this.
            "simulated-access-token",
        ];
        for secret in simulated {
            assert!(!shown.contains(secret), "{secret} leaked");
        }
    }
}

#[test]
fn the_version_is_printed_in_the_format_of_the_prometheus_tools() {
    let (code, stdout, _) = run(&["--version"]);
    assert_eq!(code, 0);
    let start = concat!("partner-license-exporter, version ", env!("CARGO_PKG_VERSION"), " (branch: ");
    assert!(stdout.starts_with(start), "{stdout}");
}

#[test]
fn every_address_of_the_exporter_in_the_documents_is_served() {
    let simulator = Simulator::start("");
    let account = simulator.account(None, TENANT);
    let customers = "collections: { customers: { enabled: true } }";
    let exporter = Exporter::start(&format!("{customers}\naccounts:\n{account}"), &[]);
    exporter.wait_for_polls(None, 1.0);
    exporter.wait_for("the customers", |metrics| metrics.value("partner_license_customers", &[]));
    let mut paths = BTreeSet::new();
    for document in crate::docs::documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        let named = text.split("127.0.0.1:10365/").skip(1);
        let is_other = |c: char| !(c.is_ascii_alphanumeric() || "/-_.".contains(c));
        let named = named.filter_map(|rest| rest.split(is_other).next());
        paths.extend(named.map(|path| path.trim_end_matches('.').to_owned()));
    }
    assert!(paths.contains("metrics") && paths.contains("-/reload"), "{paths:?}");
    for path in paths {
        let url = format!("{}/{path}", exporter.url);
        let answer = if path == "-/reload" {
            support::agent().post(&url).send_empty()
        } else {
            support::agent().get(&url).call()
        };
        assert_eq!(answer.unwrap().status(), 200, "{url}");
    }
}
