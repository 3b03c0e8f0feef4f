//! The token endpoint: issues tokens, or responds with the error that the scenario selects.

use std::time::Duration;

use axum::extract::{Form, Path, State, rejection::FormRejection};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;

use super::error::{EntraError, before};
use super::request::{RequestContext, TokenRequest};
use super::{client, grants};
use crate::log::Endpoint;
use crate::scenario::TokenAnswer;
use crate::simulator::Simulator;
use crate::state::SimulatorState;
use crate::wire::{self, JSON_UTF8};

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
    let (tenant, client_id) = (context.tenant.to_owned(), state.scenario.client_id.clone());
    let now = context.now;
    Err(match answer {
        TokenAnswer::Ok => {
            return grants::issue(state, context, request.ok_or(EntraError::Malformed)?);
        }
        TokenAnswer::Malformed => {
            let body = r#"{"token_type":"Bearer","scope":"https:"#;
            return Ok(wire::text(StatusCode::OK, JSON_UTF8, body));
        }
        TokenAnswer::RefreshTokenExpired => {
            EntraError::ExpiredRefreshToken { issued: before(now, 91 * DAY), lifetime: 90 * DAY }
        }
        TokenAnswer::ConsentRevoked => EntraError::ConsentRevoked(client_id),
        TokenAnswer::BadClientSecret => EntraError::BadClientSecret,
        TokenAnswer::MfaRequired => EntraError::MfaRequired,
        TokenAnswer::SecretExpired => EntraError::ExpiredClientSecret(client_id),
        TokenAnswer::UnknownApplication => EntraError::UnknownApplication { client_id, tenant },
        TokenAnswer::RefreshTokenRevoked => EntraError::RevokedRefreshToken { issued: before(now, DAY), now },
        TokenAnswer::MfaExpired => EntraError::MfaExpired,
        TokenAnswer::ConditionalAccess => EntraError::ConditionalAccess,
        TokenAnswer::ConsentMissingPrincipal => EntraError::NoServicePrincipal(tenant),
        TokenAnswer::AssertionRefused => EntraError::BadAssertion("The key was not found.".to_owned()),
        TokenAnswer::WrongTenant => EntraError::UnknownTenant(tenant),
        TokenAnswer::InvalidScope => {
            EntraError::InvalidScope(request.map(|request| request.scope.clone()).unwrap_or_default())
        }
        TokenAnswer::Throttled => EntraError::Throttled,
        TokenAnswer::ServerError => EntraError::Transient,
    })
}
