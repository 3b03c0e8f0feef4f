//! What several endpoints do with requests and responses.
//!
//! It knows neither of the two services.

use std::io::Read as _;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use flate2::{Compression, read::GzEncoder};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::scenario::Behaviour;

pub(crate) const BYTE_ORDER_MARK: &str = "\u{feff}";
pub(crate) const JSON_UTF8: &str = "application/json; charset=utf-8";
/// The default `Retry-After` of a throttled response, in seconds.
pub(crate) const RETRY_AFTER: u64 = 57;

pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_string(body).expect("structs of text and numbers serialise to JSON");
    text(status, JSON_UTF8, body)
}

pub(crate) fn text(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    (status, [(header::CONTENT_TYPE, content_type)], body.into()).into_response()
}

/// Makes an HTML page; `body` must be HTML.
pub(crate) fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body><h1>{title}</h1>\n{body}\n</body></html>\n"
    );
    text(status, "text/html; charset=utf-8", html)
}

/// The origin that the caller addressed, such as `http://localhost:1234`.
///
/// The simulator itself serves plain http only; a proxy in front of it announces TLS by `X-Forwarded-Proto`.
pub(crate) fn origin(request: &HeaderMap) -> Option<String> {
    let host = request.get(header::HOST)?.to_str().ok()?;
    let tls = request.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let scheme = if tls { "https" } else { "http" };
    Some(format!("{scheme}://{host}"))
}

/// Sets a header, unless the value is not valid in one.
pub(crate) fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Sets the headers of a response that must not be cached.
pub(crate) fn forbid_caching(response: &mut Response, now: Timestamp) {
    set(response, header::CACHE_CONTROL, "no-store");
    set(response, header::PRAGMA, "no-cache");
    set(response, header::DATE, &http_date(now));
}

/// Applies a behaviour's body, `Retry-After` and status, before the endpoint sets its common headers.
pub(crate) fn override_response<A, R>(mut response: Response, behaviour: &Behaviour<A, R>) -> Response {
    let body = behaviour.body.clone().map(String::into_bytes).or_else(|| behaviour.body_base64.clone());
    if let Some(body) = body {
        *response.body_mut() = body.into();
    }

    let throttled = response.status() == StatusCode::TOO_MANY_REQUESTS;
    if let Some(seconds) = behaviour.retry_after.or(throttled.then_some(RETRY_AFTER)) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if let Some(status) = behaviour.status {
        *response.status_mut() = status;
    }
    response
}

/// Applies the rest of a behaviour to a response that is otherwise complete: merge, compression, headers and delay.
pub(crate) async fn finish<A, R>(mut response: Response, behaviour: &Behaviour<A, R>) -> Response {
    if !behaviour.merge.is_empty() {
        response = with_body(response, |body| merged(body, &behaviour.merge)).await;
    }
    if behaviour.gzip {
        response = with_body(response, |body| compressed(&body)).await;
        set(&mut response, header::CONTENT_ENCODING, "gzip");
    }
    for (name, value) in &behaviour.headers {
        match value {
            Some(value) => drop(response.headers_mut().insert(name, value.clone())),
            None => drop(response.headers_mut().remove(name)),
        }
    }
    tokio::time::sleep(behaviour.delay).await;
    response
}

async fn with_body(response: Response, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Response {
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    Response::from_parts(parts, change(body.into()).into())
}

/// Sets the members of `changes` in a body that is a JSON object, or removes those that are null.
///
/// A byte order mark stays, and so does a body that is not a JSON object.
fn merged(body: Vec<u8>, changes: &Map<String, Value>) -> Vec<u8> {
    let json = body.strip_prefix(BYTE_ORDER_MARK.as_bytes());
    let mark = if json.is_some() { BYTE_ORDER_MARK } else { "" };
    let Ok(mut object) = serde_json::from_slice::<Map<String, Value>>(json.unwrap_or(&body)) else {
        return body;
    };
    for (name, value) in changes {
        if value.is_null() {
            object.shift_remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
    format!("{mark}{}", Value::Object(object)).into_bytes()
}

fn compressed(body: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    let mut encoder = GzEncoder::new(body, Compression::default());
    encoder.read_to_end(&mut compressed).expect("reading from memory cannot fail");
    compressed
}

pub(crate) fn http_date(now: Timestamp) -> String {
    now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
