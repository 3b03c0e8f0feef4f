//! A secret that is written in a configuration or kept in a file.
//!
//! [`Secret`] does not implement `Display`, and its `Debug` shows no value. A file is read again at every use, so that
//! a rotated secret needs no restart. Surrounding white space and a byte order mark are not part of a secret.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretSlice, SecretString};

use crate::files;
use crate::plain_text;

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
    /// The content of the file, or the value, is no secret.
    #[error("{}{what}", of(.file.as_ref()))]
    Malformed {
        /// The file; `None` for a value.
        file: Option<PathBuf>,
        /// What is wrong and what to do, without the secret.
        what: String,
    },
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(one), Self::Value(other)) => one.expose_secret() == other.expose_secret(),
            (Self::File(one), Self::File(other)) => one == other,
            _ => false,
        }
    }
}

impl Eq for Secret {}

impl Secret {
    /// Returns the current secret, which is printable ASCII.
    ///
    /// # Errors
    /// [`SecretError`] if its file cannot be read, or if it is empty or not a secret.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let text = self.read_text()?;
        plain_text::check_secret(text.expose_secret()).map_err(|what| self.malformed(what))?;
        Ok(text)
    }

    /// Returns the current text, of any characters: a private key in PEM has several lines.
    ///
    /// # Errors
    /// [`SecretError`] if its file cannot be read, is not UTF-8 or is empty.
    pub fn read_text(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::Value(value) => Ok(SecretString::from(plain_text::trim(value.expose_secret()))),
            Self::File(path) => {
                let bytes = read_bounded(path)?;
                let text = plain_text::decode(bytes.expose_secret()).map_err(|what| self.malformed(what))?;
                let trimmed = plain_text::trim(text);
                if trimmed.is_empty() {
                    return Err(SecretError::Empty(path.clone()));
                }
                Ok(SecretString::from(trimmed))
            }
        }
    }

    fn malformed(&self, what: String) -> SecretError {
        SecretError::Malformed { file: self.file().map(Path::to_owned), what }
    }

    /// Returns the file that holds the secret, if there is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Value(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

fn of(file: Option<&PathBuf>) -> String {
    file.map(|path| format!("{} ", path.display())).unwrap_or_default()
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
