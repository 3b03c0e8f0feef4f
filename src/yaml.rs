//! A tree of YAML, read key by key, collecting every problem instead of stopping at the first.
//!
//! Each `Section` method takes a key out of its map; what is left at `Section::finish` is unknown. No
//! value is ever quoted in a problem, unless the caller says that it cannot be a secret.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A path into the file such as `accounts[1].tenant_id`, the name of a variable, or empty.
    pub path: String,
    /// What is wrong and what to do, on one line, without any secret.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.text) } else { write!(f, "{}: {}", self.path, self.text) }
    }
}

/// The problems found so far.
#[derive(Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn add(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.0.push(Problem { path: path.into(), text: text.into() });
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value, if there is no problem.
    pub(crate) fn none_or<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// Parses YAML into a tree. Of the parser's error only the place is kept: the rest may quote a secret.
pub(crate) fn parse(text: &str) -> Result<Value, Problem> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        leading_zero_numbers_as_strings: true,
        // So that `.nan` is one problem at its path, not the end of all reading.
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
    };
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Value::Object(Map::new()));
    }
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let at = error
            .location()
            .map(|location| format!(" at line {}, column {}", location.line(), location.column()))
            .unwrap_or_default();
        let what = match error.without_snippet() {
            serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("{} occurs twice", shorten(key, "key"))
            }
            _ => "this is not YAML".to_owned(),
        };
        Problem { path: String::new(), text: format!("{what}{at}") }
    })
}

/// A name that the user chose, what it stands for, and where.
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) text: String,
}

/// One mapping of the file.
pub(crate) struct Section {
    path: String,
    map: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Section {
    pub(crate) fn root(tree: Value, problems: &mut Problems) -> Self {
        Self::new(String::new(), tree, problems)
    }

    fn new(path: String, value: Value, problems: &mut Problems) -> Self {
        let map = match value {
            Value::Object(map) => map,
            Value::Null => Map::new(),
            other => {
                problems.add(path.clone(), format!("expected a mapping of keys, found {}", kind(&other)));
                Map::new()
            }
        };
        Self { path, map, known: Vec::new() }
    }

    /// The full path of a key of this section.
    pub(crate) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The path of this section itself.
    pub(crate) fn own_path(&self) -> String {
        self.path.clone()
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.map.remove(key)
    }

    /// A string that is not empty.
    pub(crate) fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<String> {
        match self.take(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            Value::String(_) | Value::Null => {
                problems.add(self.path(key), "is empty; give it a value or remove the key");
                None
            }
            other => {
                let hint = if other.is_number() || other.is_boolean() { "; put it in quotes" } else { "" };
                problems.add(self.path(key), format!("expected a string, found {}{hint}", kind(&other)));
                None
            }
        }
    }

    /// A string that may be empty, as an absent value is; `None` only where the key is absent.
    pub(crate) fn text_or_empty(&mut self, key: &'static str, problems: &mut Problems) -> Option<String> {
        let value = self.take(key)?;
        let path = self.path(key);
        Some(plain(value).unwrap_or_else(|value| {
            problems.add(path, format!("expected a string, found {}", kind(&value)));
            String::new()
        }))
    }

    /// A mapping from names that the user chose to strings.
    pub(crate) fn entries(&mut self, key: &'static str, problems: &mut Problems) -> Vec<Entry> {
        let mut section = self.section(key, problems);
        let mut entries = Vec::new();
        for (name, value) in std::mem::take(&mut section.map) {
            let path = section.path(&shorten(&name, "key"));
            match plain(value) {
                Ok(text) => entries.push(Entry { path, name, text }),
                Err(value) => problems.add(path, format!("expected a string, found {}", kind(&value))),
            }
        }
        entries
    }

    /// Reports a key of the format that this version does not honour, if it is there.
    pub(crate) fn refuse(&mut self, key: &'static str, problems: &mut Problems) {
        if self.take(key).is_some() {
            problems.add(self.path(key), "not supported by this version; remove it");
        }
    }

    /// A finite number ≥ 0.
    pub(crate) fn number(&mut self, key: &'static str, problems: &mut Problems) -> Option<f64> {
        let value = self.take(key)?;
        let number = value.as_f64().filter(|number| number.is_finite() && *number >= 0.0);
        if number.is_none() {
            let found = if value.is_number() { "a number below 0" } else { kind(&value) };
            problems.add(self.path(key), format!("expected a number of at least 0, found {found}"));
        }
        number
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, key: &'static str, problems: &mut Problems) -> Option<bool> {
        let value = self.take(key)?;
        if value.as_bool().is_none() {
            problems.add(self.path(key), format!("expected true or false, found {}", kind(&value)));
        }
        value.as_bool()
    }

    /// A humantime string such as `6h` or `1d 12h`, within bounds.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        least: Duration,
        most: Duration,
        problems: &mut Problems,
    ) -> Option<Duration> {
        let path = self.path(key);
        let value = self.take(key)?;
        let Value::String(text) = &value else {
            problems.add(path, format!("expected a duration such as 0s, 90s or 6h, found {}", kind(&value)));
            return None;
        };
        match humantime::parse_duration(text) {
            Ok(duration) if duration < least || duration > most => {
                let bounds =
                    [least, most].map(|bound| humantime::format_duration(bound).to_string()).join(" and ");
                problems.add(path, format!("{text:?} is not between {bounds}"));
                None
            }
            Ok(duration) => Some(duration),
            Err(_) => {
                // Whatever got here instead could be a secret.
                problems.add(path, "is no duration; write it as 90s, 15m, 6h or 2d");
                None
            }
        }
    }

    /// A nested mapping; an empty one where the key is absent.
    pub(crate) fn section(&mut self, key: &'static str, problems: &mut Problems) -> Self {
        let path = self.path(key);
        let value = self.take(key).unwrap_or(Value::Null);
        Self::new(path, value, problems)
    }

    /// A list of mappings; `None` where the key is absent.
    pub(crate) fn sections(&mut self, key: &'static str, problems: &mut Problems) -> Option<Vec<Self>> {
        let path = self.path(key);
        match self.take(key)? {
            Value::Array(items) => Some(
                items
                    .into_iter()
                    .enumerate()
                    .map(|(n, item)| Self::new(format!("{path}[{n}]"), item, problems))
                    .collect(),
            ),
            Value::Null => Some(Vec::new()),
            other => {
                problems.add(path, format!("expected a list, found {}", kind(&other)));
                None
            }
        }
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(self, problems: &mut Problems) {
        for key in self.map.keys() {
            let known = self.known.join(", ");
            problems.add(self.path(&shorten(key, "key")), format!("unknown key; known here: {known}"));
        }
    }
}

/// Unknown keys are shown, but a secret pasted in the wrong place should not fill the screen.
pub(crate) fn shorten(text: &str, what: &str) -> String {
    let plain = text.len() <= 40 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if plain { text.to_owned() } else { format!("(a long or unusual {what})") }
}

/// What a string in YAML may be written as: `1` is one too.
fn plain(value: Value) -> Result<String, Value> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(other),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
