//! The names of TLS versions, cipher suites and curves in the file, and what rustls has for them.
//!
//! The names are those of Go's `crypto/tls`, which the format takes over. What rustls does not have is a name
//! all the same: whoever wrote it is told.

use std::fmt;

use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use super::curve_p521::SECP521R1;

/// A version of TLS, by its name in the file. Ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

impl Version {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "TLS10" => Some(Self::Tls10),
            "TLS11" => Some(Self::Tls11),
            "TLS12" => Some(Self::Tls12),
            "TLS13" => Some(Self::Tls13),
            _ => None,
        }
    }

    /// What rustls has for it.
    pub(super) fn supported(self) -> Option<&'static SupportedProtocolVersion> {
        match self {
            Self::Tls10 | Self::Tls11 => None,
            Self::Tls12 => Some(&TLS12),
            Self::Tls13 => Some(&TLS13),
        }
    }
}

/// A cipher suite, by its name in the file.
pub(super) struct Cipher {
    pub(super) name: &'static str,
    suite: Option<&'static SupportedCipherSuite>,
}

/// In the order in which they are chosen, whatever the order in the file, as Go does it.
static CIPHERS: [Cipher; 13] = [
    Cipher::new("TLS_AES_128_GCM_SHA256", Some(&cipher_suite::TLS13_AES_128_GCM_SHA256)),
    Cipher::new("TLS_AES_256_GCM_SHA384", Some(&cipher_suite::TLS13_AES_256_GCM_SHA384)),
    Cipher::new("TLS_CHACHA20_POLY1305_SHA256", Some(&cipher_suite::TLS13_CHACHA20_POLY1305_SHA256)),
    Cipher::new(
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        Some(&cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ),
    Cipher::new(
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        Some(&cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ),
    Cipher::new(
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        Some(&cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ),
    Cipher::new(
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        Some(&cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ),
    Cipher::new(
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(&cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    Cipher::new(
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(&cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    Cipher::new("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", None),
    Cipher::new("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", None),
    Cipher::new("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", None),
    Cipher::new("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", None),
];

impl Cipher {
    const fn new(name: &'static str, suite: Option<&'static SupportedCipherSuite>) -> Self {
        Self { name, suite }
    }

    pub(super) fn named(name: &str) -> Option<&'static Self> {
        CIPHERS.iter().find(|cipher| cipher.name == name)
    }

    /// Does rustls have it?
    pub(super) fn is_supported(&self) -> bool {
        self.suite.is_some()
    }

    /// One that every HTTP/2 client has, where TLS 1.3 is not a must.
    pub(super) fn is_required_for_http2(&self) -> bool {
        self.name.starts_with("TLS_ECDHE_") && self.name.ends_with("_AES_128_GCM_SHA256")
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A curve to exchange keys on, by its name in the file.
pub(super) struct Curve {
    name: &'static str,
    group: &'static dyn SupportedKxGroup,
}

impl Curve {
    pub(super) fn named(name: &str) -> Option<Self> {
        let (name, group) = match name {
            "CurveP256" => ("CurveP256", kx_group::SECP256R1),
            "CurveP384" => ("CurveP384", kx_group::SECP384R1),
            "CurveP521" => ("CurveP521", SECP521R1),
            "X25519" => ("X25519", kx_group::X25519),
            _ => return None,
        };
        Some(Self { name, group })
    }
}

impl fmt::Debug for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The cryptography to serve with. An empty list stands for what rustls has; the suites of TLS 1.3 cannot be
/// chosen among, which is the format's rule as well.
pub(super) fn provider(ciphers: &[&'static Cipher], curves: &[Curve]) -> CryptoProvider {
    let chosen = |cipher: &Cipher| ciphers.is_empty() || ciphers.iter().any(|one| one.name == cipher.name);
    let mut provider = default_provider();
    provider.cipher_suites = CIPHERS
        .iter()
        .filter_map(|cipher| cipher.suite.filter(|suite| suite.tls13().is_some() || chosen(cipher)).copied())
        .collect();
    if curves.is_empty() {
        provider.kx_groups.push(SECP521R1);
    } else {
        provider.kx_groups = curves.iter().map(|curve| curve.group).collect();
    }
    provider
}
