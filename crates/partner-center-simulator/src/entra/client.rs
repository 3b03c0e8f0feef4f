//! Authenticates the application that requests tokens: its id, and its secret or its assertion.
//!
//! It does not know what the application requests.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};

use super::error::EntraError;
use super::request::{RequestContext, TokenRequest};
use crate::{certificate::Certificate, scenario::FederatedCredential, state::SimulatorState};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How long an assertion may be valid, in seconds.
const LONGEST_LIFETIME: i64 = 600;
/// How far two clocks may differ, in seconds.
const TOLERANCE: i64 = 5;

/// The credential that a token request contains.
#[derive(Clone, Copy)]
pub(super) enum Credential<'a> {
    None,
    Secret(&'a str),
    Assertion(&'a str),
    Both,
}

impl<'a> Credential<'a> {
    pub(super) fn of(request: &'a TokenRequest) -> Self {
        match (&*request.client_secret, &*request.client_assertion) {
            ("", "") => Self::None,
            (secret, "") => Self::Secret(secret),
            ("", assertion) => Self::Assertion(assertion),
            _ => Self::Both,
        }
    }

    /// The kind of the credential, for the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Secret(_) => "secret",
            Self::Assertion(_) => "assertion",
            Self::Both => "both",
        }
    }
}

/// Checks that the scenario's application sends the request, by any of the credentials that it has.
pub(super) fn authenticate(
    state: &mut SimulatorState,
    context: &RequestContext<'_>,
    request: &TokenRequest,
) -> Result<(), EntraError> {
    let SimulatorState { scenario, used_assertions, .. } = state;
    check_id(&scenario.client_id, context.tenant, &request.client_id)?;
    match Credential::of(request) {
        Credential::None if scenario.public_client => Ok(()),
        _ if scenario.public_client => Err(EntraError::PublicClient),
        Credential::None => Err(EntraError::MissingCredential),
        Credential::Both => Err(EntraError::Malformed),
        Credential::Secret(secret) if scenario.client_secret.as_deref() == Some(secret) => Ok(()),
        Credential::Secret(_) => Err(EntraError::BadClientSecret),
        Credential::Assertion(_) if request.client_assertion_type != JWT_BEARER => {
            Err(EntraError::MissingParameter("client_assertion_type"))
        }
        Credential::Assertion(assertion) => {
            match (&scenario.client_certificate, &scenario.federated_credential) {
                (Some(certificate), _) => {
                    verify(certificate, assertion, &request.client_id, context, used_assertions)
                        .map_err(EntraError::BadAssertion)
                }
                (None, Some(federated)) => verify_federated(federated, assertion, context.now),
                (None, None) => Err(EntraError::BadAssertion("The key was not found.".to_owned())),
            }
        }
    }
}

/// Checks that a request names the scenario's application.
pub(super) fn check_id(expected: &str, tenant: &str, client_id: &str) -> Result<(), EntraError> {
    if client_id.is_empty() {
        Err(EntraError::MissingParameter("client_id"))
    } else if client_id == expected {
        Ok(())
    } else {
        Err(EntraError::UnknownApplication { client_id: client_id.to_owned(), tenant: tenant.to_owned() })
    }
}

#[derive(Deserialize)]
struct AssertionHeader {
    alg: String,
    typ: String,
    #[serde(rename = "x5t#S256")]
    thumbprint: String,
}

#[derive(Deserialize)]
struct AssertionClaims {
    aud: String,
    iss: String,
    sub: String,
    jti: String,
    nbf: i64,
    exp: i64,
}

/// Checks an assertion that the application signed, and records its id; the error is a sentence.
fn verify(
    certificate: &Certificate,
    assertion: &str,
    client_id: &str,
    context: &RequestContext<'_>,
    used: &mut HashSet<String>,
) -> Result<(), String> {
    let Jwt { header, claims, message, signature } = Jwt::split(assertion)?;
    let AssertionHeader { alg, typ, thumbprint } = decode("header", header)?;
    ensure(typ == "JWT", || format!("The header typ is '{typ}', not 'JWT'."))?;
    ensure(thumbprint == certificate.thumbprint(), || {
        format!("The key was not found. The header x5t#S256 is '{thumbprint}'.")
    })?;
    let wanted = certificate.algorithm();
    ensure(alg == wanted, || {
        format!("The header alg is '{alg}', and the certificate's key is for {wanted}.")
    })?;
    ensure(certificate.verifies(message, &signature), || {
        "Key was found, but use of the key to verify the signature failed.".to_owned()
    })?;
    let AssertionClaims { aud, iss, sub, jti, nbf, exp } = decode("claims", claims)?;
    let url = context.url.as_ref().ok_or("The request has no Host.")?;
    ensure(aud == *url, || format!("The claim aud is '{aud}', not '{url}'."))?;
    for (name, value) in [("iss", iss), ("sub", sub)] {
        ensure(value == client_id, || format!("The claim {name} is '{value}', not the client_id."))?;
    }
    check_period(context.now, nbf, exp)?;
    ensure(!jti.is_empty(), || "The claim jti is empty.".to_owned())?;
    ensure(used.insert(jti), || "The claim jti was used before.".to_owned())
}

#[derive(Deserialize)]
struct FederatedHeader {
    alg: String,
}

#[derive(Deserialize)]
struct FederatedClaims {
    iss: String,
    sub: String,
    aud: Audiences,
    exp: i64,
}

/// The claim `aud`, which may be one audience or several (RFC 7519, section 4.1.3).
#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Several(Vec<String>),
}

/// Checks a token that another issuer signed.
fn verify_federated(
    credential: &FederatedCredential,
    assertion: &str,
    now: Timestamp,
) -> Result<(), EntraError> {
    const NO_MATCH: u32 = 70_021;
    let FederatedCredential { certificate, issuer, subject, audience } = credential;
    let Jwt { header, claims, message, signature } =
        Jwt::split(assertion).map_err(EntraError::UnreadableFederatedToken)?;
    let FederatedHeader { alg } = decode("header", header).map_err(EntraError::UnreadableFederatedToken)?;
    let FederatedClaims { iss, sub, aud, exp } =
        decode("claims", claims).map_err(EntraError::UnreadableFederatedToken)?;
    let audiences = match aud {
        Audiences::One(one) => vec![one],
        Audiences::Several(several) => several,
    };
    let checks = [
        (iss == *issuer, 700_211, "issuer"),
        (sub == *subject, 700_213, "subject"),
        (audiences.contains(audience), 700_212, "audience"),
        (now.as_second() < exp.saturating_add(TOLERANCE), NO_MATCH, "time"),
        (alg == certificate.algorithm() && certificate.verifies(message, &signature), NO_MATCH, "signature"),
    ];
    match checks.into_iter().find(|(holds, ..)| !holds) {
        None => Ok(()),
        Some((_, code, part)) => Err(EntraError::FederatedMismatch { code, part }),
    }
}

/// A JSON Web Token, split into its parts.
struct Jwt<'a> {
    header: &'a str,
    claims: &'a str,
    /// The header and the claims, which the signature covers.
    message: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    fn split(assertion: &'a str) -> Result<Self, String> {
        let parts: Vec<_> = assertion.split('.').collect();
        let &[header, claims, signature] = &*parts else {
            return Err("It is not a JWT of three parts.".into());
        };
        let message = &assertion.as_bytes()[..=header.len() + claims.len()];
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "The signature is not Base64url.")?;
        Ok(Self { header, claims, message, signature })
    }
}

/// Checks that an assertion is valid now, and not for too long.
fn check_period(now: Timestamp, nbf: i64, exp: i64) -> Result<(), String> {
    let now = now.as_second();
    ensure(nbf <= now.saturating_add(TOLERANCE), || format!("The claim nbf is {nbf}, and now is {now}."))?;
    ensure(now < exp.saturating_add(TOLERANCE), || format!("The claim exp is {exp}, and now is {now}."))?;
    let lifetime = exp.saturating_sub(nbf);
    ensure(lifetime <= LONGEST_LIFETIME + TOLERANCE, || {
        format!("It is good for {lifetime} seconds, more than {LONGEST_LIFETIME}.")
    })
}

fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(reason()) }
}

fn decode<T: DeserializeOwned>(name: &str, part: &str) -> Result<T, String> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| format!("The {name} part is not Base64url."))?;
    serde_json::from_slice(&json).map_err(|error| format!("The {name} part cannot be read: {error}."))
}
