//! HTTP and TLS clients, which report errors with the messages of Go.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;

use aws_lc_rs::agreement::{ECDH_P521, EphemeralPrivateKey, PublicKey, UnparsedPublicKey, agree_ephemeral};
use aws_lc_rs::rand::SystemRandom;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::crypto::{
    ActiveKeyExchange, CipherSuiteCommon, CryptoProvider, GetRandomFailed, SharedSecret, SupportedKxGroup,
};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CipherSuite, ClientConfig, ClientConnection, HandshakeKind, NamedGroup, PeerMisbehaved,
    RootCertStore, SignatureScheme, StreamOwned, SupportedCipherSuite, Tls12CipherSuite,
};

use crate::support;

use super::certificates::Pair;

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// The credentials of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Login(pub(crate) Option<(&'static str, &'static str)>);

impl Login {
    /// Returns the header with the credentials, and its line end.
    pub(crate) fn header(self) -> String {
        self.0.map_or_else(String::new, |(user, password)| {
            format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{user}:{password}")))
        })
    }
}

/// Sends GET without TLS.
pub(crate) fn get(address: &str, path: &str, login: Login) -> Result<Response, String> {
    let stream = connect(address).map_err(|error| error.to_string())?;
    request(stream, "GET", path, &login.header()).map_err(|error| error.to_string())
}

pub(crate) fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(support::TIMEOUT))?;
    Ok(stream)
}

/// Sends a request with some header lines, and reads the response until the connection is closed.
pub(crate) fn request(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &str,
) -> io::Result<Response> {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    // A server that refuses the connection may have sent a response nevertheless.
    drop(stream.write_all(request.as_bytes()).and_then(|()| stream.flush()));
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("no response"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status in {head:?}")))?;
    Ok(Response { status, head: head.to_owned(), body: body.to_owned() })
}

/// A TLS client.
pub(crate) struct Tls(pub(crate) ClientConfig);

/// The outcome of a handshake.
pub(crate) struct Agreed {
    pub(crate) suite: CipherSuite,
    /// The key exchange group; a resumed session has none.
    pub(crate) group: Option<NamedGroup>,
    pub(crate) kind: HandshakeKind,
}

impl Tls {
    /// Trusts one authority, and offers what `provider` supports.
    pub(crate) fn with(
        trusted: CertificateDer<'static>,
        client: Option<&Pair>,
        provider: CryptoProvider,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(trusted).unwrap();
        let has_tls12 = provider.cipher_suites.iter().any(|suite| suite.tls13().is_none());
        let has_tls13 = provider.cipher_suites.iter().any(|suite| suite.tls13().is_some());
        let mut versions = vec![&rustls::version::TLS13, &rustls::version::TLS12];
        versions.retain(|version| match version.version {
            rustls::ProtocolVersion::TLSv1_3 => has_tls13,
            _ => has_tls12,
        });
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)
            .unwrap()
            .with_root_certificates(roots);
        Self(match client {
            None => config.with_no_client_auth(),
            Some(pair) => config.with_client_auth_cert(vec![pair.der.clone()], pair.private_key()).unwrap(),
        })
    }

    pub(crate) fn new(trusted: CertificateDer<'static>, client: Option<&Pair>) -> Self {
        Self::with(trusted, client, default_provider())
    }

    /// Presents the certificate of one pair, and signs with the key of another.
    pub(crate) fn impostor(trusted: CertificateDer<'static>, shown: &Pair, own: &Pair) -> Self {
        let mut client = Self::new(trusted, None);
        let key = default_provider().key_provider.load_private_key(own.private_key()).unwrap();
        let stolen = CertifiedKey::new(vec![shown.der.clone()], key);
        client.0.client_auth_cert_resolver = Arc::new(Impostor(Arc::new(stolen)));
        client
    }

    /// Performs the handshake.
    pub(crate) fn connect(&self, address: &str) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut socket = connect(address)?;
        let name = "localhost".try_into().unwrap();
        let mut connection = ClientConnection::new(Arc::new(self.0.clone()), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(connection, socket))
    }

    /// Returns the protocol that is negotiated by ALPN.
    pub(crate) fn protocol(&self, address: &str) -> Option<Vec<u8>> {
        self.connect(address).unwrap().conn.alpn_protocol().map(<[u8]>::to_vec)
    }

    /// Sends GET over TLS.
    pub(crate) fn get(&self, address: &str, path: &str, login: Login) -> Result<(Response, Agreed), String> {
        let mut socket =
            First { stream: connect(address).map_err(|error| error.to_string())?, bytes: Vec::new() };
        let name = "localhost".try_into().unwrap();
        let mut connection = ClientConnection::new(Arc::new(self.0.clone()), name).unwrap();
        let stream = rustls::Stream::new(&mut connection, &mut socket);
        let response = request(stream, "GET", path, &login.header());
        let response = response.map_err(|error| error_text(&error, &socket.bytes))?;
        let agreed = Agreed {
            suite: connection.negotiated_cipher_suite().unwrap().suite(),
            group: connection.negotiated_key_exchange_group().map(SupportedKxGroup::name),
            kind: connection.handshake_kind().unwrap(),
        };
        Ok((response, agreed))
    }
}

/// Returns the message of a Go client for an error.
fn error_text(error: &io::Error, first: &[u8]) -> String {
    if first == b"HTTP/" {
        return "http: server gave HTTP response to HTTPS client".to_owned();
    }
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::AlertReceived(alert)) => format!("remote error: tls: {}", alert_text(*alert)),
        _ => error.to_string(),
    }
}

fn alert_text(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::HandshakeFailure => "handshake failure".to_owned(),
        AlertDescription::BadCertificate => "bad certificate".to_owned(),
        AlertDescription::ProtocolVersion => "protocol version not supported".to_owned(),
        AlertDescription::CertificateRequired => "certificate required".to_owned(),
        AlertDescription::UnknownCA => "unknown certificate authority".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A stream that keeps the first bytes that it reads.
struct First {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Read for First {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        let missing = 5 - self.bytes.len();
        self.bytes.extend(buffer[..count].iter().take(missing));
        Ok(count)
    }
}

impl Write for First {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[derive(Debug)]
struct Impostor(Arc<CertifiedKey>);

impl ResolvesClientCert for Impostor {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

// === what rustls does not support ===

/// Begins the handshake of a client that supports at most TLS 1.1, and returns its outcome.
pub(crate) fn hello_of_tls11(address: &str) -> Result<(), String> {
    let suites = [0xc0, 0x13, 0xc0, 0x14, 0x00, 0x2f, 0x00, 0x35];
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend([0, 8]);
    hello.extend(suites);
    hello.extend([1, 0]);
    // These are supported_groups with P-256, and ec_point_formats with the uncompressed one.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0];
    hello.extend([0, u8::try_from(extensions.len()).unwrap()]);
    hello.extend(extensions);
    let length = u8::try_from(hello.len()).unwrap();
    let record = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length], &hello[..]].concat();
    let handshake = || {
        let mut stream = connect(address)?;
        stream.write_all(&record)?;
        let mut response = [0; 7];
        stream.read_exact(&mut response)?;
        Ok(response)
    };
    match handshake().map_err(|error: io::Error| error.to_string())? {
        [21, 3, _, 0, 2, 2, alert] => {
            Err(format!("remote error: tls: {}", alert_text(AlertDescription::from(alert))))
        }
        [22, ..] => Ok(()),
        other => Err(format!("neither a handshake nor an alert: {other:?}")),
    }
}

/// Returns a provider with suites of TLS 1.2 in the client's order. Those that rustls does not support are offered
/// only.
pub(crate) fn only_suites(suites: &[CipherSuite]) -> CryptoProvider {
    let known = |suite| {
        let all = [
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ];
        all.into_iter().find(|one| one.suite() == suite).unwrap_or_else(|| offered_only(suite))
    };
    let cipher_suites = suites.iter().map(|suite| known(*suite)).collect();
    CryptoProvider { cipher_suites, ..default_provider() }
}

fn offered_only(suite: CipherSuite) -> SupportedCipherSuite {
    let SupportedCipherSuite::Tls12(like) = cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 else {
        unreachable!("the suite is of TLS 1.2");
    };
    let (hash_provider, confidentiality_limit) =
        (like.common.hash_provider, like.common.confidentiality_limit);
    SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
        common: CipherSuiteCommon { suite, hash_provider, confidentiality_limit },
        prf_provider: like.prf_provider,
        kx: like.kx,
        sign: like.sign,
        aead_alg: like.aead_alg,
    })))
}

/// Returns a provider with one key exchange group.
pub(crate) fn only_group(group: &'static dyn SupportedKxGroup) -> CryptoProvider {
    CryptoProvider { kx_groups: vec![group], ..default_provider() }
}

/// P-521, independent of the server's implementation so that they do not share a mistake.
#[derive(Debug)]
pub(crate) struct P521;

impl SupportedKxGroup for P521 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, rustls::Error> {
        let own =
            EphemeralPrivateKey::generate(&ECDH_P521, &SystemRandom::new()).map_err(|_| GetRandomFailed)?;
        let point = own.compute_public_key().map_err(|_| GetRandomFailed)?;
        Ok(Box::new(P521Exchange(own, point)))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::from(25)
    }
}

struct P521Exchange(EphemeralPrivateKey, PublicKey);

impl ActiveKeyExchange for P521Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, rustls::Error> {
        assert_eq!((peer.len(), peer[0]), (1 + 2 * 66, 4), "not an uncompressed point");
        let bad = PeerMisbehaved::InvalidKeyShare.into();
        agree_ephemeral(self.0, UnparsedPublicKey::new(&ECDH_P521, peer), bad, |secret| Ok(secret.into()))
    }

    fn pub_key(&self) -> &[u8] {
        self.1.as_ref()
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::from(25)
    }
}

// === another implementation ===

/// Sends GET with `openssl s_client`, and returns its output; `None` where there is no openssl, which is reported.
pub(crate) fn openssl(address: &str, options: &[&str]) -> Option<String> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", address, "-servername", "localhost", "-ign_eof"]).args(options);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "openssl: {error}");
            eprintln!("NOT TESTED: openssl, which cannot be started: {error}");
            return None;
        }
    };
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    // The process may have ended already.
    drop(child.stdin.take().unwrap().write_all(request.as_bytes()));
    let output = child.wait_with_output().unwrap();
    Some([output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat())
}
