//! Encrypted connections: handshakes, and an answer to those who cannot be served.
//!
//! Every handshake is a task of its own with a deadline, so that a slow peer keeps nobody waiting but itself.
//! Knows no HTTP beyond that one answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Access, hello};

/// How long a peer may take from its connection to the end of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// More than this is not read of what a peer sends that cannot be served.
const REFUSED_MOST: u64 = 64 * 1024;

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
    let mut first = [0; hello::LENGTH];
    let length = stream.peek(&mut first).await?;
    if let Some(refusal) = hello::refusal(&first[..length]) {
        stream.write_all(refusal.answer).await?;
        stream.shutdown().await?;
        // A socket that is closed with something unread takes back what it sent.
        tokio::io::copy(&mut stream.take(REFUSED_MOST), &mut tokio::io::sink()).await?;
        return Err(io::Error::other(refusal.reason));
    }
    let config = tokio::task::spawn_blocking(move || access.server()).await?;
    let config = config.ok_or_else(|| io::Error::other("the configuration is invalid"))?;
    TlsAcceptor::from(config).accept(stream).await
}
