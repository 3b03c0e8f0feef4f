//! The token endpoint: scripted errors, and tokens for everybody else.

use std::time::Duration;

use axum::{
    extract::{Form, Path, State, rejection::FormRejection},
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};

use super::{
    client,
    error::{EntraError, before},
    grants,
    request::{RequestContext, TokenRequest},
};
use crate::{
    log::Endpoint,
    scenario::TokenAnswer,
    simulator::Simulator,
    state::SimulatorState,
    wire::{self, JSON_UTF8},
};

/// `POST /{tenant}/oauth2/v2.0/token`
///
/// The scenario's answer precedes all checks of the request. The request is logged before the delay, so that the log
/// has it even when the caller gives up.
pub(crate) async fn issue(
    State(simulator): State<Simulator>,
    Path(tenant): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    form: Result<Form<TokenRequest>, FormRejection>,
) -> Response {
    let now = simulator.now();
    let request = form.ok().map(|Form(request)| request);
    let (mut response, behaviour) = {
        let mut state = simulator.state();
        let behaviour = state.next_token_behaviour(&tenant);
        let url = wire::origin(&headers).map(|origin| origin + uri.path());
        let context = RequestContext { tenant: &tenant, url, now };
        let response = scripted(behaviour.answer, &mut state, &context, request.as_ref())
            .unwrap_or_else(|error| error.response(now));
        let response = wire::override_response(response, &behaviour);
        state.log.record(Endpoint::Token, &headers, response.status(), |entry| {
            entry.grant = request.as_ref().map(grants::name);
            entry.credential = request.as_ref().map(|request| client::Credential::of(request).as_str());
            entry.tenant = Some(tenant);
        });
        (response, behaviour)
    };
    wire::forbid_caching(&mut response, now);
    wire::finish(response, &behaviour).await
}

/// The response that the scenario selects, before its overrides.
fn scripted(
    answer: TokenAnswer,
    state: &mut SimulatorState,
    context: &RequestContext<'_>,
    request: Option<&TokenRequest>,
) -> Result<Response, EntraError> {
    const DAY: Duration = Duration::from_hours(24);
    let &RequestContext { tenant, now, .. } = context;
    let client_id = &state.scenario.client_id;
    Err(match answer {
        TokenAnswer::Ok => {
            return grants::issue(state, context, request.ok_or_else(EntraError::malformed)?);
        }
        TokenAnswer::Malformed => {
            let body = r#"{"token_type":"Bearer","scope":"https:"#;
            return Ok(wire::text(StatusCode::OK, JSON_UTF8, body));
        }
        TokenAnswer::RefreshTokenExpired => {
            EntraError::expired_refresh_token(before(now, 91 * DAY), 90 * DAY)
        }
        TokenAnswer::ConsentRevoked => EntraError::consent_revoked(client_id),
        TokenAnswer::BadClientSecret => EntraError::bad_client_secret(),
        TokenAnswer::MfaRequired => EntraError::mfa_required(),
        TokenAnswer::SecretExpired => EntraError::expired_client_secret(client_id),
        TokenAnswer::UnknownApplication => EntraError::unknown_application(client_id, tenant),
        TokenAnswer::RefreshTokenRevoked => EntraError::revoked_refresh_token(before(now, DAY), now),
        TokenAnswer::MfaExpired => EntraError::mfa_expired(),
        TokenAnswer::ConditionalAccess => EntraError::conditional_access(),
        TokenAnswer::ConsentMissingPrincipal => EntraError::no_service_principal(tenant),
        TokenAnswer::AssertionRefused => EntraError::bad_assertion("The key was not found."),
        TokenAnswer::WrongTenant => EntraError::unknown_tenant(tenant),
        TokenAnswer::InvalidScope => {
            EntraError::invalid_scope(request.map_or("", |request| request.scope.as_str()))
        }
        TokenAnswer::Throttled => EntraError::throttled(),
        TokenAnswer::ServerError => EntraError::transient(),
    })
}
