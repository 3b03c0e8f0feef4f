//! Handshakes, and an answer to those who do not encrypt. What is spoken with, is up to [`Access`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::Connection;
use super::watched::Watched;
use crate::web_config::Access;
use crate::web_config::hello;

/// More than this is not read of what such a peer sends.
const REFUSED_MOST: u64 = 64 * 1024;

/// Encrypts connections, as the web configuration file has it at their time.
pub(super) struct Encryption {
    access: Arc<Access>,
    /// How often the files were read, the reading under way included.
    readings: AtomicU64,
    last: Mutex<Reading>,
}

/// What was found when the files were last read; nothing if it is invalid.
#[derive(Default)]
struct Reading {
    number: u64,
    config: Option<Arc<ServerConfig>>,
}

impl Encryption {
    pub(super) fn new(access: Arc<Access>) -> Self {
        Self { access, readings: AtomicU64::new(0), last: Mutex::default() }
    }

    /// As it is now. Those who ask while the files are being read share the next reading: however many connect at
    /// once, the disk is not asked more than it can answer.
    async fn now(&self) -> io::Result<Arc<ServerConfig>> {
        let next = self.readings.load(Ordering::Relaxed) + 1;
        let mut last = self.last.lock().await;
        if last.number < next {
            let number = self.readings.fetch_add(1, Ordering::Relaxed) + 1;
            let access = Arc::clone(&self.access);
            let config = tokio::task::spawn_blocking(move || access.server()).await?;
            *last = Reading { number, config };
        }
        last.config.clone().ok_or_else(|| io::Error::other("the configuration is invalid"))
    }
}

/// Encrypts a connection. Takes as long as the peer likes.
pub(super) async fn handshake(
    encryption: &Encryption,
    mut stream: TcpStream,
    connection: Arc<Connection>,
) -> io::Result<TlsStream<Watched>> {
    let mut first = [0; hello::LENGTH];
    let length = stream.peek(&mut first).await?;
    connection.arrived();
    if let Some(refusal) = hello::refusal(&first[..length]) {
        stream.write_all(refusal.answer).await?;
        stream.shutdown().await?;
        // A socket that is closed with something unread takes back what it sent.
        tokio::io::copy(&mut stream.take(REFUSED_MOST), &mut tokio::io::sink()).await?;
        return Err(io::Error::other(refusal.reason));
    }
    TlsAcceptor::from(encryption.now().await?).accept(Watched::new(stream, connection)).await
}

/// Did the two sides agree on HTTP/2?
pub(super) fn is_http2(stream: &TlsStream<Watched>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}
