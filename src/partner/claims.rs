//! The claims of an access token, for people who ask why the API refuses it.
//!
//! The signature is not verified, which only the API can do. Entra ID may change the format at any time, so polling does
//! not depend on the claims.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::config::Cloud;

use super::redaction::Redactor;

/// The claims that decide whether Partner Center accepts a token. None of them is a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// `aud`: the API for which the token is.
    pub audience: Option<String>,
    /// `tid`: the tenant.
    pub tenant: Option<String>,
    /// `appid` or `azp`: the application.
    pub application: Option<String>,
    /// `upn`, `unique_name` or `preferred_username`: the user. A token of the application alone has none.
    pub user: Option<String>,
    /// `scp`: the delegated permissions.
    pub scopes: Vec<String>,
    /// `roles`: the permissions of the application itself.
    pub roles: Vec<String>,
    /// `amr`: the methods of the sign-in; absent in some tokens.
    pub methods: Option<Vec<String>>,
    /// `exp`: the expiry of the token.
    pub expires_at: Option<Timestamp>,
}

/// The application id of the API, which some tokens have in place of its URL.
const PARTNER_CENTER: &str = "fa3d9a0c-3fb0-42cc-9193-47c7ecd2edbd";

#[derive(Deserialize)]
struct Payload {
    aud: Option<String>,
    tid: Option<String>,
    appid: Option<String>,
    azp: Option<String>,
    upn: Option<String>,
    unique_name: Option<String>,
    preferred_username: Option<String>,
    scp: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    amr: Option<Vec<String>>,
    exp: Option<i64>,
}

impl Claims {
    /// Reads the claims of a token, if it is a JSON Web Token.
    pub(super) fn of(token: &SecretString) -> Option<Self> {
        let mut parts = token.expose_secret().split('.');
        let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
        let payload: Payload = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let redactor = Redactor::new(vec![token.clone()]);
        let line = |text: String| redactor.one_line(&text);
        let lines = |texts: Vec<String>| texts.into_iter().map(line).collect();
        let scopes = payload.scp.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        Some(Self {
            audience: payload.aud.map(line),
            tenant: payload.tid.map(line),
            application: payload.appid.or(payload.azp).map(line),
            user: payload.upn.or(payload.unique_name).or(payload.preferred_username).map(line),
            scopes: lines(scopes),
            roles: lines(payload.roles),
            methods: payload.amr.map(lines),
            expires_at: payload.exp.and_then(|second| Timestamp::from_second(second).ok()),
        })
    }

    /// Whether the sign-in included multi-factor authentication; unknown without `amr`.
    pub fn has_mfa(&self) -> Option<bool> {
        self.methods.as_ref().map(|methods| methods.iter().any(|method| method == "mfa"))
    }

    /// Whether the token is for the API of `cloud`.
    pub fn is_for(&self, cloud: &Cloud) -> bool {
        let audience = self.audience.as_deref().unwrap_or_default();
        audience.trim_end_matches('/') == cloud.api_base_url || audience == PARTNER_CENTER
    }

    /// Whether the token is for a user. Partner Center's analytics refuse tokens of the application alone.
    pub fn is_delegated(&self) -> bool {
        !self.scopes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> SecretString {
        format!("e30.{}.signature", URL_SAFE_NO_PAD.encode(payload)).into()
    }

    #[test]
    fn the_claims_of_the_documented_token_are_read() {
        let payload =
            include_str!("../../tests/fixtures/token/decoded-access-token-claims-with-amr-mfa.json");
        let claims = Claims::of(&token(payload)).unwrap();
        assert_eq!((claims.has_mfa(), claims.is_delegated()), (Some(true), true));
        assert_eq!(claims.user.as_deref(), Some("Adminagent.csp@testtestpartner.onmicrosoft.com"));
        assert_eq!(claims.expires_at.unwrap().as_second(), 1_549_092_452);
        let cloud = |api: &str| Cloud { api_base_url: api.to_owned(), login_base_url: String::new() };
        assert!(claims.is_for(&cloud("https://api.partnercenter.microsoft.com")));
        assert!(!claims.is_for(&cloud("https://graph.windows.net")));
    }

    #[test]
    fn absent_claims_are_unknown_and_a_text_that_is_not_a_token_has_no_claims() {
        let claims = Claims::of(&token("{}")).unwrap();
        assert_eq!((claims.has_mfa(), claims.is_delegated()), (None, false));
        for text in ["", "a", "a.b", "a.b.c", "..", "e30.e30"] {
            assert_eq!(Claims::of(&text.into()), None, "{text}");
        }
    }
}
