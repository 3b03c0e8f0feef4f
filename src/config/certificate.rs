//! A client certificate and its private key, in one PEM file.
//!
//! A [`ClientCertificate`] can sign by construction: it has signed once, and its certificate has verified the
//! signature. This module does not know what is signed.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_SHA256, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use exporter_toolkit::secret::{SecretError, read_bounded};
use exporter_toolkit::shell::quoted;

/// A certificate with its private key.
pub struct ClientCertificate {
    key: Key,
    thumbprint: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Why a file cannot be used to sign in.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] SecretError),
    /// Its content is not usable.
    #[error("{path} {what}")]
    Unusable {
        /// The file.
        path: String,
        /// The problem.
        what: String,
    },
}

enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl ClientCertificate {
    /// Reads a PEM file with one private key and its certificate. Other certificates, such as those of the
    /// authority, are ignored.
    ///
    /// # Errors
    /// [`CertificateError`], whose message is one line and quotes nothing of the file.
    pub fn read(path: &Path) -> Result<Self, CertificateError> {
        let pem = read_bounded(path)?;
        let unusable = |what| CertificateError::Unusable { path: path.display().to_string(), what };
        if let Some(what) = not_pem(pem.expose_secret(), path) {
            return Err(unusable(what));
        }
        Self::parse(pem.expose_secret()).map_err(|what| unusable(what.to_owned()))
    }

    fn parse(pem: &[u8]) -> Result<Self, &'static str> {
        let key = Key::parse(pem)?;
        // A signature shows that the key works, and to which certificate it belongs.
        let probe = b"probe";
        let signature = key.sign(probe).map_err(|_| Key::UNFIT)?;
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| DAMAGED)?;
        if certificates.is_empty() {
            return Err(
                "contains no certificate; it must contain the certificate and its private key, in PEM",
            );
        }
        for der in certificates {
            let certificate =
                Certificate::from_der(&der).map_err(|_| "contains a certificate that cannot be parsed")?;
            let fields = certificate.tbs_certificate();
            let public = fields.subject_public_key_info().subject_public_key.raw_bytes();
            if UnparsedPublicKey::new(key.verification(), public).verify(probe, &signature).is_ok() {
                let validity = fields.validity();
                return Ok(Self {
                    thumbprint: URL_SAFE_NO_PAD.encode(digest(&SHA256, &der)),
                    not_before: timestamp(validity.not_before.to_unix_duration()),
                    not_after: timestamp(validity.not_after.to_unix_duration()),
                    key,
                });
            }
        }
        Err("contains a certificate and a private key that do not match")
    }

    /// The algorithm of the signatures, as JSON Web Signatures name it.
    pub fn algorithm(&self) -> &'static str {
        match self.key {
            Key::Rsa(_) => "PS256",
            Key::Ec(_) => "ES256",
        }
    }

    /// The SHA-256 of the certificate in base64url, as the header `x5t#S256` requires.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// When the certificate becomes valid.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// When the certificate expires.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Signs a message, in the encoding of JSON Web Signatures.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message).expect("the key has signed before")
    }
}

const DAMAGED: &str = "is damaged: it is not valid PEM";

/// Returns what a file without any PEM section is, and how to convert it; `None` if it has one.
pub(super) fn not_pem(bytes: &[u8], path: &Path) -> Option<String> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let (path, target) = (quoted(path.as_os_str()), quoted(path.with_extension("pem").as_os_str()));
    if bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return None;
    }
    if bytes.trim_ascii().is_empty() {
        return Some("is empty".to_owned());
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Some("is UTF-16; save it as UTF-8".to_owned());
    }
    if !bytes.starts_with(&[0x30]) {
        return Some("is not a PEM file: it has no line that starts with -----BEGIN".to_owned());
    }
    // Each is a SEQUENCE of ASN.1. A certificate starts with a SEQUENCE; PKCS#12 with the version 3, a key with 0 or 1.
    let length = bytes.get(1).map_or(0, |first| if *first < 0x80 { 0 } else { usize::from(first & 0x7F) });
    let convert = match bytes.get(2 + length..).unwrap_or_default() {
        [0x30, ..] => format!("is DER; PEM is needed: openssl x509 -inform der -in {path} -out {target}"),
        [0x02, 0x01, 0x03, ..] => {
            format!("is PKCS#12; PEM is needed: openssl pkcs12 -in {path} -nodes -out {target}")
        }
        [0x02, 0x01, 0x00 | 0x01, ..] => {
            format!(
                "is a private key in DER; PEM is needed: openssl pkey -inform der -in {path} -out {target}"
            )
        }
        [0x06, ..] => {
            format!(
                "is PKCS#7 in DER; PEM is needed: openssl pkcs7 -inform der -in {path} -print_certs -out {target}"
            )
        }
        _ => "is binary; a PEM file is needed, with lines that start with -----BEGIN".to_owned(),
    };
    Some(convert)
}

impl Key {
    const UNFIT: &str =
        "contains an unsupported private key: it must be RSA of 2048 to 8192 bits or EC P-256";

    fn parse(pem: &[u8]) -> Result<Self, &'static str> {
        let holds = |text: &str| pem.windows(text.len()).any(|window| window == text.as_bytes());
        // The PEM parser ignores the former and misreads the latter.
        if holds("-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds("Proc-Type: 4,ENCRYPTED") {
            return Err("contains an encrypted private key; store it without a passphrase");
        }
        let mut keys: Vec<_> =
            PrivateKeyDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| DAMAGED)?;
        let key = match (keys.pop(), keys.is_empty()) {
            (Some(key), true) => key,
            (Some(_), false) => return Err("contains several private keys; it must contain one"),
            (None, _) => {
                return Err(
                    "contains no private key; it must contain the certificate and its private key, in PEM",
                );
            }
        };
        let ec = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let parsed: Result<Self, KeyRejected> = match &key {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map(Self::Rsa),
            PrivateKeyDer::Sec1(der) => {
                EcdsaKeyPair::from_private_key_der(ec, der.secret_sec1_der()).map(Self::Ec)
            }
            other => {
                let der = other.secret_der();
                let rsa = RsaKeyPair::from_pkcs8(der).map(Self::Rsa);
                rsa.or_else(|_| EcdsaKeyPair::from_pkcs8(ec, der).map(Self::Ec))
            }
        };
        parsed.map_err(|_| Self::UNFIT)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PSS_SHA256, &random, message, &mut signature)?;
                Ok(signature)
            }
            Self::Ec(key) => Ok(key.sign(&random, message)?.as_ref().to_vec()),
        }
    }

    fn verification(&self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Rsa(_) => &RSA_PSS_2048_8192_SHA256,
            Self::Ec(_) => &ECDSA_P256_SHA256_FIXED,
        }
    }
}

/// A certificate without an expiry ends with the year 9999, which may be beyond [`Timestamp::MAX`].
fn timestamp(since_1970: Duration) -> Timestamp {
    i64::try_from(since_1970.as_secs())
        .ok()
        .and_then(|second| Timestamp::from_second(second).ok())
        .unwrap_or(Timestamp::MAX)
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}
