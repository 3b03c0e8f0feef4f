//! Serves the bundled dashboards, runbooks and documents, to which pages link.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::bundled::DASHBOARDS;

use super::page::markdown::{self, Kind};
use super::site::Site;

/// Answers `/dashboards/{name}` with JSON for Grafana's import.
pub(super) async fn dashboard(Path(name): Path<String>) -> Response {
    match DASHBOARDS.iter().find(|(path, _)| *path == name) {
        Some((_, text)) => file("application/json", text),
        None => not_found(),
    }
}

/// Answers `/runbooks/{alert}`, also with the end `.md`.
pub(super) async fn runbook(site: State<Arc<Site>>, name: Path<String>, headers: HeaderMap) -> Response {
    document(Kind::Runbook, &site, &name, &headers)
}

/// Answers `/concepts/{name}`, also with the end `.md`.
pub(super) async fn concept(site: State<Arc<Site>>, name: Path<String>, headers: HeaderMap) -> Response {
    document(Kind::Concept, &site, &name, &headers)
}

/// Answers with a page, or with the Markdown itself if the client asks for text and not for HTML.
fn document(kind: Kind, site: &Site, name: &str, headers: &HeaderMap) -> Response {
    let name = name.strip_suffix(".md").unwrap_or(name);
    let Some((name, text)) = kind.all().find(|(known, _)| *known == name) else { return not_found() };
    let mut response = if wants_text(headers) {
        file("text/markdown; charset=utf-8", text)
    } else {
        markdown::respond(kind, (name, text), site.telemetry_path != "/")
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn wants_text(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let types = accepted
        .flat_map(|accept| accept.split(','))
        .map(|part| part.split(';').next().unwrap_or(part).trim());
    let types: Vec<&str> = types.collect();
    types.iter().any(|kind| ["text/markdown", "text/plain"].contains(kind)) && !types.contains(&"text/html")
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, content_type), (X_CONTENT_TYPE_OPTIONS, "nosniff")], text).into_response()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}
