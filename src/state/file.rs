//! Files in the state directory: one per account and purpose, replaced as a whole.
//!
//! A new file of mode 0600 is written beside the old one, flushed to disk and renamed over it, then the
//! directory is flushed: a crash at any moment leaves either the old content or the new one. This module knows the
//! owner of a file and nothing of its content.
//!
//! Another user may own the directory, for example if root runs a command in it. So no symbolic link is followed, a
//! file with several names is refused, and only a file that was just created is given to the owner of the directory.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use exporter_toolkit::files;
use jiff::Timestamp;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::config::Account;

use super::explain::explain;

/// The file of one account for one purpose.
#[derive(Clone, Debug)]
pub struct StateFile {
    purpose: &'static str,
    authority: String,
    tenant: String,
    client: String,
    path: PathBuf,
    owner: String,
    max_bytes: u64,
}

/// The time within which a file must have been written, flushes included. A disk that is busy may take seconds.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// The last extension of a file that is being written.
const NEW: &str = "new";
/// The beginning of the last extension of a file that was set aside.
const SET_ASIDE: &str = "set-aside";

/// Creates the directory if it is missing, and checks that files can be created in it.
///
/// # Errors
/// If the directory cannot be created or written.
pub fn prepare(directory: &Path) -> io::Result<()> {
    let prepared = directory.to_owned();
    files::within(directory, WRITE_DEADLINE, move || {
        create(&prepared)?;
        // The file has no name, so that a killed process leaves nothing behind.
        tempfile::tempfile_in(&prepared)?;
        remove_leftovers(&prepared);
        Ok(())
    })
    .map_err(|cause| explain(directory, directory, cause))
}

/// Removes what a process leaves behind that is killed while it writes, and the empty files that earlier versions left
/// behind when they were killed during their start.
fn remove_leftovers(directory: &Path) {
    let is_probe = |name: &str| {
        name.strip_prefix(".tmp").is_some_and(|rest| {
            rest.len() == 6 && rest.chars().all(|character| character.is_ascii_alphanumeric())
        })
    };
    let is_new = |name: &str| name.ends_with(&format!(".json.{NEW}"));
    let (Ok(entries), Ok(locked)) = (fs::read_dir(directory), File::open(directory)) else { return };
    // By their names: on a network file system, the metadata of each file is a request.
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let found: Vec<_> = names.filter(|name| is_probe(name) || is_new(name)).collect();
    if found.is_empty() {
        return;
    }
    // A process that writes holds the lock.
    let nobody_writes = locked.try_lock().is_ok();
    for name in found {
        let path = directory.join(&name);
        // Not that of a symbolic link's target.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_file() && (is_probe(&name) && metadata.len() == 0 || is_new(&name) && nobody_writes) {
            fs::remove_file(&path).ok();
        }
    }
}

fn create(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

impl StateFile {
    /// The file `<purpose>-<tenant_id>-<client_id>.json`, of which at most `max_bytes` are read. Nothing is read or
    /// written yet.
    pub fn new(directory: &Path, purpose: &'static str, account: &Account, max_bytes: u64) -> Self {
        // The configuration restricts both IDs to letters, digits, `-` and `.`. The account's name is not used, so that
        // an account keeps its file when it is renamed.
        let (tenant, client) = (account.tenant_id.to_lowercase(), account.client_id.to_lowercase());
        let authority = account.cloud.login_base_url.clone();
        Self::named(directory, purpose, authority, tenant, client, max_bytes)
    }

    fn named(
        directory: &Path,
        purpose: &'static str,
        authority: String,
        tenant: String,
        client: String,
        max_bytes: u64,
    ) -> Self {
        let path = directory.join(format!("{purpose}-{tenant}-{client}.json"));
        let owner = format!("{authority} {tenant} {client}");
        Self { purpose, authority, tenant, client, path, owner, max_bytes }
    }

    /// The tenant as the configuration names it, in lower case.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The files of the same purpose, cloud and application for other tenants, or for other names of this one.
    pub fn of_other_tenants(&self) -> Vec<Self> {
        let (prefix, suffix) = (format!("{}-", self.purpose), format!("-{}.json", self.client));
        let tenant = |path: PathBuf| {
            let name = path.file_name()?.to_str()?;
            Some(name.strip_prefix(&prefix)?.strip_suffix(&suffix)?.to_owned())
        };
        let tenants = self.list().into_iter().filter_map(tenant).filter(|tenant| *tenant != self.tenant);
        let (directory, max_bytes) = (self.directory(), self.max_bytes);
        let file = |tenant| {
            let (authority, client) = (self.authority.clone(), self.client.clone());
            Self::named(directory, self.purpose, authority, tenant, client, max_bytes)
        };
        tenants.map(file).collect()
    }

    /// The paths in the directory, or none if it cannot be read.
    fn list(&self) -> Vec<PathBuf> {
        let directory = self.directory().to_owned();
        let listed = files::within(self.directory(), files::READ_DEADLINE, move || {
            Ok(fs::read_dir(directory)?.flatten().map(|entry| entry.path()).collect())
        });
        listed.unwrap_or_default()
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
    /// If the file cannot be read, is no regular file with a single name, or is too large.
    pub fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match self.read_at(&self.path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(explain(&self.path, self.directory(), error)),
        }
    }

    fn read_at(&self, path: &Path) -> io::Result<Vec<u8>> {
        let (opened, max_bytes) = (path.to_owned(), self.max_bytes);
        files::within(path, files::READ_DEADLINE, move || {
            files::read_file(&open_existing(&opened, File::options().read(true))?, max_bytes)
        })
    }

    /// Replaces the content, and creates the directory again if it was removed. On return the content is on disk, which
    /// may take some seconds.
    ///
    /// # Errors
    /// If the file cannot be written, or not within 10 s, the old content is still there. Only if the file system hangs
    /// during the last step may either content be there.
    pub fn replace(&self, content: Vec<u8>) -> io::Result<()> {
        self.replace_within(WRITE_DEADLINE, content)
    }

    fn replace_within(&self, deadline: Duration, content: Vec<u8>) -> io::Result<()> {
        self.change(deadline, move |file, abandoned| {
            let directory = file.directory();
            create(directory)?;
            let directory = File::open(directory)?;
            wait_for_others(&directory);
            abandoned.check()?;
            // The name is always the same, so that the next write removes what a crash left behind.
            let new = file.path.with_extension(format!("json.{NEW}"));
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let written = file.write_new(&directory, &new, &content, abandoned);
            written.inspect_err(|_| drop(fs::remove_file(&new)))?;
            flush(&directory)
        })
    }

    fn write_new(
        &self,
        directory: &File,
        new: &Path,
        content: &[u8],
        abandoned: &Abandoned,
    ) -> io::Result<()> {
        let mut file = create_new(new)?;
        give_to_owner_of(directory, &file);
        file.write_all(content)?;
        file.sync_all()?;
        abandoned.check()?;
        fs::rename(new, &self.path)
    }

    /// Changes the directory within the deadline. A change that is late gives up before its next step, so that it
    /// undoes nothing that was written since.
    fn change<T: Send + 'static>(
        &self,
        deadline: Duration,
        work: impl FnOnce(&Self, &Abandoned) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (file, abandoned) = (self.clone(), Abandoned::default());
        let shared = abandoned.clone();
        let outcome = files::within(&self.path, deadline, move || work(&file, &shared));
        abandoned.0.store(true, Ordering::Release);
        outcome.map_err(|cause| explain(&self.path, self.directory(), cause))
    }

    /// Opens the file to lock while the content is read, used and replaced, and creates it if `create` is true.
    ///
    /// # Errors
    /// If the file is missing, cannot be created or opened, or is no regular file with a single name.
    pub fn open_lock(&self, create: bool) -> io::Result<File> {
        let (path, directory) = (self.lock_path(), self.directory().to_owned());
        let open = move || {
            let existing = || open_existing(&path, File::options().write(true));
            match existing() {
                Err(error) if create && error.kind() == io::ErrorKind::NotFound => {}
                outcome => return outcome,
            }
            match create_new(&path) {
                Ok(file) => {
                    give_to_owner_of(&File::open(directory)?, &file);
                    Ok(file)
                }
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => existing(),
                Err(error) => Err(error),
            }
        };
        let path = self.lock_path();
        files::within(&path, files::READ_DEADLINE, open)
            .map_err(|cause| explain(&path, self.directory(), cause))
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
        self.change(WRITE_DEADLINE, |file, abandoned| {
            let directory = File::open(file.directory())?;
            wait_for_others(&directory);
            let mut numbers = 1..;
            let aside = numbers.find_map(|number| {
                let suffix = if number == 1 { String::new() } else { format!("-{number}") };
                let aside = file.path.with_extension(format!("json.{SET_ASIDE}{suffix}"));
                fs::symlink_metadata(&aside).is_err().then_some(aside)
            });
            let aside = aside.expect("some number is not taken");
            abandoned.check()?;
            fs::rename(&file.path, &aside).map(|()| aside)
        })
    }

    /// Finds, among the files that were set aside, the newest one that `decode` accepts. Files that cannot be read are
    /// skipped.
    pub fn find_set_aside<T>(
        &self,
        decode: impl Fn(Vec<u8>) -> Option<T>,
        time: impl Fn(&T) -> Timestamp,
    ) -> Option<(PathBuf, T)> {
        let found = self.all_set_aside();
        let usable = found.filter_map(|path| Some((self.read_at(&path).ok().and_then(&decode)?, path)));
        usable.max_by_key(|(content, _)| time(content)).map(|(content, path)| (path, content))
    }

    /// `….json.set-aside`, `….json.set-aside-2` and so on, as far as they exist.
    fn all_set_aside(&self) -> impl Iterator<Item = PathBuf> {
        let is_aside = |path: &PathBuf| {
            let extension = path.extension().and_then(OsStr::to_str);
            path.file_stem() == self.path.file_name() && extension.is_some_and(|it| it.starts_with(SET_ASIDE))
        };
        self.list().into_iter().filter(is_aside)
    }

    /// Removes the files that were set aside, and logs that.
    pub fn remove_set_aside(&self) {
        self.all_set_aside().for_each(|path| removed(&path));
    }

    /// Removes the file, if there is one, and logs that.
    pub fn remove(&self) {
        removed(&self.path);
    }

    /// Gives a file that was set aside its name back, and logs that. Returns false if there is another file now, which
    /// remains.
    pub fn take_back(&self, aside: &Path) -> bool {
        let from = aside.to_owned();
        let outcome = self.change(WRITE_DEADLINE, move |file, abandoned| {
            let directory = File::open(file.directory())?;
            wait_for_others(&directory);
            if fs::symlink_metadata(&file.path).is_ok() {
                return Ok(false);
            }
            abandoned.check()?;
            fs::rename(from, &file.path)?;
            flush(&directory).map(|()| true)
        });
        let (file, aside) = (self.path.display(), aside.display());
        match &outcome {
            Ok(false) => return false,
            Ok(true) => tracing::info!(%file, %aside, "Took back a file that had been set aside"),
            Err(err) => tracing::warn!(%file, %aside, %err, "Cannot take back a file that was set aside"),
        }
        true
    }
}

/// Whether the caller of a change has stopped waiting for it.
#[derive(Clone, Default)]
struct Abandoned(Arc<AtomicBool>);

impl Abandoned {
    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Acquire) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

fn removed(path: &Path) {
    let file = path.display();
    match fs::remove_file(path) {
        Ok(()) => tracing::info!(%file, "Removed a file that is no longer wanted"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%file, err = %error, "Cannot remove a file that is no longer wanted"),
    }
}

fn flush(directory: &File) -> io::Result<()> {
    match directory.sync_all() {
        // Some file systems cannot flush a directory (vboxsf, CIFS).
        Err(error) if is_unsupported(&error) => Ok(()),
        outcome => outcome,
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

/// Opens a file of the state directory, which must be a regular file with a single name.
fn open_existing(path: &Path, options: &mut fs::OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).expect("the flags of open fit in a C int");
    let refuse = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    let file = match options.custom_flags(flags).open(path) {
        Err(error) if is(&error, Errno::LOOP) => {
            return refuse("this is a symbolic link; remove it".to_owned());
        }
        // Nobody reads from a pipe that is opened for writing.
        Err(error) if is(&error, Errno::NXIO) => {
            return refuse("this is a pipe or a device, not a regular file".to_owned());
        }
        outcome => outcome?,
    };
    let metadata = file.metadata()?;
    files::require_regular(&metadata)?;
    match metadata.nlink() {
        0 | 1 => Ok(file),
        names => refuse(format!("this file has {names} names (hard links); remove it")),
    }
}

/// Creates a file that only this user can read, and that did not exist before.
fn create_new(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

fn is_unsupported(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::NOTSUP, Errno::NOSYS].into_iter().any(|errno| is(error, errno))
}

/// Gives a file that root has just created to the owner of the directory, so that the exporter can use it.
fn give_to_owner_of(directory: &File, file: &File) {
    if let (Ok(directory), Ok(of_file)) = (directory.metadata(), file.metadata())
        && directory.uid() != of_file.uid()
    {
        // Only root may, and only root needs to.
        drop(fchown(file, Some(directory.uid()), Some(directory.gid())));
    }
}

/// Distinguishes two versions of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    modified: SystemTime,
    length: u64,
}

impl Stamp {
    /// The stamp of a file, or `None` if there is no file.
    ///
    /// # Errors
    /// If the file cannot be examined.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        match files::metadata(path) {
            Ok(metadata) => Ok(Some(Self { modified: metadata.modified()?, length: metadata.len() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The SHA-256 in hexadecimal digits.
pub fn sha256(content: &[u8]) -> String {
    digits(digest::digest(&digest::SHA256, content))
}

/// The SHA-256 of what is written to it.
pub struct Sha256(digest::Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Sha256 {
    /// Returns it in hexadecimal digits.
    pub fn digits(self) -> String {
        digits(self.0.finish())
    }
}

impl io::Write for Sha256 {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn digits(hash: digest::Digest) -> String {
    hash.as_ref().iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("writing to a string cannot fail");
        out
    })
}

#[cfg(test)]
mod tests;
