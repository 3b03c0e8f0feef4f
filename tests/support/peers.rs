//! Peers for the client: servers with faults at the network level, a proxy, certificates, and a simulator behind TLS
//! that records its requests.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use partner_center_simulator::Scenario;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::runtime::{self, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

// === peers ===

/// A server on loopback that counts its connections.
pub struct Peer {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// The requests that the server has read.
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// Calls `behave` with each connection, in a thread of its own.
    pub fn new(behave: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, behave) = (Arc::<AtomicUsize>::default(), Arc::new(behave));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let behave = Arc::clone(&behave);
                // Errors are ignored, because the other side may close the connection at any time.
                thread::spawn(move || drop(behave(stream)));
            }
        });
        Self { address, connections, requests: Arc::default() }
    }

    /// Reads one request from each connection, answers it and closes the connection.
    pub fn answering(
        answer: impl Fn(&mut TcpStream, &str) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let read = Arc::clone(&requests);
        let peer = Self::new(move |mut stream| {
            let request = read_request(&mut stream)?;
            read.lock().unwrap().push(request.clone());
            answer(&mut stream, &request)
        });
        Self { requests, ..peer }
    }

    /// Like `answering`, within TLS; closes the connection without `close_notify`.
    pub fn answering_tls(config: ServerConfig, answer: &'static str) -> Self {
        let config = Arc::new(config);
        Self::new(move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(connection, stream);
            read_request(&mut stream)?;
            stream.write_all(answer.as_bytes())?;
            stream.flush()
        })
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// An address that refuses connections until the descriptor is dropped: it is bound, but nothing listens on it.
pub fn refusing() -> (SocketAddrV4, OwnedFd) {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = rustix::net::getsockname(&socket).unwrap().try_into().unwrap();
    (address, socket)
}

/// Reads one request, head and body.
fn read_request(stream: &mut impl Read) -> io::Result<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.extend(byte);
    }
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let start = request.len();
    request.resize(start + length.unwrap_or(0), 0);
    stream.read_exact(&mut request[start..])?;
    Ok(String::from_utf8_lossy(&request).into_owned())
}

// === faults ===

const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
const MANY_BYTES: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n";
const HALF_A_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Le";
const HALF_A_BODY: &[u8] = b"{\"items\": [";
const DRIP: Duration = Duration::from_millis(50);

pub fn silence(stream: &mut TcpStream, _: &str) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

pub fn half_a_head(stream: &mut TcpStream, _: &str) -> io::Result<()> {
    stream.write_all(HALF_A_HEAD)
}

pub fn half_a_body(stream: &mut TcpStream, _: &str) -> io::Result<()> {
    stream.write_all(&[MANY_BYTES, HALF_A_BODY].concat())
}

pub fn half_a_chunk(stream: &mut TcpStream, _: &str) -> io::Result<()> {
    stream.write_all(&[CHUNKED, b"400\r\n", HALF_A_BODY].concat())
}

pub fn reset_in_the_head(stream: &mut TcpStream, request: &str) -> io::Result<()> {
    half_a_head(stream, request)?;
    reset(stream)
}

pub fn reset_in_the_body(stream: &mut TcpStream, request: &str) -> io::Result<()> {
    half_a_body(stream, request)?;
    reset(stream)
}

/// Makes the next close send RST instead of FIN.
fn reset(stream: &TcpStream) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(stream, Some(Duration::ZERO))?)
}

/// Answers a TLS handshake like a web server that does not support TLS.
pub fn no_tls(mut stream: TcpStream) -> io::Result<()> {
    // The first message arrives in one piece.
    let _length = stream.read(&mut [0; 0x4000])?;
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
}

/// Sends a response without a body, with this status line and these headers.
pub fn says(head: String) -> impl Fn(&mut TcpStream, &str) -> io::Result<()> {
    move |stream, _| write!(stream, "HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

/// Sends back the whole request, secrets included, instead of an HTTP response.
pub fn echo(stream: &mut TcpStream, request: &str) -> io::Result<()> {
    stream.write_all(request.as_bytes())
}

pub fn dripping_head(stream: &mut TcpStream, _: &str) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nX-Slow: ")?;
    repeat(stream, b"z", DRIP)
}

pub fn dripping_body(stream: &mut TcpStream, _: &str) -> io::Result<()> {
    stream.write_all(MANY_BYTES)?;
    repeat(stream, b" ", DRIP)
}

/// Sends interim responses forever, and never a final one.
pub fn dripping_interim_answers(stream: &mut TcpStream, _: &str) -> io::Result<()> {
    repeat(stream, b"HTTP/1.1 102 Processing\r\n\r\n", DRIP)
}

pub fn endless_head(stream: &mut TcpStream, _: &str) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
    repeat(stream, &b"X-More: and more\r\n".repeat(1000), Duration::ZERO)
}

pub fn endless_body(stream: &mut TcpStream, _: &str) -> io::Result<()> {
    stream.write_all(CHUNKED)?;
    let chunk = [b"4000\r\n", &[b' '; 0x4000][..], b"\r\n"].concat();
    repeat(stream, &chunk, Duration::ZERO)
}

/// Two megabytes that decompress to more than 300.
pub fn gzip_bomb(stream: &mut TcpStream, _: &str) -> io::Result<()> {
    // A header, a block of fixed codes with one space, and then blocks of eight codes "repeat the last byte 258 times".
    const HEADER: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\xff";
    const SPACE: &[u8] = b"\x52\x18\x05";
    const SPACES: &[u8] = b"\xa3\x60\x14\x8c\x82\x51\x30\x0a\x46\xc1\x28\x18\x05";
    let bomb = [HEADER, SPACE, &SPACES.repeat(160_000)].concat();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len())?;
    stream.write_all(&bomb)
}

fn repeat(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> io::Result<()> {
    loop {
        stream.write_all(bytes)?;
        thread::sleep(pause);
    }
}

// === a proxy ===

/// Connects to the target of a CONNECT request and forwards bytes in both directions.
pub fn tunnel(stream: &mut TcpStream, request: &str) -> io::Result<()> {
    let target = request.split(' ').nth(1).unwrap_or_default();
    let mut server = TcpStream::connect(target)?;
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from, mut to) = (stream.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        drop(io::copy(&mut from, &mut to));
        to.shutdown(Shutdown::Write)
    });
    io::copy(&mut server, stream)?;
    stream.shutdown(Shutdown::Both)
}

// === certificates ===

/// A certificate authority for tests.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        Self::with(CertificateParams::default())
    }

    /// An authority whose own certificate is for `name`.
    pub fn of(name: &str) -> Self {
        Self::with(CertificateParams::new([name.to_owned()]).unwrap())
    }

    fn with(mut params: CertificateParams) -> Self {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// The certificate that a client has to trust.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server whose certificate is for `name` and expires at the end of the year `until`.
    pub fn server(&self, name: &str, until: i32) -> ServerConfig {
        self.server_from(name, 1975, until)
    }

    /// Like `server`, with a certificate that is valid from the beginning of the year `from`.
    pub fn server_from(&self, name: &str, from: i32, until: i32) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 12, 31));
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Self::config(certificate.der(), &key)
    }

    /// A server that presents the certificate of the authority.
    pub fn itself(&self) -> ServerConfig {
        Self::config(self.0.der(), self.0.key())
    }

    fn config(certificate: &CertificateDer<'static>, key: &KeyPair) -> ServerConfig {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap()
    }
}

// === the simulator behind TLS ===

/// A simulator that serves HTTPS at one address and HTTP at another one.
pub struct TlsSimulator {
    pub url: String,
    pub plain_url: String,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Parts>>>,
    _runtime: Runtime,
}

struct TlsListener {
    listener: tokio::net::TcpListener,
    acceptor: TlsAcceptor,
    connections: Arc<AtomicUsize>,
}

impl TlsSimulator {
    /// Starts it with the HTTP versions that ALPN offers: `h2`, `http/1.1`.
    pub fn new(mut config: ServerConfig, versions: &[&str]) -> Self {
        config.alpn_protocols = versions.iter().map(|version| version.as_bytes().to_vec()).collect();
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<Parts>>>::default());
        let log = Arc::clone(&requests);
        let recording = middleware::from_fn(move |request: Request, next: Next| {
            let (parts, body) = request.into_parts();
            log.lock().unwrap().push(parts.clone());
            next.run(Request::from_parts(parts, body))
        });
        let simulator = partner_center_simulator::Simulator::new(Scenario::default(), jiff::Timestamp::now);
        let router = simulator.router().layer(recording);
        let listen = || runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let (listener, plain) = (listen(), listen());
        let url = format!("https://{}", listener.local_addr().unwrap());
        let plain_url = format!("http://{}", plain.local_addr().unwrap());
        let tls = TlsListener {
            listener,
            acceptor: Arc::new(config).into(),
            connections: Arc::clone(&connections),
        };
        // axum serves HTTP/2 as well, because a feature of reqwest enables it in hyper-util.
        let behind_tls = router.clone().layer(middleware::map_request(async |mut request: Request| {
            request.headers_mut().insert("x-forwarded-proto", HeaderValue::from_static("https"));
            request
        }));
        runtime.spawn(axum::serve(tls, behind_tls).into_future());
        runtime.spawn(axum::serve(plain, router).into_future());
        Self { url, plain_url, connections, requests, _runtime: runtime }
    }

    /// The number of TLS connections.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<Parts> {
        self.requests.lock().unwrap().clone()
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<tokio::net::TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            self.connections.fetch_add(1, Ordering::SeqCst);
            // A client that fails the handshake is not served.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
