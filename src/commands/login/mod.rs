//! `login`: a person signs in once, and the resulting refresh token is stored in the state directory.

mod browser;
mod device_code;
mod progress;

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::commands::cli::LoginFlags;
use crate::commands::lifecycle::EXIT_FAILED;
use crate::commands::{output, settings};
use crate::config::{Account, Config};
use crate::domain::clock::Clock;
use crate::domain::status::Ledger;
use crate::partner::{Claims, FetchError, PartnerCenter, SignIn, SignedIn, TokenStore, TrustAnchors, remedy};

pub(super) async fn run(flags: LoginFlags) -> anyhow::Result<ExitCode> {
    let config = settings::source(&flags.config).load(&settings::environment)?;
    let account = settings::account(&config, flags.account.as_deref())?;
    let sign_in = prepare(&config, account)?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // A signal drops the future, which ends its line on the terminal.
    let signed_in = tokio::select! {
        outcome = ask(&sign_in, flags.browser) => outcome?,
        _ = interrupt.recv() => return failed("Stopped. Nothing is stored."),
        _ = terminate.recv() => return failed("Stopped. Nothing is stored."),
    };
    let signed_in = match signed_in {
        Ok(signed_in) => signed_in,
        Err(error) => {
            let remedy = remedy::within_login(error.remedy(), flags.browser, &account.command_flags);
            return failed(&format!("Not signed in: {error}\nWhat to do: {remedy}."));
        }
    };
    // From here on a signal loses no token: it only ends the wait for another process.
    let stop_waiting = CancellationToken::new();
    let mut storing = pin!(store(&sign_in, signed_in, account, &stop_waiting));
    loop {
        tokio::select! { biased;
            outcome = &mut storing => return outcome,
            _ = interrupt.recv() => stop_waiting.cancel(),
            _ = terminate.recv() => stop_waiting.cancel(),
        }
    }
}

fn prepare(config: &Config, account: &Account) -> anyhow::Result<SignIn> {
    let store = TokenStore::open(&config.state_directory, account)?;
    // Nothing reads this one.
    let ledger = Ledger::new(None, Arc::default());
    let (clock, anchors) = (Clock::system(), TrustAnchors::default());
    let center = PartnerCenter::new(account, store, &ledger, &clock, config.poll_timeout, &anchors)?;
    Ok(center.sign_in())
}

async fn ask(sign_in: &SignIn, browser: bool) -> anyhow::Result<Result<SignedIn, FetchError>> {
    if browser { browser::sign_in(sign_in).await } else { device_code::sign_in(sign_in).await }
}

/// Stores the refresh token, unless it is for another API, and prints the outcome. A cancelled `stop_waiting` ends the wait for
/// another process that holds the lock.
async fn store(
    sign_in: &SignIn,
    signed_in: SignedIn,
    account: &Account,
    stop_waiting: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    /// A renewal by another process rarely takes longer.
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
    // Storing comes before printing, which may fail.
    let mut storing = pin!(sign_in.store(signed_in, stop_waiting));
    let stored = if let Ok(stored) = timeout(SHORT_WAIT, storing.as_mut()).await {
        stored
    } else {
        // Before the token is stored, a full disk must not end this.
        drop(output::print(&format!(
            "Signed in. Waiting for another process that has locked {}. Ctrl+C stores the token at once.",
            sign_in.lock_path().display()
        )));
        storing.await
    };
    let path = match stored {
        Ok(path) => path,
        Err(error) => {
            let remedy = if error.lacks_permission() { "let this user write there" } else { "mend that" };
            return failed(&format!(
                "Signed in, but the refresh token cannot be stored: {error}\nWhat to do: {remedy}, and sign in again."
            ));
        }
    };
    output::print(&remedy::with_flags(&describe(claims.as_ref()), &account.command_flags))?;
    output::print(&format!(
        "The refresh token is stored in {}.\nA running exporter finds it there within seconds. It is renewed at \
         every use, and expires if it is not used for 90 days.",
        path.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn failed(text: &str) -> anyhow::Result<ExitCode> {
    output::print(text)?;
    Ok(ExitCode::from(EXIT_FAILED))
}

/// Describes who signed in, and whether Partner Center accepts it.
fn describe(claims: Option<&Claims>) -> String {
    let Some(claims) = claims else {
        return "Signed in. The access token cannot be read: `partner-license-exporter doctor` shows whether it is \
                accepted."
            .to_owned();
    };
    let user = claims.user.as_deref().unwrap_or("a user without a name");
    let second_factor = match claims.has_mfa() {
        Some(true) => ", with multi-factor authentication, as Partner Center demands.",
        Some(false) => {
            ".\nWARNING: the sign-in had no multi-factor authentication. Partner Center refuses such tokens, and \
             refreshing does not change that.\nWhat to do: have multi-factor authentication required for this user, \
             and sign in again."
        }
        None => ". The token does not say whether that was with multi-factor authentication.",
    };
    format!("Signed in as {user}{second_factor}")
}
