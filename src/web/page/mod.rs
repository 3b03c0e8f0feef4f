//! Renders the status page at `/`, for people: which accounts work, since when, and what they report.
//!
//! The page has no script and fetches nothing, and its size is bounded however many rows there are. The templates of
//! maud escape every value.

mod account;
mod table;
mod text;

use std::ops::Add as _;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use tokio::sync::Semaphore;

use crate::bundled::{DASHBOARDS, runbooks};
use crate::metrics::{Accounts, BUILD};

use account::{AccountState, AccountView};
use table::RowCounts;
use text::{Count, link, time};

const STYLE: &str = include_str!("style.css");

/// The icon, a few bars, within the page: without it a browser would request one.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns=%27http://www.w3.org/2000/svg%27 viewBox=%270 0 16 16%27%3E%3Cpath \
     fill=%27%232f6fc4%27 d=%27M1 2h14v3H1zM1 6.5h9v3H1zM1 11h5v3H1z%27/%3E%3C/svg%3E";

/// The maximum number of rows on the page, shared by all accounts: some 2 MB.
const MAX_ROWS: usize = 5_000;
/// The minimum share of an account, however many accounts there are.
const MIN_ROWS_PER_ACCOUNT: usize = 10;

/// The policy that lets browsers apply this page's own style and nothing else, so that markup from outside would be
/// harmless even if it were not escaped.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("Base64 and words are a valid header value")
});

/// How many pages are rendered at a time; further requests wait.
static RENDERING: Semaphore = Semaphore::const_new(2);

/// Answers a request for the page, as it is at `now`.
pub(super) async fn respond(accounts: Arc<Accounts>, telemetry_path: String, now: Timestamp) -> Response {
    // Many rows take milliseconds, during which this thread could not answer scrapes.
    let permit = RENDERING.acquire().await.expect("the semaphore is never closed");
    let html = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        render(&accounts, &telemetry_path, now)
    });
    let Ok(html) = html.await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let headers = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, Html(html)).into_response()
}

fn render(accounts: &Accounts, telemetry_path: &str, now: Timestamp) -> String {
    let ledgers = accounts.ledgers.iter().enumerate();
    let mut views: Vec<AccountView> =
        ledgers.map(|(n, ledger)| AccountView::new(n + 1, ledger.read(), accounts, now)).collect();
    views.sort_by_key(|view| view.state);
    let most = (MAX_ROWS / views.len().max(1)).max(MIN_ROWS_PER_ACCOUNT);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(&views))
            body {
                (header(telemetry_path))
                main {
                    @if views.len() > 1 { (summary(&views)) }
                    @for view in &views { (view.section(accounts, now, most)) }
                }
                (footer(now))
            }
        }
    };
    page.into_string()
}

fn head(accounts: &[AccountView]) -> Markup {
    let failing = accounts.iter().filter(|account| account.state == AccountState::Failing).count();
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            title {
                @match (failing, accounts.len()) {
                    (0, _) => {}
                    (_, 1) => "Failing · ",
                    (_, all) => { (failing) " of " (all) " failing · " }
                }
                "Partner license exporter"
            }
            link rel="icon" href=(ICON);
            style { (PreEscaped(STYLE)) }
        }
    }
}

fn header(telemetry_path: &str) -> Markup {
    html! {
        header {
            h1 { "Partner license exporter" }
            nav aria-label="Endpoints" {
                ul {
                    @for (path, title) in
                        [(telemetry_path, "Metrics"), ("/-/healthy", "Health"), ("/-/ready", "Readiness")]
                    {
                        li { a href=(link(path)) { (title) } }
                    }
                }
            }
        }
    }
}

/// Renders all accounts at a glance, each with a link to its section.
fn summary(accounts: &[AccountView]) -> Markup {
    let counts = accounts.iter().map(|account| account.counts).fold(RowCounts::default(), RowCounts::add);
    let of = |state| accounts.iter().filter(|account| account.state == state).count();
    html! {
        section aria-labelledby="summary" {
            h2 id="summary" { (Count(accounts.len(), "account")) }
            ul.totals {
                @for state in AccountState::ALL.into_iter().filter(|state| of(*state) > 0) {
                    li { strong.state.(state.class()) { (of(state)) " " (state.word()) } }
                }
                li { (counts.low) " of " (Count(counts.rows, "row")) " low" }
                @if counts.muted > 0 { li { (counts.muted) " muted" } }
            }
            nav aria-label="Accounts" {
                ul.accounts {
                    @for account in accounts {
                        li.(account.state.class()) {
                            a href={ "#account-" (account.number) } { (account.name()) } " "
                            span {
                                (account.state.word())
                                @if let Some(reason) = account.reason() { ": " (reason) }
                                @if account.counts.low > 0 { ", " (account.counts.low) " low" }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Renders the version and links to the dashboards and runbooks that the program carries.
fn footer(now: Timestamp) -> Markup {
    let [(_, version), (_, revision), ..] = BUILD;
    html! {
        footer {
            p {
                "partner-license-exporter " (version) ", revision " (format_args!("{revision:.12}"))
                ". As of " (time(now)) "."
            }
            details {
                summary { "Grafana dashboards, runbooks of the alerts" }
                ul.files {
                    @for (name, _) in DASHBOARDS { li { a href=(link(&format!("/dashboards/{name}"))) { (name) } } }
                    @for (alert, _) in runbooks() { li { a href=(link(&format!("/runbooks/{alert}"))) { (alert) } } }
                }
                p { code { "partner-license-exporter export" } " writes them, and the alert rules." }
            }
        }
    }
}
