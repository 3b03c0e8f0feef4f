//! TLS handshakes, and the response to peers that do not speak TLS.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::client_hello;
use super::connection::Connection;
use super::tracked_stream::TrackedStream;
use crate::web_config::WebConfig;

/// The number of bytes that are read from a peer that is refused.
const MAX_DISCARDED: u64 = 64 * 1024;

/// Loads the current TLS configuration.
pub(super) struct TlsConfigLoader {
    web_config: Arc<WebConfig>,
    /// The number of loads that have started.
    started: AtomicU64,
    last: Mutex<Load>,
}

/// The result of a load, which is `None` if the configuration is invalid.
#[derive(Default)]
struct Load {
    number: u64,
    config: Option<Arc<ServerConfig>>,
}

impl TlsConfigLoader {
    pub(super) fn new(web_config: Arc<WebConfig>) -> Self {
        Self { web_config, started: AtomicU64::new(0), last: Mutex::default() }
    }

    /// Returns the current configuration. Connections that arrive during a load share the next one, so that the files
    /// are not read once per connection.
    async fn load(&self) -> io::Result<Arc<ServerConfig>> {
        let next = self.started.load(Ordering::Relaxed) + 1;
        let mut last = self.last.lock().await;
        if last.number < next {
            let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
            let web_config = Arc::clone(&self.web_config);
            let config = tokio::task::spawn_blocking(move || web_config.tls_config()).await?;
            *last = Load { number, config };
        }
        last.config.clone().ok_or_else(|| io::Error::other("the configuration is invalid"))
    }
}

/// Performs the handshake of a connection, which has no time limit of its own.
pub(super) async fn handshake(
    loader: &TlsConfigLoader,
    mut stream: TcpStream,
    connection: Arc<Connection>,
) -> io::Result<TlsStream<TrackedStream>> {
    let mut first = [0; client_hello::LENGTH];
    let length = stream.peek(&mut first).await?;
    connection.bytes_received();
    if let Some(refusal) = client_hello::refusal(&first[..length]) {
        stream.write_all(refusal.response).await?;
        stream.shutdown().await?;
        // A socket that is closed with unread data is reset, and the peer may lose the response.
        tokio::io::copy(&mut stream.take(MAX_DISCARDED), &mut tokio::io::sink()).await?;
        return Err(io::Error::other(refusal.reason));
    }
    TlsAcceptor::from(loader.load().await?).accept(TrackedStream::new(stream, connection)).await
}

/// Returns whether both sides have agreed on HTTP/2.
pub(super) fn is_http2(stream: &TlsStream<TrackedStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}
