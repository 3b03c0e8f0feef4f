//! How connections are encrypted: certificate and key, and what rustls makes of them. Knows no connection.

use std::io;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};
use secrecy::{ExposeSecret, SecretString};

use crate::config::{Secret, SecretError};
use crate::yaml::Problem;

use super::remembered::{Fingerprint, fingerprint};

/// How to encrypt.
#[derive(Debug)]
pub(super) struct TlsSettings {
    /// The chain, in PEM.
    pub(super) cert: Secret,
    /// The key of its first certificate, in PEM.
    pub(super) key: Secret,
    /// At least one.
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
}

/// What was found where the settings point to.
pub(super) struct Pair {
    cert: SecretString,
    key: SecretString,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl TlsSettings {
    /// Reads and checks certificate and key.
    pub(super) fn load(&self) -> Result<ServerConfig, Vec<Problem>> {
        self.read()?.server_config()
    }

    pub(super) fn read(&self) -> Result<Pair, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut read = |secret: &Secret, key| {
            secret.read().map_err(|error| problems.push(problem(key, unreadable(key, error)))).ok()
        };
        let (cert, key) = (read(&self.cert, "cert_file"), read(&self.key, "key_file"));
        match (cert, key) {
            (Some(cert), Some(key)) => Ok(Pair { cert, key, versions: self.versions.clone() }),
            _ => Err(problems),
        }
    }
}

impl Pair {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let versions = format!("{:?}", self.versions);
        fingerprint(&[self.cert.expose_secret(), self.key.expose_secret(), &versions])
    }

    pub(super) fn server_config(&self) -> Result<ServerConfig, Vec<Problem>> {
        // What a PEM parser says may quote its input, so it is not asked.
        let useless = |what| vec![problem("", format!("failed to load X509KeyPair: {what}"))];
        let chain: Vec<_> = CertificateDer::pem_slice_iter(self.cert.expose_secret().as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| useless("the certificate is no valid PEM"))?;
        if chain.is_empty() {
            return Err(useless("there is no certificate in PEM where it should be"));
        }
        let key = PrivateKeyDer::from_pem_slice(self.key.expose_secret().as_bytes()).map_err(|_| {
            useless("there is no private key in PEM, without a passphrase, where it should be")
        })?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&self.versions)
            .expect("the provider knows these versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    useless("the private key is not that of the certificate")
                }
                _ => useless("the certificate or the private key cannot be used"),
            })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn problem(key: &str, text: String) -> Problem {
    let path =
        if key.is_empty() { "tls_server_config".to_owned() } else { format!("tls_server_config.{key}") };
    Problem { path, text }
}

fn unreadable(key: &str, error: SecretError) -> String {
    match error {
        SecretError::Unreadable { path, cause } if cause.kind() == io::ErrorKind::NotFound => {
            format!("failed to read {key} ({}): no such file or directory", path.display())
        }
        SecretError::Unreadable { path, cause } => {
            format!("failed to read {key} ({}): {cause}", path.display())
        }
        SecretError::Empty(path) => format!("failed to read {key} ({}): it is empty", path.display()),
    }
}
