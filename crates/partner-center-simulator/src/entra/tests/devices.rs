//! Tests sign-in with a device code.

use std::time::Duration;

use crate::testkit::{
    HOST, TestResponse, changed, claims, exchange, get, refusal, simulator, submit, summary,
};
use crate::{CLIENT_ID, Simulator};

const SCOPE: &str = "https://api.partnercenter.microsoft.com/user_impersonation offline_access";
const PAGE: &str = "/simulator/device";
const INTERVAL: Duration = Duration::from_secs(5);

async fn codes(simulator: &Simulator, changes: &[(&str, &str)]) -> TestResponse {
    let usual = [("client_id", CLIENT_ID), ("scope", SCOPE)];
    submit(simulator, "/contoso/oauth2/v2.0/devicecode", &changed(&usual, changes)).await
}

async fn poll(simulator: &Simulator, tenant: &str, device_code: &str) -> TestResponse {
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    exchange(simulator, tenant, &[grant, ("refresh_token", ""), ("scope", ""), ("device_code", device_code)])
        .await
}

/// The errors of `polls` polls, one per interval.
async fn errors(simulator: &Simulator, device_code: &str, polls: usize) -> Vec<String> {
    let mut errors = vec![];
    for _ in 0..polls {
        errors.push(poll(simulator, "contoso", device_code).await.member("error"));
        tokio::time::advance(INTERVAL).await;
    }
    errors
}

#[tokio::test]
async fn a_device_gets_codes_and_a_message_for_the_person() {
    let answer = codes(&simulator("{}"), &[]).await;
    let json = answer.json();
    let page = format!("http://{HOST}{PAGE}");
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, Some("no-store")));
    assert_eq!((json["expires_in"].as_u64(), json["interval"].as_u64()), (Some(900), Some(5)));
    assert_eq!(answer.member("verification_uri"), page);
    assert_eq!(answer.member("user_code").len(), 9);
    let message = answer.member("message");
    assert!(message.contains(&page) && message.contains(&answer.member("user_code")), "{message}");
}

#[tokio::test]
async fn only_the_application_gets_codes_and_only_for_a_valid_scope() {
    for (change, expected) in [
        (("client_id", "other"), refusal(400, "unauthorized_client", 700_016)),
        (("client_id", ""), refusal(400, "invalid_request", 900_144)),
        (("scope", "openid"), refusal(400, "invalid_scope", 70_011)),
    ] {
        assert_eq!(summary(&codes(&simulator("{}"), &[change]).await), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_approved_code_can_be_redeemed_once() {
    let simulator = simulator("{ mfa: false, device: { polls: 2 } }");
    let code = codes(&simulator, &[]).await.member("device_code");
    assert_eq!(errors(&simulator, &code, 2).await, ["authorization_pending", "authorization_pending"]);
    let tokens = poll(&simulator, "contoso", &code).await;
    assert_eq!(tokens.status, 200);
    assert_eq!(claims(&tokens.member("access_token"))["amr"], serde_json::json!(["pwd"]));
    assert_eq!(
        exchange(&simulator, "contoso", &[("refresh_token", &tokens.member("refresh_token"))]).await.status,
        200
    );
    assert_eq!(
        summary(&poll(&simulator, "contoso", &code).await),
        refusal(400, "bad_verification_code", 70_018)
    );
}

#[tokio::test]
async fn without_offline_access_a_device_gets_no_refresh_token() {
    let simulator = simulator("device: { polls: 0 }");
    let scope = SCOPE.trim_end_matches(" offline_access");
    let code = codes(&simulator, &[("scope", scope)]).await.member("device_code");
    let tokens = poll(&simulator, "contoso", &code).await.json();
    assert_eq!((&tokens["scope"], tokens.get("refresh_token")), (&scope.into(), None));
}

#[tokio::test(start_paused = true)]
async fn a_person_can_decline_or_do_nothing_and_a_policy_can_block_codes() {
    for (answer, error) in [
        ("decline", "authorization_declined"),
        ("pending", "authorization_pending"),
        ("blocked", "invalid_grant"),
    ] {
        let simulator = simulator(&format!("device: {{ answer: {answer} }}"));
        let code = codes(&simulator, &[]).await.member("device_code");
        assert_eq!(errors(&simulator, &code, 3).await, ["authorization_pending", error, error]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_blocked_flow_is_reported_as_conditional_access() {
    let simulator = simulator("device: { answer: blocked, polls: 0 }");
    let code = codes(&simulator, &[]).await.member("device_code");
    let answer = poll(&simulator, "contoso", &code).await;
    assert_eq!(summary(&answer), refusal(400, "invalid_grant", 53_003));
    assert_eq!(answer.member("suberror"), "message_only");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_polls_too_fast_must_slow_down_for_good() {
    let simulator = simulator("device: { answer: pending }");
    let code = codes(&simulator, &[]).await.member("device_code");
    let mut errors = vec![];
    for wait in [0, 5, 4, 9, 15, 14, 20] {
        tokio::time::advance(Duration::from_secs(wait)).await;
        errors.push(poll(&simulator, "contoso", &code).await.member("error"));
    }
    let (pending, slow) = ("authorization_pending", "slow_down");
    assert_eq!(errors, [pending, pending, slow, slow, pending, slow, pending]);
}

#[tokio::test(start_paused = true)]
async fn a_device_code_expires() {
    let simulator = simulator("device: { expires_in: 1m }");
    let code = codes(&simulator, &[]).await;
    tokio::time::advance(Duration::from_mins(1)).await;
    let answer = poll(&simulator, "contoso", &code.member("device_code")).await;
    assert_eq!(summary(&answer), refusal(400, "expired_token", 70_020));
    let late = [("user_code", &*code.member("user_code")), ("decision", "approve")];
    assert_eq!(submit(&simulator, PAGE, &late).await.status, 404);
}

#[tokio::test]
async fn a_device_code_belongs_to_its_tenant() {
    let simulator = simulator("device: { polls: 0 }");
    let code = codes(&simulator, &[]).await.member("device_code");
    assert_eq!(poll(&simulator, "fabrikam", &code).await.member("error"), "bad_verification_code");
    assert_eq!(poll(&simulator, "contoso", &code).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_person_decides_on_the_page() {
    let simulator = simulator("device: { answer: pending }");
    assert!(get(&simulator, PAGE, &[]).await.text().contains("name=\"user_code\""));
    for (decision, status, error) in
        [("approve", 200, None), ("decline", 400, Some("authorization_declined"))]
    {
        let code = codes(&simulator, &[]).await;
        let typed = code.member("user_code").to_lowercase();
        let typed = format!("{} {}", typed.get(..4).unwrap(), typed.get(4..).unwrap());
        assert_eq!(errors(&simulator, &code.member("device_code"), 1).await, ["authorization_pending"]);
        let decided = submit(&simulator, PAGE, &[("user_code", &typed), ("decision", decision)]).await;
        assert_eq!(decided.status, 200);
        let answer = poll(&simulator, "contoso", &code.member("device_code")).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (status, error));
    }
    assert_eq!(submit(&simulator, PAGE, &[("user_code", "x"), ("decision", "approve")]).await.status, 404);
}
