//! Tests of responses that no documentation describes.

use axum::http::StatusCode;
use axum::routing::{get, post};

use crate::domain::failure::Failure;
use crate::domain::row::RowError;

use super::*;

#[tokio::test]
async fn a_collection_without_a_usable_row_is_an_error_and_its_rows_are_counted() {
    let bed = TestBed::new("rows: [{ service: o365 }, { service: crm }]").await;
    let error = bed.client().usage().await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::Payload);
    assert!(error.to_string().contains("none of the rows can be used: 2 missing_value"), "{error}");
    assert_eq!(Failure::from(error).rejected, [(RowError::MissingValue, 2)].into());
}

#[tokio::test]
async fn a_number_out_of_range_or_too_deep_a_nesting_costs_one_row_only() {
    let good = r#"{"proratedLicensesUsagePercent":1,"workloadName":"w","serviceName":"s","channel":"c","processedDateTime":"2026-01-01T00:00:00Z"}"#;
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let body = format!("{{\"items\":[{},{deep},{good}]}}", good.replace(":1,", ":1e400,"));
    let bed = TestBed::with(Router::new().route(USAGE, get(move || async { body }))).await;
    let report = bed.client().usage().await.unwrap();
    assert_eq!((report.rows().len(), report.rejected().clone()), (1, [(RowError::Unreadable, 2)].into()));
}

#[tokio::test]
async fn an_empty_refresh_token_is_not_stored() {
    const TOKEN: &str = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"a","refresh_token":""}"#;
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let bed = TestBed::with(Router::new().route(&path, post(async || TOKEN))).await;
    drop(bed.client().usage().await);
    assert_eq!(bed.stored(), None);
}

#[tokio::test]
async fn an_access_token_that_fits_in_no_header_is_an_error_of_the_sign_in() {
    const TOKEN: &str =
        r#"{"token_type":"Bearer","expires_in":3599,"access_token":"a\r\nX: y","refresh_token":"successor"}"#;
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let bed = TestBed::with(Router::new().route(&path, post(async || TOKEN))).await;
    let error = bed.client().usage().await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::Payload);
    assert_eq!(bed.traffic(), "token 200: 1");
    assert_eq!(
        bed.stored().unwrap()["refresh_token"],
        "successor",
        "the refresh token is stored nevertheless"
    );
}

#[tokio::test]
async fn a_response_that_quotes_the_request_leads_to_a_message_without_secrets() {
    let echo = |request: String| async move {
        let body = serde_json::json!({ "error": "invalid_request", "error_description": request });
        (StatusCode::BAD_REQUEST, body.to_string())
    };
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let bed = TestBed::with(Router::new().route(&path, post(echo))).await;
    let error = bed.client().usage().await.unwrap_err().to_string();
    assert!(error.contains("client_secret=(secret)"), "{error}");
    for secret in [CLIENT_SECRET, REFRESH_TOKEN] {
        assert!(!error.contains(secret), "{error}");
    }

    let echo = |headers: axum::http::HeaderMap| async move {
        let sent = headers["authorization"].to_str().unwrap();
        let body = serde_json::json!({ "code": 403, "description": format!("not for {sent}") });
        (StatusCode::FORBIDDEN, body.to_string())
    };
    let bed = TestBed::with(Router::new().route(USAGE, get(echo))).await;
    let error = bed.client().usage().await.unwrap_err().to_string();
    assert!(error.contains("not for Bearer (secret)"), "{error}");
}

/// A body that never arrives.
struct Never;

impl http_body::Body for Never {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn retry_after_is_recorded_before_the_body_has_arrived() {
    let refusal = async || (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "57")], Body::new(Never));
    let bed = TestBed::with(Router::new().route(USAGE, get(refusal))).await;
    let client = bed.client();
    let mut changes = bed.ledger.subscribe();
    let held = async { changes.wait_for(|status| status.hold_until.is_some()).await.unwrap().hold_until };
    let hold = tokio::select! {
        outcome = client.usage() => panic!("{outcome:?}"),
        hold = held => hold.unwrap(),
    };
    let left = hold.saturating_duration_since(tokio::time::Instant::now()).as_secs_f64();
    assert!((50.0..57.1).contains(&left), "{left} s");
    let error = client.usage().await.unwrap_err();
    assert_eq!(
        (error.reason(), error.retry_after()),
        (FailureReason::Throttled, Some(Duration::from_secs(57)))
    );
}

#[tokio::test]
async fn the_message_for_a_response_without_ids_has_the_ids_of_the_request() {
    let gateway = async || (StatusCode::FORBIDDEN, "<html>");
    let bed = TestBed::with(Router::new().route(USAGE, get(gateway))).await;
    let text = bed.client().usage().await.unwrap_err().to_string();
    assert!(text.starts_with("the API answered 403 Forbidden (MS-RequestId "), "{text}");
    assert!(text.contains(", MS-CorrelationId "), "{text}");
}

#[tokio::test]
async fn a_list_is_not_a_token_response() {
    const TOKEN: &str = r#"["a", 3599, "successor"]"#;
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let bed = TestBed::with(Router::new().route(&path, post(async || TOKEN))).await;
    assert_eq!(bed.client().usage().await.unwrap_err().reason(), FailureReason::Payload);
}
