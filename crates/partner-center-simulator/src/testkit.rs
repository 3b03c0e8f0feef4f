//! What the tests share: a simulator with a fixed clock, and a client that uses HTTP alone.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::Value;
use tower::ServiceExt;

use crate::{CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, Scenario, Simulator};

pub(super) const USAGE: &str = "/v1/analytics/licenses/usage";

/// 2026-11-23 05:13:20 UTC.
pub(super) fn clock() -> Timestamp {
    Timestamp::constant(1_795_410_800, 0)
}

pub(super) fn simulator(scenario: &str) -> Simulator {
    Simulator::new(Scenario::parse(scenario).unwrap(), clock)
}

pub(super) struct TestResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl TestResponse {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A member of the body that is text.
    pub(super) fn member(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap().to_owned()
    }
}

/// The body of a collection, which may start with a byte order mark.
pub(super) fn parsed(response: &TestResponse) -> Value {
    serde_json::from_str(response.text().trim_start_matches('\u{feff}')).unwrap()
}

pub(super) async fn send(
    simulator: &Simulator,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> TestResponse {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = simulator.router().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    TestResponse { status: parts.status, headers: parts.headers, body }
}

pub(super) async fn get(simulator: &Simulator, path: &str, headers: &[(&str, &str)]) -> TestResponse {
    send(simulator, Method::GET, path, headers, "").await
}

const FORM: &[(&str, &str)] = &[
    ("grant_type", "refresh_token"),
    ("client_id", CLIENT_ID),
    ("client_secret", CLIENT_SECRET),
    ("refresh_token", REFRESH_TOKEN),
    ("scope", "https://api.partnercenter.microsoft.com/user_impersonation offline_access"),
];

/// The header `Host` of every form that is sent.
pub(super) const HOST: &str = "localhost:1234";

/// Sends the usual token request, in which `changes` replace or add fields; an empty value removes its field.
pub(super) async fn exchange(simulator: &Simulator, tenant: &str, changes: &[(&str, &str)]) -> TestResponse {
    let mut fields = changed(FORM, changes);
    fields.retain(|(_, value)| !value.is_empty());
    submit(simulator, &format!("/{tenant}/oauth2/v2.0/token"), &fields).await
}

/// The usual fields, of which `changes` replace those of the same name and add the others.
pub(super) fn changed<'a>(
    usual: &[(&'a str, &'a str)],
    changes: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
    usual.iter().filter(|(name, _)| !is_changed(name)).chain(changes).copied().collect()
}

/// Sends a form.
pub(super) async fn submit(simulator: &Simulator, path: &str, fields: &[(&str, &str)]) -> TestResponse {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let headers =
        [("content-type", "application/x-www-form-urlencoded"), ("user-agent", "test/1"), ("host", HOST)];
    send(simulator, Method::POST, path, &headers, &form).await
}

/// The status, error and code of an error response of Entra ID.
pub(super) fn summary(response: &TestResponse) -> (u16, String, u64) {
    let json = response.json();
    let code = json["error_codes"][0].as_u64().unwrap();
    (response.status.as_u16(), json["error"].as_str().unwrap().to_owned(), code)
}

/// The summary that a test expects.
pub(super) fn refusal(status: u16, error: &str, code: u64) -> (u16, String, u64) {
    (status, error.to_owned(), code)
}

/// The claims of an access token.
pub(super) fn claims(access_token: &str) -> Value {
    let part = access_token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

pub(super) async fn access_token(simulator: &Simulator, tenant: &str) -> String {
    exchange(simulator, tenant, &[]).await.member("access_token")
}

pub(super) async fn usage(simulator: &Simulator, token: &str) -> TestResponse {
    get(simulator, USAGE, &[("authorization", &format!("Bearer {token}"))]).await
}
