//! Serves HTTP: metrics for Prometheus, a page for people, health and readiness for supervisors.
//!
//! A scrape never waits for the API, for a token or for a reload. It reads the disk only where `--web.config.file` is
//! given, because every request obeys that file as it is now.
//!
//! The modules stand in order of dependency.

mod site;
mod selection;
mod doubt;
mod scrape;
mod page;
mod customers;
mod files;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use exporter_toolkit::cross_site;
use exporter_toolkit::web_config::Extension;

use crate::domain::status::Ledger;
use crate::metrics::OwnMetrics;

pub use site::Site;

/// What this program adds to the web configuration file.
pub const WEB_CONFIG_EXTENSION: Extension =
    Extension { section: "partner_license_exporter", health: &["/-/healthy", "/-/ready"] };

/// Builds the routes of the program.
pub fn router(site: Site) -> Router {
    let telemetry_path = site.telemetry_path.clone();
    let router = Router::new().route(&telemetry_path, get(scrape::metrics));
    // Metrics at `/` leave no place for the page.
    let router = if telemetry_path == "/" { router } else { router.route("/", get(status_page)) };
    router
        .route("/customers", get(customers::html))
        .route("/customers.csv", get(customers::csv))
        .route("/dashboards/{name}", get(files::dashboard))
        .route("/runbooks/{alert}", get(files::runbook))
        .route("/concepts/{name}", get(files::concept))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload).put(reload).fallback(reload_needs_post))
        .fallback(async || (StatusCode::NOT_FOUND, "404 page not found\n"))
        .layer(from_fn(cross_site::refuse))
        .with_state(Arc::new(site))
}

/// Returns a function that counts the scrapes among the requests that `--web.max-requests` refuses.
pub fn count_refusals(own: Arc<OwnMetrics>, telemetry_path: String) -> impl Fn(&Uri) + Send + Sync + 'static {
    move |uri| {
        if uri.path() == telemetry_path {
            own.answered(503);
        }
    }
}

async fn status_page(State(site): State<Arc<Site>>, uri: Uri, headers: HeaderMap) -> Response {
    page::respond(site, address(&uri, &headers)).await
}

/// Returns the host and port that the client has used, unless they contain what a shell could misread.
fn address(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let address = host.or_else(|| Some(uri.authority()?.as_str()))?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    (!address.is_empty() && address.chars().all(is_plain)).then(|| address.to_owned())
}

async fn healthy() -> &'static str {
    "partner-license-exporter is Healthy.\n"
}

/// Answers 200 once every account was polled or its rows were restored. Accounts that a reload has added do not
/// count, because they must not take the others out of service.
async fn ready(State(site): State<Arc<Site>>) -> (StatusCode, String) {
    let accounts = Arc::clone(&site.accounts.borrow());
    let statuses = accounts.ledgers.iter().map(Ledger::read);
    match statuses.filter(|status| !status.is_ready() && !status.added_by_reload).count() {
        0 => (StatusCode::OK, "partner-license-exporter is Ready.\n".to_owned()),
        waiting => {
            let text =
                format!("{waiting} of {} accounts have not been polled yet.\n", accounts.ledgers.len());
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

async fn reload(State(site): State<Arc<Site>>) -> (StatusCode, String) {
    match site.reloader.reload().await {
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
