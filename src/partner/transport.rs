//! Maps a request without a complete response to a [`FetchError`].

use std::error::Error;
use std::io;

use crate::domain::failure::FailureReason;
use crate::domain::status::Endpoint;

use super::error::FetchError;

/// The error for a failed request. Its text leaves out the URL, which may hold a tenant.
pub(super) fn transport_error(endpoint: Endpoint, error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    let (service, causes_text) = (service(endpoint), chain(&error));
    let (reason, text) = if error.is_timeout() {
        (FailureReason::Timeout, format!("{service} did not answer in time"))
    } else if failed_to_decompress(&error) {
        (FailureReason::Payload, format!("the response from {service} cannot be decompressed"))
    } else {
        let is_tls = causes(&error).any(<dyn Error>::is::<rustls::Error>);
        let reason = if is_tls { FailureReason::Tls } else { FailureReason::Network };
        (reason, format!("the request to {service} failed"))
    };
    FetchError::new(reason, format!("{text}: {causes_text}"))
}

/// What messages call the service behind an endpoint.
pub(super) fn service(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Token => "the sign-in service",
        Endpoint::Usage => "the API",
    }
}

/// An error and its causes on one line, without repetitions.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in causes(error) {
        let part = cause.to_string();
        if parts.last().is_none_or(|last| !last.ends_with(&part)) {
            parts.push(part);
        }
    }
    parts.join(": ")
}

/// Whether a complete body could not be decompressed. A lost connection is a decoding error as well, but has an
/// error of the HTTP library, not an [`io::Error`], as its first cause.
fn failed_to_decompress(error: &reqwest::Error) -> bool {
    let first_cause = causes(error).find(|cause| !cause.is::<reqwest::Error>());
    error.is_decode() && first_cause.is_some_and(<dyn Error>::is::<io::Error>)
}

/// The error itself and its causes. The cause of an [`io::Error`] is not its `source`, and is read with `get_ref`.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
        Some(error)
    })
}
