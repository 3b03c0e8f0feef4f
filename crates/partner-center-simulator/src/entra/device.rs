//! Signing in with a device code: the codes, the page on which a person uses one, and what a client hears
//! that asks whether it was used.
//!
//! It issues no token.

use std::time::Duration;

use axum::{
    extract::{Form, Path, State as Shared, rejection::FormRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::{client, grants::Scope, not_to_be_kept, problem::Problem};
use crate::{
    Simulator,
    log::Endpoint,
    scenario::{Device, DeviceAnswer},
    state::State,
    wire,
};

/// By how much a client that polls too fast has to slow down.
const SLOWER: Duration = Duration::from_secs(5);

/// The codes that are out.
#[derive(Default)]
pub(crate) struct Devices(Vec<Flow>);

struct Flow {
    tenant: String,
    device_code: String,
    user_code: String,
    scope: Scope,
    begun: Instant,
    lifetime: Duration,
    interval: Duration,
    polled: Option<Instant>,
    /// How often a client heard that it has to wait.
    waits: u32,
    /// What a person decided on the page.
    decision: Option<bool>,
}

impl Devices {
    fn begin(&mut self, tenant: &str, scope: Scope, device: &Device) -> &Flow {
        let index = self.0.len();
        self.0.push(Flow {
            tenant: tenant.to_owned(),
            device_code: format!("simulated-device-code-{}", Uuid::new_v4().simple()),
            user_code: user_code(),
            scope,
            begun: Instant::now(),
            lifetime: device.expires_in,
            interval: device.interval,
            polled: None,
            waits: 0,
            decision: None,
        });
        &self.0[index]
    }

    /// Asks whether a code was used; one that was is good for nothing more.
    pub(super) fn poll(&mut self, tenant: &str, code: &str, device: &Device) -> Result<Scope, Problem> {
        let found = self.0.iter().position(|flow| flow.device_code == code && flow.tenant == tenant);
        let Some(index) = found else {
            let text = "The provided value for the input parameter 'device_code' is not valid.";
            return Err(Problem::bad_request("bad_verification_code", 70_018, text));
        };
        self.0[index].poll(device)?;
        Ok(self.0.swap_remove(index).scope)
    }

    fn decide(&mut self, user_code: &str, approve: bool) -> bool {
        let plain = |code: &str| code.replace(['-', ' '], "").to_uppercase();
        let wanted = plain(user_code);
        let open = |flow: &&mut Flow| plain(&flow.user_code) == wanted && !flow.is_over();
        let flow = self.0.iter_mut().find(open);
        flow.map(|flow| flow.decision = Some(approve)).is_some()
    }
}

impl Flow {
    fn is_over(&self) -> bool {
        self.begun.elapsed() >= self.lifetime
    }

    fn poll(&mut self, device: &Device) -> Result<(), Problem> {
        // Microsoft gives `slow_down` and `authorization_declined` no number of their own.
        let refuse = |error, code, text| Err(Problem::bad_request(error, code, text));
        if self.is_over() {
            let text = "The provided value for the input parameter 'device_code' is not valid. This device code \
                        has expired.";
            return refuse("expired_token", 70_020, text);
        }
        let last = self.polled.replace(Instant::now());
        if last.is_some_and(|last| last.elapsed() < self.interval) {
            self.interval += SLOWER;
            return refuse("slow_down", 70_016, "OAuth 2.0 device flow error. The client polls too fast.");
        }
        let answer = match self.decision {
            Some(true) => DeviceAnswer::Approve,
            Some(false) => DeviceAnswer::Decline,
            None if self.waits < device.polls => DeviceAnswer::Pending,
            None => device.answer,
        };
        match answer {
            DeviceAnswer::Approve => Ok(()),
            DeviceAnswer::Decline => {
                refuse("authorization_declined", 70_017, "The end user denied the authorization request.")
            }
            DeviceAnswer::Pending => {
                self.waits = self.waits.saturating_add(1);
                let text = "OAuth 2.0 device flow error. Authorization is pending. Continue polling.";
                refuse("authorization_pending", 70_016, text)
            }
            DeviceAnswer::Blocked => Err(Problem::conditional_access()),
        }
    }
}

/// Nine characters that nobody mistakes for others.
fn user_code() -> String {
    const ALPHABET: &[u8] = b"BCDFGHJKLMNPQRSTVWXYZ23456789";
    (0..9).map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())])).collect()
}

/// What a client asks codes for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Request {
    client_id: String,
    scope: String,
}

#[derive(Serialize)]
struct Codes<'a> {
    user_code: &'a str,
    device_code: &'a str,
    verification_uri: &'a str,
    expires_in: u64,
    interval: u64,
    message: String,
}

/// `POST /{tenant}/oauth2/v2.0/devicecode`
pub(crate) async fn codes(
    Shared(simulator): Shared<Simulator>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    form: Result<Form<Request>, FormRejection>,
) -> Response {
    let now = simulator.now();
    let mut state = simulator.state();
    let origin = wire::origin(&headers).unwrap_or_else(|| "http://localhost".to_owned());
    let mut response = begin(&mut state, &tenant, &origin, form.map(|Form(request)| request).ok())
        .unwrap_or_else(|problem| problem.response(now));
    state.log.record(Endpoint::DeviceCode, &headers, response.status(), |entry| entry.tenant = Some(tenant));
    not_to_be_kept(&mut response, now);
    response
}

fn begin(
    state: &mut State,
    tenant: &str,
    origin: &str,
    request: Option<Request>,
) -> Result<Response, Problem> {
    let request = request.ok_or_else(Problem::malformed)?;
    let State { scenario, devices, .. } = state;
    client::known(&scenario.client_id, tenant, &request.client_id)?;
    if request.scope.is_empty() {
        return Err(Problem::missing("scope"));
    }
    let flow = devices.begin(tenant, Scope::parse(&request.scope)?, scenario.device_of(tenant));
    let (uri, user_code) = (format!("{origin}/simulator/device"), &*flow.user_code);
    let codes = Codes {
        user_code,
        device_code: &flow.device_code,
        verification_uri: &uri,
        expires_in: flow.lifetime.as_secs(),
        interval: flow.interval.as_secs(),
        message: format!(
            "To sign in, use a web browser to open the page {uri} and enter the code {user_code} to authenticate."
        ),
    };
    Ok(wire::json(StatusCode::OK, &codes))
}

/// `GET /simulator/device`
pub(crate) async fn page() -> Response {
    wire::page(
        StatusCode::OK,
        "Simulated sign-in with a code",
        "<form method=\"post\"><label>Code <input name=\"user_code\" autofocus></label>\n\
         <button name=\"decision\" value=\"approve\">Approve</button>\n\
         <button name=\"decision\" value=\"decline\">Decline</button></form>",
    )
}

/// What a person decides about a code.
#[derive(Deserialize)]
pub(crate) struct Decision {
    user_code: String,
    decision: Choice,
}

/// What a person chooses on a page.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Choice {
    Approve,
    Decline,
}

/// `POST /simulator/device`
pub(crate) async fn decide(
    Shared(simulator): Shared<Simulator>,
    Form(Decision { user_code, decision }): Form<Decision>,
) -> Response {
    if simulator.state().devices.decide(&user_code, decision == Choice::Approve) {
        wire::page(StatusCode::OK, "Thank you", "<p>You may close this page.</p>")
    } else {
        wire::page(StatusCode::NOT_FOUND, "Unknown code", "<p>Nobody waits for that code, or no longer.</p>")
    }
}
