//! The fields of a token request by which the application proves itself.
//!
//! A certificate proves by an assertion that it signs: a JSON Web Token about one request, made anew for each
//! attempt. A federated token is an assertion that somebody else has signed.

use std::fmt;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use uuid::Uuid;

use crate::config::{ClientCertificate, ClientCredential, ClientProof};
use crate::domain::reason::Reason;

use super::error::FetchError;

/// The credential of one sign-in, with all attempts at it.
pub(super) struct Proof {
    found: ClientProof,
    client_id: String,
    audience: String,
    /// What was sent, to be kept out of messages.
    sent: Mutex<Vec<SecretString>>,
}

/// How long an assertion may be used. Microsoft asks for ten minutes at most.
const ASSERTION_SECONDS: i64 = 5 * 60;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl Proof {
    /// Reads the credential as it is now, for requests to the token endpoint `audience`.
    pub(super) fn load(
        credential: &ClientCredential,
        client_id: &str,
        audience: &str,
    ) -> Result<Self, FetchError> {
        let found = credential.load().map_err(|error| {
            FetchError::new(Reason::Credentials, format!("{}: {error}", credential.kind()))
        })?;
        let (client_id, audience) = (client_id.to_owned(), audience.to_owned());
        Ok(Self { found, client_id, audience, sent: Mutex::default() })
    }

    /// When the certificate expires, if it is one.
    pub(super) fn certificate_expires_at(&self) -> Option<Timestamp> {
        match &self.found {
            ClientProof::Certificate(certificate) => Some(certificate.not_after()),
            _ => None,
        }
    }

    /// The fields for one attempt at `now`.
    pub(super) fn fields(&self, now: Timestamp) -> Vec<(&'static str, SecretString)> {
        let (name, secret) = match &self.found {
            ClientProof::Secret(secret) => ("client_secret", secret.clone()),
            ClientProof::Certificate(certificate) => ("client_assertion", self.assertion(certificate, now)),
            ClientProof::FederatedToken(token) => ("client_assertion", token.clone()),
            ClientProof::None => return Vec::new(),
        };
        self.sent.lock().expect("nobody panics while holding it").push(secret.clone());
        let assertion_type =
            (name == "client_assertion").then(|| ("client_assertion_type", ASSERTION_TYPE.into()));
        assertion_type.into_iter().chain([(name, secret)]).collect()
    }

    /// What was sent by all attempts. Of an assertion the signature is a secret of its own: an answer may quote
    /// one in parts.
    pub(super) fn sent(self) -> Vec<SecretString> {
        let mut secrets = self.sent.into_inner().expect("nobody panics while holding it");
        if !matches!(self.found, ClientProof::Secret(_)) {
            let signature =
                |assertion: &SecretString| Some(assertion.expose_secret().rsplit_once('.')?.1.into());
            let signatures: Vec<_> = secrets.iter().filter_map(signature).collect();
            secrets.extend(signatures);
        }
        secrets
    }

    /// A JSON Web Token as Microsoft documents it for certificates.
    fn assertion(&self, certificate: &ClientCertificate, now: Timestamp) -> SecretString {
        let header = json!({
            "alg": certificate.algorithm(),
            "typ": "JWT",
            "x5t#S256": certificate.thumbprint(),
        });
        let now = now.as_second();
        let claims = json!({
            "aud": self.audience,
            "iss": self.client_id,
            "sub": self.client_id,
            "jti": Uuid::new_v4().to_string(),
            "nbf": now,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
        });
        let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = parts.join(".");
        let signature = URL_SAFE_NO_PAD.encode(certificate.sign(signed.as_bytes()));
        format!("{signed}.{signature}").into()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(redacted)")
    }
}
