//! One mapping of a document, whose keys are taken out one by one.
//!
//! What is left at [`Section::finish`] is unknown. A problem never quotes a value unless it cannot be a secret.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::plain_text::within_typographic_quotes;

use super::problem::{Problems, shorten};
use super::value::{self, Value};

/// One mapping of a document.
#[must_use = "unknown keys are reported by `finish`"]
#[derive(Default)]
pub struct Section {
    path: String,
    map: Vec<(String, Value)>,
    known: Vec<&'static str>,
}

/// A key that the user chose, with its value.
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Section {
    /// Parses a document; `None` if it is not YAML, which becomes the only new problem.
    pub fn parse(text: &str, problems: &mut Problems) -> Option<Self> {
        match value::parse(text) {
            Ok(mut value) => {
                straighten_quotes(&mut value, "", problems);
                Some(Self::new(String::new(), value, problems))
            }
            Err(problem) => {
                problems.malformed(problem.path, problem.text);
                None
            }
        }
    }

    fn new(path: String, value: Value, problems: &mut Problems) -> Self {
        let map = match value {
            Value::Map(map) => map,
            Value::Null => Vec::new(),
            other => {
                let how = if matches!(other, Value::List(_)) {
                    "write its keys without dashes, as in `key: value`"
                } else {
                    "write keys with their values, as in `key: value`"
                };
                let found = other.kind();
                let text = format_args!("expected a mapping of keys, found {found}; {how}");
                problems.malformed(path.clone(), text);
                Vec::new()
            }
        };
        Self { path, map, known: Vec::new() }
    }

    /// Returns the full path of a key of this section.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Returns the path of this section itself.
    pub fn own_path(&self) -> String {
        self.path.clone()
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        let index = self.map.iter().position(|(name, _)| name == key)?;
        Some(self.map.remove(index).1)
    }

    /// Takes a string, which must not be empty.
    pub fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<String> {
        match self.take(key)? {
            Value::Text(text) if !text.trim().is_empty() => Some(text),
            Value::Text(_) | Value::Null => {
                problems.malformed(self.path(key), "is empty; give it a value or remove the key");
                None
            }
            other => {
                let hint = match other {
                    Value::Number { .. } | Value::Bool { .. } => "; put it in quotes",
                    _ => ONE_VALUE,
                };
                let found = other.kind();
                problems.malformed(self.path(key), format_args!("expected a string, found {found}{hint}"));
                None
            }
        }
    }

    /// Takes a scalar of any kind as it is written, which may be empty; `None` where there is no value.
    pub fn scalar(&mut self, key: &'static str, problems: &mut Problems) -> Option<String> {
        match self.take(key)? {
            Value::Null => None,
            value => as_written(value, &self.path(key), problems),
        }
    }

    /// Takes a list of scalars of any kind as they are written; `None` where there is no value.
    pub(crate) fn scalars(&mut self, key: &'static str, problems: &mut Problems) -> Option<Vec<String>> {
        let path = self.path(key);
        match self.take(key)? {
            Value::Null => None,
            Value::List(items) => {
                let items = items.into_iter().enumerate();
                Some(
                    items
                        .filter_map(|(n, item)| as_written(item, &format!("{path}[{n}]"), problems))
                        .collect(),
                )
            }
            other => {
                no_list(&other, path, problems);
                None
            }
        }
    }

    /// Takes a mapping from keys that the user chose to scalars of any kind.
    pub(crate) fn entries(&mut self, key: &'static str, problems: &mut Problems) -> Vec<Entry> {
        let section = self.section(key, problems);
        let mut entries = Vec::new();
        for (name, value) in section.map {
            let path = format!("{}.{}", section.path, shorten(&name, "key"));
            if let Some(text) = as_written(value, &path, problems) {
                entries.push(Entry { path, name, text });
            }
        }
        entries
    }

    /// Takes a finite number that is not negative.
    pub fn number(&mut self, key: &'static str, problems: &mut Problems) -> Option<f64> {
        match self.take(key)? {
            Value::Number { value, .. } if value.is_finite() && value >= 0.0 => Some(value),
            other => {
                let found =
                    if matches!(other, Value::Number { .. }) { "a number below 0" } else { other.kind() };
                let text = format_args!("expected a number of at least 0, found {found}");
                problems.malformed(self.path(key), text);
                None
            }
        }
    }

    /// Takes a whole number between two bounds.
    pub fn whole_number(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u64>,
        problems: &mut Problems,
    ) -> Option<u64> {
        let number = self.number(key, problems)?;
        // A float prints a whole number as such, without a fraction or an exponent.
        let whole = number.to_string().parse().ok().filter(|number| bounds.contains(number));
        if whole.is_none() {
            let (least, most) = bounds.into_inner();
            problems.add(self.path(key), format!("is not a whole number between {least} and {most}"));
        }
        whole
    }

    /// Takes `true` or `false`, or one of their other spellings in YAML 1.1.
    pub fn boolean(&mut self, key: &'static str, problems: &mut Problems) -> Option<bool> {
        match self.take(key)? {
            Value::Bool { value, .. } => Some(value),
            other => {
                let text = format_args!("expected true or false, found {}", other.kind());
                problems.malformed(self.path(key), text);
                None
            }
        }
    }

    /// Takes a humantime string such as `6h` or `1d 12h` between `least` and `most`.
    pub fn duration(
        &mut self,
        key: &'static str,
        least: Duration,
        most: Duration,
        problems: &mut Problems,
    ) -> Option<Duration> {
        let path = self.path(key);
        let text = match self.take(key)? {
            Value::Text(text) => text,
            other => {
                let found = other.kind();
                let text = format_args!("expected a duration such as 0s, 90s or 6h, found {found}");
                problems.malformed(path, text);
                return None;
            }
        };
        match humantime::parse_duration(&text) {
            Ok(duration) if duration < least || duration > most => {
                let bounds =
                    [least, most].map(|bound| humantime::format_duration(bound).to_string()).join(" and ");
                problems.add(path, format!("{text:?} is not between {bounds}"));
                None
            }
            Ok(duration) => Some(duration),
            Err(_) => {
                // The value is not quoted, since it could be a secret.
                problems.add(path, "is no duration; write it as 90s, 15m, 6h or 2d");
                None
            }
        }
    }

    /// Takes a nested mapping, which is empty where the key is absent.
    pub fn section(&mut self, key: &'static str, problems: &mut Problems) -> Self {
        let path = self.path(key);
        let value = self.take(key).unwrap_or(Value::Null);
        Self::new(path, value, problems)
    }

    /// Takes a list of mappings; `None` where the key is absent.
    pub fn sections(&mut self, key: &'static str, problems: &mut Problems) -> Option<Vec<Self>> {
        let path = self.path(key);
        match self.take(key)? {
            Value::List(items) => {
                let items = items.into_iter().enumerate();
                Some(items.map(|(n, item)| Self::new(format!("{path}[{n}]"), item, problems)).collect())
            }
            Value::Null => Some(Vec::new()),
            other => {
                no_list(&other, path, problems);
                None
            }
        }
    }

    /// Reports every key that was not taken.
    pub fn finish(self, problems: &mut Problems) {
        problems.unknown_keys(&self.path, self.known, self.map.iter().map(|(key, _)| key.as_str()));
    }
}

/// Returns a scalar as it is written, and reports anything else.
fn as_written(value: Value, path: &str, problems: &mut Problems) -> Option<String> {
    value
        .into_written()
        .map_err(|other| {
            let text = format_args!("expected a string, found {}{ONE_VALUE}", other.kind());
            problems.malformed(path, text);
        })
        .ok()
}

/// What to do about a list or a mapping in the place of a string.
const ONE_VALUE: &str = "; write a single value there";

/// Reports a value in the place of a list, and how to make it one.
fn no_list(value: &Value, path: String, problems: &mut Problems) {
    let (how, example) = match value {
        Value::Map(entries) => {
            let first = entries.first().map_or("key".to_owned(), |(key, _)| shorten(key, "key"));
            ("put a dash before the first key of each item", format!("- {first}: …"))
        }
        _ => ("write each item on a line of its own, with a dash", "- item".to_owned()),
    };
    let text = format_args!("expected a list, found {}; {how}, as in `{example}`", value.kind());
    problems.malformed(path, text);
}

/// Reports every key and value in typographic quotation marks, and removes them.
fn straighten_quotes(value: &mut Value, path: &str, problems: &mut Problems) {
    const TEXT: &str = "is in typographic quotation marks, which are no quotes in YAML; write \" instead";
    match value {
        Value::Text(text) => {
            if let Some(inner) = within_typographic_quotes(text) {
                *text = inner.to_owned();
                problems.malformed(path, TEXT);
            }
        }
        Value::List(items) => {
            for (n, item) in items.iter_mut().enumerate() {
                straighten_quotes(item, &format!("{path}[{n}]"), problems);
            }
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                let inner = within_typographic_quotes(key).map(str::to_owned);
                let name = shorten(inner.as_deref().unwrap_or(key), "key");
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                if let Some(inner) = inner {
                    *key = inner;
                    problems.malformed(&*path, format_args!("the key {TEXT}"));
                }
                straighten_quotes(value, &path, problems);
            }
        }
        Value::Null | Value::Bool { .. } | Value::Number { .. } => {}
    }
}
