//! Why a configuration file cannot be used.

use std::path::PathBuf;
use std::{fmt, io};

use super::Problem;

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It can be read and is not valid.
    #[error("{}", Listing { origin, problems })]
    Invalid {
        /// The file's name, or `environment`.
        origin: String,
        /// At least one.
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
