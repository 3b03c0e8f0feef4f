//! Standard error that nobody reads, or that cannot be written, stops neither polls nor scrapes nor the stop.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs::File;
use std::io::{PipeReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::exposition::{self, Exposition};
use crate::support::{STOP, Simulator, TENANT, eventually, get, program, write_config};

const POLLS: &str = "partner_license_scrapes_total";
const DROPPED: &str = "partner_license_exporter_log_lines_dropped_total";

/// An exporter whose standard error the test controls. It is killed when its value goes out of scope.
struct Exporter {
    child: Child,
    url: String,
    _directory: tempfile::TempDir,
    _simulator: Simulator,
}

impl Exporter {
    /// Starts it with `stderr`; `address` finds out where it listens.
    fn start(stderr: impl Into<Stdio>, address: impl FnOnce(&Child) -> String) -> Self {
        let simulator = Simulator::start("");
        let directory = tempfile::tempdir().unwrap();
        let config = format!("poll_interval: 1s\naccounts:\n{}", simulator.account(None, TENANT));
        let file = write_config(directory.path(), &config);
        let mut command = program(&["--log.level=debug", "--web.listen-address=127.0.0.1:0"]);
        command.args(["--config.file", file.to_str().unwrap()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        drop(command);
        let url = format!("http://{}", address(&child));
        Self { child, url, _directory: directory, _simulator: simulator }
    }

    /// Starts it with a log whose pipe is full once it listens, and returns the end that nobody reads.
    fn with_full_log() -> (Self, PipeReader) {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let exporter = Self::start(writer.try_clone().unwrap(), |_| address_in(&mut reader));
        fill(&writer);
        (exporter, reader)
    }

    fn metrics(&self) -> Exposition {
        exposition::parse(&get(&format!("{}/metrics", self.url)))
    }

    fn wait_for_more(&self, counter: &str, more: f64) {
        let value = |metrics: &Exposition| metrics.named(counter).map(|(_, value)| value).sum::<f64>();
        let before = value(&self.metrics());
        eventually(counter, || (value(&self.metrics()) >= before + more).then_some(()));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end, and returns the exit status and how long it took.
    #[expect(clippy::disallowed_methods, reason = "a real process takes real time")]
    fn wait(&mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        let status = eventually("the end of the process", || self.child.try_wait().unwrap());
        (status.code(), started.elapsed())
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Reads lines up to the one with the address.
fn address_in(log: &mut PipeReader) -> String {
    let (mut text, mut byte) = (String::new(), [0]);
    loop {
        log.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
        let address = text.split_once("Listening on").and_then(|(_, rest)| rest.split_once("address="));
        if let Some((address, _)) = address.and_then(|(_, rest)| rest.split_once(['\n', ' '])) {
            return address.to_owned();
        }
    }
}

/// Fills the pipe from its writing end, without changing how others write to it.
fn fill(writer: &std::io::PipeWriter) {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let mut writer = File::options().write(true).custom_flags(flags).open(path).unwrap();
    while writer.write(&[b'x'; 512]).is_ok() {}
    while writer.write(b"x").is_ok() {}
}

#[test]
fn a_log_that_nobody_reads_stops_neither_polls_nor_scrapes_nor_the_stop() {
    let (mut exporter, _log) = Exporter::with_full_log();
    exporter.wait_for_more(POLLS, 5.0);
    exporter.signal(Signal::TERM);
    let (status, took) = exporter.wait();
    assert_eq!(status, Some(0));
    assert!(took < STOP, "the stop took {took:?}");
}

#[test]
fn a_second_signal_ends_the_process_at_once_although_nobody_reads_the_log() {
    let (mut exporter, _log) = Exporter::with_full_log();
    // A request without its end keeps the first signal from ending the process at once.
    let mut unfinished = std::net::TcpStream::connect(exporter.url.trim_start_matches("http://")).unwrap();
    unfinished.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n").unwrap();
    exporter.signal(Signal::TERM);
    exporter.signal(Signal::INT);
    let (status, took) = exporter.wait();
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(4), "the stop took {took:?}");
}

#[test]
fn lines_that_a_full_disk_does_not_take_are_counted() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut exporter = Exporter::start(full, |child| {
        let id = child.id();
        eventually("the listening socket", || listening_address(id))
    });
    exporter.wait_for_more(DROPPED, 3.0);
    exporter.wait_for_more(POLLS, 1.0);
    exporter.signal(Signal::TERM);
    assert_eq!(exporter.wait().0, Some(0));
}

/// The address on loopback at which a process listens, as the kernel knows it.
fn listening_address(id: u32) -> Option<String> {
    let descriptors = std::fs::read_dir(format!("/proc/{id}/fd")).ok()?;
    let sockets: Vec<_> = descriptors
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{id}/net/tcp")).ok()?;
    let line = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|fields| {
        fields.get(3) == Some(&"0A")
            && fields.get(9).is_some_and(|inode| sockets.iter().any(|it| it == inode))
    })?;
    let port = u16::from_str_radix(line.get(1)?.strip_prefix("0100007F:")?, 16).ok()?;
    Some(format!("127.0.0.1:{port}"))
}
