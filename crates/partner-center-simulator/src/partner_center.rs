//! The licence usage endpoint of the Partner Center API.
//!
//! It does not know how tokens are issued, only whether the state accepts one.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use http_body::Frame;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use crate::log::Endpoint;
use crate::report::{self, ReportPage};
use crate::rows::ReportRow;
use crate::scenario::{Behaviour, UsageAnswer};
use crate::simulator::Simulator;
use crate::state::{Authorization, SimulatorState};
use crate::tokens::Caller;
use crate::wire::{self, BYTE_ORDER_MARK, JSON_UTF8, RETRY_AFTER};

/// `GET /v1/analytics/licenses/usage`
///
/// The access token is checked first, because only a valid one tells which tenant's behaviour applies. The request
/// is logged before the delay, so that the log has it even when the caller gives up.
pub(crate) async fn usage(State(simulator): State<Simulator>, request: HeaderMap) -> Response {
    let now = simulator.now();
    let mut behaviour = Behaviour::default();
    let mut response = {
        let mut state = simulator.state();
        let origin = wire::origin(&request);
        let authorization = state.authorize(request.get(header::AUTHORIZATION), origin.as_deref());
        let response = match &authorization {
            Authorization::Valid(Caller { tenant, mfa, .. }) => {
                behaviour = state.next_usage_behaviour(tenant);
                let response = scripted(&behaviour, &state, tenant, &request, now);
                let mut response = wire::override_response(response, &behaviour);
                report_mfa(&mut response, &request, *mfa && behaviour.answer != UsageAnswer::MfaRequired);
                response
            }
            Authorization::NoSecondFactor(_) => {
                let mut response = mfa_required();
                report_mfa(&mut response, &request, false);
                response
            }
            Authorization::WrongAudience(caller) => wrong_audience(&caller.audience),
            _ => access_denied(),
        };
        state.log.record(Endpoint::Usage, &request, response.status(), |entry| {
            let caller = authorization.caller();
            entry.tenant = caller.map(|caller| caller.tenant.clone());
            entry.sign_in = caller.map(|caller| caller.response);
            entry.authorization = Some(authorization.as_str());
        });
        response
    };
    set_common_headers(&mut response, &request, now);
    wire::finish(response, &behaviour).await
}

/// Reports whether the sign-in had a second factor, if the caller requests it by the header `ValidateMfa`.
fn report_mfa(response: &mut Response, request: &HeaderMap, compliant: bool) {
    if request.get("validatemfa").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true")) {
        wire::set(response, HeaderName::from_static("ismfacompliant"), &compliant.to_string());
    }
}

/// Responds to any other path or method.
pub(crate) async fn not_found(State(simulator): State<Simulator>, request: HeaderMap) -> Response {
    let mut response = api_error(StatusCode::NOT_FOUND, 1000, "Not found");
    set_common_headers(&mut response, &request, simulator.now());
    response
}

/// The response that the behaviour selects, before its overrides.
fn scripted(
    behaviour: &Behaviour<UsageAnswer>,
    state: &SimulatorState,
    tenant: &str,
    request: &HeaderMap,
    now: Timestamp,
) -> Response {
    let rows = report::rows(state.scenario.for_tenant(tenant).rows, now);
    let Some(page) = page(&rows, state.scenario.for_tenant(tenant).page_size, request) else {
        return api_error(StatusCode::BAD_REQUEST, 3000, "Invalid property");
    };
    let with_mark = |page| [BYTE_ORDER_MARK, &report::json(page)].concat();
    let ok = |body: String| wire::text(StatusCode::OK, JSON_UTF8, body);
    match behaviour.answer {
        UsageAnswer::Ok => ok(with_mark(page)),
        UsageAnswer::NoBom => ok(report::json(page)),
        UsageAnswer::Empty => ok(with_mark(ReportPage::default())),
        UsageAnswer::Malformed => ok([BYTE_ORDER_MARK, r#"{"totalCount":1,"items":[{"prorated"#].concat()),
        UsageAnswer::Truncated => truncated(with_mark(page)),
        UsageAnswer::NoContent => StatusCode::NO_CONTENT.into_response(),
        UsageAnswer::Html => wire::text(
            StatusCode::OK,
            "text/html; charset=utf-8",
            "<!DOCTYPE html>\n<html><head><title>Proxy</title></head><body>Please sign in.</body></html>\n",
        ),
        UsageAnswer::Throttled => {
            let seconds = behaviour.retry_after.unwrap_or(RETRY_AFTER);
            let body = format!(
                r#"{{ "statusCode": 429, "message": "Rate limit is exceeded. Try again in {seconds} seconds." }}"#
            );
            wire::text(StatusCode::TOO_MANY_REQUESTS, "application/json", body)
        }
        UsageAnswer::ServerError => {
            api_error(StatusCode::INTERNAL_SERVER_ERROR, 800_003, "Unexpected service error")
        }
        UsageAnswer::Unauthorized => access_denied(),
        UsageAnswer::MfaRequired => mfa_required(),
        UsageAnswer::WrongAudience => wrong_audience("https://graph.windows.net"),
        UsageAnswer::Forbidden => api_error(
            StatusCode::FORBIDDEN,
            900_150,
            "The supplied role doesn't have the rights to perform the requested operation",
        ),
        UsageAnswer::AppOnly => api_error(
            StatusCode::FORBIDDEN,
            900_329,
            "This resource does not support application-only authentication.",
        ),
        UsageAnswer::ConditionalAccess => api_error(
            StatusCode::FORBIDDEN,
            900_309,
            "Access has been blocked by Conditional Access policies. The access policy does not allow token \
             issuance.",
        ),
        UsageAnswer::NotFound => StatusCode::NOT_FOUND.into_response(),
        UsageAnswer::Echo => {
            let sent = request.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
            api_error(
                StatusCode::BAD_REQUEST,
                800_002,
                &format!("Invalid request input: {}", sent.unwrap_or_default()),
            )
        }
    }
}

/// The page that the continuation token refers to; the token is the number of rows before that page.
fn page<'a>(rows: &'a [ReportRow], size: usize, request: &HeaderMap) -> Option<ReportPage<'a>> {
    let start = match request.get("ms-continuationtoken") {
        None => 0,
        Some(token) => token.to_str().ok()?.parse().ok()?,
    };
    let (_, rest) = rows.split_at_checked(start)?;
    let size = if size == 0 { rest.len() } else { size.min(rest.len()) };
    let next = (size < rest.len()).then_some(start + size);
    Some(ReportPage { rows: rest.split_at_checked(size)?.0, next })
}

fn access_denied() -> Response {
    unauthorized(400, "Access denied")
}

fn mfa_required() -> Response {
    unauthorized(900_421, "Multi-factor authentication is required to call this API.")
}

fn wrong_audience(audience: &str) -> Response {
    let text = format!(
        "The audience '{audience}' in the token is invalid and is no longer supported in Partner Center API."
    );
    unauthorized(900_420, &text)
}

fn unauthorized(code: u32, description: &str) -> Response {
    let mut response = api_error(StatusCode::UNAUTHORIZED, code, description);
    wire::set(&mut response, header::WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#);
    response
}

/// An error of the API itself, which unlike a report has no byte order mark.
fn api_error(status: StatusCode, code: u32, description: &str) -> Response {
    wire::json(status, &json!({"code": code, "description": description, "data": [], "source": "PartnerFD"}))
}

/// The first half of a report, announced with the length of the whole.
fn truncated(report: String) -> Response {
    let (length, mut sent) = (report.len(), Bytes::from(report));
    sent.truncate(length / 2);
    let body = TruncatedBody { rest: Some(sent), flushed: false };
    let mut response = wire::text(StatusCode::OK, JSON_UTF8, Body::new(body));
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}

/// A body that ends before the announced length.
///
/// It reports no size, because the server insists on one that matches the header. It is pending once before its end,
/// because the server would otherwise drop what it has not yet sent.
struct TruncatedBody {
    rest: Option<Bytes>,
    flushed: bool,
}

impl HttpBody for TruncatedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(bytes) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if self.flushed {
            return Poll::Ready(None);
        }
        self.flushed = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Sets the headers that every response has, successful or not.
fn set_common_headers(response: &mut Response, request: &HeaderMap, now: Timestamp) {
    for name in ["ms-correlationid", "ms-requestid"].map(HeaderName::from_static) {
        match request.get(&name) {
            Some(id) => drop(response.headers_mut().insert(name, id.clone())),
            None => wire::set(response, name, &Uuid::new_v4().to_string()),
        }
    }
    let vector: String = Uuid::new_v4().simple().to_string().chars().take(16).collect();
    wire::set(response, HeaderName::from_static("ms-cv"), &format!("{vector}.0"));
    wire::set(response, HeaderName::from_static("ms-serverid"), "101112012");
    wire::set(response, header::DATE, &wire::http_date(now));
}

#[cfg(test)]
mod tests;
