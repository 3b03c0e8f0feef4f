//! File access that ends: each access has a deadline, and only regular files of a limited size are read.
//!
//! A file system that hangs (NFS without its server, FUSE) blocks the thread that touches it, and nothing can interrupt
//! that thread. So each access runs on a thread that does nothing else, which is abandoned at the deadline. While it
//! hangs, further accesses to the same path fail at once, so that at most one thread is lost per path.
//!
//! The functions block their caller until the deadline: on a runtime, call them from `spawn_blocking`.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;

/// The time within which a file must have been read.
pub const READ_DEADLINE: Duration = Duration::from_secs(2);

/// The paths that an abandoned thread still accesses.
static HANGING: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);

/// Reads a regular file of at most `max_bytes` bytes within [`READ_DEADLINE`]. Symbolic links are followed.
///
/// # Errors
/// `TimedOut` if the file system does not answer, `InvalidInput` if the path is no regular file, `FileTooLarge` if the
/// file is larger than `max_bytes`, and every error of opening and reading.
pub fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let opened = path.to_owned();
    within(path, READ_DEADLINE, move || read_file(&open(&opened)?, max_bytes))
}

/// Returns the metadata of what the path leads to, within [`READ_DEADLINE`]. Symbolic links are followed.
///
/// # Errors
/// `TimedOut` if the file system does not answer, and every error of `stat`.
pub fn metadata(path: &Path) -> io::Result<Metadata> {
    let examined = path.to_owned();
    within(path, READ_DEADLINE, move || std::fs::metadata(examined))
}

/// Runs `work`, which accesses `path`, on a thread that does nothing else, and waits for it until the deadline.
///
/// # Errors
/// `TimedOut` if `work` has not returned within `deadline`, or if an earlier one for the same path still hangs;
/// otherwise the outcome of `work`.
pub fn within<T: Send + 'static>(
    path: &Path,
    deadline: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if is_hanging(path) {
        return Err(timed_out("an earlier access to this file still hangs"));
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    let (abandoned, accessed) = (path.to_owned(), path.to_owned());
    run(Box::new(move || {
        let outcome = work();
        // Under the lock of the set, so that this path is never left in it: see the receiver's side.
        let mut hanging = HANGING.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.try_send(outcome).is_err()
            && let Some(paths) = hanging.as_mut()
        {
            paths.remove(&abandoned);
        }
    }))?;
    match receiver.recv_timeout(deadline) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the access to this file panicked")),
        Err(RecvTimeoutError::Timeout) => {
            let mut hanging = HANGING.lock().unwrap_or_else(PoisonError::into_inner);
            // It may have ended in the meantime.
            if let Ok(outcome) = receiver.try_recv() {
                return outcome;
            }
            drop(receiver);
            hanging.get_or_insert_default().insert(accessed);
            Err(timed_out(&format!(
                "the file system did not answer within {}",
                humantime::format_duration(deadline)
            )))
        }
    }
}

/// An access to a file.
type Job = Box<dyn FnOnce() + Send>;

/// The threads that wait for their next access; starting one costs more than reading a small file.
static IDLE: Mutex<Vec<mpsc::Sender<Job>>> = Mutex::new(Vec::new());
/// The number of threads that wait.
const MAX_IDLE: usize = 4;

/// Runs an access on an idle thread, or on a new one.
fn run(mut job: Job) -> io::Result<()> {
    let waiting = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    if let Some(thread) = waiting {
        match thread.send(job) {
            Ok(()) => return Ok(()),
            Err(mpsc::SendError(unsent)) => job = unsent,
        }
    }
    let (sender, jobs) = mpsc::channel::<Job>();
    let serve = move || {
        let mut next = Some(job);
        while let Some(job) = next {
            job();
            let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() >= MAX_IDLE {
                return;
            }
            idle.push(sender.clone());
            drop(idle);
            next = jobs.recv().ok();
        }
    };
    thread::Builder::new().name("file".to_owned()).spawn(serve).map(drop)
}

/// Opens a regular file for reading, without waiting for the other end if it is a FIFO.
///
/// # Errors
/// `InvalidInput` if the path is no regular file, and every error of opening.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    // The flags are a C int, as the system call takes them.
    let flags = i32::try_from(flags.bits()).expect("the flags of open fit in a C int");
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    require_regular(&file.metadata()?)?;
    Ok(file)
}

/// Returns an error unless this is the metadata of a regular file.
///
/// # Errors
/// `InvalidInput`, with the kind of the file.
pub fn require_regular(metadata: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    let kind = metadata.file_type();
    let name = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ if kind.is_symlink() => "a symbolic link",
        _ => "a device",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("this is {name}, not a regular file")))
}

/// Reads an open file of at most `max_bytes` bytes.
///
/// # Errors
/// `FileTooLarge` if the file is larger, and every error of reading.
pub fn read_file(file: &File, max_bytes: u64) -> io::Result<Vec<u8>> {
    let too_large = || {
        let mebibytes = max_bytes >> 20;
        let limit = if mebibytes == 0 { format!("{max_bytes} bytes") } else { format!("{mebibytes} MiB") };
        let text = format!("it is larger than {limit}");
        io::Error::new(io::ErrorKind::FileTooLarge, text)
    };
    if file.metadata()?.len() > max_bytes {
        return Err(too_large());
    }
    let mut content = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut content)?;
    // A file that grows while it is read.
    if u64::try_from(content.len()).is_ok_and(|length| length <= max_bytes) {
        Ok(content)
    } else {
        Err(too_large())
    }
}

fn is_hanging(path: &Path) -> bool {
    let hanging = HANGING.lock().unwrap_or_else(PoisonError::into_inner);
    hanging.as_ref().is_some_and(|paths| paths.contains(path))
}

fn timed_out(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_regular_file_is_read_up_to_its_limit_also_through_a_symbolic_link() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "12345").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert_eq!(read(&link, 5).unwrap(), b"12345");
        assert_eq!(read(&file, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read(&directory.path().join("none"), 5).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_with_its_kind_and_without_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let (fifo, socket) = (directory.path().join("fifo"), directory.path().join("socket"));
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        for (path, kind) in [
            (fifo.as_path(), "this is a pipe, not a regular file"),
            (directory.path(), "this is a directory, not a regular file"),
            (Path::new("/dev/null"), "this is a device, not a regular file"),
        ] {
            assert_eq!(read(path, 5).unwrap_err().to_string(), kind);
        }
        read(&socket, 5).expect_err("a socket cannot be opened");
    }

    #[test]
    fn an_access_that_hangs_is_abandoned_and_the_next_one_to_that_path_fails_at_once() {
        let (hanging, other) = (Path::new("/hangs"), Path::new("/works"));
        let (release, wait) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel::<()>();
        let short = Duration::from_millis(10);
        let work = move || {
            wait.recv().ok();
            drop(ended);
            Ok(())
        };
        let error = within(hanging, short, work).unwrap_err();
        assert_eq!(error.to_string(), "the file system did not answer within 10ms");
        let error = within(hanging, READ_DEADLINE, || Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "an earlier access to this file still hangs");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        within(other, READ_DEADLINE, || Ok(())).unwrap();
        drop(release);
        end.recv().unwrap_err();
        // The thread still has to leave the set.
        while is_hanging(hanging) {
            thread::yield_now();
        }
        within(hanging, READ_DEADLINE, || Ok(())).unwrap();
    }

    #[test]
    fn a_thread_is_used_again_and_few_of_them_wait() {
        let names = Mutex::new(HashSet::new());
        thread::scope(|scope| {
            for n in 0..20 {
                let names = &names;
                scope.spawn(move || {
                    for _ in 0..50 {
                        let path = PathBuf::from(format!("/works/{n}"));
                        let thread = within(&path, READ_DEADLINE, || Ok(thread::current().id())).unwrap();
                        names.lock().unwrap().insert(thread);
                    }
                });
            }
        });
        assert!(names.lock().unwrap().len() < 1000, "no access has used a thread again");
        assert!(IDLE.lock().unwrap().len() <= MAX_IDLE);
    }

    #[test]
    fn an_access_that_panics_is_an_error() {
        let outcome =
            within(Path::new("/panics"), READ_DEADLINE, || -> io::Result<()> { panic!("on purpose") });
        assert_eq!(outcome.unwrap_err().to_string(), "the access to this file panicked");
    }
}
