//! The alert rules as files: they pass the linters, each alert has tests, a runbook and a line in docs/guide/alerts.md,
//! and every part of every rule is tested. `tests/real/alerting.rs` runs the rules in Prometheus.

#![expect(clippy::unwrap_used, clippy::string_slice, reason = "tests fail by panicking")]

mod lint;
mod mutants;
mod mutation;
mod promql;
mod rules;

use std::collections::BTreeSet;
use std::fs;

use rules::{Rules, TESTS, files, read};
use serde_json::Value;

/// The names of the alerts, which users rely on.
const NAMES: [&str; 14] = [
    "PartnerLicenseUsageLow",
    "PartnerLicenseUsageDropped",
    "PartnerLicenseCustomerUsageLow",
    "PartnerLicenseUsageDataStale",
    "PartnerLicenseUsageCollectionEmpty",
    "PartnerLicenseUsageSeriesLost",
    "PartnerLicenseScrapeFailing",
    "PartnerLicenseScrapeOverdue",
    "PartnerLicenseRefreshTokenExpiring",
    "PartnerLicenseClientCertificateExpiring",
    "PartnerLicenseMfaNotCompliant",
    "PartnerLicenseApiThrottled",
    "PartnerLicenseConfigReloadFailed",
    "PartnerLicenseExporterDown",
];

fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn names() -> BTreeSet<String> {
    Rules::shipped().alerts().map(|rule| rule.base_name().to_owned()).collect()
}

/// Returns the names of the files in a directory that end in `end`, without it.
fn stems(directory: &str, end: &str) -> BTreeSet<String> {
    let names = files(directory, end).into_iter();
    names.map(|path| path.file_name().unwrap().to_str().unwrap().trim_end_matches(end).to_owned()).collect()
}

#[test]
fn the_alerts_are_those_that_users_rely_on() {
    assert_eq!(names(), NAMES.map(str::to_owned).into());
}

#[test]
fn the_rules_pass_the_linters() {
    assert_none(&lint::not_excluded(&Rules::shipped()));
}

#[test]
fn the_lint_finds_every_planted_fault() {
    let shipped = read(rules::FILE);
    let mut findings = Vec::new();
    for (check, from, to) in lint::SEEDS {
        assert!(shipped.contains(from), "no {from:?} to plant {check} in");
        let rules: Rules = serde_saphyr::from_str(&shipped.replacen(from, to, 1)).unwrap();
        let found = lint::findings(&rules);
        if !found.iter().any(|finding| finding.check == *check) {
            findings.push(format!("{check}: {to:?} instead of {from:?} is reported only as {found:?}"));
        }
    }
    assert_none(&findings);
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_has_an_alert() {
    const HEADINGS: [&str; 5] = ["## Meaning", "## Impact", "## Diagnosis", "## Remedy", "## Muting"];
    assert_eq!(stems("docs/runbooks", ".md"), names());
    let mut findings = Vec::new();
    for name in names() {
        let page = format!("docs/runbooks/{name}.md");
        let text = read(&page);
        let mut headings = text.lines().filter(|line| line.starts_with('#'));
        if headings.next() != Some(&format!("# {name}")) || headings.collect::<Vec<_>>() != HEADINGS {
            findings.push(format!("{page}: does not have the headings # {name} and {HEADINGS:?}"));
        }
        for (part, why) in [
            ("```promql\n", "no query to paste"),
            ("```sh\n", "no command to paste"),
            (&format!("alertname={name}"), "does not say how to silence it"),
        ] {
            if !text.contains(part) {
                findings.push(format!("{page}: {why}"));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn every_alert_has_tests_of_firing_of_not_firing_and_of_its_annotations() {
    let mut findings = Vec::new();
    let groups: Vec<String> = Rules::shipped().groups.iter().map(|group| group.name.clone()).collect();
    let (mut fires, mut is_silent) = (BTreeSet::new(), BTreeSet::new());
    for file in files(TESTS, ".test.yml") {
        let name = file.file_name().unwrap().to_str().unwrap();
        let document: Value = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        // promtool evaluates groups that are not listed in a random order.
        if document["group_eval_order"] != serde_json::json!(groups) {
            findings.push(format!("{name}: group_eval_order is not {groups:?}"));
        }
        let alert = name.split('.').next().unwrap();
        if alert != "Together" && !names().contains(alert) {
            findings.push(format!("{name}: there is no alert {alert}"));
        }
        for test in document["tests"].as_array().unwrap() {
            for asked in test["alert_rule_test"].as_array().into_iter().flatten() {
                let name = asked["alertname"].as_str().unwrap();
                let expected = asked["exp_alerts"].as_array().unwrap();
                if expected.is_empty() {
                    is_silent.insert(name.to_owned());
                }
                let severities = expected.iter().map(|it| it["exp_labels"]["severity"].as_str().unwrap());
                fires.extend(severities.map(|severity| format!("{name}/{severity}")));
            }
        }
    }
    for rule in Rules::shipped().alerts() {
        if !fires.contains(&rule.name()) {
            findings.push(format!("{}: no test checks its annotations", rule.name()));
        }
        // Of two severities, only the one that fires first must not fire too early.
        if !is_silent.contains(rule.base_name()) {
            findings.push(format!("{}: no test checks when it does not fire", rule.name()));
        }
    }
    assert_none(&findings);
}

#[test]
fn the_table_of_alerts_in_the_guide_lists_the_alerts_of_the_rules() {
    let guide = read("docs/guide/alerts.md");
    let table = guide
        .split_once("<!-- alerts:begin -->")
        .and_then(|(_, rest)| rest.split_once("<!-- alerts:end -->"));
    let rows = table
        .expect("docs/guide/alerts.md has a table of alerts")
        .0
        .lines()
        .filter_map(|line| line.strip_prefix("| "));
    let found: Vec<String> = rows
        .filter(|row| row.starts_with("[`"))
        .map(|row| row.split(" | ").take(2).collect::<Vec<_>>().join(" | "))
        .collect();
    let mut expected: Vec<String> = Vec::new();
    for rule in Rules::shipped().alerts() {
        let name = rule.base_name();
        let link = format!("[`{name}`](../runbooks/{name}.md) | ");
        match expected.iter_mut().find(|row| row.starts_with(&link)) {
            Some(row) => *row += &format!(", {}", rule.severity()),
            None => expected.push(format!("{link}{}", rule.severity())),
        }
    }
    assert_eq!(found, expected);
}

#[test]
fn the_record_of_mutants_is_of_the_current_rules_and_tests() {
    assert_none(&mutation::check_record());
}

#[test]
#[ignore = "takes minutes; scripts/mutate-rules runs it, and the test above checks that its record is current"]
fn no_mutant_of_the_rules_survives() {
    assert_none(&mutation::run(std::env::var("ONLY").ok().as_deref()));
}
