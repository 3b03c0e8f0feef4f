//! The client at the other end of a connection: its address, and whether it has hung up.

use std::future::Future as _;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;

/// The time between two looks at the socket.
const INTERVAL: Duration = Duration::from_millis(50);

/// A client, which is an extension of every request that the server serves.
#[derive(Clone, Debug)]
pub struct Peer {
    address: SocketAddr,
    /// The socket, which stays open no longer because of this reference.
    stream: Weak<TcpStream>,
}

impl Peer {
    pub(crate) fn new(address: SocketAddr, stream: &Arc<TcpStream>) -> Self {
        Self { address, stream: Arc::downgrade(stream) }
    }

    /// Returns the address of the client, or that of a proxy before it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the client has closed its side of the connection.
    ///
    /// A client that sends nothing more may still read the response, so this is a reason to stop what is expensive, not
    /// to close the connection. The server does not read while it answers a request of HTTP/1.1, and would not notice.
    pub async fn hung_up(&self) {
        while self.stream.upgrade().is_some_and(|stream| !is_closed(&stream)) {
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// Returns whether the other side of a socket is closed, even if there is data to be read before its end.
fn is_closed(stream: &TcpStream) -> bool {
    let ready = std::pin::pin!(stream.ready(Interest::READABLE));
    match ready.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(ready)) => ready.is_read_closed(),
        Poll::Ready(Err(_)) => true,
        Poll::Pending => false,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    /// A client, the server's socket and its peer.
    async fn connect() -> (TcpStream, Arc<TcpStream>, Peer) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, address) = listener.accept().await.unwrap();
        let stream = Arc::new(stream);
        let peer = Peer::new(address, &stream);
        (client, stream, peer)
    }

    #[tokio::test]
    async fn a_client_that_closes_its_side_has_hung_up_even_behind_unread_data() {
        let (mut client, _stream, peer) = connect().await;
        client.write_all(b"unread").await.unwrap();
        timeout(3 * INTERVAL, peer.hung_up()).await.expect_err("it is connected");
        client.shutdown().await.unwrap();
        timeout(Duration::from_secs(20), peer.hung_up()).await.unwrap();
    }

    #[tokio::test]
    async fn a_client_has_hung_up_when_the_server_has_closed_the_connection() {
        let (_client, stream, peer) = connect().await;
        drop(stream);
        timeout(Duration::from_secs(20), peer.hung_up()).await.unwrap();
    }
}
