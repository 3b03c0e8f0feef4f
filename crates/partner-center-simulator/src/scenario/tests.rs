//! Tests what a scenario file can contain, and the errors for invalid ones.

use super::*;

fn error(text: &str) -> String {
    Scenario::parse(text).unwrap_err().to_string()
}

#[test]
fn a_scenario_without_keys_is_the_default() {
    assert_eq!(Scenario::parse("{}").unwrap(), Scenario::default());
    assert_eq!(Scenario::parse("").unwrap(), Scenario::default());
    assert_eq!(Scenario::default().access_token_lifetime, Duration::from_hours(1));
}

#[test]
fn yaml_and_json_are_equivalent() {
    let yaml = "
access_token_lifetime: 5m
rotation: strict
rows:
  - {service: o365, workload: Exchange, channel: reseller, percent: 41.5, processed: 2026-11-20T00:00:00+00:00}
token: { answer: throttled, delay: 2s, retry_after: 9, status: 503, times: 3 }
tenants:
  contoso.example: { rows: portfolio, refresh_token: other }
";
    let json = r#"{"access_token_lifetime":"5m","rotation":"strict","rows":[{"service":"o365",
        "workload":"Exchange","channel":"reseller","percent":41.5,"processed":"2026-11-20T00:00:00+00:00"}],
        "token":{"answer":"throttled","delay":"2s","retry_after":9,"status":503,"times":3},
        "tenants":{"contoso.example":{"rows":"portfolio","refresh_token":"other"}}}"#;
    let scenario = Scenario::parse(yaml).unwrap();
    assert_eq!(scenario, Scenario::parse(json).unwrap());
    assert_eq!(scenario.token.delay, Duration::from_secs(2));
    assert_eq!(scenario.for_tenant("contoso.example").rows, &ReportRows::Portfolio);
    assert_eq!(scenario.for_tenant("contoso.example").refresh_token, "other");
    assert_eq!(scenario.for_tenant("contoso.example").token, &scenario.token);
}

#[test]
fn a_serialised_scenario_parses_to_itself() {
    let scenario = Scenario::parse(
        "{rows: [{percent: 1.25}, {}], usage: {answer: html, status: 502, delay: 1s 5ms, times: 0}, page_size: 3, \
         token: {body: a, headers: {a: null, b: c}, merge: {a: null, b: {c: [1]}}, gzip: true, skip: 2}, \
         client_secret: null, public_client: true, mfa: false, rotation: family, \
         device: {answer: blocked, polls: 0, interval: 1s}, authorize: {answer: page}, \
         deployment: {rows: portfolio, delay: 2s}, commercial_usage: {rows: [{a: null, b: -1}], answer: empty}, \
         commercial_deployment: {rows: []}, customers: {count: 3, products: 1, workloads: 2, seed: 5}, \
         commercial: {paths: partner_v1, next_link: absent, history_days: 7, active_property: licensesActive}, \
         tenants: {a: {token: {answer: malformed}, mfa: true, device: {answer: decline}}, \
         b: {deployment: {}, commercial: {}, customers: {seed: 1}}}}",
    )
    .unwrap();
    assert_eq!(Scenario::parse(&serde_json::to_string(&scenario).unwrap()).unwrap(), scenario);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let error = error("rotation: strict\nusage: { anser: ok }\n");
    assert!(error.contains("anser") && error.contains("line 2"), "{error}");
}

#[test]
fn an_unknown_answer_is_named_with_the_known_answers() {
    let error = error("usage: { answer: throtled }");
    assert!(error.contains("throtled") && error.contains("throttled"), "{error}");
}

#[test]
fn an_unknown_key_of_a_row_is_named() {
    let error = error("rows: [{service: o365}, {wrkload: Exchange}]");
    assert!(error.contains("wrkload"), "{error}");
}

#[test]
fn other_invalid_values_are_named() {
    for (text, part) in [
        ("rows: all", "all"),
        ("access_token_lifetime: soon", "`soon` is not a duration"),
        ("usage: { status: 101 }", "`101` is not a status from 200 to 599"),
        ("usage: { status: 600 }", "`600` is not a status"),
        ("usage: { times: -1 }", "line 1, column 17"),
        ("client_certificate: none", "not a certificate in PEM format"),
        ("device: { answer: maybe }", "maybe"),
        ("authorize: { anser: page }", "anser"),
        ("rows: [", "line 1"),
        ("usage: {}\nusage: {}", "usage"),
        ("token: { rows: [] }", "a token endpoint has no rows"),
        ("deployment: { rows: all }", "expected `documented`, `portfolio` or a list of rows"),
        ("commercial_usage: { rows: [5] }", "expected mapping start at line 1, column 28"),
        ("commercial: { paths: v2 }", "v2"),
        ("commercial: { history_days: -1 }", "line 1, column 29"),
        ("customers: { count: 0 }", "expected a number from 1 to 1000000 at line 1"),
        ("customers: { products: 1001 }", "expected a number from 1 to 1000"),
        ("customers: { workloads: 15 }", "expected a number from 1 to 14"),
    ] {
        let error = error(text);
        assert!(error.contains(part) && !error.contains('\n'), "{text}: {error}");
    }
}

#[test]
fn the_reference_names_every_key_and_value_of_the_commercial_endpoints_and_of_the_customers() {
    let reference = include_str!("../../../../docs/reference/simulator.md");
    for scenario in [
        "customers: { nope: 1 }",
        "commercial: { nope: 1 }",
        "commercial: { paths: nope }",
        "commercial: { next_link: nope }",
        "commercial: { total_count: nope }",
        "commercial: { active_property: nope }",
        "commercial: { groupby: nope }",
        "commercial: { between_pages: nope }",
    ] {
        let error = error(scenario);
        let list = error.split_once("expected one of ").and_then(|(_, rest)| rest.split_once(" at line"));
        let (words, _) = list.unwrap_or_else(|| panic!("{error}"));
        for word in words.split(", ") {
            assert!(reference.contains(&format!("`{word}`")), "{scenario}: {word}");
        }
    }
}
