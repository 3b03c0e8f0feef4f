//! Examines the state directory, and leaves it as it is.

use std::io;
use std::path::{Path, PathBuf};

use exporter_toolkit::files;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use crate::config::Config;
use crate::partner::{Flaw, StoreError, TokenStore};
use crate::state::explain::explain;

use super::report::{Outcome, failed, ok, skipped, warning};

/// Reports whether the exporter can work with the directory.
///
/// # Errors
/// A failure that makes further steps pointless: nothing can be written.
pub(super) fn examine(config: &Config, store: &TokenStore) -> Result<Outcome, Outcome> {
    let directory = config.state_directory.as_path();
    let (shown, examined) = (directory.display(), directory.to_owned());
    let found = files::within(directory, files::READ_DEADLINE, move || Ok(access(&examined)));
    let (nearest, outcome) = match found {
        Ok(found) => found,
        Err(error) => {
            let remedy =
                "mount the file system of state_directory again, or set state_directory to another one";
            return Err(failed(format!("{shown}: {error}"), remedy));
        }
    };
    let exists = nearest == directory;
    if let Err(error) = outcome {
        let error = explain(&nearest, directory, error);
        let cause = if exists {
            format!("cannot write to {shown}: {error}")
        } else {
            format!("{shown} does not exist, and {} cannot be written: {error}", nearest.display())
        };
        let remedy = if error.kind() == io::ErrorKind::PermissionDenied {
            "create the directory and give it to the exporter's user, as systemd does with StateDirectory=, and run \
             the doctor as that user"
        } else {
            "mend this directory, or set state_directory to another one"
        };
        return Err(failed(cause, remedy));
    }
    if !exists {
        // If the doctor created it, its owner could be another user than the exporter's.
        return Ok(skipped(format!("{shown} does not exist yet; the exporter creates it")));
    }
    if let Err(error) = store.check_lock() {
        return Ok(failed(error.to_string(), remedy(&error)));
    }
    Ok(match store.has_token() {
        Ok(true) => ok(format!("{shown} can be written, and has a refresh token")),
        Ok(false) => match store.misplaced(&config.accounts) {
            Some(cause) => {
                warning(cause, "use one name of the tenant, or sign in with `partner-license-exporter login`")
            }
            None => ok(format!("{shown} can be written, and has no refresh token yet")),
        },
        Err(error) => failed(error.to_string(), remedy(&error)),
    })
}

fn remedy(error: &StoreError) -> &'static str {
    match error {
        StoreError::Lock(..) => "put state_directory on a file system with locks (flock)",
        StoreError::Unusable(_, Flaw::Foreign) => {
            "check cloud; if that is right, sign in with `partner-license-exporter login`"
        }
        StoreError::Unusable(_, Flaw::Later) => {
            "run the version of the exporter that wrote it, or a later one"
        }
        StoreError::Unusable(_, Flaw::Damaged) => "sign in with `partner-license-exporter login`",
        StoreError::File(_, cause) if cause.kind() == io::ErrorKind::TimedOut => {
            "mount the file system of state_directory again, or set state_directory to another one"
        }
        _ => "give this file to the exporter's user; if it is no regular file, remove it",
    }
}

/// The nearest ancestor of the directory that exists, and whether files can be created in it.
fn access(directory: &Path) -> (PathBuf, io::Result<()>) {
    let nearest = directory.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    let access = Access::WRITE_OK | Access::EXEC_OK;
    let outcome = if nearest.is_dir() {
        accessat(CWD, nearest, access, AtFlags::EACCESS).map_err(io::Error::from)
    } else {
        Err(io::Error::from(Errno::NOTDIR))
    };
    (nearest.to_owned(), outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_fits_the_error_of_the_token_file() {
        let path = PathBuf::from("/state/token.json");
        let file = |kind: io::ErrorKind| StoreError::File(path.clone(), kind.into());
        for (error, expected) in [
            (file(io::ErrorKind::PermissionDenied), "give this file to the exporter's user"),
            (file(io::ErrorKind::InvalidInput), "if it is no regular file, remove it"),
            (file(io::ErrorKind::TimedOut), "mount the file system"),
            (StoreError::Unusable(path.clone(), Flaw::Foreign), "check cloud"),
            (
                StoreError::Unusable(path.clone(), Flaw::Damaged),
                "sign in with `partner-license-exporter login`",
            ),
            (StoreError::Unusable(path.clone(), Flaw::Later), "run the version"),
            (StoreError::Lock(path.clone(), io::ErrorKind::Unsupported.into()), "with locks"),
        ] {
            let remedy = remedy(&error);
            assert!(remedy.contains(expected), "{error}: {remedy}");
            assert_eq!(remedy.contains("cloud"), expected == "check cloud", "{error}: {remedy}");
        }
    }
}
