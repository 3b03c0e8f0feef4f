//! Signs a person in, by device code or by authorization code with PKCE and a loopback redirect.
//!
//! The result is a refresh token for the store, from which the exporter continues. Sources: RFC 8628, RFC 7636,
//! RFC 8252, and Entra ID's documentation of its v2.0 endpoints.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::failure::FailureReason;

use super::claims::Claims;
use super::error::FetchError;
use super::hints;
use super::http::Retries;
use super::oauth::OAuthError;
use super::redaction::Redactor;
use super::refresh_tokens::RefreshTokens;
use super::store::StoreError;
use super::token_endpoint::{Rotation, TokenEndpoint};

/// The sign-in of a person to one account.
pub struct SignIn {
    endpoint: Arc<TokenEndpoint>,
    refresh_tokens: Arc<RefreshTokens>,
}

/// A device code: what the person has to enter, and where.
#[derive(Debug)]
pub struct DeviceCode {
    /// The code that the person enters.
    pub user_code: String,
    /// The page on which the person enters it.
    pub verification_uri: String,
    /// The expiry of the code.
    pub expires_at: Instant,
    /// The pause between two requests for the outcome.
    pub interval: Duration,
    secret: SecretString,
}

/// The outcome of a sign-in by device code so far.
#[derive(Debug)]
pub enum Progress {
    /// The person has not signed in yet. Ask again after the code's interval, which may have grown.
    Pending,
    /// The person has signed in.
    Done(Box<SignedIn>),
}

/// A sign-in in progress in a browser.
#[derive(Debug)]
pub struct BrowserSignIn {
    /// The page to open.
    pub url: Url,
    /// The value that the redirect must repeat to belong to this sign-in.
    pub state: String,
    redirect_uri: String,
    verifier: SecretString,
}

/// A completed sign-in, whose refresh token is not stored yet.
#[derive(Debug)]
pub struct SignedIn {
    /// The claims of the access token, if it can be read.
    pub claims: Option<Claims>,
    refresh_token: SecretString,
    at: Timestamp,
}

#[derive(Deserialize)]
struct DeviceCodeResponse {
    device_code: SecretString,
    user_code: String,
    verification_uri: String,
    expires_in: Option<u64>,
    interval: Option<u64>,
}

/// The remedy where a sign-in ends without a refresh token.
pub(super) const NO_REFRESH_TOKEN: &str = "add the delegated permission offline_access of Microsoft Graph to the application and consent to it; if it has that, exempt this user from the policy of the tenant that forbids refresh tokens, such as a sign-in frequency of every time";
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// The increase of the interval that `slow_down` demands (RFC 8628, section 3.5).
const SLOW_DOWN: Duration = Duration::from_secs(5);

impl SignIn {
    pub(super) fn new(endpoint: Arc<TokenEndpoint>, refresh_tokens: Arc<RefreshTokens>) -> Self {
        Self { endpoint, refresh_tokens }
    }

    /// Requests a code that a person can enter on any device.
    ///
    /// # Errors
    /// [`FetchError`] if the sign-in service issues none.
    pub async fn device_code(&self) -> Result<DeviceCode, FetchError> {
        let requested = Instant::now();
        let response = self.endpoint.device_code().await?;
        let code: DeviceCodeResponse = serde_json::from_slice(response.json())
            .map_err(|_| FetchError::sign_in_payload("the sign-in service answered with no device code"))?;
        let redactor = Redactor::new(vec![code.device_code.clone()]);
        Ok(DeviceCode {
            user_code: redactor.one_line(&code.user_code),
            verification_uri: redactor.one_line(&code.verification_uri),
            expires_at: requested + Duration::from_secs(code.expires_in.unwrap_or(900).min(24 * 3600)),
            interval: Duration::from_secs(code.interval.unwrap_or(5).clamp(1, 300)),
            secret: code.device_code,
        })
    }

    /// Asks once whether the person has signed in.
    ///
    /// # Errors
    /// [`FetchError`] if the sign-in has failed, or if its outcome is unknown.
    pub async fn ask(&self, code: &mut DeviceCode) -> Result<Progress, FetchError> {
        let form = [("grant_type", DEVICE_GRANT), ("device_code", code.secret.expose_secret())];
        match self.exchange(&form, vec![code.secret.clone()], Retries::Never).await {
            Ok(signed_in) => Ok(Progress::Done(Box::new(signed_in))),
            Err(error) => match error.oauth_error {
                Some(OAuthError::AuthorizationPending) => Ok(Progress::Pending),
                Some(OAuthError::SlowDown) => {
                    code.interval += SLOW_DOWN;
                    Ok(Progress::Pending)
                }
                Some(OAuthError::AuthorizationDeclined | OAuthError::AccessDenied) => {
                    Err(sign_in_failed("the sign-in was declined"))
                }
                Some(OAuthError::BadVerificationCode) => {
                    Err(sign_in_failed("the sign-in service does not know the code"))
                }
                Some(OAuthError::ExpiredToken) => {
                    Err(sign_in_failed("nobody signed in before the code expired"))
                }
                _ => Err(error),
            },
        }
    }

    /// Begins a sign-in in a browser on this machine, which ends with a redirect to `redirect_uri`.
    pub fn browser(&self, redirect_uri: &str) -> BrowserSignIn {
        let random = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let (state, verifier) = (random(), random());
        let verifier = SecretString::from(verifier);
        let mut url: Url =
            self.endpoint.url("authorize").parse().expect("the configuration has checked the URL");
        url.query_pairs_mut()
            .append_pair("client_id", self.endpoint.client_id())
            .append_pair("response_type", "code")
            .append_pair("response_mode", "query")
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &self.endpoint.scope(Rotation::Wanted))
            .append_pair("state", &state)
            .append_pair("code_challenge", &challenge(&verifier))
            .append_pair("code_challenge_method", "S256")
            .append_pair("prompt", "select_account");
        BrowserSignIn { url, state, redirect_uri: redirect_uri.to_owned(), verifier }
    }

    /// The error of a redirect that has an error instead of a code.
    pub fn refused(&self, sign_in: &BrowserSignIn, error: &str, description: &str) -> FetchError {
        let challenge = challenge(&sign_in.verifier);
        let redactor =
            Redactor::new(vec![sign_in.state.clone().into(), sign_in.verifier.clone(), challenge.into()]);
        let first_line = description.lines().next().unwrap_or_default();
        let line = redactor.quote(", ", error) + &redactor.quote(": ", first_line);
        let hint = hints::for_sign_in(&hints::codes_in(description));
        let remedy = hint.map(|hint| hint.remedy).or_else(|| match OAuthError::parse(error)? {
            OAuthError::AccessDenied => None,
            error => Some(hints::for_oauth_error(error)),
        });
        sign_in_failed(&format!("the sign-in service refused the sign-in{line}")).with_remedy(remedy)
    }

    /// Exchanges the authorization code of the redirect for tokens.
    ///
    /// # Errors
    /// [`FetchError`] if the code is refused.
    pub async fn redeem(&self, sign_in: &BrowserSignIn, code: &SecretString) -> Result<SignedIn, FetchError> {
        let scope = self.endpoint.scope(Rotation::Wanted);
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("redirect_uri", &sign_in.redirect_uri),
            ("code_verifier", sign_in.verifier.expose_secret()),
            ("scope", scope.as_str()),
        ];
        self.exchange(&form, vec![code.clone(), sign_in.verifier.clone()], Retries::ByPolicy).await
    }

    /// Stores the refresh token, where a running exporter finds it, and returns the path of the file. Waits until
    /// `abandoned` for another process that renews the stored token.
    ///
    /// # Errors
    /// [`StoreError`] if the token cannot be written.
    pub async fn store(
        &self,
        signed_in: SignedIn,
        abandoned: &CancellationToken,
    ) -> Result<PathBuf, StoreError> {
        self.refresh_tokens.replace(signed_in.refresh_token, signed_in.at, abandoned).await
    }

    /// The file that another process locks while it renews the stored token.
    pub fn lock_path(&self) -> PathBuf {
        self.refresh_tokens.lock_path()
    }

    async fn exchange(
        &self,
        form: &[(&str, &str)],
        secrets: Vec<SecretString>,
        retries: Retries<'_>,
    ) -> Result<SignedIn, FetchError> {
        let response = self.endpoint.exchange(form, secrets, retries).await?;
        let claims = Claims::of(response.access_token()?.secret());
        let at = response.sent_at;
        let refresh_token = response.refresh_token.ok_or_else(|| {
            if response.has_malformed_refresh_token {
                return FetchError::sign_in_payload("the sign-in service issued a malformed refresh token");
            }
            FetchError::new(FailureReason::Consent, "the sign-in service issued no refresh token")
                .with_remedy(NO_REFRESH_TOKEN)
        })?;
        Ok(SignedIn { claims, refresh_token, at })
    }
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn")
            .field("account", &self.endpoint.account.display_name())
            .finish_non_exhaustive()
    }
}

/// The error of a sign-in that the person did not complete.
pub fn sign_in_failed(text: &str) -> FetchError {
    FetchError::new(FailureReason::Credentials, text).with_remedy("run the command again, and sign in")
}

/// What a sign-in in a browser shows of its verifier before it sends it (RFC 7636, section 4.2).
fn challenge(verifier: &SecretString) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.expose_secret().as_bytes()))
}
