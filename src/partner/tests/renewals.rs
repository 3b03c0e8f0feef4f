use axum::routing::{get, post};

use super::*;

#[tokio::test]
async fn the_access_token_is_renewed_five_minutes_before_its_end() {
    let bed = Bed::new("access_token_lifetime: 1h").await;
    let client = bed.client();
    client.fetch().await.unwrap();
    assert_eq!(bed.ledger.read().credentials.access_token_expires_at, Some(START + Duration::from_hours(1)));
    pass(Duration::from_secs(54 * 60 + 50)).await;
    client.fetch().await.unwrap();
    assert_eq!(bed.log().await["totals"]["token"], 1);
    pass(Duration::from_secs(10)).await;
    client.fetch().await.unwrap();
    assert_eq!(bed.log().await["totals"]["token"], 2);
    assert_eq!(bed.traffic(), "token 200: 2, usage 200: 3", "it is not the API that asked for it");
}

#[tokio::test]
async fn a_short_lived_access_token_is_renewed_after_half_its_life() {
    let bed = Bed::new("access_token_lifetime: 4m").await;
    let client = bed.client();
    client.fetch().await.unwrap();
    pass(Duration::from_secs(110)).await;
    client.fetch().await.unwrap();
    assert_eq!(bed.log().await["totals"]["token"], 1);
    pass(Duration::from_secs(10)).await;
    client.fetch().await.unwrap();
    assert_eq!(bed.log().await["totals"]["token"], 2);
}

#[tokio::test]
async fn a_refused_access_token_is_renewed_once_and_the_call_repeated() {
    let bed = Bed::new("usage: {answer: unauthorized, times: 1}").await;
    let client = bed.client();
    assert_eq!(client.fetch().await.unwrap().rows().len(), 5);
    assert_eq!(bed.traffic(), "token 200: 2, usage 200: 1, usage 401: 1");
    client.fetch().await.unwrap();
    assert_eq!(bed.traffic(), "token 200: 2, usage 200: 2, usage 401: 1");
}

#[tokio::test]
async fn an_access_token_that_is_refused_anew_is_a_matter_of_credentials() {
    let bed = Bed::new("usage: {answer: unauthorized}").await;
    let error = bed.client().fetch().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Credentials);
    assert_eq!(bed.traffic(), "token 200: 2, usage 401: 2");
}

#[tokio::test]
async fn an_answer_of_the_first_version_with_texts_for_numbers_is_good_as_well() {
    let v1 = include_str!("../../../tests/fixtures/token/v1-refresh_token.response.json");
    let rows = include_bytes!("../../../tests/fixtures/usage-documented-wire-bytes.json").as_slice();
    let routes = Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(move || async move { v1 }))
        .route(USAGE, get(move || async move { rows }));
    let bed = Bed::with(routes).await;
    assert_eq!(bed.client().fetch().await.unwrap().rows().len(), 5);
    let credentials = bed.ledger.read().credentials;
    assert_eq!(credentials.access_token_expires_at, Some(START + Duration::from_hours(1)));
    // It has no refresh token: the old one stays in use, of which nobody knows when it was issued.
    assert_eq!((credentials.refresh_token_issued_at, bed.stored()), (None, None));
}

#[tokio::test]
async fn a_successor_is_not_lost_when_the_fetch_is_dropped_during_a_renewal() {
    let bed = Bed::new("rotation: strict").await;
    let client = bed.client();
    bed.gate.send_replace(false);
    tokio::select! {
        outcome = client.fetch() => panic!("{outcome:?}"),
        () = bed.wait_for_arrivals(1) => {}
    }
    assert!(bed.stored().is_none(), "the answer is held back");
    let opening = async { bed.gate.send_modify(|open| *open = true) };
    // Polled in this order, so that settling begins before the answer comes.
    tokio::join!(biased; client.settle(), opening);
    assert!(bed.stored().is_some(), "settling waited for the successor");
    drop(client);
    bed.client().fetch().await.unwrap();
    assert_eq!(bed.traffic(), "token 200: 2, usage 200: 1", "the second start used the successor");
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_the_current_access_token_in_use_until_its_end() {
    let bed = Bed::new("access_token_lifetime: 1h").await;
    let client = bed.client();
    client.fetch().await.unwrap();
    bed.scenario("token: {answer: bad_client_secret}");
    pass(Duration::from_mins(56)).await;
    client.fetch().await.unwrap();
    client.fetch().await.unwrap();
    assert_eq!(bed.traffic(), "token 200: 1, token 401: 1, usage 200: 3", "it was tried once");
    pass(Duration::from_secs(61)).await;
    client.fetch().await.unwrap();
    assert_eq!(bed.traffic(), "token 200: 1, token 401: 2, usage 200: 4", "and a minute later");
    pass(Duration::from_mins(3)).await;
    assert_eq!(client.fetch().await.unwrap_err().reason(), Reason::Credentials);
}

#[tokio::test]
async fn a_sign_in_service_that_hangs_costs_no_poll_while_the_current_access_token_lives() {
    let bed = Bed::new("access_token_lifetime: 1h").await;
    let client = bed.client_of(&bed.account(REFRESH_TOKEN, "http"), Duration::from_secs(2));
    client.fetch().await.unwrap();
    bed.scenario("token: {delay: 1h}");
    pass(Duration::from_mins(56)).await;
    let poll = timeout(Duration::from_secs(2), client.fetch()).await;
    assert_eq!(poll.expect("it is not out of time").unwrap().rows().len(), 5);
}

#[tokio::test]
async fn a_throttled_renewal_is_not_repeated_before_its_time_while_the_current_token_lives() {
    let bed = Bed::new("access_token_lifetime: 1h").await;
    let client = bed.client();
    client.fetch().await.unwrap();
    bed.scenario("token: {answer: throttled, retry_after: 150}");
    pass(Duration::from_mins(56)).await;
    client.fetch().await.unwrap();
    pass(Duration::from_secs(149)).await;
    client.fetch().await.unwrap();
    assert_eq!(bed.log().await["totals"]["token"], 2);
    pass(Duration::from_secs(2)).await;
    client.fetch().await.unwrap();
    assert_eq!(bed.log().await["totals"]["token"], 3);
}
