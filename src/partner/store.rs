//! The refresh token on disk: one file per account in the state directory, written as
//! [`StateFile`] does, so that a crash at any moment leaves either the old token or the new one.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};

use crate::config::Account;
use crate::statefile::{self, StateFile};

/// Where one account's newest refresh token is kept.
#[derive(Clone, Debug)]
pub struct TokenStore {
    file: StateFile,
}

/// A token in the store.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) token: SecretString,
    pub(super) issued_at: Timestamp,
    /// Fingerprint of the configured token that it descends from, to notice when the operator supplies another.
    pub(super) ancestor: String,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be created or written.
    #[error("cannot write to {}: {cause}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not; part of the message, since that is the whole of it.
        cause: io::Error,
    },
    /// The token's file cannot be read or written.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The file is damaged, of another cloud or of a later version; it was moved to this path.
    #[error("the stored refresh token is damaged, of another cloud or of a later version; moved to {}", .0.display())]
    SetAside(PathBuf),
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    owner: String,
    /// [`fingerprint`] of the configured token that this one descends from.
    ancestor_sha256: String,
    issued_at: Timestamp,
    refresh_token: String,
}

const VERSION: u32 = 1;

impl TokenStore {
    /// The store of `account` in `directory`, which is created if it is missing and must be writable.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if it cannot be created or written.
    pub fn open(directory: &Path, account: &Account) -> Result<Self, StoreError> {
        statefile::prepare(directory)
            .map_err(|cause| StoreError::Directory { path: directory.to_owned(), cause })?;
        Ok(Self { file: StateFile::new(directory, "refresh-token", account) })
    }

    /// The stored token, if there is one for this account.
    pub(super) fn load(&self) -> Result<Option<Stored>, StoreError> {
        let Some(content) = self.file.read().map_err(|cause| self.wrong(cause))?.map(SecretSlice::from)
        else {
            return Ok(None);
        };
        let record: Option<Record> = serde_json::from_slice(content.expose_secret()).ok();
        let ours = |record: &Record| record.version == VERSION && record.owner == self.file.owner();
        let Some(record) = record.filter(ours) else {
            return Err(self.file.set_aside().map_or_else(|cause| self.wrong(cause), StoreError::SetAside));
        };
        Ok(Some(Stored {
            token: SecretString::from(record.refresh_token),
            issued_at: record.issued_at,
            ancestor: record.ancestor_sha256,
        }))
    }

    /// Keeps a token. On return it is on the disk.
    pub(super) fn save(&self, stored: &Stored) -> Result<(), StoreError> {
        let record = Record {
            version: VERSION,
            owner: self.file.owner().to_owned(),
            ancestor_sha256: stored.ancestor.clone(),
            issued_at: stored.issued_at,
            refresh_token: stored.token.expose_secret().to_owned(),
        };
        let text = serde_json::to_vec_pretty(&record).expect("a record of strings is always JSON");
        self.file.replace(&text).map_err(|cause| self.wrong(cause))
    }

    fn wrong(&self, cause: io::Error) -> StoreError {
        StoreError::File { path: self.file.path().to_owned(), cause }
    }
}

/// SHA-256 of a token, which tells two tokens apart without being one.
pub(super) fn fingerprint(token: &SecretString) -> String {
    statefile::sha256(token.expose_secret().as_bytes())
}
