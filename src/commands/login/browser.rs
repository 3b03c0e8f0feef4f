//! Signs in with a browser on this machine: the sign-in service redirects it to a loopback address.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::commands::{output, settings};
use crate::partner::{self, FetchError, SignIn, SignedIn};

use super::progress::ProgressLine;

/// As long as a device code is valid.
const PATIENCE: Duration = Duration::from_mins(15);
/// How long the browser may take to read the last page.
const LAST_PAGE: Duration = Duration::from_secs(1);

/// The query of the redirect.
#[derive(Deserialize)]
struct Redirect {
    state: Option<String>,
    code: Option<SecretString>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Shows the address of the sign-in, opens it where there is a desktop, and waits for the redirect.
///
/// # Errors
/// If nothing can be printed or no port is free. A sign-in that fails is the inner error.
pub(super) async fn sign_in(sign_in: &SignIn) -> anyhow::Result<Result<SignedIn, FetchError>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen on loopback")?;
    let port = listener.local_addr()?.port();
    // App registrations name `localhost`, which browsers resolve to either address.
    let other = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.ok();
    let browser = sign_in.browser(&format!("http://localhost:{port}"));
    let (sender, mut redirects) = mpsc::channel(1);
    let router = router(browser.state.clone(), sender);
    let (stop, servers) = (CancellationToken::new(), TaskTracker::new());
    for listener in std::iter::once(listener).chain(other) {
        let serving =
            axum::serve(listener, router.clone()).with_graceful_shutdown(stop.clone().cancelled_owned());
        servers.spawn(serving.into_future());
    }
    output::print(&format!(
        "To sign in, open\n\n    {}\n\nin a browser on this machine, as a user of the partner tenant who may read \
         analytics in Partner Center, with multi-factor authentication.\n",
        browser.url
    ))?;
    open(browser.url.as_str());
    let end = Instant::now() + PATIENCE;
    let mut line = ProgressLine::new(end);
    let redirect = line.during(timeout_at(end, redirects.recv())).await?;
    stop.cancel();
    servers.close();
    // The sign-in continues even if the browser has not read the page.
    drop(timeout(LAST_PAGE, servers.wait()).await);
    let Ok(Some(redirect)) = redirect else {
        return Ok(Err(partner::sign_in_failed("nobody signed in within 15 minutes")));
    };
    match redirect.code {
        Some(code) => Ok(line.during(sign_in.redeem(&browser, &code)).await?),
        None => Ok(Err(sign_in.refused(
            &browser,
            redirect.error.as_deref().unwrap_or("no code"),
            redirect.error_description.as_deref().unwrap_or_default(),
        ))),
    }
}

/// Accepts the first redirect that carries the `state` of this sign-in.
fn router(state: String, sender: mpsc::Sender<Redirect>) -> Router {
    let accept = async move |Query(redirect): Query<Redirect>| {
        let is_ours = redirect.state.as_ref() == Some(&state);
        if is_ours && sender.try_send(redirect).is_ok() {
            let text = "<p>Thank you. The terminal shows the result; this page can be closed.</p>";
            (StatusCode::OK, Html(text))
        } else {
            (StatusCode::BAD_REQUEST, Html("<p>This does not belong to the sign-in in progress.</p>"))
        }
    };
    Router::new().route("/", get(accept))
}

/// Opens the address where there is a desktop. Elsewhere the person copies it.
fn open(url: &str) {
    let has_desktop =
        ["DISPLAY", "WAYLAND_DISPLAY"].into_iter().any(|name| settings::environment(name).is_some());
    if has_desktop {
        let mut command = Command::new("xdg-open");
        command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A failure needs no message, because the address is on the screen.
        drop(command.spawn());
    }
}
