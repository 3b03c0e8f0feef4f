//! The whole line with the real parts: exporter, Prometheus, Alertmanager, notification.
//!
//! The parts come from scripts/fetch-tools, in two versions each: the oldest supported and the newest that
//! Debian has. Where they are missing these tests are reported as ignored, with the reason; with
//! `REQUIRE_TOOLS=1`, as scripts/test sets it, they fail instead.

#![expect(clippy::unwrap_used, clippy::print_stderr, clippy::float_cmp, reason = "tests fail by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;

use libtest_mimic::{Arguments, Trial};
use serde_json::Value;

use support::exposition::Series;
use support::{Exporter, OTHER_TENANT, Process, Simulator, TENANT, eventually, get, json, listening_on};

const SUITES: [&str; 2] = ["bookworm", "testing"];
const PARTS: [&str; 4] = ["prometheus", "promtool", "alertmanager", "amtool"];

/// A test, given the suite whose tools it is to use.
type Case = (&'static str, fn(&'static str));

const CASES: [Case; 4] = [
    ("promtool_and_amtool_accept_every_shipped_file", every_shipped_file_is_accepted),
    ("promtool_finds_nothing_to_say_about_the_metrics", the_metrics_are_clean),
    ("prometheus_stores_every_series_in_both_formats", every_series_is_stored),
    ("a_low_usage_a_failing_api_and_a_dead_exporter_reach_the_webhook", alerts_arrive),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each trial starts half a dozen processes; two at a time are enough.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let trials = SUITES.into_iter().flat_map(|suite| {
        let missing: Vec<PathBuf> =
            PARTS.iter().map(|part| tool(suite, part)).filter(|path| !path.exists()).collect();
        for path in &missing {
            eprintln!("not found: {} (scripts/fetch-tools brings it)", path.display());
        }
        let required = std::env::var_os("REQUIRE_TOOLS").is_some();
        CASES.map(|(name, case)| {
            Trial::test(format!("{suite}::{name}"), move || {
                case(suite);
                Ok(())
            })
            .with_ignored_flag(!missing.is_empty() && !required)
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if conclusion.num_ignored > 0 {
        eprintln!(
            "{} end-to-end tests were NOT run: real parts are missing, see above\n",
            conclusion.num_ignored
        );
    }
    conclusion.exit_code()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tool(suite: &str, name: &str) -> PathBuf {
    root().join("target/tools").join(suite).join("bin").join(name)
}

/// Runs a tool in the project's root; it must succeed.
fn run(suite: &str, name: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(tool(suite, name))
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{name} {arguments:?} of {suite}:\n{text}");
    text
}

// === what is shipped ===

fn every_shipped_file_is_accepted(suite: &'static str) {
    run(
        suite,
        "promtool",
        &["check", "rules", "--lint=all", "--lint-fatal", "alerts/partner-license.rules.yml"],
        "",
    );
    run(suite, "promtool", &["test", "rules", "alerts/tests/partner-license.test.yml"], "");
    run(suite, "promtool", &["check", "config", "examples/prometheus.yml"], "");
    run(suite, "amtool", &["check-config", "examples/alertmanager.yml"], "");
    for (label, receiver) in
        [("PartnerLicenseUsageLow", "licence-owners"), ("PartnerLicenseScrapeFailing", "platform")]
    {
        let (verify, alert) = (format!("--verify.receivers={receiver}"), format!("alertname={label}"));
        let file = "--config.file=examples/alertmanager.yml";
        run(suite, "amtool", &["config", "routes", "test", file, &verify, &alert], "");
    }
}

fn the_metrics_are_clean(suite: &'static str) {
    let (_simulator, exporter) = two_accounts();
    let text = get(&format!("{}/metrics", exporter.url));
    let said = run(suite, "promtool", &["check", "metrics"], &text);
    assert_eq!(said.trim(), "");
}

/// An exporter with one account that works, with rows that need escaping, and one that fails.
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

struct Prometheus {
    process: Process,
    url: String,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    fn start(suite: &str, config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let process = Process::start(
            Command::new(tool(suite, "prometheus"))
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
                .arg("--web.listen-address=127.0.0.1:0"),
        );
        let url = format!("http://{}", listening_on(&process.stderr));
        let ready = format!("{url}/-/ready");
        eventually("Prometheus is ready", || {
            (support::agent().get(&ready).call().ok()?.status() == 200).then_some(())
        });
        Self { process, url, _directory: directory }
    }

    /// The answer to a query: series and values.
    fn query(&self, query: &str) -> BTreeMap<Series, f64> {
        let url = format!("{}/api/v1/query", self.url);
        let mut answer = support::agent().get(&url).query("query", query).call().unwrap();
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let samples = answer["data"]["result"].as_array().unwrap();
        samples
            .iter()
            .map(|sample| {
                let mut labels: BTreeMap<String, String> =
                    serde_json::from_value(sample["metric"].clone()).unwrap();
                let name = labels.remove("__name__").unwrap_or_default();
                ((name, labels), sample["value"][1].as_str().unwrap().parse().unwrap())
            })
            .collect()
    }
}

fn every_series_is_stored(suite: &'static str) {
    let (_simulator, exporter) = two_accounts();
    let classic = get(&format!("{}/metrics", exporter.url));
    // Prometheus asks an exporter for OpenMetrics when it can have it; this one has the classic text only.
    let frozen = serve_text(classic.clone());
    let config = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs:\n\
         - {{ job_name: openmetrics, honor_labels: true, static_configs: [{{ targets: [\"{}\"] }}] }}\n\
         - {{ job_name: classic, honor_labels: true, static_configs: [{{ targets: [\"{frozen}\"] }}] }}\n",
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
                (normal(name, labels), value)
            })
            .collect();
        let exposed: BTreeMap<Series, f64> = exposed
            .0
            .clone()
            .into_iter()
            .map(|((name, labels), value)| (normal(name, labels), value))
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
    // Only OpenMetrics tells the unit: this is how one knows which format was read.
    for (job, unit) in [("openmetrics", "percent"), ("classic", "")] {
        let metric = "partner_license_usage_percent";
        let url = format!("{}/api/v1/targets/metadata", prometheus.url);
        let request = support::agent().get(&url).query("metric", metric);
        let mut answer = request.query("match_target", format!("{{job=\"{job}\"}}")).call().unwrap();
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        assert_eq!(answer["data"][0]["unit"], unit, "{job}: {answer}");
    }
}

/// Prometheus writes the bounds of buckets in its own way: `1` or `1.0`.
fn normal(name: String, mut labels: BTreeMap<String, String>) -> Series {
    if let Some(le) = labels.get_mut("le") {
        *le = le.parse::<f64>().unwrap().to_string();
    }
    (name, labels)
}

// === the whole line ===

fn alerts_arrive(suite: &'static str) {
    let row = |percent: f64| {
        format!(
            "rows: [{{ service: o365, workload: Exchange, channel: reseller, percent: {percent:?}, \
             processed: \"2026-11-20T00:00:00+00:00\" }}]\n"
        )
    };
    let simulator = Simulator::start(&row(12.5));
    let config = format!("poll_interval: 1s\naccounts:\n{}", simulator.account(Some("contoso"), TENANT));
    let exporter = Exporter::start(&config, &[]);
    exporter.wait_for_polls(Some("contoso"), 1.0);

    let (hook, notifications) = webhook();
    let alertmanager_directory = tempfile::tempdir().unwrap();
    let alertmanager = start_alertmanager(suite, &hook, alertmanager_directory.path());
    let rules_directory = tempfile::tempdir().unwrap();
    let rules = rules_directory.path().join("rules.yml");
    let shipped = fs::read_to_string(root().join("alerts/partner-license.rules.yml")).unwrap();
    fs::write(&rules, impatient(&shipped, &["for", "keep_firing_for", "interval"])).unwrap();
    let prometheus = Prometheus::start(
        suite,
        &format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [ {} ]\n\
             scrape_configs: [{{ job_name: any, honor_labels: true, static_configs: [{{ targets: [{:?}] }}] }}]\n\
             alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: [{:?}] }}] }}] }}\n",
            rules.display(),
            exporter.url.trim_start_matches("http://"),
            alertmanager.1.trim_start_matches("http://"),
        ),
    );

    // Low usage: in Prometheus, in Alertmanager, and in the notification, with the same words.
    let usage = "partner_license_usage_percent{account=\"contoso\",service=\"o365\",workload=\"Exchange\",channel=\"reseller\"}";
    eventually("the series", || {
        (prometheus.query(usage).values().copied().collect::<Vec<_>>() == [12.5]).then_some(())
    });
    let low = wait_for_notification(&notifications, "PartnerLicenseUsageLow", "firing");
    assert_eq!(low.path, "/owners");
    let expected = [
        ("account", "contoso"),
        ("alertname", "PartnerLicenseUsageLow"),
        ("channel", "reseller"),
        ("service", "o365"),
        ("severity", "warning"),
        ("workload", "Exchange"),
    ];
    let labels: BTreeMap<String, String> = serde_json::from_value(low.alert["labels"].clone()).unwrap();
    let labels: Vec<_> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(labels, expected);
    assert_eq!(
        low.alert["annotations"]["description"],
        "Usage of Exchange (service o365, channel reseller, account contoso) is 12.50 %, below the threshold of 40.00 %."
    );
    let held = json(&format!("{}/api/v2/alerts", alertmanager.1));
    assert_eq!(held[0]["labels"], low.alert["labels"]);

    // It rises again: resolved.
    simulator.scenario(&row(80.0));
    wait_for_notification(&notifications, "PartnerLicenseUsageLow", "resolved");

    // The API dies.
    simulator.kill();
    let failing = wait_for_notification(&notifications, "PartnerLicenseScrapeFailing", "firing");
    assert_eq!(failing.path, "/alerts");
    assert_eq!(failing.alert["labels"]["account"], "contoso");
    let said = failing.alert["annotations"]["description"].as_str().unwrap();
    assert!(said.starts_with("No poll of Partner Center for account contoso has succeeded"), "{said}");

    // The exporter dies.
    exporter.process.kill();
    let down = wait_for_notification(&notifications, "PartnerLicenseExporterDown", "firing");
    assert_eq!(down.alert["labels"]["severity"], "critical");
    drop(prometheus.process);
}

/// Every waiting time of these keys, cut to a second.
fn impatient(text: &str, keys: &[&str]) -> String {
    let mut found = BTreeSet::new();
    let lines = text.lines().map(|line| {
        let key = line.trim_start_matches([' ', '-']).split_once(':').map_or("", |(key, _)| key);
        if keys.contains(&key) {
            found.insert(key);
            line.split_once(':').unwrap().0.to_owned() + ": 1s\n"
        } else {
            line.to_owned() + "\n"
        }
    });
    let short: String = lines.collect();
    assert_eq!(found.len(), keys.len(), "of {keys:?} only {found:?} occur");
    short
}

/// The shipped example, without its patience, with all mail and all calls sent to `hook`.
fn start_alertmanager(suite: &str, hook: &str, directory: &Path) -> (Process, String) {
    let shipped = fs::read_to_string(root().join("examples/alertmanager.yml")).unwrap();
    let mail = "email_configs:\n      - to: licence-owners@localhost\n";
    assert!(shipped.contains(mail) && shipped.contains("http://127.0.0.1:9095"), "the example has changed");
    let config = impatient(&shipped, &["group_wait", "group_interval"])
        .replace(mail, &format!("webhook_configs:\n      - url: {hook}/owners\n"))
        .replace("http://127.0.0.1:9095", hook);
    let file = directory.join("alertmanager.yml");
    fs::write(&file, config).unwrap();
    let process = Process::start(
        Command::new(tool(suite, "alertmanager"))
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", directory.join("data").display()))
            .args(["--cluster.listen-address=", "--web.listen-address=127.0.0.1:0"]),
    );
    let url = format!("http://{}", listening_on(&process.stderr));
    (process, url)
}

/// One alert of one notification, and the path it was sent to.
struct Notified {
    path: String,
    alert: Value,
}

fn wait_for_notification(
    notifications: &mpsc::Receiver<(String, String)>,
    name: &str,
    status: &str,
) -> Notified {
    loop {
        let (path, body) = notifications
            .recv_timeout(2 * support::PATIENCE)
            .unwrap_or_else(|_| panic!("no notification that {name} is {status}"));
        let body: Value = serde_json::from_str(&body).unwrap();
        let wanted = |alert: &&Value| alert["labels"]["alertname"] == name && alert["status"] == status;
        if let Some(alert) = body["alerts"].as_array().unwrap().iter().find(wanted) {
            return Notified { path, alert: alert.clone() };
        }
    }
}

// === small servers ===

/// A webhook: its address, and the path and body of whatever it gets.
fn webhook() -> (String, mpsc::Receiver<(String, String)>) {
    let (sender, receiver) = mpsc::channel();
    let address = serve(move |path, body| {
        // The test may be over.
        drop(sender.send((path, body)));
        String::new()
    });
    (format!("http://{address}"), receiver)
}

/// A target that always has this to say, as classic text.
fn serve_text(text: String) -> String {
    serve(move |_, _| text.clone())
}

/// Serves HTTP in the background until the process ends: one request per connection.
fn serve(answer: impl Fn(String, String) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(&stream);
            let mut head = Vec::new();
            while let Some(Ok(line)) = reader.by_ref().lines().next() {
                if line.is_empty() {
                    break;
                }
                head.push(line);
            }
            let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else { continue };
            let length = head.iter().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length:")
                    .and_then(|value| value.trim().parse().ok())
            });
            let mut body = vec![0; length.unwrap_or(0)];
            if reader.read_exact(&mut body).is_err() {
                continue;
            }
            let text = answer(path.to_owned(), String::from_utf8(body).unwrap());
            let reply = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
                text.len()
            );
            drop((&stream).write_all(reply.as_bytes()));
        }
    });
    address
}
