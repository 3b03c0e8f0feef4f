//! The flags for listeners and for the number of concurrent requests.
//!
//! The listeners themselves are tested in `crates/exporter-toolkit/tests/toolkit/listeners.rs`.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt::set_socket_recv_buffer_size};
use tokio::time::Instant;

use crate::support;
use crate::support::{Exporter, Lines, Process, Simulator, TENANT, eventually, get, not_run, program};

/// Returns an IPv6 address to listen on. On a machine without IPv6 it is an IPv4 address, which is reported.
fn ipv6() -> &'static str {
    if TcpListener::bind("[::1]:0").is_ok() {
        return "[::1]:0";
    }
    not_run("listening on an IPv6 address, which this machine does not have");
    "127.0.0.1:0"
}

/// Returns the first `count` addresses that the log announces, each with its TLS state.
fn announced(log: &Lines, count: usize) -> Vec<String> {
    eventually("the addresses", || {
        let log = log.text();
        let all = |said: &str| -> Vec<_> {
            let lines = log.lines().filter(|line| line.contains(said));
            lines.filter_map(|line| Some(line.split_once("address=")?.1.to_owned())).collect()
        };
        let (listening, tls) = (all("msg=\"Listening on\""), all("msg=\"TLS is disabled.\" http2=false"));
        (listening.len() == count && tls == listening).then_some(listening)
    })
}

#[test]
fn the_exporter_listens_on_several_addresses_and_serves_metrics_on_the_configured_path() {
    let simulator = Simulator::start("");
    let flags = [
        "--web.listen-address",
        ipv6(),
        "--web.listen-address",
        "localhost:0",
        "--web.telemetry-path",
        "/stats",
        "--web.disable-exporter-metrics",
    ];
    let exporter = Exporter::start(&format!("accounts:\n{}", simulator.account(None, TENANT)), &flags);
    for address in announced(&exporter.process.stderr, 3) {
        let text = get(&format!("http://{address}/stats"));
        assert!(text.contains("partner_license_exporter_build_info{"));
        assert!(!text.contains("process_") && !text.contains("promhttp_"), "exporter metrics are disabled");
        let missing = support::agent().get(&format!("http://{address}/metrics")).call().unwrap();
        assert_eq!(missing.status(), 404);
    }
}

// === sockets from systemd ===

/// Returns the program as systemd starts it: the sockets are the descriptors from 3 on, and variables have their number
/// and the process id of their receiver.
fn activated(sockets: Vec<OwnedFd>, receiver: &str, config: &str) -> Command {
    let mut shell = Command::new("sh");
    let script = format!(
        r#"LISTEN_PID={receiver} LISTEN_FDS={} exec "$0" --web.systemd-socket --config.file "$1""#,
        sockets.len()
    );
    let mappings = (3..).zip(sockets).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
    shell.args(["-c", &script]).arg(program(&[]).get_program()).arg(config);
    shell.fd_mappings(mappings.collect()).unwrap();
    shell
}

#[test]
fn the_exporter_serves_on_all_sockets_that_systemd_passes() {
    let simulator = Simulator::start("");
    let directory = tempfile::tempdir().unwrap();
    let config =
        support::write_config(directory.path(), &format!("accounts:\n{}", simulator.account(None, TENANT)));
    let sockets = ["127.0.0.1:0", ipv6()].map(|address| TcpListener::bind(address).unwrap());
    let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap().to_string()).collect();
    let sockets = sockets.into_iter().map(OwnedFd::from).collect();
    let process = Process::start(&mut activated(sockets, "$$", config.to_str().unwrap()));
    assert_eq!(announced(&process.stderr, 2), addresses);
    for address in addresses {
        assert!(get(&format!("http://{address}/-/healthy")).contains("Healthy"));
    }
}

#[test]
fn without_a_socket_from_systemd_the_exporter_does_not_start() {
    let output = activated(Vec::new(), "$$", "/nowhere.yml").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text, "error: no socket activation file descriptors found\n");
}

// === concurrent scrapes ===

/// Connects with small receive buffers, so that most of the page stays in the server.
fn narrow(address: SocketAddr) -> TcpStream {
    let client = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    set_socket_recv_buffer_size(&client, 32 * 1024).unwrap();
    connect(&client, &address).unwrap();
    TcpStream::from(client)
}

#[test]
fn scrapes_beyond_max_requests_are_answered_with_503() {
    let directory = tempfile::tempdir().unwrap();
    let row = |n| {
        serde_json::json!({
            "service": "o365", "workload": format!("{n:04}"), "channel": "x".repeat(900), "percent": 50,
            "processed": "2026-11-20T00:00:00+00:00",
        })
    };
    let scenario = serde_json::json!({ "rows": (0..3000).map(row).collect::<Vec<_>>() });
    let file = directory.path().join("scenario.json");
    std::fs::write(&file, scenario.to_string()).unwrap();
    let simulator = Simulator::with_file(&file);
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    let exporter = Exporter::start(&config, &["--web.max-requests", "1"]);
    exporter.wait_for_polls(None, 1.0);

    // This client reads its response, though slowly, and so keeps its slot.
    let mut slow = narrow(exporter.url.trim_start_matches("http://").parse().unwrap());
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    slow.read_exact(&mut [0; 15]).unwrap();
    // The health endpoint answers meanwhile, and does not take that slot.
    let asked = Instant::now();
    assert!(support::get(&format!("{}/-/healthy", exporter.url)).contains("Healthy"));
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    let url = format!("{}/metrics", exporter.url);
    let other = std::thread::spawn(move || {
        let mut answer = support::agent().get(&url).call().unwrap();
        let mut text = answer.body_mut().read_to_string().unwrap();
        text.truncate(100);
        (answer.status().as_u16(), text)
    });
    eventually("an answer to the other scrape", || {
        slow.read_exact(&mut [0; 16 * 1024]).unwrap();
        other.is_finished().then_some(())
    });
    let refusal = "Limit of concurrent requests reached (1), try again later.\n".to_owned();
    assert_eq!(other.join().unwrap(), (503, refusal));
    drop(slow);
    exporter.wait_for("a scrape that is answered", |metrics| {
        let counted = metrics.value("promhttp_metric_handler_requests_total", &[("code", "503")])?;
        (counted >= 1.0).then_some(())
    });
}
