//! A tree of YAML, read key by key, collecting every problem instead of stopping at the first.
//!
//! Each `Section` method takes a key out of its map; what is left at `Section::finish` is unknown. No
//! value is ever quoted in a problem, unless the caller says that it cannot be a secret.

mod error;
mod tree;

use std::fmt;
use std::time::Duration;

pub use error::ConfigError;
pub use tree::{Tree, parse};

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
pub struct Problems {
    found: Vec<Problem>,
    prefix: &'static str,
}

impl Problems {
    /// With words to begin every problem with that is about the file's form and not about what a value means.
    pub fn with_prefix(prefix: &'static str) -> Self {
        Self { found: Vec::new(), prefix }
    }

    pub fn add(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.found.push(Problem { path: path.into(), text: text.into() });
    }

    /// A problem of the file's form.
    pub fn malformed(&mut self, path: impl Into<String>, text: impl fmt::Display) {
        self.add(path, format!("{}{text}", self.prefix));
    }

    pub fn len(&self) -> usize {
        self.found.len()
    }

    pub fn into_vec(self) -> Vec<Problem> {
        self.found
    }

    /// The value, if there is no problem.
    pub fn none_or<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.found.is_empty() { Ok(value) } else { Err(self.found) }
    }
}

/// A name that the user chose, what it stands for, and where.
pub struct Entry {
    pub path: String,
    pub name: String,
    pub text: String,
}

/// One mapping of the file.
pub struct Section {
    path: String,
    map: Vec<(String, Tree)>,
    known: Vec<&'static str>,
}

impl Section {
    pub fn root(tree: Tree, problems: &mut Problems) -> Self {
        Self::new(String::new(), tree, problems)
    }

    fn new(path: String, tree: Tree, problems: &mut Problems) -> Self {
        let map = match tree {
            Tree::Map(map) => map,
            Tree::Null => Vec::new(),
            other => {
                let found = other.kind();
                problems.malformed(path.clone(), format_args!("expected a mapping of keys, found {found}"));
                Vec::new()
            }
        };
        Self { path, map, known: Vec::new() }
    }

    /// The full path of a key of this section.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The path of this section itself.
    pub fn own_path(&self) -> String {
        self.path.clone()
    }

    fn take(&mut self, key: &'static str) -> Option<Tree> {
        self.known.push(key);
        let index = self.map.iter().position(|(name, _)| name == key)?;
        Some(self.map.remove(index).1)
    }

    /// A string that is not empty.
    pub fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<String> {
        match self.take(key)? {
            Tree::Text(text) if !text.trim().is_empty() => Some(text),
            Tree::Text(_) | Tree::Null => {
                problems.malformed(self.path(key), "is empty; give it a value or remove the key");
                None
            }
            other => {
                let hint = match other {
                    Tree::Number { .. } | Tree::Bool { .. } => "; put it in quotes",
                    _ => "",
                };
                let found = other.kind();
                problems.malformed(self.path(key), format_args!("expected a string, found {found}{hint}"));
                None
            }
        }
    }

    /// The words of a scalar of any kind, which may be empty; `None` where there is no value.
    pub fn words(&mut self, key: &'static str, problems: &mut Problems) -> Option<String> {
        match self.take(key)? {
            Tree::Null => None,
            value => words(value, &self.path(key), problems),
        }
    }

    /// A list of scalars of any kind, as their words; `None` where there is no value.
    pub fn list(&mut self, key: &'static str, problems: &mut Problems) -> Option<Vec<String>> {
        let path = self.path(key);
        match self.take(key)? {
            Tree::Null => None,
            Tree::List(items) => {
                let items = items.into_iter().enumerate();
                Some(items.filter_map(|(n, item)| words(item, &format!("{path}[{n}]"), problems)).collect())
            }
            other => {
                problems.malformed(path, format_args!("expected a list, found {}", other.kind()));
                None
            }
        }
    }

    /// A mapping from names that the user chose to scalars of any kind.
    pub fn entries(&mut self, key: &'static str, problems: &mut Problems) -> Vec<Entry> {
        let section = self.section(key, problems);
        let mut entries = Vec::new();
        for (name, value) in section.map {
            let path = format!("{}.{}", section.path, shorten(&name, "key"));
            if let Some(text) = words(value, &path, problems) {
                entries.push(Entry { path, name, text });
            }
        }
        entries
    }

    /// A finite number ≥ 0.
    pub fn number(&mut self, key: &'static str, problems: &mut Problems) -> Option<f64> {
        match self.take(key)? {
            Tree::Number { value, .. } if value.is_finite() && value >= 0.0 => Some(value),
            other => {
                let found =
                    if matches!(other, Tree::Number { .. }) { "a number below 0" } else { other.kind() };
                let text = format_args!("expected a number of at least 0, found {found}");
                problems.malformed(self.path(key), text);
                None
            }
        }
    }

    /// `true` or `false`, or what else YAML 1.1 calls so.
    pub fn boolean(&mut self, key: &'static str, problems: &mut Problems) -> Option<bool> {
        match self.take(key)? {
            Tree::Bool { value, .. } => Some(value),
            other => {
                let text = format_args!("expected true or false, found {}", other.kind());
                problems.malformed(self.path(key), text);
                None
            }
        }
    }

    /// A humantime string such as `6h` or `1d 12h`, within bounds.
    pub fn duration(
        &mut self,
        key: &'static str,
        least: Duration,
        most: Duration,
        problems: &mut Problems,
    ) -> Option<Duration> {
        let path = self.path(key);
        let text = match self.take(key)? {
            Tree::Text(text) => text,
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
                // Whatever got here instead could be a secret.
                problems.add(path, "is no duration; write it as 90s, 15m, 6h or 2d");
                None
            }
        }
    }

    /// A nested mapping; an empty one where the key is absent.
    pub fn section(&mut self, key: &'static str, problems: &mut Problems) -> Self {
        let path = self.path(key);
        let value = self.take(key).unwrap_or(Tree::Null);
        Self::new(path, value, problems)
    }

    /// A list of mappings; `None` where the key is absent.
    pub fn sections(&mut self, key: &'static str, problems: &mut Problems) -> Option<Vec<Self>> {
        let path = self.path(key);
        match self.take(key)? {
            Tree::List(items) => Some(
                items
                    .into_iter()
                    .enumerate()
                    .map(|(n, item)| Self::new(format!("{path}[{n}]"), item, problems))
                    .collect(),
            ),
            Tree::Null => Some(Vec::new()),
            other => {
                problems.malformed(path, format_args!("expected a list, found {}", other.kind()));
                None
            }
        }
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self, problems: &mut Problems) {
        for (key, _) in &self.map {
            let known = self.known.join(", ");
            problems
                .malformed(self.path(&shorten(key, "key")), format_args!("unknown key; known here: {known}"));
        }
    }
}

/// The words of a scalar; a problem if it is none.
fn words(value: Tree, path: &str, problems: &mut Problems) -> Option<String> {
    let malformed = |other: Tree| {
        problems.malformed(path, format_args!("expected a string, found {}", other.kind()));
    };
    value.into_words().map_err(malformed).ok()
}

/// Unknown keys are shown, but a secret pasted in the wrong place should not fill the screen.
pub fn shorten(text: &str, what: &str) -> String {
    let plain = text.len() <= 40 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if plain { text.to_owned() } else { format!("(a long or unusual {what})") }
}
