//! The credential with which the application authenticates when it signs in: a secret, a certificate, a token of
//! another identity provider, or nothing.
//!
//! [`ClientCredential`] is its source, [`ClientProof`] its current value. Files are read at every use.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use exporter_toolkit::secret::{Secret, SecretError};
use exporter_toolkit::yaml::{Problems, Section};

use super::certificate::{CertificateError, ClientCertificate};
use super::environment::Environment;
use super::provided;

/// The source of an application's credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCredential {
    /// A client secret.
    Secret(Secret),
    /// A PEM file with a certificate and its private key.
    Certificate(PathBuf),
    /// A file with a token of an identity provider that Entra ID trusts; the provider replaces it regularly.
    FederatedToken(PathBuf),
    /// No credential: a public client.
    None,
}

/// The current value of a credential.
pub enum ClientProof {
    /// A secret, sent as it is.
    Secret(SecretString),
    /// A certificate, which signs the assertion that is sent. It is boxed, since it is large.
    Certificate(Box<ClientCertificate>),
    /// A token, sent as the assertion.
    FederatedToken(SecretString),
    /// Nothing is sent.
    None,
}

/// A credential that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file of a secret or a token cannot be read.
    #[error(transparent)]
    File(#[from] SecretError),
    /// The file of a certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The file does not contain a token.
    #[error("{} does not contain a token", .0.display())]
    NoToken(PathBuf),
}

impl CredentialError {
    /// Why the file cannot be read, if that is the reason.
    pub fn unreadable(&self) -> Option<&SecretError> {
        match self {
            Self::File(error) | Self::Certificate(CertificateError::File(error)) => Some(error),
            Self::Certificate(CertificateError::Unusable { .. }) | Self::NoToken(_) => None,
        }
    }
}

/// Makes a credential of the value of a key or a variable.
type Kind = fn(String) -> ClientCredential;
/// The keys of a credential, of which at most one may be set.
const KEYS: [(&str, Kind); 4] = [
    ("client_secret", |text| ClientCredential::Secret(Secret::Value(text.into()))),
    ("client_secret_file", |text| ClientCredential::Secret(Secret::File(text.into()))),
    ("client_certificate_file", |text| ClientCredential::Certificate(text.into())),
    ("federated_token_file", |text| ClientCredential::FederatedToken(text.into())),
];
/// The variables of a credential, in the order in which Azure's libraries prefer them. Several may be set, since
/// Kubernetes sets some for every program in a pod.
const VARIABLES: [(&str, Kind); 3] = [
    ("AZURE_CLIENT_SECRET", |text| ClientCredential::Secret(Secret::Value(text.into()))),
    ("AZURE_CLIENT_CERTIFICATE_PATH", |text| ClientCredential::Certificate(text.into())),
    ("AZURE_FEDERATED_TOKEN_FILE", |text| ClientCredential::FederatedToken(text.into())),
];

impl ClientCredential {
    /// Reads the credential of an account; its file must be usable now, unless systemd provides it later.
    pub(super) fn read(section: &mut Section, problems: &mut Problems) -> Option<Self> {
        let before = problems.len();
        let mut set = Vec::new();
        for (key, make) in KEYS {
            let text = section.text(key, problems);
            set.extend(text.map(|text| (section.path(key), make(text))));
        }
        if problems.len() > before {
            return None;
        }
        let mut set = set.into_iter();
        let Some((path, credential)) = set.next() else { return Some(Self::None) };
        let others: Vec<String> = set.map(|(path, _)| path).collect();
        let text = match &others[..] {
            [] => return credential.usable(&path, problems),
            [other] => format!("set this or {other}, not both"),
            several => format!("set this or {}, only one of them", several.join(" or ")),
        };
        problems.add(path, text);
        None
    }

    /// Reads the credential of the environment; its file must be usable now.
    pub(super) fn from_environment(environment: Environment<'_>, problems: &mut Problems) -> Option<Self> {
        let mut set = VARIABLES.into_iter().filter_map(|(name, make)| Some((name, make(environment(name)?))));
        let Some((name, credential)) = set.next() else { return Some(Self::None) };
        credential.usable(name, problems)
    }

    fn usable(self, path: &str, problems: &mut Problems) -> Option<Self> {
        if self.file().and_then(provided::missing_unit).is_none() {
            self.load().map_err(|error| problems.add(path, error.to_string())).ok()?;
        }
        Some(self)
    }

    /// Loads the current value.
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

    /// The kind of credential, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Secret(_) => "client secret",
            Self::Certificate(_) => "client certificate",
            Self::FederatedToken(_) => "federated token",
            Self::None => "client credential",
        }
    }

    /// The file that contains it, if any.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Secret(Secret::File(path)) | Self::Certificate(path) | Self::FederatedToken(path) => {
                Some(path)
            }
            Self::Secret(Secret::Value(_)) | Self::None => None,
        }
    }

    /// When the current certificate expires, if there is one.
    pub fn certificate_expires_at(&self) -> Option<Timestamp> {
        let Self::Certificate(path) = self else { return None };
        ClientCertificate::read(path).ok().map(|certificate| certificate.not_after())
    }

    /// A warning about a credential that is usable but probably not intended.
    pub(super) fn warning(&self, now: Timestamp) -> Option<String> {
        match self {
            Self::None => Some(
                "no client credential is configured, so the application signs in as a public client; an application \
                 with a secret or a certificate needs its credential"
                    .to_owned(),
            ),
            Self::Certificate(path) => {
                let certificate = ClientCertificate::read(path).ok()?;
                let (path, from, end) = (path.display(), certificate.not_before(), certificate.not_after());
                if end <= now {
                    Some(format!("the certificate in {path} expired at {end}; Entra ID will refuse it"))
                } else if now < from {
                    Some(format!(
                        "the certificate in {path} is not valid before {from}; Entra ID will refuse it until then"
                    ))
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
