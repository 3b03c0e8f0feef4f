//! `login`: a person signs in once, and the refresh token that comes of it goes into the state directory.

use std::io::{IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::process::ExitCode;
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
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::commands::cli::LoginFlags;
use crate::commands::lifecycle::EXIT_FAILED;
use crate::config::{Account, Config};
use crate::domain::clock::Clock;
use crate::domain::status::Ledger;
use crate::partner::{
    self, BrowserSignIn, Claims, FetchError, PartnerCenter, Progress, SignIn, SignedIn, TokenStore,
};

use super::say;

pub(super) async fn run(flags: LoginFlags) -> anyhow::Result<ExitCode> {
    let config = super::check::source(&flags.config).load(&super::environment)?;
    let account = super::choose(&config, flags.account.as_deref())?;
    let sign_in = prepare(&config, account)?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // Dropped at a signal, it ends its line on the terminal.
    let signed_in = tokio::select! {
        outcome = ask(&sign_in, flags.browser) => outcome?,
        _ = interrupt.recv() => return failed("Stopped. Nothing is stored."),
        _ = terminate.recv() => return failed("Stopped. Nothing is stored."),
    };
    match signed_in {
        Ok(signed_in) => {
            // What the person has brought about is not thrown away: a signal only ends the wait for others.
            let hurry = CancellationToken::new();
            let keeping = keep(&sign_in, signed_in, account, &hurry);
            let mut keeping = pin!(keeping);
            loop {
                tokio::select! { biased;
                    outcome = &mut keeping => return outcome,
                    _ = interrupt.recv() => hurry.cancel(),
                    _ = terminate.recv() => hurry.cancel(),
                }
            }
        }
        Err(error) => failed(&format!("Not signed in: {error}\nWhat to do: {}.", error.remedy())),
    }
}

fn prepare(config: &Config, account: &Account) -> anyhow::Result<SignIn> {
    let store = TokenStore::open(&config.state_directory, account)?;
    // Nobody reads this one.
    let ledger = Ledger::new(None, std::sync::Arc::default());
    let center = PartnerCenter::new(account, store, &ledger, &Clock::system(), config.poll_timeout)?;
    Ok(center.sign_in())
}

async fn ask(sign_in: &SignIn, browser: bool) -> anyhow::Result<Result<SignedIn, FetchError>> {
    if browser { by_browser(sign_in).await } else { by_device_code(sign_in).await }
}

async fn keep(
    sign_in: &SignIn,
    signed_in: SignedIn,
    account: &Account,
    hurry: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    /// A renewal that another process has begun is over sooner, as a rule.
    const SHORT_WAIT: Duration = Duration::from_secs(2);
    let claims = signed_in.claims.clone();
    if let Some(claims) = &claims
        && !claims.is_for(&account.cloud)
    {
        return failed(&format!(
            "Signed in, but the token is for {}, not for {}. Nothing is stored.\nWhat to do: check cloud, or \
             api_base_url if the cloud is custom.",
            claims.audience.as_deref().unwrap_or("nobody"),
            account.cloud.api_base_url
        ));
    }
    // Before anything is said: whoever cannot read it still has the token.
    let mut storing = pin!(sign_in.store(signed_in, hurry));
    let stored = if let Ok(stored) = timeout(SHORT_WAIT, storing.as_mut()).await {
        stored
    } else {
        say(&format!(
            "Signed in. Another process keeps {} locked, and is waited for. Ctrl+C stores the token at once.",
            sign_in.lock_path().display()
        ))?;
        storing.await
    };
    let path = match stored {
        Ok(path) => path,
        Err(error) => {
            return failed(&format!(
                "Signed in, but the refresh token cannot be stored: {error}\nWhat to do: let this user write \
                 there, and sign in again."
            ));
        }
    };
    say(&worth(claims.as_ref()))?;
    say(&format!(
        "The refresh token is stored in {}.\nA running exporter finds it there within seconds. It is renewed at \
         every use, and ends if it is not used for 90 days.",
        path.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn failed(text: &str) -> anyhow::Result<ExitCode> {
    say(text)?;
    Ok(ExitCode::from(EXIT_FAILED))
}

/// What a token for the right API is worth there.
fn worth(claims: Option<&Claims>) -> String {
    let Some(claims) = claims else {
        return "Signed in. The access token cannot be looked into: `partner-license-exporter doctor` tells \
                whether it is accepted."
            .to_owned();
    };
    let user = claims.user.as_deref().unwrap_or("somebody without a name");
    let second_factor = match claims.has_mfa() {
        Some(true) => ", with multi-factor authentication, as Partner Center demands.",
        Some(false) => {
            ".\nWARNING: the sign-in had no multi-factor authentication. Partner Center refuses such tokens, and \
             refreshing cannot repair them.\nWhat to do: have multi-factor authentication required for this user, \
             and sign in again."
        }
        None => ". The token does not say whether that was with multi-factor authentication.",
    };
    format!("Signed in as {user}{second_factor}")
}

// === device code ===

async fn by_device_code(sign_in: &SignIn) -> anyhow::Result<Result<SignedIn, FetchError>> {
    let mut code = match sign_in.device_code().await {
        Ok(code) => code,
        Err(error) => return Ok(Err(error)),
    };
    say(&format!(
        "To sign in, open\n\n    {}\n\nand enter the code\n\n    {}\n\nSign in as a user of the partner tenant who may \
         read analytics in Partner Center, with multi-factor authentication.\n",
        code.verification_uri, code.user_code
    ))?;
    let (end, mut pause) = (code.expires_at, code.interval);
    let mut line = ProgressLine::new(end);
    let mut in_trouble = false;
    loop {
        line.during(sleep_until(end.min(Instant::now() + pause))).await?;
        pause = match line.during(sign_in.ask(&mut code)).await? {
            Ok(Progress::Done(signed_in)) => return Ok(Ok(*signed_in)),
            Ok(Progress::Pending) => {
                in_trouble = false;
                code.interval
            }
            // The person may be done by the time that the network is back.
            Err(error) if error.is_transient() => {
                if !std::mem::replace(&mut in_trouble, true) {
                    line.interrupt(&format!("Still waiting, although {error}"))?;
                }
                code.interval.max(error.retry_after().unwrap_or_default())
            }
            Err(error) => return Ok(Err(error)),
        };
        if Instant::now() >= end {
            return Ok(Err(partner::sign_in_failed("nobody signed in before the code expired")));
        }
    }
}

/// `Waiting for the sign-in, 14:32 left`: over and over in one line on a terminal, which ends with this value,
/// and once a minute elsewhere.
struct ProgressLine {
    end: Instant,
    is_terminal: bool,
    /// When the line was last written, unless it was ended since.
    shown: Option<Instant>,
}

impl ProgressLine {
    fn new(end: Instant) -> Self {
        Self { end, is_terminal: std::io::stdout().is_terminal(), shown: None }
    }

    /// Shows it every second until `work` is done.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> std::io::Result<T> {
        let mut work = pin!(work);
        let mut second = interval(Duration::from_secs(1));
        loop {
            tokio::select! { biased;
                outcome = &mut work => return Ok(outcome),
                _ = second.tick() => self.show()?,
            }
        }
    }

    fn show(&mut self) -> std::io::Result<()> {
        const MINUTE: Duration = Duration::from_mins(1);
        if !self.is_terminal && self.shown.is_some_and(|shown| shown.elapsed() < MINUTE) {
            return Ok(());
        }
        self.shown = Some(Instant::now());
        let left = self.end.saturating_duration_since(Instant::now()).as_secs();
        let text = format!("Waiting for the sign-in, {}:{:02} left", left / 60, left % 60);
        if !self.is_terminal {
            return say(&text);
        }
        let mut out = std::io::stdout().lock();
        // The space covers the last character of a longer text.
        write!(out, "\r{text} ")?;
        out.flush()
    }

    /// Says something else, in lines of its own.
    fn interrupt(&mut self, text: &str) -> std::io::Result<()> {
        self.finish();
        say(text)
    }

    fn finish(&mut self) {
        if self.is_terminal && self.shown.take().is_some() {
            // A terminal that is gone needs no end of a line.
            drop(say(""));
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.finish();
    }
}

// === browser ===

/// What the redirect brings.
#[derive(Deserialize)]
struct Redirect {
    state: Option<String>,
    code: Option<SecretString>,
    error: Option<String>,
    error_description: Option<String>,
}

async fn by_browser(sign_in: &SignIn) -> anyhow::Result<Result<SignedIn, FetchError>> {
    /// As long as a device code lives.
    const PATIENCE: Duration = Duration::from_mins(15);
    /// How long a browser may take to read the last page.
    const FAREWELL: Duration = Duration::from_secs(1);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen on loopback")?;
    let port = listener.local_addr()?.port();
    // `localhost` is what app registrations name; browsers may take it for either address.
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
    say(&format!(
        "To sign in, open\n\n    {}\n\nin a browser on this machine, as a user of the partner tenant who may read \
         analytics in Partner Center, with multi-factor authentication.\n",
        browser.url
    ))?;
    open(&browser);
    let end = Instant::now() + PATIENCE;
    let mut line = ProgressLine::new(end);
    let redirect = line.during(timeout_at(end, redirects.recv())).await?;
    stop.cancel();
    servers.close();
    // Whether it has read the page or not: the sign-in goes on.
    drop(timeout(FAREWELL, servers.wait()).await);
    let Ok(Some(redirect)) = redirect else {
        return Ok(Err(partner::sign_in_failed("nobody signed in within 15 minutes")));
    };
    match redirect.code {
        Some(code) => Ok(line.during(sign_in.redeem(&browser, &code)).await?),
        None => Ok(Err(partner::redirect_error(
            redirect.error.as_deref().unwrap_or("no code"),
            redirect.error_description.as_deref().unwrap_or_default(),
        ))),
    }
}

/// Takes the first redirect that answers to the sign-in with this `state`.
fn router(state: String, sender: mpsc::Sender<Redirect>) -> Router {
    let take = async move |Query(redirect): Query<Redirect>| {
        let ours = redirect.state.as_ref() == Some(&state);
        if ours && sender.try_send(redirect).is_ok() {
            let text = "<p>Thank you. The terminal tells how it went; this page can be closed.</p>";
            (StatusCode::OK, Html(text))
        } else {
            (StatusCode::BAD_REQUEST, Html("<p>This is no answer to the sign-in under way.</p>"))
        }
    };
    Router::new().route("/", get(take))
}

/// Where there is a desktop, its browser opens by itself. Elsewhere the person copies the address.
fn open(browser: &BrowserSignIn) {
    let desktop = ["DISPLAY", "WAYLAND_DISPLAY"].into_iter().any(|name| super::environment(name).is_some());
    if desktop {
        let mut command = std::process::Command::new("xdg-open");
        command.arg(browser.url.as_str()).stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        // Whether it works shows in the browser.
        drop(command.spawn());
    }
}
