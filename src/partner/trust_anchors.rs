//! The trust anchors of TLS connections, read once for all accounts of a configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::{env, io};

use exporter_toolkit::files;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use crate::config::{self, Account};

/// The system's trust anchors and those of each `ca_file`, as they were when the first account needed them.
#[derive(Debug, Default)]
pub struct TrustAnchors {
    read: Mutex<Read>,
}

#[derive(Debug, Default)]
struct Read {
    system: Option<System>,
    by_ca_file: BTreeMap<Option<PathBuf>, Tls>,
}

/// The system's trust anchors.
#[derive(Debug)]
struct System {
    anchors: RootCertStore,
    /// Why some of them cannot be used, in parentheses after a space; empty if all can.
    flaw: String,
}

/// The TLS configuration of all clients without TLS, since a client has one in any case. It trusts nobody.
pub(super) static NO_TLS: LazyLock<ClientConfig> =
    LazyLock::new(|| trusting(&Arc::new(RootCertStore::empty())).expect("the provider has cipher suites"));

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
    /// The system's trust anchors cannot be read.
    #[error(
        "cannot read the CA certificates of {place}: {error}; set SSL_CERT_FILE to a regular file with CA certificates"
    )]
    System {
        /// The variables that say where they are, or a name of the system's own place.
        place: String,
        /// The cause.
        error: io::Error,
    },
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
        if let Some(known) = read.by_ca_file.get(&account.ca_file) {
            return Ok(Some(known.clone()));
        }
        let system = match read.system.take() {
            Some(system) => system,
            None => System::read()?,
        };
        let tls = Tls::read(account, read.system.insert(system))?;
        read.by_ca_file.insert(account.ca_file.clone(), tls.clone());
        Ok(Some(tls))
    }
}

impl System {
    fn read() -> Result<Self, TrustAnchorsError> {
        let set = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
            .map(|name| env::var_os(name).map(|path| format!("{name}={}", path.display())));
        let set = set.into_iter().flatten().collect::<Vec<_>>().join(" and ");
        let place = if set.is_empty() { "the system's trust store".to_owned() } else { set };
        let read = || {
            let file = env::var_os("SSL_CERT_FILE").filter(|path| path != "/dev/null");
            match file.map(|path| files::open(Path::new(&path))) {
                Some(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => Err(error),
                _ => Ok(rustls_native_certs::load_native_certs()),
            }
        };
        let found = files::within(Path::new(&place), files::READ_DEADLINE, read)
            .map_err(|error| TrustAnchorsError::System { place, error })?;
        let mut anchors = RootCertStore::empty();
        anchors.add_parsable_certificates(found.certs);
        let flaw = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        Ok(Self { anchors, flaw })
    }
}

impl Tls {
    fn read(account: &Account, system: &System) -> Result<Self, TrustAnchorsError> {
        let mut anchors = system.anchors.clone();
        if let Some(path) = &account.ca_file {
            anchors
                .add_parsable_certificates(config::trust_anchors(path).map_err(TrustAnchorsError::CaFile)?);
        }
        if anchors.is_empty() {
            return Err(TrustAnchorsError::NoAnchors(system.flaw.clone()));
        }
        let anchors = Arc::new(anchors);
        let mut config = trusting(&anchors).map_err(|error| TrustAnchorsError::Build(error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config, anchors })
    }

    /// Whether both have the same trust anchors.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.anchors.roots == other.anchors.roots
    }
}

/// Returns the TLS configuration of clients that trust these anchors.
fn trusting(anchors: &Arc<RootCertStore>) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(Arc::clone(anchors)).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Config;

    #[test]
    fn all_accounts_use_the_certificates_that_were_read_for_the_first_one() {
        let directory = tempfile::tempdir().unwrap();
        let certificate = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert;
        let paths = ["one.pem", "other.pem"].map(|name| directory.path().join(name));
        for path in &paths {
            fs::write(path, certificate().pem()).unwrap();
        }
        let account = |ca_file: Option<&PathBuf>| {
            let id = "00000000-0000-4000-8000-000000000000";
            let more = ca_file.map(|path| format!(", ca_file: {}", path.display())).unwrap_or_default();
            let text = format!("accounts: [{{tenant_id: {id}, client_id: {id}, client_secret: x{more}}}]");
            Config::parse(&text, &|_| None).unwrap().accounts.remove(0)
        };
        let mut system = System { anchors: RootCertStore::empty(), flaw: String::new() };
        system.anchors.add(certificate().der().clone()).unwrap();
        let anchors = TrustAnchors::default();
        anchors.read.lock().unwrap().system = Some(system);
        for (ca_file, expected) in [(None, 1), (Some(&paths[0]), 2), (Some(&paths[1]), 2)] {
            let tls = anchors.of(&account(ca_file)).unwrap().unwrap();
            assert_eq!(tls.anchors.len(), expected, "{ca_file:?}");
        }
    }
}
