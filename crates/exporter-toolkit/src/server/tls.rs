//! TLS handshakes, and the response to peers that do not speak TLS.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::client_hello;
use super::connection::Connection;
use super::tracked_stream::TrackedStream;
use crate::web_config::WebConfig;

/// The number of bytes that are read from a peer that is refused.
const MAX_DISCARDED: u64 = 64 * 1024;

/// Performs the handshake of a connection, which has no time limit of its own.
pub(super) async fn handshake(
    web_config: &Arc<WebConfig>,
    stream: Arc<TcpStream>,
    connection: Arc<Connection>,
) -> io::Result<TlsStream<TrackedStream>> {
    let mut first = [0; client_hello::LENGTH];
    let length = stream.peek(&mut first).await?;
    connection.bytes_received();
    if let Some(refusal) = client_hello::refusal(&first[..length]) {
        let mut stream = TrackedStream::new(stream, connection);
        stream.write_all(refusal.response).await?;
        stream.shutdown().await?;
        // A socket that is closed with unread data is reset, and the peer may lose the response.
        tokio::io::copy(&mut stream.take(MAX_DISCARDED), &mut tokio::io::sink()).await?;
        return Err(io::Error::other(refusal.reason));
    }
    let config = web_config.current_tls_config().await;
    let config = config.ok_or_else(|| io::Error::other("the configuration is invalid"))?;
    TlsAcceptor::from(config).accept(TrackedStream::new(stream, connection)).await
}

/// Returns whether both sides have agreed on HTTP/2.
pub(super) fn is_http2(stream: &TlsStream<TrackedStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}
