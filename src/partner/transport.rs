//! Maps a request without a complete response to a [`FetchError`].

use std::error::Error;
use std::io;

use jiff::Timestamp;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use crate::domain::failure::FailureReason;
use crate::domain::status::Endpoint;

use super::error::FetchError;
use super::redaction::Redactor;

const PROXY: &str = "check proxy_url, or HTTPS_PROXY and NO_PROXY: the proxy cannot be reached, wants a password or refuses to connect";
const EXPIRED: &str = "check this machine's clock, and have the certificate renewed; the CA of a proxy that inspects TLS belongs in ca_file";
const NOT_VALID_YET: &str =
    "check this machine's clock; the CA of a proxy that inspects TLS belongs in ca_file";
const UNTRUSTED: &str = "put the CA of a private server or of a proxy that inspects TLS in ca_file; on a system without CA certificates, install the package ca-certificates or set SSL_CERT_FILE";
const OTHER_NAME: &str = "check cloud, the addresses in the configuration and the name resolution; the CA of a proxy that inspects TLS belongs in ca_file";
const NO_TLS: &str = "check the addresses in the configuration and proxies: the port is not one for https";

/// The error for a failed request. Its text has host and port, and leaves out the path, which may hold a tenant.
pub(super) fn transport_error(endpoint: Endpoint, error: reqwest::Error) -> FetchError {
    let place =
        error.url().and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)));
    let error = error.without_url();
    let (service, causes_text) = (service(endpoint), chain(&error));
    let tls = causes(&error).find_map(|cause| cause.downcast_ref::<rustls::Error>());
    // The HTTP library has no type for it.
    let is_tunnel = causes_text.contains("tunnel error");
    let (reason, text) = if error.is_timeout() {
        (FailureReason::Timeout, format!("{service} did not answer in time"))
    } else if failed_to_decompress(&error) {
        (FailureReason::Payload, format!("the response from {service} cannot be decompressed"))
    } else {
        let reason = if tls.is_some() { FailureReason::Tls } else { FailureReason::Network };
        (reason, format!("the request to {service} failed"))
    };
    let place = place.map(|place| if is_tunnel { format!("{place} through a proxy") } else { place });
    let (flaw, remedy) = match tls.and_then(flaw) {
        Some((flaw, remedy)) => (Some(flaw), Some(remedy)),
        None => (None, (is_tunnel && reason == FailureReason::Network).then_some(PROXY)),
    };
    let parts = [Some(text), place, flaw, Some(causes_text)].into_iter().flatten();
    let text = parts.collect::<Vec<_>>().join(": ");
    match (reason, endpoint) {
        (FailureReason::Payload, Endpoint::Token) => FetchError::sign_in_payload(text),
        _ => FetchError::new(reason, text).with_remedy(remedy),
    }
}

/// What is wrong with the TLS of a server, and what to do about it.
fn flaw(error: &rustls::Error) -> Option<(String, &'static str)> {
    let certificate = match error {
        rustls::Error::InvalidCertificate(certificate) => certificate,
        rustls::Error::InvalidMessage(_) => {
            return Some(("the server does not speak TLS".to_owned(), NO_TLS));
        }
        _ => return None,
    };
    let (what, remedy) = match certificate {
        CertificateError::Expired => ("has expired".to_owned(), EXPIRED),
        CertificateError::ExpiredContext { not_after, .. } => {
            (format!("expired at {}", time(*not_after)), EXPIRED)
        }
        CertificateError::NotValidYet => ("is not valid yet".to_owned(), NOT_VALID_YET),
        CertificateError::NotValidYetContext { not_before, .. } => {
            (format!("is not valid before {}", time(*not_before)), NOT_VALID_YET)
        }
        CertificateError::NotValidForName => ("is for another host".to_owned(), OTHER_NAME),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented.iter().map(|name| host_name(name)).collect();
            let names = Redactor::default().one_line(&names.join(", "));
            let what =
                if names.is_empty() { "has no name of a host".to_owned() } else { format!("is for {names}") };
            (what, OTHER_NAME)
        }
        CertificateError::UnknownIssuer => {
            ("is self-signed, or its issuer is not trusted".to_owned(), UNTRUSTED)
        }
        // The error of the certificate library, which is not part of the public types.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            ("is self-signed".to_owned(), UNTRUSTED)
        }
        CertificateError::Revoked => ("is revoked".to_owned(), OTHER_NAME),
        _ => return None,
    };
    Some((format!("the server's certificate {what}"), remedy))
}

/// The name in the TLS library's notation `DnsName("…")`.
fn host_name(presented: &str) -> &str {
    presented.strip_prefix("DnsName(\"").and_then(|name| name.strip_suffix("\")")).unwrap_or(presented)
}

fn time(time: UnixTime) -> Timestamp {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|second| Timestamp::from_second(second).ok())
        .unwrap_or(Timestamp::MAX)
}

/// What messages call the service behind an endpoint.
pub(super) fn service(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Token => "the sign-in service",
        _ => "the API",
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
