//! What the application proves itself with when it signs in: a secret, a certificate, a token of another
//! identity provider, or nothing.
//!
//! [`ClientCredential`] says where it comes from, [`ClientProof`] is what was found there. Files are read anew
//! at every use.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use exporter_toolkit::yaml::{Problems, Section};

use super::certificate::{CertificateError, ClientCertificate};
use super::{Environment, Secret, SecretError};

/// Where an application's credential comes from.
#[derive(Clone, Debug)]
pub enum ClientCredential {
    /// A client secret.
    Secret(Secret),
    /// A PEM file with a certificate and its private key.
    Certificate(PathBuf),
    /// A file with a token of an identity provider that Entra ID was told to trust. It changes all the time.
    FederatedToken(PathBuf),
    /// Nothing: a public client.
    None,
}

/// A credential as it is now.
pub enum ClientProof {
    /// The secret itself.
    Secret(SecretString),
    /// What signs an assertion. Large, hence the box.
    Certificate(Box<ClientCertificate>),
    /// The assertion itself.
    FederatedToken(SecretString),
    /// Nothing is sent.
    None,
}

/// A credential that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file of a secret or of a token.
    #[error(transparent)]
    File(#[from] SecretError),
    /// The file of a certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The file holds something else.
    #[error("{} holds no token", .0.display())]
    NoToken(PathBuf),
}

/// What the text under a key means.
type Kind = fn(String) -> ClientCredential;
/// The keys of a credential. One of them is given, or none.
const KEYS: [(&str, Kind); 4] = [
    ("client_secret", |text| ClientCredential::Secret(Secret::Value(text.into()))),
    ("client_secret_file", |text| ClientCredential::Secret(Secret::File(text.into()))),
    ("client_certificate_file", |text| ClientCredential::Certificate(text.into())),
    ("federated_token_file", |text| ClientCredential::FederatedToken(text.into())),
];
/// The variables of a credential, in the order in which Azure's own libraries prefer them. The others may be
/// set as well, as Kubernetes does for every program in a pod.
const VARIABLES: [(&str, Kind); 3] = [
    ("AZURE_CLIENT_SECRET", |text| ClientCredential::Secret(Secret::Value(text.into()))),
    ("AZURE_CLIENT_CERTIFICATE_PATH", |text| ClientCredential::Certificate(text.into())),
    ("AZURE_FEDERATED_TOKEN_FILE", |text| ClientCredential::FederatedToken(text.into())),
];

impl ClientCredential {
    /// Reads the credential of an account, whose file must be usable now.
    pub(super) fn read(section: &mut Section, problems: &mut Problems) -> Option<Self> {
        let before = problems.len();
        let mut given = Vec::new();
        for (key, make) in KEYS {
            let text = section.text(key, problems);
            given.extend(text.map(|text| (section.path(key), make(text))));
        }
        if problems.len() > before {
            return None;
        }
        let mut given = given.into_iter();
        let Some((path, credential)) = given.next() else { return Some(Self::None) };
        let others: Vec<String> = given.map(|(path, _)| path).collect();
        match &others[..] {
            [] => credential.usable(&path, problems),
            [other] => {
                problems.add(path, format!("give it or {other}, not both"));
                None
            }
            several => {
                problems.add(path, format!("give it or {}, only one of them", several.join(" or ")));
                None
            }
        }
    }

    /// The credential of the environment.
    pub(super) fn from_environment(environment: Environment<'_>, problems: &mut Problems) -> Option<Self> {
        let mut set = VARIABLES.into_iter().filter_map(|(name, make)| Some((name, make(environment(name)?))));
        let Some((name, credential)) = set.next() else { return Some(Self::None) };
        credential.usable(name, problems)
    }

    fn usable(self, path: &str, problems: &mut Problems) -> Option<Self> {
        match self.load() {
            Ok(_) => Some(self),
            Err(error) => {
                problems.add(path, error.to_string());
                None
            }
        }
    }

    /// The credential as it is now.
    ///
    /// # Errors
    /// [`CredentialError`] if its file cannot be used.
    pub fn load(&self) -> Result<ClientProof, CredentialError> {
        match self {
            Self::Secret(secret) => Ok(ClientProof::Secret(secret.read()?)),
            Self::Certificate(path) => Ok(ClientProof::Certificate(Box::new(ClientCertificate::read(path)?))),
            Self::FederatedToken(path) => {
                let token = Secret::File(path.clone()).read()?;
                if !token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(CredentialError::NoToken(path.clone()));
                }
                Ok(ClientProof::FederatedToken(token))
            }
            Self::None => Ok(ClientProof::None),
        }
    }

    /// What it is, in a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Secret(_) => "client secret",
            Self::Certificate(_) => "client certificate",
            Self::FederatedToken(_) => "federated token",
            Self::None => "client credential",
        }
    }

    /// The file it is in, if it is in one.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Secret(Secret::File(path)) | Self::Certificate(path) | Self::FederatedToken(path) => {
                Some(path)
            }
            Self::Secret(Secret::Value(_)) | Self::None => None,
        }
    }

    /// When the certificate that it is now expires.
    pub fn certificate_expires_at(&self) -> Option<Timestamp> {
        let Self::Certificate(path) = self else { return None };
        ClientCertificate::read(path).ok().map(|certificate| certificate.not_after())
    }

    /// What is usable and yet worth a word at the start.
    pub(super) fn warning(&self, now: Timestamp) -> Option<String> {
        match self {
            Self::None => Some(
                "no client credential is configured, so it signs in as a public client; an application with a \
                 secret or a certificate needs its credential"
                    .to_owned(),
            ),
            Self::Certificate(path) => {
                let certificate = ClientCertificate::read(path).ok()?;
                let (path, renew) = (path.display(), "Entra ID will refuse it");
                if certificate.not_after() <= now {
                    Some(format!("the certificate in {path} expired at {}; {renew}", certificate.not_after()))
                } else if now < certificate.not_before() {
                    let from = certificate.not_before();
                    Some(format!("the certificate in {path} is not valid before {from}; {renew} until then"))
                } else {
                    None
                }
            }
            Self::Secret(_) | Self::FederatedToken(_) => None,
        }
    }
}

impl fmt::Debug for ClientProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientProof(redacted)")
    }
}
