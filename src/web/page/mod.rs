//! The status page at `/`, for people: which accounts work, since when, and what they report.
//!
//! Rendered on the server, without script or outside asset, and within bounds however many rows there are.
//! Everything that comes from outside is escaped.

mod account;
mod table;
mod text;

use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::bundled::{DASHBOARDS, runbooks};
use crate::metrics::{BUILD, Fleet};

use account::{State, View};
use table::Tally;
use text::{Count, Escaped, Moment, add};

const STYLE: &str = include_str!("style.css");

/// A few bars, in the page itself: a browser that has no icon asks for one.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns=%27http://www.w3.org/2000/svg%27 viewBox=%270 0 16 16%27%3E%3Cpath \
     fill=%27%232f6fc4%27 d=%27M1 2h14v3H1zM1 6.5h9v3H1zM1 11h5v3H1z%27/%3E%3C/svg%3E";

/// The most rows on the page, shared by the accounts: enough for people, and some 2 MB.
const MOST_ROWS: usize = 5_000;
/// What an account has of them, however many accounts there are.
const LEAST_ROWS_OF_AN_ACCOUNT: usize = 10;

/// Nothing but this page's own style is obeyed by a browser, so what slipped through would do no harm.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("Base64 and words are a header's value")
});

/// How many pages are rendered at a time; whoever asks for one more waits.
static RENDERING: Semaphore = Semaphore::const_new(2);

/// The page as it is at `now`.
pub(super) async fn answer(fleet: Arc<Fleet>, telemetry_path: String, now: Timestamp) -> Response {
    // A large fleet takes milliseconds, and scrapes should not wait for them.
    let permit = RENDERING.acquire().await.expect("it is never closed");
    let html = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        render(&fleet, &telemetry_path, now)
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

fn render(fleet: &Fleet, telemetry_path: &str, now: Timestamp) -> String {
    let accounts = fleet.accounts.iter().enumerate();
    let mut views: Vec<View> =
        accounts.map(|(n, ledger)| View::new(n + 1, ledger.read(), fleet, now)).collect();
    views.sort_by_key(|view| view.state);
    let most = (MOST_ROWS / views.len().max(1)).max(LEAST_ROWS_OF_AN_ACCOUNT);

    let mut out = String::new();
    write_head(&mut out, &views, telemetry_path);
    if views.len() > 1 {
        write_summary(&mut out, &views);
    }
    for view in &views {
        view.write(&mut out, fleet, now, most);
    }
    let [(_, version), (_, revision), ..] = BUILD;
    add!(
        &mut out,
        "</main>\n<footer><p>partner-license-exporter {version}, revision {revision:.12}. As of {at}.</p>\n",
        at = Moment(now),
    );
    write_files(&mut out);
    add!(&mut out, "</footer>\n</body>\n</html>\n");
    out
}

/// Links to what the program carries for Grafana and for whoever an alert calls.
fn write_files(out: &mut String) {
    add!(
        out,
        "<details><summary>Grafana dashboards, runbooks of the alerts</summary>\n<ul class=\"files\">\n"
    );
    for (path, _) in DASHBOARDS {
        add!(out, "<li><a href=\"/dashboards/{path}\">{path}</a></li>\n");
    }
    for (alert, _) in runbooks() {
        add!(out, "<li><a href=\"/runbooks/{alert}\">{alert}</a></li>\n");
    }
    add!(
        out,
        "</ul>\n<p><code>partner-license-exporter export</code> writes them, and the alert rules.</p></details>\n"
    );
}

fn write_head(out: &mut String, views: &[View], telemetry_path: &str) {
    let failing = views.iter().filter(|view| view.state == State::Failing).count();
    let state = match failing {
        0 => String::new(),
        _ if views.len() == 1 => "Failing · ".to_owned(),
        _ => format!("{failing} of {} failing · ", views.len()),
    };
    add!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{state}Partner license exporter</title>\n<link rel=\"icon\" href=\"{ICON}\">\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<header><h1>Partner license exporter</h1>\n<nav aria-label=\"Endpoints\"><ul><li><a href=\"{}\">Metrics</a></li>\
         <li><a href=\"/-/healthy\">Health</a></li><li><a href=\"/-/ready\">Readiness</a></li></ul></nav></header>\n<main>\n",
        Escaped(telemetry_path),
    );
}

/// All accounts at a glance, each with a link to its section.
fn write_summary(out: &mut String, views: &[View]) {
    let mut tally = Tally::default();
    for view in views {
        tally.add(view.tally);
    }
    add!(
        out,
        "<section aria-labelledby=\"summary\">\n<h2 id=\"summary\">{}</h2>\n<ul class=\"totals\">\n",
        Count(views.len(), "account")
    );
    for state in State::ALL {
        let count = views.iter().filter(|view| view.state == state).count();
        if count > 0 {
            add!(
                out,
                "<li><strong class=\"state {}\">{count} {}</strong></li>\n",
                state.class(),
                state.word()
            );
        }
    }
    add!(out, "<li>{} of {} low</li>\n", tally.low, Count(tally.rows, "row"));
    if tally.muted > 0 {
        add!(out, "<li>{} muted</li>\n", tally.muted);
    }
    add!(out, "</ul>\n<nav aria-label=\"Accounts\"><ul class=\"accounts\">\n");
    for view in views {
        let (number, state) = (view.number, view.state);
        add!(
            out,
            "<li class=\"{}\"><a href=\"#account-{number}\"><bdi>{}</bdi></a> <span>{}",
            state.class(),
            view.name(),
            state.word()
        );
        if let Some(reason) = view.reason() {
            add!(out, ": {reason}");
        }
        if view.tally.low > 0 {
            add!(out, ", {} low", view.tally.low);
        }
        add!(out, "</span></li>\n");
    }
    add!(out, "</ul></nav>\n</section>\n");
}
