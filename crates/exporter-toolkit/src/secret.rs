//! A secret that is written in a configuration or kept in a file.
//!
//! [`Secret`] does not implement `Display`, and its `Debug` shows no value. A file is read again at every use, so that
//! a rotated secret needs no restart. Surrounding white space and a byte order mark are not part of a secret.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretSlice, SecretString};

use crate::files;

/// The source of a secret.
#[derive(Clone)]
pub enum Secret {
    /// The secret is written in the configuration.
    Value(SecretString),
    /// The secret is the content of a file.
    File(PathBuf),
}

/// The reason why a secret file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason, which is part of the message.
        cause: io::Error,
    },
    /// The file holds no secret.
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
}

impl Secret {
    /// Returns the current secret.
    ///
    /// # Errors
    /// [`SecretError`] if its file cannot be read, is not UTF-8 or is empty.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::Value(value) => Ok(SecretString::from(trimmed(value.expose_secret()))),
            Self::File(path) => {
                let bytes = read_bounded(path)?;
                let text = std::str::from_utf8(bytes.expose_secret()).map_err(|_| {
                    let cause =
                        io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8");
                    SecretError::Unreadable { path: path.clone(), cause }
                })?;
                let trimmed = trimmed(text);
                if trimmed.is_empty() {
                    return Err(SecretError::Empty(path.clone()));
                }
                Ok(SecretString::from(trimmed))
            }
        }
    }

    /// Returns the file that holds the secret, if there is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Value(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

fn trimmed(text: &str) -> &str {
    text.trim_start_matches('\u{feff}').trim()
}

/// The size of the largest file that is read, in bytes; a key with its certificates needs far less.
const MAX_SIZE: u64 = 1 << 20;

/// Returns the content of a file that holds a secret.
///
/// # Errors
/// [`SecretError`] if the file is no regular file, cannot be read in time or is larger than 1 MiB.
pub fn read_bounded(path: &Path) -> Result<SecretSlice<u8>, SecretError> {
    files::read(path, MAX_SIZE)
        .map(SecretSlice::from)
        .map_err(|cause| SecretError::Unreadable { path: path.to_owned(), cause })
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(redacted)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}
