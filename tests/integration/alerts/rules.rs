//! The rules file and its tests, read as YAML.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

pub(crate) const FILE: &str = "alerts/partner-license.rules.yml";
pub(crate) const TESTS: &str = "alerts/tests";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    pub(crate) groups: Vec<Group>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) interval: String,
    pub(crate) rules: Vec<Rule>,
}

/// An alert or a recording.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) alert: Option<String>,
    pub(crate) record: Option<String>,
    pub(crate) expr: String,
    pub(crate) r#for: Option<String>,
    pub(crate) keep_firing_for: Option<String>,
    #[serde(default)]
    pub(crate) labels: Map<String, Value>,
    #[serde(default)]
    pub(crate) annotations: Map<String, Value>,
}

impl Rules {
    pub(crate) fn shipped() -> Self {
        serde_saphyr::from_str(&read(FILE)).unwrap()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Rule> {
        self.groups.iter().flat_map(|group| &group.rules)
    }

    pub(crate) fn alerts(&self) -> impl Iterator<Item = &Rule> {
        self.all().filter(|rule| rule.alert.is_some())
    }
}

impl Rule {
    /// Returns the name for messages, with the severity, because two alerts may share a name.
    pub(crate) fn name(&self) -> String {
        match &self.alert {
            Some(alert) => format!("{alert}/{}", self.severity()),
            None => self.base_name().to_owned(),
        }
    }

    /// Returns the name of the alert or the recording.
    pub(crate) fn base_name(&self) -> &str {
        self.alert.as_deref().or(self.record.as_deref()).unwrap_or_default()
    }

    pub(crate) fn severity(&self) -> &str {
        self.labels.get("severity").and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn annotation(&self, name: &str) -> &str {
        self.annotations.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Returns the text of a file of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

/// Returns the files of a directory whose names end in `end`, sorted.
pub(crate) fn files(directory: &str, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(directory)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
    files.sort();
    files
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

// === queries in annotations ===

/// Returns the `PromQL` texts that an annotation passes to `query`, each with its position in the annotation.
pub(crate) fn queries(annotation: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = annotation[from..].find("{{").map(|start| from + start) {
        let end = annotation[start..].find("}}").map_or(annotation.len(), |end| start + end);
        let action = &annotation[start..end];
        if action.contains("query") {
            let mut parts = action.split('"');
            let before = parts.next().unwrap_or_default().len();
            if let Some(text) = parts.next() {
                found.push((start + before + 1, text));
            }
        }
        from = end;
    }
    found
}

/// The verbs of Go's `printf` in queries, which stand for labels and for a string, each with `PromQL` that replaces it.
const VERBS: [(&str, &str); 2] = [("{%s}", "{account=\"%s\"}"), ("%q", "\"%q\"")];

/// Returns a query of an annotation as `PromQL`.
pub(crate) fn without_verbs(query: &str) -> String {
    VERBS.iter().fold(query.to_owned(), |query, (verb, promql)| query.replace(verb, promql))
}

/// Puts the verbs of a query back into a mutant of it; returns none if the mutant lacks one of them.
pub(crate) fn with_verbs(query: &str, mutated: &str) -> Option<String> {
    let restored = VERBS.iter().fold(mutated.to_owned(), |query, (verb, promql)| query.replace(promql, verb));
    let verbs = |text: &str| text.matches('%').count();
    (verbs(query) == verbs(&restored)).then_some(restored)
}
