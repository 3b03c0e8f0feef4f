//! Encrypted connections: certificate and key, handshakes, and an answer to those who do not encrypt.
//!
//! Every handshake is a task of its own with a deadline, so that a slow peer keeps nobody waiting but itself.
//! Knows no HTTP beyond that one answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::{Secret, SecretError};
use crate::yaml::Problem;

use super::Access;
use super::remembered::{Fingerprint, fingerprint};

/// How long a peer may take from its connection to the end of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a peer gets that speaks HTTP where TLS is spoken.
const PLAIN_HTTP: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
    Client sent an HTTP request to an HTTPS server.\n";
/// More than this is not read of what such a peer sends.
const PLAIN_HTTP_MOST: u64 = 64 * 1024;

/// How to encrypt.
#[derive(Debug)]
pub(super) struct TlsSettings {
    /// The chain, in PEM.
    pub(super) cert: Secret,
    /// The key of its first certificate, in PEM.
    pub(super) key: Secret,
    /// At least one.
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
}

/// What was found where the settings point to.
pub(super) struct Pair {
    cert: SecretString,
    key: SecretString,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl TlsSettings {
    /// Reads and checks certificate and key.
    pub(super) fn load(&self) -> Result<ServerConfig, Vec<Problem>> {
        self.read()?.server_config()
    }

    pub(super) fn read(&self) -> Result<Pair, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut read = |secret: &Secret, key| {
            secret.read().map_err(|error| problems.push(problem(key, unreadable(key, error)))).ok()
        };
        let (cert, key) = (read(&self.cert, "cert_file"), read(&self.key, "key_file"));
        match (cert, key) {
            (Some(cert), Some(key)) => Ok(Pair { cert, key, versions: self.versions.clone() }),
            _ => Err(problems),
        }
    }
}

impl Pair {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let versions = format!("{:?}", self.versions);
        fingerprint(&[self.cert.expose_secret(), self.key.expose_secret(), &versions])
    }

    pub(super) fn server_config(&self) -> Result<ServerConfig, Vec<Problem>> {
        // What a PEM parser says may quote its input, so it is not asked.
        let useless = |what| vec![problem("", format!("failed to load X509KeyPair: {what}"))];
        let chain: Vec<_> = CertificateDer::pem_slice_iter(self.cert.expose_secret().as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| useless("the certificate is no valid PEM"))?;
        if chain.is_empty() {
            return Err(useless("there is no certificate in PEM where it should be"));
        }
        let key = PrivateKeyDer::from_pem_slice(self.key.expose_secret().as_bytes()).map_err(|_| {
            useless("there is no private key in PEM, without a passphrase, where it should be")
        })?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&self.versions)
            .expect("the provider knows these versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    useless("the private key is not that of the certificate")
                }
                _ => useless("the certificate or the private key cannot be used"),
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn problem(key: &str, text: String) -> Problem {
    let path =
        if key.is_empty() { "tls_server_config".to_owned() } else { format!("tls_server_config.{key}") };
    Problem { path, text }
}

fn unreadable(key: &str, error: SecretError) -> String {
    match error {
        SecretError::Unreadable { path, cause } if cause.kind() == io::ErrorKind::NotFound => {
            format!("failed to read {key} ({}): no such file or directory", path.display())
        }
        SecretError::Unreadable { path, cause } => {
            format!("failed to read {key} ({}): {cause}", path.display())
        }
        SecretError::Empty(path) => format!("failed to read {key} ({}): it is empty", path.display()),
    }
}

/// A listener whose connections are encrypted.
pub(in crate::web) struct TlsListener<L> {
    plain: L,
    access: Arc<Access>,
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl<L> TlsListener<L> {
    pub(in crate::web) fn new(plain: L, access: Arc<Access>) -> Self {
        Self { plain, access, handshakes: JoinSet::new() }
    }
}

impl<L: Listener<Io = TcpStream, Addr = SocketAddr>> Listener for TlsListener<L> {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                (stream, peer) = self.plain.accept() => {
                    let handshake = handshake(Arc::clone(&self.access), stream);
                    self.handshakes.spawn(async move {
                        let outcome = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await;
                        let outcome = outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                        outcome
                            .inspect_err(|error| tracing::debug!(%peer, err = %error, "TLS handshake failed"))
                            .ok()
                            .map(|stream| (stream, peer))
                    });
                }
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.plain.local_addr()
    }
}

async fn handshake(access: Arc<Access>, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    // Methods of HTTP begin with a letter, records of TLS never do.
    if first[0].is_ascii_alphabetic() {
        stream.write_all(PLAIN_HTTP).await?;
        stream.shutdown().await?;
        // A socket that is closed with something unread takes back what it sent.
        tokio::io::copy(&mut stream.take(PLAIN_HTTP_MOST), &mut tokio::io::sink()).await?;
        return Err(io::Error::other("the client sent an HTTP request"));
    }
    let config = tokio::task::spawn_blocking(move || access.server()).await?;
    let config = config.ok_or_else(|| io::Error::other("the configuration is invalid"))?;
    TlsAcceptor::from(config).accept(stream).await
}
