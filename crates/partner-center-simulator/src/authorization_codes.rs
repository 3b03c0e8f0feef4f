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
    /// The `code_challenge` of PKCE, by the method S256.
    pub(crate) challenge: String,
    pub(crate) scope: Scope,
}

struct IssuedCode {
    authorized: Authorized,
    issued: Instant,
    redeemed: bool,
}

/// What a client presents to redeem an authorization code.
pub(crate) struct Redemption<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) code: &'a str,
    pub(crate) redirect_uri: &'a str,
    pub(crate) verifier: &'a str,
}

/// Why an authorization code is refused.
pub(crate) enum AuthorizationCodeError {
    Unknown,
    AlreadyRedeemed,
    Expired,
    /// The code is bound to the redirect URI `expected`.
    WrongRedirectUri {
        expected: String,
        presented: String,
    },
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

    /// Redeems a code and returns the scope it was requested with.
    pub(crate) fn redeem(&mut self, redemption: &Redemption<'_>) -> Result<Scope, AuthorizationCodeError> {
        let &Redemption { tenant, client_id, code, redirect_uri, verifier } = redemption;
        let code = self
            .0
            .get_mut(code)
            .filter(|code| code.authorized.tenant == tenant && code.authorized.client_id == client_id)
            .ok_or(AuthorizationCodeError::Unknown)?;
        let expected = &code.authorized;
        if code.redeemed {
            return Err(AuthorizationCodeError::AlreadyRedeemed);
        }
        if code.issued.elapsed() >= LIFETIME {
            return Err(AuthorizationCodeError::Expired);
        }
        if expected.redirect_uri != redirect_uri {
            return Err(AuthorizationCodeError::WrongRedirectUri {
                expected: expected.redirect_uri.clone(),
                presented: redirect_uri.to_owned(),
            });
        }
        if !matches_challenge(verifier, &expected.challenge) {
            return Err(AuthorizationCodeError::WrongVerifier);
        }
        code.redeemed = true;
        Ok(code.authorized.scope.clone())
    }
}

/// Whether a `code_verifier` is well-formed and its digest is the challenge.
fn matches_challenge(verifier: &str, challenge: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&verifier.len())
        && verifier.bytes().all(unreserved)
        && URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) == challenge
}
