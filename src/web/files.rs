//! The bundled dashboards and runbooks, for whoever looks at the status page and has no copy of the repository.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};

use crate::bundled::{DASHBOARDS, runbooks};

/// `/dashboards/{name}`, to be imported into Grafana.
pub(super) async fn dashboard(Path(name): Path<String>) -> Response {
    let text = DASHBOARDS.iter().find(|(path, _)| *path == name).map(|(_, text)| *text);
    answer("application/json", text)
}

/// `/runbooks/{alert}`, as the text that it is: Markdown reads well as such.
pub(super) async fn runbook(Path(alert): Path<String>) -> Response {
    answer("text/plain; charset=utf-8", runbooks().find(|(name, _)| *name == alert).map(|(_, text)| text))
}

fn answer(content_type: &'static str, text: Option<&'static str>) -> Response {
    match text {
        Some(text) => {
            ([(CONTENT_TYPE, content_type), (X_CONTENT_TYPE_OPTIONS, "nosniff")], text).into_response()
        }
        None => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
    }
}
