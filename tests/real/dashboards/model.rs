//! The dashboards as files and as JSON, with their panels, targets and variables.

use std::path::PathBuf;

use serde_json::Value;

/// One file in dashboards/.
#[derive(Clone)]
pub(crate) struct Dashboard {
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Dashboard {
    /// All dashboards.
    pub(crate) fn all() -> Vec<Self> {
        files().iter().map(|path| Self::parse(path, std::fs::read_to_string(path).unwrap())).collect()
    }

    fn parse(path: &std::path::Path, text: String) -> Self {
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        Self { file, text, json }
    }

    /// The same file with other content, formatted correctly.
    pub(crate) fn with(&self, json: Value) -> Self {
        let text = pretty(&json);
        Self { file: self.file.clone(), text, json }
    }

    pub(crate) fn title(&self) -> &str {
        self.json["title"].as_str().unwrap_or_default()
    }

    pub(crate) fn uid(&self) -> &str {
        self.json["uid"].as_str().unwrap_or_default()
    }

    /// Every panel that is not a row, including those in collapsed rows.
    pub(crate) fn panels(&self) -> Vec<Panel<'_>> {
        let top = list(&self.json["panels"]);
        let below = top.iter().flat_map(|panel| list(&panel["panels"]));
        let shows = |panel: &&Value| panel["type"] != "row";
        top.iter().chain(below).filter(shows).map(Panel).collect()
    }

    pub(crate) fn variables(&self) -> &[Value] {
        list(&self.json["templating"]["list"])
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Value> {
        self.variables().iter().find(|variable| variable["name"] == name)
    }
}

/// A panel.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a>(pub &'a Value);

impl<'a> Panel<'a> {
    pub(crate) fn title(self) -> &'a str {
        text(&self.0["title"])
    }

    pub(crate) fn kind(self) -> &'a str {
        text(&self.0["type"])
    }

    pub(crate) fn targets(self) -> &'a [Value] {
        list(&self.0["targets"])
    }

    pub(crate) fn overrides(self) -> &'a [Value] {
        list(&self.0["fieldConfig"]["overrides"])
    }

    pub(crate) fn transformations(self) -> &'a [Value] {
        list(&self.0["transformations"])
    }
}

/// The labels that a legend contains in double braces.
pub(crate) fn legend_labels(target: &Value) -> Vec<&str> {
    let legend = text(&target["legendFormat"]);
    legend.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0.trim())).collect()
}

/// The format of the files, in which a change is a small difference.
pub(crate) fn pretty(json: &Value) -> String {
    serde_json::to_string_pretty(json).unwrap() + "\n"
}

pub(crate) fn list(json: &Value) -> &[Value] {
    json.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text(json: &Value) -> &str {
    json.as_str().unwrap_or_default()
}

/// Every string in a document, at any depth.
pub(crate) fn texts(json: &Value) -> Vec<&str> {
    match json {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

pub(crate) fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(crate::dashboards::root().join("dashboards")).unwrap();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
}
