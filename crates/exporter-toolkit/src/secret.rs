//! A secret, or the file that holds it.
//!
//! Refused by types, not by care: neither `Debug` nor `Display` shows a value. A file is read anew at every
//! use, so that a rotated secret needs no restart. White space around a secret is no part of it, and neither is the
//! byte order mark that some editors put before it. No more of a file is read than a secret can have.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretSlice, SecretString};

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
}

impl Secret {
    /// The file it is in, if it is in one.
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

/// The longest file that is read: far more than a key and its certificates need.
const MOST: u64 = 1 << 20;

/// The content of a file, unless it is too large to be a secret.
pub fn read_bounded(path: &Path) -> Result<SecretSlice<u8>, SecretError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
        let bytes = SecretSlice::from(bytes);
        if bytes.expose_secret().len() as u64 > MOST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 1 MiB"));
        }
        Ok(bytes)
    };
    read().map_err(|cause| SecretError::Unreadable { path: path.to_owned(), cause })
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(redacted)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}
