//! Checks of the shipped files with promtool and amtool.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::real::{root, run_tool};
use crate::support::run;

const RULES: &str = "alerts/partner-license.rules.yml";

pub(crate) fn rules_are_accepted(suite: &'static str) {
    run_tool(suite, "promtool", &["check", "rules", "--lint=all", "--lint-fatal", RULES], "");
    run_tool(suite, "promtool", &["check", "config", "examples/prometheus.yml"], "");
    let tests = files("alerts/tests", ".test.yml");
    assert!(tests.len() > 12, "{tests:?}");
    let tests: Vec<&str> = tests.iter().map(|file| file.to_str().unwrap()).collect();
    run_tool(suite, "promtool", &[&["test", "rules"][..], &tests].concat(), "");
}

/// Checks the rules with links, those of the demo, and each query of a runbook as a rule of its own.
pub(crate) fn queries_are_accepted(suite: &'static str) {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().to_str().unwrap();
    let flags = [
        "--grafana-url=https://grafana.example",
        "--runbook-url=https://wiki.example/a?b".trim_end_matches("?b"),
    ];
    let (code, _, errors) = run(&[&["export", "alerts", "--demo", "--output", output][..], &flags].concat());
    assert_eq!(code, 0, "{errors}");
    let exported = directory.path().join("partner-license.rules.yml");
    run_tool(suite, "promtool", &["check", "rules", exported.to_str().unwrap()], "");
    let prometheus = directory.path().join("prometheus.yml");
    run_tool(suite, "promtool", &["check", "config", prometheus.to_str().unwrap()], "");

    let mut rules = String::from("groups:\n- name: runbooks\n  rules:\n");
    let mut queries = 0;
    for runbook in files("docs/runbooks", ".md") {
        let text = fs::read_to_string(&runbook).unwrap();
        let blocks = text.split("```promql\n").skip(1).filter_map(|rest| rest.split_once("\n```"));
        for query in blocks.flat_map(|(block, _)| block.lines()) {
            rules +=
                &format!("  - {{ record: 'query{queries}', expr: {} }}\n", serde_json::Value::from(query));
            queries += 1;
        }
    }
    assert!(queries > 30, "only {queries} queries were found");
    let file = directory.path().join("runbooks.yml");
    fs::write(&file, rules).unwrap();
    run_tool(suite, "promtool", &["check", "rules", file.to_str().unwrap()], "");
}

pub(crate) fn routes_are_correct(suite: &'static str) {
    // Receivers for Teams need a newer version.
    let examples = ["examples/alertmanager.yml", "examples/alertmanager-teams.yml"];
    for example in &examples[..if suite == "testing" { 2 } else { 1 }] {
        run_tool(suite, "amtool", &["check-config", example], "");
        for (alert, receiver) in [
            ("PartnerLicenseUsageLow", "licence-owners"),
            ("PartnerLicenseUsageDropped", "licence-owners"),
            ("PartnerLicenseUsageSeriesLost", "licence-owners"),
            ("PartnerLicenseCustomerUsageLow", "licence-owners"),
            ("PartnerLicenseUsageDataStale", "platform"),
            ("PartnerLicenseUsageCollectionEmpty", "platform"),
            ("PartnerLicenseScrapeFailing", "platform"),
            ("PartnerLicenseExporterDown", "platform"),
        ] {
            let file = format!("--config.file={example}");
            let (verify, alert) = (format!("--verify.receivers={receiver}"), format!("alertname={alert}"));
            run_tool(suite, "amtool", &["config", "routes", "test", &file, &verify, &alert], "");
        }
    }
}

/// Checks the configuration that is exported for a list of account managers, and where it sends customers.
pub(crate) fn account_managers_are_routed(suite: &'static str) {
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("managers.csv");
    let customers: Vec<String> = (0..200).map(|n| format!("00000000-0000-0000-0000-{n:012}")).collect();
    let lines = customers.iter().enumerate().map(|(n, id)| match n {
        0 => format!("{id},o'neill#1@partner.example\n"),
        _ => format!("{id},anna@partner.example\n"),
    });
    fs::write(&list, lines.collect::<String>()).unwrap();
    let (output, list) = (directory.path().to_str().unwrap(), list.to_str().unwrap());
    let (code, _, errors) = run(&["export", "alerts", "--output", output, "--routes", list]);
    assert_eq!(code, 0, "{errors}");
    let config = directory.path().join("alertmanager.yml");
    let config = config.to_str().unwrap();
    run_tool(suite, "amtool", &["check-config", config], "");
    for (customer, receiver) in [
        (customers[0].as_str(), "o'neill#1@partner.example"),
        (&customers[1], "anna@partner.example"),
        (&customers[199], "anna@partner.example"),
        ("00000000-0000-0000-0000-000000000200", "licence-owners"),
    ] {
        let labels = ["alertname=PartnerLicenseCustomerUsageLow", &format!("customer={customer}")];
        let file = format!("--config.file={config}");
        let route =
            run_tool(suite, "amtool", &[&["config", "routes", "test", &file], &labels[..]].concat(), "");
        assert_eq!(route.lines().next(), Some(receiver), "{customer}");
    }
}

/// Renders each notification in alerts/tests/notifications by every template, and compares the result with the golden
/// file.
pub(crate) fn notifications_match_golden_files(suite: &'static str) {
    let notifications = files("alerts/tests/notifications", ".json");
    assert_eq!(notifications.len(), 6);
    for data in notifications {
        let mut rendered = String::new();
        for name in ["subject", "link", "text", "slack.text", "slack.color", "teams.text", "email.html"] {
            let kind = if name == "email.html" { "html" } else { "text" };
            let text = run_tool(
                suite,
                "amtool",
                &[
                    "template",
                    "render",
                    "--template.glob=examples/alertmanager/*.tmpl",
                    &format!("--template.type={kind}"),
                    &format!("--template.text={{{{ template \"partner_license.{name}\" . }}}}"),
                    &format!("--template.data={}", data.display()),
                ],
                "",
            );
            rendered += &format!("=== {name}\n{text}\n");
        }
        let golden = data.with_extension("rendered.txt");
        let expected = fs::read_to_string(&golden).unwrap();
        assert!(rendered == expected, "this differs from {}:\n{rendered}", golden.display());
    }
}

fn files(directory: &str, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(directory)).unwrap().map(|entry| entry.unwrap().path());
    let ends = |path: &Path| path.to_str().unwrap().ends_with(end);
    let mut files: Vec<_> = entries.filter(|path| ends(path)).collect();
    files.sort();
    files
}
