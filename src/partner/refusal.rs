//! Maps a response that is not a success, or cannot be used, to a [`FetchError`].
//!
//! The HTTP status decides first, then a numeric code that is known, then the OAuth 2.0 error code.

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use crate::domain::failure::FailureReason;

use super::challenge::Challenge;
use super::error::FetchError;
use super::hints::{self, Hint};
use super::oauth::OAuthError;
use super::redaction::Redactor;
use super::response::HttpResponse;

/// The remedy where the API refuses an access token that the sign-in service has just issued.
pub(super) const FRESH_TOKEN_REFUSED: &str = "sign in again with `partner-license-exporter login`, as a user of the partner tenant and with multi-factor authentication; check cloud";
pub(super) const MORE_CLAIMS: &str = "a Conditional Access policy or continuous access evaluation (CAE) demands more of the sign-in: change the policy to allow this user, application and network, or meet it and sign in again with `partner-license-exporter login`";
pub(super) const MORE_SCOPE: &str = "add the delegated permission user_impersonation of Microsoft Partner Center to the application, and consent to it";
pub(super) const PAGE_INSTEAD_OF_API: &str = "the answer is an HTML page and may not be Partner Center's: have the proxy or gateway that blocks the request allow it, or give the signed-in user a Partner Center role that may read analytics";
pub(super) const PAGE_INSTEAD_OF_SIGN_IN: &str = "the answer is none of Entra ID's and may come from a proxy or gateway: have it allow the request, and check cloud, or login_base_url if the cloud is custom";
pub(super) const REFUSED_REQUEST: &str =
    "check cloud, or api_base_url if the cloud is custom: waiting is unlikely to change the answer";

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
    let (hint, challenge) = (hints::for_api(&code), Challenge::of(&response.headers));
    let reason = match response.status {
        StatusCode::UNAUTHORIZED => match hint {
            // Partner Center documents "blocked for lack of MFA" as 401 with code 900421.
            Some(Hint { reason: FailureReason::Mfa, .. }) => FailureReason::Mfa,
            _ if challenge.demands_claims() => FailureReason::Mfa,
            _ => FailureReason::Credentials,
        },
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
    // Every 401 has the error `invalid_token`, which says no more than the status.
    if challenge.error != "invalid_token" {
        line += &redactor.quote(", ", &challenge.error);
    }
    line += &redactor.quote(": ", &challenge.description);
    line += &redactor.quote(", claims ", &challenge.claims);
    let remedy = match (response.status, hint) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) if challenge.demands_claims() => {
            Some(MORE_CLAIMS)
        }
        (_, Some(hint)) => Some(hint.remedy),
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) if challenge.error == "insufficient_scope" => {
            Some(MORE_SCOPE)
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) if is_page(response) => {
            Some(PAGE_INSTEAD_OF_API)
        }
        (StatusCode::UNAUTHORIZED, _) => Some(FRESH_TOKEN_REFUSED),
        (status, _) if status.is_redirection() => Some(FailureReason::Payload.remedy()),
        (status, _) if status.is_client_error() && reason == FailureReason::Server => Some(REFUSED_REQUEST),
        _ => None,
    };
    let error = error(reason, line, response).with_remedy(remedy).with_ids(&ids(response, redactor));
    FetchError { status: Some(response.status), ..error }
}

/// The error for a response of the sign-in service that is not a success.
pub(super) fn by_sign_in(response: &HttpResponse, redactor: &Redactor) -> FetchError {
    let body = json(response);
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let codes = body.get("error_codes").and_then(Value::as_array).into_iter().flatten();
    let codes: Vec<u64> = codes.filter_map(Value::as_u64).collect();
    let (oauth_error, hint) = (OAuthError::parse(text("error")), hints::for_sign_in(&codes));
    let reason = sign_in_reason(response.status, hint, oauth_error, text("suberror"));
    let mut line = format!("the sign-in service answered {}", response.status);
    line += &redactor.quote(", ", text("error"));
    // The further lines of the description repeat ids that the body has as members of their own.
    let mut lines = text("error_description").lines().map(|line| redactor.one_line(line));
    if let Some(first) = lines.find(|line| !line.is_empty()) {
        line += &format!(": {first}");
    }
    for name in ["trace_id", "correlation_id", "timestamp"] {
        line += &redactor.quote(&format!(" {name}="), text(name));
    }
    let passes = match (hint, oauth_error) {
        (Some(hint), _) => hint.passes,
        (None, word) => {
            matches!(word, None | Some(OAuthError::TemporarilyUnavailable | OAuthError::ServerError))
        }
    };
    let needs_operator = match reason {
        // The same request would be refused again.
        FailureReason::Server => response.status.is_client_error() && !passes,
        _ => reason.needs_operator() && !hint.is_some_and(|hint| hint.passes),
    };
    let remedy = match (hint, oauth_error) {
        (Some(hint), _) => Some(hint.remedy),
        _ if matches!(reason, FailureReason::Throttled | FailureReason::Timeout) => None,
        _ if response.status.is_server_error() => None,
        (None, Some(word)) => Some(hints::for_oauth_error(word)),
        (None, None) => Some(PAGE_INSTEAD_OF_SIGN_IN),
    };
    FetchError { needs_operator, oauth_error, ..error(reason, line, response) }.with_remedy(remedy)
}

fn error(reason: FailureReason, text: String, response: &HttpResponse) -> FetchError {
    FetchError { retry_after: response.retry_after, ..FetchError::new(reason, text) }
}

fn sign_in_reason(
    status: StatusCode,
    hint: Option<&Hint>,
    error: Option<OAuthError>,
    suberror: &str,
) -> FailureReason {
    use OAuthError::{
        ConsentRequired, InteractionRequired, InvalidClient, InvalidGrant, InvalidResource, LoginRequired,
        ServerError, TemporarilyUnavailable, UnauthorizedClient,
    };
    match (status, hint, error) {
        (StatusCode::TOO_MANY_REQUESTS, ..) => FailureReason::Throttled,
        (StatusCode::REQUEST_TIMEOUT, ..) => FailureReason::Timeout,
        (status, ..) if status.is_server_error() => FailureReason::Server,
        (_, Some(hint), _) => hint.reason,
        (_, _, Some(ConsentRequired | UnauthorizedClient | InvalidResource)) => FailureReason::Consent,
        (_, _, Some(InvalidGrant)) if suberror == "consent_required" => FailureReason::Consent,
        (_, _, Some(InvalidGrant)) if suberror == "basic_action" => FailureReason::Mfa,
        (_, _, Some(InteractionRequired)) => FailureReason::Mfa,
        (_, _, Some(TemporarilyUnavailable | ServerError)) => FailureReason::Server,
        (_, _, Some(InvalidGrant | InvalidClient | LoginRequired)) | (StatusCode::UNAUTHORIZED, ..) => {
            FailureReason::Credentials
        }
        _ => FailureReason::Server,
    }
}

/// Whether the body is an HTML page, which neither service answers with.
fn is_page(response: &HttpResponse) -> bool {
    let content_type = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|text| text.trim_start().to_ascii_lowercase().starts_with("text/html"))
        || response.json().trim_ascii_start().starts_with(b"<")
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

/// The ids by which Microsoft's support finds a call: those of Partner Center, and those of Entra ID, whose request id
/// is the trace id of a refusal.
pub(super) fn ids(response: &HttpResponse, redactor: &Redactor) -> Vec<String> {
    let quoted = |(name, label): (&str, &str)| {
        let value = response.headers.get(name)?.to_str().ok()?;
        Some(redactor.quote(&format!("{label} "), value)).filter(|id| !id.is_empty())
    };
    let of_api = ["MS-RequestId", "MS-CorrelationId", "MS-CV", "MS-ServerId"].map(|name| (name, name));
    // What Entra ID calls timestamp is the time of its answer.
    let of_sign_in =
        [("x-ms-request-id", "trace id"), ("client-request-id", "correlation id"), ("date", "timestamp")];
    let has_trace_id = response.headers.contains_key("x-ms-request-id");
    of_api.into_iter().chain(of_sign_in.into_iter().filter(|_| has_trace_id)).filter_map(quoted).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
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
                sign_in_reason(status, hints::for_sign_in(&[code]), OAuthError::parse(error), suberror),
                reason,
                "{status} {error} {suberror} {code}"
            );
        }
    }

    fn answer(status: u16, body: &Value) -> HttpResponse {
        let status = StatusCode::from_u16(status).unwrap();
        HttpResponse { status, headers: HeaderMap::new(), body: body.to_string().into(), retry_after: None }
    }

    fn none() -> Redactor {
        Redactor::default()
    }

    /// Whether a refusal of the sign-in service needs a person, and its remedy.
    fn refusal(body: &Value) -> (bool, String) {
        let failure = Failure::from(by_sign_in(&answer(400, body), &none()));
        (failure.needs_operator, failure.remedy.into_owned())
    }

    #[test]
    fn a_known_code_decides_whatever_the_oauth_code() {
        let words =
            ["invalid_grant", "interaction_required", "invalid_client", "invalid_request", "new_word", ""];
        for (code, reason) in [
            (50_105, FailureReason::Credentials),
            (50_020, FailureReason::Credentials),
            (90_094, FailureReason::Consent),
            (50_155, FailureReason::Mfa),
            (50_177, FailureReason::Mfa),
            (50_178, FailureReason::Mfa),
            (500_021, FailureReason::Mfa),
            (90_002, FailureReason::Server),
        ] {
            for word in words {
                let error = by_sign_in(&answer(400, &json!({"error": word, "error_codes": [code]})), &none());
                assert_eq!(error.reason, reason, "{code} as {word}");
                assert!(error.needs_operator, "{code} as {word}");
            }
        }
    }

    #[test]
    fn waiting_is_the_remedy_only_where_it_helps() {
        for (status, body, needs_operator, remedy) in [
            (400, json!({"error": "something_new"}), true, "waiting is unlikely"),
            (400, json!({"error": "unsupported_grant_type"}), true, "waiting is unlikely"),
            (400, json!({"error": "temporarily_unavailable"}), false, "wait; "),
            (400, json!({"error": "something_new", "error_codes": [90_006]}), false, "wait; "),
            (503, json!({"error": "something_new"}), false, "wait; "),
            (429, json!({"error": "something_new"}), false, "wait; "),
            (408, json!({"error": "something_new"}), false, "latency"),
            // This may come from a gateway that somebody mends.
            (400, json!("<html>"), false, "proxy or gateway"),
            (401, json!({}), true, "proxy or gateway"),
        ] {
            let error = by_sign_in(&answer(status, &body), &none());
            assert_eq!(error.needs_operator, needs_operator, "{status} {body}");
            assert!(error.remedy().contains(remedy), "{status} {body}: {}", error.remedy());
        }
        for (status, remedy) in
            [(400, "waiting is unlikely"), (404, "waiting is unlikely"), (302, "proxies"), (500, "wait; ")]
        {
            let error = by_api(&answer(status, &json!({})), &none());
            assert!(error.remedy().contains(remedy), "{status}: {}", error.remedy());
        }
    }

    #[test]
    fn a_challenge_of_the_api_decides_between_claims_scope_and_token() {
        // {"access_token":{"nbf":{"essential":true}}}
        let claims = "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZX19fQ==";
        let claims = format!(r#"Bearer realm="", error="insufficient_claims", claims="{claims}""#);
        let (demand, text) =
            ("continuous access evaluation", r#"claims {"access_token":{"nbf":{"essential":true}}}"#);
        for (status, header, reason, remedy, quoted) in [
            (401, &*claims, FailureReason::Mfa, demand, text),
            (403, &*claims, FailureReason::Forbidden, demand, text),
            (401, r#"Bearer error="invalid_token""#, FailureReason::Credentials, "sign in again", "401"),
            (401, "Bearer", FailureReason::Credentials, "sign in again", "401"),
            (
                403,
                r#"Bearer error="insufficient_scope", error_description="of s3cret-token""#,
                FailureReason::Forbidden,
                "user_impersonation",
                "insufficient_scope: of",
            ),
        ] {
            let mut response = answer(status, &json!({}));
            response.headers.insert("www-authenticate", header.parse().unwrap());
            let error = by_api(&response, &Redactor::new(vec!["s3cret-token".into()]));
            assert_eq!(error.reason, reason, "{header}");
            assert!(error.remedy().contains(remedy), "{header}: {}", error.remedy());
            assert!(
                error.text.contains(quoted) && !error.text.contains("s3cret"),
                "{header}: {}",
                error.text
            );
        }
    }

    #[test]
    fn a_page_in_place_of_a_refusal_may_not_be_partner_centers() {
        let page = |status, content_type: Option<&str>, body: &str| {
            let mut response = HttpResponse { body: body.into(), ..answer(status, &Value::Null) };
            if let Some(value) = content_type {
                response.headers.insert(CONTENT_TYPE, value.parse().unwrap());
            }
            by_api(&response, &none())
        };
        for (content_type, body) in
            [(None, "\r\n<!DOCTYPE html>"), (Some("Text/HTML; charset=utf-8"), "Blocked")]
        {
            let error = page(403, content_type, body);
            assert_eq!(error.reason, FailureReason::Forbidden);
            assert!(error.remedy().contains("may not be Partner Center's"), "{}", error.remedy());
            assert!(page(401, content_type, body).remedy().contains("may not be Partner Center's"));
        }
        assert!(page(403, None, "{}").remedy().starts_with("give the signed-in user"));
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
    }

    #[test]
    fn a_sign_in_with_a_certificate_that_is_not_known_yet_is_retried_soon() {
        let (needs_operator, remedy) = refusal(&json!({"error": "invalid_client", "error_codes": [700_027]}));
        assert!(!needs_operator && remedy.contains("some minutes"), "{remedy}");
    }

    /// A secret as a response may quote it: in base64, verbatim, or with some of its bytes percent-encoded.
    fn quoted_secret() -> impl Strategy<Value = String> {
        (select(&SECRETS[..]), vec(0..4u8, SECRETS.concat().len()), 0..6u8).prop_map(
            |(secret, spellings, form)| {
                let quoted = secret.chars().zip(spellings).map(|(c, spelling)| {
                    let encoded: Vec<String> =
                        c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
                    match spelling {
                        0 => encoded.concat(),
                        1 => encoded.concat().to_lowercase(),
                        _ => c.to_string(),
                    }
                });
                match form {
                    0 => STANDARD.encode(format!("id:{secret}")),
                    1 => URL_SAFE_NO_PAD.encode(secret),
                    _ => quoted.collect(),
                }
            },
        )
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
