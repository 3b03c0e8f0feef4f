//! The v2.0 endpoints of Entra ID: where people sign in, and where an application gets its tokens.
//!
//! It knows nothing of Partner Center, and it leaves it to the state to remember tokens.
//!
//! | file | owns |
//! | --- | --- |
//! | `grants` | what tokens are issued for, and the answer that has them |
//! | `client` | the application and its credential |
//! | `device` | signing in with a device code |
//! | `authorize` | signing in with a browser |
//! | `problem` | the errors, as Entra ID words them |

pub(super) mod authorize;
mod client;
pub(super) mod device;
mod grants;
mod problem;

use std::time::Duration;

use axum::{
    extract::{Form, Path, State as Shared, rejection::FormRejection},
    http::{HeaderMap, StatusCode, Uri, header},
    response::Response,
};
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    Simulator,
    log::Endpoint,
    scenario::TokenAnswer,
    state::State,
    wire::{self, JSON_UTF8},
};
use problem::{Problem, dated};

/// What a client asks for. Other fields are ignored, and an absent one counts as empty.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Request {
    grant_type: String,
    client_id: String,
    client_secret: String,
    client_assertion_type: String,
    client_assertion: String,
    refresh_token: String,
    scope: String,
    device_code: String,
    code: String,
    redirect_uri: String,
    code_verifier: String,
}

/// Where a request went, and when.
struct Addressed<'a> {
    tenant: &'a str,
    origin: Option<String>,
    path: &'a str,
    now: Timestamp,
}

impl Addressed<'_> {
    /// The endpoint's address as the client knows it.
    fn url(&self) -> Option<String> {
        Some([self.origin.as_deref()?, self.path].concat())
    }
}

/// `POST /{tenant}/oauth2/v2.0/token`
///
/// The scenario's answer comes before any check of the request. The request is logged before the
/// delay, so that one whose caller gives up is not forgotten.
pub(super) async fn token(
    Shared(simulator): Shared<Simulator>,
    Path(tenant): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    form: Result<Form<Request>, FormRejection>,
) -> Response {
    let now = simulator.now();
    let request = form.ok().map(|Form(request)| request);
    let (mut response, behaviour) = {
        let mut state = simulator.state();
        let behaviour = state.next_token_behaviour(&tenant);
        let addressed = Addressed { tenant: &tenant, origin: wire::origin(&headers), path: uri.path(), now };
        let response = answer(behaviour.answer, &mut state, &addressed, request.as_ref())
            .unwrap_or_else(|problem| problem.response(now));
        let response = wire::dress(response, &behaviour);
        state.log.record(Endpoint::Token, &headers, response.status(), |entry| {
            entry.grant = request.as_ref().map(grants::name);
            entry.credential = request.as_ref().map(client::credential);
            entry.tenant = Some(tenant);
        });
        (response, behaviour)
    };
    not_to_be_kept(&mut response, now);
    wire::finish(response, &behaviour).await
}

/// The headers of every answer that nobody may keep.
fn not_to_be_kept(response: &mut Response, now: Timestamp) {
    wire::set(response, header::CACHE_CONTROL, "no-store");
    wire::set(response, header::PRAGMA, "no-cache");
    wire::set(response, header::DATE, &wire::http_date(now));
}

fn answer(
    answer: TokenAnswer,
    state: &mut State,
    addressed: &Addressed<'_>,
    request: Option<&Request>,
) -> Result<Response, Problem> {
    let &Addressed { tenant, now, .. } = addressed;
    let client_id = &state.scenario.client_id;
    Err(match answer {
        TokenAnswer::Ok => {
            return grants::answer(state, addressed, request.ok_or_else(Problem::malformed)?);
        }
        TokenAnswer::Malformed => {
            let body = r#"{"token_type":"Bearer","scope":"https:"#;
            return Ok(wire::text(StatusCode::OK, JSON_UTF8, body));
        }
        TokenAnswer::RefreshTokenExpired => {
            let day = Duration::from_hours(24);
            Problem::expired_refresh_token(dated(now, 91 * day), 90 * day)
        }
        TokenAnswer::ConsentRevoked => Problem::consent_revoked(client_id),
        TokenAnswer::BadClientSecret => Problem::bad_client_secret(),
        TokenAnswer::MfaRequired => Problem::mfa_required(),
        TokenAnswer::SecretExpired => Problem::expired_client_secret(client_id),
        TokenAnswer::UnknownApplication => Problem::unknown_application(client_id, tenant),
        TokenAnswer::RefreshTokenRevoked => {
            Problem::revoked_refresh_token(dated(now, Duration::from_hours(24)), now)
        }
        TokenAnswer::MfaExpired => Problem::mfa_expired(),
        TokenAnswer::ConditionalAccess => Problem::conditional_access(),
        TokenAnswer::ConsentMissingPrincipal => Problem::no_service_principal(tenant),
        TokenAnswer::AssertionRefused => Problem::bad_assertion("The key was not found."),
        TokenAnswer::WrongTenant => Problem::unknown_tenant(tenant),
        TokenAnswer::InvalidScope => {
            Problem::invalid_scope(request.map_or("", |request| request.scope.as_str()))
        }
        TokenAnswer::Throttled => Problem::throttled(),
        TokenAnswer::ServerError => Problem::transient(),
    })
}

#[cfg(test)]
mod tests;
