//! An HTTP response whose body has been read.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

/// A response of the API or of the sign-in service. It has no `Debug`, because the body may hold tokens.
pub(super) struct HttpResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The whole body if the status is a success, otherwise the part that arrived in time.
    pub(super) body: Vec<u8>,
    pub(super) retry_after: Option<Duration>,
}

impl HttpResponse {
    /// The body without the UTF-8 byte order mark with which Partner Center begins successful responses.
    pub(super) fn json(&self) -> &[u8] {
        self.body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.body)
    }
}
