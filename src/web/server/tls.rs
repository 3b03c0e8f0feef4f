//! Handshakes, and an answer to those who do not encrypt. What is spoken with, is up to [`Access`].

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::Connection;
use super::watched::Watched;
use crate::web::Access;

/// What a peer gets that speaks HTTP where TLS is spoken.
const PLAIN_HTTP: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
    Client sent an HTTP request to an HTTPS server.\n";
/// More than this is not read of what such a peer sends.
const PLAIN_HTTP_MOST: u64 = 64 * 1024;

/// Encrypts a connection, as the web configuration file has it now. Takes as long as the peer likes.
pub(super) async fn handshake(
    access: Arc<Access>,
    readers: &Semaphore,
    mut stream: TcpStream,
    connection: Arc<Connection>,
) -> io::Result<TlsStream<Watched>> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    connection.arrived();
    // Methods of HTTP begin with a letter, records of TLS never do.
    if first[0].is_ascii_alphabetic() {
        stream.write_all(PLAIN_HTTP).await?;
        stream.shutdown().await?;
        // A socket that is closed with something unread takes back what it sent.
        tokio::io::copy(&mut stream.take(PLAIN_HTTP_MOST), &mut tokio::io::sink()).await?;
        return Err(io::Error::other("the client sent an HTTP request"));
    }
    let reader = readers.acquire().await.map_err(io::Error::other)?;
    let config = tokio::task::spawn_blocking(move || access.server()).await?;
    drop(reader);
    let config = config.ok_or_else(|| io::Error::other("the configuration is invalid"))?;
    TlsAcceptor::from(config).accept(Watched::new(stream, connection)).await
}

/// Did the two sides agree on HTTP/2?
pub(super) fn is_http2(stream: &TlsStream<Watched>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}
