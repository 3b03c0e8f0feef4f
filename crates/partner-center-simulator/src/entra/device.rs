//! Sign-in with a device code: the endpoint that issues one, and the page where a person enters the user code.
//!
//! It issues no tokens.

use axum::extract::{Form, Path, State, rejection::FormRejection};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::{client, error::EntraError, request::Decision};
use crate::{log::Endpoint, scope::Scope, simulator::Simulator, state::SimulatorState, wire};

/// The form that requests a device code; other fields are ignored, and an absent field counts as empty.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct DeviceCodeRequest {
    client_id: String,
    scope: String,
}

/// `POST /{tenant}/oauth2/v2.0/devicecode`
pub(crate) async fn issue(
    State(simulator): State<Simulator>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    form: Result<Form<DeviceCodeRequest>, FormRejection>,
) -> Response {
    let now = simulator.now();
    let mut state = simulator.state();
    let origin = wire::origin(&headers).unwrap_or_else(|| "http://localhost".to_owned());
    let mut response = form
        .map_err(|_| EntraError::Malformed)
        .and_then(|Form(request)| respond(&mut state, &tenant, &origin, &request))
        .unwrap_or_else(|error| error.response(now));
    state.log.record(Endpoint::DeviceCode, &headers, response.status(), |entry| entry.tenant = Some(tenant));
    wire::forbid_caching(&mut response, now);
    response
}

fn respond(
    state: &mut SimulatorState,
    tenant: &str,
    origin: &str,
    request: &DeviceCodeRequest,
) -> Result<Response, EntraError> {
    let SimulatorState { scenario, device_codes, .. } = state;
    client::check_id(&scenario.client_id, tenant, &request.client_id)?;
    if request.scope.is_empty() {
        return Err(EntraError::MissingParameter("scope"));
    }
    let scope =
        Scope::parse(&request.scope).ok_or_else(|| EntraError::InvalidScope(request.scope.clone()))?;
    let flow = device_codes.issue(tenant, scope, scenario.for_tenant(tenant).device);
    let (uri, user_code) = (format!("{origin}/simulator/device"), &*flow.user_code);
    let body = json!({
        "user_code": user_code,
        "device_code": flow.device_code,
        "verification_uri": uri,
        "expires_in": flow.lifetime.as_secs(),
        "interval": flow.interval.as_secs(),
        "message": format!(
            "To sign in, use a web browser to open the page {uri} and enter the code {user_code} to authenticate."
        ),
    });
    Ok(wire::json(StatusCode::OK, &body))
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

/// The form of the page.
#[derive(Deserialize)]
pub(crate) struct DeviceForm {
    user_code: String,
    decision: Decision,
}

/// `POST /simulator/device`
pub(crate) async fn decide(
    State(simulator): State<Simulator>,
    Form(DeviceForm { user_code, decision }): Form<DeviceForm>,
) -> Response {
    if simulator.state().device_codes.decide(&user_code, decision == Decision::Approve) {
        wire::page(StatusCode::OK, "Thank you", "<p>You may close this page.</p>")
    } else {
        wire::page(StatusCode::NOT_FOUND, "Unknown code", "<p>The code is unknown or has expired.</p>")
    }
}
