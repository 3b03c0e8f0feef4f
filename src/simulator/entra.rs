//! The v2.0 token endpoint of Entra ID, for the refresh token grant.
//!
//! It knows nothing of Partner Center, and it leaves it to the state to remember tokens.

use axum::{
    extract::{Form, Path, State as Shared, rejection::FormRejection},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    Simulator,
    log::Endpoint,
    scenario::TokenAnswer,
    state::State,
    wire::{self, JSON_UTF8},
};

/// What a client asks for. Other fields are ignored, and an absent one counts as empty.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Request {
    grant_type: String,
    client_id: String,
    client_secret: String,
    refresh_token: String,
    scope: String,
}

/// `POST /{tenant}/oauth2/v2.0/token`
///
/// The scenario's answer comes before any check of the request. The request is logged before the
/// delay, so that one whose caller gives up is not forgotten.
pub(super) async fn token(
    Shared(simulator): Shared<Simulator>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    form: Result<Form<Request>, FormRejection>,
) -> Response {
    let now = simulator.now();
    let (mut response, behaviour) = {
        let mut state = simulator.state();
        let behaviour = state.next_token_behaviour(&tenant);
        let response = answer(behaviour.answer, &mut state, &tenant, form, now)
            .unwrap_or_else(|problem| problem.response(now));
        let response = wire::dress(response, &behaviour);
        state.log.record(Endpoint::Token, &headers, response.status(), |entry| entry.tenant = Some(tenant));
        (response, behaviour)
    };
    wire::set(&mut response, header::CACHE_CONTROL, "no-store");
    wire::set(&mut response, header::PRAGMA, "no-cache");
    wire::set(&mut response, header::DATE, &wire::http_date(now));
    wire::finish(response, &behaviour).await
}

fn answer(
    answer: TokenAnswer,
    state: &mut State,
    tenant: &str,
    form: Result<Form<Request>, FormRejection>,
    now: Timestamp,
) -> Result<Response, Problem> {
    match answer {
        TokenAnswer::Ok => {
            let Ok(Form(request)) = form else {
                let text = "Invalid request. Request is malformed or invalid.";
                return Err(Problem::bad_request("invalid_request", 9_002_313, text));
            };
            grant(state, tenant, &request)
        }
        TokenAnswer::Malformed => {
            Ok(wire::text(StatusCode::OK, JSON_UTF8, r#"{"token_type":"Bearer","scope":"https:"#))
        }
        TokenAnswer::RefreshTokenExpired => Err(Problem::invalid_grant(
            700_082,
            format!(
                "The refresh token has expired due to inactivity. The token was issued on {} and was \
                 inactive for 90.00:00:00.",
                now - SignedDuration::from_hours(24 * 91)
            ),
        )),
        TokenAnswer::ConsentRevoked => Err(Problem {
            suberror: Some("consent_required"),
            ..Problem::invalid_grant(
                65_001,
                format!(
                    "The user or administrator has not consented to use the application with ID '{}'. \
                     Send an interactive authorization request for this user and resource.",
                    state.scenario.client_id
                ),
            )
        }),
        TokenAnswer::BadClientSecret => Err(bad_client_secret()),
        TokenAnswer::MfaRequired => Err(Problem {
            suberror: Some("basic_action"),
            claims: Some(
                json!({"access_token": {"capolids": {"essential": true, "values": [Uuid::new_v4().to_string()]}}})
                    .to_string(),
            ),
            ..Problem::invalid_grant(
                50_076,
                "Due to a configuration change made by your administrator, or because you moved to a new \
                 location, you must use multi-factor authentication to access \
                 'fa3d9a0c-3fb0-42cc-9193-47c7ecd2edbd'.",
            )
        }),
        TokenAnswer::Throttled => Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "temporarily_unavailable",
            90_055,
            "The request was throttled because there are too many incoming requests.",
        )),
        TokenAnswer::ServerError => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            90_033,
            "A transient error has occurred. Please try again.",
        )),
    }
}

/// Checks the form, then the application, then its refresh token, and issues tokens.
fn grant(state: &mut State, tenant: &str, request: &Request) -> Result<Response, Problem> {
    for (name, value) in [
        ("grant_type", &request.grant_type),
        ("client_id", &request.client_id),
        ("refresh_token", &request.refresh_token),
        ("scope", &request.scope),
    ] {
        if value.is_empty() {
            let text = format!("The request body must contain the following parameter: '{name}'.");
            return Err(Problem::bad_request("invalid_request", 900_144, text));
        }
        if name == "grant_type" && value != "refresh_token" {
            let text = format!("The app requested an unsupported grant type '{value}'.");
            return Err(Problem::bad_request("unsupported_grant_type", 70_003, text));
        }
    }
    if request.client_id != state.scenario.client_id {
        let text = format!(
            "Application with identifier '{}' was not found in the directory '{tenant}'.",
            request.client_id
        );
        return Err(Problem::bad_request("unauthorized_client", 700_016, text));
    }
    if request.client_secret.is_empty() {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        ));
    }
    if request.client_secret != state.scenario.client_secret {
        return Err(bad_client_secret());
    }
    let scopes: Vec<_> = request.scope.split_whitespace().collect();
    if !scopes.iter().any(|scope| scope.ends_with("/user_impersonation") || scope.ends_with("/.default")) {
        let text = format!(
            "The provided value for the input parameter 'scope' isn't valid. The scope {} isn't valid.",
            request.scope
        );
        return Err(Problem::bad_request("invalid_scope", 70_011, text));
    }
    if !state.accepts_refresh_token(tenant, &request.refresh_token) {
        return Err(Problem::invalid_grant(70_000, "Provided grant is invalid or malformed."));
    }
    let offline = scopes.contains(&"offline_access");
    let expires_in = state.scenario.access_token_lifetime.as_secs();
    let (access_token, refresh_token) = state.sign_in(tenant, &request.refresh_token, offline);
    let tokens = Tokens {
        token_type: "Bearer",
        scope: scopes.into_iter().filter(|scope| *scope != "offline_access").collect::<Vec<_>>().join(" "),
        expires_in,
        ext_expires_in: expires_in,
        access_token,
        refresh_token,
    };
    Ok(wire::json(StatusCode::OK, &tokens))
}

#[derive(Serialize)]
struct Tokens {
    token_type: &'static str,
    scope: String,
    expires_in: u64,
    ext_expires_in: u64,
    access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

fn bad_client_secret() -> Problem {
    let text = "Invalid client secret is provided.";
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_client", 7_000_215, text)
}

/// An error of the token endpoint, before it is dated and given its ids.
struct Problem {
    status: StatusCode,
    error: &'static str,
    code: u32,
    text: String,
    suberror: Option<&'static str>,
    claims: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self { status, error, code, text: text.into(), suberror: None, claims: None }
    }

    fn bad_request(error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, code, text)
    }

    fn invalid_grant(code: u32, text: impl Into<String>) -> Self {
        Self::bad_request("invalid_grant", code, text)
    }

    fn response(self, now: Timestamp) -> Response {
        let Self { status, error, code, text, suberror, claims } = self;
        let timestamp = now.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let (trace_id, correlation_id) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let error_description = format!(
            "AADSTS{code}: {text}\r\nTrace ID: {trace_id}\r\nCorrelation ID: {correlation_id}\r\n\
             Timestamp: {timestamp}"
        );
        let error_uri = format!("https://login.microsoftonline.com/error?code={code}");
        wire::json(
            status,
            &ProblemBody {
                error,
                error_description,
                error_codes: [code],
                timestamp,
                trace_id,
                correlation_id,
                error_uri,
                suberror,
                claims,
            },
        )
    }
}

#[derive(Serialize)]
struct ProblemBody {
    error: &'static str,
    error_description: String,
    error_codes: [u32; 1],
    timestamp: String,
    trace_id: String,
    correlation_id: String,
    error_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    suberror: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<String>,
}

#[cfg(test)]
mod tests;
