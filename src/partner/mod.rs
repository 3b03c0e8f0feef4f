//! The client of Entra ID and the Partner Center API.
//!
//! It fetches once and reports what happened; it knows no timers, metrics or pages. The modules stand in order of
//! dependency: a module names only modules above it.

// Text, errors and remedies.
mod blocking;
mod redaction;
mod response;
mod json_object;
mod oauth;
pub mod hints;
pub mod remedy;
mod error;
mod challenge;
mod refusal;

// Requests.
mod retry_after;
mod server_certificate;
mod transport;
mod trust_anchors;
mod http;

// Sign-in: the refresh token, and the access tokens that it brings.
mod claims;
mod access_token;
mod client_authentication;
mod token_endpoint;
mod stored_token;
mod token_record;
mod store;
mod token_choice;
mod refresh_tokens;
mod renewal;
mod access_token_cache;
mod sign_in;

// The collections.
mod json_members;
mod page;
mod fields;
mod wire;
mod by_product;
mod commercial;
mod known_server;
mod received;
mod paging;
mod turn;
mod source;
mod partner_center;
mod collections;

pub use blocking::off_workers;
pub use claims::Claims;
pub use error::FetchError;
pub use http::ClientError;
pub use partner_center::PartnerCenter;
pub use received::Received;
pub use server_certificate::ServerCertificate;
pub use sign_in::{BrowserSignIn, DeviceCode, Progress, SignIn, SignedIn, sign_in_failed};
pub use source::Source;
pub use store::{StoreError, TokenStore};
pub use token_record::Flaw;
pub use trust_anchors::{Tls, TrustAnchors, TrustAnchorsError};
pub use turn::{Turn, Turns};

// For tests and fuzz targets.
#[cfg(any(test, fuzzing))]
pub mod invariants;
#[cfg(test)]
mod tests;
