//! Turns the link from a page of a collection to the next one into a request. Pure.
//!
//! The request carries the access token, so a link is followed only within the origin of the page.

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::page::PageLink;

/// A request for a page, without the headers that every request has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PageRequest {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
}

/// The requests for the pages of one collection, from the first to the current one.
#[derive(Debug)]
pub(super) struct Pages {
    base: Url,
    requests: Vec<PageRequest>,
    most: usize,
}

/// Why a link cannot be followed. The link is not quoted, because its continuation token may be confidential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LinkError {
    #[error("the link to the next page is not a valid request")]
    Unusable,
    #[error("the link to the next page leads to another origin")]
    ForeignOrigin,
    #[error("the link to the next page leads back to an earlier page")]
    Loop,
    #[error("there are more than {0} pages")]
    TooManyPages(usize),
}

/// The longest URL and header value of a link, in bytes; servers accept no longer ones.
const MAX_TEXT: usize = 8 * 1024;
/// The most headers of a link; links of Partner Center have one.
const MAX_HEADERS: usize = 16;
/// The most pages of a collection, far more than one of a few rows needs.
const MAX_PAGES: usize = 100;
/// The most pages of a commercial collection, in which each customer has rows.
pub(super) const MAX_COMMERCIAL_PAGES: usize = 2_000;
/// The version of the API. Links usually omit it, and Microsoft's SDK then adds it.
pub(super) const VERSION: &str = "/v1/";
/// The version in another form, which Microsoft's examples of commercial collections have.
pub(super) const PARTNER_VERSION: &str = "/partner/v1/";

impl Pages {
    /// Begins with `path` of the API at `api_base_url`, which has no trailing slash.
    pub(super) fn begin(api_base_url: &str, path: &str) -> Self {
        Self::below(api_base_url, VERSION, path, MAX_PAGES)
    }

    /// Begins with `path` below `version` of the API at `api_base_url`; there are `most` pages at most.
    pub(super) fn below(api_base_url: &str, version: &str, path: &str, most: usize) -> Self {
        const CHECKED: &str = "the configuration has checked the URL";
        let base: Url = format!("{api_base_url}{version}").parse().expect(CHECKED);
        let url = base.join(path).expect(CHECKED);
        Self { base, requests: vec![PageRequest { url, headers: HeaderMap::new() }], most }
    }

    /// The request for the current page.
    pub(super) fn current(&self) -> &PageRequest {
        self.requests.last().expect("there is a first page")
    }

    /// Continues with the page that `link`, found in the current one, leads to.
    pub(super) fn follow(&mut self, link: &PageLink) -> Result<(), LinkError> {
        let next = self.resolve(link)?;
        self.push(next)
    }

    /// Continues with the page that begins after `rows` rows, which the parameter `skip` says.
    pub(super) fn skip(&mut self, rows: usize) -> Result<(), LinkError> {
        let mut url = self.requests[0].url.clone();
        let pairs: Vec<_> = url.query_pairs().into_owned().filter(|(name, _)| name != "skip").collect();
        url.query_pairs_mut().clear().extend_pairs(pairs).append_pair("skip", &rows.to_string());
        self.push(PageRequest { url, headers: HeaderMap::new() })
    }

    /// Whether the current page is not the first one.
    pub(super) fn has_begun(&self) -> bool {
        self.requests.len() > 1
    }

    fn push(&mut self, next: PageRequest) -> Result<(), LinkError> {
        if self.requests.contains(&next) {
            return Err(LinkError::Loop);
        }
        if self.requests.len() == self.most {
            return Err(LinkError::TooManyPages(self.most));
        }
        self.requests.push(next);
        Ok(())
    }

    fn resolve(&self, link: &PageLink) -> Result<PageRequest, LinkError> {
        let get = link.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case("GET"));
        if !get || link.uri.is_empty() || link.uri.len() > MAX_TEXT || link.headers.len() > MAX_HEADERS {
            return Err(LinkError::Unusable);
        }
        // A query alone is that of the same path.
        let from = if link.uri.starts_with('?') { &self.current().url } else { &self.base };
        let mut url = from.join(&link.uri).map_err(|_| LinkError::Unusable)?;
        if url.origin() != self.base.origin() || !url.username().is_empty() || url.password().is_some() {
            return Err(LinkError::ForeignOrigin);
        }
        url.set_fragment(None);
        if !url.path().starts_with(self.base.path()) {
            let path = url.path();
            let path = [PARTNER_VERSION, VERSION].iter().find_map(|version| path.strip_prefix(version));
            let path = path.unwrap_or_else(|| url.path().trim_start_matches('/'));
            let path = format!("{}{path}", self.base.path());
            url.set_path(&path);
        }
        let mut headers = HeaderMap::new();
        for header in &link.headers {
            // Only headers of Partner Center such as `MS-ContinuationToken`, and none that the client itself sets.
            let ours = ["ms-requestid", "ms-correlationid"];
            let name: HeaderName = header.key.parse().map_err(|_| LinkError::Unusable)?;
            if name.as_str().starts_with("ms-") && !ours.contains(&name.as_str()) {
                let value = HeaderValue::from_str(&header.value).map_err(|_| LinkError::Unusable)?;
                if value.len() > MAX_TEXT {
                    return Err(LinkError::Unusable);
                }
                headers.insert(name, value);
            }
        }
        Ok(PageRequest { url, headers })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::partner::invariants;
    use crate::partner::page::LinkHeader;

    const BASE: &str = "https://api.example";

    fn link(uri: &str, headers: &[(&str, &str)]) -> PageLink {
        let header =
            |(key, value): &(&str, &str)| LinkHeader { key: (*key).to_owned(), value: (*value).to_owned() };
        PageLink { uri: uri.to_owned(), method: None, headers: headers.iter().map(header).collect() }
    }

    fn follow_from(base: &str, link: &PageLink) -> Result<PageRequest, LinkError> {
        let mut pages = Pages::begin(base, "usage");
        pages.follow(link).map(|()| pages.current().clone())
    }

    fn url_from(base: &str, uri: &str) -> Result<String, LinkError> {
        follow_from(base, &link(uri, &[])).map(|request| request.url.to_string())
    }

    #[test]
    fn a_link_is_relative_to_the_version_whether_it_includes_it_or_not() {
        for base in [BASE, "http://127.0.0.1:8080", "https://proxy.example/partner"] {
            let expected = Ok(format!("{base}/v1/x/y?size=2"));
            for uri in ["/x/y?size=2", "/v1/x/y?size=2", "x/y?size=2", &format!("{base}/v1/x/y?size=2#top")] {
                assert_eq!(url_from(base, uri), expected, "{uri}");
            }
        }
    }

    #[test]
    fn a_link_that_is_a_query_alone_keeps_the_path_of_the_page() {
        assert_eq!(url_from(BASE, "?skip=2"), Ok(format!("{BASE}/v1/usage?skip=2")));
    }

    #[test]
    fn a_link_never_leads_to_another_origin() {
        for uri in [
            "https://evil.example/v1/x",
            "//evil.example/v1/x",
            r"\\evil.example\v1\x",
            "http://api.example/v1/x",
            "https://api.example:8443/v1/x",
            "https://api.example.evil.example/v1/x",
            "https://user@api.example/v1/x",
            "https://:password@api.example/v1/x",
            "ftp://api.example/v1/x",
            "file:///etc/passwd",
            "data:,x",
        ] {
            assert_eq!(url_from(BASE, uri), Err(LinkError::ForeignOrigin), "{uri}");
        }
    }

    #[test]
    fn a_link_adds_its_continuation_token_and_cannot_set_the_headers_of_the_client() {
        let headers = [
            ("MS-ContinuationToken", "AQAAAA=="),
            ("Authorization", "Bearer x"),
            ("Host", "evil.example"),
            ("MS-RequestId", "1"),
        ];
        let request = follow_from(BASE, &link("/x", &headers)).unwrap();
        let found: Vec<_> = request.headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
        assert_eq!(found, [("ms-continuationtoken", &HeaderValue::from_static("AQAAAA=="))]);
    }

    #[test]
    fn a_link_to_an_earlier_page_is_refused_and_so_is_one_page_too_many() {
        let mut pages = Pages::begin(BASE, "usage");
        assert_eq!(pages.follow(&link("/usage", &[])), Err(LinkError::Loop));
        let page = |number: usize| link("/usage", &[("MS-ContinuationToken", &number.to_string())]);
        for number in 2..=MAX_PAGES {
            assert_eq!(pages.follow(&page(number)), Ok(()));
            assert_eq!(pages.follow(&page(2)), Err(LinkError::Loop));
        }
        assert_eq!(pages.follow(&page(MAX_PAGES + 1)), Err(LinkError::TooManyPages(MAX_PAGES)));
    }

    #[test]
    fn a_link_that_is_not_a_valid_request_is_refused() {
        let long = "x".repeat(8 * 1024 + 1);
        for uri in ["", "https://", &long] {
            assert_eq!(url_from(BASE, uri), Err(LinkError::Unusable), "{uri}");
        }
        for (name, value) in [("MS-ContinuationToken", "a\r\nX: y"), ("MS-A", &long), ("no name", "a")] {
            assert_eq!(follow_from(BASE, &link("/x", &[(name, value)])), Err(LinkError::Unusable), "{name}");
        }
        let post = PageLink { method: Some("POST".to_owned()), ..link("/x", &[]) };
        assert_eq!(follow_from(BASE, &post), Err(LinkError::Unusable));
        assert_eq!(
            follow_from(BASE, &link("/x", &[("MS-A", "a"); MAX_HEADERS + 1])),
            Err(LinkError::Unusable)
        );
    }

    #[test]
    fn the_largest_link_that_servers_accept_is_followed() {
        let uri = format!("/{}", "x".repeat(8 * 1024 - 1));
        let value = "x".repeat(8 * 1024);
        assert!(follow_from(BASE, &link(&uri, &[("MS-A", value.as_str()); 16])).is_ok());
        for method in ["GET", "get"] {
            let link = PageLink { method: Some(method.to_owned()), ..link("/x", &[]) };
            assert!(follow_from(BASE, &link).is_ok(), "{method}");
        }
    }

    /// Parts of URLs, among them some that parsers have misread.
    const PARTS: &str = "https: http: // / \\ api.example proxy.example 127.0.0.1 evil.example :8080 :443 @ v1 partner \
                         .. %2e%2E %09 ? # ü";

    proptest! {
        #[test]
        fn no_link_leads_to_another_origin_whatever_its_parts(
            uri in vec(select(PARTS.split(' ').collect::<Vec<_>>()), 0..12),
            header in "(MS-|ms-)?[a-zA-Z-]{0,12}",
            value in any::<String>(),
        ) {
            invariants::stays_within_the_api(&link(&uri.concat(), &[]));
            invariants::stays_within_the_api(&link(&uri.concat(), &[(&header, &value)]));
        }
    }
}
