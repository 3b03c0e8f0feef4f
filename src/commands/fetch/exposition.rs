//! Writes the series of a poll as Prometheus reads them, also into a file for the textfile collector of
//! `node_exporter`.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use exporter_toolkit::negotiation::Format;
use jiff::Timestamp;

use crate::metrics::{Accounts, Selection, trailer};
use crate::polling::Render as _;

/// The series in a format of text.
pub(super) fn text(accounts: &Accounts, format: Format, now: Timestamp) -> String {
    let mut bytes = accounts.render(now).encode(format, &Selection::everything());
    bytes.extend(trailer(format));
    String::from_utf8(bytes).expect("a text format is UTF-8")
}

/// Replaces the file, so that a reader sees either the series before or these. Everybody may read it, as the collector
/// has a user of its own.
pub(super) fn write(path: &Path, accounts: &Accounts, now: Timestamp) -> anyhow::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = || format!("cannot write {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(failed)?;
    file.write_all(text(accounts, Format::Classic, now).as_bytes()).with_context(failed)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).with_context(failed)?;
    file.persist(path).with_context(failed)?;
    Ok(())
}
