//! The file's format: every key of it, and what each may hold.
//!
//! Reads no other file, and knows no connection. `tls_server_config`, `rate_limit` and the users have modules of
//! their own.

use std::path::Path;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::yaml::{self, Entry, Problem, Problems, Section, Tree};

use super::rate::Rate;
use super::settings::TlsSettings;
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
#[derive(Debug)]
pub(super) struct WebConfig {
    pub(super) tls: TlsSettings,
    /// Is HTTP/2 spoken over TLS?
    pub(super) http2: bool,
    /// Set on every answer.
    pub(super) headers: HeaderMap,
    /// How many requests are answered; `None` = any number.
    pub(super) rate: Option<Rate>,
    /// Who is let in; empty = everybody.
    pub(super) users: Users,
    /// Are `/-/healthy` and `/-/ready` answered to everybody?
    pub(super) open_health: bool,
    warnings: Vec<Problem>,
}

impl WebConfig {
    /// Reads the text of a file in `directory`. Where there is a problem nobody may be let in; that there is none
    /// does not mean that certificates and hashes are of use.
    pub(super) fn parse(text: &str, directory: &Path, extension: &'static str) -> (Self, Vec<Problem>) {
        // Users of the format look for this word.
        let mut problems = Problems::with_prefix("yaml: ");
        let mut warnings = Vec::new();
        let tree = yaml::parse(text).unwrap_or_else(|problem| {
            problems.malformed(problem.path, problem.text);
            Tree::Null
        });
        let mut root = Section::root(tree, &mut problems);
        let tls = root.section("tls_server_config", &mut problems);
        let tls = TlsSettings::read(tls, directory, &mut problems);
        let mut http = root.section("http_server_config", &mut problems);
        let http2 = http.boolean("http2", &mut problems).unwrap_or(true);
        let headers = read_headers(http.entries("headers", &mut problems), &mut problems);
        http.finish(&mut problems);
        let rate = root.section("rate_limit", &mut problems);
        let rate = Rate::read(rate, &mut problems, &mut warnings);
        let users = Users::read(root.entries("basic_auth_users", &mut problems));
        // Not of the format, and named so that nobody takes it for a part of it.
        let mut own = root.section(extension, &mut problems);
        let open_health = own.boolean("health_without_authentication", &mut problems).unwrap_or(false);
        own.finish(&mut problems);
        root.finish(&mut problems);
        let config = Self { tls, http2, headers, rate, users, open_health, warnings };
        (config, problems.into_vec())
    }

    /// What is accepted, and not what its writer may expect.
    pub(super) fn warnings(&self) -> Vec<Problem> {
        [self.tls.warnings(), self.warnings.clone()].concat()
    }
}

fn read_headers(entries: Vec<Entry>, problems: &mut Problems) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for Entry { path, name, text } in entries {
        let Some((name, allowed)) = HEADERS.iter().find(|(known, _)| *known == name) else {
            let name = yaml::shorten(&name, "name");
            problems.add(path, format!("HTTP header {name:?} can not be configured"));
            continue;
        };
        if text.is_empty() {
            continue;
        }
        if !allowed.is_empty() && !allowed.contains(&text.as_str()) {
            let text = yaml::shorten(&text, "value");
            let expected = format!("Expected one of: {allowed:?}, but got: {text:?}");
            problems.add(path, format!("invalid value for {name}. {expected}"));
            continue;
        }
        match HeaderValue::try_from(text) {
            Ok(value) => {
                let name = HeaderName::try_from(*name).expect("the names are valid");
                headers.insert(name, value);
            }
            Err(_) => problems.add(path, "is no value of an HTTP header: it holds a control character"),
        }
    }
    headers
}
