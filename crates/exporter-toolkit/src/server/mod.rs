//! An HTTP server with limits, so that no peer can block others.
//!
//! It speaks HTTP/1.1, and HTTP/2 where a TLS peer asks for it. Every wait for a peer has a deadline.

// The modules are in order of dependency.
mod limits;
mod connection;
mod connections;
mod exchange;
mod tracked_stream;
mod client_hello;
mod tls;

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::http::Uri;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::peer::Peer;
use crate::web_config::{RefusalHook, WebConfig};

use connection::CloseReason;
use connections::{Connections, Slot};
use exchange::Exchange;
use limits::Limits;
use tracked_stream::TrackedStream;

/// The pause after a failure to accept a connection.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause after evicting a connection.
const SHORT_PAUSE: Duration = Duration::from_millis(5);
/// Failures to accept a connection that follow each other within this time are logged once.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// A server of one router on any number of listeners.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

struct Shared {
    router: TowerToHyperService<Router>,
    web_config: Option<Arc<WebConfig>>,
    connections: Arc<Connections>,
    limits: Limits,
    /// The last failure to accept a connection.
    last_failure: Mutex<Option<Instant>>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Server {
    /// Creates a server that serves at most `max_requests` requests at a time, or any number if that is 0.
    ///
    /// Further ones wait for up to 8 s and are then refused with 503, and `on_refusal` is called with their URI, as for
    /// requests whose password cannot be checked in time. Paths below `/-/` are exempt from the limit. Without a web configuration there are neither TLS nor passwords.
    pub fn new(
        router: Router,
        web_config: Option<WebConfig>,
        max_requests: usize,
        on_refusal: impl Fn(&Uri) + Send + Sync + 'static,
    ) -> Self {
        Self::with_limits(router, web_config, Limits::new(max_requests), on_refusal)
    }

    fn with_limits(
        router: Router,
        web_config: Option<WebConfig>,
        limits: Limits,
        on_refusal: impl Fn(&Uri) + Send + Sync + 'static,
    ) -> Self {
        let web_config = web_config.map(Arc::new);
        let connections = Arc::new(Connections::new(limits));
        // A request that is not authenticated needs no permit, and so takes none from others.
        let on_refusal: RefusalHook = Arc::new(on_refusal);
        let router = exchange::limit_concurrency(router, &connections, Arc::clone(&on_refusal));
        let router = match &web_config {
            Some(web_config) => web_config.protect(router, on_refusal),
            None => router,
        };
        Self(Arc::new(Shared {
            router: TowerToHyperService::new(router),
            web_config,
            connections,
            limits,
            last_failure: Mutex::default(),
            http1: http1(),
            http2: http2(),
        }))
    }

    /// Serves until `stop` is ready, and then finishes the pending requests.
    ///
    /// # Errors
    /// An I/O error if a listener cannot be used.
    pub async fn serve(
        &self,
        listeners: Vec<std::net::TcpListener>,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let mut accepting = Vec::new();
        for listener in listeners {
            listener.set_nonblocking(true)?;
            accepting.push(TcpListener::from_std(listener)?);
        }
        self.log_start(&accepting)?;
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let stop_when_dropped = stopping.clone().drop_guard();
        for listener in accepting {
            let (server, tasks_of_listener, stopping) = (self.clone(), tasks.clone(), stopping.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = server.accept(&listener, &tasks_of_listener, &stopping) => {}
                    () = stopping.cancelled() => {}
                }
            });
        }
        stop.await;
        drop(stop_when_dropped);
        tasks.close();
        tasks.wait().await;
        Ok(())
    }

    fn log_start(&self, listeners: &[TcpListener]) -> io::Result<()> {
        if let Some(web_config) = &self.0.web_config {
            web_config.log_start();
        }
        for listener in listeners {
            let address = listener.local_addr()?;
            tracing::info!(%address, "Listening on");
            if let Some(web_config) = self.0.web_config.as_ref().filter(|web_config| web_config.has_tls()) {
                tracing::info!(http2 = web_config.http2(), %address, "TLS is enabled.");
            } else {
                tracing::info!(http2 = false, %address, "TLS is disabled.");
            }
        }
        Ok(())
    }

    async fn accept(&self, listener: &TcpListener, tasks: &TaskTracker, stopping: &CancellationToken) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let slot = self.0.connections.admit().await;
                    tasks.spawn(Arc::clone(&self.0).connection(stream, peer, slot, stopping.clone()));
                    // Open connections come before new ones, which the system keeps in a queue.
                    tokio::task::yield_now().await;
                }
                // The peer has closed the connection before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.log_failure(&error);
                    let pause = if self.0.connections.evict_one() { SHORT_PAUSE } else { PAUSE };
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Logs a failure to accept a connection, unless there was another one shortly before.
    fn log_failure(&self, error: &io::Error) {
        let mut last = self.0.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        if last.replace(Instant::now()).is_none_or(|last| last.elapsed() > LOG_INTERVAL) {
            tracing::warn!(err = %error, "Cannot accept connections");
        }
    }
}

impl Shared {
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        slot: Slot,
        stopping: CancellationToken,
    ) {
        // Small responses are sent at once. A socket that refuses an option can be used nevertheless.
        drop(stream.set_nodelay(true));
        sockopt::set_socket_recv_buffer_size(&stream, limits::RECEIVE_BUFFER).ok();
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(&stream).set_tcp_notsent_lowat(self.limits.unsent).ok();
        let connection = Arc::clone(&slot.connection);
        let stream = Arc::new(stream);
        let who = Peer::new(peer, &stream);
        let Some(tls) = self.web_config.as_ref().filter(|web_config| web_config.has_tls()) else {
            return self.http1(TrackedStream::new(stream, connection), who, &slot, &stopping).await;
        };
        let stream = tokio::select! {
            biased;
            reason = slot.connection.must_close() => return log_closed(peer, reason),
            () = stopping.cancelled() => return,
            stream = tls::handshake(tls, stream, connection) => stream,
        };
        match stream {
            Ok(stream) if tls::is_http2(&stream) => self.http2(stream, who, &slot, &stopping).await,
            Ok(stream) => self.http1(stream, who, &slot, &stopping).await,
            Err(error) => tracing::debug!(%peer, err = %error, "TLS handshake failed"),
        }
    }

    async fn http1(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        slot: &Slot,
        stopping: &CancellationToken,
    ) {
        let exchange = self.exchange(slot, &peer);
        let service = service_fn(move |request| exchange.clone().respond(request));
        let serving = self.http1.serve_connection(TokioIo::new(stream), service);
        drive(serving, http1::Connection::graceful_shutdown, peer.address(), slot, stopping).await;
    }

    async fn http2(
        &self,
        stream: TlsStream<TrackedStream>,
        peer: Peer,
        slot: &Slot,
        stopping: &CancellationToken,
    ) {
        slot.connection.set_http2();
        let exchange = self.exchange(slot, &peer);
        let service = service_fn(move |request| exchange.clone().respond(request));
        let serving = self.http2.serve_connection(TokioIo::new(stream), service);
        drive(serving, http2::Connection::graceful_shutdown, peer.address(), slot, stopping).await;
    }

    fn exchange(&self, slot: &Slot, peer: &Peer) -> Exchange {
        let connection = Arc::clone(&slot.connection);
        Exchange { router: self.router.clone(), connection, peer: peer.clone(), limits: self.limits }
    }
}

/// Serves a connection until either side closes it.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    serving: C,
    graceful_shutdown: impl Fn(Pin<&mut C>),
    peer: SocketAddr,
    slot: &Slot,
    stopping: &CancellationToken,
) {
    let mut serving = std::pin::pin!(serving);
    let mut draining = false;
    loop {
        // The connection comes last, so that a busy one does not outlive its deadline.
        tokio::select! {
            biased;
            reason = slot.connection.must_close() => {
                // A request may have arrived that revokes the eviction.
                if reason == CloseReason::Evicted
                    && is_open(serving.as_mut()).await
                    && !slot.connection.is_evicted()
                {
                    continue;
                }
                return log_closed(peer, reason);
            }
            () = either(stopping.cancelled(), slot.connection.is_ending()), if !draining => {
                draining = true;
                slot.connection.drain();
                graceful_shutdown(serving.as_mut());
            }
            outcome = serving.as_mut() => {
                if let Err(error) = outcome {
                    tracing::debug!(%peer, err = chain(&error), "Connection failed");
                }
                return;
            }
        }
    }
}

/// Waits for one of two events.
async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    tokio::select! {
        () = one => {}
        () = other => {}
    }
}

/// Lets a connection handle what has arrived, and returns whether it is still open.
async fn is_open<C: Future<Output = hyper::Result<()>>>(mut serving: Pin<&mut C>) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(serving.as_mut().poll(cx).is_pending())).await
}

fn log_closed(peer: SocketAddr, reason: CloseReason) {
    tracing::debug!(%peer, ?reason, "Connection closed");
}

/// Joins the messages of an error and its sources.
fn chain(error: &(dyn Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |error| Error::source(*error));
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // The deadlines of the connection distinguish a pause between two requests from one within a request.
        .header_read_timeout(None)
        .max_header_size(limits::MAX_HEAD as usize)
        // A peer that has closed its side after the request may still read the response.
        .half_close(true);
    builder
}

fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .max_concurrent_streams(limits::MAX_STREAMS)
        .max_header_list_size(limits::MAX_HEAD)
        .max_pending_accept_reset_streams(limits::MAX_RESETS)
        .initial_stream_window_size(limits::MAX_BODY)
        .initial_connection_window_size(limits::MAX_BODY);
    builder
}

#[cfg(test)]
mod tests;
