//! Certificates that verify signed assertions.
//!
//! It does not know what an assertion contains.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use x509_cert::der::Decode as _;

/// A PEM certificate whose key, RSA or ECDSA on P-256, signs assertions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Certificate {
    pem: String,
    thumbprint: String,
    algorithm: Algorithm,
    key: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Ps256,
    Es256,
}

impl Certificate {
    /// The value that an assertion's header `x5t#S256` must have.
    pub(crate) fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// The value that an assertion's header `alg` must have.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self.algorithm {
            Algorithm::Ps256 => "PS256",
            Algorithm::Es256 => "ES256",
        }
    }

    /// Whether the certificate's key made this signature of the message.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
        };
        UnparsedPublicKey::new(algorithm, &self.key).verify(message, signature).is_ok()
    }
}

impl TryFrom<String> for Certificate {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        /// The bytes of an uncompressed point on P-256, which is longer on the other curves.
        const P256_POINT: usize = 65;
        const NOT_PEM: &str = "not a certificate in PEM format";
        let der = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| NOT_PEM)?;
        let certificate = x509_cert::Certificate::from_der(&der).map_err(|_| NOT_PEM)?;
        let public = certificate.tbs_certificate().subject_public_key_info();
        let key = public.subject_public_key.raw_bytes().to_vec();
        let algorithm = match public.algorithm.oid.to_string().as_str() {
            "1.2.840.113549.1.1.1" => Algorithm::Ps256,
            "1.2.840.10045.2.1" if key.len() == P256_POINT => Algorithm::Es256,
            _ => return Err("a certificate whose key is neither RSA nor ECDSA on P-256"),
        };
        let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, &der));
        Ok(Self { pem: text, thumbprint, algorithm, key })
    }
}

impl From<Certificate> for String {
    fn from(certificate: Certificate) -> Self {
        certificate.pem
    }
}
