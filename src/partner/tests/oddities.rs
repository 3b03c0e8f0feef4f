//! Answers that no documentation knows, and what must not come of them.

use axum::http::StatusCode;
use axum::routing::{get, post};

use crate::status::Failure;
use crate::usage::RowError;

use super::*;

#[tokio::test]
async fn a_collection_of_which_no_row_can_be_used_is_a_failure_and_its_rows_are_counted() {
    let bed = Bed::new("rows: [{ service: o365 }, { service: crm }]").await;
    let error = bed.client().fetch().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Payload);
    assert!(error.to_string().contains("none of the rows can be used: 2 missing_value"), "{error}");
    assert_eq!(Failure::from(error).rejected, [(RowError::MissingValue, 2)].into());
}

#[tokio::test]
async fn one_number_beyond_all_bounds_or_one_bottomless_row_spoils_its_own_row_only() {
    let good = r#"{"proratedLicensesUsagePercent":1,"workloadName":"w","serviceName":"s","channel":"c","processedDateTime":"2026-01-01T00:00:00Z"}"#;
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let body = format!("{{\"items\":[{},{deep},{good}]}}", good.replace(":1,", ":1e400,"));
    let bed = Bed::with(Router::new().route(USAGE, get(move || async { body }))).await;
    let report = bed.client().fetch().await.unwrap();
    assert_eq!((report.rows().len(), report.rejected().clone()), (1, [(RowError::Unreadable, 2)].into()));
}

#[tokio::test]
async fn an_empty_refresh_token_does_not_take_the_place_of_a_good_one() {
    const TOKEN: &str = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"a","refresh_token":""}"#;
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let bed = Bed::with(Router::new().route(&path, post(async || TOKEN))).await;
    drop(bed.client().fetch().await);
    assert_eq!(bed.stored(), None);
}

#[tokio::test]
async fn an_access_token_that_fits_no_header_is_a_failure_of_the_sign_in() {
    const TOKEN: &str =
        r#"{"token_type":"Bearer","expires_in":3599,"access_token":"a\r\nX: y","refresh_token":"successor"}"#;
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let bed = Bed::with(Router::new().route(&path, post(async || TOKEN))).await;
    let error = bed.client().fetch().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Payload);
    assert_eq!(bed.traffic(), "token 200: 1");
    assert_eq!(bed.stored().unwrap()["refresh_token"], "successor", "what came with it is not lost");
}

#[tokio::test]
async fn an_answer_that_quotes_what_was_sent_shows_no_secret() {
    let echo = |request: String| async move {
        let body = serde_json::json!({ "error": "invalid_request", "error_description": request });
        (StatusCode::BAD_REQUEST, body.to_string())
    };
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let bed = Bed::with(Router::new().route(&path, post(echo))).await;
    let error = bed.client().fetch().await.unwrap_err().to_string();
    assert!(error.contains("client_secret=(secret)"), "{error}");
    for secret in [CLIENT_SECRET, REFRESH_TOKEN] {
        assert!(!error.contains(secret), "{error}");
    }

    let echo = |headers: axum::http::HeaderMap| async move {
        let sent = headers["authorization"].to_str().unwrap();
        let body = serde_json::json!({ "code": 403, "description": format!("not for {sent}") });
        (StatusCode::FORBIDDEN, body.to_string())
    };
    let bed = Bed::with(Router::new().route(USAGE, get(echo))).await;
    let error = bed.client().fetch().await.unwrap_err().to_string();
    assert!(error.contains("not for Bearer (secret)"), "{error}");
}
