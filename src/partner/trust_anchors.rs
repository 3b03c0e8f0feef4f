//! The trust anchors of TLS connections, read once for all accounts of a configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use crate::config::{self, Account};

/// The system's trust anchors and those of each `ca_file`, as they were when the first account needed them.
#[derive(Debug, Default)]
pub struct TrustAnchors {
    /// By `ca_file`.
    read: Mutex<BTreeMap<Option<PathBuf>, Tls>>,
}

/// How the accounts with the same trust anchors use TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls {
    pub(super) config: ClientConfig,
    anchors: Arc<RootCertStore>,
}

/// Why an account has no trust anchors.
#[derive(Debug, thiserror::Error)]
pub enum TrustAnchorsError {
    /// The file of extra trust anchors cannot be used.
    #[error("ca_file: {0}")]
    CaFile(String),
    /// The system has no certificates of certification authorities, and there is no `ca_file`.
    #[error(
        "this system has no CA certificates{0}; install the package ca-certificates, set SSL_CERT_FILE to a file that \
         has them, or set ca_file"
    )]
    NoAnchors(String),
    /// The TLS back end cannot be used.
    #[error("cannot set up TLS: {0}")]
    Build(String),
}

impl TrustAnchors {
    /// How `account` uses TLS; `None` if its services are on loopback without TLS.
    ///
    /// # Errors
    /// [`TrustAnchorsError`] if `ca_file` or the system's trust store cannot be used.
    pub fn of(&self, account: &Account) -> Result<Option<Tls>, TrustAnchorsError> {
        if !account.cloud.uses_tls() {
            return Ok(None);
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.get(&account.ca_file) {
            return Ok(Some(known.clone()));
        }
        let tls = Tls::read(account)?;
        read.insert(account.ca_file.clone(), tls.clone());
        Ok(Some(tls))
    }
}

impl Tls {
    fn read(account: &Account) -> Result<Self, TrustAnchorsError> {
        let mut anchors = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        anchors.add_parsable_certificates(system.certs);
        if let Some(path) = &account.ca_file {
            anchors
                .add_parsable_certificates(config::trust_anchors(path).map_err(TrustAnchorsError::CaFile)?);
        }
        if anchors.is_empty() {
            let why = system.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(TrustAnchorsError::NoAnchors(why));
        }
        let anchors = Arc::new(anchors);
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TrustAnchorsError::Build(error.to_string()))?;
        let mut config = builder.with_root_certificates(Arc::clone(&anchors)).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config, anchors })
    }

    /// Whether both have the same trust anchors.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.anchors.roots == other.anchors.roots
    }
}
