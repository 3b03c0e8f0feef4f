//! Secret files that systemd provides to a service only while it runs.
//!
//! `check` before the first start must not fail for want of them.

use std::io;
use std::path::{Path, PathBuf};

use exporter_toolkit::files;

/// Where systemd keeps the credentials of each unit, in a directory named after it.
const CREDENTIALS: &str = "/run/credentials";

/// The directory of the unit to which a file belongs, if the unit has no credentials at the moment.
pub(super) fn missing_unit(file: &Path) -> Option<PathBuf> {
    let unit = file.strip_prefix(CREDENTIALS).ok()?.components().next()?;
    let directory = Path::new(CREDENTIALS).join(unit);
    let is_missing =
        || files::metadata(&directory).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    (directory != file && is_missing()).then_some(directory)
}

/// What is wrong with a file that is needed now although its unit does not run.
pub(super) fn problem(file: &Path) -> Option<String> {
    let directory = missing_unit(file)?;
    Some(format!(
        "cannot read {}: {} does not exist; systemd creates it when the service starts, so start the service first",
        file.display(),
        directory.display()
    ))
}

/// The warning about a file that cannot be examined because its unit does not run.
pub(super) fn warning(file: &Path) -> Option<String> {
    let directory = missing_unit(file)?;
    Some(format!(
        "{} is not examined, because {} does not exist: systemd creates it when the service starts",
        file.display(),
        directory.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_of_a_unit_without_credentials_is_provided_later() {
        let unit = "/run/credentials/no-such-unit.service";
        let of = |file: &str| missing_unit(Path::new(file));
        assert_eq!(of(&format!("{unit}/secret_client-secret")), Some(unit.into()));
        assert_eq!(of(&format!("{unit}/directory/file")), Some(unit.into()));
        for file in [
            unit,
            "/run/credentials",
            "/run/credentials/",
            "/run/no-such-file",
            "/etc/x",
            "run/credentials/u/f",
        ] {
            assert_eq!(of(file), None, "{file}");
        }
        let text = warning(Path::new(&format!("{unit}/s"))).unwrap();
        assert!(
            text.starts_with(&format!("{unit}/s is not examined, because {unit} does not exist: ")),
            "{text}"
        );
    }
}
