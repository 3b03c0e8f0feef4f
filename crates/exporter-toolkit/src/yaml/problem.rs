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
}

impl Problems {
    /// Starts with no problems, and puts `prefix` before each one about the form of the file.
    pub(crate) fn with_prefix(prefix: &'static str) -> Self {
        Self { found: Vec::new(), prefix }
    }

    /// Adds a problem.
    pub fn add(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.found.push(Problem { path: path.into(), text: text.into() });
    }

    /// Adds a problem about the form of the file, as opposed to the meaning of a value.
    pub(crate) fn malformed(&mut self, path: impl Into<String>, text: impl fmt::Display) {
        self.add(path, format!("{}{text}", self.prefix));
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
