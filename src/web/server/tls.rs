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
use crate::web::access::hello;

/// More than this is not read of what such a peer sends.
const REFUSED_MOST: u64 = 64 * 1024;

/// Encrypts a connection, as the web configuration file has it now. Takes as long as the peer likes.
pub(super) async fn handshake(
    access: Arc<Access>,
    readers: &Semaphore,
    mut stream: TcpStream,
    connection: Arc<Connection>,
) -> io::Result<TlsStream<Watched>> {
    let mut first = [0; hello::LENGTH];
    let length = stream.peek(&mut first).await?;
    if let Some(refusal) = hello::refusal(&first[..length]) {
        stream.write_all(refusal.answer).await?;
        stream.shutdown().await?;
        // A socket that is closed with something unread takes back what it sent.
        tokio::io::copy(&mut stream.take(REFUSED_MOST), &mut tokio::io::sink()).await?;
        return Err(io::Error::other(refusal.reason));
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
