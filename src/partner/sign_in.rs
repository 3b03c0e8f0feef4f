//! Signing in as a person, once: by device code, or by authorization code with PKCE and a loopback redirect.
//!
//! What comes of it is a refresh token in the store, from which everything else follows. Sources: RFC 8628,
//! RFC 7636, RFC 8252, and Entra ID's description of its v2.0 endpoints.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::reason::Reason;
use crate::domain::status::Endpoint;

use super::claims::Claims;
use super::error::{FetchError, Secrets};
use super::grant::{Grant, Rotation};
use super::hints;
use super::store::StoreError;

/// One person's sign-in to one account.
#[derive(Debug)]
pub struct SignIn {
    grant: Arc<Grant>,
}

/// What the person has to enter, and where.
#[derive(Debug)]
pub struct DeviceCode {
    /// To be entered by the person.
    pub user_code: String,
    /// The page to enter it on.
    pub verification_uri: String,
    /// When the code ends.
    pub expires_at: Instant,
    /// How long to wait between two questions whether the person is done.
    pub interval: Duration,
    secret: SecretString,
}

/// How far the person is.
#[derive(Debug)]
pub enum Progress {
    /// Ask again after the code's interval, which may have grown.
    Pending,
    /// Signed in.
    Done(Box<SignedIn>),
}

/// A sign-in under way in a browser.
#[derive(Debug)]
pub struct BrowserSignIn {
    /// The page to open.
    pub url: Url,
    /// Comes back with the redirect; anything else is not an answer to this sign-in.
    pub state: String,
    redirect_uri: String,
    verifier: SecretString,
}

/// What a person's sign-in brought. Nothing is stored yet.
#[derive(Debug)]
pub struct SignedIn {
    /// What the access token says of itself, if it can be read.
    pub claims: Option<Claims>,
    refresh: SecretString,
    at: Timestamp,
}

#[derive(Deserialize)]
struct DeviceAnswer {
    device_code: SecretString,
    user_code: String,
    verification_uri: String,
    expires_in: Option<u64>,
    interval: Option<u64>,
}

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// RFC 8628, section 3.5: how much longer to wait from a `slow_down` on.
const SLOW_DOWN: Duration = Duration::from_secs(5);

impl SignIn {
    pub(super) fn new(grant: Arc<Grant>) -> Self {
        Self { grant }
    }

    /// Asks for a code that a person can enter anywhere.
    ///
    /// # Errors
    /// [`FetchError`] if the sign-in service gives none.
    pub async fn device_code(&self) -> Result<DeviceCode, FetchError> {
        let url = self.grant.endpoint("devicecode");
        let form = [("client_id", self.grant.client_id.as_str()), ("scope", &self.scope())];
        let asked = Instant::now();
        let request = |client: &Client| client.post(&url).form(&form);
        let reply = self.grant.http.send(Endpoint::Token, request, &CancellationToken::new()).await?;
        if !reply.status.is_success() {
            return Err(FetchError::token(&reply, &Secrets(Vec::new())));
        }
        let answer: DeviceAnswer = serde_json::from_slice(reply.json()).map_err(|_| {
            FetchError::new(Reason::Payload, "the sign-in service answered with no device code")
        })?;
        let shown = Secrets(vec![answer.device_code.clone()]);
        Ok(DeviceCode {
            user_code: shown.one_line(&answer.user_code),
            verification_uri: shown.one_line(&answer.verification_uri),
            expires_at: asked + Duration::from_secs(answer.expires_in.unwrap_or(900).min(24 * 3600)),
            interval: Duration::from_secs(answer.interval.unwrap_or(5).clamp(1, 300)),
            secret: answer.device_code,
        })
    }

    /// Asks whether the person is done.
    ///
    /// # Errors
    /// [`FetchError`] if the sign-in is over without success, or cannot be asked about.
    pub async fn ask(&self, code: &mut DeviceCode) -> Result<Progress, FetchError> {
        let form = [("grant_type", DEVICE_GRANT), ("device_code", code.secret.expose_secret())];
        // The next question is the repetition, and that comes when it is wanted.
        let once = CancellationToken::new();
        once.cancel();
        match self.exchange(&form, vec![code.secret.clone()], &once).await {
            Ok(signed_in) => Ok(Progress::Done(Box::new(signed_in))),
            Err(error) => match error.word() {
                "authorization_pending" => Ok(Progress::Pending),
                "slow_down" => {
                    code.interval += SLOW_DOWN;
                    Ok(Progress::Pending)
                }
                "authorization_declined" | "access_denied" => Err(ended("the sign-in was declined")),
                "bad_verification_code" => Err(ended("the sign-in service does not know the code")),
                "expired_token" => Err(ended("nobody signed in before the code expired")),
                _ => Err(error),
            },
        }
    }

    /// Begins a sign-in in a browser on this machine, which ends at `redirect_uri`.
    pub fn browser(&self, redirect_uri: &str) -> BrowserSignIn {
        let random = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let (state, verifier) = (random(), random());
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        let mut url: Url =
            self.grant.endpoint("authorize").parse().expect("the configuration's address was checked");
        url.query_pairs_mut()
            .append_pair("client_id", &self.grant.client_id)
            .append_pair("response_type", "code")
            .append_pair("response_mode", "query")
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &self.scope())
            .append_pair("state", &state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("prompt", "select_account");
        BrowserSignIn { url, state, redirect_uri: redirect_uri.to_owned(), verifier: verifier.into() }
    }

    /// Exchanges the code that the redirect brought.
    ///
    /// # Errors
    /// [`FetchError`] if it is refused.
    pub async fn redeem(&self, sign_in: &BrowserSignIn, code: &SecretString) -> Result<SignedIn, FetchError> {
        let scope = self.scope();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("redirect_uri", &sign_in.redirect_uri),
            ("code_verifier", sign_in.verifier.expose_secret()),
            ("scope", scope.as_str()),
        ];
        self.exchange(&form, vec![code.clone(), sign_in.verifier.clone()], &CancellationToken::new()).await
    }

    /// Stores the refresh token, and says where. A running exporter finds it there. Another process that renews the
    /// stored token is waited for, unless that is `abandoned`.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written.
    pub async fn store(
        &self,
        signed_in: SignedIn,
        abandoned: &CancellationToken,
    ) -> Result<PathBuf, StoreError> {
        self.grant.begin_anew(signed_in.refresh, signed_in.at, abandoned).await
    }

    /// The file that another process locks while it renews the stored token.
    pub fn lock_path(&self) -> PathBuf {
        self.grant.lock_path()
    }

    fn scope(&self) -> String {
        self.grant.scope(Rotation::Wanted)
    }

    async fn exchange(
        &self,
        form: &[(&str, &str)],
        secrets: Vec<SecretString>,
        abandoned: &CancellationToken,
    ) -> Result<SignedIn, FetchError> {
        let tokens = self.grant.exchange(form, secrets, abandoned, None).await?;
        let claims = Claims::of(&tokens.access);
        let refresh = tokens.refresh.ok_or_else(|| {
            FetchError::new(Reason::Payload, "the sign-in service answered with no refresh token")
        })?;
        Ok(SignedIn { claims, refresh, at: tokens.sent_at })
    }
}

/// A sign-in that ended by what the person did, or did not.
pub fn ended(text: &str) -> FetchError {
    FetchError::new(Reason::Credentials, text).with_remedy("run the command again, and sign in")
}

/// What the redirect of a browser brought instead of a code.
pub fn refused_redirect(error: &str, description: &str) -> FetchError {
    let none = Secrets(Vec::new());
    let line = none.one_line(description.lines().next().unwrap_or_default());
    let refused = ended(&format!("the sign-in service refused, {}: {line}", none.one_line(error)));
    match hints::for_sign_in_text(description) {
        Some(hint) => refused.with_remedy(hint),
        None => refused,
    }
}
