//! Compares the documents with the program: tables in docs/ with the program's own lists, links with the files, and
//! names of metrics in documents, rules and dashboards with the metrics that exist. A failure lists every discrepancy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use partner_center_simulator::{CLIENT_ID, Scenario};
use partner_license_exporter::domain::failure::FailureReason;
use partner_license_exporter::metrics::{FAMILIES, Kind};
use partner_license_exporter::partner::hints;

const PROGRAM: &str = env!("CARGO_BIN_EXE_partner-license-exporter");
/// The command that runs if none is named, so its flags are those of the program.
const DEFAULT_COMMAND: &str = "serve";
/// The maximum length of README.md, in lines.
const README_LINES: usize = 220;

/// Returns the path of the document that contains a table.
fn place(table: &str) -> &'static str {
    match table {
        "metrics" => "docs/reference/metrics.md",
        "reasons" | "refusals" => "docs/reference/failures.md",
        "commands" | "flags" => "docs/reference/command-line.md",
        "keys" => "docs/reference/configuration.md",
        "scenario" | "behaviour" | "answers" => "docs/reference/simulator.md",
        other => panic!("no document has a table of {other}"),
    }
}

// === metrics ===

#[test]
fn the_table_of_metrics_lists_the_metrics_of_the_program() {
    let rows = FAMILIES.iter().map(|family| {
        let kind = match family.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        [format!("`{}`", family.name), kind.into(), labels.join(", "), family.help.into()].to_vec()
    });
    same_rows("metrics", &rows.collect::<Vec<_>>());
}

#[test]
fn metric_names_in_documents_rules_dashboards_and_examples_exist() {
    const PREFIX: &str = "partner_license_";
    let mut findings = Findings::default();
    let names: BTreeSet<String> = FAMILIES
        .iter()
        .flat_map(|family| {
            let parts: &[&str] =
                if family.kind == Kind::Histogram { &["", "_bucket", "_sum", "_count"] } else { &[""] };
            parts.iter().map(|part| format!("{}{part}", family.name))
        })
        .collect();
    let mut files = vec![root().join("README.md")];
    for directory in ["alerts", "dashboards", "examples", "docs"] {
        let found = files_below(&root().join(directory));
        if found.is_empty() {
            findings.add(format!("{directory}/: no file; is the directory missing?"));
        }
        files.extend(found);
    }
    for file in files {
        let text = read(&file);
        let mut unknown = BTreeSet::new();
        for (start, _) in text.match_indices(PREFIX) {
            if text.as_bytes()[..start].last().is_some_and(|byte| is_word(*byte)) {
                continue;
            }
            let rest = &text.as_bytes()[start..];
            let end = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
            let name = String::from_utf8_lossy(&rest[..end]).into_owned();
            // `partner_license_*` stands for all metrics; the last of these is the name of the crate.
            if !names.contains(&name) && name != PREFIX && name != "partner_license_exporter" {
                unknown.insert(name);
            }
        }
        for name in unknown {
            findings.add(format!("{}: the program has no metric {name}", shown(&file)));
        }
    }
    findings.none();
}

// === reasons ===

#[test]
fn the_table_of_reasons_lists_the_reasons_of_the_program() {
    let mut findings = Findings::default();
    let (document, rows) = (place("reasons"), table("reasons"));
    let documented: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let known = FailureReason::ALL.map(FailureReason::as_str);
    if documented != known {
        findings.add(format!("{document}, reasons: has {documented:?}, the program {known:?}"));
    }
    for reason in FailureReason::ALL {
        let (word, remedy) = (reason.as_str(), reason.remedy());
        let retried = if reason.needs_operator() { "rarely" } else { "soon" };
        let Some(row) = rows.iter().find(|row| row[0].trim_matches('`') == word) else { continue };
        if row[2] != retried {
            findings.add(format!("{document}, reasons: {word} is retried {retried}, not {:?}", row[2]));
        }
        if row[3] != remedy {
            findings
                .add(format!("{document}, reasons: the remedy of {word} is {remedy:?}, not {:?}", row[3]));
        }
    }
    findings.none();
}

// === refusals ===

#[test]
fn the_table_of_refusals_lists_the_refusals_that_the_program_knows() {
    let of = |prefix: &'static str, hints: &'static [hints::Hint]| {
        hints.iter().map(move |hint| {
            let (code, reason) = (format!("`{prefix}{}`", hint.code), format!("`{}`", hint.reason.as_str()));
            [code, reason, hint.meaning.into(), hint.remedy.into()].to_vec()
        })
    };
    let rows = of("AADSTS", hints::SIGN_IN).chain(of("", hints::API));
    same_rows("refusals", &rows.collect::<Vec<_>>());
}

// === commands and flags ===

#[test]
fn the_tables_of_commands_and_flags_list_what_help_prints() {
    let mut findings = Findings::default();
    let document = place("flags");
    let top = help(&[]);
    let commands = commands(&top);
    let documented: Vec<String> =
        table("commands").iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    if documented != commands {
        findings.add(format!("{document}, commands: has {documented:?}, --help {commands:?}"));
    }

    let mut printed = BTreeMap::new();
    for command in commands.iter().filter(|command| *command != "help") {
        for (flag, default) in flags(&help(&[command])) {
            printed.insert((command.clone(), flag), default);
        }
    }
    for (flag, default) in flags(&top) {
        let of_default = (DEFAULT_COMMAND.to_owned(), flag.clone());
        match printed.get(&of_default) {
            Some(same) if *same == default => {}
            Some(other) => findings.add(format!("{flag} has the default {default:?} and {other:?}")),
            None => drop(printed.insert(("none".to_owned(), flag), default)),
        }
    }

    let mut written = BTreeMap::new();
    for row in table("flags") {
        let flag = row[0].trim_matches('`').to_owned();
        let of: Vec<&str> = match row[1].as_str() {
            "all" => commands.iter().map(String::as_str).filter(|command| *command != "help").collect(),
            list => list.split(", ").map(|command| command.trim_matches('`')).collect(),
        };
        for command in of {
            written.insert((command.to_owned(), flag.clone()), row[2].trim_matches('`').to_owned());
        }
    }
    for ((command, flag), default) in &printed {
        match written.get(&(command.clone(), flag.clone())) {
            None => findings.add(format!("{document}, flags: {flag} of {command} is missing")),
            Some(other) if other != default => findings.add(format!(
                "{document}, flags: {flag} of {command} has the default {default:?}, not {other:?}"
            )),
            Some(_) => {}
        }
    }
    for (command, flag) in written.keys().filter(|key| !printed.contains_key(*key)) {
        findings.add(format!("{document}, flags: {command} has no {flag}"));
    }
    findings.none();
}

#[test]
fn the_commands_of_the_program_in_the_documents_have_existing_flags() {
    let mut findings = Findings::default();
    let mut found = 0;
    for file in documents() {
        for (n, block) in blocks(&read(&file), "sh") {
            let block = block.replace("\\\n", " ");
            for command in block.lines().flat_map(|line| line.split(['|', '&', ';'])) {
                let words: Vec<&str> = command.split_whitespace().collect();
                let is_program = |word: &str| word == "partner-license-exporter";
                // `sudo -u USER` may precede it, but nothing else.
                let Some(at) = words.iter().position(|word| is_program(word)) else { continue };
                let rest = match &words[..at] {
                    [] | ["sudo"] => &words[at + 1..],
                    ["sudo", "-u", _] if words.get(at + 1).is_some_and(|word| is_program(word)) => {
                        &words[at + 2..]
                    }
                    ["sudo", "-u"] => &words[at + 2..],
                    _ => continue,
                };
                found += 1;
                // `--help` last: what precedes it must be valid.
                let output = Command::new(PROGRAM).args(rest).arg("--help").output().unwrap();
                if !output.status.success() {
                    let text = String::from_utf8_lossy(&output.stderr).into_owned();
                    findings.add(format!("{}:{n}: {}: {text}", shown(&file), command.trim()));
                }
            }
        }
    }
    assert!(found > 30, "only {found} commands");
    findings.none();
}

/// Returns the commands that a help text lists below `Commands:`.
fn commands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    list.take_while(|line| !line.is_empty())
        // A line with more indentation continues the description above it.
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|word| !word.is_empty()))
        .map(str::to_owned)
        .collect()
}

/// Returns the flags in a help text with the names of their values, such as `--log.level LEVEL`, each with its default,
/// which may be empty.
fn flags(help: &str) -> Vec<(String, String)> {
    let mut flags: Vec<(String, String)> = Vec::new();
    for line in help.lines().skip_while(|line| *line != "Options:").skip(1) {
        let line = line.trim_start();
        if let Some((_, rest)) = line.starts_with('-').then(|| line.split_once("--")).flatten() {
            // The description begins after two or more spaces.
            let name = rest.split("  ").next().unwrap_or(rest);
            flags.push((format!("--{}", name.replace(['<', '>'], "")), String::new()));
        }
        let default = line.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
        if let (Some((default, _)), Some(flag)) = (default, flags.last_mut()) {
            default.clone_into(&mut flag.1);
        }
    }
    flags
}

fn help(command: &[&String]) -> String {
    let output = Command::new(PROGRAM).args(command).arg("--help").output().expect("the program starts");
    assert!(output.status.success(), "{command:?} --help: {}", output.status);
    String::from_utf8(output.stdout).expect("help is UTF-8")
}

// === configuration ===

#[test]
fn every_configuration_key_is_in_the_reference() {
    let mut findings = Findings::default();
    let file = "nope: 1\nthresholds: { nope: 1, overrides: [ { nope: 1 } ] }\ncollections: { nope: 1, usage: { nope: 1 }, \
                deployment: { nope: 1 }, customers: { nope: 1 } }\nprices: [ { nope: 1 } ]\naccounts: [ { nope: 1 } ]\n";
    let (_, errors) = check(file);
    let mut known = BTreeSet::new();
    for line in errors.lines() {
        let Some((path, keys)) = line.split_once("nope: unknown key; known here: ") else { continue };
        let path = path.trim_start().replace("[0]", "[]");
        known.extend(keys.split(", ").map(|key| format!("{path}{key}")));
    }
    if known.is_empty() {
        findings.add(format!("no list of known keys in the error about unknown ones:\n{errors}"));
    }
    // A section is documented by the keys in it.
    let is_section = |key: &String| {
        known
            .iter()
            .any(|other| other.starts_with(&format!("{key}.")) || other.starts_with(&format!("{key}[]")))
    };
    let leaves: BTreeSet<String> = known.iter().filter(|key| !is_section(key)).cloned().collect();
    let written: BTreeSet<String> =
        table("keys").iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let document = place("keys");
    for key in leaves.difference(&written) {
        findings.add(format!("{document}, keys: {key} is missing"));
    }
    for key in written.difference(&leaves) {
        findings.add(format!("{document}, keys: the program knows no {key}"));
    }
    findings.none();
}

#[test]
fn the_configuration_of_the_packages_explains_every_key_and_is_valid_once_everything_in_it_is_turned_on() {
    let text = read(&root().join("packaging/config.yml"));
    let mut findings = Findings::default();
    for row in table("keys") {
        let key = row[0].trim_matches('`').rsplit('.').next().unwrap_or_default().to_owned();
        if !text.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()).any(|word| word == key) {
            findings.add(format!("packaging/config.yml: {} is missing", row[0]));
        }
    }
    let (_, errors) = check(&text);
    if !errors.contains("accounts: ") || errors.lines().count() != 2 {
        findings.add(format!("as it is, only accounts may be missing from it:\n{errors}"));
    }
    // A `#` without a space after it turns a setting off.
    let turn_on = |line: &str| {
        let setting =
            line.trim_start().strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' '));
        setting.map_or(line.to_owned(), |_| line.replacen('#', "", 1))
    };
    let (valid, errors) = check(&text.lines().map(turn_on).collect::<Vec<_>>().join("\n"));
    if !valid {
        findings.add(format!("with everything turned on: {errors}"));
    }
    findings.none();
}

#[test]
fn commands_and_chart_name_the_version_of_the_program() {
    let mut findings = Findings::default();
    let files = ["binary", "container", "packages"].map(|name| format!("docs/start/{name}.md"));
    for file in files.into_iter().chain(["docs/development/releasing.md", "Dockerfile"].map(str::to_owned)) {
        let text = read(&root().join(&file));
        let after = |prefix: &str| -> Vec<String> {
            let rests =
                text.split(prefix).skip(1).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            let number =
                |rest: &str| rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect::<String>();
            rests.map(|rest| number(rest).trim_end_matches('.').to_owned()).collect()
        };
        let prefixes = [
            "partner-license-exporter-",
            "partner-license-exporter_",
            "partner-license-exporter:",
            "VERSION=",
        ];
        let found: Vec<String> = prefixes.into_iter().flat_map(after).collect();
        if found.is_empty() {
            findings.add(format!("{file}: names no version"));
        }
        for version in found.iter().filter(|version| *version != env!("CARGO_PKG_VERSION")) {
            findings.add(format!("{file}: {version} is not the version in Cargo.toml"));
        }
    }
    let chart = read(&root().join("charts/partner-license-exporter/Chart.yaml"));
    for key in ["version", "appVersion"] {
        let line = format!("{key}: {}", env!("CARGO_PKG_VERSION"));
        if !chart.lines().any(|other| other == line) {
            findings.add(format!("Chart.yaml: has no line {line}"));
        }
    }
    findings.none();
}

#[test]
fn configurations_in_the_documents_are_valid() {
    let mut findings = Findings::default();
    let mut configurations = Vec::new();
    for document in documents() {
        let text = read(&document);
        let written = blocks(&text, "yaml").into_iter().chain(here_documents(&text));
        let found = written.filter(|(_, text)| text.lines().any(|line| line == "accounts:"));
        configurations.extend(found.map(|(line, text)| (format!("{}:{line}", shown(&document)), text)));
    }
    for document in ["README.md", place("keys")] {
        if !configurations.iter().any(|(origin, _)| origin.starts_with(document)) {
            findings.add(format!("{document}: no configuration with accounts: in it"));
        }
    }
    let example = root().join("examples/config.yml");
    if example.is_file() {
        configurations.push(("examples/config.yml".to_owned(), read(&example)));
    } else {
        findings.add("examples/config.yml: no such file".to_owned());
    }
    for (origin, text) in configurations {
        let (valid, errors) = check(&text);
        if !valid {
            findings.add(format!("{origin}: {errors}"));
        }
    }
    findings.none();
}

/// Returns the here-documents that commands write to files, with values for their variables, each with the number of
/// the line at which its block begins.
fn here_documents(markdown: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, block) in blocks(markdown, "sh") {
        for rest in block.split("<<END\n").skip(1) {
            let (text, _) = rest.split_once("\nEND").expect("a here-document ends");
            found.push((line, text.replace("$tenant", "contoso.example").replace("$client_id", CLIENT_ID)));
        }
    }
    found
}

/// Runs `check` on a configuration, whose paths are replaced by those of files that exist.
fn check(text: &str) -> (bool, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "a-secret\n").expect("a file in it");
    let file = directory.path().join("config.yml");
    let certificate = root().join("tests/fixtures/client-certificates/rsa.pem");
    // The certificate without its key.
    let anchor = directory.path().join("ca.pem");
    let pem = read(&certificate);
    let (_, without_key) =
        pem.split_once("-----END PRIVATE KEY-----\n").expect("a key before the certificate");
    std::fs::write(&anchor, without_key).expect("a file in it");
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.split_once("_file: ") {
            Some((key, _)) if key.trim_start().starts_with("client_certificate") => {
                format!("{key}_file: {}", certificate.display())
            }
            Some((key, _)) if key.trim_start() == "ca" => format!("{key}_file: {}", anchor.display()),
            Some((key, _)) if !line.trim_start().starts_with('#') => {
                format!("{key}_file: {}", secret.display())
            }
            _ => line.to_owned(),
        })
        .collect();
    std::fs::write(&file, lines.join("\n")).expect("a file in it");
    let output = Command::new(PROGRAM)
        .args(["check", "--config.file"])
        .arg(&file)
        .output()
        .expect("the program starts");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

// === simulator ===

#[test]
fn the_reference_of_scenarios_lists_the_keys_and_answers_of_the_simulator() {
    let mut findings = Findings::default();
    let words = |name: &str, row: usize, column: usize| -> Vec<String> {
        let cell = table(name).get(row).map(|row| row[column].clone()).unwrap_or_default();
        quoted(&cell)
    };
    let first_column =
        |name: &str| -> Vec<String> { table(name).iter().flat_map(|row| quoted(&row[0])).collect() };
    for (what, scenario, written) in [
        ("scenario keys", "nope: 1", first_column("scenario")),
        ("keys of token and usage", "usage: { nope: 1 }", first_column("behaviour")),
        ("answers of token", "token: { answer: nope }", words("answers", 0, 1)),
        ("answers of usage", "usage: { answer: nope }", words("answers", 1, 1)),
        ("answers of device", "device: { answer: nope }", words("answers", 2, 1)),
        ("answers of authorize", "authorize: { answer: nope }", words("answers", 3, 1)),
    ] {
        let error = Scenario::parse(scenario).expect_err("nope is neither a key nor a word").to_string();
        let list = error.split_once("expected one of ").and_then(|(_, rest)| rest.split_once(" at line"));
        let known: Vec<&str> = list.map(|(list, _)| list.split(", ").collect()).unwrap_or_default();
        if written != known {
            let document = place("scenario");
            findings.add(format!("{document}, {what}: has {written:?}, the simulator {known:?}"));
        }
    }
    findings.none();
}

#[test]
fn scenarios_in_the_documents_are_valid() {
    let mut findings = Findings::default();
    for document in documents() {
        let text = read(&document);
        let scenarios = ["--data '", "-d '"].into_iter().flat_map(|flag| text.split(flag).skip(1));
        let scenarios: Vec<&str> = scenarios.filter_map(|rest| Some(rest.split_once('\'')?.0)).collect();
        if scenarios.is_empty() && document.ends_with(place("scenario")) {
            findings.add(format!("{}: no scenario after --data", shown(&document)));
        }
        for scenario in scenarios {
            if let Err(error) = Scenario::parse(scenario) {
                findings.add(format!("{}: {scenario}: {error}", shown(&document)));
            }
        }
    }
    findings.none();
}

// === mutants of the code ===

#[test]
fn the_record_of_mutants_is_about_existing_modules_and_says_why_each_survivor_is_harmless() {
    let (mut findings, mut survivor) = (Findings::default(), None);
    for line in read(&root().join("tests/mutants.txt")).lines() {
        if line.starts_with("src/") || line.starts_with("crates/") {
            if !root().join(line).exists() {
                findings
                    .add(format!("there is no {line}; rename it in scripts/mutate-code and in its record"));
            }
        } else if let Some(name) = line.strip_prefix("  survived: ") {
            survivor = Some(name);
        } else if let (Some(name), "NOT EXPLAINED") = (survivor, line.trim()) {
            findings.add(format!("{name}: write a test that fails on this mutant, or why it is harmless"));
        }
    }
    findings.none();
}

// === links ===

#[test]
fn relative_links_lead_to_existing_files_and_headings() {
    let mut findings = Findings::default();
    let elsewhere = ["docs", "crates", "fuzz", "tests"].map(|directory| files_below(&root().join(directory)));
    let documents =
        files_in(&root()).into_iter().chain(elsewhere.into_iter().flatten()).filter(|file| is_markdown(file));
    for document in documents {
        for (target, file, anchor) in links(&document) {
            if !file.exists() {
                findings.add(format!("{}: the target of the link {target} does not exist", shown(&document)));
            } else if !anchor.is_empty() && !anchors(&read(&file)).contains(&anchor) {
                findings.add(format!("{}: {} has no heading #{anchor}", shown(&document), shown(&file)));
            }
        }
    }
    findings.none();
}

#[test]
fn every_file_in_docs_is_reachable_from_the_index() {
    let docs = root().join("docs").canonicalize().expect("there is a directory docs");
    let index = docs.join("README.md");
    let mut reached = BTreeSet::from([index.clone()]);
    let mut unread = vec![index];
    while let Some(document) = unread.pop() {
        for (_, file, _) in links(&document) {
            // Paths are compared in canonical form; another test reports files that do not exist.
            let Ok(file) = file.canonicalize() else { continue };
            if file.starts_with(&docs) && reached.insert(file.clone()) && is_markdown(&file) {
                unread.push(file);
            }
        }
    }
    let mut findings = Findings::default();
    let files = files_below(&docs);
    assert!(files.len() > 30, "only {} files were found", files.len());
    for file in files.iter().filter(|file| !reached.contains(*file)) {
        findings.add(format!("{}: not reachable by links from docs/README.md", shown(file)));
    }
    findings.none();
}

#[test]
fn the_readme_has_at_most_220_lines() {
    let lines = read(&root().join("README.md")).lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines, more than {README_LINES}");
}

/// Returns the relative links of a document: each as it is written, with the path of its target and the anchor, which
/// may be empty.
fn links(document: &Path) -> Vec<(String, PathBuf, String)> {
    let text = prose(&read(document));
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    targets
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .map(|target| {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() {
                document.to_owned()
            } else {
                document.parent().expect("a file has a directory").join(path)
            };
            (target.to_owned(), file, anchor.to_owned())
        })
        .collect()
}

fn is_markdown(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "md")
}

/// Returns the anchors of the headings.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let headings = markdown.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

// === reading documents ===

/// Discrepancies, which are reported together.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, finding: String) {
        self.0.push(finding);
    }

    fn none(self) {
        assert!(self.0.is_empty(), "\n{}\n", self.0.join("\n"));
    }
}

/// Compares a table of the documents with the expected rows.
fn same_rows(name: &str, wanted: &[Vec<String>]) {
    let mut findings = Findings::default();
    let (document, found) = (place(name), table(name));
    let line = |row: &Vec<String>| format!("| {} |", row.join(" | ")).replace("|  |", "| |");
    for row in wanted.iter().filter(|row| !found.contains(row)) {
        findings.add(format!("{document}, {name}: this row is missing: {}", line(row)));
    }
    for row in found.iter().filter(|row| !wanted.contains(row)) {
        findings.add(format!("{document}, {name}: this row is not in the program: {}", line(row)));
    }
    if findings.0.is_empty() && found != wanted {
        findings.add(format!("{document}, {name}: the order of the rows is not that of the program"));
    }
    findings.none();
}

/// Returns the rows of the table between two markers, without its two header lines.
fn table(name: &str) -> Vec<Vec<String>> {
    let document = place(name);
    let text = read(&root().join(document));
    let (begin, end) = (format!("<!-- {name}:begin -->"), format!("<!-- {name}:end -->"));
    let inside = text.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end));
    let (inside, _) = inside.unwrap_or_else(|| panic!("{document}: no table between {begin} and {end}"));
    let rows: Vec<Vec<String>> = inside
        .lines()
        .filter_map(|line| line.trim().strip_prefix('|')?.strip_suffix('|'))
        .map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    let columns = rows.first().map_or(0, Vec::len);
    for row in &rows {
        assert_eq!(row.len(), columns, "{document}, {name}: {row:?} has not as many cells as the header");
    }
    rows.into_iter().skip(2).collect()
}

/// Returns the words in back quotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns the fenced blocks of a language, each with the number of its first line.
fn blocks(markdown: &str, language: &str) -> Vec<(usize, String)> {
    let (mut found, mut open) = (Vec::new(), None::<(usize, Vec<&str>)>);
    for (n, line) in markdown.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) if info == language => open = Some((n + 1, Vec::new())),
            (Some(_), Some(_)) => found.extend(open.take().map(|(n, lines)| (n, lines.join("\n")))),
            (Some((_, lines)), None) => lines.push(line),
            (None, _) => {}
        }
    }
    found
}

/// Returns a document without its fenced blocks.
fn prose(markdown: &str) -> String {
    let parts: Vec<&str> = markdown.split("\n```").step_by(2).collect();
    parts.join("\n")
}

/// Returns README.md and the documents in docs/.
pub(crate) fn documents() -> Vec<PathBuf> {
    let found = files_below(&root().join("docs")).into_iter().filter(|file| is_markdown(file));
    [root().join("README.md")].into_iter().chain(found).collect()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("cannot read {}: {error}", shown(file)));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

/// Returns the files of a directory; none if there is no such directory.
fn files_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut files: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// Returns the files of a directory and of its subdirectories.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = files_in(directory);
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()) {
        files.extend(files_below(&path));
    }
    files
}
