//! `tls_server_config`: its keys and their values, without a look at the files that it names.

use std::path::{Path, PathBuf};

use rustls::SupportedProtocolVersion;
use secrecy::SecretString;

use crate::secret::Secret;
use crate::yaml::{Problem, Problems, Section, shorten};

use super::client_auth::ClientAuth;
use super::suites::{Cipher, Curve, Version};

/// The name of the section.
const SECTION: &str = "tls_server_config";

/// The section as the file has it.
#[derive(Debug)]
pub(super) struct TlsSettings {
    /// The certificate chain in PEM.
    pub(super) cert: Option<Secret>,
    /// The key of the first certificate in PEM.
    pub(super) key: Option<Secret>,
    /// The certificates that a client's certificate is verified with.
    pub(super) client_ca: Option<Pem>,
    /// The names that a client's certificate must have one of; `None` allows any.
    pub(super) client_names: Option<Vec<String>>,
    client_auth: String,
    min_version: Version,
    max_version: Version,
    /// The cipher suites; an empty list stands for those of rustls.
    pub(super) ciphers: Vec<&'static Cipher>,
    /// The curves; an empty list stands for those of rustls and P-521.
    pub(super) curves: Vec<Curve>,
    /// Whether keys for the certificate or its key are present, even if they are empty.
    has_keys: bool,
}

/// PEM that is not secret.
#[derive(Debug)]
pub(super) enum Pem {
    Text(String),
    File(PathBuf),
}

impl TlsSettings {
    pub(super) fn read(mut section: Section, directory: &Path, problems: &mut Problems) -> Self {
        let [cert, key, client_ca, client_auth] =
            ["cert", "key", "client_ca", "client_auth_type"].map(|key| section.scalar(key, problems));
        let [cert_file, key_file, client_ca_file] =
            ["cert_file", "key_file", "client_ca_file"].map(|key| read_path(&mut section, key, problems));
        let has_keys = cert.is_some() || cert_file.is_some() || key.is_some() || key_file.is_some();
        let non_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
        let file = |text| non_empty(text).map(|path| directory.join(path));
        // A file takes precedence over an inline value.
        let secret = |text, path| {
            let text = || non_empty(text).map(|text| Secret::Value(SecretString::from(text)));
            file(path).map(Secret::File).or_else(text)
        };
        let client_ca = file(client_ca_file).map(Pem::File).or_else(|| non_empty(client_ca).map(Pem::Text));
        let client_names = section.scalars("client_allowed_sans", problems);
        let min_version = read_version(&mut section, "min_version", problems).unwrap_or(Version::Tls12);
        let max_version = read_version(&mut section, "max_version", problems).unwrap_or(Version::Tls13);
        let ciphers = read_names(&mut section, "cipher_suites", "cipher", Cipher::named, problems);
        let curves = read_names(&mut section, "curve_preferences", "curve", Curve::named, problems);
        // It has no effect in Go either.
        section.boolean("prefer_server_cipher_suites", problems);
        section.finish(problems);
        Self {
            cert: secret(cert, cert_file),
            key: secret(key, key_file),
            client_ca,
            client_names,
            client_auth: client_auth.unwrap_or_default(),
            min_version,
            max_version,
            ciphers,
            curves,
            has_keys,
        }
    }

    /// Returns whether the section asks for TLS.
    pub(super) fn is_enabled(&self) -> bool {
        self.cert.is_some() || self.key.is_some() || self.client_ca.is_some() || !self.client_auth.is_empty()
    }

    /// Returns the policy for client certificates; an unknown one is reported by [`Self::problems`].
    pub(super) fn client_auth(&self) -> ClientAuth {
        ClientAuth::named(&self.client_auth).unwrap_or(ClientAuth::RequireAndVerify)
    }

    /// Returns whether a client needs a certificate that is trusted or has one of the allowed names.
    pub(super) fn requires_trusted_clients(&self) -> bool {
        self.client_auth() == ClientAuth::RequireAndVerify || self.client_names.is_some()
    }

    /// Returns the versions of TLS that are offered.
    pub(super) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [Version::Tls13, Version::Tls12];
        let chosen =
            all.into_iter().filter(|version| (self.min_version..=self.max_version).contains(version));
        chosen.filter_map(Version::supported).collect()
    }

    /// Returns the problems for which no file need be read.
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
            let hint =
                if self.max_version < Version::Tls12 { "; TLS 1.0 and 1.1 are not supported" } else { "" };
            let key = if hint.is_empty() { "min_version" } else { "max_version" };
            add(key, format!("no supported versions satisfy MinVersion and MaxVersion{hint}"));
        }
        if !self.ciphers.is_empty() && !self.ciphers.iter().any(|cipher| cipher.is_supported()) {
            let names: Vec<_> = self.ciphers.iter().map(|cipher| cipher.name).collect();
            add("cipher_suites", format!("none of them can be offered here: {}", names.join(", ")));
        }
        problems
    }

    /// Returns what keeps HTTP/2 from being offered.
    pub(super) fn http2_problem(&self) -> Option<Problem> {
        let missing = !self.ciphers.is_empty()
            && self.min_version < Version::Tls13
            && !self.ciphers.iter().any(|cipher| cipher.is_required_for_http2());
        missing.then(|| {
            let text = "http2: TLSConfig.CipherSuites is missing an HTTP/2-required AES_128_GCM_SHA256 cipher \
                        (need at least one of TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or \
                        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), or http_server_config.http2: false";
            problem("cipher_suites", text.to_owned())
        })
    }

    /// Returns what is accepted but may not do what its author expects.
    pub(super) fn warnings(&self) -> Vec<Problem> {
        let mut warnings = Vec::new();
        let mut add = |key: &str, text: String| warnings.push(problem(key, text));
        if !self.is_enabled() {
            if self.has_keys {
                add("", "certificate and key are empty, so nothing is encrypted".to_owned());
            }
            return warnings;
        }
        if self.min_version < Version::Tls12 {
            add("min_version", "TLS 1.0 and 1.1 are not supported; the minimum is TLS 1.2".to_owned());
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
                add("client_allowed_sans", "is an empty list: no client is accepted".to_owned());
            }
            _ => {}
        }
        warnings
    }
}

/// A problem of a key of this section, or of the whole section if `key` is empty.
pub(super) fn problem(key: &str, text: String) -> Problem {
    let path = if key.is_empty() { SECTION.to_owned() } else { format!("{SECTION}.{key}") };
    Problem { path, text }
}

/// Reads the path of a file.
fn read_path(section: &mut Section, key: &'static str, problems: &mut Problems) -> Option<String> {
    let path = section.scalar(key, problems)?;
    if !path.contains(char::is_control) {
        return Some(path);
    }
    // It may be the key itself, and the path of a file that cannot be read is quoted.
    let inline = key.trim_end_matches("_file");
    let text = format!("is no name of a file: it has several lines; PEM is written as {inline}");
    problems.add(section.path(key), text);
    None
}

fn read_version(section: &mut Section, key: &'static str, problems: &mut Problems) -> Option<Version> {
    let name = section.scalar(key, problems)?;
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
    let names = section.scalars(key, problems).unwrap_or_default();
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

/// Returns a name for a message; names of cipher suites are longer than what [`shorten`] lets pass.
fn shown(name: &str) -> String {
    let is_name = name.len() < 80
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if is_name { name.to_owned() } else { shorten(name, "value") }
}
