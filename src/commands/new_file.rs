//! Writes a large file under another name and renames it when it is complete, so that nobody reads a part of it.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

/// Refuses a path at which something other than a regular file is, and creates the directory of the path.
///
/// # Errors
/// If no file can be written there.
pub(super) fn prepare(path: &Path) -> anyhow::Result<()> {
    let directory = directory(path);
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create the directory {}", directory.display()))?;
    if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        anyhow::bail!("it exists and is not a regular file");
    }
    Ok(())
}

/// Replaces a file by what `write` writes on another thread. Whoever no longer waits for it leaves no file behind.
///
/// # Errors
/// If that fails; the file is then as it was.
pub(super) async fn replace<T: Send + 'static>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".new")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory(path))?;
    let (file, new) = new.into_parts();
    let written = tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(1 << 16, file);
        let written = write(&mut out)?;
        out.into_inner()?.sync_all()?;
        io::Result::Ok(written)
    });
    let written = written.await??;
    new.persist(path).map_err(|error| error.error)?;
    Ok(written)
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
