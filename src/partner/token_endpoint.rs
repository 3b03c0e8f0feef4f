//! Requests to Entra ID's token endpoint, in the name of the configured application.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::config::Account;
use crate::domain::clock::Clock;
use crate::domain::status::{Endpoint, Ledger};

use super::access_token::AccessToken;
use super::blocking::off_workers;
use super::client_authentication::ClientAuthentication;
use super::error::FetchError;
use super::http::{HttpClient, Retries};
use super::json_object::JsonObject;
use super::redaction::Redactor;
use super::refusal;
use super::response::HttpResponse;

/// The sign-in service of one tenant, as one application uses it.
pub(super) struct TokenEndpoint {
    pub(super) account: Arc<Account>,
    pub(super) http: Arc<HttpClient>,
    pub(super) ledger: Ledger,
    pub(super) clock: Clock,
}

/// Whether a request asks for a successor of the refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotation {
    /// It does, and the successor is used from then on.
    Wanted,
    /// It does not, because another process continues to use the refresh token.
    Unwanted,
}

/// A successful response of the token endpoint.
#[derive(Debug)]
pub(super) struct TokenResponse {
    access_token: Option<SecretString>,
    pub(super) refresh_token: Option<SecretString>,
    /// Whether there was a refresh token that cannot be one.
    pub(super) has_malformed_refresh_token: bool,
    /// The lifetime of the access token, from `sent` on.
    pub(super) lifetime: Duration,
    sent: Instant,
    pub(super) sent_at: Timestamp,
    /// The ids by which Microsoft's support finds the sign-in.
    ids: Vec<String>,
}

impl TokenEndpoint {
    pub(super) fn client_id(&self) -> &str {
        &self.account.client_id
    }

    /// The URL of an endpoint of the tenant, such as `token`.
    pub(super) fn url(&self, name: &str) -> String {
        format!("{}/{}/oauth2/v2.0/{name}", self.account.cloud.login_base_url, self.account.tenant_id)
    }

    /// The permission to ask for. With `offline_access` Entra ID issues a new refresh token.
    pub(super) fn scope(&self, rotation: Rotation) -> String {
        let offline = if rotation == Rotation::Wanted { " offline_access" } else { "" };
        format!("{}/user_impersonation{offline}", self.account.cloud.api_base_url)
    }

    /// Exchanges what `form` holds for tokens. `secrets` are the secrets in `form`.
    pub(super) async fn exchange(
        &self,
        form: &[(&str, &str)],
        mut secrets: Vec<SecretString>,
        retries: Retries<'_>,
    ) -> Result<TokenResponse, FetchError> {
        let url = self.url("token");
        let (account, audience) = (Arc::clone(&self.account), url.clone());
        let load =
            move || ClientAuthentication::load(&account.client_credential, &account.client_id, &audience);
        let authentication = off_workers(load).await?;
        // Written without a certificate as well, because before a reload there may have been one.
        let expires_at = authentication.certificate_expires_at();
        self.ledger.write(|status| status.credentials.client_certificate_expires_at = expires_at);
        let (sent, sent_at) = (Instant::now(), self.clock.now());
        let request = |client: &Client| {
            let fields = authentication.fields(self.clock.now());
            let fields = fields.iter().map(|(name, secret)| (*name, secret.expose_secret()));
            let form = form.iter().copied().chain([("client_id", self.client_id())]).chain(fields);
            client.post(&url).form(&form.collect::<Vec<_>>())
        };
        let response = self.http.send(Endpoint::Token, request, retries).await?;
        secrets.extend(authentication.sent());
        let redactor = Redactor::new(secrets);
        if !response.status.is_success() {
            return Err(refusal::by_sign_in(&response, &redactor));
        }
        let document = TokenDocument::read(&response)?;
        let lifetime = document.lifetime();
        let has_malformed_refresh_token =
            document.refresh_token.as_ref().is_some_and(|token| !is_token(token));
        let refresh_token = document.refresh_token.filter(is_token);
        let access_token = document.access_token.filter(is_token);
        let ids = refusal::ids(&response, &redactor);
        Ok(TokenResponse {
            access_token,
            refresh_token,
            has_malformed_refresh_token,
            lifetime,
            sent,
            sent_at,
            ids,
        })
    }

    /// Requests a device code (RFC 8628, section 3.1).
    pub(super) async fn device_code(&self) -> Result<HttpResponse, FetchError> {
        let (url, scope) = (self.url("devicecode"), self.scope(Rotation::Wanted));
        let form = [("client_id", self.client_id()), ("scope", &scope)];
        let request = |client: &Client| client.post(&url).form(&form);
        let response = self.http.send(Endpoint::Token, request, Retries::ByPolicy).await?;
        if response.status.is_success() {
            Ok(response)
        } else {
            Err(refusal::by_sign_in(&response, &Redactor::default()))
        }
    }
}

impl TokenResponse {
    /// The access token, if the response has a usable one.
    pub(super) fn access_token(&self) -> Result<AccessToken, FetchError> {
        let Some(secret) = self.access_token.clone() else {
            let text = "the sign-in service answered with no usable access token";
            return Err(FetchError::sign_in_payload(text));
        };
        let mut token = AccessToken::new(secret, (self.sent, self.sent_at), self.lifetime);
        token.ids.clone_from(&self.ids);
        Ok(token)
    }
}

/// Whether a text can be a token: it is printable ASCII without spaces, and not empty.
fn is_token(text: &SecretString) -> bool {
    let bytes = text.expose_secret().as_bytes();
    !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic)
}

/// The body of a response, as documented for v2; v1 writes numbers as strings.
#[derive(Deserialize)]
struct TokenDocument {
    access_token: Option<SecretString>,
    expires_in: Option<Value>,
    refresh_token: Option<SecretString>,
}

impl TokenDocument {
    /// The lifetime of an access token whose response does not say it.
    const DEFAULT_LIFETIME: Duration = Duration::from_hours(1);
    /// Longer than any lifetime that Entra ID grants; it keeps arithmetic with times from overflowing.
    const MAX_LIFETIME: Duration = Duration::from_hours(24);

    /// The parser's message is left out, because it may quote the body, which holds secrets.
    fn read(response: &HttpResponse) -> Result<Self, FetchError> {
        serde_json::from_slice(response.json())
            .map(|JsonObject(document)| document)
            .map_err(|_| FetchError::sign_in_payload("the sign-in service answered with no token response"))
    }

    fn lifetime(&self) -> Duration {
        let seconds = match &self.expires_in {
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        seconds.map_or(Self::DEFAULT_LIFETIME, Duration::from_secs).min(Self::MAX_LIFETIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lifetime_is_a_number_or_a_string_of_seconds_and_bounded() {
        for (expires_in, seconds) in [
            ("1800", 1_800),
            (r#""1800""#, 1_800),
            ("86400", 86_400),
            ("86401", 86_400),
            ("18446744073709551615", 86_400),
            ("18446744073709551616", 3_600),
            ("-1", 3_600),
            (r#""soon""#, 3_600),
            ("null", 3_600),
            ("[1800]", 3_600),
        ] {
            let document: TokenDocument =
                serde_json::from_str(&format!(r#"{{"expires_in":{expires_in}}}"#)).unwrap();
            assert_eq!(document.lifetime(), Duration::from_secs(seconds), "{expires_in}");
        }
    }
}
