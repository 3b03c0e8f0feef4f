//! Reads the certificates and keys that the settings name, and builds the `ServerConfig`.
//!
//! The messages of PEM parsers are not passed on, since they may quote their input.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use secrecy::{ExposeSecret, SecretString};

use crate::files;
use crate::secret::{Secret, SecretError};
use crate::yaml::Problem;

use super::cache::{Fingerprint, fingerprint};
use super::client_auth::{self, ClientAuth, ClientVerifier};
use super::suites;
use super::tls_settings::{Pem, TlsSettings, problem};

/// The size of the largest file of certificates of authorities that is read, in bytes.
const MAX_CA_SIZE: u64 = 4 << 20;

/// The content of the files, or of the inline values.
pub(super) struct TlsFiles {
    cert: SecretString,
    key: SecretString,
    client_ca: Option<Vec<u8>>,
}

impl TlsFiles {
    /// Reads the files that the settings name.
    pub(super) fn read(settings: &TlsSettings) -> Result<Self, Vec<Problem>> {
        let mut problems = settings.problems();
        let mut read = |secret: &Option<Secret>, key| {
            let text = secret.as_ref()?.read_text();
            text.map_err(|error| problems.push(problem(key, unreadable(key, error)))).ok()
        };
        let (cert, key) = (read(&settings.cert, "cert_file"), read(&settings.key, "key_file"));
        let client_ca = match &settings.client_ca {
            None => None,
            Some(Pem::Text(text)) => Some(text.clone().into_bytes()),
            Some(Pem::File(path)) => {
                let bytes = read_authorities(path);
                let text = |error| format!("open {}: {}", path.display(), cause(&error));
                bytes.map_err(|error| problems.push(problem("client_ca_file", text(error)))).ok()
            }
        };
        match (cert, key) {
            (Some(cert), Some(key)) if problems.is_empty() => Ok(Self { cert, key, client_ca }),
            _ => Err(problems),
        }
    }

    /// Returns a fingerprint of everything that [`Self::server_config`] depends on.
    pub(super) fn fingerprint(&self, settings: &TlsSettings) -> Fingerprint {
        let settings = format!("{settings:?}");
        let ca = self.client_ca.as_deref().unwrap_or_default();
        fingerprint(&[
            settings.as_bytes(),
            self.cert.expose_secret().as_bytes(),
            self.key.expose_secret().as_bytes(),
            ca,
        ])
    }

    /// Returns what is accepted but may not do what its author expects.
    pub(super) fn warning(&self) -> Option<Problem> {
        let ca = self.client_ca.as_ref()?;
        let text = "there is no certificate in it, so no certificate of a client is trusted";
        client_auth::certificates(ca).is_empty().then(|| problem("client_ca", text.to_owned()))
    }

    /// Builds the configuration of TLS connections.
    pub(super) fn server_config(
        &self,
        settings: &TlsSettings,
        http2: bool,
    ) -> Result<ServerConfig, Vec<Problem>> {
        let unusable = |what| vec![problem("", format!("failed to load X509KeyPair: {what}"))];
        let chain: Vec<_> = CertificateDer::pem_slice_iter(self.cert.expose_secret().as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| unusable("the certificate is no valid PEM"))?;
        if chain.is_empty() {
            return Err(unusable("there is no certificate in PEM where it should be"));
        }
        let key = PrivateKeyDer::from_pem_slice(self.key.expose_secret().as_bytes()).map_err(|_| {
            unusable("there is no private key in PEM, without a passphrase, where it should be")
        })?;
        let provider = Arc::new(suites::provider(&settings.ciphers, &settings.curves));
        let pair = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => unusable("the private key is not that of the certificate"),
            _ => unusable("the certificate or the private key cannot be used"),
        })?;

        let auth = settings.client_auth();
        let verifier = if auth == ClientAuth::No {
            if self.client_ca.is_some() {
                let text = "client CA's have been configured without a Client Auth Policy";
                return Err(vec![problem("client_auth_type", text.to_owned())]);
            }
            if settings.client_names.is_some() {
                let text = "requires client_auth_type to be one of RequireAnyClientCert or RequireAndVerifyClientCert";
                return Err(vec![problem("client_allowed_sans", text.to_owned())]);
            }
            WebPkiClientVerifier::no_client_auth()
        } else {
            let trusted = client_auth::certificates(self.client_ca.as_deref().unwrap_or_default());
            Arc::new(ClientVerifier::new(auth, trusted, settings.client_names.clone(), &provider))
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&settings.versions())
            .map_err(|_| vec![problem("cipher_suites", "none of them fits the versions".to_owned())])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = if http2 { vec![b"h2".to_vec()] } else { Vec::new() };
        config.alpn_protocols.push(b"http/1.1".to_vec());
        // The server's order of cipher suites decides.
        config.ignore_client_order = true;
        if auth != ClientAuth::No {
            // A resumed session would skip the verification of the client's certificate.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }
}

/// Reads a file of certificates. `/dev/null` has none.
fn read_authorities(path: &Path) -> io::Result<Vec<u8>> {
    if path == Path::new("/dev/null") { Ok(Vec::new()) } else { files::read(path, MAX_CA_SIZE) }
}

fn unreadable(key: &str, error: SecretError) -> String {
    match error {
        SecretError::Unreadable { path, cause: error } => {
            format!("failed to read {key} ({}): open {0}: {}", path.display(), cause(&error))
        }
        SecretError::Malformed { what, .. } => format!("failed to read {key}: it {what}"),
        SecretError::Empty(path) => format!("failed to read {key} ({}): it is empty", path.display()),
    }
}

/// Returns why a file cannot be read, in the words of the exporters in Go.
pub(super) fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        _ => error.to_string(),
    }
}
