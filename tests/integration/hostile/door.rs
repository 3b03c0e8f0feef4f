//! An exporter to attack, and how to get at it: by plain TCP, by TLS, with little room to read.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{Exporter, Simulator, TENANT, program};

/// Longer than any deadline that is waited for.
const PATIENCE: Duration = Duration::from_secs(15);
/// So many rows make a page that is larger than what the system keeps for a peer that does not read.
pub(crate) const ROWS: usize = 1000;
/// What alice with the password `sesame` sends.
const ALICE: &str = "Authorization: Basic YWxpY2U6c2VzYW1l\r\n";

/// A simulator of `ROWS` rows.
pub(crate) fn simulator() -> Simulator {
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

/// A running exporter.
pub(crate) struct Door {
    pub(crate) exporter: Exporter,
    pub(crate) address: SocketAddr,
    /// What its certificate is trusted by; none: it speaks no TLS.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// The header that lets one in, with its line's end.
    pub(crate) authorization: &'static str,
}

impl Door {
    /// Without TLS, open to everybody. `limit` is the number of files that it may have open.
    pub(crate) fn plain(simulator: &Simulator, limit: Option<u64>) -> Self {
        let mut command = program(&[]);
        if let Some(limit) = limit {
            let exporter = command.get_program().to_owned();
            command = std::process::Command::new("sh");
            command.args(["-c", &format!(r#"ulimit -n {limit} && exec "$0" "$@""#)]).arg(exporter);
        }
        command.args(["--log.level", "debug"]);
        let config = format!("accounts:\n{}", simulator.account(None, TENANT));
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Self::of(Exporter::start_by(command, directory, &config), None, "")
    }

    /// With TLS and a password.
    pub(crate) fn guarded(simulator: &Simulator) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let path = |name| directory.path().join(name);
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(path("cert.pem"), cert.pem()).unwrap();
        std::fs::write(path("key.pem"), signing_key.serialize_pem()).unwrap();
        let rules = format!(
            "tls_server_config: {{ cert_file: cert.pem, key_file: key.pem }}\n\
             basic_auth_users: {{ alice: '{}' }}\n",
            bcrypt::hash("sesame", 4).unwrap()
        );
        std::fs::write(path("web.yml"), rules).unwrap();
        let config = format!("accounts:\n{}", simulator.account(None, TENANT));
        let flags = ["--log.level", "debug", "--web.config.file", path("web.yml").to_str().unwrap()]
            .map(str::to_owned);
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let exporter = Exporter::start_in(directory, &config, &flags);
        Self::of(exporter, Some(cert.der().clone()), ALICE)
    }

    fn of(
        exporter: Exporter,
        certificate: Option<CertificateDer<'static>>,
        authorization: &'static str,
    ) -> Self {
        let address = exporter.url.trim_start_matches("http://").parse().unwrap();
        Self { exporter, address, certificate, authorization }
    }

    /// A connection on which nothing was said.
    pub(crate) fn tcp(&self) -> TcpStream {
        patient(TcpStream::connect(self.address).unwrap())
    }

    /// The same with room for a few kilobytes.
    pub(crate) fn narrow_tcp(&self) -> TcpStream {
        let client = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_recv_buffer_size(&client, 4096).unwrap();
        connect(&client, &self.address).unwrap();
        patient(client.into())
    }

    /// A connection on which HTTP/1.1 is spoken.
    pub(crate) fn http1(&self) -> Wire {
        self.over(self.tcp(), "http/1.1").unwrap()
    }

    /// A connection on which HTTP/2 is spoken; TLS only.
    pub(crate) fn http2(&self) -> Wire {
        self.over(self.tcp(), "h2").unwrap()
    }

    /// The same over a connection that exists.
    pub(crate) fn over(&self, mut tcp: TcpStream, protocol: &str) -> io::Result<Wire> {
        let Some(certificate) = &self.certificate else { return Ok(Wire::Plain(tcp)) };
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        let name = "localhost".try_into().unwrap();
        let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        assert_eq!(tls.alpn_protocol(), Some(protocol.as_bytes()));
        Ok(Wire::Tls(Box::new(StreamOwned::new(tls, tcp))))
    }

    /// A whole request, after which the connection stays open.
    pub(crate) fn get(&self, path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", self.authorization)
    }

    /// Takes a request as [`super::shapes`] has it written down.
    pub(crate) fn fill_in(&self, request: &str) -> Vec<u8> {
        request
            .replace("{healthy}", "GET /-/healthy{in}")
            .replace("{in}", " HTTP/1.1\r\nHost: localhost\r\n{auth}")
            .replace("{auth}", self.authorization)
            .replace("{chunked}", "Transfer-Encoding: chunked\r\n\r\n")
            .replace("{end}", "Connection: close\r\n\r\n")
            .replace("{next}", "GET /-/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .into_bytes()
    }

    /// Waits for what is to be scraped.
    pub(crate) fn wait_for_rows(&self) {
        let polled = |line: &str| line.contains("First poll succeeded").then_some(());
        self.exporter.process.stderr.wait_for("first poll", polled);
    }

    /// Is everything still as it should be, for somebody new?
    pub(crate) fn is_well(&self) {
        let mut wire = self.http1();
        wire.write_all(self.get("/-/healthy").as_bytes()).unwrap();
        assert_eq!(wire.answers(1), [200]);
    }

    /// From `/proc/…/status`, such as `VmRSS`, in MiB.
    pub(crate) fn memory(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.exporter.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    /// How many files it has open.
    pub(crate) fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.exporter.process.id())).unwrap().count()
    }
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A connection to write to and read from.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Sends what there is to send, as far as somebody takes it within `patience`.
    pub(crate) fn send(&mut self, bytes: &[u8], patience: Duration) -> io::Result<()> {
        self.tcp().set_write_timeout(Some(patience))?;
        self.write_all(bytes)?;
        self.flush()
    }

    /// Everything that arrives until the other side ends the connection, which it has to.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.end().unwrap_or_else(|bytes| panic!("no end after {}", shown(&bytes)))
    }

    /// Everything that arrives: an error if there is no end to it.
    pub(crate) fn end(&mut self) -> Result<Vec<u8>, Vec<u8>> {
        let mut bytes = Vec::new();
        match self.read_to_end(&mut bytes) {
            // TLS calls it an error if the other side says nothing at the end.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(bytes),
            _ => Ok(bytes),
        }
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) {
        drop(self.tcp().shutdown(Shutdown::Write));
    }

    /// Reads so many answers and returns their statuses.
    pub(crate) fn answers(&mut self, count: usize) -> Vec<u16> {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let found = statuses(&bytes);
            let length = if found.len() < count { self.read(&mut buffer).unwrap() } else { 0 };
            if length == 0 {
                return found;
            }
            bytes.extend_from_slice(buffer.get(..length).unwrap());
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// The statuses of the answers that are complete. All of ours say how long they are.
pub(crate) fn statuses(bytes: &[u8]) -> Vec<u16> {
    let mut left = bytes;
    let mut found = Vec::new();
    while let Some(end) = left.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&left[..end]).to_lowercase();
        let status = head.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_default();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let Some(rest) = left.get(end + 4 + length.unwrap_or(0)..) else { break };
        left = rest;
        found.push(status);
    }
    found
}

/// For a message: what bytes look like.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes.get(..300).unwrap_or(bytes)).into_owned();
    if bytes.len() > 300 {
        write!(text, "… ({} bytes)", bytes.len()).unwrap();
    }
    text
}

/// Has the other side ended the connection? What it sent before is thrown away.
pub(crate) fn is_over(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut buffer = [0; 16 * 1024];
    loop {
        match (&*stream).read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}
