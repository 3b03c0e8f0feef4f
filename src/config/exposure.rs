//! Files with secrets that more people can read than need to.
//!
//! A warning, never a refusal: who mounts secrets into containers often cannot choose their mode.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

const OTHERS_READ: u32 = 0o004;
const GROUP_READS: u32 = 0o040;
const ROOT: u32 = 0;

/// What to say of a file at the start, if anything.
pub fn warning(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let who = readers(metadata.uid(), metadata.mode())?;
    Some(format!(
        "{} is readable for {who}; mode 0600 is better, or 0640 where it belongs to root and the exporter's group",
        path.display()
    ))
}

/// Who can read a file and should not.
///
/// A file of root's that its group can read is well kept: that is how root hands a secret to a service, and how
/// Kubernetes does with `fsGroup`.
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
    fn a_file_should_be_readable_for_its_owner_or_for_the_group_that_root_gave_it_to() {
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
    fn the_mode_of_a_real_file_counts_and_a_missing_one_is_somebody_elses_problem() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let with = |mode| {
            set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
            warning(file.path())
        };
        assert_eq!(with(0o600), None);
        let text = with(0o644).unwrap();
        let path = file.path().display();
        assert!(text.starts_with(&format!("{path} is readable for every user of this machine; ")), "{text}");
        assert_eq!(warning(Path::new("/nowhere")), None);
        assert_eq!(warning(file.path().parent().unwrap()), None);
    }
}
