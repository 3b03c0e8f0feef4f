//! What the endpoints of Entra ID read from their requests.

use jiff::Timestamp;
use serde::Deserialize;

/// The form of a token request; other fields are ignored, and an absent field counts as empty.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct TokenRequest {
    pub(super) grant_type: String,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) client_assertion_type: String,
    pub(super) client_assertion: String,
    pub(super) refresh_token: String,
    pub(super) scope: String,
    pub(super) device_code: String,
    pub(super) code: String,
    pub(super) redirect_uri: String,
    pub(super) code_verifier: String,
}

/// The tenant and the address that a token request was sent to, and its time.
pub(super) struct RequestContext<'a> {
    pub(super) tenant: &'a str,
    /// The address of the endpoint as the client knows it, unless the request lacks the header `Host`.
    pub(super) url: Option<String>,
    pub(super) now: Timestamp,
}

/// A person's decision on one of the sign-in pages.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Decision {
    Approve,
    Decline,
}
