//! The refresh token on disk: one file per account in the state directory.
//!
//! Written atomically (a new file of mode 0600, flushed to disk, renamed over the old one, the directory
//! flushed too), so that a crash at any moment leaves either the old token or the new one.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::config::Account;

/// Where one account's newest refresh token is kept.
#[derive(Clone, Debug)]
pub struct TokenStore {
    path: PathBuf,
    /// Whose token it is: one of another tenant, application or cloud is not ours to use.
    owner: String,
}

/// A token in the store.
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
        let wrong = |cause| StoreError::Directory { path: directory.to_owned(), cause };
        create_private(directory).map_err(wrong)?;
        // A file that is made and vanishes again: found out now, not when the first successor is at stake.
        tempfile::NamedTempFile::new_in(directory).map_err(wrong)?;
        // Named by tenant and application, which the configuration holds to letters, digits, `-` and `.`: the
        // token outlives a renaming of the account, such as the one that a second account makes necessary.
        let (tenant, client) = (account.tenant_id.to_lowercase(), account.client_id.to_lowercase());
        let path = directory.join(format!("refresh-token-{tenant}-{client}.json"));
        Ok(Self { path, owner: format!("{} {tenant} {client}", account.cloud.login_base_url) })
    }

    /// The stored token, if there is one for this account.
    pub(super) fn load(&self) -> Result<Option<Stored>, StoreError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => SecretString::from(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(StoreError::File { path: self.path.clone(), cause }),
        };
        let record: Option<Record> = serde_json::from_str(text.expose_secret()).ok();
        let Some(record) = record.filter(|record| record.version == VERSION && record.owner == self.owner)
        else {
            return Err(self.set_aside());
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
            owner: self.owner.clone(),
            ancestor_sha256: stored.ancestor.clone(),
            issued_at: stored.issued_at,
            refresh_token: stored.token.expose_secret().to_owned(),
        };
        let text = serde_json::to_vec_pretty(&record).expect("a record of strings is always JSON");
        self.replace(&text).map_err(|cause| StoreError::File { path: self.path.clone(), cause })
    }

    /// Moves a file that cannot be used out of the way, where neither it nor a successor is lost.
    fn set_aside(&self) -> StoreError {
        let aside = self.path.with_extension("json.set-aside");
        match fs::rename(&self.path, &aside) {
            Ok(()) => StoreError::SetAside(aside),
            Err(cause) => StoreError::File { path: self.path.clone(), cause },
        }
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let directory = self.path.parent().expect("the store's file is in its directory");
        let mut file = tempfile::NamedTempFile::new_in(directory)?; // mode 0600
        file.write_all(text)?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    }
}

fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// SHA-256 of a token, which tells two tokens apart without being one.
pub(super) fn fingerprint(token: &SecretString) -> String {
    let hash = digest::digest(&digest::SHA256, token.expose_secret().as_bytes());
    hash.as_ref().iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a string takes everything");
        out
    })
}
