//! Writes the series of a poll as Prometheus reads them, also into a file for the textfile collector of
//! `node_exporter`.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use exporter_toolkit::negotiation::Format;
use jiff::Timestamp;
use tempfile::NamedTempFile;

use crate::metrics::{Accounts, FAMILIES, Selection, trailer};
use crate::polling::Render as _;

/// The families of rows start so. With those that have the label `collection`, they are the ones of a single collection.
const OF_ROWS: [&str; 3] =
    ["partner_license_usage_", "partner_license_deployment_", "partner_license_customer"];

/// The series of a poll in a format of text: those of its collection alone, so that files of several collections can be
/// collected together.
pub(super) fn text(accounts: &Accounts, format: Format, now: Timestamp) -> String {
    let of_one_collection = FAMILIES.iter().filter(|family| {
        family.labels.contains(&"collection") || OF_ROWS.iter().any(|start| family.name.starts_with(start))
    });
    let selection = Selection::of(of_one_collection.map(|family| family.name.to_owned()));
    let mut bytes = accounts.render(now).encode(format, &selection);
    bytes.extend(trailer(format));
    String::from_utf8(bytes).expect("a text format is UTF-8")
}

/// Replaces the file, so that a reader sees either the series before or these; of a symbolic link, the file that it leads
/// to. Everybody may read it, as the collector has a user of its own.
pub(super) fn write(path: &Path, accounts: &Accounts, now: Timestamp) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let target = match fs::canonicalize(path) {
        Ok(target) if !target.is_file() => {
            anyhow::bail!(
                "{}: it is no regular file; use --format=openmetrics to print the series",
                failed()
            );
        }
        Ok(target) => target,
        Err(_) => path.to_owned(),
    };
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut file = NamedTempFile::new_in(directory.unwrap_or(Path::new("."))).with_context(failed)?;
    file.write_all(text(accounts, Format::Classic, now).as_bytes()).with_context(failed)?;
    file.as_file().set_permissions(Permissions::from_mode(0o644)).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(&target).map_err(|error| error.error).with_context(failed)?;
    Ok(())
}
