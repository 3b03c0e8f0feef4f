//! Clients that do not read or do not send: ordinary scrapes succeed meanwhile, and the exporter stops in time.
//!
//! What the server does about each kind of client is tested in `crates/exporter-toolkit/tests/toolkit/hostile.rs`.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "real processes take real time")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Certificate, Client};
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt::set_socket_recv_buffer_size};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::support::{Exporter, STOP, Simulator, TENANT, account, eventually, get};

/// The number of rows, which make the page larger than what the system buffers for a client that does not read.
const ROWS: usize = 1000;
/// The scrape timeout of Prometheus.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);
/// The limit of the memory that all clients together may use, in MiB.
const MAX_MEMORY: f64 = 100.0;

fn simulator() -> Simulator {
    let row = |n| {
        serde_json::json!({
            "service": "o365", "workload": format!("{n:04}"), "channel": "x".repeat(150), "percent": 50,
            "processed": "2026-11-20T00:00:00+00:00",
        })
    };
    let scenario = serde_json::json!({ "rows": (0..ROWS).map(row).collect::<Vec<_>>() });
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(scenario.to_string().as_bytes()).unwrap();
    Simulator::with_file(file.path())
}

/// Starts an exporter, with TLS if there is a certificate, and waits for its rows.
fn start(simulator: &Simulator, tls: Option<&CertifiedKey<rcgen::KeyPair>>) -> (Exporter, SocketAddr) {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let path = |name| directory.path().join(name).to_str().unwrap().to_owned();
    let mut flags = vec!["--log.level".to_owned(), "debug".to_owned()];
    if let Some(CertifiedKey { cert, signing_key }) = tls {
        std::fs::write(path("cert.pem"), cert.pem()).unwrap();
        std::fs::write(path("key.pem"), signing_key.serialize_pem()).unwrap();
        let web = "tls_server_config: { cert_file: cert.pem, key_file: key.pem }\n";
        std::fs::write(path("web.yml"), web).unwrap();
        flags.extend(["--web.config.file".to_owned(), path("web.yml")]);
    }
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let exporter = Exporter::start_in(Arc::clone(&directory), &config, &flags);
    let polled = |line: &str| line.contains("First poll succeeded").then_some(());
    exporter.process.stderr.wait_for("first poll", polled);
    let address = exporter.url.trim_start_matches("http://").parse().unwrap();
    (exporter, address)
}

/// Connects with receive buffers of a few kilobytes.
fn narrow(address: SocketAddr) -> TcpStream {
    let client = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    set_socket_recv_buffer_size(&client, 4096).unwrap();
    connect(&client, &address).unwrap();
    client.into()
}

/// Requests the metrics and reads only the beginning of the response.
fn slow_reader(address: SocketAddr) -> TcpStream {
    let mut client = narrow(address);
    client.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 15]).unwrap();
    client
}

/// Returns a field of `/proc/…/status` in MiB.
fn memory(exporter: &Exporter, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", exporter.process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

#[test]
fn ordinary_scrapes_succeed_while_hundreds_of_clients_do_not_read_or_do_not_send() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let simulator = simulator();
    let (exporter, address) = start(&simulator, None);
    let files = || std::fs::read_dir(format!("/proc/{}/fd", exporter.process.id())).unwrap().count();
    let rows =
        || get(&format!("{}/metrics", exporter.url)).matches("\npartner_license_usage_percent{").count();
    let scrape = || {
        let began = Instant::now();
        assert_eq!(rows(), ROWS);
        assert!(began.elapsed() < SCRAPE_TIMEOUT, "took {:?}", began.elapsed());
    };
    eventually("the rows", || (rows() == ROWS).then_some(()));
    let (files_before, memory_before) = (files(), memory(&exporter, "VmRSS"));
    // There are more idle connections than the exporter has slots, and more readers than concurrent requests.
    let idle: Vec<_> = (0..600).map(|_| TcpStream::connect(address).unwrap()).collect();
    let readers: Vec<_> = (0..100)
        .map(|_| {
            let mut client = narrow(address);
            client.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            client
        })
        .collect();
    for _ in 0..20 {
        scrape();
        assert!(get(&format!("{}/-/healthy", exporter.url)).contains("Healthy"));
    }
    drop((idle, readers));
    scrape();
    eventually("the closing of all connections", || (files() <= files_before + 1).then_some(()));
    let peak = memory(&exporter, "VmHWM");
    assert!(peak < memory_before + MAX_MEMORY, "from {memory_before:.0} MiB of memory to {peak:.0}");
}

#[test]
fn readers_of_the_customers_as_csv_that_are_slow_together_take_little_memory() {
    const READERS: usize = 30;
    let simulator = Simulator::start("{ rows: portfolio, customers: { count: 1700, products: 1 } }");
    let more = ", collections: { customers: { enabled: true } }";
    let config = format!("accounts:\n{}", account(None, TENANT, &simulator.url, &simulator.url, more));
    let exporter = Exporter::start(&config, &[]);
    let address = exporter.url.trim_start_matches("http://").parse().unwrap();
    exporter.wait_for("the customers", |metrics| {
        metrics.named("partner_license_customer_qualified_licenses").next().map(drop)
    });
    let whole = get(&format!("{}/customers.csv", exporter.url));
    let size = whole.len() >> 20;
    assert!(size >= 3, "{size} MiB are too few to see them");
    let before = memory(&exporter, "VmRSS");
    let mut readers: Vec<_> = (0..READERS)
        .map(|_| {
            let mut client = narrow(address);
            client.write_all(b"GET /customers.csv HTTP/1.0\r\n\r\n").unwrap();
            client.read_exact(&mut [0; 15]).unwrap();
            client
        })
        .collect();
    assert_eq!(get(&format!("{}/customers.csv", exporter.url)), whole);
    let held = memory(&exporter, "VmRSS") - before;
    assert!(held < 40.0, "{READERS} readers of {size} MiB hold {held:.0} MiB");
    let mut rest = String::new();
    readers[0].read_to_string(&mut rest).unwrap();
    let (_, body) = rest.split_once("\r\n\r\n").unwrap();
    assert!(body == whole, "a slow reader gets the same");
}

#[test]
fn the_exporter_stops_within_5_seconds_despite_open_connections() {
    let simulator = simulator();
    let tls = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for tls in [None, Some(&tls)] {
        let (mut exporter, address) = start(&simulator, tls);
        // One is silent, and one is within a request.
        let silent = TcpStream::connect(address).unwrap();
        let mut partial = TcpStream::connect(address).unwrap();
        partial.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        // One is idle, and one is within a response; with TLS they speak HTTP/2.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = || {
            let client = Client::builder()
                .no_proxy()
                .resolve("localhost", address)
                .http2_initial_stream_window_size(1024);
            let Some(CertifiedKey { cert, .. }) = tls else { return client.build().unwrap() };
            client.tls_certs_only([Certificate::from_der(cert.der()).unwrap()]).build().unwrap()
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = |path: &str| format!("{scheme}://localhost:{}{path}", address.port());
        let (idle, reader) = (client(), client());
        let (answer, unread) = runtime.block_on(async {
            let answer = idle.get(url("/-/healthy")).send().await.unwrap();
            (answer.text().await.unwrap(), reader.get(url("/metrics")).send().await.unwrap())
        });
        assert!(answer.contains("Healthy"));
        let version = if tls.is_some() { reqwest::Version::HTTP_2 } else { reqwest::Version::HTTP_11 };
        assert_eq!((unread.status().as_u16(), unread.version()), (200, version));
        let slow = tls.is_none().then(|| slow_reader(address));
        exporter.process.signal(Signal::TERM);
        let (status, took) = exporter.process.wait();
        assert_eq!(status.code(), Some(0));
        assert!(took < STOP, "took {took:?}");
        drop((silent, partial, idle, unread, slow, runtime));
    }
}
