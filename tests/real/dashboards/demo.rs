//! Runs the commands of docs/start/demo.md that fill the dashboards, as they are written there.

use std::path::Path;
use std::process::Command;

use partner_license_exporter::commands::DEMO_ADDRESS;
use partner_license_exporter::domain::clock::{Clock, unix_seconds};

use crate::dashboards::grafana::{Range, choose};
use crate::dashboards::model::Dashboard;
use crate::dashboards::prometheus::Prometheus;
use crate::dashboards::queries::{check_panels, run_all};
use crate::support::real::tool;
use crate::support::{Process, TIMEOUT, eventually, program};

const PAGE: &str = "docs/start/demo.md";
const HEADING: &str = "\n## Watch alerts and dashboards\n";
const ANY_PORT: &str = "127.0.0.1:0";

pub(crate) fn every_panel_is_filled(suite: &str) {
    let text = commands();
    assert!(text.lines().count() < 10, "ten lines or more:\n{text}");
    let joined = text.replace("\\\n", " ");
    let directory = tempfile::tempdir().unwrap();
    let mut demo = None;
    let mut prometheus = None;
    for line in joined.lines() {
        let (name, arguments) = line.split_once(' ').unwrap();
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let mut command = match name {
            "partner-license-exporter" => program(&arguments),
            tools => {
                let mut command = Command::new(tool(suite, tools));
                command.args(arguments.iter().map(|argument| argument.replace("127.0.0.1:9090", ANY_PORT)));
                command
            }
        };
        command.current_dir(directory.path());
        match (name, arguments[0]) {
            ("partner-license-exporter", "demo") => demo = Some(start_demo(&mut command)),
            ("prometheus", _) => {
                let (_, address) = demo.as_ref().expect("the demo runs already");
                replace(&directory.path().join("try/prometheus.yml"), DEMO_ADDRESS, address);
                prometheus = Some(Prometheus::run(&mut command));
            }
            _ => {
                let output = command.output().unwrap();
                assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }
    let prometheus = prometheus.expect("a line starts Prometheus");
    // The rules are loaded, and one of them fires with its waiting time as exported.
    let clock = Clock::system();
    let now = eventually("a scrape, and an alert about the documented figures of 2017", || {
        let now = unix_seconds(clock.now());
        let is_scraped = !prometheus.query("up", now).unwrap().is_empty();
        (is_scraped && prometheus.fires("PartnerLicenseUsageDataStale", &[])).then_some(now)
    });
    // What comes after the start continues the past, in which this row has been low for more than a week.
    let row = [("account", "portfolio"), ("workload", "Skype For Business"), ("severity", "critical")];
    eventually("the critical alert on a row that was low for a week before the start", || {
        prometheus.fires("PartnerLicenseUsageLow", &row).then_some(())
    });

    let mut findings = Vec::new();
    for dashboard in &Dashboard::all() {
        let range = Range::of(dashboard, now);
        let values = choose(dashboard, &prometheus, range, &[], &[], &mut findings);
        let results = run_all(dashboard, &prometheus, range, &values, &mut findings);
        check_panels(dashboard, &results, &mut findings);
    }
    crate::dashboards::none(&findings);
}

/// The commands in the section with the heading.
fn commands() -> String {
    let page = std::fs::read_to_string(crate::dashboards::root().join(PAGE)).unwrap();
    let (_, rest) = page.split_once(HEADING).unwrap_or_else(|| panic!("{PAGE} has no section {HEADING:?}"));
    let (section, _) = rest.split_once("\n## ").unwrap();
    section.split("```sh\n").skip(1).map(|block| block.split_once("```").unwrap().0).collect()
}

/// Starts the demo on other ports, waits until it has written its history, and returns it with the exporter's address.
fn start_demo(command: &mut Command) -> (Process, String) {
    for flag in ["--web.listen-address", "--simulator.listen-address"] {
        command.args([flag, ANY_PORT]);
    }
    let demo = Process::start(command);
    let address = demo.stdout.wait_for("address of the metrics", |line| {
        Some(line.split_once("http://")?.1.strip_suffix("/metrics")?.to_owned())
    });
    // It writes hundreds of megabytes.
    demo.stdout.wait_for_within(5 * TIMEOUT, "message about the history", |line| {
        line.contains("made-up past").then_some(())
    });
    (demo, address)
}

fn replace(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    std::fs::write(file, text.replace(from, to)).unwrap();
}
