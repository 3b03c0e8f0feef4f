//! What an operator can do about an error of the state directory.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use exporter_toolkit::files;
use exporter_toolkit::shell::quoted;
use rustix::io::Errno;

/// Adds to an error about `path`, which is `directory` or a file in it, what the operator can do about it.
pub fn explain(path: &Path, directory: &Path, cause: io::Error) -> io::Error {
    let (shown, word) = (directory.display(), quoted(directory.as_os_str()));
    let elsewhere = "or set state_directory to another directory";
    let text = match cause.kind() {
        io::ErrorKind::ResourceBusy => {
            format!("the file is a mount of its own, and cannot be replaced; mount {shown} instead")
        }
        io::ErrorKind::ReadOnlyFilesystem => format!(
            "{shown} is on a file system that is mounted read-only; `findmnt --target {word}` shows it: mount it \
             read-write, {elsewhere}"
        ),
        io::ErrorKind::StorageFull => format!(
            "the file system of {shown} is full; `df --human-readable {word}` and `df --inodes {word}` show it: \
             free space there, {elsewhere}"
        ),
        io::ErrorKind::QuotaExceeded => format!(
            "the quota of the user {} on the file system of {shown} is used up: raise it or free space, {elsewhere}",
            rustix::process::geteuid().as_raw()
        ),
        io::ErrorKind::StaleNetworkFileHandle => {
            format!("the server of {shown} no longer knows it: mount it again, {elsewhere}")
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists if path == directory => {
            format!("{shown}, or a part of its path, is no directory: remove what is there, {elsewhere}")
        }
        io::ErrorKind::InvalidFilename if path != directory => {
            "the name is too long; write tenant_id as a GUID".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            let (file, parent) = (path.to_owned(), directory.to_owned());
            let found =
                files::within(path, files::READ_DEADLINE, move || Ok(of_another_user(&file, &parent)));
            match found.ok().flatten() {
                Some(text) => text,
                None => return cause,
            }
        }
        _ if cause.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
            format!("the disk of {shown} reports an error; `dmesg` says more: replace the disk, {elsewhere}")
        }
        _ => return cause,
    };
    io::Error::new(cause.kind(), format!("{cause}: {text}"))
}

/// Whose the file is that this process may not use, and how to hand it over.
fn of_another_user(path: &Path, directory: &Path) -> Option<String> {
    let (existing, metadata) =
        path.ancestors().find_map(|path| fs::symlink_metadata(path).ok().map(|it| (path, it)))?;
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == user {
        return None;
    }
    let is_ours = existing.starts_with(directory);
    let (place, directory) = (existing.display(), quoted(directory.as_os_str()));
    // The parent may be a directory of the system, which must not change hands.
    let remedy = if is_ours {
        format!("`chown -R {user} {directory}` hands it over")
    } else {
        format!("`install -d -o {user} -m 0700 {directory}` creates the directory")
    };
    Some(format!("{place} belongs to the user {owner}, and this process runs as {user}; {remedy}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_error_says_what_the_operator_can_do() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("the state");
        fs::create_dir(&state).unwrap();
        let explained =
            |errno: Errno| explain(&state.join("token.json"), &state, io::Error::from(errno)).to_string();
        let directory = state.display();
        let text = explained(Errno::BUSY);
        assert!(text.ends_with(&format!("cannot be replaced; mount {directory} instead")), "{text}");
        let user = rustix::process::geteuid().as_raw();
        for (errno, what, command) in [
            (Errno::ROFS, "mounted read-only", format!("`findmnt --target '{directory}'`")),
            (Errno::NOSPC, "is full", format!("`df --human-readable '{directory}'`")),
            (Errno::NOSPC, "is full", format!("`df --inodes '{directory}'`")),
            (
                Errno::DQUOT,
                "is used up",
                format!("the quota of the user {user} on the file system of {directory}"),
            ),
            (Errno::STALE, "no longer knows it", "mount it again".to_owned()),
            (Errno::IO, "reports an error", "`dmesg`".to_owned()),
        ] {
            let (error, text) = (io::Error::from(errno), explained(errno));
            assert!(text.starts_with(&error.to_string()), "{text}");
            assert!(text.contains(what) && text.contains(&command), "{text}");
            assert!(text.ends_with("or set state_directory to another directory"), "{text}");
        }
        for errno in [Errno::NOTDIR, Errno::EXIST] {
            let text = explain(&state, &state, io::Error::from(errno)).to_string();
            assert!(
                text.contains(&format!("{directory}, or a part of its path, is no directory: ")),
                "{text}"
            );
            assert_eq!(explained(errno), io::Error::from(errno).to_string());
        }
        assert!(explained(Errno::NAMETOOLONG).ends_with("write tenant_id as a GUID"));
        assert_eq!(explained(Errno::NOENT), io::Error::from(Errno::NOENT).to_string());
        assert_eq!(
            explained(Errno::ACCESS),
            io::Error::from(Errno::ACCESS).to_string(),
            "of this user's own"
        );
        if rustix::process::geteuid().is_root() {
            fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
            std::os::unix::fs::chown(&state, Some(65_534), None).unwrap();
            let text = explained(Errno::ACCESS);
            let expected = format!(
                "{directory} belongs to the user 65534, and this process runs as 0; `chown -R 0 '{directory}'` hands it over"
            );
            assert!(text.ends_with(&expected), "{text}");
            // A parent that is not the exporter's must not change hands.
            let missing = state.join("missing");
            let text = explain(&missing, &missing, io::Error::from(Errno::ACCESS)).to_string();
            let expected = format!("`install -d -o 0 -m 0700 '{}'` creates the directory", missing.display());
            assert!(text.ends_with(&expected), "{text}");
        }
    }
}
