//! Examines the state directory, and leaves it as it is.

use std::path::Path;

use crate::partner::TokenStore;

use super::report::{Outcome, failed, ok, skipped};

/// Reports whether the exporter can work with the directory.
///
/// # Errors
/// A failure that makes further steps pointless: nothing can be written.
pub(super) fn examine(directory: &Path, store: &TokenStore) -> Result<Outcome, Outcome> {
    match is_writable(directory) {
        Ok(true) => Ok(content(directory, store)),
        // If the doctor created it, its owner could be another user than the exporter's.
        Ok(false) => {
            Ok(skipped(format!("{} does not exist yet; the exporter creates it", directory.display())))
        }
        Err(cause) => Err(failed(
            cause,
            "create the directory and give it to the exporter's user, as systemd does with StateDirectory=, and run \
             the doctor as that user",
        )),
    }
}

/// Whether the directory exists and can be written. One that does not exist can be created.
///
/// # Errors
/// The reason why the directory can be neither written nor created.
fn is_writable(directory: &Path) -> Result<bool, String> {
    let exists = directory.exists();
    let nearest = directory.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    // The file is removed at once.
    match tempfile::NamedTempFile::new_in(nearest) {
        Ok(_) => Ok(exists),
        Err(error) if exists => Err(format!("cannot write to {}: {error}", directory.display())),
        Err(error) => {
            let (directory, nearest) = (directory.display(), nearest.display());
            Err(format!("{directory} does not exist, and {nearest} cannot be written: {error}"))
        }
    }
}

/// Examines the lock and the stored token.
fn content(directory: &Path, store: &TokenStore) -> Outcome {
    let directory = directory.display();
    if let Err(error) = store.check_lock() {
        return failed(error.to_string(), "put state_directory on a file system with locks (flock)");
    }
    match store.has_token() {
        Ok(true) => ok(format!("{directory} can be written, and has a refresh token")),
        Ok(false) => ok(format!("{directory} can be written, and has no refresh token yet")),
        Err(error) => failed(
            error.to_string(),
            "check cloud; if that is right, sign in with `partner-license-exporter login`",
        ),
    }
}
