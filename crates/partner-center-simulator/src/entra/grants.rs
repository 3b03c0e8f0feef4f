//! Issues tokens for a refresh token, a device code or an authorization code.
//!
//! It leaves the application to `client` and the record of issued tokens to `tokens`.

use axum::{http::StatusCode, response::Response};
use serde::Serialize;

use super::{
    client,
    error::{EntraError, before},
    request::{RequestContext, TokenRequest},
};
use crate::{
    authorization_codes::Redemption,
    scope::Scope,
    state::SimulatorState,
    tokens::{FamilyId, IssueRequest, RefreshTokenError},
    wire,
};

#[derive(Clone, Copy)]
enum Grant {
    RefreshToken,
    DeviceCode,
    AuthorizationCode,
}

impl Grant {
    fn of(request: &TokenRequest) -> Option<Self> {
        match &*request.grant_type {
            "refresh_token" => Some(Self::RefreshToken),
            "urn:ietf:params:oauth:grant-type:device_code" => Some(Self::DeviceCode),
            "authorization_code" => Some(Self::AuthorizationCode),
            _ => None,
        }
    }
}

/// The name of a request's grant for the log, which contains nothing that the caller wrote.
pub(super) fn name(request: &TokenRequest) -> &'static str {
    match Grant::of(request) {
        Some(Grant::RefreshToken) => "refresh_token",
        Some(Grant::DeviceCode) => "device_code",
        Some(Grant::AuthorizationCode) => "authorization_code",
        None => "other",
    }
}

/// Checks the form, then the application, then what it presents, and issues tokens.
pub(super) fn issue(
    state: &mut SimulatorState,
    context: &RequestContext<'_>,
    request: &TokenRequest,
) -> Result<Response, EntraError> {
    require(&[("grant_type", &request.grant_type)])?;
    let Some(grant) = Grant::of(request) else {
        let text = format!("The app requested an unsupported grant type '{}'.", request.grant_type);
        return Err(EntraError::bad_request("unsupported_grant_type", 70_003, text));
    };
    require(&[("client_id", &request.client_id)])?;
    let parameters: &[_] = match grant {
        Grant::RefreshToken => &[("refresh_token", &request.refresh_token), ("scope", &request.scope)],
        Grant::DeviceCode => &[("device_code", &request.device_code)],
        Grant::AuthorizationCode => &[
            ("code", &request.code),
            ("redirect_uri", &request.redirect_uri),
            ("code_verifier", &request.code_verifier),
        ],
    };
    require(parameters)?;
    client::authenticate(state, context, request)?;
    let tenant = context.tenant;
    let scope = match grant {
        Grant::RefreshToken => {
            let scope =
                Scope::parse(&request.scope).ok_or_else(|| EntraError::invalid_scope(&request.scope))?;
            let family = redeem(state, context, &request.refresh_token)?;
            return Ok(respond(state, context, family, &scope, Some(&request.refresh_token)));
        }
        Grant::DeviceCode => {
            let device = state.scenario.device_of(tenant);
            state.device_codes.redeem(tenant, &request.device_code, device)?
        }
        Grant::AuthorizationCode => state.authorization_codes.redeem(&Redemption {
            tenant,
            client_id: &request.client_id,
            code: &request.code,
            redirect_uri: &request.redirect_uri,
            verifier: &request.code_verifier,
        })?,
    };
    let family = state.tokens.start_family(state.scenario.mfa_of(tenant));
    Ok(respond(state, context, family, &scope, None))
}

/// Names the first parameter that is missing.
fn require(parameters: &[(&str, &String)]) -> Result<(), EntraError> {
    match parameters.iter().find(|(_, value)| value.is_empty()) {
        Some((name, _)) => Err(EntraError::missing(name)),
        None => Ok(()),
    }
}

fn redeem(
    state: &mut SimulatorState,
    context: &RequestContext<'_>,
    token: &str,
) -> Result<FamilyId, EntraError> {
    let SimulatorState { scenario, tokens, .. } = state;
    let now = context.now;
    tokens.redeem(scenario, context.tenant, token).map_err(|error| match error {
        RefreshTokenError::Unknown => EntraError::malformed_refresh_token(),
        RefreshTokenError::Revoked(issued) => {
            EntraError::revoked_refresh_token(before(now, issued.elapsed()), now)
        }
        RefreshTokenError::Expired(issued) => {
            let lifetime = scenario.refresh_token_lifetime;
            EntraError::expired_refresh_token(before(now, issued.elapsed()), lifetime)
        }
    })
}

fn respond(
    state: &mut SimulatorState,
    context: &RequestContext<'_>,
    family: FamilyId,
    scope: &Scope,
    redeemed: Option<&str>,
) -> Response {
    let SimulatorState { scenario, tokens, .. } = state;
    let &RequestContext { tenant, now, .. } = context;
    let Scope { resource: audience, granted, offline } = scope;
    let request = IssueRequest { tenant, family, audience, redeemed, offline: *offline, now };
    let (access_token, refresh_token) = tokens.issue(scenario, &request);
    let expires_in = scenario.access_token_lifetime.as_secs();
    let body = TokenResponse {
        token_type: "Bearer",
        scope: granted,
        expires_in,
        ext_expires_in: expires_in,
        access_token,
        refresh_token,
    };
    wire::json(StatusCode::OK, &body)
}

#[derive(Serialize)]
struct TokenResponse<'a> {
    token_type: &'static str,
    scope: &'a str,
    expires_in: u64,
    ext_expires_in: u64,
    access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}
