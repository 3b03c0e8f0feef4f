//! A secret, or the file that holds it.
//!
//! Refused by types, not by care: neither `Debug` nor `Display` shows a value. A file is read anew at every
//! use, so that a rotated secret needs no restart, and its surrounding white space is no part of it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

/// Where a secret comes from.
#[derive(Clone)]
pub enum Secret {
    /// Written into the configuration.
    Value(SecretString),
    /// Kept in a file.
    File(PathBuf),
}

/// A secret file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not; part of the message, since that is the whole of it.
        cause: io::Error,
    },
    /// It holds nothing.
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
}

impl Secret {
    /// The secret as it is now.
    ///
    /// # Errors
    /// [`SecretError`] if it is in a file that cannot be read, is not UTF-8 or is empty.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map(SecretString::from)
                    .map_err(|cause| SecretError::Unreadable { path: path.clone(), cause })?;
                let trimmed = text.expose_secret().trim();
                if trimmed.is_empty() {
                    return Err(SecretError::Empty(path.clone()));
                }
                Ok(SecretString::from(trimmed))
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(redacted)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}
