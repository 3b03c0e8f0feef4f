//! wip
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod alerts {
    pub(crate) mod mutants;
    pub(crate) mod mutation;
    pub(crate) mod promql;
    pub(crate) mod rules;
}

use alerts::mutation;

#[test]
#[ignore = "takes minutes: scripts/mutate-rules runs it, and its record is checked below"]
fn no_mutant_of_the_rules_survives() {
    none(&mutation::run());
}

#[test]
fn the_record_of_mutants_is_about_these_rules_and_tests() {
    none(&mutation::check_record());
}

fn none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}
