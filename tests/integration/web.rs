//! `--web.config.file` applies to every route and every command.
//!
//! The format of the file and its effects are tested in `crates/exporter-toolkit/tests/web_config.rs`.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::Signal;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support;
use crate::support::{Exporter, Process, STOP, Simulator, TENANT, eventually, listening_on, program, run};

/// The header with the credentials of alice, with the password `sesame`.
const ALICE: &str = "Authorization: Basic YWxpY2U6c2VzYW1l";
/// The header with the credentials of alice, with the password `wrong`.
const ALICE_WRONG: &str = "Authorization: Basic YWxpY2U6d3Jvbmc=";
/// TLS with a certificate and a key beside the web configuration file.
const TLS: &str = "tls_server_config: { cert_file: cert.pem, key_file: key.pem }\n";

fn hash() -> String {
    bcrypt::hash("sesame", 4).unwrap()
}

/// An exporter with a web configuration file in its directory.
struct Guarded {
    exporter: Exporter,
    address: String,
    // The exporter polls the simulator as long as it runs.
    _simulator: Simulator,
}

impl Guarded {
    fn start(web_config: &str) -> Self {
        let simulator = Simulator::start("");
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let web = directory.path().join("web.yml");
        std::fs::write(&web, web_config).unwrap();
        let new = Certificate::new();
        new.write(&directory.path().join("cert.pem"), &directory.path().join("key.pem"));
        let config = format!("accounts:\n{}", simulator.account(None, TENANT));
        let flags = ["--web.config.file", web.to_str().unwrap(), "--log.level", "debug"];
        let exporter = Exporter::start_in(directory, &config, &flags);
        let address = exporter.url.trim_start_matches("http://").to_owned();
        Self { exporter, address, _simulator: simulator }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.exporter.directory.path().join(name)
    }

    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path("cert.pem")).unwrap()
    }

    fn tls(&self) -> TlsStream {
        connect_tls(&self.address, &self.certificate()).unwrap()
    }

    /// Returns the log once it contains `wanted`.
    fn log_until(&self, wanted: &str) -> String {
        eventually(wanted, || Some(self.exporter.process.stderr.text()).filter(|log| log.contains(wanted)))
    }
}

/// A self-signed certificate for `localhost`.
struct Certificate {
    cert: String,
    key: String,
}

impl Certificate {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self { cert: cert.pem(), key: signing_key.serialize_pem() }
    }

    fn write(&self, cert: &std::path::Path, key: &std::path::Path) {
        std::fs::write(cert, &self.cert).unwrap();
        std::fs::write(key, &self.key).unwrap();
    }
}

// === a client that returns every response ===

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Connects and completes the handshake, and trusts only one certificate.
fn connect_tls(address: &str, trusted: &CertificateDer<'static>) -> std::io::Result<TlsStream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    connect_tls_as(address, config)
}

fn connect_tls_as(address: &str, config: ClientConfig) -> std::io::Result<TlsStream> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(support::TIMEOUT))?;
    let mut connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(connection, socket))
}

fn ask(mut stream: impl Read + Write, method: &str, path: &str, headers: &[&str]) -> Answer {
    let headers = headers.iter().map(|line| format!("{line}\r\n")).collect::<Vec<_>>().concat();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
        .unwrap();
    stream.flush().unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("not a response: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

// === serving ===

#[test]
fn a_web_configuration_file_protects_every_path_with_tls_a_password_and_headers() {
    let section = "partner_license_exporter: { health_without_authentication: true }\n";
    let headers = "http_server_config: { headers: { X-Frame-Options: deny } }\n";
    let users = format!("basic_auth_users: {{ alice: '{}' }}\n", hash());
    let guarded = Guarded::start(&format!("{TLS}{headers}{users}{section}"));
    let ask = |stream: TlsStream, method: &str, path: &str, headers: &[&str]| {
        let answer = ask(stream, method, path, headers);
        assert_eq!(answer.header("x-frame-options"), Some("deny"), "{method} {path}");
        answer
    };
    let log = guarded.log_until(&format!("msg=\"TLS is enabled.\" http2=true address={}", guarded.address));
    assert!(!log.contains("TLS is disabled."), "{log}");
    for path in ["/metrics", "/", "/no-such-path"] {
        for wrong in [&[][..], &[ALICE_WRONG]] {
            let answer = ask(guarded.tls(), "GET", path, wrong);
            assert_eq!((answer.status, answer.body.as_str()), (401, "Unauthorized\n"), "{path} {wrong:?}");
            assert_eq!(answer.header("www-authenticate"), Some("Basic"));
        }
        assert!([200, 404].contains(&ask(guarded.tls(), "GET", path, &[ALICE]).status), "{path}");
    }
    let answer = ask(guarded.tls(), "GET", "/metrics", &[ALICE]);
    assert!(answer.body.contains("partner_license_exporter_build_info{"), "{}", answer.body);
    for (headers, status) in [(&[][..], 401), (&[ALICE_WRONG], 401), (&[ALICE], 200)] {
        assert_eq!(ask(guarded.tls(), "POST", "/-/reload", headers).status, status);
    }
    assert_eq!(ask(guarded.tls(), "GET", "/-/healthy", &[]).status, 200);
    assert!([200, 503].contains(&ask(guarded.tls(), "GET", "/-/ready", &[]).status));
    let plain = self::ask(TcpStream::connect(&guarded.address).unwrap(), "GET", "/metrics", &[ALICE]);
    assert_eq!(plain.body, "Client sent an HTTP request to an HTTPS server.\n");
    assert_eq!(plain.status, 400);
    // Messages of the toolkit are logged, each with its source file in the toolkit.
    let valid = std::fs::read_to_string(guarded.path("web.yml")).unwrap();
    for text in ["nonsense", &valid] {
        std::fs::write(guarded.path("web.yml"), text).unwrap();
        let stream = connect_tls(&guarded.address, &guarded.certificate());
        assert_eq!(stream.is_ok(), text == valid);
    }
    let log = guarded.log_until("The web configuration is valid again");
    let line = log.lines().find(|line| line.contains("The web configuration is valid again")).unwrap();
    assert!(line.contains(" source=web_config/"), "{line}");
}

#[test]
fn sigterm_with_tls_completes_the_current_response_and_ends_with_status_0_within_5_seconds() {
    let mut guarded = Guarded::start(TLS);
    let silent = TcpStream::connect(&guarded.address).unwrap();
    let idle = guarded.tls();
    let mut scrape = guarded.tls();
    // The second request stays incomplete, because its last header line is missing.
    scrape
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n")
        .unwrap();
    scrape.flush().unwrap();
    let mut first = [0; 15];
    scrape.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    guarded.exporter.process.signal(Signal::TERM);
    guarded
        .exporter
        .process
        .stderr
        .wait_for("notice of the stop", |line| line.contains("Stopping").then_some(()));
    // The connection may be closed after the first response, which must be complete.
    drop(scrape.write_all(b"\r\n").and_then(|()| scrape.flush()));
    let mut rest = Vec::new();
    drop(scrape.read_to_end(&mut rest));
    let text = String::from_utf8_lossy(&rest);
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
    let length: usize = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())
        .expect("a length");
    assert!(body.len() >= length, "{} of {length} bytes arrived", body.len());
    let (status, took) = guarded.exporter.process.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took < STOP, "took {took:?}");
    drop((silent, idle));
}

// === starting ===

#[test]
fn an_invalid_web_configuration_file_is_refused_at_the_start_with_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let web = directory.path().join("web.yml");
    Certificate::new().write(&directory.path().join("cert.pem"), &directory.path().join("key.pem"));
    let flags = ["--web.listen-address", "127.0.0.1:0", "--web.config.file", web.to_str().unwrap()];
    std::fs::write(&web, TLS.replace(" }", ", cert_filse: x }")).unwrap();
    let (code, stdout, stderr) = run(&flags);
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    assert!(stderr.contains("tls_server_config.cert_filse: yaml: unknown key"), "{stderr}");
    let (code, _, stderr) = run(&["--web.config.file", "/nowhere.yml"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("cannot read /nowhere.yml: no such file or directory"), "{stderr}");
}

#[test]
fn check_validates_the_web_configuration_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (config, web) = (path("config.yml"), path("web.yml"));
    let account = "{ tenant_id: contoso.onmicrosoft.com, client_id: 11111111-1111-1111-1111-111111111111, \
                   client_secret: s, refresh_token: t }";
    std::fs::write(&config, format!("accounts: [{account}]\n")).unwrap();
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600)).unwrap();
    Certificate::new().write(path("cert.pem").as_ref(), path("key.pem").as_ref());
    std::fs::write(&web, TLS).unwrap();
    for command in ["check", "--config.check"] {
        let arguments = [command, "--config.file", &config, "--web.config.file", &web];
        let (code, stdout, stderr) = run(&arguments);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert_eq!(stdout, format!("{config}: valid, 1 account\n{web}: valid, with TLS\n"));
    }
    std::fs::write(&web, format!("{TLS}rate_limit: {{ interval: 1s }}\n")).unwrap();
    let (code, stdout, stderr) = run(&["check", "--config.file", &config, "--web.config.file", &web]);
    assert_eq!((code, stdout.lines().count()), (0, 2), "{stdout}");
    assert_eq!(
        stderr,
        "warning: rate_limit.burst: is 0, so every request is refused; write how many may come at once\n"
    );
    std::fs::write(&web, "basic_auth_users: { alice: clear }\nrate_limits: {}\n").unwrap();
    std::fs::write(&config, "accounts: []\n").unwrap();
    let (code, stdout, stderr) = run(&["check", "--config.file", &config, "--web.config.file", &web]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    for place in ["accounts:", "basic_auth_users.alice:", "rate_limits:"] {
        assert!(stderr.contains(place), "{place} is not in:\n{stderr}");
    }
    assert!(!stderr.contains("clear"), "{stderr}");
}

#[test]
fn the_example_is_valid_if_the_files_that_it_names_exist() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let example = std::fs::read_to_string("examples/web-config.yml").unwrap();
    std::fs::write(path("web.yml"), example).unwrap();
    let web = path("web.yml").to_str().unwrap().to_owned();
    let (code, _, stderr) = run(&["--web.listen-address", "127.0.0.1:0", "--web.config.file", &web]);
    assert_eq!(code, 2);
    assert!(stderr.contains("failed to read cert_file"), "{stderr}");
    Certificate::new().write(&path("server.crt"), &path("server.key"));
    let guarded = Guarded::start(
        &std::fs::read_to_string(&web).unwrap().replace("server.", path("server.").to_str().unwrap()),
    );
    std::fs::copy(path("server.crt"), guarded.path("cert.pem")).unwrap();
    let credentials = "Authorization: Basic cHJvbWV0aGV1czpleGFtcGxl";
    assert_eq!(ask(guarded.tls(), "GET", "/metrics", &[credentials]).status, 200);
    assert_eq!(ask(guarded.tls(), "GET", "/metrics", &[ALICE]).status, 401);

    // All commented-out keys are enabled: a sentence begins with one space, a key with none or two.
    let example = std::fs::read_to_string("examples/web-config.yml").unwrap();
    let lines = example.lines().map(|line| match line.split_once('#') {
        Some((indent, key))
            if indent.trim().is_empty() && (!key.starts_with(' ') || key.starts_with("  ")) =>
        {
            format!("{indent}{key}")
        }
        _ => line.to_owned(),
    });
    let full = lines.collect::<Vec<_>>().join("\n");
    for key in ["  client_ca_file:", "\nrate_limit:", "  burst:", "  health_without_authentication:"] {
        assert!(full.contains(key), "{key} is not in\n{full}");
    }
    std::fs::write(path("web.yml"), full).unwrap();
    std::fs::copy(path("server.crt"), path("clients.pem")).unwrap();
    let config = guarded.path("config.yml").to_str().unwrap().to_owned();
    let (code, stdout, stderr) = run(&["check", "--config.file", &config, "--web.config.file", &web]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
}

#[test]
fn the_demo_applies_the_web_configuration_file_and_ignores_an_empty_path() {
    let directory = tempfile::tempdir().unwrap();
    let web = directory.path().join("web.yml");
    Certificate::new().write(&directory.path().join("cert.pem"), &directory.path().join("key.pem"));
    std::fs::write(&web, format!("{TLS}basic_auth_users: {{ alice: '{}' }}\n", hash())).unwrap();
    let loopback =
        ["demo", "--web.listen-address", "127.0.0.1:0", "--simulator.listen-address", "127.0.0.1:0"];
    let file = ["--web.config.file", web.to_str().unwrap()];
    let demo = Process::start(&mut program(&[&loopback[..], &file].concat()));
    let address = listening_on(&demo.stderr);
    demo.stdout.wait_for("address", |line| line.contains(&format!("https://{address}/")).then_some(()));
    assert_eq!(ask(TcpStream::connect(&address).unwrap(), "GET", "/", &[]).status, 400);

    let demo = Process::start(&mut program(&[&loopback[..], &["--web.config.file", ""]].concat()));
    let address = listening_on(&demo.stderr);
    assert_eq!(ask(TcpStream::connect(&address).unwrap(), "GET", "/-/healthy", &[]).status, 200);
}
