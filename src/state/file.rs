//! Files in the state directory: one per account and purpose, replaced as a whole.
//!
//! A new file of mode 0600 is written beside the old one, flushed to disk and renamed over it, then the
//! directory is flushed: a crash at any moment leaves either the old content or the new one. This module knows the
//! owner of a file and nothing of its content.

use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;

use crate::config::Account;

/// The file of one account for one purpose.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
    owner: String,
}

/// Creates the directory if it is missing, and checks that files can be created in it.
///
/// # Errors
/// If the directory cannot be created or written.
pub fn prepare(directory: &Path) -> io::Result<()> {
    create(directory)?;
    tempfile::NamedTempFile::new_in(directory).map(drop)
}

fn create(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

impl StateFile {
    /// The file `<purpose>-<tenant_id>-<client_id>.json`. Nothing is read or written yet.
    pub fn new(directory: &Path, purpose: &str, account: &Account) -> Self {
        // The configuration restricts both IDs to letters, digits, `-` and `.`. The account's name is not used, so that
        // an account keeps its file when it is renamed.
        let (tenant, client) = (account.tenant_id.to_lowercase(), account.client_id.to_lowercase());
        let path = directory.join(format!("{purpose}-{tenant}-{client}.json"));
        Self { path, owner: format!("{} {tenant} {client}", account.cloud.login_base_url) }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The owner of the content: content of another tenant, application or cloud must not be used.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The content, or `None` if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(&self.path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the content, and creates the directory again if it was removed. On return the content is on disk, which
    /// may take some seconds.
    ///
    /// # Errors
    /// If the file cannot be written; the old content is still there.
    pub fn replace(&self, content: &[u8]) -> io::Result<()> {
        let directory = self.directory();
        create(directory)?;
        let directory = File::open(directory)?;
        wait_for_others(&directory);
        // The name is always the same, so that the next write removes what a crash left behind.
        let new = self.path.with_extension("json.new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.write_new(&directory, &new, content).inspect_err(|_| drop(fs::remove_file(&new)))?;
        directory.sync_all()
    }

    fn write_new(&self, directory: &File, new: &Path, content: &[u8]) -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(new)?;
        give_to_owner_of(directory, &file);
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(new, &self.path)
    }

    /// Opens the file to lock while the content is read, used and replaced, and creates it if `create` is true.
    ///
    /// # Errors
    /// If the file is missing, or cannot be created or opened.
    pub fn open_lock(&self, create: bool) -> io::Result<File> {
        let mut options = File::options();
        options.write(true).create(create).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.lock_path())?;
        give_to_owner_of(&File::open(self.directory())?, &file);
        Ok(file)
    }

    /// The path of the file that [`Self::open_lock`] opens.
    pub fn lock_path(&self) -> PathBuf {
        self.path.with_extension("lock")
    }

    fn directory(&self) -> &Path {
        self.path.parent().expect("the path was joined to a directory")
    }

    /// Renames an unusable file to a name that is not taken, and returns its new path.
    ///
    /// # Errors
    /// If the file cannot be renamed.
    pub fn set_aside(&self) -> io::Result<PathBuf> {
        let mut numbers = 1..;
        let aside = numbers.find_map(|number| {
            let suffix = if number == 1 { String::new() } else { format!("-{number}") };
            let aside = self.path.with_extension(format!("json.set-aside{suffix}"));
            (!aside.exists()).then_some(aside)
        });
        let aside = aside.expect("some number is not taken");
        fs::rename(&self.path, &aside).map(|()| aside)
    }
}

/// Locks the directory, so that the processes that share it write one after another. Gives up after 3 s, or on a file
/// system without locks: a process that hangs must not keep this one from writing.
fn wait_for_others(directory: &File) {
    const RETRY_INTERVAL: Duration = Duration::from_millis(10);
    const ATTEMPTS: u32 = 300;
    for _ in 0..ATTEMPTS {
        match directory.try_lock() {
            Ok(()) | Err(TryLockError::Error(_)) => return,
            Err(TryLockError::WouldBlock) => thread::sleep(RETRY_INTERVAL),
        }
    }
}

/// Gives a file that root creates to the owner of the directory, so that the exporter can use it.
fn give_to_owner_of(directory: &File, file: &File) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, fchown};
        if let (Ok(directory), Ok(of_file)) = (directory.metadata(), file.metadata())
            && directory.uid() != of_file.uid()
        {
            // Only root may, and only root needs to.
            drop(fchown(file, Some(directory.uid()), Some(directory.gid())));
        }
    }
}

/// Distinguishes two versions of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    modified: SystemTime,
    length: u64,
}

impl Stamp {
    /// The stamp of a file, if the file exists.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self { modified: metadata.modified().ok()?, length: metadata.len() })
    }
}

/// The SHA-256 in hexadecimal digits.
pub fn sha256(content: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, content);
    hash.as_ref().iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("writing to a string cannot fail");
        out
    })
}
