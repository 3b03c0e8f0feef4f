//! Keeps web pages from the control endpoints: only this machine may be named in `Host`, and no other site in `Origin`.
//!
//! A site may let its own name lead to 127.0.0.1 (DNS rebinding), and its pages could then replace the scenario and read
//! the log. The two services need no such guard, since a proxy may stand in front of them under any name.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::wire;

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// Refuses a request that names another machine or comes from a page of another site.
pub(crate) async fn refuse_strangers(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let named = request.uri().authority().map(Authority::as_str);
    let hosts = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default()).chain(named);
    if !hosts.into_iter().all(is_loopback) {
        let text =
            "The control endpoints answer only to localhost, 127.0.0.1 and [::1] in the Host header.\n";
        return wire::text(StatusCode::MISDIRECTED_REQUEST, PLAIN_TEXT, text);
    }
    if is_cross_site(headers) {
        let text = "This request comes from a web page of another site, and is refused.\n";
        return wire::text(StatusCode::FORBIDDEN, PLAIN_TEXT, text);
    }
    next.run(request).await
}

/// Returns whether a `Host`, with or without a port, is this machine.
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Returns whether a browser says that a page of another site causes the request.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let mut origins = headers.get_all(ORIGIN).iter().map(|origin| origin.to_str().unwrap_or_default());
    let is_own = |origin: &str| {
        let origin = origin.split_once("://").map(|(_, origin)| origin);
        origin.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
    };
    sites.any(|site| site != "same-origin" && site != "none") || !origins.all(is_own)
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use crate::testkit::{send, simulator};

    /// Returns the status of a request for the log.
    async fn status(method: Method, headers: &[(&str, &str)]) -> u16 {
        send(&simulator("{}"), method, "/simulator/requests", headers, "").await.status.as_u16()
    }

    #[tokio::test]
    async fn only_this_machine_may_be_named() {
        for (host, expected) in [
            ("localhost", 200),
            ("LocalHost:10366", 200),
            ("127.0.0.1:10366", 200),
            ("127.8.9.10", 200),
            ("[::1]:10366", 200),
            ("[::1]", 200),
            ("evil.example", 421),
            ("evil.example:10366", 421),
            ("localhost.evil.example", 421),
            ("127.0.0.1.evil.example:10366", 421),
            ("10.0.0.1:10366", 421),
            ("localhost@evil.example", 421),
            ("evil.example@localhost", 421),
            ("", 421),
        ] {
            assert_eq!(status(Method::GET, &[("host", host)]).await, expected, "{host}");
        }
        assert_eq!(status(Method::DELETE, &[("host", "evil.example:10366")]).await, 421);
        assert_eq!(status(Method::GET, &[("host", "localhost"), ("host", "evil.example")]).await, 421);
    }

    #[tokio::test]
    async fn the_refusal_says_which_names_are_answered() {
        for path in ["/", "/simulator/scenario", "/simulator/requests"] {
            let answer = send(&simulator("{}"), Method::GET, path, &[("host", "evil.example")], "").await;
            assert!(
                answer.text().contains("only to localhost, 127.0.0.1 and [::1]"),
                "{path}: {}",
                answer.text()
            );
        }
    }

    #[tokio::test]
    async fn pages_of_other_sites_are_refused() {
        let host = ("host", "127.0.0.1:10366");
        for (header, expected) in [
            (("origin", "http://127.0.0.1:10366"), 204),
            (("origin", "http://127.0.0.1:3000"), 403),
            (("origin", "https://evil.example"), 403),
            (("origin", "null"), 403),
            (("sec-fetch-site", "same-origin"), 204),
            (("sec-fetch-site", "none"), 204),
            (("sec-fetch-site", "same-site"), 403),
            (("sec-fetch-site", "cross-site"), 403),
            (("user-agent", "curl/8"), 204),
        ] {
            assert_eq!(status(Method::DELETE, &[host, header]).await, expected, "{header:?}");
        }
    }
}
