//! Maps a response that is not a success, or cannot be used, to a [`FetchError`].
//!
//! The HTTP status and the OAuth 2.0 error code decide. Microsoft warns against depending on the numeric codes in its
//! texts, so they decide only where status and OAuth code leave two reasons open, and otherwise select a remedy.

use reqwest::StatusCode;
use serde_json::Value;

use crate::domain::failure::FailureReason;

use super::error::FetchError;
use super::hints;
use super::oauth::OAuthError;
use super::redaction::Redactor;
use super::response::HttpResponse;

/// The error for a successful response that cannot be used because of `what`.
pub(super) fn unusable(what: &str, response: &HttpResponse, redactor: &Redactor) -> FetchError {
    let text = format!("the API answered {}{}", response.status, redactor.quote(": ", what));
    error(FailureReason::Payload, text, response).with_ids(&ids(response, redactor))
}

/// The error for a response of the Partner Center API that is not a success.
pub(super) fn by_api(response: &HttpResponse, redactor: &Redactor) -> FetchError {
    let body = json(response);
    let first = |names: [&str; 2]| names.iter().find_map(|name| member_text(body.get(name)?, redactor));
    let code = first(["code", "statusCode"]).unwrap_or_default();
    let reason = match response.status {
        // Partner Center documents "blocked for lack of MFA" as 401 with code 900421.
        StatusCode::UNAUTHORIZED if code == "900421" => FailureReason::Mfa,
        StatusCode::UNAUTHORIZED => FailureReason::Credentials,
        StatusCode::FORBIDDEN => FailureReason::Forbidden,
        StatusCode::TOO_MANY_REQUESTS => FailureReason::Throttled,
        StatusCode::REQUEST_TIMEOUT => FailureReason::Timeout,
        _ => FailureReason::Server,
    };
    let mut line = format!("the API answered {}", response.status);
    if !code.is_empty() && code != response.status.as_str() {
        line += &format!(", code {code}");
    }
    if let Some(text) = first(["description", "message"]) {
        line += &format!(": {text}");
    }
    error(reason, line, response).with_remedy(hints::for_api(&code)).with_ids(&ids(response, redactor))
}

/// The error for a response of the sign-in service that is not a success.
pub(super) fn by_sign_in(response: &HttpResponse, redactor: &Redactor) -> FetchError {
    let body = json(response);
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let codes = body.get("error_codes").and_then(Value::as_array).into_iter().flatten();
    let codes: Vec<u64> = codes.filter_map(Value::as_u64).collect();
    let oauth_error = OAuthError::parse(text("error"));
    let reason = sign_in_reason(response.status, oauth_error, text("suberror"), &codes);
    let mut line = format!("the sign-in service answered {}", response.status);
    line += &redactor.quote(", ", text("error"));
    // The further lines of the description repeat ids that the body has as members of their own.
    let mut lines = text("error_description").lines().map(|line| redactor.one_line(line));
    if let Some(first) = lines.find(|line| !line.is_empty()) {
        line += &format!(": {first}");
    }
    for name in ["trace_id", "correlation_id"] {
        line += &redactor.quote(&format!(" {name}="), text(name));
    }
    let needs_operator =
        match oauth_error {
            _ if codes.contains(&hints::CERTIFICATE_NOT_KNOWN_YET.into()) => false,
            // These are counted as `server`, but the same request fails again.
            Some(
                OAuthError::InvalidScope | OAuthError::InvalidRequest | OAuthError::UnsupportedGrantType,
            ) if reason == FailureReason::Server => true,
            _ => reason.needs_operator(),
        };
    let remedy = hints::for_sign_in(&codes).or_else(|| hints::for_oauth_error(oauth_error?));
    FetchError { needs_operator, oauth_error, ..error(reason, line, response) }.with_remedy(remedy)
}

fn error(reason: FailureReason, text: String, response: &HttpResponse) -> FetchError {
    FetchError { retry_after: response.retry_after, ..FetchError::new(reason, text) }
}

fn sign_in_reason(
    status: StatusCode,
    error: Option<OAuthError>,
    suberror: &str,
    codes: &[u64],
) -> FailureReason {
    // "The user or administrator has not consented", "the service principal is missing".
    const CONSENT: [u64; 5] = [65_001, 650_052, 650_057, 500_011, 700_016];
    let has_code = |known: &[u64]| codes.iter().any(|code| known.contains(code));
    match (status, error) {
        (StatusCode::TOO_MANY_REQUESTS, _) => FailureReason::Throttled,
        (StatusCode::REQUEST_TIMEOUT, _) => FailureReason::Timeout,
        (status, _) if status.is_server_error() => FailureReason::Server,
        (_, Some(OAuthError::TemporarilyUnavailable | OAuthError::ServerError)) => FailureReason::Server,
        (_, Some(OAuthError::InteractionRequired)) => FailureReason::Mfa,
        (
            _,
            Some(OAuthError::ConsentRequired | OAuthError::UnauthorizedClient | OAuthError::InvalidResource),
        ) => FailureReason::Consent,
        (_, Some(OAuthError::InvalidGrant)) if suberror == "consent_required" || has_code(&CONSENT) => {
            FailureReason::Consent
        }
        (_, Some(OAuthError::InvalidGrant))
            if suberror == "basic_action" || codes.iter().any(|code| hints::asks_for_more(*code)) =>
        {
            FailureReason::Mfa
        }
        (_, Some(OAuthError::InvalidGrant | OAuthError::InvalidClient)) | (StatusCode::UNAUTHORIZED, _) => {
            FailureReason::Credentials
        }
        _ => FailureReason::Server,
    }
}

/// The body as JSON, or null: error bodies are JSON of three shapes, HTML or empty. Invalid UTF-8 becomes U+FFFD.
fn json(response: &HttpResponse) -> Value {
    serde_json::from_str(&String::from_utf8_lossy(response.json())).unwrap_or(Value::Null)
}

/// A member of an error body as one line, if it has text. Codes are integers or strings.
fn member_text(value: &Value, redactor: &Redactor) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => redactor.one_line(text),
        other => redactor.one_line(&other.to_string()),
    };
    (!text.is_empty()).then_some(text)
}

/// The ids by which Microsoft's support finds a call.
fn ids(response: &HttpResponse, redactor: &Redactor) -> Vec<String> {
    let names = ["MS-RequestId", "MS-CorrelationId", "MS-CV", "MS-ServerId"].into_iter();
    let ids = names.filter_map(|name| {
        let value = response.headers.get(name)?.to_str().ok()?;
        Some(redactor.quote(&format!("{name} "), value))
    });
    ids.filter(|id| !id.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use reqwest::header::HeaderMap;
    use serde_json::{Map, json};

    use super::*;
    use crate::domain::failure::Failure;
    use crate::partner::invariants::{self, SECRETS};

    #[test]
    fn every_documented_refusal_of_the_sign_in_service_has_its_reason() {
        let table = [
            (400, "invalid_grant", "", 700_082, FailureReason::Credentials),
            (400, "invalid_grant", "bad_token", 70_000, FailureReason::Credentials),
            (400, "invalid_grant", "consent_required", 0, FailureReason::Consent),
            (400, "invalid_grant", "", 65_001, FailureReason::Consent),
            (400, "invalid_grant", "basic_action", 50_076, FailureReason::Mfa),
            (400, "interaction_required", "", 50_076, FailureReason::Mfa),
            (400, "unauthorized_client", "", 700_016, FailureReason::Consent),
            (401, "invalid_client", "", 7_000_215, FailureReason::Credentials),
            (400, "invalid_scope", "", 70_011, FailureReason::Server),
            (400, "temporarily_unavailable", "", 0, FailureReason::Server),
            (429, "", "", 0, FailureReason::Throttled),
            (503, "", "", 0, FailureReason::Server),
        ];
        for (status, error, suberror, code, reason) in table {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                sign_in_reason(status, OAuthError::parse(error), suberror, &[code]),
                reason,
                "{status} {error} {suberror} {code}"
            );
        }
    }

    /// Whether a refusal of the sign-in service needs a person, and its remedy.
    fn refusal(body: &Value) -> (bool, &'static str) {
        let status = StatusCode::BAD_REQUEST;
        let response = HttpResponse {
            status,
            headers: HeaderMap::new(),
            body: body.to_string().into(),
            retry_after: None,
        };
        let failure = Failure::from(by_sign_in(&response, &Redactor::default()));
        (failure.needs_operator, failure.remedy)
    }

    #[test]
    fn a_refusal_without_a_known_numeric_code_has_the_remedy_of_its_oauth_code() {
        for (code, begins_with) in [
            ("invalid_grant", "sign in again with `partner-license-exporter login`"),
            ("invalid_client", "check client_id and the client credential"),
            ("invalid_scope", "check cloud"),
            ("invalid_request", "check client_id, tenant_id and cloud"),
            ("unauthorized_client", "have an administrator"),
        ] {
            let (needs_operator, remedy) = refusal(&json!({"error": code, "error_codes": [1]}));
            assert!(needs_operator && remedy.starts_with(begins_with), "{code}: {needs_operator} {remedy}");
        }
        assert!(!refusal(&json!({"error": "temporarily_unavailable"})).0);
        assert!(!refusal(&json!({"error": "something_new"})).0);
    }

    #[test]
    fn a_sign_in_with_a_certificate_that_is_not_known_yet_is_retried_soon() {
        let (needs_operator, remedy) = refusal(&json!({"error": "invalid_client", "error_codes": [700_027]}));
        assert!(!needs_operator && remedy.contains("some minutes"), "{remedy}");
    }

    /// A secret as a response may quote it: verbatim, or with some of its bytes encoded.
    fn quoted_secret() -> impl Strategy<Value = String> {
        (select(&SECRETS[..]), vec(0..4u8, SECRETS.concat().len())).prop_map(|(secret, spellings)| {
            let quoted = secret.chars().zip(spellings).map(|(c, spelling)| {
                let encoded: Vec<String> = c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
                match spelling {
                    0 => encoded.concat(),
                    1 => encoded.concat().to_lowercase(),
                    _ => c.to_string(),
                }
            });
            quoted.collect()
        })
    }

    fn any_text() -> impl Strategy<Value = Value> {
        let part =
            prop_oneof![any::<String>(), quoted_secret(), Just("x".repeat(140)), Just("\r\n".to_owned())];
        prop_oneof![
            9 => vec(part, 0..6).prop_map(|parts| parts.concat().into()),
            1 => select(vec![Value::Null, json!(900_421), json!("invalid_grant"), json!([65_001]), json!({"a": 1})]),
        ]
    }

    fn any_body() -> impl Strategy<Value = Map<String, Value>> {
        const NAMES: &str = "code statusCode description message error suberror error_description error_codes \
                             trace_id correlation_id";
        let members = vec((select(NAMES.split(' ').collect::<Vec<_>>()), any_text()), 0..8);
        members
            .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    proptest! {
        #[test]
        fn any_error_body_becomes_one_line_without_secrets(body in any_body()) {
            invariants::error_body(Value::from(body).to_string().as_bytes());
        }

        #[test]
        fn an_error_body_that_is_not_json_becomes_one_line_as_well(bytes in vec(any::<u8>(), 0..500)) {
            invariants::error_body(&bytes);
        }
    }
}
