//! The environment as a parameter, so that tests decide what it contains.

use std::path::PathBuf;

/// Returns the value of a variable that is set and not empty.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The default of `state_directory` where systemd does not set one.
pub(super) const DEFAULT_STATE_DIRECTORY: &str = "/var/lib/partner-license-exporter";

/// The first directory of systemd's `StateDirectory=`, or the default.
pub(super) fn state_directory(environment: Environment<'_>) -> PathBuf {
    environment("STATE_DIRECTORY")
        .and_then(|list| list.split(':').next().map(PathBuf::from))
        .unwrap_or_else(|| DEFAULT_STATE_DIRECTORY.into())
}
