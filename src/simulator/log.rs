//! The latest requests, for tests and for people who wonder what their exporter sends.
//!
//! It keeps a few harmless headers and never a body, so no secret and no token can be in it.

use std::collections::VecDeque;

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Serialize;

const KEPT: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Endpoint {
    Token,
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
}

#[derive(Serialize)]
struct Entry {
    endpoint: Endpoint,
    tenant: Option<String>,
    status: u16,
    request_id: Option<String>,
    correlation_id: Option<String>,
    locale: Option<String>,
    accept: Option<String>,
    user_agent: Option<String>,
    authorization: Option<&'static str>,
}

impl RequestLog {
    pub(super) fn record(
        &mut self,
        endpoint: Endpoint,
        tenant: Option<&str>,
        authorization: Option<&'static str>,
        request: &HeaderMap,
        status: StatusCode,
    ) {
        match endpoint {
            Endpoint::Token => self.totals.token += 1,
            Endpoint::Usage => self.totals.usage += 1,
        }
        if self.requests.len() == KEPT {
            self.requests.pop_front();
        }
        self.requests.push_back(Entry {
            endpoint,
            tenant: tenant.map(str::to_owned),
            status: status.as_u16(),
            request_id: text(request, &HeaderName::from_static("ms-requestid")),
            correlation_id: text(request, &HeaderName::from_static("ms-correlationid")),
            locale: text(request, &HeaderName::from_static("x-locale")),
            accept: text(request, &header::ACCEPT),
            user_agent: text(request, &header::USER_AGENT),
            authorization,
        });
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}
