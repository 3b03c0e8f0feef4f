//! `tls_server_config`: its keys, what each may hold, and what of it cannot be honoured.
//!
//! Reads no other file: a certificate is where it is written to be.

use std::path::{Path, PathBuf};

use rustls::SupportedProtocolVersion;
use secrecy::SecretString;

use crate::secret::Secret;
use crate::yaml::{Problem, Problems, Section, shorten};

use super::client::ClientAuth;
use super::suites::{Cipher, Curve, Version};

/// The section's name.
const SECTION: &str = "tls_server_config";

/// How to encrypt, as it is written.
#[derive(Debug)]
pub(super) struct TlsSettings {
    /// The chain, in PEM.
    pub(super) cert: Option<Secret>,
    /// The key of its first certificate, in PEM.
    pub(super) key: Option<Secret>,
    /// Whom to trust.
    pub(super) client_ca: Option<Pem>,
    /// Which names of clients are allowed; `None` = any.
    pub(super) client_names: Option<Vec<String>>,
    client_auth: String,
    least: Version,
    most: Version,
    /// None = those that rustls has.
    pub(super) ciphers: Vec<&'static Cipher>,
    /// None = those that rustls has, and P-521.
    pub(super) curves: Vec<Curve>,
    /// Written, but empty.
    hollow: bool,
}

/// PEM that is no secret.
#[derive(Debug)]
pub(super) enum Pem {
    Text(String),
    File(PathBuf),
}

impl TlsSettings {
    pub(super) fn read(mut section: Section, directory: &Path, problems: &mut Problems) -> Self {
        let [cert, key, client_ca, client_auth] =
            ["cert", "key", "client_ca", "client_auth_type"].map(|key| section.words(key, problems));
        let [cert_file, key_file, client_ca_file] =
            ["cert_file", "key_file", "client_ca_file"].map(|key| read_name(&mut section, key, problems));
        let hollow = cert.is_some() || cert_file.is_some() || key.is_some() || key_file.is_some();
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let file = |text| filled(text).map(|path| directory.join(path));
        // The file wins.
        let secret = |text, path| {
            let text = || filled(text).map(|text| Secret::Value(SecretString::from(text)));
            file(path).map(Secret::File).or_else(text)
        };
        let client_ca = file(client_ca_file).map(Pem::File).or_else(|| filled(client_ca).map(Pem::Text));
        let client_names = section.list("client_allowed_sans", problems);
        let least = read_version(&mut section, "min_version", problems).unwrap_or(Version::Tls12);
        let most = read_version(&mut section, "max_version", problems).unwrap_or(Version::Tls13);
        let ciphers = read_names(&mut section, "cipher_suites", "cipher", Cipher::named, problems);
        let curves = read_names(&mut section, "curve_preferences", "curve", Curve::named, problems);
        // Go, where the format comes from, has let it have no effect for years: the order is the program's.
        section.boolean("prefer_server_cipher_suites", problems);
        section.finish(problems);
        Self {
            cert: secret(cert, cert_file),
            key: secret(key, key_file),
            client_ca,
            client_names,
            client_auth: client_auth.unwrap_or_default(),
            least,
            most,
            ciphers,
            curves,
            hollow,
        }
    }

    /// Is anything to be encrypted?
    pub(super) fn is_on(&self) -> bool {
        self.cert.is_some() || self.key.is_some() || self.client_ca.is_some() || !self.client_auth.is_empty()
    }

    /// What is asked of clients. What cannot be read is a problem before anybody asks.
    pub(super) fn client_auth(&self) -> ClientAuth {
        ClientAuth::named(&self.client_auth).unwrap_or(ClientAuth::RequireAndVerify)
    }

    /// The versions that are spoken.
    pub(super) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [Version::Tls13, Version::Tls12];
        let chosen = all.into_iter().filter(|version| (self.least..=self.most).contains(version));
        chosen.filter_map(Version::supported).collect()
    }

    /// What keeps anything from being encrypted this way, before any file is read.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |key: &str, text: String| problems.push(problem(key, text));
        if self.cert.is_none() {
            add("", "missing one of cert or cert_file".to_owned());
        }
        if self.key.is_none() {
            add("", "missing one of key or key_file".to_owned());
        }
        if ClientAuth::named(&self.client_auth).is_none() {
            add("client_auth_type", format!("invalid ClientAuth: {}", shorten(&self.client_auth, "value")));
        }
        if self.versions().is_empty() {
            let hint = if self.most < Version::Tls12 { "; TLS 1.0 and 1.1 are not spoken here" } else { "" };
            let key = if hint.is_empty() { "min_version" } else { "max_version" };
            add(key, format!("no supported versions satisfy MinVersion and MaxVersion{hint}"));
        }
        if !self.ciphers.is_empty() && !self.ciphers.iter().any(|cipher| cipher.is_supported()) {
            let names: Vec<_> = self.ciphers.iter().map(|cipher| cipher.name).collect();
            add("cipher_suites", format!("none of them can be offered here: {}", names.join(", ")));
        }
        problems
    }

    /// What is wrong with it where HTTP/2 is to be served.
    pub(super) fn http2_problem(&self) -> Option<Problem> {
        let missing = !self.ciphers.is_empty()
            && self.least < Version::Tls13
            && !self.ciphers.iter().any(|cipher| cipher.is_required_for_http2());
        missing.then(|| {
            let text = "http2: TLSConfig.CipherSuites is missing an HTTP/2-required AES_128_GCM_SHA256 cipher \
                        (need at least one of TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or \
                        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), or http_server_config.http2: false";
            problem("cipher_suites", text.to_owned())
        })
    }

    /// What is accepted, and not or hardly what its writer may expect.
    pub(super) fn warnings(&self) -> Vec<Problem> {
        let mut warnings = Vec::new();
        let mut add = |key: &str, text: String| warnings.push(problem(key, text));
        if !self.is_on() {
            if self.hollow {
                add("", "certificate and key are empty, so nothing is encrypted".to_owned());
            }
            return warnings;
        }
        if self.least < Version::Tls12 {
            add("min_version", "TLS 1.0 and 1.1 are not spoken here; TLS 1.2 is the least".to_owned());
        }
        for cipher in self.ciphers.iter().filter(|cipher| !cipher.is_supported()) {
            add("cipher_suites", format!("{} is not offered: there are no CBC suites here", cipher.name));
        }
        let auth = self.client_auth();
        if auth.verifies() && self.client_ca.is_none() {
            let text = "without client_ca or client_ca_file no certificate of a client is trusted, \
                        not even one from an authority that the system trusts";
            add("client_auth_type", text.to_owned());
        }
        match &self.client_names {
            Some(names) if names.is_empty() => {
                add("client_allowed_sans", "is an empty list: no client is let in".to_owned());
            }
            _ => {}
        }
        warnings
    }
}

/// A problem of a key in this section, or of the whole.
pub(super) fn problem(key: &str, text: String) -> Problem {
    let path = if key.is_empty() { SECTION.to_owned() } else { format!("{SECTION}.{key}") };
    Problem { path, text }
}

/// The name of a file.
fn read_name(section: &mut Section, key: &'static str, problems: &mut Problems) -> Option<String> {
    let name = section.words(key, problems)?;
    if !name.contains(char::is_control) {
        return Some(name);
    }
    // It may be the key itself, and names are quoted when they cannot be read.
    let inline = key.trim_end_matches("_file");
    let text = format!("is no name of a file: it has several lines; PEM is written as {inline}");
    problems.add(section.path(key), text);
    None
}

fn read_version(section: &mut Section, key: &'static str, problems: &mut Problems) -> Option<Version> {
    let name = section.words(key, problems)?;
    let version = Version::named(&name);
    if version.is_none() {
        problems.add(section.path(key), format!("unknown TLS version: {}", shown(&name)));
    }
    version
}

fn read_names<T>(
    section: &mut Section,
    key: &'static str,
    what: &str,
    named: impl Fn(&str) -> Option<T>,
    problems: &mut Problems,
) -> Vec<T> {
    let names = section.list(key, problems).unwrap_or_default();
    let mut found = Vec::new();
    for (n, name) in names.iter().enumerate() {
        match named(name) {
            Some(one) => found.push(one),
            None => problems
                .add(format!("{}[{n}]", section.path(key)), format!("unknown {what}: {}", shown(name))),
        }
    }
    found
}

/// Some names are longer than what is usually shown of a value.
fn shown(name: &str) -> String {
    let is_name = name.len() < 80
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if is_name { name.to_owned() } else { shorten(name, "value") }
}
