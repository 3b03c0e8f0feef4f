//! Starts the example `counter` on all kinds of listeners, and waits for what it does.

#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::disallowed_methods, reason = "tests")]

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use command_fds::{CommandFdExt as _, FdMapping};

/// How long a condition may take to become true before the test fails.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until there is a value.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < TIMEOUT, "timed out after {TIMEOUT:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

// === listeners ===

/// The way in which the example gets its listeners.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Listening {
    /// It binds several addresses, IPv4 and IPv6.
    Addresses,
    /// It takes over several sockets, IPv4 and IPv6, as from systemd.
    Systemd,
}

/// Returns an IPv6 address to listen on. On a machine without IPv6 it is an IPv4 address, which is reported on stderr
/// past the test harness, and fails the test where `REQUIRE_TOOLS` is set.
pub(crate) fn ipv6() -> &'static str {
    static ADDRESS: OnceLock<&str> = OnceLock::new();
    ADDRESS.get_or_init(|| {
        if TcpListener::bind("[::1]:0").is_ok() {
            return "[::1]:0";
        }
        let what = "listening on an IPv6 address, which this machine does not have";
        assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "{what}");
        let mut stderr = std::io::stderr();
        writeln!(stderr, "NOT TESTED: {what}").unwrap();
        "127.0.0.1:0"
    })
}

/// Returns the command that starts the example as systemd does: the sockets are the descriptors from 3 on, and
/// variables have their number and the receiver, which is `$$` for the example itself.
pub(crate) fn activated(sockets: Vec<OwnedFd>, receiver: &str) -> Command {
    let variables = format!("LISTEN_PID={receiver} LISTEN_FDS={}", sockets.len());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!(r#"{variables} exec "$0" "$@""#)]).arg(counter()).arg("--web.systemd-socket");
    let mappings = (3..).zip(sockets).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
    shell.fd_mappings(mappings.collect()).unwrap();
    shell
}

/// Returns the path of the example, which `cargo test` builds before it runs the tests.
fn counter() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let hint = "run `cargo build -p exporter-toolkit --example counter`, or all tests of the package";
        let tests = std::env::current_exe().unwrap();
        let path = tests.parent().unwrap().with_file_name("examples").join("counter");
        let built = std::fs::metadata(&path).and_then(|file| file.modified());
        let built = built.unwrap_or_else(|error| panic!("{}: {error}; {hint}", path.display()));
        for sources in ["src", "examples"] {
            let changed = last_change(&Path::new(env!("CARGO_MANIFEST_DIR")).join(sources));
            assert!(built >= changed, "{} is older than {sources}; {hint}", path.display());
        }
        path
    })
}

/// Returns the time of the last change of a file below a directory.
fn last_change(path: &Path) -> SystemTime {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap().map(|entry| last_change(&entry.unwrap().path()));
        return entries.max().unwrap_or(SystemTime::UNIX_EPOCH);
    }
    path.metadata().unwrap().modified().unwrap()
}

// === the example ===

/// A running example, which is killed when the value is dropped.
pub(crate) struct Example {
    pub(crate) process: Process,
    /// The addresses on which it listens, IPv4 and IPv6.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Example {
    /// Starts it on two listeners.
    pub(crate) fn start(listening: Listening, flags: &[&str]) -> Self {
        Self::start_with_files(listening, flags, None)
    }

    /// Starts it on two listeners, and limits the number of files that it may open.
    pub(crate) fn start_with_files(listening: Listening, flags: &[&str], files: Option<u64>) -> Self {
        let addresses = ["127.0.0.1:0", ipv6()];
        let mut command = match listening {
            Listening::Addresses => {
                let limit = files.map_or_else(String::new, |files| format!("ulimit -n {files} && "));
                let mut command = Command::new("sh");
                command.args(["-c", &format!(r#"{limit}exec "$0" "$@""#)]).arg(counter());
                command.args(addresses.map(|address| format!("--web.listen-address={address}")));
                command
            }
            Listening::Systemd => {
                assert_eq!(files, None, "only the other kind can be limited");
                activated(addresses.map(|address| TcpListener::bind(address).unwrap().into()).into(), "$$")
            }
        };
        let process = Process::start(command.args(flags));
        let addresses = eventually("two listeners", || {
            let found = process.announced("Listening on ");
            (found.len() == 2).then_some(found)
        });
        Self { process, addresses: addresses.iter().map(|address| address.parse().unwrap()).collect() }
    }
}

/// Runs the example until it fails to start, and returns what it reports.
pub(crate) fn refusal(listening: Listening, flags: &[&str]) -> String {
    let mut command = match listening {
        Listening::Addresses => {
            let mut command = Command::new(counter());
            command.arg("--web.listen-address=127.0.0.1:0");
            command
        }
        Listening::Systemd => activated(vec![TcpListener::bind("127.0.0.1:0").unwrap().into()], "$$"),
    };
    failure(command.args(flags))
}

/// Runs a command that fails, and returns what it reports.
pub(crate) fn failure(command: &mut Command) -> String {
    let mut process = Process::start(command);
    let (status, _) = process.wait();
    let text = process.stderr.text();
    assert_eq!(status.code(), Some(1), "{text}");
    text
}

/// A process that is killed when the value is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) stderr: Lines,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        // A backtrace would follow an error message.
        let command = command
            .env("RUST_LIB_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = Lines::of(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// Returns the addresses in the log lines with this message, in their order.
    pub(crate) fn announced(&self, message: &str) -> Vec<String> {
        let log = self.stderr.text();
        let lines = log.lines().filter_map(|line| line.split_once(message));
        lines.filter_map(|(_, fields)| Some(fields.split_once("address=")?.1.to_owned())).collect()
    }

    /// Returns the log once it contains `wanted`.
    pub(crate) fn log_until(&self, wanted: &str) -> String {
        self.log_until_times(wanted, 1)
    }

    /// Returns the log once it contains `wanted` so many times.
    pub(crate) fn log_until_times(&self, wanted: &str, times: usize) -> String {
        eventually(wanted, || Some(self.stderr.text()).filter(|log| log.matches(wanted).count() >= times))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn terminate(&self) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for the end, and returns the status and the time that it took.
    pub(crate) fn wait(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        let status = eventually("the end of the process", || self.child.try_wait().unwrap());
        self.stderr.wait_for_end();
        (status, started.elapsed())
    }

    /// Waits until it takes no processor time for a while.
    pub(crate) fn wait_until_idle(&self) {
        let stat = format!("/proc/{}/stat", self.id());
        let used = || {
            let stat = std::fs::read_to_string(&stat).unwrap();
            // The name of the program is in parentheses, and may contain spaces.
            let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
            (fields[11].to_owned(), fields[12].to_owned())
        };
        let (mut before, mut equal) = (used(), 0);
        eventually("an idle process", || {
            let now = used();
            equal = if now == before { equal + 1 } else { 0 };
            before = now;
            (equal == 10).then_some(())
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("--- stderr\n{}", self.stderr.text());
        }
    }
}

/// The lines that a process has written so far, and whether that is all.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<(Vec<String>, bool)>>);

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let sink = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                sink.0.lock().unwrap().0.push(line);
            }
            sink.0.lock().unwrap().1 = true;
        });
        lines
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().0.join("\n")
    }

    fn wait_for_end(&self) {
        eventually("the end of the log", || self.0.lock().unwrap().1.then_some(()));
    }
}
