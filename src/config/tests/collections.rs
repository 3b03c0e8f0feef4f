use super::*;
use crate::domain::collection::Collection;

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
fn an_account_overrides_single_keys_of_the_defaults() {
    let defaults = "collections:\n  usage: {source: licenses}\n  deployment: {enabled: true}\n";
    let own = "collections: {usage: {source: commercial}}";
    let config = valid(&format!("{defaults}{}", file_of(&[own])));
    let expected = Collections { source: SourceChoice::Commercial, deployment: true };
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
        ("deploy: {}", "deploy: unknown key; known here: usage, deployment"),
    ] {
        assert_eq!(
            problems_of(&with(&format!("collections: {{{text}}}"))),
            [format!("collections.{problem}")]
        );
        let own = problems_of(&file_of(&[&format!("collections: {{{text}}}")]));
        assert_eq!(own, [format!("accounts[0].collections.{problem}")]);
    }
}
