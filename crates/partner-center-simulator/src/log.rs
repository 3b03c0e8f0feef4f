//! The latest requests, for tests and for people who want to see what their exporter sends.
//!
//! It keeps a few harmless headers, nothing from bodies, and only the queries of collections, which contain no secret, so
//! it never contains a secret or a token.

use std::collections::VecDeque;

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Serialize;

/// How many requests are kept.
const CAPACITY: usize = 1000;

/// The endpoints whose requests are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Endpoint {
    Token,
    DeviceCode,
    Authorize,
    Usage,
    Deployment,
    CommercialUsage,
    CommercialDeployment,
}

/// The latest requests and the number of all requests.
#[derive(Default, Serialize)]
pub(crate) struct RequestLog {
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
    #[serde(skip_serializing_if = "is_zero")]
    deployment: u64,
    #[serde(skip_serializing_if = "is_zero")]
    commercial_usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    commercial_deployment: u64,
}

/// One request, with the headers that are kept and what the handler adds.
#[derive(Serialize)]
pub(crate) struct Entry {
    endpoint: Endpoint,
    pub(crate) tenant: Option<String>,
    /// The path of a request for a collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// The query of a request for a collection, as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) query: Option<String>,
    status: u16,
    request_id: Option<String>,
    correlation_id: Option<String>,
    continuation: Option<String>,
    locale: Option<String>,
    accept: Option<String>,
    user_agent: Option<String>,
    /// The grant of a token request, in the log's own words.
    pub(crate) grant: Option<&'static str>,
    /// The kind of the application's credential.
    pub(crate) credential: Option<&'static str>,
    /// The verdict on the access token.
    pub(crate) authorization: Option<&'static str>,
    /// The number of the token response that contained the access token.
    pub(crate) sign_in: Option<u64>,
}

impl RequestLog {
    /// Records a request; `complete` adds what its headers do not contain.
    pub(crate) fn record(
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
            Endpoint::Deployment => self.totals.deployment += 1,
            Endpoint::CommercialUsage => self.totals.commercial_usage += 1,
            Endpoint::CommercialDeployment => self.totals.commercial_deployment += 1,
        }
        if self.requests.len() == CAPACITY {
            self.requests.pop_front();
        }
        let text = |name: HeaderName| {
            request.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let mut entry = Entry {
            endpoint,
            tenant: None,
            path: None,
            query: None,
            status: status.as_u16(),
            request_id: text(HeaderName::from_static("ms-requestid")),
            correlation_id: text(HeaderName::from_static("ms-correlationid")),
            continuation: text(HeaderName::from_static("ms-continuationtoken")),
            locale: text(HeaderName::from_static("x-locale")),
            accept: text(header::ACCEPT),
            user_agent: text(header::USER_AGENT),
            grant: None,
            credential: None,
            authorization: None,
            sign_in: None,
        };
        complete(&mut entry);
        self.requests.push_back(entry);
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde sets the signature")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
