//! Helpers for tests of the whole program: start it, send it requests, wait for a result.
//!
//! Every process listens on a loopback port that the system chooses, and ends when the value that started it is
//! dropped.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub mod browser;
pub mod exposition;
pub mod peers;
pub mod real;
pub mod terminal;

/// The time after which a condition that is still false fails the test.
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest stop that passes. The program's own limit is 4.5 s, without which it would not end; the rest is for a busy
/// machine.
pub const STOP: Duration = Duration::from_secs(8);

/// The tenants that tests use with the simulator.
pub const TENANT: &str = "11111111-1111-1111-1111-111111111111";
pub const OTHER_TENANT: &str = "22222222-2222-2222-2222-222222222222";

/// The lines that a process has written to a stream so far.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    /// Collects the lines of a stream in the background.
    pub fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let sink = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                sink.0.0.lock().unwrap().push(line);
                sink.0.1.notify_all();
            }
        });
        lines
    }

    /// Waits for a line for which `wanted` returns a value, and returns that value.
    pub fn wait_for<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        self.wait_for_within(TIMEOUT, what, wanted)
    }

    /// Like `wait_for`, with a limit of its own.
    pub fn wait_for_within<T>(&self, limit: Duration, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let (lines, arrived) = &*self.0;
        let found = |lines: &[String]| lines.iter().find_map(|line| wanted(line));
        let guard = lines.lock().unwrap();
        let (lines, _) = arrived.wait_timeout_while(guard, limit, |lines| found(lines).is_none()).unwrap();
        let (value, text) = (found(&lines), lines.join("\n"));
        // The code that prints the lines after a failure needs the lock, too.
        drop(lines);
        value.unwrap_or_else(|| panic!("no {what} in:\n{text}"))
    }

    pub fn text(&self) -> String {
        self.0.0.lock().unwrap().join("\n")
    }
}

/// A process that is killed when its value goes out of scope.
pub struct Process {
    child: Child,
    pub stdout: Lines,
    pub stderr: Lines,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let program = command.get_program().to_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends SIGKILL, which leaves the process no time to clean up.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end of the process; returns its status and how long that took.
    pub fn wait(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        let mut status = None;
        eventually("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some().then_some(())
        });
        (status.unwrap(), started.elapsed())
    }

    /// Waits until the process is idle: its CPU time has not changed in ten samples.
    pub fn wait_until_idle(&self) {
        let stat = format!("/proc/{}/stat", self.id());
        let used = || {
            let stat = std::fs::read_to_string(&stat).unwrap();
            // The name of the program, in parentheses, may contain spaces.
            let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
            (fields[11].to_owned(), fields[12].to_owned())
        };
        let (mut before, mut unchanged) = (used(), 0);
        eventually("the process is idle", || {
            let now = used();
            unchanged = if now == before { unchanged + 1 } else { 0 };
            before = now;
            (unchanged == 10).then_some(())
        });
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("--- stdout\n{}\n--- stderr\n{}", self.stdout.text(), self.stderr.text());
        }
    }
}

/// A command for the program under test, without the variables of this machine that the program would read.
pub fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_partner-license-exporter"));
    for (name, _) in std::env::vars() {
        let ours =
            name.starts_with("AZURE_") || name.starts_with("PARTNER_CENTER_") || name == "STATE_DIRECTORY";
        let ours = ours || name == "NOTIFY_SOCKET" || name.starts_with("WATCHDOG_");
        if ours || name.to_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

/// Runs the program to its end; returns exit status, standard output and standard error.
pub fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = program(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Runs a command to its end, or until it says that it keeps a pause that the server asked for, in which it is stopped.
/// Returns exit status, standard output and standard error.
pub fn run_until_it_waits(command: &mut Command) -> (Option<i32>, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let [out, error] = ["out", "error"].map(|name| directory.path().join(name));
    let to = |path: &Path| Stdio::from(std::fs::File::create(path).unwrap());
    let mut child = command.stdin(Stdio::null()).stdout(to(&out)).stderr(to(&error)).spawn().unwrap();
    let read = |path: &Path| String::from_utf8(std::fs::read(path).unwrap()).unwrap();
    let (began, mut is_stopped) = (Instant::now(), false);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if !is_stopped && read(&error).contains("the server asked for a pause") {
            let id = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
            is_stopped = true;
        }
        if began.elapsed() > 3 * TIMEOUT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("no end of {command:?}: {}{}", read(&out), read(&error));
        }
        thread::sleep(Duration::from_millis(20));
    };
    (status.code(), read(&out), read(&error))
}

/// A running `simulate` command.
pub struct Simulator {
    process: Process,
    pub url: String,
}

impl Simulator {
    pub fn start(scenario: &str) -> Self {
        let simulator = Self::start_at("127.0.0.1:0", &[]);
        simulator.scenario(scenario);
        simulator
    }

    /// Starts it with a scenario from a file, as a user would.
    pub fn with_file(scenario: &Path) -> Self {
        Self::start_at("127.0.0.1:0", &["--scenario", scenario.to_str().unwrap()])
    }

    pub fn start_at(address: &str, flags: &[&str]) -> Self {
        let listen = ["simulate", "--simulator.listen-address", address];
        let process = Process::start(&mut program(&[&listen, flags].concat()));
        let url = process.stdout.wait_for("address of the simulator", |line| {
            Some(line.split_once(" at ")?.1.trim_end_matches('/').to_owned())
        });
        Self { process, url }
    }

    /// Replaces the scenario.
    pub fn scenario(&self, scenario: &str) {
        put_scenario(&self.url, scenario);
    }

    /// The requests that it has received since its start.
    pub fn requests(&self) -> serde_json::Value {
        json(&format!("{}/simulator/requests", self.url))
    }

    /// The number of requests that an endpoint has received.
    pub fn count(&self, endpoint: &str) -> u64 {
        self.requests()["totals"][endpoint].as_u64().unwrap()
    }

    /// An account at this simulator, as an item of `accounts`.
    pub fn account(&self, name: Option<&str>, tenant: &str) -> String {
        account(name, tenant, &self.url, &self.url, "")
    }

    pub fn kill(self) {
        self.process.kill();
    }
}

/// Replaces the scenario of the simulator at this address.
pub fn put_scenario(url: &str, scenario: &str) {
    let mut answer = agent().put(&format!("{url}/simulator/scenario")).send(scenario).unwrap();
    let said = answer.body_mut().read_to_string().unwrap();
    assert_eq!(answer.status(), 204, "the simulator refuses the scenario: {said}");
}

/// An account as an item of `accounts`: it signs in at `login` with the credentials that the simulator accepts, and
/// requests its usage from `api`, from the old source unless it has `collections`. `more` contains further keys.
pub fn account(name: Option<&str>, tenant: &str, login: &str, api: &str, more: &str) -> String {
    let source =
        if more.contains("collections:") { "" } else { ", collections: { usage: { source: licenses } }" };
    let name = name.map_or_else(String::new, |name| format!("name: \"{name}\", "));
    format!(
        "  - {{ {name}tenant_id: {tenant}, client_id: {client}, client_secret: {secret}, \
         refresh_token: {token}, cloud: custom, api_base_url: \"{api}\", login_base_url: \"{login}\"{source}{more} }}\n",
        client = partner_center_simulator::CLIENT_ID,
        secret = partner_center_simulator::CLIENT_SECRET,
        token = partner_center_simulator::REFRESH_TOKEN,
    )
}

/// A running exporter with a directory of its own.
pub struct Exporter {
    pub process: Process,
    pub url: String,
    pub directory: Arc<tempfile::TempDir>,
}

impl Exporter {
    /// Starts it with `config`, to which `state_directory` is added, and waits until it listens.
    pub fn start(config: &str, flags: &[&str]) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), config, flags)
    }

    /// Like `start`, in a directory in which an exporter may have run before.
    pub fn start_in(directory: Arc<tempfile::TempDir>, config: &str, flags: &[&str]) -> Self {
        Self::start_by(program(flags), directory, config)
    }

    /// Like `start_in`, with a command that lacks only the flags for address and configuration.
    pub fn start_by(mut command: Command, directory: Arc<tempfile::TempDir>, config: &str) -> Self {
        let file = write_config(directory.path(), config);
        command.args(["--web.listen-address", "127.0.0.1:0", "--config.file", file.to_str().unwrap()]);
        let process = Process::start(&mut command);
        let url = format!("http://{}", listening_on(&process.stderr));
        Self { process, url, directory }
    }

    pub fn metrics(&self) -> exposition::Exposition {
        exposition::parse(&get(&format!("{}/metrics", self.url)))
    }

    /// Waits until `wanted` returns a value for the metrics, and returns that value.
    pub fn wait_for<T>(&self, what: &str, mut wanted: impl FnMut(&exposition::Exposition) -> Option<T>) -> T {
        eventually(what, || wanted(&self.metrics()))
    }

    /// Waits until at least `polls` polls of the account have finished.
    pub fn wait_for_polls(&self, account: Option<&str>, polls: f64) {
        let labels: Vec<_> = account.map(|name| ("account", name)).into_iter().collect();
        self.wait_for("poll", |metrics| {
            (metrics.of_usage("partner_license_scrapes_total", &labels)? >= polls).then_some(())
        });
    }

    /// Waits until the rows of these collections are on the disk, which they are after they are published.
    pub fn wait_for_stored_rows(&self, collections: &[&str]) {
        let state = self.directory.path().join("state");
        eventually("rows on the disk", || {
            let names = std::fs::read_dir(&state).ok()?;
            let names: Vec<_> = names.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
            let is_stored = |collection: &&str| {
                let mut names = names.iter().filter_map(|name| name.strip_suffix(".json"));
                names.any(|name| name.starts_with(*collection))
            };
            let is_writing = names.iter().any(|name| name.ends_with(".json.new"));
            (!is_writing && collections.iter().all(is_stored)).then_some(())
        });
    }

    pub fn reload(&self) -> u16 {
        agent().post(&format!("{}/-/reload", self.url)).send_empty().unwrap().status().as_u16()
    }
}

/// Writes a configuration file with a state directory beside it, and returns the path of the file.
pub fn write_config(directory: &Path, config: &str) -> PathBuf {
    let file = directory.join("config.yml");
    let state = directory.join("state");
    std::fs::write(&file, format!("state_directory: {}\n{config}", state.display())).unwrap();
    file
}

/// Waits for the log line that announces the address, in either log format, and returns the address.
pub fn listening_on(log: &Lines) -> String {
    log.wait_for("line with the address", |line| {
        let (_, rest) = line.split_once("Listening on")?;
        let from = rest.find("127.0.0.1:").or_else(|| rest.find("[::"))?;
        let end = |c: char| c == '"' || c == ' ';
        Some(rest.get(from..)?.split(end).next()?.to_owned())
    })
}

/// Reports on stderr, past the test harness, what cannot be tested on this machine; fails if `REQUIRE_TOOLS` is set.
pub fn not_run(what: &str) {
    assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "{what}");
    let mut terminal = std::io::stderr();
    writeln!(terminal, "NOT run: {what}").unwrap();
}

// === HTTP requests ===

pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        .proxy(None)
        .build()
        .into()
}

/// The body of a response, which must have status 200.
pub fn get(url: &str) -> String {
    let mut answer = agent().get(url).call().unwrap();
    let body = answer.body_mut().read_to_string().unwrap();
    assert_eq!(answer.status(), 200, "{url}: {body}");
    body
}

pub fn json(url: &str) -> serde_json::Value {
    serde_json::from_str(&get(url)).unwrap()
}

/// Checks a condition repeatedly until it returns a value, and returns that value.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < TIMEOUT, "no result within {TIMEOUT:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
