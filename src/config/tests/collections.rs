use jiff::Timestamp;

use super::*;
use crate::domain::collection::Collection;
use crate::domain::customers::Limits;

/// The shortest valid file after another line.
fn with(line: &str) -> String {
    format!("{line}\n{}", file_of(&[]))
}

/// The collections of the first account of a file, each with its interval and timeout in seconds.
fn polled(text: &str) -> Vec<(Collection, u64, u64)> {
    let config = valid(text);
    let polled = config.polled(&config.accounts[0]).into_iter();
    polled.map(|it| (it.collection, it.interval.as_secs(), it.timeout.as_secs())).collect()
}

#[test]
fn only_usage_is_polled_unless_more_is_asked_for() {
    let usage = (Collection::Usage, 21_600, 120);
    assert_eq!(polled(&file_of(&[])), [usage]);
    let text = with("collections: {deployment: {enabled: true}}");
    assert_eq!(polled(&text), [usage, (Collection::Deployment, 21_600, 120)]);
}

#[test]
fn customers_are_polled_by_a_schedule_of_their_own() {
    let (usage, customers) = ((Collection::Usage, 21_600, 120), Collection::Customers);
    let text = with("collections: {customers: {enabled: true}}");
    assert_eq!(polled(&text), [usage, (customers, 86_400, 900)]);
    let defaults =
        "collections: {customers: {enabled: true, poll_interval: 12h, series: 7}, commercial_path: /v2/}";
    let own = "collections: {customers: {poll_timeout: 5m, names: false, min_licenses: 3}}";
    let text = format!("{defaults}\n{}", file_of(&[own]));
    assert_eq!(polled(&text), [usage, (customers, 43_200, 300)]);
    let collections = valid(&text).accounts.remove(0).collections;
    assert_eq!(collections.customers.limits, Limits { series: 7, min_licenses: 3 });
    assert!(!collections.customers.names);
    assert_eq!(collections.commercial_path.as_deref(), Some("/v2/"));
}

#[test]
fn a_daily_poll_of_customers_is_warned_about_if_their_rows_would_vanish_before_it() {
    let text = with("stale_after: 24h\ncollections: {customers: {enabled: true}}");
    let warnings = valid(&text).warnings(Timestamp::UNIX_EPOCH);
    let expected = "stale_after (1day) is not longer than customers.poll_interval (1day): rows vanish between two \
                    successful polls";
    assert!(warnings.iter().any(|warning| warning == expected), "{warnings:?}");
}

#[test]
fn an_account_overrides_single_keys_of_the_defaults() {
    let defaults = "collections:\n  usage: {source: licenses}\n  deployment: {enabled: true}\n";
    let own = "collections: {usage: {source: commercial}}";
    let config = valid(&format!("{defaults}{}", file_of(&[own])));
    let expected =
        Collections { source: SourceChoice::Commercial, deployment: true, ..Collections::default() };
    assert_eq!(config.accounts[0].collections, expected);
    let config = valid(&format!("{defaults}{}", file_of(&[])));
    assert_eq!(config.accounts[0].collections.source, SourceChoice::Licenses);
    assert_eq!(valid(&file_of(&[])).accounts[0].collections, Collections::default());
}

#[test]
fn each_problem_of_the_collections_is_named_with_its_path() {
    for (text, problem) in [
        ("usage: {source: both}", "usage.source: must be one of auto, licenses, commercial"),
        ("usage: {sauce: auto}", "usage.sauce: unknown key; known here: source"),
        (
            "deployment: true",
            "deployment: expected a mapping of keys, found true or false; write keys with their values, as in `key: value`",
        ),
        ("deployment: {enabled: 1}", "deployment.enabled: expected true or false, found a number"),
        ("customers: {series: 100001}", "customers.series: is not a whole number between 0 and 100000"),
        ("customers: {series: 1.5}", "customers.series: is not a whole number between 0 and 100000"),
        ("customers: {names: 1}", "customers.names: expected true or false, found a number"),
        (
            "customers: {min_licences: 5}",
            "customers.min_licences: unknown key; did you mean min_licenses? known here: enabled, poll_interval, poll_timeout, series, names, min_licenses",
        ),
        ("customers: {poll_interval: 0s}", "customers.poll_interval: \"0s\" is not between 1s and 1year"),
        ("commercial_path: partner/v1", "commercial_path: must be a path such as /partner/v1 or /v1"),
        ("commercial_path: /", "commercial_path: must be a path such as /partner/v1 or /v1"),
        ("commercial_path: /v1/../v2", "commercial_path: must be a path such as /partner/v1 or /v1"),
        ("commercial_path: '/v1?x='", "commercial_path: must be a path such as /partner/v1 or /v1"),
        ("deploy: {}", "deploy: unknown key; known here: usage, deployment, customers, commercial_path"),
    ] {
        assert_eq!(
            problems_of(&with(&format!("collections: {{{text}}}"))),
            [format!("collections.{problem}")]
        );
        let own = problems_of(&file_of(&[&format!("collections: {{{text}}}")]));
        assert_eq!(own, [format!("accounts[0].collections.{problem}")]);
    }
}

#[test]
fn an_override_for_a_customer_that_can_match_nothing_is_warned_about() {
    let warnings = |customer: &str, customers: &str| {
        let text = format!(
            "thresholds: {{overrides: [{{percent: 5, service: crm}}, {{customer: {customer}, percent: 7}}]}}\n\
             collections: {{customers: {{{customers}}}}}"
        );
        let all = valid(&with(&text)).warnings(Timestamp::UNIX_EPOCH);
        all.into_iter().filter(|warning| warning.contains("overrides")).collect::<Vec<_>>()
    };
    let id = "0112a436-b14e-4888-967b-ca4bb2cf1234";
    assert_eq!(warnings(id, "enabled: true"), [""; 0]);
    let [no_id] = &warnings("Contoso Ltd", "enabled: true")[..] else { panic!("a name is no id") };
    assert!(no_id.starts_with("thresholds.overrides[1].customer is no GUID"), "{no_id}");
    let [no_customers] = &warnings(id, "")[..] else { panic!("there are no customers") };
    assert!(no_customers.contains("no account polls customers"), "{no_customers}");
}
