//! The authorization codes that were issued, and the checks before one is redeemed.
//!
//! It knows nothing of HTTP and issues no tokens.

use std::{collections::HashMap, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::time::Instant;
use uuid::Uuid;

use crate::scope::Scope;

/// How long a code is valid.
const LIFETIME: Duration = Duration::from_mins(10);

/// The authorization codes that were issued, including those that were redeemed.
#[derive(Default)]
pub(crate) struct AuthorizationCodes(HashMap<String, IssuedCode>);

/// What an authorization code is bound to.
pub(crate) struct Authorized {
    pub(crate) tenant: String,
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    /// The `code_challenge` of PKCE, with the method S256.
    pub(crate) challenge: String,
    pub(crate) scope: Scope,
}

/// An authorization code that was issued.
pub(crate) struct IssuedCode {
    authorized: Authorized,
    issued: Instant,
    redeemed: bool,
}

/// Why an authorization code is refused, as Entra ID words it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorizationCodeError {
    #[error("The provided value for the 'code' parameter is not valid.")]
    Unknown,
    #[error(
        "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh \
         token."
    )]
    AlreadyRedeemed,
    #[error(
        "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive \
         authorization request for this user and resource."
    )]
    Expired,
    #[error(
        "The reply address '{presented}' does not match the reply address '{expected}' provided when requesting \
         Authorization code."
    )]
    WrongRedirectUri { expected: String, presented: String },
    #[error("The Code_Verifier does not match the code_challenge supplied in the authorization request.")]
    WrongVerifier,
}

impl AuthorizationCodes {
    /// Issues an authorization code.
    pub(crate) fn issue(&mut self, authorized: Authorized) -> String {
        let code = format!("simulated-authorization-code-{}", Uuid::new_v4().simple());
        let issued = IssuedCode { authorized, issued: Instant::now(), redeemed: false };
        self.0.insert(code.clone(), issued);
        code
    }

    /// Finds a code that was issued to the application in the tenant.
    pub(crate) fn find(
        &mut self,
        tenant: &str,
        client_id: &str,
        code: &str,
    ) -> Result<&mut IssuedCode, AuthorizationCodeError> {
        self.0
            .get_mut(code)
            .filter(|code| code.authorized.tenant == tenant && code.authorized.client_id == client_id)
            .ok_or(AuthorizationCodeError::Unknown)
    }
}

impl IssuedCode {
    /// Redeems the code and returns the scope it was requested with.
    pub(crate) fn redeem(
        &mut self,
        redirect_uri: &str,
        verifier: &str,
    ) -> Result<Scope, AuthorizationCodeError> {
        let expected = &self.authorized;
        if self.redeemed {
            Err(AuthorizationCodeError::AlreadyRedeemed)
        } else if self.issued.elapsed() >= LIFETIME {
            Err(AuthorizationCodeError::Expired)
        } else if expected.redirect_uri != redirect_uri {
            let (expected, presented) = (expected.redirect_uri.clone(), redirect_uri.to_owned());
            Err(AuthorizationCodeError::WrongRedirectUri { expected, presented })
        } else if !matches_challenge(verifier, &expected.challenge) {
            Err(AuthorizationCodeError::WrongVerifier)
        } else {
            self.redeemed = true;
            Ok(self.authorized.scope.clone())
        }
    }
}

/// Whether a `code_verifier` is well-formed and its digest is the challenge.
fn matches_challenge(verifier: &str, challenge: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&verifier.len())
        && verifier.bytes().all(unreserved)
        && URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) == challenge
}
