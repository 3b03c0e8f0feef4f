//! The file's format: every key of it, and what each may hold.
//!
//! A key that this version does not honour is a problem, never ignored: whoever wrote it counts on it. Reads
//! no other file, and knows no connection.

use std::path::Path;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::config::Secret;
use crate::yaml::{self, Problem, Problems, Section};

use super::tls::TlsSettings;
use super::users::Users;

/// The headers that may be set, and the values that are allowed where not all are.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

/// What a file says.
pub(super) struct WebConfig {
    /// How to encrypt; `None` = not at all.
    pub(super) tls: Option<TlsSettings>,
    /// Set on every answer.
    pub(super) headers: HeaderMap,
    /// Who is let in; empty = everybody.
    pub(super) users: Users,
}

impl WebConfig {
    /// Reads the text of a file in `directory`. What is returned is only of use where there is no problem.
    pub(super) fn parse(text: &str, directory: &Path) -> (Self, Vec<Problem>) {
        let mut problems = Problems::default();
        let tree = yaml::parse(text).unwrap_or_else(|problem| {
            problems.add(problem.path, problem.text);
            serde_json::Value::Null
        });
        let mut root = Section::root(tree, &mut problems);
        let tls = read_tls(root.section("tls_server_config", &mut problems), directory, &mut problems);
        let headers = read_http(root.section("http_server_config", &mut problems), &mut problems);
        root.refuse("rate_limit", &mut problems);
        let users = Users::read(root.entries("basic_auth_users", &mut problems), &mut problems);
        root.finish(&mut problems);
        let config = Self { tls, headers, users };
        (config, problems.none_or(()).err().unwrap_or_default())
    }
}

/// TLS is on where any of its four sources is written, even if it is empty.
fn read_tls(mut section: Section, directory: &Path, problems: &mut Problems) -> Option<TlsSettings> {
    let [cert, cert_file, key, key_file] =
        ["cert", "cert_file", "key", "key_file"].map(|name| section.text_or_empty(name, problems));
    for name in [
        "client_auth_type",
        "client_ca",
        "client_ca_file",
        "client_allowed_sans",
        "cipher_suites",
        "prefer_server_cipher_suites",
        "curve_preferences",
    ] {
        section.refuse(name, problems);
    }
    let least = read_version(&mut section, "min_version", problems).unwrap_or(&TLS12);
    let most = read_version(&mut section, "max_version", problems).unwrap_or(&TLS13);
    let rank = |version: &SupportedProtocolVersion| u16::from(version.version);
    let mut versions = vec![&TLS13, &TLS12];
    versions.retain(|version| (rank(least)..=rank(most)).contains(&rank(version)));
    if versions.is_empty() {
        problems.add(section.path("min_version"), "no supported versions satisfy MinVersion and MaxVersion");
    }

    let on = [&cert, &cert_file, &key, &key_file].iter().any(|source| source.is_some());
    let secret = |text: Option<String>, file: Option<String>| {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let file = filled(file).map(|path| Secret::File(directory.join(path)));
        file.or_else(|| filled(text).map(|text| Secret::Value(text.into())))
    };
    let (cert, key) = (secret(cert, cert_file), secret(key, key_file));
    if on && cert.is_none() {
        problems.add(section.own_path(), "missing one of cert or cert_file");
    }
    if on && key.is_none() {
        problems.add(section.own_path(), "missing one of key or key_file");
    }
    section.finish(problems);
    Some(TlsSettings { cert: cert?, key: key?, versions })
}

fn read_version(
    section: &mut Section,
    key: &'static str,
    problems: &mut Problems,
) -> Option<&'static SupportedProtocolVersion> {
    let text = section.text_or_empty(key, problems)?;
    match text.as_str() {
        "" => None,
        "TLS12" => Some(&TLS12),
        "TLS13" => Some(&TLS13),
        "TLS10" | "TLS11" => {
            problems.add(
                section.path(key),
                format!("{text} is not supported by this version; use TLS12 or TLS13"),
            );
            None
        }
        _ => {
            problems
                .add(section.path(key), format!("unknown TLS version: {}", yaml::shorten(&text, "value")));
            None
        }
    }
}

fn read_http(mut section: Section, problems: &mut Problems) -> HeaderMap {
    if section.boolean("http2", problems) == Some(true) {
        problems
            .add(section.path("http2"), "true is not supported by this version; remove it or write false");
    }
    let mut headers = HeaderMap::new();
    for entry in section.entries("headers", problems) {
        let Some((name, allowed)) = HEADERS.iter().find(|(name, _)| *name == entry.name) else {
            let name = yaml::shorten(&entry.name, "name");
            problems.add(entry.path, format!("HTTP header {name:?} can not be configured"));
            continue;
        };
        if entry.text.is_empty() {
            continue;
        }
        if !allowed.is_empty() && !allowed.contains(&entry.text.as_str()) {
            let text = yaml::shorten(&entry.text, "value");
            problems.add(
                entry.path,
                format!("invalid value for {name}. Expected one of: {allowed:?}, but got: {text:?}"),
            );
            continue;
        }
        match HeaderValue::try_from(entry.text) {
            Ok(value) => {
                let name = HeaderName::try_from(*name).expect("the names are valid");
                headers.insert(name, value);
            }
            Err(_) => problems.add(entry.path, "is no value of an HTTP header: it holds a control character"),
        }
    }
    section.finish(problems);
    headers
}
