//! Tests the control endpoints as a person or a test sees them.

use std::time::Duration;

use axum::http::Method;
use serde_json::json;

use super::*;
use crate::testkit::{USAGE, access_token, exchange, get, send, simulator, usage};
use crate::{CLIENT_SECRET, REFRESH_TOKEN, UsageAnswer};

const SCENARIO: &str = "/simulator/scenario";
const REQUESTS: &str = "/simulator/requests";

#[tokio::test]
async fn the_overview_lists_the_endpoints() {
    let answer = get(&simulator("{}"), "/", &[]).await;
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(answer.text().contains(USAGE) && answer.text().contains(REQUESTS));
}

#[tokio::test]
async fn the_scenario_is_replaced_while_the_simulator_runs() {
    let simulator = simulator("{}");
    let answer = send(&simulator, Method::PUT, SCENARIO, &[], "usage: { answer: html }").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
    assert_eq!(simulator.scenario().usage.answer, UsageAnswer::Html);
}

#[tokio::test]
async fn the_shown_scenario_can_be_put_back() {
    let simulator = simulator("rows: [{percent: 7.5}]");
    let shown = get(&simulator, SCENARIO, &[]).await;
    assert_eq!(shown.json()["rows"], json!([{"percent": 7.5}]));
    assert_eq!(Scenario::parse(shown.text()).unwrap(), simulator.scenario());
}

#[tokio::test]
async fn an_invalid_scenario_changes_nothing_and_is_explained_in_one_line() {
    let simulator = simulator("rows: portfolio");
    let answer = send(&simulator, Method::PUT, SCENARIO, &[], "rows: [\nnothing: {").await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.text().lines().count(), 1);
    assert_eq!(simulator.scenario(), Scenario::parse("rows: portfolio").unwrap());
}

#[tokio::test]
async fn an_oversized_scenario_is_refused() {
    let text = "#".repeat(LARGEST_SCENARIO + 1);
    assert_eq!(send(&simulator("{}"), Method::PUT, SCENARIO, &[], &text).await.status, 413);
}

#[tokio::test(start_paused = true)]
async fn the_log_shows_every_request_and_no_secret() {
    let simulator = simulator("access_token_lifetime: 1h");
    let tokens = exchange(&simulator, "contoso", &[]).await;
    let token = tokens.member("access_token");
    let authorization = format!("Bearer {token}");
    let headers = [
        ("authorization", &*authorization),
        ("ms-requestid", "request-1"),
        ("ms-correlationid", "correlation-1"),
        ("x-locale", "en-US"),
        ("accept", "application/json"),
        ("user-agent", "test/1"),
    ];
    get(&simulator, USAGE, &headers).await;
    get(&simulator, USAGE, &[]).await;
    usage(&simulator, "unknown").await;
    tokio::time::advance(Duration::from_hours(1)).await;
    usage(&simulator, &token).await;

    let log = get(&simulator, REQUESTS, &[]).await;
    let json = log.json();
    assert_eq!(json["totals"], json!({"token": 1, "usage": 4}));
    assert_eq!(json["requests"][0]["endpoint"], "token");
    assert_eq!(json["requests"][0]["user_agent"], "test/1");
    assert_eq!(json["requests"][0]["grant"], "refresh_token");
    assert_eq!(json["requests"][0]["credential"], "secret");
    assert_eq!(
        json["requests"][1],
        json!({
            "endpoint": "usage", "tenant": "contoso", "path": USAGE, "status": 200, "request_id": "request-1",
            "correlation_id": "correlation-1", "continuation": null, "locale": "en-US",
            "accept": "application/json", "user_agent": "test/1", "grant": null, "credential": null,
            "authorization": "valid", "sign_in": 1
        })
    );
    let authorizations: Vec<_> =
        (2..5).map(|index| json["requests"][index]["authorization"].as_str().unwrap()).collect();
    assert_eq!(authorizations, ["missing", "unknown", "expired"]);
    for secret in [CLIENT_SECRET, REFRESH_TOKEN, &token, &tokens.member("refresh_token")] {
        assert!(!log.text().contains(secret));
    }
}

#[tokio::test]
async fn the_log_names_grants_and_credentials_without_quoting_them() {
    let simulator = simulator("{}");
    for changes in [
        &[("grant_type", "a-secret-by-mistake")][..],
        &[("client_secret", ""), ("client_assertion", "an.assertion.signed")],
        &[("grant_type", "authorization_code"), ("client_secret", ""), ("code", "a-code")],
    ] {
        exchange(&simulator, "contoso", changes).await;
    }
    get(&simulator, "/contoso/oauth2/v2.0/authorize?client_id=an-id&code_challenge=a-challenge", &[]).await;
    let log = get(&simulator, REQUESTS, &[]).await;
    let json = log.json();
    let words: Vec<_> =
        json["requests"].as_array().unwrap().iter().map(|r| (&r["grant"], &r["credential"])).collect();
    assert_eq!(
        json!(words[..3]),
        json!([["other", "secret"], ["refresh_token", "assertion"], ["authorization_code", "none"]])
    );
    assert_eq!(json["totals"], json!({"token": 3, "usage": 0, "authorize": 1}));
    for part in ["mistake", "signed", "a-code", "an-id", "a-challenge"] {
        assert!(!log.text().contains(part), "{part}");
    }
}

#[tokio::test]
async fn the_log_keeps_the_latest_thousand_requests_and_counts_all() {
    let simulator = simulator("{}");
    for index in 0..1001 {
        let id = index.to_string();
        get(&simulator, USAGE, &[("ms-requestid", &*id)]).await;
    }
    let json = get(&simulator, REQUESTS, &[]).await.json();
    assert_eq!(json["totals"]["usage"], 1001);
    assert_eq!(json["requests"].as_array().unwrap().len(), 1000);
    assert_eq!(json["requests"][0]["request_id"], "1");
}

#[tokio::test]
async fn the_log_can_be_cleared() {
    let simulator = simulator("{}");
    access_token(&simulator, "contoso").await;
    assert_eq!(send(&simulator, Method::DELETE, REQUESTS, &[], "").await.status, 204);
    let log = get(&simulator, REQUESTS, &[]).await;
    assert_eq!(log.text(), r#"{"totals":{"token":0,"usage":0},"requests":[]}"#);
}
