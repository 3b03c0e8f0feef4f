//! A TCP stream that reports incoming bytes to its [`Connection`].

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, recv};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::connection::Connection;

/// A TCP stream and the state of its connection.
#[derive(Debug)]
pub(super) struct TrackedStream {
    /// It is shared with a [`Peer`](crate::peer::Peer), which only looks whether it is closed.
    stream: Arc<TcpStream>,
    connection: Arc<Connection>,
}

impl TrackedStream {
    pub(super) fn new(stream: Arc<TcpStream>, connection: Arc<Connection>) -> Self {
        Self { stream, connection }
    }
}

impl Drop for TrackedStream {
    fn drop(&mut self) {
        if self.connection.is_aborted() {
            // The connection is reset. Otherwise the system would keep what the peer does not read for minutes, and
            // the peer could take the response for complete.
            drop(self.stream.set_zero_linger());
        }
    }
}

impl AsyncRead for TrackedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            let unfilled = buffer.initialize_unfilled();
            let (room, mut received) = (unfilled.len(), None);
            let outcome = self.stream.try_io(Interest::READABLE, || {
                let (length, _) = recv(&self.stream, unfilled, RecvFlags::empty())?;
                received = Some(length);
                // Less than there is room for is all that has arrived. The stream counts as not readable until more
                // arrives, so that the next call does not ask the system.
                if (1..room).contains(&length) { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match (received, outcome) {
                (Some(length), _) => {
                    buffer.advance(length);
                    if length > 0 {
                        self.connection.bytes_received();
                    }
                    return Poll::Ready(Ok(()));
                }
                (None, Err(error)) if error.kind() != ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                (None, _) => {}
            }
        }
    }
}

impl TrackedStream {
    /// Writes when the socket is writable.
    fn poll_try(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match write(&self.stream) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl AsyncWrite for TrackedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_try(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_try(cx, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match rustix::net::shutdown(&*self.stream, Shutdown::Write) {
            // The peer has closed the connection before.
            Err(Errno::NOTCONN) => Ok(()),
            result => Ok(result?),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::limits::Limits;
    use super::*;

    /// Returns whether the system would be asked for bytes.
    fn is_readable(stream: &TrackedStream) -> bool {
        let ready = std::pin::pin!(stream.stream.readable());
        ready.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn the_system_is_not_asked_for_more_than_has_arrived_and_nothing_is_missed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let connection = Arc::new(Connection::new(Limits::new(1)));
        let mut stream = TrackedStream::new(Arc::new(listener.accept().await.unwrap().0), connection);
        let mut buffer = [0; 4];
        for _ in 0..100 {
            client.write_all(b"more").await.unwrap();
            assert_eq!(stream.read(&mut buffer[..3]).await.unwrap(), 3);
            assert!(is_readable(&stream), "there may be more");
            assert_eq!(stream.read(&mut buffer).await.unwrap(), 1);
            assert!(!is_readable(&stream), "there is no more");
        }
        client.write_all(b"end").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 3);
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
    }
}
