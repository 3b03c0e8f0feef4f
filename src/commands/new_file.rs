//! Writes a large file under another name and renames it when it is complete, so that nobody reads a part of it.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Refuses a path at which something other than a regular file is, and creates the directory of the path.
///
/// # Errors
/// If no file can be written there.
pub(super) fn prepare(path: &Path) -> anyhow::Result<()> {
    let directory = path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create the directory {}", directory.display()))?;
    if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        anyhow::bail!("it exists and is not a regular file");
    }
    Ok(())
}

/// Replaces a file by what `write` writes.
///
/// # Errors
/// If that fails; the file is then as it was.
pub(super) fn replace<T>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<T>,
) -> io::Result<T> {
    let new = unfinished(path);
    let written = File::create(&new).and_then(|file| {
        let mut out = BufWriter::with_capacity(1 << 16, file);
        let written = write(&mut out)?;
        out.into_inner()?.sync_all()?;
        fs::rename(&new, path)?;
        Ok(written)
    });
    if written.is_err() {
        discard(path);
    }
    written
}

/// Removes what [`replace`] has written so far.
pub(super) fn discard(path: &Path) {
    drop(fs::remove_file(unfinished(path)));
}

/// The name of the file while it is being written.
fn unfinished(path: &Path) -> PathBuf {
    path.with_added_extension("new")
}
