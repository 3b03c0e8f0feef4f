//! A server to attack, and the connections to it: plain or with TLS, and with little room for responses.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{Example, Listening};

/// Longer than any deadline of the server.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The size of a response: more than the system buffers for a peer that does not read.
const PADDING: usize = 150_000;
/// The size of an ordinary response.
const SMALL: usize = 20_000;
/// The credentials of alice with the password `sesame`.
const ALICE: &str = "Authorization: Basic YWxpY2U6c2VzYW1l\r\n";

/// A running example.
pub(crate) struct Target {
    pub(crate) example: Example,
    /// The certificate of the server, if it speaks TLS.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// The header that authenticates a request, with its line end.
    pub(crate) authorization: &'static str,
    /// The size of a response.
    pub(crate) padding: usize,
    /// The number of connections, which alternate between the listeners.
    connections: AtomicUsize,
    /// The directory of the web configuration file, which is read for every request.
    _directory: Option<tempfile::TempDir>,
}

impl Target {
    /// Starts an example without TLS and users, on addresses; `files` is the number of files that it may open.
    pub(crate) fn open(files: Option<u64>) -> Self {
        let padding = format!("--padding={PADDING}");
        let example = Example::start_with_files(Listening::Addresses, &[&padding], files);
        Self::new(example, PADDING, None, "", None)
    }

    /// Starts an example without TLS and users, whose responses are small.
    pub(crate) fn open_and_small() -> Self {
        let example = Example::start(Listening::Addresses, &[&format!("--padding={SMALL}")]);
        Self::new(example, SMALL, None, "", None)
    }

    /// Starts an example with TLS and a user, on sockets from systemd.
    pub(crate) fn protected() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let inline = |pem: String| serde_json::Value::from(pem).to_string();
        let web_config = format!(
            "tls_server_config: {{ cert: {}, key: {} }}\nbasic_auth_users: {{ alice: '{}' }}\n",
            inline(cert.pem()),
            inline(signing_key.serialize_pem()),
            bcrypt::hash("sesame", 4).unwrap()
        );
        let path = directory.path().join("web.yml");
        std::fs::write(&path, web_config).unwrap();
        let flags = [format!("--padding={PADDING}"), format!("--web.config.file={}", path.display())];
        let example = Example::start(Listening::Systemd, &flags.each_ref().map(String::as_str));
        Self::new(example, PADDING, Some(cert.der().clone()), ALICE, Some(directory))
    }

    /// Starts an example without TLS, with small responses and a user whose hash has this cost, on addresses.
    pub(crate) fn with_user(cost: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let web_config =
            format!("basic_auth_users: {{ alice: '{}' }}\n", bcrypt::hash("sesame", cost).unwrap());
        let path = directory.path().join("web.yml");
        std::fs::write(&path, web_config).unwrap();
        let flags = [format!("--padding={SMALL}"), format!("--web.config.file={}", path.display())];
        let example = Example::start(Listening::Addresses, &flags.each_ref().map(String::as_str));
        Self::new(example, SMALL, None, ALICE, Some(directory))
    }

    fn new(
        example: Example,
        padding: usize,
        certificate: Option<CertificateDer<'static>>,
        authorization: &'static str,
        directory: Option<tempfile::TempDir>,
    ) -> Self {
        let connections = AtomicUsize::new(0);
        Self { example, certificate, authorization, padding, connections, _directory: directory }
    }

    fn next_address(&self) -> SocketAddr {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        self.example.addresses[number % self.example.addresses.len()]
    }

    /// Connects, and sends nothing.
    pub(crate) fn tcp(&self) -> TcpStream {
        with_timeouts(TcpStream::connect(self.next_address()).unwrap())
    }

    /// Connects with receive buffers of a few kilobytes.
    pub(crate) fn narrow_tcp(&self) -> TcpStream {
        let address = self.next_address();
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let client = socket(family, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_recv_buffer_size(&client, 4096).unwrap();
        connect(&client, &address).unwrap();
        with_timeouts(client.into())
    }

    /// Connects for HTTP/1.1.
    pub(crate) fn http1(&self) -> Connection {
        self.over(self.tcp(), "http/1.1").unwrap()
    }

    /// Connects for HTTP/2, which needs TLS.
    pub(crate) fn http2(&self) -> Connection {
        self.over(self.tcp(), "h2").unwrap()
    }

    /// Performs the handshake, if there is TLS.
    pub(crate) fn over(&self, mut tcp: TcpStream, protocol: &str) -> io::Result<Connection> {
        if self.certificate.is_none() {
            return Ok(Connection::Plain(tcp));
        }
        let name = "localhost".try_into().unwrap();
        let mut tls = ClientConnection::new(Arc::new(self.tls(protocol)), name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        assert_eq!(tls.alpn_protocol(), Some(protocol.as_bytes()));
        Ok(Connection::Tls(Box::new(StreamOwned::new(tls, tcp))))
    }

    /// Returns the TLS configuration of a client.
    pub(crate) fn tls(&self, protocol: &str) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone().unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        config
    }

    /// Returns a whole request, after which the connection stays open.
    pub(crate) fn get(&self, path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", self.authorization)
    }

    /// Replaces the placeholders of [`super::malformed`] in a request.
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

    /// Asserts that a new connection is served.
    pub(crate) fn assert_healthy(&self) {
        let mut connection = self.http1();
        connection.write_all(self.get("/-/healthy").as_bytes()).unwrap();
        assert_eq!(connection.responses(1), [200]);
    }

    /// Returns a field of `/proc/…/status`, such as `VmRSS`, in MiB.
    pub(crate) fn memory(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.example.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    /// Returns the processor time that the server has used.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.example.process.id())).unwrap();
        // The name of the program is in parentheses, and may contain spaces.
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        // Linux counts hundredths of a second here, whatever its own clock does.
        Duration::from_millis(ticks * 10)
    }

    /// Returns the number of open files.
    pub(crate) fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.example.process.id())).unwrap().count()
    }
}

fn with_timeouts(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// A connection, with or without TLS.
pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Sends bytes, and fails if the server does not take them within `timeout`.
    pub(crate) fn send(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<()> {
        self.tcp().set_write_timeout(Some(timeout))?;
        self.write_all(bytes)?;
        self.flush()
    }

    /// Returns everything that arrives until the server closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.read_to_close().unwrap_or_else(|bytes| panic!("still open after {}", shown(&bytes)))
    }

    /// Returns everything that arrives, as an error if the server does not close the connection.
    pub(crate) fn read_to_close(&mut self) -> Result<Vec<u8>, Vec<u8>> {
        let mut bytes = Vec::new();
        match self.read_to_end(&mut bytes) {
            // rustls reports an error if the peer closes the connection without an alert.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(bytes),
            _ => Ok(bytes),
        }
    }

    /// Closes the sending side.
    pub(crate) fn finish(&self) {
        drop(self.tcp().shutdown(Shutdown::Write));
    }

    /// Reads a number of responses, and returns their statuses.
    pub(crate) fn responses(&mut self, count: usize) -> Vec<u16> {
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

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
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

/// Returns the statuses of the complete responses, all of which have a `Content-Length`.
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

/// Returns the beginning of `bytes` for a message.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes.get(..300).unwrap_or(bytes)).into_owned();
    if bytes.len() > 300 {
        write!(text, "… ({} bytes)", bytes.len()).unwrap();
    }
    text
}

/// Discards what has arrived, and returns whether the server has closed the connection.
pub(crate) fn is_closed(stream: &TcpStream) -> bool {
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
