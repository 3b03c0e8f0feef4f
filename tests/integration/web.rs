//! `--web.config.file`: the real program over real sockets, with TLS, passwords and headers.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::Signal;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support;
use crate::support::{Exporter, Process, Simulator, TENANT, eventually, listening_on, program, run};

/// `Authorization` of alice with the password `sesame`.
const ALICE: &str = "Authorization: Basic YWxpY2U6c2VzYW1l";
/// The same with the password `wrong`.
const ALICE_WRONG: &str = "Authorization: Basic YWxpY2U6d3Jvbmc=";
/// bob, with the password `sesame`.
const BOB: &str = "Authorization: Basic Ym9iOnNlc2FtZQ==";
/// A certificate and a key next to the file.
const TLS: &str = "tls_server_config: { cert_file: cert.pem, key_file: key.pem }\n";

/// What is logged when all is well again.
const MENDED: &str = "The web configuration is valid again";

fn hash() -> String {
    bcrypt::hash("sesame", 4).unwrap()
}

/// An exporter with a web configuration in its directory.
struct Guarded {
    exporter: Exporter,
    address: String,
    // It is polled as long as it lives.
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

    /// Replaces the web configuration.
    fn write(&self, web_config: &str) {
        std::fs::write(self.path("web.yml"), web_config).unwrap();
    }

    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path("cert.pem")).unwrap()
    }

    fn tls(&self) -> TlsStream {
        connect_tls(&self.address, &self.certificate()).unwrap()
    }

    fn get(&self, path: &str, headers: &[&str]) -> Answer {
        ask(TcpStream::connect(&self.address).unwrap(), "GET", path, headers)
    }

    /// What was logged, once it contains `wanted`.
    fn log_until(&self, wanted: &str) -> String {
        eventually(wanted, || Some(self.exporter.process.stderr.text()).filter(|log| log.contains(wanted)))
    }
}

/// A certificate of our own making, for `localhost`.
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

// === a client that hides nothing ===

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

/// Connects and completes the handshake, trusting that one certificate.
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
    socket.set_read_timeout(Some(support::PATIENCE))?;
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
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer but {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

// === TLS ===

#[test]
fn a_scrape_over_tls_gets_the_metrics() {
    let guarded = Guarded::start(TLS);
    let answer = ask(guarded.tls(), "GET", "/metrics", &[]);
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("partner_license_exporter_build_info{"));
    let log = guarded.log_until(&format!("msg=\"TLS is enabled.\" http2=true address={}", guarded.address));
    assert!(!log.contains("TLS is disabled."), "{log}");
}

#[test]
fn certificate_and_key_may_be_written_into_the_file() {
    let new = Certificate::new();
    let inline = |pem: &str| serde_json::to_string(pem).unwrap();
    let guarded = Guarded::start(&format!(
        "tls_server_config: {{ cert: {}, key: {} }}\n",
        inline(&new.cert),
        inline(&new.key)
    ));
    std::fs::write(guarded.path("cert.pem"), &new.cert).unwrap();
    assert_eq!(ask(guarded.tls(), "GET", "/-/healthy", &[]).status, 200);
}

#[test]
fn only_the_versions_between_min_version_and_max_version_are_spoken() {
    let guarded = Guarded::start(&TLS.replace(" }", ", min_version: TLS13 }"));
    let connect = |version: &'static rustls::SupportedProtocolVersion| {
        let mut roots = RootCertStore::empty();
        roots.add(guarded.certificate()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        connect_tls_as(&guarded.address, config)
    };
    let refused = connect(&rustls::version::TLS12).unwrap_err();
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
    assert!(connect(&rustls::version::TLS13).is_ok());
    guarded.write(&TLS.replace(" }", ", max_version: TLS12 }"));
    assert!(connect(&rustls::version::TLS13).is_err());
    assert!(connect(&rustls::version::TLS12).is_ok());
}

#[test]
fn a_certificate_that_changes_on_disk_is_that_of_the_next_connection() {
    let guarded = Guarded::start(TLS);
    let (old, mut open) = (guarded.certificate(), guarded.tls());
    let new = Certificate::new();
    new.write(&guarded.path("cert.pem"), &guarded.path("key.pem"));
    assert_ne!(old, guarded.certificate());
    let after = guarded.tls();
    assert_eq!(after.conn.peer_certificates().unwrap(), [guarded.certificate()]);
    assert!(connect_tls(&guarded.address, &old).is_err());
    assert_eq!(ask(&mut open, "GET", "/-/healthy", &[]).status, 200, "open connections keep the old one");
}

#[test]
fn a_key_of_another_certificate_ends_new_connections_until_it_is_mended() {
    let guarded = Guarded::start(TLS);
    let mut open = guarded.tls();
    let good = std::fs::read(guarded.path("key.pem")).unwrap();
    std::fs::write(guarded.path("key.pem"), Certificate::new().key).unwrap();
    for _ in 0..3 {
        assert!(connect_tls(&guarded.address, &guarded.certificate()).is_err());
    }
    assert_eq!(ask(&mut open, "GET", "/-/healthy", &[]).status, 200);
    std::fs::write(guarded.path("key.pem"), good).unwrap();
    assert_eq!(ask(guarded.tls(), "GET", "/-/healthy", &[]).status, 200);
    let log = guarded.log_until(MENDED);
    assert_eq!(log.matches("Unable to parse configuration").count(), 1, "once for each change:\n{log}");
    assert!(log.contains("the private key is not that of the certificate"), "{log}");
    assert!(!log.contains("PRIVATE"), "{log}");
}

#[test]
fn tls_is_neither_switched_off_nor_on_while_the_program_runs() {
    let encrypted = Guarded::start(TLS);
    encrypted.write("");
    assert!(connect_tls(&encrypted.address, &encrypted.certificate()).is_err());
    assert_eq!(encrypted.get("/metrics", &[]).status, 400);
    encrypted.log_until("TLS cannot be turned off while the program runs");

    let plain = Guarded::start("");
    plain.log_until("TLS is disabled.");
    plain.write(TLS);
    assert_eq!(plain.get("/metrics", &[]).status, 200);
    plain.log_until("tls_server_config: counts from the next start on; until then it is as it was");
}

#[test]
fn plain_http_on_the_tls_port_is_answered_with_400() {
    let guarded = Guarded::start(TLS);
    let answer = guarded.get("/metrics", &[]);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body, "Client sent an HTTP request to an HTTPS server.\n");
}

#[test]
fn clients_that_connect_and_say_nothing_keep_nobody_waiting() {
    let guarded = Guarded::start(TLS);
    let mut silent: Vec<_> = (0..50).map(|_| TcpStream::connect(&guarded.address).unwrap()).collect();
    // Half of them begin a handshake that they do not go on with.
    for stream in silent.iter_mut().step_by(2) {
        stream.write_all(&[22, 3, 1]).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(ask(guarded.tls(), "GET", "/metrics", &[]).status, 200);
    }
    // They are still waited for.
    for stream in &silent {
        stream.set_nonblocking(true).unwrap();
        assert_eq!((&*stream).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    // Until their time is over.
    let mut first = silent.swap_remove(0);
    first.set_nonblocking(false).unwrap();
    first.set_read_timeout(Some(support::PATIENCE)).unwrap();
    assert_eq!(first.read(&mut [0]).unwrap(), 0);
}

#[test]
fn sigterm_with_tls_answers_what_is_in_flight_and_ends_with_0_within_5_seconds() {
    let mut guarded = Guarded::start(TLS);
    let silent = TcpStream::connect(&guarded.address).unwrap();
    let idle = guarded.tls();
    let mut scrape = guarded.tls();
    // The second request is under way for as long as we like: its last header line is still to come.
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
    // The connection may be closed after the first answer; what was answered must be whole.
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
    assert!(took < Duration::from_secs(5), "took {took:?}");
    drop((silent, idle));
}

// === passwords and headers ===

#[test]
fn with_users_everything_is_behind_a_password() {
    let guarded = Guarded::start(&format!("basic_auth_users: {{ alice: '{}' }}\n", hash()));
    for path in ["/metrics", "/", "/-/healthy", "/-/ready", "/no-such-path"] {
        for wrong in [&[][..], &[ALICE_WRONG], &[BOB], &["Authorization: Bearer x"]] {
            let answer = guarded.get(path, wrong);
            assert_eq!((answer.status, answer.body.as_str()), (401, "Unauthorized\n"), "{path} {wrong:?}");
            assert_eq!(answer.header("www-authenticate"), Some("Basic"));
            assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        }
        assert!([200, 503, 404].contains(&guarded.get(path, &[ALICE]).status), "{path}");
    }
    for (headers, status) in [(&[][..], 401), (&[ALICE_WRONG], 401), (&[ALICE], 200)] {
        let stream = TcpStream::connect(&guarded.address).unwrap();
        assert_eq!(ask(stream, "POST", "/-/reload", headers).status, status);
    }
    assert!(guarded.get("/metrics", &[ALICE]).body.contains("partner_license_exporter_build_info{"));
}

#[test]
fn passwords_work_over_tls() {
    let guarded = Guarded::start(&format!("{TLS}basic_auth_users: {{ alice: '{}' }}\n", hash()));
    assert_eq!(ask(guarded.tls(), "GET", "/metrics", &[]).status, 401);
    assert_eq!(ask(guarded.tls(), "GET", "/metrics", &[ALICE]).status, 200);
}

#[test]
fn users_that_change_on_disk_change_without_a_restart() {
    let guarded = Guarded::start("");
    assert_eq!(guarded.get("/metrics", &[]).status, 200, "an empty file lets everybody in");
    guarded.write(&format!("basic_auth_users: {{ alice: '{}' }}\n", hash()));
    assert_eq!(guarded.get("/metrics", &[]).status, 401);
    assert_eq!(guarded.get("/metrics", &[ALICE]).status, 200);
    guarded.write(&format!("basic_auth_users: {{ bob: '{}' }}\n", hash()));
    assert_eq!(guarded.get("/metrics", &[ALICE]).status, 401);
    assert_eq!(guarded.get("/metrics", &[BOB]).status, 200);
}

#[test]
fn a_file_that_became_invalid_lets_nobody_in_until_it_is_mended() {
    let good = format!("basic_auth_users: {{ alice: '{}' }}\n", hash());
    let guarded = Guarded::start(&good);
    let refused = || {
        for path in ["/metrics", "/-/healthy", "/no-such-path"] {
            let answer = guarded.get(path, &[ALICE]);
            assert_eq!((answer.status, answer.body.as_str()), (500, "Internal Server Error\n"), "{path}");
        }
    };
    assert_eq!(guarded.get("/metrics", &[ALICE]).status, 200);
    guarded.write("basic_auth_users: { alice: [clear] }\n");
    refused();
    refused();
    std::fs::remove_file(guarded.path("web.yml")).unwrap();
    refused();
    guarded.write(&good);
    assert_eq!(guarded.get("/metrics", &[ALICE]).status, 200);
    let log = guarded.log_until(MENDED);
    assert_eq!(log.matches("Unable to parse configuration").count(), 2, "once for each change:\n{log}");
    assert!(!log.contains("clear") && !log.contains("$2"), "{log}");
    // Events of the toolkit are among the lines, each with its place in the toolkit.
    let mended = log.lines().find(|line| line.contains(MENDED)).unwrap();
    assert!(mended.contains(" source=web_config/"), "{mended}");
}

#[test]
fn the_configured_headers_are_on_every_answer() {
    let headers = [
        ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "deny"),
        ("X-XSS-Protection", "1"),
        ("Content-Security-Policy", "default-src 'self'"),
    ];
    let lines = headers.map(|(name, value)| format!("    {name}: {value}\n")).concat();
    let users = format!("basic_auth_users: {{ alice: '{}' }}\n", hash());
    let guarded = Guarded::start(&format!("http_server_config:\n  headers:\n{lines}{users}"));
    for (path, credentials) in [
        ("/metrics", &[ALICE][..]),
        ("/", &[ALICE]),
        ("/-/reload", &[ALICE]),
        ("/no-such-path", &[ALICE]),
        ("/metrics", &[ALICE_WRONG]),
        ("/metrics", &[]),
    ] {
        let answer = guarded.get(path, credentials);
        for (name, value) in headers {
            assert_eq!(answer.header(name), Some(value), "{path}: {}", answer.head);
        }
    }
}

// === starting ===

#[test]
fn what_is_not_of_the_format_is_refused_at_the_start_by_name() {
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
fn check_checks_the_web_configuration_too() {
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
fn the_example_is_valid_where_the_files_it_names_exist() {
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

    // With everything in it that is commented out: a sentence has one space before it, a key none or two.
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
fn the_demo_obeys_it_as_well_and_an_empty_name_is_none() {
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

#[test]
fn no_hash_no_password_and_no_key_is_ever_logged_or_served() {
    let hash = hash();
    let guarded = Guarded::start(&format!("{TLS}basic_auth_users: {{ alice: '{hash}' }}\n"));
    let mut shown = String::new();
    for path in ["/metrics", "/"] {
        for headers in [&[ALICE][..], &[ALICE_WRONG], &[]] {
            shown += &ask(guarded.tls(), "GET", path, headers).body;
        }
    }
    // Invalid in a way whose report could quote what is near.
    guarded.write(&format!("basic_auth_users: {{ alice: '{hash}', '{hash}': alice, alice: [{hash}] }}\n"));
    assert!(connect_tls(&guarded.address, &guarded.certificate()).is_err());
    guarded.write(&format!("basic_auth_users: {{ '{hash}': alice, bob: [{hash}] }}\n"));
    assert!(connect_tls(&guarded.address, &guarded.certificate()).is_err());
    guarded.write(TLS);
    assert_eq!(ask(guarded.tls(), "GET", "/-/healthy", &[]).status, 200);
    shown += &guarded.log_until(MENDED);
    assert_eq!(shown.matches("Unable to parse configuration").count(), 2, "{shown}");
    let key = std::fs::read_to_string(guarded.path("key.pem")).unwrap();
    let secret_line = key.lines().nth(1).unwrap();
    for secret in [hash.as_str(), "$2b$", "sesame", "YWxpY2U6c2VzYW1l", secret_line] {
        assert!(!shown.contains(secret), "{secret} is shown in:\n{shown}");
    }
}
