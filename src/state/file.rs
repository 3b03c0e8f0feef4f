//! Files in the state directory: one per account and purpose, replaced as a whole.
//!
//! A new file of mode 0600 is written beside the old one, flushed to disk and renamed over it, then the
//! directory is flushed too: a crash at any moment leaves either the old content or the new one. Knows whose a
//! file is and nothing of what is in it.

use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;

use crate::config::Account;

/// One account's file for one purpose.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
    owner: String,
}

/// Makes the directory if it is missing, and finds out now whether files can be made in it.
///
/// # Errors
/// If it cannot be made or written.
pub fn prepare(directory: &Path) -> io::Result<()> {
    make(directory)?;
    // A file that is made and vanishes again.
    tempfile::NamedTempFile::new_in(directory).map(drop)
}

fn make(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

impl StateFile {
    /// The file `<purpose>-<tenant_id>-<client_id>.json`. Nothing is read or written yet.
    pub fn new(directory: &Path, purpose: &str, account: &Account) -> Self {
        // Named by tenant and application, which the configuration holds to letters, digits, `-` and `.`: the
        // file outlives a renaming of the account, such as the one that a second account makes necessary.
        let (tenant, client) = (account.tenant_id.to_lowercase(), account.client_id.to_lowercase());
        let path = directory.join(format!("{purpose}-{tenant}-{client}.json"));
        Self { path, owner: format!("{} {tenant} {client}", account.cloud.login_base_url) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose content it holds: what belongs to another tenant, application or cloud is not ours to use.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The content, if there is a file.
    ///
    /// # Errors
    /// If there is one that cannot be read.
    pub fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(&self.path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the content, in a new directory if somebody has removed it. On return it is on the disk, which
    /// may take some seconds.
    ///
    /// # Errors
    /// If it cannot be written; the old content is still there.
    pub fn replace(&self, content: &[u8]) -> io::Result<()> {
        let directory = self.directory();
        make(directory)?;
        let directory = File::open(directory)?;
        wait_for_others(&directory);
        // Always the same name: what a crash leaves behind is gone with the next write.
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

    /// A file to lock while the content is read, used and replaced; made if it is missing, where that is wanted.
    ///
    /// # Errors
    /// If it is missing, or cannot be made or opened.
    pub fn open_lock(&self, make: bool) -> io::Result<File> {
        let mut options = File::options();
        options.write(true).create(make).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.lock_path())?;
        give_to_owner_of(&File::open(self.directory())?, &file);
        Ok(file)
    }

    /// The file that [`Self::open_lock`] opens.
    pub fn lock_path(&self) -> PathBuf {
        self.path.with_extension("lock")
    }

    fn directory(&self) -> &Path {
        self.path.parent().expect("the file is in its directory")
    }

    /// Moves a file that cannot be used out of the way, where neither it nor a successor is lost, and says
    /// where to.
    ///
    /// # Errors
    /// If it cannot be moved.
    pub fn set_aside(&self) -> io::Result<PathBuf> {
        let mut numbers = 1..;
        let aside = numbers.find_map(|number| {
            let suffix = if number == 1 { String::new() } else { format!("-{number}") };
            let aside = self.path.with_extension(format!("json.set-aside{suffix}"));
            (!aside.exists()).then_some(aside)
        });
        let aside = aside.expect("numbers do not end");
        fs::rename(&self.path, &aside).map(|()| aside)
    }
}

/// Has processes that share the directory write one after the other. Not at any price: one that stands still, or a
/// file system without locks, does not keep this one from writing.
fn wait_for_others(directory: &File) {
    const LOOK_AGAIN: Duration = Duration::from_millis(10);
    const LOOKS: u32 = 300;
    for _ in 0..LOOKS {
        match directory.try_lock() {
            Ok(()) | Err(TryLockError::Error(_)) => return,
            Err(TryLockError::WouldBlock) => thread::sleep(LOOK_AGAIN),
        }
    }
}

/// Commands run by root must not lock out the exporter, which runs as the directory's owner.
fn give_to_owner_of(directory: &File, file: &File) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, fchown};
        if let (Ok(directory), Ok(of_file)) = (directory.metadata(), file.metadata())
            && directory.uid() != of_file.uid()
        {
            // Only root can, and only root has to.
            drop(fchown(file, Some(directory.uid()), Some(directory.gid())));
        }
    }
}

/// What tells two states of a file apart without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    modified: SystemTime,
    length: u64,
}

impl Stamp {
    /// The stamp of a file, if it is there.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self { modified: metadata.modified().ok()?, length: metadata.len() })
    }
}

/// SHA-256 in hexadecimal digits.
pub fn sha256(content: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, content);
    hash.as_ref().iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a string takes everything");
        out
    })
}
