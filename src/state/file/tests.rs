use std::os::unix::fs::symlink;

use super::*;

/// A state directory, a file outside of it, and the state file of an account.
struct TestBed {
    _root: tempfile::TempDir,
    directory: PathBuf,
    foreign: PathBuf,
    file: StateFile,
}

impl TestBed {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (directory, foreign) = (root.path().join("state"), root.path().join("foreign"));
        fs::create_dir(&directory).unwrap();
        fs::write(&foreign, "foreign").unwrap();
        let [authority, tenant, client] = ["https://login.example", "t", "c"].map(str::to_owned);
        let file = StateFile::named(&directory, "refresh-token", authority, tenant, client, 100);
        Self { _root: root, directory, foreign, file }
    }

    /// The file outside of the state directory is as it was.
    fn assert_foreign_file_untouched(&self, before: &fs::Metadata) {
        let after = fs::metadata(&self.foreign).unwrap();
        let of = |metadata: &fs::Metadata| (metadata.uid(), metadata.gid(), metadata.mode(), metadata.len());
        assert_eq!(of(before), of(&after));
        assert_eq!(fs::read(&self.foreign).unwrap(), b"foreign");
    }
}

#[test]
fn a_file_of_the_state_directory_that_leads_elsewhere_is_refused_and_its_target_keeps_its_owner() {
    type Link = fn(&Path, &Path);
    let symbolic: Link = |target, link| symlink(target, link).unwrap();
    let hard: Link = |target, link| fs::hard_link(target, link).unwrap();
    for (link, text) in [
        (symbolic, "this is a symbolic link; remove it"),
        (hard, "this file has 3 names (hard links); remove it"),
    ] {
        let bed = TestBed::new();
        // As root, a file that is created here would be given to this user.
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::chown(&bed.directory, Some(65_534), Some(65_534)).unwrap();
        }
        link(&bed.foreign, &bed.file.lock_path());
        link(&bed.foreign, bed.file.path());
        let before = fs::metadata(&bed.foreign).unwrap();
        assert_eq!(bed.file.open_lock(true).unwrap_err().to_string(), text);
        assert_eq!(bed.file.open_lock(false).unwrap_err().to_string(), text);
        assert_eq!(bed.file.read().unwrap_err().to_string(), text);
        bed.assert_foreign_file_untouched(&before);
        // The link itself is replaced, and the new file belongs to the owner of the directory.
        bed.file.replace(b"new".to_vec()).unwrap();
        assert_eq!(bed.file.read().unwrap().unwrap(), b"new");
        assert_eq!(fs::metadata(&bed.foreign).unwrap().uid(), before.uid());
        assert_eq!(fs::read(&bed.foreign).unwrap(), b"foreign");
        if is_root {
            assert_eq!(fs::metadata(bed.file.path()).unwrap().uid(), 65_534);
        }
    }
}

#[test]
fn a_link_at_the_name_of_the_new_file_is_removed_and_not_followed() {
    let bed = TestBed::new();
    symlink(&bed.foreign, bed.file.path().with_extension("json.new")).unwrap();
    let before = fs::metadata(&bed.foreign).unwrap();
    bed.file.replace(b"new".to_vec()).unwrap();
    bed.assert_foreign_file_untouched(&before);
    assert_eq!(bed.file.read().unwrap().unwrap(), b"new");
}

#[test]
fn a_pipe_is_refused_at_once() {
    let bed = TestBed::new();
    for path in [bed.file.path().to_owned(), bed.file.lock_path()] {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }
    assert!(bed.file.read().unwrap_err().to_string().contains("this is a pipe, not a regular file"));
    let text = bed.file.open_lock(true).unwrap_err().to_string();
    assert_eq!(text, "this is a pipe or a device, not a regular file");
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let bed = TestBed::new();
    bed.file.replace(vec![b'x'; 100]).unwrap();
    assert!(bed.file.read().unwrap().is_some());
    bed.file.replace(vec![b'x'; 101]).unwrap();
    assert_eq!(bed.file.read().unwrap_err().to_string(), "it is larger than 100 bytes");
}

/// The names in a directory, in order.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_start_leaves_nothing_behind_and_clears_what_killed_processes_left() {
    let bed = TestBed::new();
    let kept = [
        ".tmpABCDEF",
        ".tmpNotOurs1",
        ".tmpabcdefg",
        "a.json.new.json",
        "notes.json.newer",
        "notes.tmp",
        "refresh-token-t-c.json",
        "refresh-token-t-c.json.set-aside",
        "refresh-token-t-c.lock",
    ];
    for name in kept {
        fs::write(bed.directory.join(name), if name == ".tmpABCDEF" { "content" } else { "" }).unwrap();
    }
    fs::write(bed.directory.join(".tmp0aB9zZ"), "").unwrap();
    for name in ["refresh-token-t-c.json.new", "usage-t-c.json.new"] {
        fs::write(bed.directory.join(name), "half of a rec").unwrap();
    }
    prepare(&bed.directory).unwrap();
    assert_eq!(names(&bed.directory), kept);
}

#[test]
fn a_start_does_not_clear_what_another_process_is_writing() {
    let bed = TestBed::new();
    let new = bed.file.path().with_extension("json.new");
    fs::write(&new, "half of a rec").unwrap();
    let writing = File::open(&bed.directory).unwrap();
    writing.lock().unwrap();
    prepare(&bed.directory).unwrap();
    assert!(new.exists());
    drop(writing);
    prepare(&bed.directory).unwrap();
    assert!(!new.exists());
}

#[test]
fn the_files_of_the_same_application_for_other_tenants_are_found_by_their_names() {
    let bed = TestBed::new();
    for name in [
        "refresh-token-t-c.json",
        "refresh-token-contoso.example-c.json",
        "refresh-token-contoso.example-c.json.set-aside",
        "refresh-token-contoso.example-c.lock",
        "refresh-token-contoso.example-d.json",
        "usage-contoso.example-c.json",
    ] {
        fs::write(bed.directory.join(name), "").unwrap();
    }
    let [other] = &bed.file.of_other_tenants()[..] else { panic!("one file is of another tenant") };
    assert_eq!(
        (other.tenant(), other.owner()),
        ("contoso.example", "https://login.example contoso.example c")
    );
    assert_eq!(other.path(), bed.directory.join("refresh-token-contoso.example-c.json"));
}

#[test]
fn a_write_that_was_abandoned_never_replaces_what_was_written_since() {
    let bed = TestBed::new();
    bed.file.replace(b"old".to_vec()).unwrap();
    // The write hangs, as on a file system that does not answer: it waits for the lock of the directory.
    let directory = File::open(&bed.directory).unwrap();
    directory.lock().unwrap();
    let error = bed.file.replace_within(Duration::from_millis(20), b"abandoned".to_vec()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    // Until it has ended, this process writes nothing else there; another one may.
    assert_eq!(bed.file.replace(b"too early".to_vec()).unwrap_err().kind(), io::ErrorKind::TimedOut);
    fs::write(bed.file.path(), "newer").unwrap();
    drop(directory);
    let content = loop {
        match bed.file.read() {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => thread::yield_now(),
            outcome => break outcome.unwrap().unwrap(),
        }
    };
    assert_eq!(content, b"newer");
    assert_eq!(names(&bed.directory), ["refresh-token-t-c.json"]);
    bed.file.replace(b"newest".to_vec()).unwrap();
    assert_eq!(bed.file.read().unwrap().unwrap(), b"newest");
}

#[test]
fn only_a_file_system_that_cannot_flush_a_directory_is_excused() {
    let of = |errno: Errno| is_unsupported(&io::Error::from(errno));
    assert!(of(Errno::INVAL) && of(Errno::NOTSUP) && of(Errno::NOSYS));
    assert!(!of(Errno::IO) && !of(Errno::NOSPC) && !of(Errno::DQUOT) && !of(Errno::ROFS));
}
