//! What went wrong, in one value: the reason it is counted under, and one line for people.
//!
//! Answers are mapped by HTTP status and by the OAuth 2.0 `error` word. Microsoft warns against depending on
//! the numbers in its texts, so those serve as hints only, where status and word leave two reasons open.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::domain::reason::Reason;
use crate::domain::status::Failure;
use crate::domain::usage::RowError;

use super::hints;
use super::http::Reply;

/// A fetch that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct FetchError {
    reason: Reason,
    needs_operator: bool,
    retry_after: Option<Duration>,
    rejected: BTreeMap<RowError, u64>,
    hint: Option<&'static str>,
    /// The OAuth 2.0 error of the sign-in service, or nothing.
    word: String,
    text: String,
}

/// What was sent with a request and must not come back in a message, should the answer quote it.
pub(super) struct Secrets(pub(super) Vec<SecretString>);

/// The longest text taken from an answer into a message, in characters.
const MAX_TEXT: usize = 300;

impl FetchError {
    /// `text` must be one line, free of secrets.
    pub(super) fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            reason,
            needs_operator: reason.needs_operator(),
            retry_after: None,
            rejected: BTreeMap::new(),
            hint: None,
            word: String::new(),
            text: text.into(),
        }
    }

    /// The whole poll took too long.
    pub fn deadline(limit: Duration) -> Self {
        let limit = humantime::format_duration(limit);
        Self::new(Reason::Timeout, format!("the poll took longer than poll_timeout ({limit})"))
    }

    /// A failure for tests of what becomes of it.
    #[cfg(test)]
    pub(crate) fn scripted(reason: Reason, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..Self::new(reason, "as the script says") }
    }

    /// The word this failure is counted under.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What the server asked for, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What to do about it, where that is known better than from the reason alone.
    pub fn remedy(&self) -> &'static str {
        self.hint.unwrap_or_else(|| self.reason.remedy())
    }

    /// Says what to do about it, better than the reason can.
    pub(super) fn with_remedy(self, remedy: &'static str) -> Self {
        Self { hint: Some(remedy), ..self }
    }

    /// Whether it may pass by itself while a person signs in.
    pub fn is_passing(&self) -> bool {
        match self.reason {
            Reason::Network | Reason::Timeout | Reason::Throttled => true,
            Reason::Server => matches!(self.word(), "" | "temporarily_unavailable" | "server_error"),
            _ => false,
        }
    }

    /// The OAuth 2.0 error that the sign-in service named; empty if there is none.
    pub(super) fn word(&self) -> &str {
        &self.word
    }

    /// A 2xx answer that cannot be used.
    pub(super) fn payload(what: &str, reply: &Reply, secrets: &Secrets) -> Self {
        let text = format!("the API answered {}{}", reply.status, secrets.quote(": ", what));
        let error = Self::new(Reason::Payload, text).with_reply_ids(reply, secrets);
        Self { retry_after: reply.retry_after, ..error }
    }

    /// Adds what the server asked for before the rest of its answer failed.
    pub(super) fn with_retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// Adds the rows that were dropped on the way to this failure.
    pub(super) fn with_rejected(mut self, rejected: BTreeMap<RowError, u64>) -> Self {
        self.rejected = rejected;
        self
    }

    /// An answer of the Partner Center API that is no success.
    pub(super) fn api(reply: &Reply, secrets: &Secrets) -> Self {
        let body = json(reply);
        let first = |names: [&str; 2]| names.iter().find_map(|name| secrets.said(body.get(name)?));
        let code = first(["code", "statusCode"]).unwrap_or_default();
        let text = first(["description", "message"]);
        let reason = match reply.status {
            // "Blocked for lack of MFA" is documented as 401 with code 900421; before 2026 it was a header.
            StatusCode::UNAUTHORIZED if code == "900421" => Reason::Mfa,
            StatusCode::UNAUTHORIZED => Reason::Credentials,
            StatusCode::FORBIDDEN => Reason::Forbidden,
            StatusCode::TOO_MANY_REQUESTS => Reason::Throttled,
            StatusCode::REQUEST_TIMEOUT => Reason::Timeout,
            _ => Reason::Server,
        };
        let mut line = format!("the API answered {}", reply.status);
        if !code.is_empty() && code != reply.status.as_str() {
            line += &format!(", code {code}");
        }
        if let Some(text) = text {
            line += &format!(": {text}");
        }
        let hint = hints::for_api(&code);
        let error = Self { retry_after: reply.retry_after, hint, ..Self::new(reason, line) };
        error.with_reply_ids(reply, secrets)
    }

    /// An answer of the token endpoint that is no success.
    pub(super) fn token(reply: &Reply, secrets: &Secrets) -> Self {
        let body = json(reply);
        let word = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let codes: Vec<u64> = body
            .get("error_codes")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_u64)
            .collect();
        let reason = token_reason(reply.status, word("error"), word("suberror"), &codes);
        let mut line = format!("the sign-in service answered {}", reply.status);
        line += &secrets.quote(", ", word("error"));
        // Its further lines hold ids that the document has as fields of their own.
        let mut lines = word("error_description").lines().map(|line| secrets.one_line(line));
        if let Some(first) = lines.find(|line| !line.is_empty()) {
            line += &format!(": {first}");
        }
        for name in ["trace_id", "correlation_id"] {
            line += &secrets.quote(&format!(" {name}="), word(name));
        }
        let word = word("error").to_owned();
        let hint = hints::for_sign_in(&codes).or_else(|| hints::for_word(&word));
        let needs_operator = match word.as_str() {
            _ if codes.contains(&hints::CERTIFICATE_NOT_KNOWN_YET.into()) => false,
            // Nobody's credentials, and yet the same tomorrow.
            "invalid_scope" | "invalid_request" if reason == Reason::Server => true,
            _ => reason.needs_operator(),
        };
        Self { retry_after: reply.retry_after, needs_operator, hint, word, ..Self::new(reason, line) }
    }

    /// Adds the ids under which Microsoft's support finds a call that was never answered.
    pub(super) fn with_ids(mut self, request_id: &str, correlation_id: &str) -> Self {
        self.text += &format!(" (MS-RequestId {request_id}, MS-CorrelationId {correlation_id})");
        self
    }

    /// Adds the ids under which Microsoft's support finds an answer.
    fn with_reply_ids(mut self, reply: &Reply, secrets: &Secrets) -> Self {
        let ids: Vec<String> = ["MS-RequestId", "MS-CorrelationId", "MS-CV", "MS-ServerId"]
            .into_iter()
            .filter_map(|name| {
                let value = reply.headers.get(name)?.to_str().ok()?;
                Some(secrets.quote(&format!("{name} "), value))
            })
            .filter(|id| !id.is_empty())
            .collect();
        if !ids.is_empty() {
            self.text += &format!(" ({})", ids.join(", "));
        }
        self
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        let remedy = error.remedy();
        let FetchError { reason, needs_operator, retry_after, rejected, text, .. } = error;
        Self { reason, needs_operator, retry_after, rejected, remedy, text }
    }
}

/// Entra ID's refusals, by the OAuth 2.0 error word and its sub-error.
fn token_reason(status: StatusCode, error: &str, suberror: &str, codes: &[u64]) -> Reason {
    // "The user or administrator has not consented", "the service principal is missing".
    const CONSENT: [u64; 3] = [65_001, 650_052, 650_057];
    // "You must use multi-factor authentication", conditional access; v2 calls them invalid_grant too.
    const MFA: [u64; 6] = [50_072, 50_074, 50_076, 50_079, 53_003, 530_032];
    let hint = |known: &[u64]| codes.iter().any(|code| known.contains(code));
    match (status, error) {
        (StatusCode::TOO_MANY_REQUESTS, _) => Reason::Throttled,
        (StatusCode::REQUEST_TIMEOUT, _) => Reason::Timeout,
        (status, _) if status.is_server_error() => Reason::Server,
        (_, "temporarily_unavailable" | "server_error") => Reason::Server,
        (_, "interaction_required") => Reason::Mfa,
        (_, "consent_required" | "unauthorized_client") => Reason::Consent,
        (_, "invalid_grant") if suberror == "consent_required" || hint(&CONSENT) => Reason::Consent,
        (_, "invalid_grant") if suberror == "basic_action" || hint(&MFA) => Reason::Mfa,
        (_, "invalid_grant" | "invalid_client") | (StatusCode::UNAUTHORIZED, _) => Reason::Credentials,
        _ => Reason::Server,
    }
}

/// The body as JSON, or null: error bodies come empty, as HTML and in three JSON shapes. Bytes that are no UTF-8
/// become U+FFFD.
fn json(reply: &Reply) -> Value {
    serde_json::from_str(&String::from_utf8_lossy(reply.json())).unwrap_or(Value::Null)
}

impl Secrets {
    /// A member of an error body as one line. Codes come as integers or as strings, and some say nothing.
    fn said(&self, value: &Value) -> Option<String> {
        let text = match value {
            Value::Null => return None,
            Value::String(text) => self.one_line(text),
            other => self.one_line(&other.to_string()),
        };
        (!text.is_empty()).then_some(text)
    }

    /// `before` and then a text from outside, or nothing if the text says nothing.
    fn quote(&self, before: &str, text: &str) -> String {
        let line = self.one_line(text);
        if line.is_empty() { line } else { format!("{before}{line}") }
    }

    /// Text from outside, fit for a log line: no secret, no control characters, not too long.
    pub(super) fn one_line(&self, text: &str) -> String {
        let text = self.redacted(text);
        let mut line: String =
            text.chars().take(MAX_TEXT).map(|c| if breaks_a_line(c) { ' ' } else { c }).collect();
        if text.chars().nth(MAX_TEXT).is_some() {
            line.push('…');
        }
        line.trim().to_owned()
    }

    /// Whoever quotes what was sent may encode it anew, each in a way of their own: `%2f`, `%2F` and `/` are one.
    fn redacted(&self, text: &str) -> String {
        let (mut redacted, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(next) = rest.chars().next() {
            let secrets = self.0.iter().map(ExposeSecret::expose_secret);
            // The longest: one secret may begin with another.
            let longest = secrets.filter_map(|secret| length_of(secret, rest)).max().unwrap_or_default();
            let length = if longest > 0 {
                redacted.push_str("(secret)");
                longest
            } else {
                redacted.push(next);
                next.len_utf8()
            };
            rest = rest.split_at(length).1;
        }
        redacted
    }
}

/// How far `text` spells `secret` from its beginning, if it does: as it is, or with any of its bytes encoded as in
/// an address or a form. That is where a character of both ends.
fn length_of(secret: &str, text: &str) -> Option<usize> {
    if text.starts_with(secret) {
        return Some(secret.len());
    }
    let hex = |high: u8, low: u8| Some(char::from(high).to_digit(16)? * 16 + char::from(low).to_digit(16)?);
    let mut length = 0;
    for byte in secret.bytes() {
        length += match text.as_bytes().get(length..)? {
            [b'%', high, low, ..] if hex(*high, *low) == Some(byte.into()) => 3,
            [b'+', ..] if byte == b' ' => 1,
            [same, ..] if *same == byte => 1,
            _ => return None,
        };
    }
    Some(length)
}

/// Control characters, and those that begin a new line or turn the direction of writing in a terminal.
fn breaks_a_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use reqwest::header::HeaderMap;
    use serde_json::{Map, json};

    use super::*;
    use crate::partner::invariants::{self, SECRETS};

    #[test]
    fn every_documented_refusal_of_the_sign_in_service_has_its_reason() {
        let table = [
            (400, "invalid_grant", "", 700_082, Reason::Credentials),
            (400, "invalid_grant", "bad_token", 70_000, Reason::Credentials),
            (400, "invalid_grant", "consent_required", 0, Reason::Consent),
            (400, "invalid_grant", "", 65_001, Reason::Consent),
            (400, "invalid_grant", "basic_action", 50_076, Reason::Mfa),
            (400, "interaction_required", "", 50_076, Reason::Mfa),
            (400, "unauthorized_client", "", 700_016, Reason::Consent),
            (401, "invalid_client", "", 7_000_215, Reason::Credentials),
            (400, "invalid_scope", "", 70_011, Reason::Server),
            (400, "temporarily_unavailable", "", 0, Reason::Server),
            (429, "", "", 0, Reason::Throttled),
            (503, "", "", 0, Reason::Server),
        ];
        for (status, error, suberror, code, reason) in table {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                token_reason(status, error, suberror, &[code]),
                reason,
                "{status} {error} {suberror} {code}"
            );
        }
    }

    /// What a refusal of the sign-in service comes to: whether a person has to act, and what to do.
    fn refusal(document: &Value) -> (bool, &'static str) {
        let status = StatusCode::BAD_REQUEST;
        let reply =
            Reply { status, headers: HeaderMap::new(), body: document.to_string().into(), retry_after: None };
        let error = FetchError::token(&reply, &Secrets(Vec::new()));
        (Failure::from(error.clone()).needs_operator, error.remedy())
    }

    #[test]
    fn a_refusal_without_a_code_that_is_known_has_the_remedy_of_its_word() {
        for (word, begins_with) in [
            ("invalid_grant", "sign in again with `partner-license-exporter login`"),
            ("invalid_client", "check client_id and the client credential"),
            ("invalid_scope", "check cloud"),
            ("invalid_request", "check client_id, tenant_id and cloud"),
            ("unauthorized_client", "have an administrator"),
        ] {
            let (needs_operator, remedy) = refusal(&json!({"error": word, "error_codes": [1]}));
            assert!(needs_operator && remedy.starts_with(begins_with), "{word}: {needs_operator} {remedy}");
        }
        assert!(!refusal(&json!({"error": "temporarily_unavailable"})).0);
        assert!(!refusal(&json!({"error": "something_new"})).0);
    }

    #[test]
    fn a_certificate_that_is_not_known_yet_is_tried_again_soon() {
        let (needs_operator, remedy) = refusal(&json!({"error": "invalid_client", "error_codes": [700_027]}));
        assert!(!needs_operator && remedy.contains("some minutes"), "{remedy}");
    }

    #[test]
    fn text_from_outside_cannot_break_a_log_line() {
        let none = Secrets(Vec::new());
        assert_eq!(none.one_line("a\r\nlevel=ERROR\u{1b}[31m"), "a  level=ERROR [31m");
        assert_eq!(none.one_line("a\u{2028}b\u{202e}c\u{2069}"), "a b c");
        assert_eq!(none.one_line(&"x".repeat(400)).chars().count(), MAX_TEXT + 1);
    }

    #[test]
    fn a_secret_that_an_answer_quotes_does_not_come_back_in_a_message() {
        let secrets = Secrets(vec!["s3cret/+~".into(), "s3cret/+~2".into(), "0.ü token".into()]);
        for (text, line) in [
            ("raw=s3cret/+~ and", "raw=(secret) and"),
            ("of two the longer: s3cret/+~2", "of two the longer: (secret)"),
            ("client_secret=s3cret%2F%2B%7E&token=0.%C3%BC+token&", "client_secret=(secret)&token=(secret)&"),
            ("s3cret%2f+~0%2e%c3%BC%20token", "(secret)(secret)"),
            ("100 % of s3cret%2F%2", "100 % of s3cret%2F%2"),
            (&format!("{}s3cret/+~", "x".repeat(MAX_TEXT - 1)), &format!("{}(…", "x".repeat(MAX_TEXT - 1))),
        ] {
            assert_eq!(secrets.one_line(text), line);
        }
        assert_eq!(Secrets(vec!["".into()]).one_line("nothing is no secret"), "nothing is no secret");
    }

    /// A secret as it may come back: as it is, or with some of its bytes encoded.
    fn spelled() -> impl Strategy<Value = String> {
        (select(&SECRETS[..]), vec(0..4u8, SECRETS.concat().len())).prop_map(|(secret, spellings)| {
            let spelled = secret.chars().zip(spellings).map(|(c, spelling)| {
                let encoded: Vec<String> = c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
                match spelling {
                    0 => encoded.concat(),
                    1 => encoded.concat().to_lowercase(),
                    _ => c.to_string(),
                }
            });
            spelled.collect()
        })
    }

    fn any_text() -> impl Strategy<Value = Value> {
        let part = prop_oneof![any::<String>(), spelled(), Just("x".repeat(140)), Just("\r\n".to_owned())];
        prop_oneof![
            9 => vec(part, 0..6).prop_map(|parts| parts.concat().into()),
            1 => select(vec![Value::Null, json!(900_421), json!("invalid_grant"), json!([65_001]), json!({"a": 1})]),
        ]
    }

    fn any_document() -> impl Strategy<Value = Map<String, Value>> {
        const NAMES: &str = "code statusCode description message error suberror error_description error_codes \
                             trace_id correlation_id";
        let fields = vec((select(NAMES.split(' ').collect::<Vec<_>>()), any_text()), 0..8);
        fields.prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    proptest! {
        #[test]
        fn whatever_a_failure_says_becomes_one_line_without_secrets(document in any_document()) {
            invariants::error_body(Value::from(document).to_string().as_bytes());
        }

        #[test]
        fn a_failure_that_is_no_document_becomes_one_line_as_well(bytes in vec(any::<u8>(), 0..500)) {
            invariants::error_body(&bytes);
        }
    }
}
