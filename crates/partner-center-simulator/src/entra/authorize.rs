//! Signing in with a browser: the page, the way back to the application, and the codes it takes there.
//!
//! It issues no token.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    extract::{Form, Path, Query, State as Shared, rejection::FormRejection},
    http::{HeaderMap, StatusCode, Uri, header},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::{client, device::Choice, grants::Scope, not_to_be_kept, problem::Problem};
use crate::{Simulator, log::Endpoint, scenario::AuthorizeAnswer, state::State, wire};

/// How long a code is good.
const LIFETIME: Duration = Duration::from_mins(10);

/// The codes that were given out, those that were redeemed among them.
#[derive(Default)]
pub(crate) struct Codes(Vec<Code>);

struct Code {
    text: String,
    tenant: String,
    client_id: String,
    redirect_uri: String,
    challenge: String,
    scope: Scope,
    issued: Instant,
    redeemed: bool,
}

impl Codes {
    /// What the person agreed to who brought the code, if it is redeemed by who asked for it.
    pub(super) fn redeem(&mut self, tenant: &str, request: &super::Request) -> Result<Scope, Problem> {
        let found = self.0.iter_mut().find(|code| {
            code.text == request.code && code.tenant == tenant && code.client_id == request.client_id
        });
        let Some(code) = found else {
            let text = "The provided value for the 'code' parameter is not valid.";
            return Err(Problem::invalid_grant(70_000, text));
        };
        if code.redeemed {
            let text = "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use \
                        an existing refresh token.";
            return Err(Problem::invalid_grant(54_005, text));
        }
        if code.issued.elapsed() >= LIFETIME {
            let text = "The provided authorization code or refresh token has expired due to inactivity. Send a new \
                        interactive authorization request for this user and resource.";
            return Err(Problem::invalid_grant(70_008, text));
        }
        if code.redirect_uri != request.redirect_uri {
            let text = format!(
                "The reply address '{}' does not match the reply address '{}' provided when requesting \
                 Authorization code.",
                request.redirect_uri, code.redirect_uri
            );
            return Err(Problem::invalid_grant(500_112, text));
        }
        if !proves(&request.code_verifier, &code.challenge) {
            let text =
                "The Code_Verifier does not match the code_challenge supplied in the authorization request.";
            return Err(Problem::invalid_grant(501_481, text));
        }
        code.redeemed = true;
        Ok(code.scope.clone())
    }
}

fn proves(verifier: &str, challenge: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&verifier.len())
        && verifier.bytes().all(unreserved)
        && URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) == challenge
}

/// What an application sends a browser with. Other parameters are ignored, and an absent one counts as empty.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Request {
    client_id: String,
    response_type: String,
    response_mode: String,
    redirect_uri: String,
    scope: String,
    state: Option<String>,
    code_challenge: String,
    code_challenge_method: String,
}

/// What a person decides on the page.
#[derive(Deserialize)]
pub(crate) struct Decision {
    decision: Choice,
}

/// `GET /{tenant}/oauth2/v2.0/authorize`
pub(crate) async fn authorize(
    simulator: Shared<Simulator>,
    tenant: Path<String>,
    headers: HeaderMap,
    request: Query<Request>,
) -> Response {
    respond(&simulator, &tenant, &headers, &request, None)
}

/// `POST /{tenant}/oauth2/v2.0/authorize`, by the buttons of the page.
pub(crate) async fn decide(
    simulator: Shared<Simulator>,
    tenant: Path<String>,
    headers: HeaderMap,
    request: Query<Request>,
    form: Result<Form<Decision>, FormRejection>,
) -> Response {
    respond(&simulator, &tenant, &headers, &request, form.ok().map(|Form(form)| form.decision))
}

fn respond(
    simulator: &Simulator,
    tenant: &str,
    headers: &HeaderMap,
    request: &Request,
    choice: Option<Choice>,
) -> Response {
    let mut state = simulator.state();
    let mut response = answer(&mut state, tenant, request, choice);
    state.log.record(Endpoint::Authorize, headers, response.status(), |entry| {
        entry.tenant = Some(tenant.to_owned());
    });
    not_to_be_kept(&mut response, simulator.now());
    response
}

fn answer(state: &mut State, tenant: &str, request: &Request, choice: Option<Choice>) -> Response {
    let known = client::known(&state.scenario.client_id, tenant, &request.client_id).is_ok();
    if !known || !is_loopback(&request.redirect_uri) {
        // Whoever is not known is not sent a browser.
        let what = if known { "redirect_uri is no loopback address" } else { "client_id is unknown" };
        return wire::page(StatusCode::BAD_REQUEST, "Sorry", &format!("<p>The {what}.</p>"));
    }
    let scope = match check(request) {
        Ok(scope) => scope,
        Err((error, text)) => return back(request, &[("error", error), ("error_description", text)]),
    };
    let decision = match (choice, state.scenario.authorize_of(tenant).answer) {
        (Some(choice), AuthorizeAnswer::Page) => choice,
        (_, AuthorizeAnswer::Approve) => Choice::Approve,
        (_, AuthorizeAnswer::Decline) => Choice::Decline,
        (None, AuthorizeAnswer::Page) => return page(),
    };
    if decision == Choice::Decline {
        let text = "AADSTS65004: User declined to consent to access the app.";
        return back(
            request,
            &[("error", "access_denied"), ("error_subcode", "cancel"), ("error_description", text)],
        );
    }
    let code = format!("simulated-authorization-code-{}", Uuid::new_v4().simple());
    state.codes.0.push(Code {
        text: code.clone(),
        tenant: tenant.to_owned(),
        client_id: request.client_id.clone(),
        redirect_uri: request.redirect_uri.clone(),
        challenge: request.code_challenge.clone(),
        scope,
        issued: Instant::now(),
        redeemed: false,
    });
    back(request, &[("code", &code), ("session_state", &Uuid::new_v4().to_string())])
}

/// What is wrong with a request of an application that is known.
fn check(request: &Request) -> Result<Scope, (&'static str, &'static str)> {
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
    Scope::parse(&request.scope).map_err(|_| ("invalid_scope", wrong))
}

/// Whether an address can only be of a program on the machine of the person who signs in.
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

/// Sends the browser back to the application.
fn back(request: &Request, parameters: &[(&str, &str)]) -> Response {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    if let Some(state) = &request.state {
        query.append_pair("state", state);
    }
    let address = &request.redirect_uri;
    let mark = if address.contains('?') { '&' } else { '?' };
    let mut response = wire::empty(StatusCode::FOUND);
    wire::set(&mut response, header::LOCATION, &format!("{address}{mark}{}", query.finish()));
    response
}
