//! The refresh token on disk: one file per account, replaced atomically by [`StateFile`].
//!
//! The store remembers the newest token that was on disk, for the case that the file vanishes, and a token that the disk
//! did not accept.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use exporter_toolkit::files;
use secrecy::{ExposeSecret, SecretSlice};
use tokio::time::Instant;

use crate::config::Account;
use crate::state::file::{self, StateFile};

use super::blocking::off_workers;
use super::stored_token::{Lineage, StoredToken, Successor};
use super::token_record::{self, Flaw};

/// The place of one account's newest refresh token.
#[derive(Clone, Debug)]
pub struct TokenStore {
    file: StateFile,
    memory: Arc<Mutex<Memory>>,
    /// Whether nothing may be created, moved or written, because another process uses this store.
    read_only: bool,
    /// Whether the loss of the lock has been logged.
    lock_loss_logged: Arc<AtomicBool>,
}

/// What a store knows of its file, which outlives a reload.
#[derive(Debug, Default)]
struct Memory {
    /// The newest token that is or was on disk.
    newest: Option<StoredToken>,
    /// The newest token, if the disk did not accept it.
    unsaved: Option<Successor>,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be created or written.
    #[error("cannot write to {}: {_1}", .0.display())]
    Directory(PathBuf, io::Error),
    /// The file of the token cannot be read or written.
    #[error("{}: {_1}", .0.display())]
    File(PathBuf, io::Error),
    /// The file system does not support locks.
    #[error(
        "cannot lock {}: {_1}; state_directory must be on a file system with locks: without them two exporters could \
         use the same refresh token",
        .0.display()
    )]
    Lock(PathBuf, io::Error),
    /// Another process has held the lock for this long.
    #[error("another process has kept {} locked for {}", .0.display(), humantime::format_duration(*.1))]
    Busy(PathBuf, Duration),
    /// The content of the file cannot be used.
    #[error("{} {_1}", .0.display())]
    Unusable(PathBuf, Flaw),
    /// Such a file was moved to this path.
    #[error("the stored refresh token {_1}; moved to {}", .0.display())]
    SetAside(PathBuf, Flaw),
}

/// The size in bytes of the largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

impl StoreError {
    /// Whether the user of this process lacks a permission.
    pub fn lacks_permission(&self) -> bool {
        match self {
            Self::Directory(_, cause) | Self::File(_, cause) | Self::Lock(_, cause) => {
                cause.kind() == io::ErrorKind::PermissionDenied
            }
            Self::Busy(..) | Self::Unusable(..) | Self::SetAside(..) => false,
        }
    }
}

impl TokenStore {
    /// The store of `account` in `directory`, which is created if it is missing, and must permit writes and locks.
    ///
    /// # Errors
    /// [`StoreError::Directory`], [`StoreError::File`] or [`StoreError::Lock`] if it does not.
    pub fn open(directory: &Path, account: &Account) -> Result<Self, StoreError> {
        Self::prepare(directory)?;
        Self::open_prepared(directory, account)
    }

    /// Creates `directory` if it is missing, and checks that it permits writes: once for the stores of all accounts.
    ///
    /// # Errors
    /// [`StoreError::Directory`] if it does not.
    pub fn prepare(directory: &Path) -> Result<(), StoreError> {
        file::prepare(directory).map_err(|cause| StoreError::Directory(directory.to_owned(), cause))
    }

    /// The store of `account` in a directory that [`Self::prepare`] has accepted, and that must permit locks.
    ///
    /// # Errors
    /// [`StoreError::File`] or [`StoreError::Lock`] if it does not.
    pub fn open_prepared(directory: &Path, account: &Account) -> Result<Self, StoreError> {
        let store = Self::new(directory, account);
        store.check_lock()?;
        Ok(store)
    }

    /// The store of `account` in `directory`, for reading while another process may use it. Nothing there changes.
    pub fn read_only(directory: &Path, account: &Account) -> Self {
        Self { read_only: true, ..Self::new(directory, account) }
    }

    pub(super) const fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn new(directory: &Path, account: &Account) -> Self {
        let file = StateFile::new(directory, "refresh-token", account, MAX_BYTES);
        Self { file, memory: Arc::default(), read_only: false, lock_loss_logged: Arc::default() }
    }

    /// Shares the memory of `before`, if that is a store of the same account, so that a reload loses no token.
    #[must_use]
    pub fn continuing(self, before: &Self) -> Self {
        if self.file.owner() != before.file.owner() {
            return self;
        }
        let (memory, lock_loss_logged) = (Arc::clone(&before.memory), Arc::clone(&before.lock_loss_logged));
        Self { memory, lock_loss_logged, ..self }
    }

    /// Checks that the file system supports locks.
    ///
    /// # Errors
    /// [`StoreError::File`] if the file to lock cannot be opened, [`StoreError::Lock`] if the lock can be neither taken
    /// nor waited for.
    pub fn check_lock(&self) -> Result<(), StoreError> {
        let file = match self.file.open_lock(!self.read_only) {
            Err(cause) if self.read_only && cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file.map_err(|cause| StoreError::File(self.lock_path(), cause))?,
        };
        match try_lock(&self.lock_path(), &Arc::new(file)) {
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(cause)) if cause.kind() == io::ErrorKind::TimedOut => {
                Err(StoreError::File(self.lock_path(), cause))
            }
            Err(TryLockError::Error(cause)) => Err(StoreError::Lock(self.lock_path(), cause)),
        }
    }

    /// Whether there is a usable token. Nothing on disk changes.
    ///
    /// # Errors
    /// [`StoreError`] if there is a file that cannot be used.
    pub fn has_token(&self) -> Result<bool, StoreError> {
        Ok(self.read()?.is_some() || self.find_set_aside().is_some())
    }

    /// Where the token may be, if there is none: in the file of the same application for another name of the tenant,
    /// unless that is the file of one of `accounts`. Which domain belongs to which GUID only Entra ID knows.
    pub fn misplaced(&self, accounts: &[Account]) -> Option<String> {
        if !matches!(self.has_token(), Ok(false)) {
            return None;
        }
        let is_guid = |tenant: &str| uuid::Uuid::try_parse(tenant).is_ok();
        let is_configured =
            |tenant: &str| accounts.iter().any(|account| account.tenant_id.eq_ignore_ascii_case(tenant));
        let others = self.file.of_other_tenants().into_iter().filter(|file| {
            let names_differ = !(is_guid(file.tenant()) && is_guid(self.file.tenant()));
            names_differ && !is_configured(file.tenant())
        });
        let found = others.filter_map(|file| {
            let content = SecretSlice::from(file.read().ok()??);
            Some((token_record::decode(content.expose_secret(), file.owner()).ok()?.issued_at, file))
        });
        let (_, file) = found.max_by_key(|(issued_at, _)| *issued_at)?;
        Some(format!(
            "there is no stored refresh token for tenant_id {}, but {} has one of the same application for {}; if that \
             is another name of the same tenant, set tenant_id: {2}",
            self.file.tenant(),
            file.path().display(),
            file.tenant()
        ))
    }

    /// The newest token that is or was on disk.
    pub(super) fn newest(&self) -> Option<StoredToken> {
        self.memory().newest.clone()
    }

    /// The newest token, if the disk did not accept it.
    pub(super) fn unsaved(&self) -> Option<Successor> {
        self.memory().unsaved.clone()
    }

    /// The stored token, or the newest one known if its file has vanished. An unusable file is set aside.
    pub(super) fn load(&self) -> Result<Option<StoredToken>, StoreError> {
        match self.read() {
            Err(StoreError::Unusable(_, flaw)) if !self.read_only => Err(self
                .file
                .set_aside()
                .map_or_else(|cause| self.file_error(cause), |aside| StoreError::SetAside(aside, flaw))),
            outcome => outcome,
        }
    }

    /// The newest of the tokens that were set aside and belong to this account, for example after its cloud was wrong
    /// for a while. It becomes the stored token, unless this store is only for reading.
    pub(super) fn take_back(&self) -> Option<StoredToken> {
        let (aside, stored) = self.find_set_aside()?;
        if !self.read_only && !self.file.take_back(&aside) {
            // Another process has stored a token.
            return self.read().ok().flatten();
        }
        self.memory().newest = Some(stored);
        self.newest()
    }

    fn find_set_aside(&self) -> Option<(PathBuf, StoredToken)> {
        let decode = |content: Vec<u8>| {
            let content = SecretSlice::from(content);
            token_record::decode(content.expose_secret(), self.file.owner()).ok()
        };
        self.file.find_set_aside(decode, |stored| stored.issued_at)
    }

    /// The stored token, or the newest one known if its file has vanished. Nothing on disk changes.
    pub(super) fn read(&self) -> Result<Option<StoredToken>, StoreError> {
        let content = self.file.read().map_err(|cause| self.file_error(cause))?;
        let Some(content) = content.map(SecretSlice::from) else { return Ok(self.newest()) };
        let stored = token_record::decode(content.expose_secret(), self.file.owner())
            .map_err(|flaw| StoreError::Unusable(self.path().to_owned(), flaw))?;
        self.memory().newest = Some(stored);
        Ok(self.newest())
    }

    /// Stores a token. On return it is on disk, unless the store is only for reading: then nothing is stored, and the
    /// token that is on disk remains in use.
    ///
    /// # Errors
    /// If it cannot be written; then it is [`Self::unsaved`].
    pub(super) async fn save(&self, stored: StoredToken) -> Result<(), StoreError> {
        if self.read_only {
            return Ok(());
        }
        let (store, successor) = (self.clone(), Successor { token: stored, replaced: None });
        off_workers(move || store.write(successor)).await
    }

    /// Stores a successor like [`Self::save`], and returns whether it did: a token that another process has stored
    /// meanwhile remains.
    ///
    /// # Errors
    /// If it cannot be written; then it is [`Self::unsaved`].
    pub(super) async fn save_successor(&self, successor: Successor) -> Result<bool, StoreError> {
        let store = self.clone();
        off_workers(move || match store.read() {
            Ok(Some(stored)) if !successor.may_replace(&stored) => Ok(false),
            // What cannot be read is replaced.
            _ => store.write(successor).map(|()| true),
        })
        .await
    }

    fn write(&self, successor: Successor) -> Result<(), StoreError> {
        let saved = self.file.replace(token_record::encode(&successor.token, self.file.owner()));
        let mut memory = self.memory();
        match saved {
            Ok(()) => *memory = Memory { newest: Some(successor.token), unsaved: None },
            Err(_) => memory.unsaved = Some(successor),
        }
        drop(memory);
        saved.map_err(|cause| self.file_error(cause))
    }

    /// Waits for the lock, which other processes hold while they replace the token. It is released when the file is
    /// closed. There is none if locking fails, for example on a disk that has become read-only: then this is logged,
    /// and the renewal continues without a lock.
    ///
    /// # Errors
    /// [`StoreError::Busy`] after `limit`.
    pub(super) async fn lock(&self, account: &str, limit: Duration) -> Result<Option<Arc<File>>, StoreError> {
        const POLL_INTERVAL: Duration = Duration::from_millis(50);
        let (file, create) = (self.file.clone(), !self.read_only);
        let opened = off_workers(move || file.open_lock(create)).await;
        let Ok(file) = opened.map_err(|cause| self.log_lock_loss(account, &cause)) else {
            return Ok(None);
        };
        let file = Arc::new(file);
        let begun = Instant::now();
        loop {
            let (path, attempt) = (self.lock_path(), Arc::clone(&file));
            match off_workers(move || try_lock(&path, &attempt)).await {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::Error(cause)) => {
                    self.log_lock_loss(account, &cause);
                    return Ok(None);
                }
                Err(TryLockError::WouldBlock) if begun.elapsed() >= limit => {
                    return Err(StoreError::Busy(self.lock_path(), limit));
                }
                Err(TryLockError::WouldBlock) => {}
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn log_lock_loss(&self, account: &str, cause: &io::Error) {
        // No other process uses a missing directory, and a read-only store replaces no token.
        let matters = cause.kind() != io::ErrorKind::NotFound && !self.read_only;
        if matters && !self.lock_loss_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                account,
                err = %cause,
                file = %self.lock_path().display(),
                "Cannot lock the stored refresh token: no other exporter may use this state directory"
            );
        }
    }

    /// The lineage of the stored token, which a sign-in changes and a renewal does not.
    ///
    /// # Errors
    /// [`StoreError`] if there is a file that cannot be used.
    pub(super) fn lineage(&self) -> Result<Option<Lineage>, StoreError> {
        Ok(self.read()?.map(|stored| stored.lineage))
    }

    /// The file that is locked.
    pub(super) fn lock_path(&self) -> PathBuf {
        self.file.lock_path()
    }

    /// The file of the token.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file_error(&self, cause: io::Error) -> StoreError {
        StoreError::File(self.path().to_owned(), cause)
    }
}

/// Takes the lock of a file if no other process has it. The server of the file system may have to be asked.
fn try_lock(path: &Path, file: &Arc<File>) -> Result<(), TryLockError> {
    let file = Arc::clone(file);
    files::within(path, files::READ_DEADLINE, move || Ok(file.try_lock())).map_err(TryLockError::Error)?
}
