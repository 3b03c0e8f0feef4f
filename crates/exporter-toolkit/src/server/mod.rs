//! From listening sockets to requests: connections are accepted, encrypted where that is wanted, and served, within
//! limits that keep any peer from harming the others. Knows nothing of what is served.
//!
//! HTTP/1.1, and HTTP/2 where a TLS peer asks for it. Nothing in here waits for a peer without a deadline.

mod connection;
mod crowd;
mod exchange;
mod limits;
mod tls;
mod watched;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use connection::Reason;
use crowd::{Crowd, Member};
use exchange::Exchange;
use limits::Limits;
use tls::Encryption;
use watched::Watched;

use crate::web_config::Access;

/// The pause after a connection could not be accepted. What is missing will not be there at once,
const PAUSE: Duration = Duration::from_millis(100);
/// unless another connection goes.
const SHORT_PAUSE: Duration = Duration::from_millis(5);

/// Failures to accept that follow each other more closely are told once.
const QUIET: Duration = Duration::from_mins(1);

/// What is served, to whom, and within which limits: on all listeners together.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

struct Shared {
    router: TowerToHyperService<Router>,
    /// If connections are encrypted.
    encryption: Option<Encryption>,
    crowd: Arc<Crowd>,
    limits: Limits,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Server {
    /// A server of `router`. `access` says who may read it, and whether over TLS; without it everybody may, without.
    /// `answers` are under way at a time, or any number if it is 0.
    pub fn new(router: Router, access: Option<Arc<Access>>, answers: usize) -> Self {
        Self::with_limits(router, access, Limits::new(answers))
    }

    fn with_limits(router: Router, access: Option<Arc<Access>>, limits: Limits) -> Self {
        let crowd = Arc::new(Crowd::new(limits));
        // Whoever is not let in needs no turn, and cannot take one from others.
        let router = exchange::in_turn(router, &crowd);
        let router = access.as_ref().map_or(router.clone(), |access| access.guard(router));
        Self(Arc::new(Shared {
            router: TowerToHyperService::new(router),
            encryption: access.filter(|access| access.encrypts()).map(Encryption::new),
            crowd,
            limits,
            http1: http1(),
            http2: http2(),
        }))
    }

    /// Serves on `listener` until `stop`, then finishes the requests in flight.
    ///
    /// # Errors
    /// If the listener cannot be used.
    pub async fn serve(&self, listener: std::net::TcpListener, stop: CancellationToken) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let tasks = TaskTracker::new();
        tokio::select! {
            () = self.accept(&listener, &tasks, &stop) => {}
            () = stop.cancelled() => {}
        }
        drop(listener);
        tasks.close();
        tasks.wait().await;
        Ok(())
    }

    async fn accept(&self, listener: &TcpListener, tasks: &TaskTracker, stop: &CancellationToken) {
        let mut last_failure: Option<Instant> = None;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let member = self.0.crowd.admit().await;
                    tasks.spawn(Arc::clone(&self.0).connection(stream, peer, member, stop.clone()));
                    // Those who are in come before those who are not yet. The system keeps these in line.
                    tokio::task::yield_now().await;
                }
                // The peer went away again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Where files are scarce every other connection may fail.
                    if last_failure.is_none_or(|last| last.elapsed() > QUIET) {
                        tracing::warn!(err = %error, "Cannot accept connections");
                    }
                    last_failure = Some(Instant::now());
                    let pause = if self.0.crowd.spare_one() { SHORT_PAUSE } else { PAUSE };
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

impl Shared {
    /// The life of a connection.
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        member: Member,
        stop: CancellationToken,
    ) {
        // Small answers should not wait for more. And left alone, the system has megabytes for each peer that does
        // not read, or whom nobody reads. A socket that refuses works all the same.
        drop(stream.set_nodelay(true));
        sockopt::set_socket_recv_buffer_size(&stream, limits::RECEIVE_BUFFER).ok();
        sockopt::set_socket_send_buffer_size(&stream, limits::SEND_BUFFER).ok();
        let connection = Arc::clone(&member.connection);
        let Some(encryption) = &self.encryption else {
            return self.http1(Watched::new(stream, connection), peer, &member, &stop).await;
        };
        let stream = tokio::select! {
            biased;
            reason = member.connection.ended() => return ended(peer, reason),
            () = stop.cancelled() => return,
            stream = tls::handshake(encryption, stream, connection) => stream,
        };
        match stream {
            Ok(stream) if tls::is_http2(&stream) => self.http2(stream, peer, &member, &stop).await,
            Ok(stream) => self.http1(stream, peer, &member, &stop).await,
            Err(error) => tracing::debug!(%peer, err = %error, "TLS handshake failed"),
        }
    }

    async fn http1(&self, stream: impl Stream, peer: SocketAddr, member: &Member, stop: &CancellationToken) {
        let exchange = self.exchange(member);
        let service = service_fn(move |request| exchange.clone().answer(request));
        let served = self.http1.serve_connection(TokioIo::new(stream), service);
        drive(served, http1::Connection::graceful_shutdown, peer, member, stop).await;
    }

    async fn http2(&self, stream: impl Stream, peer: SocketAddr, member: &Member, stop: &CancellationToken) {
        member.connection.speaks_of_other_things();
        let exchange = self.exchange(member);
        let service = service_fn(move |request| exchange.clone().answer(request));
        let served = self.http2.serve_connection(TokioIo::new(stream), service);
        drive(served, http2::Connection::graceful_shutdown, peer, member, stop).await;
    }

    fn exchange(&self, member: &Member) -> Exchange {
        Exchange {
            router: self.router.clone(),
            connection: Arc::clone(&member.connection),
            limits: self.limits,
        }
    }
}

/// What requests are read from and answers are written to.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Serves a connection until one of the two sides has enough.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    served: C,
    finish: impl Fn(Pin<&mut C>),
    peer: SocketAddr,
    member: &Member,
    stop: &CancellationToken,
) {
    let mut served = std::pin::pin!(served);
    let mut leaving = false;
    loop {
        // The connection comes last: a busy one must not outlive what is decided about it.
        tokio::select! {
            biased;
            reason = member.connection.ended() => {
                // Something may have happened that was not looked at yet.
                if reason == Reason::Spared && has_more(served.as_mut()).await && !member.connection.is_spared() {
                    continue;
                }
                return ended(peer, reason);
            }
            () = stop.cancelled(), if !leaving => {
                leaving = true;
                member.connection.leave();
                finish(served.as_mut());
            }
            outcome = served.as_mut() => {
                if let Err(error) = outcome {
                    let error = anyhow::Error::new(error);
                    tracing::debug!(%peer, err = %format_args!("{error:#}"), "Connection failed");
                }
                return;
            }
        }
    }
}

/// Lets a connection do what it can do now. Does it go on?
async fn has_more<C: Future<Output = hyper::Result<()>>>(mut served: Pin<&mut C>) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(served.as_mut().poll(cx).is_pending())).await
}

fn ended(peer: SocketAddr, reason: Reason) {
    tracing::debug!(%peer, ?reason, "Connection closed");
}

fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // The connection's own deadlines tell a pause between two requests from one within.
        .header_read_timeout(None)
        .max_header_size(limits::HEAD as usize)
        // Whoever has said all there is to say may still listen.
        .half_close(true);
    builder
}

fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .max_concurrent_streams(limits::STREAMS)
        .max_header_list_size(limits::HEAD)
        .max_pending_accept_reset_streams(limits::RESETS)
        .initial_stream_window_size(limits::BODY)
        .initial_connection_window_size(limits::BODY);
    builder
}

#[cfg(test)]
mod tests;
