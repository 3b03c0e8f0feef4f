//! Serves the bundled dashboards and runbooks, to which the status page links.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};

use crate::bundled::{DASHBOARDS, runbooks};

/// Answers `/dashboards/{name}` with JSON for Grafana's import.
pub(super) async fn dashboard(Path(name): Path<String>) -> Response {
    let text = DASHBOARDS.iter().find(|(path, _)| *path == name).map(|(_, text)| *text);
    respond("application/json", text)
}

/// Answers `/runbooks/{alert}` with Markdown as plain text.
pub(super) async fn runbook(Path(alert): Path<String>) -> Response {
    respond("text/plain; charset=utf-8", runbooks().find(|(name, _)| *name == alert).map(|(_, text)| text))
}

fn respond(content_type: &'static str, text: Option<&'static str>) -> Response {
    match text {
        Some(text) => {
            ([(CONTENT_TYPE, content_type), (X_CONTENT_TYPE_OPTIONS, "nosniff")], text).into_response()
        }
        None => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
    }
}
