//! The endpoints of the Partner Center API, each of which returns a collection.
//!
//! It does not know how tokens are issued, only whether the state accepts one.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http_body::Frame;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use crate::commercial::{Commercial, Paths};
use crate::envelope::{self, Source};
use crate::log::Endpoint;
use crate::portfolio::Portfolio;
use crate::report::{self, Report};
use crate::rows::{Properties, Rows};
use crate::scenario::{CollectionBehaviour, TenantSettings, UsageAnswer};
use crate::simulator::Simulator;
use crate::state::{Authorization, collection};
use crate::tokens::Caller;
use crate::wire::{self, BYTE_ORDER_MARK, JSON_UTF8, RETRY_AFTER};

/// What the paths of the commercial endpoints start with in Microsoft's examples, but not in its syntax lines.
const PARTNER_V1: &str = "/partner/v1";

/// The routes of the collections.
pub(crate) fn router() -> Router<Simulator> {
    let route = |endpoint| {
        get(move |State(simulator): State<Simulator>, uri: Uri, request: HeaderMap| {
            respond(endpoint, simulator, uri, request)
        })
    };
    let mut router = Router::new()
        .route("/v1/analytics/licenses/usage", route(Endpoint::Usage))
        .route("/v1/analytics/licenses/deployment", route(Endpoint::Deployment));
    for version in ["/v1", PARTNER_V1] {
        for (kind, endpoint) in
            [("usage", Endpoint::CommercialUsage), ("deployment", Endpoint::CommercialDeployment)]
        {
            for slash in ["", "/"] {
                let path = format!("{version}/analytics/commercial/{kind}/license{slash}");
                router = router.route(&path, route(endpoint));
            }
        }
    }
    router
}

/// Responds to a request for a collection.
///
/// The access token is checked first, because only a valid one tells which tenant's behaviour applies. The request
/// is logged before the delay, so that the log has it even when the caller gives up.
async fn respond(endpoint: Endpoint, simulator: Simulator, uri: Uri, request: HeaderMap) -> Response {
    let now = simulator.now();
    let origin = wire::origin(&request);
    let (authorization, scenario, mut behaviour) = {
        let mut state = simulator.state();
        let authorization = state.authorize(request.get(header::AUTHORIZATION), origin.as_deref());
        let behaviour = match &authorization {
            Authorization::Valid(Caller { tenant, .. })
                if exists(endpoint, uri.path(), &state.scenario.for_tenant(tenant).commercial) =>
            {
                Some(state.next_collection_behaviour(endpoint, tenant))
            }
            _ => None,
        };
        (authorization, Arc::clone(&state.scenario), behaviour)
    };
    // Without the lock, because a page may have many rows.
    let mut response = match (&authorization, &behaviour) {
        (Authorization::Valid(Caller { tenant, mfa, .. }), Some(behaviour)) => {
            let content = Content {
                endpoint,
                settings: &scenario.for_tenant(tenant),
                uri: &uri,
                origin: origin.as_deref(),
                request: &request,
                now,
            };
            let mut response = wire::override_response(scripted(behaviour, &content), behaviour);
            report_mfa(&mut response, &request, *mfa && behaviour.answer != UsageAnswer::MfaRequired);
            response
        }
        (Authorization::Valid(_), None) => api_error(StatusCode::NOT_FOUND, 1000, "Not found"),
        (Authorization::NoSecondFactor(_), _) => {
            let mut response = mfa_required();
            report_mfa(&mut response, &request, false);
            response
        }
        (Authorization::WrongAudience(caller), _) => wrong_audience(&caller.audience),
        _ => access_denied(),
    };
    simulator.state().log.record(endpoint, &request, response.status(), |entry| {
        let caller = authorization.caller();
        entry.tenant = caller.map(|caller| caller.tenant.clone());
        entry.sign_in = caller.map(|caller| caller.response);
        entry.authorization = Some(authorization.as_str());
        entry.path = Some(uri.path().to_owned());
        entry.query = uri.query().map(str::to_owned);
    });
    set_common_headers(&mut response, &request, now);
    wire::finish(response, &behaviour.take().unwrap_or_default()).await
}

/// Whether a path of the endpoint exists.
fn exists(endpoint: Endpoint, path: &str, commercial: &Commercial) -> bool {
    let is_commercial = matches!(endpoint, Endpoint::CommercialUsage | Endpoint::CommercialDeployment);
    !is_commercial
        || match commercial.paths {
            Paths::Both => true,
            Paths::V1 => !path.starts_with(PARTNER_V1),
            Paths::PartnerV1 => path.starts_with(PARTNER_V1),
            Paths::None => false,
        }
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
fn scripted(behaviour: &CollectionBehaviour, content: &Content<'_>) -> Response {
    let ok = |body: String| wire::text(StatusCode::OK, JSON_UTF8, body);
    let is_empty = behaviour.answer == UsageAnswer::Empty;
    let page = |respond: &dyn Fn(String) -> Response| match content.page(is_empty) {
        Some(page) => respond(page),
        None => api_error(StatusCode::BAD_REQUEST, 3000, "Invalid property"),
    };
    let marked = |page: String| [BYTE_ORDER_MARK, &page].concat();
    match behaviour.answer {
        UsageAnswer::Ok | UsageAnswer::Empty => page(&|page| ok(marked(page))),
        UsageAnswer::NoBom => page(&ok),
        UsageAnswer::Truncated => page(&|page| truncated(marked(page))),
        UsageAnswer::Malformed => ok(marked(r#"{"totalCount":1,"items":[{"prorated"#.to_owned())),
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
            let sent = content.request.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
            api_error(
                StatusCode::BAD_REQUEST,
                800_002,
                &format!("Invalid request input: {}", sent.unwrap_or_default()),
            )
        }
    }
}

/// What determines the content of a collection.
struct Content<'a> {
    endpoint: Endpoint,
    settings: &'a TenantSettings<'a>,
    uri: &'a Uri,
    origin: Option<&'a str>,
    request: &'a HeaderMap,
    now: Timestamp,
}

impl Content<'_> {
    /// The page that is asked for, or no rows at all, unless the request is invalid.
    fn page(&self, is_empty: bool) -> Option<String> {
        let &TenantSettings { commercial, customers, page_size, .. } = self.settings;
        let rows = if is_empty { Rows::Listed(Vec::new()) } else { self.rows() };
        let report = |report: Report| {
            let rows = report.rows(&rows, &Portfolio::new(customers, self.now, None));
            let start = self.request.get("ms-continuationtoken").map_or(Some(0), |token| {
                // The number of rows before the page.
                token.to_str().ok()?.parse().ok()
            });
            report.page(&rows, start?, page_size)
        };
        let collection = match self.endpoint {
            Endpoint::Deployment => return report(report::DEPLOYMENT),
            Endpoint::CommercialUsage => envelope::USAGE.with_used(commercial.active_property.as_str()),
            Endpoint::CommercialDeployment => envelope::DEPLOYMENT,
            _ => return report(report::USAGE),
        };
        let (origin, path, now) = (self.origin, self.uri.path(), self.now);
        let source = Source { collection, rows, commercial, customers, page_size, now, origin, path };
        source.page(self.uri.query().unwrap_or_default())
    }

    /// The endpoint's own rows, or those that the scenario's `rows` stand for.
    fn rows(&self) -> Rows<Properties> {
        let own = collection(self.settings, self.endpoint).rows.clone();
        own.unwrap_or_else(|| match self.settings.rows {
            Rows::Documented => Rows::Documented,
            Rows::Portfolio => Rows::Portfolio,
            Rows::Listed(rows) if self.endpoint == Endpoint::Usage => {
                Rows::Listed(rows.iter().map(report::properties).collect())
            }
            Rows::Listed(_) => Rows::Listed(Vec::new()),
        })
    }
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
