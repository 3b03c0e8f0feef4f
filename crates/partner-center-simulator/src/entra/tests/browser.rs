//! Tests sign-in with a browser.

use std::time::Duration;

use axum::http::Method;

use crate::testkit::{TestResponse, changed, exchange, get, refusal, send, simulator, summary};
use crate::{CLIENT_ID, Simulator};

const REDIRECT: &str = "http://localhost:4711/signed-in?a=b";
/// The verifier of the example in RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// The challenge of the same example.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn address(changes: &[(&str, &str)]) -> String {
    let usual = [
        ("client_id", CLIENT_ID),
        ("response_type", "code"),
        ("redirect_uri", REDIRECT),
        ("scope", "https://api.partnercenter.microsoft.com/user_impersonation offline_access"),
        ("state", "a state"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("prompt", "select_account"),
    ];
    let fields = changed(&usual, changes);
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    format!("/contoso/oauth2/v2.0/authorize?{query}")
}

async fn visit(simulator: &Simulator, changes: &[(&str, &str)]) -> TestResponse {
    get(simulator, &address(changes), &[]).await
}

/// The parameters that the browser returns to the application.
fn returned(answer: &TestResponse) -> Vec<(String, String)> {
    assert_eq!(answer.status, 302);
    let query = answer.header("location").unwrap().strip_prefix("http://localhost:4711/signed-in?").unwrap();
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn value(answer: &TestResponse, name: &str) -> Option<String> {
    returned(answer).into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
}

async fn redeem(simulator: &Simulator, tenant: &str, code: &str, changes: &[(&str, &str)]) -> TestResponse {
    let usual = [("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)];
    let mut fields =
        vec![("grant_type", "authorization_code"), ("refresh_token", ""), ("scope", ""), ("code", code)];
    fields.extend(changed(&usual, changes));
    exchange(simulator, tenant, &fields).await
}

async fn code(simulator: &Simulator) -> String {
    value(&visit(simulator, &[]).await, "code").unwrap()
}

#[tokio::test]
async fn a_person_who_signs_in_is_sent_back_with_a_code_that_gets_tokens() {
    let simulator = simulator("{}");
    let answer = visit(&simulator, &[]).await;
    assert_eq!(value(&answer, "a").as_deref(), Some("b"));
    assert_eq!(value(&answer, "state").as_deref(), Some("a state"));
    let tokens = redeem(&simulator, "contoso", &value(&answer, "code").unwrap(), &[]).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    assert_eq!(
        exchange(&simulator, "contoso", &[("refresh_token", &tokens.member("refresh_token"))]).await.status,
        200
    );
}

#[tokio::test]
async fn a_code_can_be_redeemed_once() {
    let simulator = simulator("{}");
    let code = code(&simulator).await;
    assert_eq!(redeem(&simulator, "contoso", &code, &[]).await.status, 200);
    let again = redeem(&simulator, "contoso", &code, &[]).await;
    assert_eq!(summary(&again), refusal(400, "invalid_grant", 54_005));
}

#[tokio::test(start_paused = true)]
async fn a_code_expires() {
    let simulator = simulator("{}");
    let code = code(&simulator).await;
    tokio::time::advance(Duration::from_mins(10)).await;
    let late = redeem(&simulator, "contoso", &code, &[]).await;
    assert_eq!(summary(&late), refusal(400, "invalid_grant", 70_008));
}

#[tokio::test]
async fn a_code_is_bound_to_the_request_that_it_was_issued_for() {
    let simulator = simulator("{}");
    let code = code(&simulator).await;
    let wrong = VERIFIER.replace('d', "e");
    for (tenant, changes, code_number) in [
        ("fabrikam", &[][..], 70_000),
        ("contoso", &[("redirect_uri", "http://localhost:4712/signed-in")], 500_112),
        ("contoso", &[("code_verifier", &*wrong)], 501_481),
        ("contoso", &[("code_verifier", CHALLENGE)], 501_481),
        ("contoso", &[("code_verifier", "short")], 501_481),
    ] {
        let answer = redeem(&simulator, tenant, &code, changes).await;
        assert_eq!(summary(&answer), refusal(400, "invalid_grant", code_number));
    }
    let unverified = redeem(&simulator, "contoso", &code, &[("code_verifier", "")]).await;
    assert_eq!(summary(&unverified), refusal(400, "invalid_request", 900_144));
    assert_eq!(redeem(&simulator, "contoso", &code, &[]).await.status, 200);
}

#[tokio::test]
async fn a_person_can_decline() {
    let answer = visit(&simulator("authorize: { answer: decline }"), &[]).await;
    assert_eq!(value(&answer, "error").as_deref(), Some("access_denied"));
    assert_eq!(value(&answer, "state").as_deref(), Some("a state"));
    assert!(value(&answer, "error_description").is_some() && value(&answer, "code").is_none());
}

#[tokio::test]
async fn a_person_can_decide_on_a_page() {
    let simulator = simulator("tenants: { contoso: { authorize: { answer: page } } }");
    let page = visit(&simulator, &[]).await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("Approve") && page.text().contains("Decline"));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let approved = send(&simulator, Method::POST, &address(&[]), &form, "decision=approve").await;
    let code = value(&approved, "code").unwrap();
    assert_eq!(redeem(&simulator, "contoso", &code, &[]).await.status, 200);
    let declined = send(&simulator, Method::POST, &address(&[]), &form, "decision=decline").await;
    assert_eq!(value(&declined, "error").as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn a_browser_is_redirected_only_to_its_own_machine() {
    for redirect in [
        "",
        "http://example.com/",
        "https://localhost/",
        "http://localhost.example.com/",
        "http://localhost@example.com/",
        "http://user@localhost/",
        "http://localhost/#part",
        "urn:ietf:wg:oauth:2.0:oob",
        "//localhost/",
    ] {
        let answer = visit(&simulator("{}"), &[("redirect_uri", redirect)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (400, None), "{redirect}");
    }
    for redirect in ["http://localhost", "http://127.0.0.1:4711/", "http://[::1]:4711/signed-in"] {
        let answer = visit(&simulator("{}"), &[("redirect_uri", redirect)]).await;
        assert_eq!(answer.status, 302, "{redirect}");
    }
    assert_eq!(visit(&simulator("{}"), &[("client_id", "other")]).await.status, 400);
}

#[tokio::test]
async fn other_errors_are_reported_to_the_application() {
    for (change, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_mode", "form_post"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("scope", "openid"), "invalid_scope"),
    ] {
        let answer = visit(&simulator("{}"), &[change]).await;
        assert_eq!(value(&answer, "error").as_deref(), Some(error));
        assert_eq!(value(&answer, "state").as_deref(), Some("a state"));
    }
}
