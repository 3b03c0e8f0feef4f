//! What is served over HTTP: metrics for Prometheus, a page for people, health for whoever restarts us.
//!
//! A scrape never waits for the API, a token or a reload; for the disk only where `--web.config.file` is to be
//! obeyed as it is now.

mod files;
mod page;
mod scrape;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::watch;

use exporter_toolkit::web_config::Extension;

use crate::domain::clock::Clock;
use crate::domain::status::Ledger;
use crate::metrics::{Fleet, OwnMetrics, Page};
use crate::supervisor::Reloader;

/// What this program adds to the web configuration file.
pub const WEB_CONFIG_EXTENSION: Extension =
    Extension { section: "partner_license_exporter", health: &["/-/healthy", "/-/ready"] };

/// What the web surface shows and can ask for.
#[derive(Debug)]
pub struct Web {
    /// The accounts' series, ready to be sent.
    pub page: watch::Receiver<Arc<Page>>,
    /// The process' own series.
    pub own: Arc<OwnMetrics>,
    /// The accounts, for the status page and for readiness.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// Reloads the configuration.
    pub reloader: Reloader,
    /// The time of day.
    pub clock: Clock,
    /// Where metrics are exposed, such as `/metrics`.
    pub telemetry_path: String,
}

/// The routes of the program.
pub fn router(web: Web) -> Router {
    let telemetry_path = web.telemetry_path.clone();
    let router = Router::new().route(&telemetry_path, get(scrape::metrics));
    // Whoever wants metrics there has no page.
    let router = if telemetry_path == "/" { router } else { router.route("/", get(status_page)) };
    router
        .route("/dashboards/{name}", get(files::dashboard))
        .route("/runbooks/{alert}", get(files::runbook))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload).put(reload).fallback(reload_needs_post))
        .fallback(async || (StatusCode::NOT_FOUND, "404 page not found\n"))
        .with_state(Arc::new(web))
}

/// Returns a function that counts the scrapes among the requests that `--web.max-requests` refuses.
pub fn count_refusals(own: Arc<OwnMetrics>, telemetry_path: String) -> impl Fn(&Uri) + Send + Sync + 'static {
    move |uri| {
        if uri.path() == telemetry_path {
            own.answered(503);
        }
    }
}

async fn status_page(State(web): State<Arc<Web>>) -> Response {
    let fleet = Arc::clone(&web.fleet.borrow());
    page::answer(fleet, web.telemetry_path.clone(), web.clock.now()).await
}

async fn healthy() -> &'static str {
    "partner-license-exporter is Healthy.\n"
}

/// Ready once every account was tried or has its rows of before the restart. An account that a reload adds does
/// not count: it must not take the others out of service.
async fn ready(State(web): State<Arc<Web>>) -> (StatusCode, String) {
    let fleet = Arc::clone(&web.fleet.borrow());
    let statuses = fleet.accounts.iter().map(Ledger::read);
    match statuses.filter(|status| !status.told() && !status.added_by_reload).count() {
        0 => (StatusCode::OK, "partner-license-exporter is Ready.\n".to_owned()),
        waiting => {
            let text = format!("{waiting} of {} accounts have not been polled yet.\n", fleet.accounts.len());
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

async fn reload(State(web): State<Arc<Web>>) -> (StatusCode, String) {
    match web.reloader.reload().await {
        Some(Ok(())) => (StatusCode::OK, "Configuration reloaded.\n".to_owned()),
        Some(Err(error)) => {
            let text = format!("failed to reload config: {:#}\n", anyhow::Error::new(error));
            (StatusCode::INTERNAL_SERVER_ERROR, text)
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "The exporter is stopping.\n".to_owned()),
    }
}

async fn reload_needs_post() -> impl IntoResponse {
    (StatusCode::METHOD_NOT_ALLOWED, [("Allow", "POST, PUT")], "This endpoint requires a POST request.\n")
}

#[cfg(test)]
mod tests;
