//! What tokens are issued for.
//!
//! It leaves it to `client` to know the application, and to `tokens` to remember what was issued.

use axum::{http::StatusCode, response::Response};
use serde::Serialize;

use super::{
    Addressed, Request, client,
    problem::{Problem, dated},
};
use crate::{
    state::State,
    tokens::{FamilyId, Order, Refusal},
    wire,
};

#[derive(Clone, Copy)]
enum Grant {
    RefreshToken,
    DeviceCode,
    AuthorizationCode,
}

impl Grant {
    fn of(request: &Request) -> Option<Self> {
        match &*request.grant_type {
            "refresh_token" => Some(Self::RefreshToken),
            "urn:ietf:params:oauth:grant-type:device_code" => Some(Self::DeviceCode),
            "authorization_code" => Some(Self::AuthorizationCode),
            _ => None,
        }
    }
}

/// The grant of a request by a word of ours, so that nothing of the caller's gets into the log.
pub(super) fn name(request: &Request) -> &'static str {
    match Grant::of(request) {
        Some(Grant::RefreshToken) => "refresh_token",
        Some(Grant::DeviceCode) => "device_code",
        Some(Grant::AuthorizationCode) => "authorization_code",
        None => "other",
    }
}

/// Checks the form, then the application, then what it presents, and issues tokens.
pub(super) fn answer(
    state: &mut State,
    addressed: &Addressed<'_>,
    request: &Request,
) -> Result<Response, Problem> {
    required("grant_type", &request.grant_type)?;
    let Some(grant) = Grant::of(request) else {
        let text = format!("The app requested an unsupported grant type '{}'.", request.grant_type);
        return Err(Problem::bad_request("unsupported_grant_type", 70_003, text));
    };
    required("client_id", &request.client_id)?;
    match grant {
        Grant::RefreshToken => {
            required("refresh_token", &request.refresh_token)?;
            required("scope", &request.scope)?;
        }
        Grant::DeviceCode => required("device_code", &request.device_code)?,
        Grant::AuthorizationCode => {
            required("code", &request.code)?;
            required("redirect_uri", &request.redirect_uri)?;
            required("code_verifier", &request.code_verifier)?;
        }
    }
    client::authenticate(state, addressed, request)?;
    let State { scenario, devices, codes, .. } = state;
    let tenant = addressed.tenant;
    let scope = match grant {
        Grant::RefreshToken => {
            let scope = Scope::parse(&request.scope)?;
            let used = &*request.refresh_token;
            let family = redeem(state, addressed, used)?;
            return Ok(issue(state, addressed, family, &scope, Some(used)));
        }
        Grant::DeviceCode => devices.poll(tenant, &request.device_code, scenario.device_of(tenant))?,
        Grant::AuthorizationCode => codes.redeem(tenant, request)?,
    };
    let family = state.tokens.begin(state.scenario.mfa_of(tenant));
    Ok(issue(state, addressed, family, &scope, None))
}

fn required(name: &str, value: &str) -> Result<(), Problem> {
    if value.is_empty() { Err(Problem::missing(name)) } else { Ok(()) }
}

fn redeem(state: &mut State, addressed: &Addressed<'_>, token: &str) -> Result<FamilyId, Problem> {
    let State { scenario, tokens, .. } = state;
    let now = addressed.now;
    tokens.redeem(scenario, addressed.tenant, token).map_err(|refusal| match refusal {
        Refusal::Unknown => Problem::malformed_refresh_token(),
        Refusal::Revoked(issued) => Problem::revoked_refresh_token(dated(now, issued.elapsed()), now),
        Refusal::Expired(issued) => {
            let lifetime = scenario.refresh_token_lifetime;
            Problem::expired_refresh_token(dated(now, issued.elapsed()), lifetime)
        }
    })
}

fn issue(
    state: &mut State,
    addressed: &Addressed<'_>,
    family: FamilyId,
    scope: &Scope,
    used: Option<&str>,
) -> Response {
    let State { scenario, tokens, .. } = state;
    let &Addressed { tenant, now, .. } = addressed;
    let order = Order { tenant, family, audience: &scope.resource, used, offline: scope.offline, now };
    let (access_token, refresh_token) = tokens.issue(scenario, &order);
    let expires_in = scenario.access_token_lifetime.as_secs();
    let tokens = Tokens {
        token_type: "Bearer",
        scope: &scope.granted,
        expires_in,
        ext_expires_in: expires_in,
        access_token,
        refresh_token,
    };
    wire::json(StatusCode::OK, &tokens)
}

#[derive(Serialize)]
struct Tokens<'a> {
    token_type: &'static str,
    scope: &'a str,
    expires_in: u64,
    ext_expires_in: u64,
    access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

/// What an application wants tokens for.
#[derive(Clone)]
pub(super) struct Scope {
    resource: String,
    granted: String,
    /// Whether it wants a refresh token.
    offline: bool,
}

impl Scope {
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let (offline, granted): (Vec<_>, Vec<_>) =
            text.split_whitespace().partition(|scope| *scope == "offline_access");
        let resource = granted.iter().find_map(|scope| {
            scope.strip_suffix("/user_impersonation").or_else(|| scope.strip_suffix("/.default"))
        });
        match resource {
            Some(resource) if !resource.is_empty() => Ok(Self {
                resource: resource.to_owned(),
                granted: granted.join(" "),
                offline: !offline.is_empty(),
            }),
            _ => Err(Problem::invalid_scope(text)),
        }
    }
}
