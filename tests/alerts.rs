//! wip
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod alerts {
    pub(crate) mod mutants;
    pub(crate) mod promql;
    pub(crate) mod rules;
}
use alerts::*;

#[test]
fn list() {
    let rules: serde_json::Value = serde_saphyr::from_str(&rules::read(rules::FILE)).unwrap();
    let all = mutants::of(&rules);
    for mutant in &all { println!("{} | {}", mutant.rule, mutant.change); }
    println!("{}", all.len());
}
