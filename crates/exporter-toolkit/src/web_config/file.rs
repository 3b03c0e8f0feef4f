//! The format of the file: its keys and their values.

use std::path::Path;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::yaml::{self, Entry, Problem, Problems, Section};

use super::rate_limit::RateLimit;
use super::tls_settings::TlsSettings;
use super::users::Users;

/// The headers that may be set, each with the allowed values; an empty list allows every value.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

/// The parsed content of a file.
#[derive(Debug)]
pub(super) struct FileContent {
    pub(super) tls: TlsSettings,
    /// Whether HTTP/2 is offered over TLS.
    pub(super) http2: bool,
    /// The headers of every response.
    pub(super) headers: HeaderMap,
    /// The limit of requests, if there is one.
    pub(super) rate_limit: Option<RateLimit>,
    /// The users; without any, no password is needed.
    pub(super) users: Users,
    /// Whether the health endpoints need no password.
    pub(super) open_health: bool,
    warnings: Vec<Problem>,
}

impl FileContent {
    /// Parses the text of a file in `directory`, without a look at the files that it names.
    pub(super) fn parse(text: &str, directory: &Path, extension: &'static str) -> (Self, Vec<Problem>) {
        // Other exporters report such problems with this prefix.
        let mut problems = Problems::with_prefix("yaml: ");
        let mut warnings = Vec::new();
        let mut root = Section::parse(text, &mut problems).unwrap_or_default();
        let tls = root.section("tls_server_config", &mut problems);
        let tls = TlsSettings::read(tls, directory, &mut problems);
        let mut http = root.section("http_server_config", &mut problems);
        let http2 = http.boolean("http2", &mut problems).unwrap_or(true);
        let headers = read_headers(http.entries("headers", &mut problems), &mut problems);
        http.finish(&mut problems);
        let rate_limit = root.section("rate_limit", &mut problems);
        let rate_limit = RateLimit::read(rate_limit, &mut problems, &mut warnings);
        let users = Users::read(root.entries("basic_auth_users", &mut problems));
        let mut own = root.section(extension, &mut problems);
        let open_health = own.boolean("health_without_authentication", &mut problems).unwrap_or(false);
        own.finish(&mut problems);
        root.finish(&mut problems);
        let content = Self { tls, http2, headers, rate_limit, users, open_health, warnings };
        (content, problems.into_vec())
    }

    /// Returns what is accepted but may not do what its author expects.
    pub(super) fn warnings(&self) -> Vec<Problem> {
        [self.tls.warnings(), self.warnings.clone(), self.users.warnings()].concat()
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
            Err(_) => problems.add(path, "is not a valid HTTP header value: it contains a control character"),
        }
    }
    headers
}
