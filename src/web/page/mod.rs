//! Renders the status page at `/`, for people: which accounts work, since when, and what they report.
//!
//! The page has no script and fetches nothing, and its size is bounded however many rows there are. The templates of
//! maud escape every value.

mod account;
mod collection;
mod context;
mod customer_tables;
pub(super) mod customers;
mod document;
mod fact;
mod limits;
pub(super) mod markdown;
mod table;
mod text;
mod worst;

use std::ops::Add as _;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use maud::{Markup, html};
use tokio::sync::Semaphore;
use tokio::task::JoinError;

use crate::bundled::{DASHBOARDS, runbooks};
use crate::domain::shard::Shard;
use crate::metrics::{Accounts, BUILD, FailedReload};

use super::site::Site;

use account::AccountView;
use collection::CollectionState;
use context::Context;
use table::RowCounts;
use text::{Count, Length, link, time, visible};

/// The maximum number of rows on the page, shared by all accounts: some 2 MB.
const MAX_ROWS: usize = 5_000;
/// The minimum share of an account, however many accounts there are.
const MIN_ROWS_PER_ACCOUNT: usize = 10;

/// How many pages, or pieces of a file, are rendered at a time; further ones wait.
static RENDERING: Semaphore = Semaphore::const_new(2);

/// Answers a request for the page; the client knows the exporter by `address`.
pub(super) async fn respond(site: Arc<Site>, address: Option<String>) -> Response {
    answer_off_thread(move || {
        let accounts = Arc::clone(&site.accounts.borrow());
        let scheme = if site.has_tls { "https" } else { "http" };
        let address = address.as_deref().unwrap_or("127.0.0.1:10365");
        let context = Context {
            now: site.clock.now(),
            shard: site.shard,
            failed_reload: site.own.failed_reload(),
            telemetry_path: site.telemetry_path.clone(),
            poll_now: format!("curl -X POST {scheme}://{address}/-/reload"),
        };
        document::respond(render(&accounts, &context))
    })
    .await
}

/// Answers with what `answer` returns, which is computed off this thread.
pub(super) async fn answer_off_thread(answer: impl FnOnce() -> Response + Send + 'static) -> Response {
    off_thread(answer).await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Returns what `work` returns. Many rows take milliseconds, during which this thread could not answer scrapes.
///
/// # Errors
/// If it panics.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let permit = RENDERING.acquire().await.expect("the semaphore is never closed");
    let working = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    working.await
}

fn render(accounts: &Accounts, context: &Context) -> String {
    let now = context.now;
    let ledgers = accounts.ledgers.iter().enumerate();
    let mut views: Vec<AccountView> =
        ledgers.map(|(n, ledger)| AccountView::new(n + 1, ledger.read(), accounts, now)).collect();
    views.sort_by_key(|view| view.state);
    let most = (MAX_ROWS / views.len().max(1)).max(MIN_ROWS_PER_ACCOUNT);
    let body = html! {
        (header(&context.telemetry_path))
        main {
            @if let Some(failed) = &context.failed_reload { (reload_failed(failed, now)) }
            @if views.len() > 1 { (summary(&views)) }
            @if context.shard != Shard::default() {
                p { "This exporter is shard " (context.shard) ", counted from 0. Other shards poll accounts of their own." }
            }
            @if views.is_empty() {
                p { "This exporter polls no account: all those of the configuration belong to other shards." }
            }
            @for view in &views { (view.section(accounts, context, most)) }
        }
        (footer(now))
    };
    document::render(&title(&views, context.failed_reload.is_some()), &body)
}

/// The title: what needs attention, then the name of the program.
fn title(accounts: &[AccountView], reload_failed: bool) -> String {
    let count = |class| accounts.iter().filter(|account| account.state.class() == class).count();
    let attention = match (count("failing"), count("doubtful"), accounts.len()) {
        (0, 0, _) if reload_failed => "Reload failed · ".to_owned(),
        (0, 0, _) => String::new(),
        (0, _, 1) => "Attention · ".to_owned(),
        (0, doubtful, all) => format!("Attention to {doubtful} of {all} · "),
        (_, _, 1) => "Failing · ".to_owned(),
        (failing, _, all) => format!("{failing} of {all} failing · "),
    };
    attention + "Partner license exporter"
}

/// Renders the problems of a configuration that was not loaded.
fn reload_failed(failed: &FailedReload, now: Timestamp) -> Markup {
    html! {
        section.doubt aria-labelledby="reload" {
            h2 id="reload" { "The configuration was not reloaded" }
            p {
                "The last reload failed " (Length::between(failed.at, now)) " ago, " (time(failed.at))
                ". The previous configuration remains in use, but the exporter would not start with the new one."
            }
            pre { (visible(&failed.text)) }
            p {
                strong { "What to do:" } " correct the file, examine it with "
                code { "partner-license-exporter check" } ", and reload. "
                a href=(link("/runbooks/PartnerLicenseConfigReloadFailed")) { "Runbook" }
            }
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
                @for state in CollectionState::ALL.into_iter().filter(|state| of(*state) > 0) {
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
                                @for (n, reason) in account.reasons().enumerate() {
                                    @if n == 0 { ": " } @else { ", " } (reason.as_str())
                                }
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
