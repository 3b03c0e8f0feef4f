//! Sign-in with a browser: the page, and the redirect back to the application.
//!
//! It issues no tokens.

use axum::extract::{Form, Path, Query, State, rejection::FormRejection};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use uuid::Uuid;

use super::{client, request::Decision};
use crate::authorization_codes::Authorized;
use crate::log::Endpoint;
use crate::scenario::AuthorizeAnswer;
use crate::scope::Scope;
use crate::simulator::Simulator;
use crate::state::SimulatorState;
use crate::wire;

/// The query that an application sends a browser with; other parameters are ignored, and an absent one counts as
/// empty.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct AuthorizeRequest {
    client_id: String,
    response_type: String,
    response_mode: String,
    redirect_uri: String,
    scope: String,
    state: Option<String>,
    code_challenge: String,
    code_challenge_method: String,
}

/// The form of the page.
#[derive(Deserialize)]
pub(crate) struct AuthorizeForm {
    decision: Decision,
}

/// `GET /{tenant}/oauth2/v2.0/authorize`
pub(crate) async fn authorize(
    simulator: State<Simulator>,
    tenant: Path<String>,
    headers: HeaderMap,
    request: Query<AuthorizeRequest>,
) -> Response {
    respond(&simulator, &tenant, &headers, &request, None)
}

/// `POST /{tenant}/oauth2/v2.0/authorize`, sent by the buttons of the page.
pub(crate) async fn decide(
    simulator: State<Simulator>,
    tenant: Path<String>,
    headers: HeaderMap,
    request: Query<AuthorizeRequest>,
    form: Result<Form<AuthorizeForm>, FormRejection>,
) -> Response {
    respond(&simulator, &tenant, &headers, &request, form.ok().map(|Form(form)| form.decision))
}

fn respond(
    simulator: &Simulator,
    tenant: &str,
    headers: &HeaderMap,
    request: &AuthorizeRequest,
    decision: Option<Decision>,
) -> Response {
    let mut state = simulator.state();
    let mut response = scripted(&mut state, tenant, request, decision);
    state.log.record(Endpoint::Authorize, headers, response.status(), |entry| {
        entry.tenant = Some(tenant.to_owned());
    });
    wire::forbid_caching(&mut response, simulator.now());
    response
}

/// Responds as the scenario says; a person's decision counts where the scenario shows the page.
fn scripted(
    state: &mut SimulatorState,
    tenant: &str,
    request: &AuthorizeRequest,
    decision: Option<Decision>,
) -> Response {
    let known = client::check_id(&state.scenario.client_id, tenant, &request.client_id).is_ok();
    if !known || !is_loopback(&request.redirect_uri) {
        // Redirecting to an unknown application or a foreign host is not safe.
        let what = if known { "redirect_uri is not a loopback address" } else { "client_id is unknown" };
        return wire::page(StatusCode::BAD_REQUEST, "Sorry", &format!("<p>The {what}.</p>"));
    }
    let scope = match validate(request) {
        Ok(scope) => scope,
        Err((error, text)) => return redirect(request, &[("error", error), ("error_description", text)]),
    };
    let decision = match (decision, state.scenario.for_tenant(tenant).authorize.answer) {
        (Some(decision), AuthorizeAnswer::Page) => decision,
        (_, AuthorizeAnswer::Approve) => Decision::Approve,
        (_, AuthorizeAnswer::Decline) => Decision::Decline,
        (None, AuthorizeAnswer::Page) => return page(),
    };
    if decision == Decision::Decline {
        let text = "AADSTS65004: User declined to consent to access the app.";
        return redirect(
            request,
            &[("error", "access_denied"), ("error_subcode", "cancel"), ("error_description", text)],
        );
    }
    let code = state.authorization_codes.issue(Authorized {
        tenant: tenant.to_owned(),
        client_id: request.client_id.clone(),
        redirect_uri: request.redirect_uri.clone(),
        challenge: request.code_challenge.clone(),
        scope,
    });
    redirect(request, &[("code", &code), ("session_state", &Uuid::new_v4().to_string())])
}

/// The scope of a valid request, or the `error` and the `error_description` for the application.
fn validate(request: &AuthorizeRequest) -> Result<Scope, (&'static str, &'static str)> {
    if request.response_type != "code" {
        return Err(("unsupported_response_type", "AADSTS700054: response_type is not 'code'."));
    }
    if !matches!(&*request.response_mode, "" | "query") {
        return Err(("invalid_request", "AADSTS70007: response_mode is not 'query'."));
    }
    if request.code_challenge_method != "S256" {
        return Err(("invalid_request", "AADSTS50149: Invalid Code_Challenge_method parameter."));
    }
    if URL_SAFE_NO_PAD.decode(&request.code_challenge).map_or(0, |hash| hash.len()) != 32 {
        return Err(("invalid_request", "AADSTS501491: Invalid size of Code_Challenge parameter."));
    }
    let wrong = "AADSTS70011: The provided value for the input parameter 'scope' isn't valid.";
    Scope::parse(&request.scope).ok_or(("invalid_scope", wrong))
}

/// Whether a redirect URI can only lead to the machine of the person who signs in.
fn is_loopback(redirect_uri: &str) -> bool {
    let Ok(uri) = redirect_uri.parse::<Uri>() else { return false };
    let plain = !redirect_uri.contains(['#', '@', '\\']) && uri.scheme_str() == Some("http");
    plain && uri.host().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"))
}

fn page() -> Response {
    wire::page(
        StatusCode::OK,
        "Simulated sign-in",
        "<form method=\"post\"><button name=\"decision\" value=\"approve\">Approve</button>\n\
         <button name=\"decision\" value=\"decline\">Decline</button></form>",
    )
}

/// Redirects the browser to the application.
fn redirect(request: &AuthorizeRequest, parameters: &[(&str, &str)]) -> Response {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    if let Some(state) = &request.state {
        query.append_pair("state", state);
    }
    let uri = &request.redirect_uri;
    let separator = if uri.contains('?') { '&' } else { '?' };
    let mut response = StatusCode::FOUND.into_response();
    wire::set(&mut response, header::LOCATION, &format!("{uri}{separator}{}", query.finish()));
    response
}
