//! The latest requests, for tests and for people who wonder what their exporter sends.
//!
//! It keeps a few harmless headers and never a body, a query or a word that the caller chose in them, so no
//! secret and no token can be in it.

use std::collections::VecDeque;

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Serialize;

const KEPT: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Endpoint {
    Token,
    DeviceCode,
    Authorize,
    Usage,
}

#[derive(Default, Serialize)]
pub(super) struct RequestLog {
    totals: Totals,
    requests: VecDeque<Entry>,
}

#[derive(Default, Serialize)]
struct Totals {
    token: u64,
    usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    device_code: u64,
    #[serde(skip_serializing_if = "is_zero")]
    authorize: u64,
}

#[derive(Serialize)]
pub(super) struct Entry {
    endpoint: Endpoint,
    pub(super) tenant: Option<String>,
    status: u16,
    request_id: Option<String>,
    correlation_id: Option<String>,
    continuation: Option<String>,
    locale: Option<String>,
    accept: Option<String>,
    user_agent: Option<String>,
    /// What a token was asked for with, by its name here.
    pub(super) grant: Option<&'static str>,
    /// How the application said who it is.
    pub(super) credential: Option<&'static str>,
    /// What became of the access token.
    pub(super) authorization: Option<&'static str>,
    /// The sign-in that it came from.
    pub(super) sign_in: Option<u64>,
}

impl RequestLog {
    /// Notes a request; `complete` adds what its headers do not say.
    pub(super) fn record(
        &mut self,
        endpoint: Endpoint,
        request: &HeaderMap,
        status: StatusCode,
        complete: impl FnOnce(&mut Entry),
    ) {
        match endpoint {
            Endpoint::Token => self.totals.token += 1,
            Endpoint::Usage => self.totals.usage += 1,
            Endpoint::DeviceCode => self.totals.device_code += 1,
            Endpoint::Authorize => self.totals.authorize += 1,
        }
        if self.requests.len() == KEPT {
            self.requests.pop_front();
        }
        let mut entry = Entry {
            endpoint,
            tenant: None,
            status: status.as_u16(),
            request_id: text(request, &HeaderName::from_static("ms-requestid")),
            correlation_id: text(request, &HeaderName::from_static("ms-correlationid")),
            continuation: text(request, &HeaderName::from_static("ms-continuationtoken")),
            locale: text(request, &HeaderName::from_static("x-locale")),
            accept: text(request, &header::ACCEPT),
            user_agent: text(request, &header::USER_AGENT),
            grant: None,
            credential: None,
            authorization: None,
            sign_in: None,
        };
        complete(&mut entry);
        self.requests.push_back(entry);
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}
