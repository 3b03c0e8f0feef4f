//! Runs the tests of the rules on every mutant, and keeps a record of the outcome.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;

use super::mutants::{self, Mutant};
use super::rules::{self, Rule, Rules, read, root};

const RECORD: &str = "alerts/tests/mutants.txt";
const EQUIVALENT: &str = "alerts/tests/equivalent-mutants.yml";
/// The promtools, newest first; the oldest runs only on mutants that survive the newest.
const PROMTOOLS: [&str; 2] = ["target/tools/testing/bin/promtool", "target/tools/bookworm/bin/promtool"];
/// The number of times that the unchanged rules must pass, because promtool evaluates them in no fixed order.
const GREEN: usize = 10;

/// A mutant that no test can kill, because it behaves like the rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Equivalent {
    rule: String,
    change: String,
    reason: String,
}

/// The fate of a mutant.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Prometheus does not load it.
    Refused,
    /// A test fails.
    Killed,
    /// Every test passes.
    Survived,
}

/// Runs the tests on every mutant, writes the record, and returns what is wrong with the outcome. With `only`, runs
/// only the mutants whose name contains one of its texts, which `|` separates, and writes no record.
pub(crate) fn run(only: Option<&str>) -> Vec<String> {
    let (mut mutants, fingerprint) = (all(), fingerprint());
    if let Some(parts) = only {
        mutants.retain(|it| {
            let name = format!("{}: {}", it.rule, it.change);
            parts.split('|').any(|part| name.contains(part))
        });
    }
    if only.is_none() {
        assert_unchanged_rules_pass();
    }
    let (next, fates) = (AtomicUsize::new(0), Mutex::new(vec![None; mutants.len()]));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let bench = Bench::new(&mutants);
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let fate = bench.fate(mutant);
                    let n = mutants.iter().position(|other| std::ptr::eq(other, mutant)).unwrap();
                    #[expect(clippy::print_stdout, reason = "the run takes minutes, and shows its progress")]
                    {
                        let of = mutants.len();
                        println!("{:>4} of {of}: {fate:?}: {}: {}", n + 1, mutant.rule, mutant.change);
                    }
                    fates.lock().unwrap()[n] = Some(fate);
                }
            });
        }
    });
    let fates: Vec<Fate> = fates.into_inner().unwrap().into_iter().flatten().collect();
    let excused =
        |mutant: &Mutant| equivalents().iter().any(|it| it.rule == mutant.rule && it.change == mutant.change);
    let mut findings = Vec::new();
    let (mut equivalent, mut survived) = (0, 0);
    for (mutant, fate) in mutants.iter().zip(&fates) {
        match (fate, excused(mutant)) {
            (Fate::Survived, true) => equivalent += 1,
            (Fate::Survived, false) => {
                survived += 1;
                findings.push(format!("survived: {}: {}", mutant.rule, mutant.change));
            }
            (_, true) => findings.push(format!("not equivalent: {}: {}", mutant.rule, mutant.change)),
            (_, false) => {}
        }
    }
    if only.is_some() {
        return findings;
    }
    let count = |fate| fates.iter().filter(|other| **other == fate).count();
    let mut record = String::from(
        "# The outcome of the mutants of the alert rules. scripts/mutate-rules writes this file; `cargo test` fails while it is\n\
         # about other rules or tests.\n\n",
    );
    for (key, value) in [
        ("fingerprint", fingerprint),
        ("promtool", PROMTOOLS.map(version).join(" and ")),
        ("green", format!("{GREEN} times out of {GREEN} (check rules and test rules, on each promtool)")),
        ("mutants", mutants.len().to_string()),
        ("refused", format!("{} (by Prometheus)", count(Fate::Refused))),
        ("killed", format!("{} (by a test)", count(Fate::Killed))),
        ("equivalent", format!("{equivalent} ({EQUIVALENT} says why)")),
        ("survived", survived.to_string()),
    ] {
        writeln!(record, "{key}: {value}").unwrap();
    }
    fs::write(root().join(RECORD), record).unwrap();
    findings
}

/// Asserts that the unchanged rules pass on each promtool, every time.
fn assert_unchanged_rules_pass() {
    let (rules, tests) = (root().join(rules::FILE), test_files());
    thread::scope(|scope| {
        for promtool in PROMTOOLS {
            let (rules, tests) = (&rules, &tests);
            scope.spawn(move || {
                for n in 1..=GREEN {
                    assert!(
                        succeeds(promtool, &["check", "rules"], rules),
                        "{promtool} refuses them, time {n}"
                    );
                    for test in tests {
                        let file = test.display();
                        assert!(
                            succeeds(promtool, &["test", "rules"], test),
                            "{promtool}: {file} fails, time {n}"
                        );
                    }
                }
            });
        }
    });
}

/// Returns the faults of the record, such as that it is of other rules or tests.
pub(crate) fn check_record() -> Vec<String> {
    let record = read(RECORD);
    let value = |key: &str| -> String {
        let line = record.lines().find_map(|line| line.strip_prefix(&format!("{key}: ")));
        line.unwrap_or_default().split(' ').next().unwrap_or_default().to_owned()
    };
    let number = |key: &str| value(key).parse::<usize>().unwrap_or_default();
    let mutants = all();
    let mut findings = Vec::new();
    if value("fingerprint") != fingerprint() {
        findings
            .push(format!("{RECORD}: rules, tests or mutants have changed since; run scripts/mutate-rules"));
    }
    if number("green") != GREEN {
        findings.push(format!("{RECORD}: the tests did not pass {GREEN} times"));
    }
    if number("survived") != 0 || value("survived").is_empty() {
        findings.push(format!("{RECORD}: mutants survived"));
    }
    if number("mutants") != mutants.len()
        || number("refused") + number("killed") + number("equivalent") != mutants.len()
        || number("equivalent") != equivalents().len()
    {
        findings.push(format!("{RECORD}: the numbers do not add up to {} mutants", mutants.len()));
    }
    let names: BTreeSet<_> = mutants.iter().map(|mutant| (&*mutant.rule, &*mutant.change)).collect();
    if names.len() != mutants.len() {
        findings.push("two mutants have the same name".to_owned());
    }
    for it in equivalents() {
        if !names.contains(&(&*it.rule, &*it.change)) {
            findings.push(format!("{EQUIVALENT}: there is no mutant {}: {}", it.rule, it.change));
        }
        if it.reason.split(' ').count() < 5 {
            findings.push(format!("{EQUIVALENT}: {}: {}: give a reason", it.rule, it.change));
        }
    }
    findings
}

fn all() -> Vec<Mutant> {
    mutants::of(&serde_saphyr::from_str(&read(rules::FILE)).unwrap())
}

fn equivalents() -> Vec<Equivalent> {
    serde_saphyr::from_str(&read(EQUIVALENT)).unwrap()
}

fn test_files() -> Vec<PathBuf> {
    rules::files(rules::TESTS, ".test.yml")
}

/// Returns a digest of the mutants and the tests as parsed, which comments do not change.
fn fingerprint() -> String {
    let mut text = String::new();
    for mutant in all() {
        writeln!(text, "{} {} {}", mutant.rule, mutant.change, mutant.rules).unwrap();
    }
    for file in test_files() {
        let test: Value = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        writeln!(text, "{} {test}", file.file_name().unwrap().display()).unwrap();
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn version(promtool: &str) -> String {
    let output = Command::new(root().join(promtool)).arg("--version").output().unwrap();
    // Some versions print to stderr.
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    text.split(' ').skip_while(|word| *word != "version").nth(1).unwrap_or_default().to_owned()
}

// === one mutant ===

/// A directory with a copy of the tests and the rules of one mutant.
struct Bench {
    directory: tempfile::TempDir,
    /// The test files, each with the names of the rules that it needs.
    tests: Vec<(PathBuf, BTreeSet<String>)>,
}

impl Bench {
    /// Copies the tests that need the rule of one of these mutants.
    fn new(mutants: &[Mutant]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("tests")).unwrap();
        let rules = Rules::shipped();
        let tests = test_files().into_iter().map(|file| {
            let copy = directory.path().join("tests").join(file.file_name().unwrap());
            let text = fs::read_to_string(file).unwrap();
            fs::write(&copy, &text).unwrap();
            (copy, needed(&rules, &text))
        });
        let tests = tests.filter(|(_, needed)| mutants.iter().any(|it| needed.contains(it.base_name())));
        let mut bench = Self { tests: tests.collect(), directory };
        // The test files are sorted by duration. Each must pass on the unchanged rules.
        let rules: Value = serde_saphyr::from_str(&read(rules::FILE)).unwrap();
        let mut tests = std::mem::take(&mut bench.tests);
        tests.sort_by_cached_key(|(file, needed)| {
            bench.put(&only(&rules, needed));
            #[expect(clippy::disallowed_methods, reason = "a process takes real time")]
            let started = Instant::now();
            for promtool in PROMTOOLS {
                assert!(
                    succeeds(promtool, &["test", "rules"], file),
                    "{} fails on the unchanged rules",
                    file.display()
                );
            }
            started.elapsed()
        });
        bench.tests = tests;
        bench
    }

    fn fate(&self, mutant: &Mutant) -> Fate {
        if !succeeds(PROMTOOLS[0], &["check", "rules"], &self.put(&mutant.rules)) {
            return Fate::Refused;
        }
        let name = mutant.base_name();
        // The test file that is named after the rule kills most of its mutants.
        let own = |file: &Path| file.file_name().unwrap().to_str().unwrap().starts_with(name);
        let (first, then): (Vec<_>, Vec<_>) = self.tests.iter().partition(|(file, _)| own(file));
        for promtool in PROMTOOLS {
            for (file, needed) in first.iter().chain(&then).filter(|(_, needed)| needed.contains(name)) {
                self.put(&only(&mutant.rules, needed));
                if !succeeds(promtool, &["test", "rules"], file) {
                    return Fate::Killed;
                }
            }
        }
        Fate::Survived
    }

    /// Writes the rules as JSON, which is valid YAML, and returns the path.
    fn put(&self, rules: &Value) -> PathBuf {
        let file = self.directory.path().join("partner-license.rules.yml");
        fs::write(&file, rules.to_string()).unwrap();
        file
    }
}

/// Returns the names of the alerts in a test and of the recordings that they use; of all rules if it names none.
fn needed(rules: &Rules, test: &str) -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    if !rules.alerts().any(|rule| test.contains(rule.base_name())) {
        return rules.all().map(|rule| rule.base_name().to_owned()).collect();
    }
    let mut texts = vec![test.to_owned()];
    while let Some(text) = texts.pop() {
        let found = |rule: &&Rule| text.contains(rule.base_name()) && !needed.contains(rule.base_name());
        let found: Vec<_> = rules.all().filter(found).collect();
        for rule in found {
            needed.insert(rule.base_name().to_owned());
            texts.push(rule.expr.clone());
            texts.extend(rule.annotations.values().map(Value::to_string));
        }
    }
    needed
}

fn only(rules: &Value, names: &BTreeSet<String>) -> Value {
    let mut rules = rules.clone();
    for group in rules["groups"].as_array_mut().unwrap() {
        group["rules"].as_array_mut().unwrap().retain(|rule| {
            let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap();
            names.contains(name)
        });
    }
    rules
}

fn succeeds(promtool: &str, arguments: &[&str], file: &Path) -> bool {
    let mut command = Command::new("nice");
    command.arg(root().join(promtool)).args(arguments).arg(file);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}
