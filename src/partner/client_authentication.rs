//! The fields of a token request that authenticate the application.
//!
//! With a certificate the application signs an assertion, a JSON Web Token for one request, anew for each attempt. A
//! federated token is an assertion that another identity provider has signed.

use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use uuid::Uuid;

use crate::config::{ClientCertificate, ClientCredential, ClientProof};
use crate::domain::failure::FailureReason;

use super::error::FetchError;
use super::hints::CREDENTIAL_FILE;

/// The client credential of one request to the token endpoint, all attempts included.
pub(super) struct ClientAuthentication {
    credential: ClientProof,
    client_id: String,
    audience: String,
    /// The secrets that were sent, which must not appear in messages.
    sent: Mutex<Vec<SecretString>>,
}

/// The lifetime of an assertion; Microsoft asks for ten minutes at most.
const ASSERTION_SECONDS: i64 = 5 * 60;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl ClientAuthentication {
    /// Reads the credential as it is now, for requests to the token endpoint at `audience`.
    pub(super) fn load(
        credential: &ClientCredential,
        client_id: &str,
        audience: &str,
    ) -> Result<Self, FetchError> {
        let kind = credential.kind();
        let credential = credential.load().map_err(|error| {
            FetchError::new(FailureReason::Credentials, format!("{kind}: {error}"))
                .with_remedy(CREDENTIAL_FILE)
        })?;
        let (client_id, audience) = (client_id.to_owned(), audience.to_owned());
        Ok(Self { credential, client_id, audience, sent: Mutex::default() })
    }

    /// The expiry of the certificate, if the credential is one.
    pub(super) fn certificate_expires_at(&self) -> Option<Timestamp> {
        match &self.credential {
            ClientProof::Certificate(certificate) => Some(certificate.not_after()),
            _ => None,
        }
    }

    /// The fields of one attempt at `now`.
    pub(super) fn fields(&self, now: Timestamp) -> Vec<(&'static str, SecretString)> {
        let (name, secret) = match &self.credential {
            ClientProof::Secret(secret) => ("client_secret", secret.clone()),
            ClientProof::Certificate(certificate) => ("client_assertion", self.assertion(certificate, now)),
            ClientProof::FederatedToken(token) => ("client_assertion", token.clone()),
            ClientProof::None => return Vec::new(),
        };
        self.sent.lock().expect("no holder of this lock panics").push(secret.clone());
        let assertion_type =
            (name == "client_assertion").then(|| ("client_assertion_type", ASSERTION_TYPE.into()));
        assertion_type.into_iter().chain([(name, secret)]).collect()
    }

    /// The secrets that all attempts sent. The signature of an assertion is one by itself, because a response may
    /// quote a part of an assertion.
    pub(super) fn sent(self) -> Vec<SecretString> {
        let mut secrets = self.sent.into_inner().expect("no holder of this lock panics");
        if !matches!(self.credential, ClientProof::Secret(_)) {
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
        let message = parts.join(".");
        let signature = URL_SAFE_NO_PAD.encode(certificate.sign(message.as_bytes()));
        format!("{message}.{signature}").into()
    }
}
