//! Refuses requests that change something and that a web page of another site makes a browser send.
//!
//! Browsers say where a request comes from, in `Sec-Fetch-Site` to trustworthy addresses and in `Origin` to all others.
//! Other clients send neither header, and are not concerned.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

const TEXT: &str = "This request comes from a web page of another site, and is refused.\n";

/// Answers a cross-site request with 403, as a layer of [`axum::middleware::from_fn`]. Requests with GET, HEAD and
/// OPTIONS pass, since they must change nothing.
pub async fn refuse(request: Request, next: Next) -> Response {
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if is_safe || !is_cross_site(request.uri(), request.headers()) {
        return next.run(request).await;
    }
    tracing::debug!(path = request.uri().path(), "A cross-site request was refused");
    (StatusCode::FORBIDDEN, [(X_CONTENT_TYPE_OPTIONS, "nosniff")], TEXT).into_response()
}

/// Returns whether a browser says that a page of another site causes the request.
fn is_cross_site(uri: &Uri, headers: &HeaderMap) -> bool {
    // `same-site` is refused as well: another port of this host is another program.
    let mut sites = headers.get_all("sec-fetch-site").iter().peekable();
    if sites.peek().is_some() {
        return !sites.all(|site| site == "same-origin" || site == "none");
    }
    headers.get_all(ORIGIN).iter().any(|origin| {
        let is_own = origin.to_str().is_ok_and(|origin| is_own_origin(origin, uri, headers));
        !is_own
    })
}

/// Returns whether an origin is the address to which the request was sent.
///
/// A name is no evidence where the browser does not send `Sec-Fetch-Site`, which is over plain HTTP: a site may let its
/// own name lead to this host (DNS rebinding). So the address must be an IP address or `localhost`.
fn is_own_origin(origin: &str, uri: &Uri, headers: &HeaderMap) -> bool {
    let Some((scheme, origin)) = origin.split_once("://") else { return false };
    let target = uri.authority().map(Authority::as_str);
    let target = target.or_else(|| headers.get(HOST)?.to_str().ok());
    let default_port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
    let address = |text: &str| {
        let authority: Authority = text.parse().ok()?;
        let port = authority.port_u16().unwrap_or(default_port);
        Some((authority.host().to_ascii_lowercase(), port))
    };
    let (Some(origin), Some(target)) = (address(origin), target.and_then(address)) else { return false };
    let host = origin.0.trim_start_matches('[').trim_end_matches(']');
    origin == target && (host == "localhost" || host.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn cross_site(uri: &str, headers: &[(&str, &str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::try_from(*name).unwrap(), axum::http::HeaderValue::from_str(value).unwrap())
        });
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| _ = map.append(name, value));
        is_cross_site(&uri.parse().unwrap(), &map)
    }

    #[test]
    fn a_client_that_is_no_browser_is_never_cross_site() {
        assert!(!cross_site("/", &[]));
        assert!(!cross_site("/", &[("host", "exporter.example:10365"), ("user-agent", "curl/8")]));
    }

    #[test]
    fn sec_fetch_site_decides_where_it_is_sent() {
        for (site, expected) in [
            ("same-origin", false),
            ("none", false),
            ("same-site", true),
            ("cross-site", true),
            ("Cross-Site", true),
            ("", true),
        ] {
            // A proxy may have replaced the host.
            let headers = [("host", "127.0.0.1:10365"), ("origin", "https://x"), ("sec-fetch-site", site)];
            assert_eq!(cross_site("/", &headers), expected, "{site}");
        }
        assert!(cross_site("/", &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn an_origin_must_be_the_address_of_the_request() {
        for (origin, host, expected) in [
            ("http://127.0.0.1:10365", "127.0.0.1:10365", false),
            ("http://[::1]:10365", "[::1]:10365", false),
            ("http://localhost:10365", "LOCALHOST:10365", false),
            ("http://10.0.0.1", "10.0.0.1:80", false),
            ("https://10.0.0.1:443", "10.0.0.1", false),
            ("http://10.0.0.1", "10.0.0.1:443", true),
            ("http://127.0.0.1:3000", "127.0.0.1:10365", true),
            ("https://evil.example", "127.0.0.1:10365", true),
            ("http://127.0.0.1:10365.evil.example", "127.0.0.1:10365", true),
            ("null", "127.0.0.1:10365", true),
            ("", "127.0.0.1:10365", true),
            ("http://user@127.0.0.1:10365", "evil.example", true),
            // The name of another site leads to this host.
            ("http://evil.example:10365", "evil.example:10365", true),
        ] {
            assert_eq!(cross_site("/", &[("host", host), ("origin", origin)]), expected, "{origin}, {host}");
        }
        assert!(cross_site("/", &[("origin", "http://127.0.0.1:10365")]), "there is no host");
        let own = ("origin", "https://127.0.0.1:10365");
        assert!(!cross_site("https://127.0.0.1:10365/-/reload", &[own]), "over HTTP/2");
        assert!(cross_site("/", &[("host", "127.0.0.1:10365"), own, ("origin", "https://evil.example")]));
    }
}
