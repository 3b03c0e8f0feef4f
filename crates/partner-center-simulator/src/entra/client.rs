//! Who the application is that asks for tokens: its id, and its secret or its assertion.
//!
//! It does not know what the application wants.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};

use super::{Addressed, Request, problem::Problem};
use crate::{FederatedCredential, certificate::Certificate, state::State};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How long an assertion may be good, in seconds.
const LONGEST_LIFE: i64 = 600;
/// How far two clocks may be apart, in seconds.
const TOLERANCE: i64 = 5;

/// The kind of credential that came with a request.
pub(super) fn credential(request: &Request) -> &'static str {
    match (request.client_secret.is_empty(), request.client_assertion.is_empty()) {
        (true, true) => "none",
        (false, true) => "secret",
        (true, false) => "assertion",
        (false, false) => "both",
    }
}

/// Checks that the scenario's application is asking, by any one of the credentials that it has.
pub(super) fn authenticate(
    state: &mut State,
    addressed: &Addressed<'_>,
    request: &Request,
) -> Result<(), Problem> {
    let State { scenario, assertions, .. } = state;
    known(&scenario.client_id, addressed.tenant, &request.client_id)?;
    match credential(request) {
        "none" if scenario.public_client => Ok(()),
        _ if scenario.public_client => Err(Problem::invalid_client(
            700_025,
            "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.",
        )),
        "none" => Err(Problem::invalid_client(
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )),
        "both" => Err(Problem::malformed()),
        "secret" if scenario.client_secret.as_ref() == Some(&request.client_secret) => Ok(()),
        "secret" => Err(Problem::bad_client_secret()),
        _ if request.client_assertion_type != JWT_BEARER => Err(Problem::missing("client_assertion_type")),
        _ => match (&scenario.federated_credential, &scenario.client_certificate) {
            (Some(federated), None) => verify_federated(federated, &request.client_assertion, addressed.now)
                .map_err(|(code, reason)| Problem::invalid_client(code, reason)),
            (None, None) => Err(Problem::bad_assertion("The key was not found.")),
            (_, Some(certificate)) => {
                verify(certificate, &request.client_assertion, &request.client_id, addressed, assertions)
                    .map_err(|reason| Problem::bad_assertion(&reason))
            }
        },
    }
}

/// Checks that it is the scenario's application which is named.
pub(super) fn known(application: &str, tenant: &str, client_id: &str) -> Result<(), Problem> {
    if client_id.is_empty() {
        Err(Problem::missing("client_id"))
    } else if client_id == application {
        Ok(())
    } else {
        Err(Problem::unknown_application(client_id, tenant))
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    #[serde(rename = "x5t#S256")]
    thumbprint: String,
}

#[derive(Deserialize)]
struct Claims {
    aud: String,
    iss: String,
    sub: String,
    jti: String,
    nbf: i64,
    exp: i64,
}

/// Checks an assertion that the application signed itself, and remembers its id. The error is a sentence.
fn verify(
    certificate: &Certificate,
    assertion: &str,
    client_id: &str,
    addressed: &Addressed<'_>,
    seen: &mut HashSet<String>,
) -> Result<(), String> {
    let Jwt { header, claims, message, signature } = Jwt::of(assertion)?;
    let Header { alg, typ, thumbprint } = read("header", header)?;
    demand(typ == "JWT", || format!("The header typ is '{typ}', not 'JWT'."))?;
    demand(thumbprint == certificate.thumbprint(), || {
        format!("The key was not found. The header x5t#S256 is '{thumbprint}'.")
    })?;
    let wanted = certificate.algorithm();
    demand(alg == wanted, || {
        format!("The header alg is '{alg}', and the certificate's key is for {wanted}.")
    })?;
    demand(certificate.verifies(message.as_bytes(), &signature), || {
        "Key was found, but use of the key to verify the signature failed.".to_owned()
    })?;
    let Claims { aud, iss, sub, jti, nbf, exp } = read("claims", claims)?;
    let url = addressed.url().ok_or("The request has no Host.")?;
    demand(aud == url, || format!("The claim aud is '{aud}', not '{url}'."))?;
    for (name, value) in [("iss", iss), ("sub", sub)] {
        demand(value == client_id, || format!("The claim {name} is '{value}', not the client_id."))?;
    }
    in_time(addressed.now, nbf, exp)?;
    demand(!jti.is_empty(), || "The claim jti is empty.".to_owned())?;
    demand(seen.insert(jti), || "The claim jti was used before.".to_owned())
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

/// RFC 7519, section 4.1.3: one or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Several(Vec<String>),
}

/// Checks a token that another issuer signed. The error is Entra ID's number for it and a sentence.
fn verify_federated(
    credential: &FederatedCredential,
    assertion: &str,
    now: Timestamp,
) -> Result<(), (u32, String)> {
    const NO_MATCH: u32 = 70_021;
    let FederatedCredential { certificate, issuer, subject, audience } = credential;
    let wrong = |code| move |reason: String| (code, reason);
    let Jwt { header, claims, message, signature } = Jwt::of(assertion).map_err(wrong(NO_MATCH))?;
    let FederatedHeader { alg } = read("header", header).map_err(wrong(NO_MATCH))?;
    let FederatedClaims { iss, sub, aud, exp } = read("claims", claims).map_err(wrong(NO_MATCH))?;
    let audiences = match aud {
        Audiences::One(one) => vec![one],
        Audiences::Several(several) => several,
    };
    let now = now.as_second();
    let is_signed = alg == certificate.algorithm() && certificate.verifies(message.as_bytes(), &signature);
    for (holds, code, name) in [
        (iss == *issuer, 700_211, "issuer"),
        (sub == *subject, 700_213, "subject"),
        (audiences.contains(audience), 700_212, "audience"),
        (now < exp.saturating_add(TOLERANCE), NO_MATCH, "time"),
        (is_signed, NO_MATCH, "signature"),
    ] {
        demand(holds, || {
            format!("No matching federated identity record found for presented assertion {name}.")
        })
        .map_err(wrong(code))?;
    }
    Ok(())
}

/// A JSON Web Token in its three parts.
struct Jwt<'a> {
    header: &'a str,
    claims: &'a str,
    message: String,
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    fn of(assertion: &'a str) -> Result<Self, String> {
        let parts: Vec<_> = assertion.split('.').collect();
        let &[header, claims, signature] = &*parts else { return Err("It is no JWT of three parts.".into()) };
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "The signature is no Base64url.")?;
        Ok(Self { header, claims, message: [header, ".", claims].concat(), signature })
    }
}

fn in_time(now: Timestamp, nbf: i64, exp: i64) -> Result<(), String> {
    let now = now.as_second();
    demand(nbf <= now.saturating_add(TOLERANCE), || format!("The claim nbf is {nbf}, and now is {now}."))?;
    demand(now < exp.saturating_add(TOLERANCE), || format!("The claim exp is {exp}, and now is {now}."))?;
    let life = exp.saturating_sub(nbf);
    demand(life <= LONGEST_LIFE + TOLERANCE, || {
        format!("It is good for {life} seconds, more than {LONGEST_LIFE}.")
    })
}

fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn read<T: DeserializeOwned>(name: &str, part: &str) -> Result<T, String> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| format!("The {name} part is no Base64url."))?;
    serde_json::from_slice(&json).map_err(|error| format!("The {name} part cannot be read: {error}."))
}
