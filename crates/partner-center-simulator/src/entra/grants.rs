//! Issues tokens for a refresh token, a device code or an authorization code.
//!
//! It leaves the application to `client` and the record of issued tokens to `tokens`.

use axum::{http::StatusCode, response::Response};
use serde_json::json;
use uuid::Uuid;

use super::client;
use super::error::{EntraError, REQUEST_ID, before};
use super::request::{RequestContext, TokenRequest};
use crate::scope::Scope;
use crate::state::SimulatorState;
use crate::tokens::{FamilyId, IssueRequest, RefreshTokenError};
use crate::wire;

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
        return Err(EntraError::UnsupportedGrantType(request.grant_type.clone()));
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
            let scope = Scope::parse(&request.scope)
                .ok_or_else(|| EntraError::InvalidScope(request.scope.clone()))?;
            let family = redeem(state, context, &request.refresh_token)?;
            return Ok(respond(state, context, family, &scope, Some(&request.refresh_token)));
        }
        Grant::DeviceCode => {
            let device = state.scenario.for_tenant(tenant).device;
            state.device_codes.redeem(tenant, &request.device_code, device)?
        }
        Grant::AuthorizationCode => state
            .authorization_codes
            .find(tenant, &request.client_id, &request.code)?
            .redeem(&request.redirect_uri, &request.code_verifier)?,
    };
    let family = state.tokens.start_family(state.scenario.for_tenant(tenant).mfa);
    Ok(respond(state, context, family, &scope, None))
}

/// Names the first parameter that is missing.
fn require(parameters: &[(&'static str, &String)]) -> Result<(), EntraError> {
    match parameters.iter().find(|(_, value)| value.is_empty()) {
        Some((name, _)) => Err(EntraError::MissingParameter(name)),
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
        RefreshTokenError::Unknown => EntraError::MalformedRefreshToken,
        RefreshTokenError::Revoked(issued) => {
            EntraError::RevokedRefreshToken { issued: before(now, issued.elapsed()), now }
        }
        RefreshTokenError::Expired(issued) => EntraError::ExpiredRefreshToken {
            issued: before(now, issued.elapsed()),
            lifetime: scenario.refresh_token_lifetime,
        },
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
    let mut body = json!({
        "token_type": "Bearer",
        "scope": granted,
        "expires_in": expires_in,
        "ext_expires_in": expires_in,
        "access_token": access_token,
    });
    if let Some(refresh_token) = refresh_token {
        body["refresh_token"] = refresh_token.into();
    }
    let mut response = wire::json(StatusCode::OK, &body);
    wire::set(&mut response, REQUEST_ID, &Uuid::new_v4().to_string());
    response
}
