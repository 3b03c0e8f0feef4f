//! Tests the token endpoint as a client sees it.

mod browser;
mod credentials;
mod devices;

use std::time::Duration;

use axum::http::Method;
use serde_json::json;

use crate::testkit::{
    TestResponse, access_token, claims, exchange, refusal, send, simulator, summary, usage,
};
use crate::{CLIENT_ID, REFRESH_TOKEN, Scenario};

async fn scripted(answer: &str) -> TestResponse {
    exchange(&simulator(&format!("token: {answer}")), "contoso", &[]).await
}

async fn refused(changes: &[(&str, &str)]) -> (u16, String, u64) {
    summary(&exchange(&simulator("{}"), "contoso", changes).await)
}

#[tokio::test]
async fn a_valid_request_gets_tokens() {
    let answer = exchange(&simulator("access_token_lifetime: 90s"), "contoso", &[]).await;
    let json = answer.json();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answer.header("date"), Some("Mon, 23 Nov 2026 05:13:20 GMT"));
    assert_eq!(json["token_type"], "Bearer");
    assert_eq!(json["scope"], "https://api.partnercenter.microsoft.com/user_impersonation");
    assert_eq!((json["expires_in"].as_u64(), json["ext_expires_in"].as_u64()), (Some(90), Some(90)));
    assert_ne!(answer.member("refresh_token"), REFRESH_TOKEN);
}

#[tokio::test]
async fn without_offline_access_a_refresh_token_is_issued_nevertheless_and_none_is_superseded() {
    let simulator = simulator("rotation: strict");
    let scope = [("scope", "https://api.partnercenter.microsoft.com/.default")];
    for _ in 0..2 {
        let answer = exchange(&simulator, "contoso", &scope).await;
        assert_eq!(answer.status, 200);
        assert_ne!(answer.member("refresh_token"), REFRESH_TOKEN);
    }
}

#[tokio::test]
async fn a_missing_parameter_is_named() {
    for name in ["grant_type", "client_id", "refresh_token", "scope"] {
        let answer = exchange(&simulator("{}"), "contoso", &[(name, "")]).await;
        assert_eq!(summary(&answer), refusal(400, "invalid_request", 900_144));
        let text = answer.member("error_description");
        assert!(text.contains(&format!("'{name}'.\r\nTrace ID: ")), "{text}");
    }
    assert_eq!(refused(&[("client_secret", "")]).await, refusal(401, "invalid_client", 7_000_218));
}

#[tokio::test]
async fn a_wrong_parameter_is_refused() {
    for (change, expected) in [
        (("grant_type", "password"), refusal(400, "unsupported_grant_type", 70_003)),
        (("client_id", "other"), refusal(400, "unauthorized_client", 700_016)),
        (("client_secret", "other"), refusal(401, "invalid_client", 7_000_215)),
        (("scope", "openid offline_access"), refusal(400, "invalid_scope", 70_011)),
        (("refresh_token", "other"), refusal(400, "invalid_grant", 70_000)),
    ] {
        assert_eq!(refused(&[change]).await, expected);
    }
}

#[tokio::test]
async fn a_body_that_is_not_a_form_is_refused() {
    let path = "/contoso/oauth2/v2.0/token";
    let headers = [("content-type", "application/json")];
    let answer = send(&simulator("{}"), Method::POST, path, &headers, "{}").await;
    assert_eq!(summary(&answer), refusal(400, "invalid_request", 9_002_313));
}

#[tokio::test]
async fn an_error_has_the_documented_shape() {
    let answer = scripted("{ answer: refresh_token_expired }").await;
    let json = answer.json();
    let (trace, correlation) = (answer.member("trace_id"), answer.member("correlation_id"));
    let order: Vec<_> = answer.text().split('"').filter(|part| json.get(part).is_some()).collect();
    assert_eq!(
        order,
        ["error", "error_description", "error_codes", "timestamp", "trace_id", "correlation_id", "error_uri"]
    );
    assert_eq!(
        json["error_description"],
        format!(
            "AADSTS700082: The refresh token has expired due to inactivity. The token was issued on \
             2026-08-24T05:13:20Z and was inactive for 90.00:00:00.\r\nTrace ID: {trace}\r\n\
             Correlation ID: {correlation}\r\nTimestamp: 2026-11-23 05:13:20Z"
        )
    );
    assert_eq!(json["timestamp"], "2026-11-23 05:13:20Z");
    assert_eq!(json["error_uri"], "https://login.microsoftonline.com/error?code=700082");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn each_scripted_error_has_its_status_error_and_code() {
    for (kind, expected) in [
        ("refresh_token_expired", refusal(400, "invalid_grant", 700_082)),
        ("consent_revoked", refusal(400, "invalid_grant", 65_001)),
        ("bad_client_secret", refusal(401, "invalid_client", 7_000_215)),
        ("mfa_required", refusal(400, "invalid_grant", 50_076)),
        ("secret_expired", refusal(401, "invalid_client", 7_000_222)),
        ("unknown_application", refusal(400, "unauthorized_client", 700_016)),
        ("refresh_token_revoked", refusal(400, "invalid_grant", 50_173)),
        ("mfa_expired", refusal(400, "invalid_grant", 50_078)),
        ("conditional_access", refusal(400, "invalid_grant", 53_003)),
        ("consent_missing_principal", refusal(400, "invalid_grant", 650_052)),
        ("assertion_refused", refusal(401, "invalid_client", 700_027)),
        ("wrong_tenant", refusal(400, "invalid_request", 90_002)),
        ("invalid_scope", refusal(400, "invalid_scope", 70_011)),
        ("throttled", refusal(429, "temporarily_unavailable", 90_055)),
        ("server_error", refusal(503, "temporarily_unavailable", 90_033)),
    ] {
        assert_eq!(summary(&scripted(&format!("{{ answer: {kind} }}")).await), expected);
    }
}

#[tokio::test]
async fn missing_consent_and_a_missing_second_factor_have_a_suberror() {
    assert_eq!(scripted("{ answer: consent_revoked }").await.member("suberror"), "consent_required");
    let answer = scripted("{ answer: mfa_required }").await;
    assert_eq!(answer.member("suberror"), "basic_action");
    let claims: serde_json::Value = serde_json::from_str(&answer.member("claims")).unwrap();
    assert_eq!(claims["access_token"]["capolids"]["essential"], true);
}

#[tokio::test]
async fn retry_after_and_status_follow_the_scenario() {
    let retry_after = |answer: TestResponse| answer.header("retry-after").map(str::to_owned);
    assert_eq!(retry_after(scripted("{ answer: throttled }").await).as_deref(), Some("57"));
    assert_eq!(retry_after(scripted("{ answer: throttled, retry_after: 9 }").await).as_deref(), Some("9"));
    assert_eq!(retry_after(scripted("{ answer: server_error }").await), None);
    assert_eq!(scripted("{ answer: server_error, status: 500 }").await.status, 500);
}

#[tokio::test]
async fn a_malformed_response_is_not_json() {
    let answer = scripted("{ answer: malformed }").await;
    assert_eq!(answer.status, 200);
    assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
}

#[tokio::test]
async fn the_calls_that_get_an_error_are_counted_per_tenant() {
    let simulator = simulator("token: { answer: server_error, times: 2 }");
    for tenant in ["contoso", "fabrikam"] {
        for status in [503, 503, 200, 200] {
            assert_eq!(exchange(&simulator, tenant, &[]).await.status, status);
        }
    }
    simulator.set_scenario(simulator.scenario());
    assert_eq!(exchange(&simulator, "contoso", &[]).await.status, 503);
}

#[tokio::test]
async fn a_tenant_can_differ_from_the_scenario() {
    let simulator = simulator(
        "tenants: { contoso: { token: { answer: consent_revoked } }, fabrikam: { refresh_token: own } }",
    );
    let own = [("refresh_token", "own")];
    assert_eq!(exchange(&simulator, "contoso", &[]).await.status, 400);
    assert_eq!(exchange(&simulator, "fabrikam", &[]).await.status, 400);
    assert_eq!(exchange(&simulator, "fabrikam", &own).await.status, 200);
    assert_eq!(exchange(&simulator, "northwind", &[]).await.status, 200);
}

#[tokio::test]
async fn a_lenient_rotation_keeps_every_refresh_token_valid() {
    let simulator = simulator("rotation: lenient");
    let successor = exchange(&simulator, "contoso", &[]).await.member("refresh_token");
    for token in [REFRESH_TOKEN, &successor, REFRESH_TOKEN, &successor] {
        assert_eq!(exchange(&simulator, "contoso", &[("refresh_token", token)]).await.status, 200);
    }
}

#[tokio::test]
async fn a_strict_rotation_refuses_a_superseded_refresh_token() {
    let simulator = simulator("rotation: strict");
    let second = exchange(&simulator, "contoso", &[]).await.member("refresh_token");
    let again = exchange(&simulator, "contoso", &[]).await;
    assert_eq!(summary(&again), refusal(400, "invalid_grant", 70_000));
    let third = exchange(&simulator, "contoso", &[("refresh_token", &second)]).await.member("refresh_token");
    assert_eq!(exchange(&simulator, "contoso", &[("refresh_token", &second)]).await.status, 400);
    assert_eq!(exchange(&simulator, "contoso", &[("refresh_token", &third)]).await.status, 200);
}

#[tokio::test]
async fn reuse_in_a_family_revokes_every_refresh_token_of_the_sign_in() {
    let simulator = simulator("{ rotation: family, tenants: { fabrikam: { refresh_token: own } } }");
    let other = exchange(&simulator, "fabrikam", &[("refresh_token", "own")]).await.member("refresh_token");
    let second = exchange(&simulator, "contoso", &[]).await.member("refresh_token");
    let third = exchange(&simulator, "contoso", &[("refresh_token", &second)]).await.member("refresh_token");
    let revoked = refusal(400, "invalid_grant", 50_173);
    assert_eq!(summary(&exchange(&simulator, "contoso", &[]).await), revoked);
    assert_eq!(summary(&exchange(&simulator, "contoso", &[("refresh_token", &third)]).await), revoked);
    assert_eq!(exchange(&simulator, "fabrikam", &[("refresh_token", &other)]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_expires_before_its_successor() {
    let simulator = simulator("{}");
    let day = Duration::from_hours(24);
    tokio::time::advance(89 * day).await;
    let successor = exchange(&simulator, "contoso", &[]).await.member("refresh_token");
    tokio::time::advance(day).await;
    let expired = exchange(&simulator, "contoso", &[]).await;
    assert_eq!(summary(&expired), refusal(400, "invalid_grant", 700_082));
    let text = expired.member("error_description");
    assert!(text.contains("issued on 2026-08-25T05:13:20Z and was inactive for 90.00:00:00."), "{text}");
    assert_eq!(exchange(&simulator, "contoso", &[("refresh_token", &successor)]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_initial_refresh_token_ages_from_the_first_scenario_that_names_it() {
    let simulator = simulator("refresh_token_lifetime: 2h");
    let hour = Duration::from_hours(1);
    tokio::time::advance(hour).await;
    simulator.set_scenario(Scenario::parse("{ refresh_token_lifetime: 2h, refresh_token: newer }").unwrap());
    tokio::time::advance(hour).await;
    assert_eq!(exchange(&simulator, "contoso", &[("refresh_token", "newer")]).await.status, 200);
    simulator.set_scenario(Scenario::parse("refresh_token_lifetime: 2h").unwrap());
    assert_eq!(summary(&exchange(&simulator, "contoso", &[]).await), refusal(400, "invalid_grant", 700_082));
}

#[tokio::test]
async fn an_access_token_has_the_claims_of_a_v1_token() {
    let token = access_token(&simulator("access_token_lifetime: 90s"), "contoso").await;
    let parts: Vec<_> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    assert!(parts[2].starts_with("simulated-access-token-1-"), "{token}");
    let claims = claims(&token);
    for (name, value) in [
        ("aud", json!("https://api.partnercenter.microsoft.com")),
        ("iss", json!("https://sts.windows.net/contoso/")),
        ("tid", json!("contoso")),
        ("appid", json!(CLIENT_ID)),
        ("scp", json!("user_impersonation")),
        ("amr", json!(["pwd", "mfa"])),
        ("iat", json!(1_795_410_800)),
        ("nbf", json!(1_795_410_800)),
        ("exp", json!(1_795_410_890)),
        ("ver", json!("1.0")),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
}

#[tokio::test]
async fn every_token_of_a_sign_in_keeps_its_factors() {
    let simulator = simulator("mfa: false");
    let first = exchange(&simulator, "contoso", &[]).await;
    assert_eq!(claims(&first.member("access_token"))["amr"], json!(["pwd"]));
    simulator.set_scenario(Scenario::default());
    let second = exchange(&simulator, "contoso", &[("refresh_token", &first.member("refresh_token"))]).await;
    assert_eq!(claims(&second.member("access_token"))["amr"], json!(["pwd"]));
    assert_eq!(claims(&access_token(&simulator, "fabrikam").await)["amr"], json!(["pwd", "mfa"]));
}

#[tokio::test]
async fn a_refresh_token_belongs_to_its_tenant() {
    let simulator = simulator("rotation: strict");
    let issued = exchange(&simulator, "contoso", &[]).await.member("refresh_token");
    assert_eq!(exchange(&simulator, "fabrikam", &[("refresh_token", &issued)]).await.status, 400);
    assert_eq!(exchange(&simulator, "fabrikam", &[]).await.status, 200);
}

#[tokio::test]
async fn issued_tokens_stay_valid_under_a_new_scenario() {
    let simulator = simulator("{}");
    let tokens = exchange(&simulator, "contoso", &[]).await;
    simulator.set_scenario(Scenario::parse("refresh_token: other").unwrap());
    let issued = [("refresh_token", &*tokens.member("refresh_token"))];
    assert_eq!(exchange(&simulator, "contoso", &issued).await.status, 200);
    assert_eq!(usage(&simulator, &tokens.member("access_token")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_access_token_expires() {
    let simulator = simulator("access_token_lifetime: 1h");
    let token = access_token(&simulator, "contoso").await;
    tokio::time::advance(Duration::from_secs(3599)).await;
    assert_eq!(usage(&simulator, &token).await.status, 200);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(usage(&simulator, &token).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_response_arrives_after_the_delay() {
    let simulator = simulator("token: { delay: 2s, times: 1 }");
    let start = tokio::time::Instant::now();
    assert_eq!(exchange(&simulator, "contoso", &[]).await.status, 200);
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(exchange(&simulator, "contoso", &[]).await.status, 200);
    assert_eq!(start.elapsed().as_secs(), 2);
}
