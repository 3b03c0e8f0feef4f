//! The refresh token on disk: one file per account in the state directory, written as
//! [`StateFile`] does, so that a crash at any moment leaves either the old token or the new one. What was on the
//! disk once is remembered, should it vanish from there.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};

use crate::config::Account;
use crate::state::file::{self, StateFile};

/// Where one account's newest refresh token is kept.
#[derive(Clone, Debug)]
pub struct TokenStore {
    file: StateFile,
    newest: Arc<Mutex<Option<Stored>>>,
    /// Nothing is made, moved or written: somebody else uses this store.
    only_looks: bool,
    /// It was told that there can be no lock.
    is_lockless: Arc<AtomicBool>,
}

/// A token in the store.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) token: SecretString,
    pub(super) issued_at: Timestamp,
    pub(super) descent: Descent,
}

/// Where a token comes from; its successors inherit that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Descent {
    /// Fingerprint of the configured token that it descends from or took the place of, to notice when the operator
    /// supplies another; or one of the two words below.
    pub(super) ancestor: String,
    /// When a person signed in, if it began with that.
    pub(super) signed_in_at: Option<Timestamp>,
}

impl Descent {
    /// The ancestor where a token was configured that could not be read.
    pub(super) const UNSEEN: &str = "";
    /// The ancestor where none was configured.
    pub(super) const NONE: &str = "none";

    /// Whether it began with a person's sign-in that did not see the configured token.
    pub(super) fn is_blind(&self) -> bool {
        self.ancestor == Self::UNSEEN && self.signed_in_at.is_some()
    }
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
    /// The file system has no locks.
    #[error(
        "cannot lock {}: {cause}; state_directory must be on a file system with locks: without them two exporters \
         could use the same refresh token",
        path.display()
    )]
    Lock {
        /// The file to lock.
        path: PathBuf,
        /// Why it cannot be.
        cause: io::Error,
    },
    /// Somebody else has the turn, for too long.
    #[error("another process has kept {} locked for {}", path.display(), humantime::format_duration(*waited))]
    Busy {
        /// The locked file.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The file is damaged, of another cloud or of a later version.
    #[error("{} is damaged, of another cloud or of a later version", .0.display())]
    Unusable(PathBuf),
    /// Such a file was moved to this path.
    #[error("the stored refresh token is damaged, of another cloud or of a later version; moved to {}", .0.display())]
    SetAside(PathBuf),
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    owner: String,
    /// [`fingerprint`] of the configured token that this one descends from.
    ancestor_sha256: String,
    /// When `login` stored the one that this one descends from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed_in_at: Option<Timestamp>,
    issued_at: Timestamp,
    refresh_token: String,
}

const VERSION: u32 = 1;

impl TokenStore {
    /// The store of `account` in `directory`, which is created if it is missing, and must take writes and locks.
    ///
    /// # Errors
    /// [`StoreError::Directory`] or [`StoreError::Lock`] if it does not.
    pub fn open(directory: &Path, account: &Account) -> Result<Self, StoreError> {
        file::prepare(directory)
            .map_err(|cause| StoreError::Directory { path: directory.to_owned(), cause })?;
        let store = Self::new(directory, account);
        store.check_lock()?;
        Ok(store)
    }

    /// The store of `account` in `directory`, to look at while somebody else may be using it. Whatever is there stays
    /// as it is.
    pub fn look_at(directory: &Path, account: &Account) -> Self {
        Self { only_looks: true, ..Self::new(directory, account) }
    }

    fn new(directory: &Path, account: &Account) -> Self {
        let file = StateFile::new(directory, "refresh-token", account);
        Self { file, newest: Arc::default(), only_looks: false, is_lockless: Arc::default() }
    }

    /// Shares what `before` remembers, if that is a store of the same account: a reload loses nothing.
    #[must_use]
    pub fn continuing(self, before: &Self) -> Self {
        if self.file.owner() != before.file.owner() {
            return self;
        }
        Self { newest: Arc::clone(&before.newest), is_lockless: Arc::clone(&before.is_lockless), ..self }
    }

    /// Finds out whether there can be turns.
    ///
    /// # Errors
    /// [`StoreError::Lock`] if the lock can be neither taken nor waited for.
    pub fn check_lock(&self) -> Result<(), StoreError> {
        let locked = self.file.open_lock(!self.only_looks).and_then(|file| match file.try_lock() {
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(cause)) => Err(cause),
        });
        match locked {
            Err(cause) if self.only_looks && cause.kind() == io::ErrorKind::NotFound => Ok(()),
            locked => locked.map_err(|cause| StoreError::Lock { path: self.file.lock_path(), cause }),
        }
    }

    /// Whether there is a token that can be used. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError`] if there is something else.
    pub fn has_token(&self) -> Result<bool, StoreError> {
        Ok(self.read()?.is_some())
    }

    /// The newest token that is on the disk, or was.
    pub(super) fn newest(&self) -> Option<Stored> {
        self.memory().clone()
    }

    /// The stored token, or the one that was stored until its file vanished. What cannot be used is set aside.
    pub(super) fn load(&self) -> Result<Option<Stored>, StoreError> {
        match self.read() {
            Err(StoreError::Unusable(_)) if !self.only_looks => {
                Err(self.file.set_aside().map_or_else(|cause| self.wrong(cause), StoreError::SetAside))
            }
            outcome => outcome,
        }
    }

    fn read(&self) -> Result<Option<Stored>, StoreError> {
        let Some(content) = self.file.read().map_err(|cause| self.wrong(cause))?.map(SecretSlice::from)
        else {
            return Ok(self.newest());
        };
        let record: Option<Record> = serde_json::from_slice(content.expose_secret()).ok();
        let ours = |record: &Record| record.version == VERSION && record.owner == self.file.owner();
        let Some(record) = record.filter(ours) else {
            return Err(StoreError::Unusable(self.path().to_owned()));
        };
        *self.memory() = Some(Stored {
            token: SecretString::from(record.refresh_token),
            issued_at: record.issued_at,
            descent: Descent { ancestor: record.ancestor_sha256, signed_in_at: record.signed_in_at },
        });
        Ok(self.newest())
    }

    /// Keeps a token. On return it is on the disk.
    pub(super) async fn save(&self, stored: Stored) -> Result<(), StoreError> {
        let store = self.clone();
        // The disk may be slow, and others may be writing; the threads that answer and poll do not wait for it.
        let saved = tokio::task::spawn_blocking(move || store.write(stored)).await;
        saved.unwrap_or_else(|died| Err(self.wrong(io::Error::other(died))))
    }

    fn write(&self, stored: Stored) -> Result<(), StoreError> {
        let record = Record {
            version: VERSION,
            owner: self.file.owner().to_owned(),
            ancestor_sha256: stored.descent.ancestor.clone(),
            signed_in_at: stored.descent.signed_in_at,
            issued_at: stored.issued_at,
            refresh_token: stored.token.expose_secret().to_owned(),
        };
        let text = serde_json::to_vec_pretty(&record).expect("a record of strings is always JSON");
        self.file.replace(&text).map_err(|cause| self.wrong(cause))?;
        *self.memory() = Some(stored);
        Ok(())
    }

    /// Waits until no other process is about to replace the token. The turn ends when the file is closed. None where
    /// there can be no lock any more, as on a disk that has become read-only: better without than not at all, and told.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if that takes longer than `patience`.
    pub(super) async fn turn(&self, account: &str, patience: Duration) -> Result<Option<File>, StoreError> {
        const LOOK_AGAIN: Duration = Duration::from_millis(50);
        let without = |error: io::Error| {
            // Where there is no directory there is nobody to share it with, and whoever only looks takes nothing away.
            let matters = error.kind() != io::ErrorKind::NotFound && !self.only_looks;
            if matters && !self.is_lockless.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    account,
                    err = %error,
                    file = %self.file.lock_path().display(),
                    "Cannot lock the stored refresh token: no other exporter may use this state directory"
                );
            }
        };
        let Ok(file) = self.file.open_lock(!self.only_looks).map_err(without) else { return Ok(None) };
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::Error(error)) => {
                    without(error);
                    return Ok(None);
                }
                Err(TryLockError::WouldBlock) if waited >= patience => {
                    return Err(StoreError::Busy { path: self.file.lock_path(), waited });
                }
                Err(TryLockError::WouldBlock) => {}
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            waited += LOOK_AGAIN;
        }
    }

    /// What changes when somebody else's token is put here, and not when a successor is.
    pub(super) fn descent(&self) -> Option<Descent> {
        self.read().ok().flatten().map(|stored| stored.descent)
    }

    /// The file that is locked.
    pub(super) fn lock_path(&self) -> PathBuf {
        self.file.lock_path()
    }

    /// Where the token is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    fn memory(&self) -> MutexGuard<'_, Option<Stored>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrong(&self, cause: io::Error) -> StoreError {
        StoreError::File { path: self.file.path().to_owned(), cause }
    }
}

/// SHA-256 of a token, which tells two tokens apart without being one.
pub(super) fn fingerprint(token: &SecretString) -> String {
    file::sha256(token.expose_secret().as_bytes())
}
