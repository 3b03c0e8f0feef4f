//! Maps the names of TLS versions, cipher suites and curves in the file to those of rustls.
//!
//! The names are those of Go's `crypto/tls`. The ones that rustls does not support are known too, so that they can be
//! reported as such.

use std::fmt;

use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use super::curve_p521::SECP521R1;

/// A version of TLS by its name in the file, from the oldest to the newest.
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

    /// Returns the version of rustls, if it supports this one.
    pub(super) fn supported(self) -> Option<&'static SupportedProtocolVersion> {
        match self {
            Self::Tls10 | Self::Tls11 => None,
            Self::Tls12 => Some(&TLS12),
            Self::Tls13 => Some(&TLS13),
        }
    }
}

/// A cipher suite by its name in the file.
pub(super) struct Cipher {
    pub(super) name: &'static str,
    suite: Option<&'static SupportedCipherSuite>,
}

/// The cipher suites in the order of preference, which, as in Go, does not depend on the file.
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

    /// Returns whether rustls supports the suite.
    pub(super) fn is_supported(&self) -> bool {
        self.suite.is_some()
    }

    /// Returns whether it is one of the suites of which HTTP/2 over TLS 1.2 requires one.
    pub(super) fn is_required_for_http2(&self) -> bool {
        self.name.starts_with("TLS_ECDHE_") && self.name.ends_with("_AES_128_GCM_SHA256")
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A curve for the key exchange by its name in the file.
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

/// Returns a provider with the given suites and curves, or the default ones where a list is empty. The suites of
/// TLS 1.3 are always included, as in Go.
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
