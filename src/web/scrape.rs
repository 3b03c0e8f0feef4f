//! Serves `/metrics`.
//!
//! All scrapes share the encoded bytes of the accounts' families; the families of the process and the trailer are
//! encoded for each scrape. A missing body is encoded on a blocking thread.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use tokio::task::spawn_blocking;

use crate::metrics::{self, InFlight, MetricsSnapshot, OwnMetrics, Selection};
use exporter_toolkit::negotiation::{Coding, EncodedPrefix, Format, NegotiatedFormat};

use super::site::Site;

/// Answers a scrape.
pub(super) async fn metrics(
    State(site): State<Arc<Site>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let own = &site.own;
    let in_flight = own.scrape_begins();
    let negotiated = NegotiatedFormat::from_headers(&headers, &Format::ALL);
    let coding = Coding::from_headers(&headers);
    let snapshot = Arc::clone(&site.snapshot.borrow());
    let selection = selection(query.as_deref());
    let parts = parts(snapshot, Arc::clone(own), selection, negotiated.format, coding).await;
    let Some((first, last)) = parts else {
        return failed(own);
    };
    own.answered(200);

    let body = Body::new(Parts([first, Bytes::from_owner(Last { bytes: last, _in_flight: in_flight })]));
    let mut response = Response::new(body);
    response.headers_mut().extend(negotiated.response_headers(coding));
    response
}

/// The response to an internal error.
pub(super) fn failed(own: &OwnMetrics) -> Response {
    own.answered(500);
    (StatusCode::INTERNAL_SERVER_ERROR, "The metrics could not be written.\n").into_response()
}

/// The families selected by `name[]`; all if there is none.
fn selection(query: Option<&str>) -> Selection {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let names: Vec<String> =
        pairs.filter(|(key, _)| key == "name[]").map(|(_, name)| name.into_owned()).collect();
    if names.is_empty() { Selection::everything() } else { Selection::of(names) }
}

/// Both parts of a body; `None` after an internal error.
async fn parts(
    snapshot: Arc<MetricsSnapshot>,
    own: Arc<OwnMetrics>,
    selection: Selection,
    format: Format,
    coding: Coding,
) -> Option<(Bytes, Vec<u8>)> {
    if !selection.is_everything() {
        let whole = move || {
            let prefix = coding.encode_prefix(snapshot.encode(format, &selection));
            let end = end(&own, format, &selection, &prefix);
            (prefix.bytes, end)
        };
        return run_blocking(whole).await;
    }
    if snapshot.ready(format, coding).is_none() {
        let snapshot = Arc::clone(&snapshot);
        run_blocking(move || _ = snapshot.body(format, coding)).await?;
    }
    let prefix = snapshot.body(format, coding);
    Some((prefix.bytes.clone(), end(&own, format, &selection, prefix)))
}

/// The last part of a body: the families of the process and the trailer.
fn end(own: &Arc<OwnMetrics>, format: Format, selection: &Selection, prefix: &EncodedPrefix) -> Vec<u8> {
    let mut rest = own.encode(format, selection);
    rest.extend_from_slice(metrics::trailer(format));
    prefix.finish(rest)
}

/// Runs blocking work without delaying other requests; `None` if it panics.
pub(super) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let done = spawn_blocking(work).await;
    done.inspect_err(|error| tracing::error!(err = %error, "Cannot write the metrics")).ok()
}

/// The last part of a body; the scrape is in flight until it has been passed to the operating system.
struct Last {
    bytes: Vec<u8>,
    _in_flight: InFlight,
}

impl AsRef<[u8]> for Last {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body of two parts, which are not copied together.
struct Parts([Bytes; 2]);

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = self.0.iter_mut().find(|part| !part.is_empty());
        Poll::Ready(next.map(|part| Ok(Frame::data(std::mem::take(part)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|part| part.len() as u64).sum())
    }
}
