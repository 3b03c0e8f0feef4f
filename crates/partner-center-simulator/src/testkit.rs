//! What the module's tests share: a simulator with a fixed clock and a caller that knows HTTP only.

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::Value;
use tower::ServiceExt;

use super::{CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, Scenario, Simulator};

pub(super) const USAGE: &str = "/v1/analytics/licenses/usage";

/// 2026-11-23 05:13:20 UTC
pub(super) fn clock() -> Timestamp {
    Timestamp::constant(1_795_410_800, 0)
}

pub(super) fn simulator(scenario: &str) -> Simulator {
    Simulator::new(Scenario::parse(scenario).unwrap(), clock)
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn token(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap().to_owned()
    }
}

pub(super) async fn send(
    simulator: &Simulator,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = simulator.router().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

pub(super) async fn get(simulator: &Simulator, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(simulator, Method::GET, path, headers, "").await
}

const FORM: &[(&str, &str)] = &[
    ("grant_type", "refresh_token"),
    ("client_id", CLIENT_ID),
    ("client_secret", CLIENT_SECRET),
    ("refresh_token", REFRESH_TOKEN),
    ("scope", "https://api.partnercenter.microsoft.com/user_impersonation offline_access"),
];

/// Where the simulator is, as far as those tests are concerned that ask.
pub(super) const HOST: &str = "localhost:1234";

/// Asks for a token with the usual form, in which `changes` replace fields or are new; an empty one leaves
/// its field out.
pub(super) async fn ask(simulator: &Simulator, tenant: &str, changes: &[(&str, &str)]) -> Answer {
    let changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
    let usual = FORM.iter().filter(|(name, _)| !changed(name));
    let fields: Vec<_> = usual.chain(changes).copied().filter(|(_, value)| !value.is_empty()).collect();
    submit(simulator, &format!("/{tenant}/oauth2/v2.0/token"), &fields).await
}

/// Sends a form.
pub(super) async fn submit(simulator: &Simulator, path: &str, fields: &[(&str, &str)]) -> Answer {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let headers =
        [("content-type", "application/x-www-form-urlencoded"), ("user-agent", "test/1"), ("host", HOST)];
    send(simulator, Method::POST, path, &headers, &form).await
}

/// Status, error and code of a refusal by Entra ID.
pub(super) fn summary(answer: &Answer) -> (u16, String, u64) {
    let json = answer.json();
    let code = json["error_codes"][0].as_u64().unwrap();
    (answer.status.as_u16(), json["error"].as_str().unwrap().to_owned(), code)
}

pub(super) fn problem(status: u16, error: &str, code: u64) -> (u16, String, u64) {
    (status, error.to_owned(), code)
}

/// What an access token says.
pub(super) fn claims(access_token: &str) -> Value {
    let part = access_token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

pub(super) async fn access_token(simulator: &Simulator, tenant: &str) -> String {
    ask(simulator, tenant, &[]).await.token("access_token")
}

pub(super) async fn usage(simulator: &Simulator, token: &str) -> Answer {
    get(simulator, USAGE, &[("authorization", &format!("Bearer {token}"))]).await
}
