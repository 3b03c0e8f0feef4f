//! Tests of the reason, text and traffic that follow from each response.

use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;

use super::redaction::Redactor;
use super::response::HttpResponse;
use super::*;

/// A scenario, and the expected reason, seconds of `Retry-After`, and traffic.
type Case = (&'static str, FailureReason, Option<u64>, &'static str);

async fn check(table: &[Case]) {
    for (scenario, reason, retry_after, traffic) in table {
        let bed = TestBed::new(scenario).await;
        let error = bed.client().usage().await.expect_err(scenario);
        assert_eq!(error.reason(), *reason, "{scenario}: {error}");
        assert_eq!(error.retry_after().map(|wait| wait.as_secs()), *retry_after, "{scenario}");
        assert_eq!(bed.traffic(), *traffic, "{scenario}");
        let text = error.to_string();
        assert!(!text.is_empty() && !text.contains(char::is_control), "{scenario}: {text:?}");
        for secret in [CLIENT_SECRET, REFRESH_TOKEN, "simulated-access-token"] {
            assert!(!text.contains(secret), "{scenario}: {text}");
        }
    }
}

#[tokio::test]
async fn each_response_of_the_usage_endpoint_has_its_reason() {
    check(&[
        (
            "usage: {answer: throttled}",
            FailureReason::Throttled,
            Some(57),
            "token 200: 1, usage 429: 1, usage throttled: 1",
        ),
        (
            "usage: {answer: throttled, retry_after: 300}",
            FailureReason::Throttled,
            Some(300),
            "token 200: 1, usage 429: 1, usage throttled: 1",
        ),
        (
            "usage: {answer: server_error}",
            FailureReason::Server,
            None,
            "token 200: 1, usage 500: 3, usage retries: 2",
        ),
        (
            "usage: {answer: server_error, status: 503, retry_after: 120}",
            FailureReason::Server,
            Some(120),
            "token 200: 1, usage 503: 1, usage throttled: 1",
        ),
        (
            "usage: {answer: server_error, status: 408}",
            FailureReason::Timeout,
            None,
            "token 200: 1, usage 408: 3, usage retries: 2",
        ),
        (
            "usage: {answer: server_error, status: 302}",
            FailureReason::Server,
            None,
            "token 200: 1, usage 302: 1",
        ),
        ("usage: {answer: unauthorized}", FailureReason::Credentials, None, "token 200: 2, usage 401: 2"),
        ("usage: {answer: mfa_required}", FailureReason::Mfa, None, "token 200: 2, usage 401: 2"),
        ("usage: {answer: forbidden}", FailureReason::Forbidden, None, "token 200: 1, usage 403: 1"),
        ("usage: {answer: not_found}", FailureReason::Server, None, "token 200: 1, usage 404: 1"),
        ("usage: {answer: malformed}", FailureReason::Payload, None, "token 200: 1, usage 200: 1"),
        ("usage: {answer: html}", FailureReason::Payload, None, "token 200: 1, usage 200: 1"),
        ("usage: {answer: no_content}", FailureReason::Payload, None, "token 200: 1, usage 204: 1"),
        (
            "usage: {answer: truncated}",
            FailureReason::Network,
            None,
            "token 200: 1, usage error: 3, usage retries: 2",
        ),
    ])
    .await;
}

#[tokio::test]
async fn each_response_of_the_token_endpoint_has_its_reason() {
    check(&[
        ("token: {answer: refresh_token_expired}", FailureReason::Credentials, None, "token 400: 1"),
        ("token: {answer: consent_revoked}", FailureReason::Consent, None, "token 400: 1"),
        ("token: {answer: bad_client_secret}", FailureReason::Credentials, None, "token 401: 1"),
        ("token: {answer: mfa_required}", FailureReason::Mfa, None, "token 400: 1"),
        (
            "token: {answer: throttled}",
            FailureReason::Throttled,
            Some(57),
            "token 429: 1, token throttled: 1",
        ),
        ("token: {answer: server_error}", FailureReason::Server, None, "token 503: 3, token retries: 2"),
        (
            "token: {answer: server_error, retry_after: 9}",
            FailureReason::Server,
            Some(9),
            "token 503: 1, token throttled: 1",
        ),
        ("token: {answer: malformed}", FailureReason::Payload, None, "token 200: 1"),
        ("client_id: another", FailureReason::Consent, None, "token 400: 1"),
        ("client_secret: another", FailureReason::Credentials, None, "token 401: 1"),
        ("refresh_token: another", FailureReason::Credentials, None, "token 400: 1"),
    ])
    .await;
}

#[tokio::test]
async fn a_collection_without_a_byte_order_mark_or_without_rows_is_a_success() {
    for (scenario, rows) in [("usage: {answer: no_bom}", 5), ("usage: {answer: empty}", 0)] {
        let bed = TestBed::new(scenario).await;
        assert_eq!(bed.client().usage().await.unwrap().rows().len(), rows, "{scenario}");
    }
}

#[tokio::test]
async fn a_failure_that_ends_within_three_attempts_does_not_fail_the_fetch() {
    for (scenario, traffic) in [
        (
            "usage: {answer: server_error, times: 2}",
            "token 200: 1, usage 200: 1, usage 500: 2, usage retries: 2",
        ),
        (
            "usage: {answer: truncated, times: 1}",
            "token 200: 1, usage 200: 1, usage error: 1, usage retries: 1",
        ),
        (
            "token: {answer: server_error, times: 2}",
            "token 200: 1, token 503: 2, usage 200: 1, token retries: 2",
        ),
    ] {
        let bed = TestBed::new(scenario).await;
        assert!(bed.client().usage().await.is_ok(), "{scenario}");
        assert_eq!(bed.traffic(), traffic, "{scenario}");
    }
}

#[tokio::test]
async fn a_refused_connection_has_the_reason_network() {
    let mut bed = TestBed::new("").await;
    // Bound, so that no other program gets the port, and not listening.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    bed.address = closed.local_addr().unwrap();
    let error = bed.client().usage().await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::Network);
    assert_eq!(bed.traffic(), "token error: 3, token retries: 2");
    let text = error.to_string();
    let start = format!("the request to the sign-in service failed: {}: ", bed.address);
    assert!(text.starts_with(&start), "{text}");
    assert!(text.contains("Connection refused") && !text.contains(TENANT), "{text}");
}

#[tokio::test]
async fn a_server_without_tls_has_the_reason_tls() {
    let bed = TestBed::new("").await;
    let client = bed.client_of(&bed.account(REFRESH_TOKEN, "https"), Duration::from_mins(1));
    let error = client.usage().await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::Tls, "{error}");
    let flaw = format!("{}: the server does not speak TLS: ", bed.address);
    assert!(error.to_string().contains(&flaw) && error.remedy().contains("not one for https"), "{error}");
    assert_eq!(bed.traffic(), "token error: 1", "a failed handshake is not retried");
}

#[tokio::test]
async fn a_request_that_times_out_is_sent_three_times() {
    let bed = TestBed::new("token: {delay: 1h}").await;
    let client = bed.client_of(&bed.account(REFRESH_TOKEN, "http"), Duration::from_millis(30));
    let error = client.usage().await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::Timeout, "{error}");
    let start = format!("the sign-in service did not answer in time: {}: ", bed.address);
    assert!(error.to_string().starts_with(&start), "{error}");
    assert_eq!(bed.traffic(), "token error: 3, token retries: 2");
}

#[tokio::test]
async fn a_response_that_is_too_large_is_not_read_to_its_end() {
    let routes = Router::new().route(USAGE, get(|| async { vec![b' '; (16 << 20) + 1] }));
    let bed = TestBed::with(routes).await;
    let error = bed.client().usage().await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::Payload);
    assert!(error.to_string().starts_with("the response from the API is larger than 16 MiB"), "{error}");
    assert_eq!(bed.traffic(), "token 200: 1, usage error: 1");
}

#[tokio::test]
async fn the_command_in_a_remedy_has_the_flags_of_the_account() {
    for scenario in ["token: {answer: refresh_token_revoked}", "usage: {answer: mfa_required}"] {
        let bed = TestBed::new(scenario).await;
        let account = bed.account(REFRESH_TOKEN, "http");
        let account = Account { command_flags: "--config.file=/etc/x.yml".to_owned(), ..account };
        let error = bed.client_of(&account, Duration::from_mins(1)).usage().await.unwrap_err();
        let remedy = "sign in again with `partner-license-exporter login --config.file=/etc/x.yml`, using \
                      multi-factor authentication";
        assert_eq!(error.remedy(), remedy, "{scenario}");
    }
}

#[tokio::test]
async fn a_failure_has_the_ids_by_which_microsoft_finds_the_call() {
    let bed = TestBed::new("usage: {answer: forbidden}").await;
    let text = bed.client().usage().await.unwrap_err().to_string();
    let id = super::text(&bed.log_of("usage").await[0]["request_id"]);
    let start = "the API answered 403 Forbidden, code 900150: The supplied role doesn't have the rights to \
                 perform the requested operation (MS-RequestId ";
    assert!(text.starts_with(&format!("{start}{id}, MS-CorrelationId ")), "{text}");
    assert!(text.contains(", MS-CV ") && text.ends_with(", MS-ServerId 101112012)"), "{text}");
}

fn response(status: u16, body: &str) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap();
    HttpResponse { status, headers: HeaderMap::new(), body: body.into(), retry_after: None }
}

#[test]
fn the_documented_error_bodies_of_the_api_are_parsed() {
    let table = [
        (
            400,
            include_str!("../../../tests/fixtures/errors/400-900316-assign-licenses-to-a-user.json"),
            FailureReason::Server,
            "the API answered 400 Bad Request, code 900316: Partner token is not allowed in license \
             management calls.",
        ),
        (
            403,
            include_str!("../../../tests/fixtures/errors/403-900309-assign-licenses-to-a-user.json"),
            FailureReason::Forbidden,
            "the API answered 403 Forbidden, code 900309: Access has been blocked by Conditional Access",
        ),
        (
            429,
            include_str!("../../../tests/fixtures/errors/429-rate-limit-gateway-shape.json"),
            FailureReason::Throttled,
            "the API answered 429 Too Many Requests: Rate limit is exceeded. Try again in 57 seconds.",
        ),
        (401, r#"{"code":"900421","description":"MFA"}"#, FailureReason::Mfa, "the API answered 401"),
        (
            401,
            r#"{"code":900420,"description":"audience"}"#,
            FailureReason::Credentials,
            "the API answered 401",
        ),
        (401, "", FailureReason::Credentials, "the API answered 401 Unauthorized"),
        (502, "<html>", FailureReason::Server, "the API answered 502 Bad Gateway"),
    ];
    for (status, body, reason, text) in table {
        let error = refusal::by_api(&response(status, body), &Redactor::default());
        assert_eq!(error.reason(), reason, "{body}");
        assert!(error.to_string().starts_with(text), "{error}");
    }
}

#[test]
fn the_recorded_error_bodies_of_the_sign_in_service_are_parsed() {
    macro_rules! recorded {
        ($name:literal) => {
            include_str!(concat!("../../../tests/fixtures/token/", $name, ".json"))
        };
    }
    let table = [
        (
            400,
            recorded!("error-400-invalid_grant-50076-mfa-required-v2-with-claims"),
            FailureReason::Mfa,
            "50076",
        ),
        (400, recorded!("error-400-invalid_grant-65001-consent"), FailureReason::Consent, "65001"),
        (
            400,
            recorded!("error-400-invalid_grant-700082-refresh-token-expired"),
            FailureReason::Credentials,
            "700082",
        ),
        (
            401,
            recorded!("error-401-invalid_client-7000215-bad-secret"),
            FailureReason::Credentials,
            "7000215",
        ),
        (400, recorded!("error-invalid_scope-70011-entra-doc-v2"), FailureReason::Server, "70011"),
    ];
    for (status, body, reason, code) in table {
        let error = refusal::by_sign_in(&response(status, body), &Redactor::default());
        assert_eq!(error.reason(), reason, "{body}");
        let text = error.to_string();
        assert!(text.contains(&format!(": AADSTS{code}: ")), "{text}");
        assert_eq!(text.matches("race").count(), 1, "the trace id appears once: {text}");
    }
}
