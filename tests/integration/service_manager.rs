//! What a service manager such as systemd is told: a socket of the test stands for it.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;

use crate::support::{self, Exporter, Simulator, TENANT, TIMEOUT, eventually, get, not_run, program};

/// The messages of one process, in the order of their arrival.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    fn at_path(directory: &Path) -> Self {
        let path = directory.join("notify");
        Self { socket: UnixDatagram::bind(&path).unwrap(), name: path.to_str().unwrap().to_owned() }
    }

    /// The name of the directory makes the one of the socket unique.
    fn at_abstract_name(directory: &Path) -> Self {
        let name = directory.join("abstract").to_str().unwrap().to_owned();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self { socket: UnixDatagram::bind_addr(&address).unwrap(), name: format!("@{name}") }
    }

    /// Starts an exporter that it watches.
    fn start(&self, config: &str, variables: &[(&str, &str)]) -> Exporter {
        let mut command = program(&[]);
        command.env("NOTIFY_SOCKET", &self.name).envs(variables.iter().copied());
        Exporter::start_by(command, Arc::new(tempfile::tempdir().unwrap()), config)
    }

    fn next(&self) -> String {
        self.socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut buffer = [0; 1024];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Waits for a message that begins like this, and returns it.
    fn wait_for(&self, start: &str) -> String {
        std::iter::repeat_with(|| self.next()).find(|message| message.starts_with(start)).unwrap()
    }
}

#[test]
fn a_service_manager_hears_of_start_reload_and_stop_at_a_path_and_at_an_abstract_name() {
    let directory = tempfile::tempdir().unwrap();
    for manager in [Manager::at_path(directory.path()), Manager::at_abstract_name(directory.path())] {
        let simulator = Simulator::start("");
        let config = format!("poll_interval: 1s\naccounts:\n{}", simulator.account(None, TENANT));
        let mut exporter = manager.start(&config, &[]);
        manager.wait_for("READY=1");
        get(&format!("{}/metrics", exporter.url));
        manager.wait_for("STATUS=1 of 1 account up");

        exporter.process.signal(Signal::HUP);
        let reloading = manager.wait_for("RELOADING=1\nMONOTONIC_USEC=");
        let moment = |message: &str| message.rsplit_once('=').unwrap().1.parse::<u64>().unwrap();
        assert_eq!(manager.wait_for("READY=1"), "READY=1");
        // A reload that fails has ended as well.
        support::write_config(exporter.directory.path(), "accounts: 7\n");
        assert_eq!(exporter.reload(), 500);
        assert!(moment(&manager.wait_for("RELOADING=1\nMONOTONIC_USEC=")) > moment(&reloading));
        manager.wait_for("READY=1");

        simulator.kill();
        manager.wait_for("STATUS=0 of 1 account up; failing: the account (network)");

        exporter.process.signal(Signal::TERM);
        manager.wait_for("STOPPING=1");
        assert_eq!(exporter.process.wait().0.code(), Some(0));
    }
}

#[test]
fn the_watchdog_is_pinged_while_the_program_serves() {
    let directory = tempfile::tempdir().unwrap();
    let manager = Manager::at_path(directory.path());
    let simulator = Simulator::start("");
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    let exporter = manager.start(&config, &[("WATCHDOG_USEC", "100000")]);
    for _ in 0..5 {
        manager.wait_for("WATCHDOG=1");
    }
    // A stopped process stands for one that hangs: what it had sent arrives, and then nothing.
    exporter.process.signal(Signal::STOP);
    manager.socket.set_read_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
    let mut buffer = [0; 1024];
    eventually("silence", || manager.socket.recv(&mut buffer).is_err().then_some(()));
    exporter.process.signal(Signal::CONT);
    manager.wait_for("WATCHDOG=1");
}

#[test]
fn a_socket_that_cannot_be_used_causes_one_warning_and_nothing_else() {
    let simulator = Simulator::start("");
    let config = format!("poll_interval: 1s\naccounts:\n{}", simulator.account(None, TENANT));
    for socket in ["/no/such/directory/notify", "@no-such-abstract-name", "vsock:2:1234"] {
        let mut command = program(&[]);
        command.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", "10000");
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let mut exporter = Exporter::start_by(command, directory, &config);
        exporter.wait_for_polls(None, 2.0);
        assert_eq!(exporter.reload(), 200);
        exporter.process.signal(Signal::TERM);
        assert_eq!(exporter.process.wait().0.code(), Some(0));
        let log = exporter.process.stderr.text();
        assert_eq!(log.matches("Cannot notify the service manager").count(), 1, "{log}");
        assert!(log.contains(&format!("at NOTIFY_SOCKET {socket}")) && log.contains("level=WARN"), "{log}");
    }
}

#[test]
fn the_unit_asks_for_what_the_program_sends_and_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let unit = root.join("examples/partner-license-exporter.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    for line in ["Type=notify", "NotifyAccess=main", "WatchdogSec=30s", "Restart=on-failure"] {
        assert!(text.lines().any(|found| found == line), "no {line}");
    }
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("partner-license-exporter.service");
    let program = env!("CARGO_BIN_EXE_partner-license-exporter");
    std::fs::write(&copy, text.replace("/usr/bin/partner-license-exporter", program)).unwrap();
    let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output() else {
        return not_run("systemd-analyze verify, which this machine does not have");
    };
    let findings = [output.stdout, output.stderr].concat();
    let findings = String::from_utf8(findings).unwrap();
    let findings: Vec<_> =
        findings.lines().filter(|line| line.contains("partner-license-exporter")).collect();
    assert_eq!(findings, [""; 0]);
}
