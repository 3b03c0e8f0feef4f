//! One request and its answer, between the connection and the routes: what is no proper request is refused
//! here, and the answer is followed until its last byte has left.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::connection::{Answer, Connection, Turn};
use super::crowd::Crowd;
use super::limits::{self, Limits};

/// Has the requests to `router` wait for their turn, which goes with the answer. Those below `/-/`, whose answers are
/// some words, need none: whether the program is well must be told however many scrapes there are.
pub(super) fn in_turn(router: Router, crowd: &Arc<Crowd>) -> Router {
    let wait = async |State(crowd): State<Arc<Crowd>>, request: axum::extract::Request, next: Next| {
        let needs_none = request.uri().path().starts_with("/-/");
        let turn: Option<Turn> = if needs_none { None } else { crowd.turn().await.map(Arc::new) };
        let mut response = next.run(request).await;
        if let Some(turn) = turn {
            response.extensions_mut().insert(turn);
        }
        response
    };
    router.layer(from_fn_with_state(Arc::clone(crowd), wait))
}

/// Answers the requests of one connection.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) router: TowerToHyperService<Router>,
    pub(super) connection: Arc<Connection>,
    pub(super) limits: Limits,
}

impl Exchange {
    pub(super) async fn answer(self, request: Request<Incoming>) -> Result<Response<Sent>, Infallible> {
        let mut answer = self.connection.asked();
        let version = request.version();
        // What is behind a body whose end we do not know for sure is no request.
        let mut last = request.headers().contains_key(TRANSFER_ENCODING);
        let mut response = match self.read(request).await {
            Ok(request) => {
                let Ok(response) = self.router.call(request).await;
                response
            }
            Err((status, text)) => {
                last = true;
                (status, text).into_response()
            }
        };
        if last && version <= Version::HTTP_11 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer.is_ready(response.extensions_mut().remove());
        Ok(response.map(|body| Sent { body, left: Bytes::new(), answer: Arc::new(answer) }))
    }

    /// Reads the whole request, whose body nothing here looks at.
    async fn read(&self, request: Request<Incoming>) -> Result<Request<Body>, (StatusCode, &'static str)> {
        let (head, mut body) = request.into_parts();
        if head.version == Version::HTTP_11 {
            check_host(&head.headers).map_err(|text| (StatusCode::BAD_REQUEST, text))?;
        }
        let read = async {
            let mut left = u64::from(limits::BODY);
            if body.size_hint().lower() > left {
                return Err((StatusCode::PAYLOAD_TOO_LARGE, "The request has too large a body.\n"));
            }
            while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                let frame = frame.map_err(|_| (StatusCode::BAD_REQUEST, "The request has a bad body.\n"))?;
                let length = frame.data_ref().map_or(0, Bytes::len);
                left = u64::try_from(length)
                    .ok()
                    .and_then(|length| left.checked_sub(length))
                    .ok_or((StatusCode::PAYLOAD_TOO_LARGE, "The request has too large a body.\n"))?;
            }
            Ok(())
        };
        tokio::time::timeout(self.limits.ask, read)
            .await
            .unwrap_or(Err((StatusCode::REQUEST_TIMEOUT, "The request has no end.\n")))?;
        Ok(Request::from_parts(head, Body::empty()))
    }
}

/// HTTP/1.1 wants one `Host`, if an empty one. Nothing here depends on it; a request without is no proper one.
fn check_host(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else { return Err("The request has no Host header.\n") };
    if hosts.next().is_some() {
        return Err("The request has more than one Host header.\n");
    }
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(byte);
    if host.as_bytes().iter().all(plain) { Ok(()) } else { Err("The request has a bad Host header.\n") }
}

/// The body of an answer, on its way until the last of its bytes is gone. It goes in pieces, so that it can be seen
/// whether it goes.
#[derive(Debug)]
pub(super) struct Sent {
    body: Body,
    /// What it had ready beyond the piece before.
    left: Bytes,
    answer: Arc<Answer>,
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.left.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                None => return Poll::Ready(None),
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                Some(Ok(data)) => self.left = data,
            }
        }
        let length = self.left.len().min(limits::PIECE);
        let bytes = self.left.split_to(length);
        let piece = Bytes::from_owner(Piece { bytes, answer: Arc::clone(&self.answer) });
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (left, body) = (self.left.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(left + body.lower());
        if let Some(upper) = body.upper() {
            hint.set_upper(left + upper);
        }
        hint
    }
}

/// Some bytes of an answer. The body is gone as soon as the last of them are in a queue, but they know better.
struct Piece {
    bytes: Bytes,
    answer: Arc<Answer>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.answer.took();
    }
}
