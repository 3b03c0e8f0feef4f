//! The frame of a page: its head with the style, and its headers.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// The icon, a few bars, within the page: without it a browser would request one.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns=%27http://www.w3.org/2000/svg%27 viewBox=%270 0 16 16%27%3E%3Cpath \
     fill=%27%232f6fc4%27 d=%27M1 2h14v3H1zM1 6.5h9v3H1zM1 11h5v3H1z%27/%3E%3C/svg%3E";

/// The policy that lets browsers apply this page's own style and nothing else, so that markup from outside would be
/// harmless even if it were not escaped.
static POLICIES: LazyLock<[HeaderValue; 2]> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    ["'none'", "'self'"].map(|forms| {
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action {forms}; \
             frame-ancestors 'none'"
        );
        HeaderValue::from_str(&policy).expect("Base64 and words are a valid header value")
    })
});

/// Where the forms of a page may lead.
#[derive(Clone, Copy)]
pub(super) enum Forms {
    /// Nowhere: it has none.
    None,
    /// To this program.
    Own,
}

/// Renders a page with this title and body.
pub(super) fn render(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="icon" href=(ICON);
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

/// Answers with a page that has no form.
pub(super) fn respond(html: String) -> Response {
    respond_with(html, Forms::None)
}

/// Answers with a page.
pub(super) fn respond_with(html: String, forms: Forms) -> Response {
    let headers = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (CONTENT_SECURITY_POLICY, POLICIES[forms as usize].clone()),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, Html(html)).into_response()
}
