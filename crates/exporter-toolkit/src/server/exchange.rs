//! One request and its response: an invalid request is refused, and the response is tracked until its last byte has
//! been handed to the system.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::connection::{Connection, PendingRequest, PendingResponse};
use super::connections::Connections;
use super::limits::{self, Limits};
use crate::peer::Peer;
use crate::web_config::RefusalHook;

/// Limits the number of concurrent requests to `router`: the response keeps its permit to the end. Paths below `/-/` are
/// exempt, so that a health check succeeds however many scrapes there are.
pub(super) fn limit_concurrency(router: Router, connections: &Arc<Connections>, hook: RefusalHook) -> Router {
    let connections = Arc::clone(connections);
    router.layer(from_fn(move |mut request: axum::extract::Request, next: Next| {
        let (connections, hook) = (Arc::clone(&connections), Arc::clone(&hook));
        // Who comes here is authenticated.
        if let Some(pending) = request.extensions_mut().remove::<PendingRequest>() {
            pending.admit();
        }
        async move {
            if request.uri().path().starts_with("/-/") {
                return next.run(request).await;
            }
            let Some(permit) = connections.response_permit().await else {
                hook(request.uri());
                let max = connections.max_requests();
                let text = format!("Limit of concurrent requests reached ({max}), try again later.\n");
                return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
            };
            let mut response = next.run(request).await;
            response.extensions_mut().insert(permit);
            response
        }
    }))
}

/// Serves the requests of one connection.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) router: TowerToHyperService<Router>,
    pub(super) connection: Arc<Connection>,
    pub(super) peer: Peer,
    pub(super) limits: Limits,
}

impl Exchange {
    pub(super) async fn respond(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<TrackedBody>, Infallible> {
        let mut pending = self.connection.head_received();
        let version = request.version();
        // The end of a chunked body may be ambiguous, so what follows is not taken for a request.
        let mut close = request.headers().contains_key(TRANSFER_ENCODING);
        let mut response = match self.read(request).await {
            Ok(mut request) => {
                request.extensions_mut().insert(pending.received());
                request.extensions_mut().insert(self.peer);
                let Ok(response) = self.router.call(request).await;
                response
            }
            Err((status, text)) => {
                close = true;
                if status == StatusCode::REQUEST_TIMEOUT {
                    // Over HTTP/2 as well, the peer loses its connection.
                    self.connection.end();
                }
                (status, text).into_response()
            }
        };
        if close && version <= Version::HTTP_11 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        pending.started(response.extensions_mut().remove());
        let chunk = if version == Version::HTTP_2 { limits::CHUNK_OF_HTTP2 } else { limits::CHUNK };
        Ok(response.map(|body| TrackedBody { body, buffer: Bytes::new(), chunk, pending: Arc::new(pending) }))
    }

    /// Reads the whole request and discards its body.
    async fn read(&self, request: Request<Incoming>) -> Result<Request<Body>, (StatusCode, &'static str)> {
        let (head, mut body) = request.into_parts();
        if head.version == Version::HTTP_11 {
            check_host(&head.headers).map_err(|text| (StatusCode::BAD_REQUEST, text))?;
        }
        let read = async {
            let mut left = u64::from(limits::MAX_BODY);
            if body.size_hint().lower() > left {
                return Err((StatusCode::PAYLOAD_TOO_LARGE, "The request has too large a body.\n"));
            }
            while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                let frame =
                    frame.map_err(|_| (StatusCode::BAD_REQUEST, "The request body is malformed.\n"))?;
                let length = frame.data_ref().map_or(0, Bytes::len);
                left = u64::try_from(length)
                    .ok()
                    .and_then(|length| left.checked_sub(length))
                    .ok_or((StatusCode::PAYLOAD_TOO_LARGE, "The request has too large a body.\n"))?;
            }
            Ok(())
        };
        tokio::time::timeout(self.limits.request_timeout, read)
            .await
            .unwrap_or(Err((StatusCode::REQUEST_TIMEOUT, "The request is incomplete.\n")))?;
        Ok(Request::from_parts(head, Body::empty()))
    }
}

/// Checks that a request of HTTP/1.1 has exactly one valid `Host`, which may be empty.
fn check_host(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else { return Err("The request has no Host header.\n") };
    if hosts.next().is_some() {
        return Err("The request has more than one Host header.\n");
    }
    let is_valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(byte);
    if host.as_bytes().iter().all(is_valid) { Ok(()) } else { Err("The request has a bad Host header.\n") }
}

/// The body of a response, which is sent in chunks so that its progress can be observed.
#[derive(Debug)]
pub(super) struct TrackedBody {
    body: Body,
    /// The data of the body from which no chunk has been made.
    buffer: Bytes,
    /// The size of the chunks.
    chunk: usize,
    pending: Arc<PendingResponse>,
}

impl http_body::Body for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.buffer.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                None => return Poll::Ready(None),
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                Some(Ok(data)) => self.buffer = data,
            }
        }
        let length = self.buffer.len().min(self.chunk);
        let bytes = self.buffer.split_to(length);
        let chunk = Bytes::from_owner(Chunk { bytes, pending: Arc::clone(&self.pending) });
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.buffer.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (buffered, body) = (self.buffer.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(buffered + body.lower());
        if let Some(upper) = body.upper() {
            hint.set_upper(buffered + upper);
        }
        hint
    }
}

/// A part of a response, which is dropped when the system has taken it; the body is dropped sooner.
struct Chunk {
    bytes: Bytes,
    pending: Arc<PendingResponse>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.pending.progressed();
    }
}
