//! Tests of the renewal of access tokens.

use axum::routing::{get, post};

use super::*;

#[tokio::test]
async fn the_access_token_is_renewed_five_minutes_before_it_expires() {
    let bed = TestBed::new("access_token_lifetime: 1h").await;
    let client = bed.client();
    client.usage().await.unwrap();
    assert_eq!(bed.ledger.read().credentials.access_token_expires_at, Some(START + Duration::from_hours(1)));
    advance(Duration::from_secs(54 * 60 + 50)).await;
    client.usage().await.unwrap();
    assert_eq!(bed.log().await["totals"]["token"], 1);
    advance(Duration::from_secs(10)).await;
    client.usage().await.unwrap();
    assert_eq!(bed.log().await["totals"]["token"], 2);
    assert_eq!(bed.traffic(), "token 200: 2, usage 200: 3", "the API refused no token");
}

#[tokio::test]
async fn a_short_lived_access_token_is_renewed_after_half_of_its_lifetime() {
    let bed = TestBed::new("access_token_lifetime: 4m").await;
    let client = bed.client();
    client.usage().await.unwrap();
    advance(Duration::from_secs(110)).await;
    client.usage().await.unwrap();
    assert_eq!(bed.log().await["totals"]["token"], 1);
    advance(Duration::from_secs(10)).await;
    client.usage().await.unwrap();
    assert_eq!(bed.log().await["totals"]["token"], 2);
}

#[tokio::test]
async fn a_refused_access_token_is_renewed_once_and_the_request_repeated() {
    let bed = TestBed::new("usage: {answer: unauthorized, times: 1}").await;
    let client = bed.client();
    assert_eq!(client.usage().await.unwrap().rows().len(), 5);
    assert_eq!(bed.traffic(), "token 200: 2, usage 200: 1, usage 401: 1");
    client.usage().await.unwrap();
    assert_eq!(bed.traffic(), "token 200: 2, usage 200: 2, usage 401: 1");
}

#[tokio::test]
async fn an_access_token_that_is_refused_again_has_the_reason_credentials() {
    let bed = TestBed::new("usage: {answer: unauthorized}").await;
    let error = bed.client().usage().await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::Credentials);
    assert_eq!(bed.traffic(), "token 200: 2, usage 401: 2");
}

#[tokio::test]
async fn a_refused_access_token_is_not_discarded_if_it_was_renewed_meanwhile() {
    let bed = TestBed::new("access_token_lifetime: 1h").await;
    let tokens = bed.client().access_tokens;
    let refused = tokens.token().await.unwrap();
    advance(Duration::from_hours(1)).await;
    let renewed = tokens.token().await.unwrap();
    // A request that was sent with the first token is answered only now.
    tokens.discard(&refused).await;
    assert!(tokens.token().await.unwrap().is_same_as(&renewed));
    assert_eq!(bed.log().await["totals"]["token"], 2);
    tokens.discard(&renewed).await;
    assert!(!tokens.token().await.unwrap().is_same_as(&renewed));
    assert_eq!(bed.log().await["totals"]["token"], 3);
}

#[tokio::test]
async fn an_expired_access_token_is_not_used_while_the_sign_in_service_hangs() {
    let bed = TestBed::new("access_token_lifetime: 1h").await;
    let client = bed.client_of(&bed.account(REFRESH_TOKEN, "http"), Duration::from_secs(2));
    client.usage().await.unwrap();
    bed.scenario("token: {delay: 1h}");
    advance(Duration::from_hours(1)).await;
    assert_eq!(client.usage().await.unwrap_err().reason(), FailureReason::Timeout);
    assert_eq!(bed.log().await["totals"]["usage"], 1);
}

#[tokio::test]
async fn a_response_of_v1_with_strings_for_numbers_is_accepted() {
    let v1 = include_str!("../../../tests/fixtures/token/v1-refresh_token.response.json");
    let rows = include_bytes!("../../../tests/fixtures/usage-documented-wire-bytes.json").as_slice();
    let routes = Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(move || async move { v1 }))
        .route(USAGE, get(move || async move { rows }));
    let bed = TestBed::with(routes).await;
    assert_eq!(bed.client().usage().await.unwrap().rows().len(), 5);
    let credentials = bed.ledger.read().credentials;
    assert_eq!(credentials.access_token_expires_at, Some(START + Duration::from_hours(1)));
    // The response has no refresh token. The old one remains in use, and the time of its issue is unknown.
    assert_eq!((credentials.refresh_token_issued_at, bed.stored()), (None, None));
}

#[tokio::test]
async fn a_successor_is_stored_even_if_the_fetch_is_dropped_during_the_renewal() {
    let bed = TestBed::new("rotation: strict").await;
    let client = bed.client();
    bed.gate.send_replace(false);
    tokio::select! {
        outcome = client.usage() => panic!("{outcome:?}"),
        () = bed.wait_for_arrivals(1) => {}
    }
    assert!(bed.stored().is_none(), "the response is held back");
    let opening = async { bed.gate.send_modify(|open| *open = true) };
    // In this order, settling begins before the response is sent.
    tokio::join!(biased; client.drain(), opening);
    assert!(bed.stored().is_some(), "settling waits for the successor");
    drop(client);
    bed.client().usage().await.unwrap();
    assert_eq!(bed.traffic(), "token 200: 2, usage 200: 1", "the second start used the successor");
}

#[tokio::test]
async fn after_a_failed_renewal_the_current_access_token_remains_in_use_until_it_expires() {
    let bed = TestBed::new("access_token_lifetime: 1h").await;
    let client = bed.client();
    client.usage().await.unwrap();
    bed.scenario("token: {answer: bad_client_secret}");
    advance(Duration::from_mins(56)).await;
    client.usage().await.unwrap();
    client.usage().await.unwrap();
    assert_eq!(bed.traffic(), "token 200: 1, token 401: 1, usage 200: 3", "there is one attempt");
    advance(Duration::from_secs(61)).await;
    client.usage().await.unwrap();
    assert_eq!(bed.traffic(), "token 200: 1, token 401: 2, usage 200: 4", "and another a minute later");
    advance(Duration::from_mins(3)).await;
    assert_eq!(client.usage().await.unwrap_err().reason(), FailureReason::Credentials);
}

#[tokio::test]
async fn a_hanging_sign_in_service_fails_no_poll_while_the_current_access_token_is_valid() {
    let bed = TestBed::new("access_token_lifetime: 1h").await;
    let client = bed.client_of(&bed.account(REFRESH_TOKEN, "http"), Duration::from_secs(2));
    client.usage().await.unwrap();
    bed.scenario("token: {delay: 1h}");
    advance(Duration::from_mins(56)).await;
    let poll = timeout(Duration::from_secs(2), client.usage()).await;
    assert_eq!(poll.expect("the poll does not time out").unwrap().rows().len(), 5);
}

#[tokio::test]
async fn a_throttled_renewal_is_not_retried_before_retry_after_while_the_current_token_is_valid() {
    let bed = TestBed::new("access_token_lifetime: 1h").await;
    let client = bed.client();
    client.usage().await.unwrap();
    bed.scenario("token: {answer: throttled, retry_after: 150}");
    advance(Duration::from_mins(56)).await;
    client.usage().await.unwrap();
    advance(Duration::from_secs(140)).await;
    client.usage().await.unwrap();
    assert_eq!(bed.log().await["totals"]["token"], 2);
    advance(Duration::from_secs(11)).await;
    client.usage().await.unwrap();
    assert_eq!(bed.log().await["totals"]["token"], 3);
}
