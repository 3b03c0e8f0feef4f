//! Warnings about files with secrets that other users can read.
//!
//! They are warnings, not errors, since the mode of a secret mounted into a container often cannot be changed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use exporter_toolkit::files;
use exporter_toolkit::shell::quoted;

const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;
const GROUP_READS: u32 = 0o040;
const ROOT: u32 = 0;

/// The warning about a file, if its mode deserves one.
pub fn warning(path: &Path) -> Option<String> {
    let metadata = files::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let readers = readers(metadata.uid(), metadata.mode())?;
    Some(format!(
        "{} is readable by {readers}; use mode 0600, or 0640 with owner root and the exporter's group",
        path.display()
    ))
}

/// The warning about a directory, if every user can replace the files in it.
pub fn directory_warning(path: &Path) -> Option<String> {
    let metadata = files::metadata(path).ok().filter(std::fs::Metadata::is_dir)?;
    (metadata.mode() & OTHERS_WRITE != 0).then(|| {
        format!(
            "every user of this machine can write to {}, and replace the refresh tokens in it; `chmod 0700 {}`",
            path.display(),
            quoted(path.as_os_str())
        )
    })
}

/// The users who can read a file and should not.
///
/// A file that belongs to root and is readable by its group is accepted: this is how root hands a secret to a service,
/// and how Kubernetes does with `fsGroup`.
fn readers(owner: u32, mode: u32) -> Option<&'static str> {
    if mode & OTHERS_READ != 0 {
        return Some("every user of this machine");
    }
    (owner != ROOT && mode & GROUP_READS != 0).then_some("its group")
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_may_be_readable_by_its_owner_or_by_the_group_of_a_file_that_belongs_to_root() {
        let (everybody, group) = (Some("every user of this machine"), Some("its group"));
        for (owner, mode, expected) in [
            (1000, 0o100_600, None),
            (1000, 0o100_400, None),
            (1000, 0o100_640, group),
            (1000, 0o100_644, everybody),
            (0, 0o100_640, None),
            (0, 0o100_440, None),
            (0, 0o100_644, everybody),
            (0, 0o100_604, everybody),
        ] {
            assert_eq!(readers(owner, mode), expected, "{owner} {mode:o}");
        }
    }

    #[test]
    fn a_directory_that_every_user_can_write_to_deserves_a_warning() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("of two words");
        std::fs::create_dir(&directory).unwrap();
        let with = |mode| {
            set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
            directory_warning(&directory)
        };
        assert_eq!(with(0o700), None);
        // Kubernetes gives a volume to the group of `fsGroup`.
        assert_eq!(with(0o2775), None);
        let (text, path) = (with(0o777).unwrap(), directory.display());
        assert!(text.starts_with(&format!("every user of this machine can write to {path}, ")), "{text}");
        assert!(text.ends_with(&format!("`chmod 0700 '{path}'`")), "{text}");
        assert_eq!(directory_warning(Path::new("/nowhere")), None);
    }

    #[test]
    fn the_mode_of_a_real_file_is_checked_and_a_missing_file_or_a_directory_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let with = |mode| {
            set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
            warning(file.path())
        };
        assert_eq!(with(0o600), None);
        let text = with(0o644).unwrap();
        let path = file.path().display();
        assert!(text.starts_with(&format!("{path} is readable by every user of this machine; ")), "{text}");
        assert_eq!(warning(Path::new("/nowhere")), None);
        assert_eq!(warning(file.path().parent().unwrap()), None);
    }
}
