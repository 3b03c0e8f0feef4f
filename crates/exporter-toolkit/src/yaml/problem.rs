//! What is wrong with a configuration, and where.

use std::path::PathBuf;
use std::{fmt, io};

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A path into the file such as `targets[1].url`, the name of a variable, or nothing.
    pub path: String,
    /// What is wrong and what to do, on one line and without any secret.
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
    unknown: Vec<UnknownKey>,
    /// The sections that were read, each with its path and the keys that it knows.
    sections: Vec<(String, Vec<&'static str>)>,
}

/// An unknown key, whose place among the problems is kept, since it may be known elsewhere.
struct UnknownKey {
    problem: usize,
    key: String,
}

impl Problems {
    /// Starts with no problems, and puts `prefix` before each one about the form of the file.
    pub(crate) fn with_prefix(prefix: &'static str) -> Self {
        Self { prefix, ..Self::default() }
    }

    /// Adds a problem.
    pub fn add(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.found.push(Problem { path: path.into(), text: text.into() });
    }

    /// Adds a problem about the form of the file, as opposed to the meaning of a value.
    pub(crate) fn malformed(&mut self, path: impl Into<String>, text: impl fmt::Display) {
        self.add(path, format!("{}{text}", self.prefix));
    }

    /// Adds the keys of a section that it does not know, and suggests those that were meant.
    pub(crate) fn unknown_keys<'a>(
        &mut self,
        section: &str,
        known: Vec<&'static str>,
        unknown: impl Iterator<Item = &'a str>,
    ) {
        for key in unknown {
            let path = if section.is_empty() {
                shorten(key, "key")
            } else {
                format!("{section}.{}", shorten(key, "key"))
            };
            let meant =
                nearest(key, &known).map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
            if meant.is_empty() {
                self.unknown.push(UnknownKey { problem: self.found.len(), key: key.to_owned() });
            }
            self.malformed(path, format_args!("unknown key; {meant}known here: {}", known.join(", ")));
        }
        self.sections.push((section.to_owned(), known));
        // The root is read last.
        if section.is_empty() {
            self.place_unknown_keys();
        }
    }

    /// Says of each unknown key in which section it is known.
    fn place_unknown_keys(&mut self) {
        for UnknownKey { problem, key } in self.unknown.drain(..) {
            let knows = |known: &[&str]| known.contains(&key.as_str());
            let Some((home, _)) = self.sections.iter().find(|(_, known)| knows(known)) else { continue };
            let home = if home.is_empty() {
                "at the top level, without indentation".to_owned()
            } else {
                format!("below {home}")
            };
            let text = &mut self.found[problem].text;
            *text = text.replacen("unknown key; ", &format!("unknown key; it belongs {home}; "), 1);
        }
    }

    /// Returns how many there are.
    #[expect(clippy::len_without_is_empty, reason = "callers compare two counts")]
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Returns them in the order in which they were found.
    pub fn into_vec(self) -> Vec<Problem> {
        self.found
    }

    /// Returns `value` if there are none.
    ///
    /// # Errors
    /// Every problem, in the order in which they were found.
    pub fn into_result<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.found.is_empty() { Ok(value) } else { Err(self.found) }
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason, which is part of the message.
        cause: io::Error,
    },
    /// The configuration can be read but is not valid.
    #[error("{}", Listing { origin, problems })]
    Invalid {
        /// The name of the file, or `environment`.
        origin: String,
        /// At least one problem.
        problems: Vec<Problem>,
    },
}

/// `config.yml: 2 problems` and one line for each.
struct Listing<'a> {
    origin: &'a str,
    problems: &'a [Problem],
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.problems.len() == 1 { "" } else { "s" };
        write!(f, "{}: {} problem{plural}", self.origin, self.problems.len())?;
        for problem in self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

/// Returns `text` if it looks like a name; a secret pasted in the wrong place must not be shown.
pub(crate) fn shorten(text: &str, what: &str) -> String {
    let plain = text.len() <= 40 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if plain { text.to_owned() } else { format!("(a long or unusual {what})") }
}

/// Returns the known key that differs least from `key`, by at most a third of its letters and three at most.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    // A longer key is a secret in the wrong place rather than a slip.
    let most = (key.len() / 3).clamp(1, 3);
    if key.len() > 40 {
        return None;
    }
    let distances = known.iter().map(|known| (distance(&key.to_lowercase(), known), *known));
    distances
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= most)
        .map(|(_, key)| key)
}

/// Returns the number of letters to insert, delete, replace or swap with a neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
