//! Paged collections, of which all pages are accepted or none.

use super::bodies::{DAY, PERCENT, collection, item, quoted};
use super::row::{Row, Usage, failed, good, unusable};

/// Returns all rows; `base` is the address of the API.
pub(crate) fn rows(base: &str) -> Vec<Row> {
    [followed(base), interrupted(), refused()].into_iter().flatten().collect()
}

const WORKLOADS: [&str; 3] = ["Exchange", "SharePoint", "Teams"];

/// Returns the usage that three pages yield; the first has Exchange at this percentage.
fn three(exchange: f64) -> [Usage; 3] {
    let mut usage = WORKLOADS.map(|workload| ("o365", workload, "reseller", 50.0, DAY));
    usage[0].3 = exchange;
    usage
}

/// Returns the scenario with three pages of one row each.
fn three_pages(usage: &str) -> String {
    let row = "service: o365, channel: reseller, percent: 50, processed: 2026-11-20T00:00:00Z";
    let rows = WORKLOADS.map(|workload| format!("{{ workload: {workload}, {row} }}")).join(", ");
    format!("rows: [{rows}], page_size: 1, usage: {{ {usage} }}")
}

/// Returns the scenario with three pages, the first of which has these `items` and `links`.
fn after_page<S: AsRef<str>>(items: &[S], links: &str) -> String {
    let page = collection(items).replacen('{', &format!("{{\"links\":{links},"), 1);
    three_pages(&format!("body: {}, times: 1", quoted(&page)))
}

/// Returns links to the second of the three pages at `uri`.
fn to(uri: &str) -> String {
    let headers = r#""headers":[{"key":"MS-ContinuationToken","value":"1"}]"#;
    format!(r#"{{"self":{{"uri":"/x","method":"GET"}},"next":{{"uri":"{uri}","method":"GET",{headers}}}}}"#)
}

const USAGE: &str = "/analytics/licenses/usage";

fn followed(base: &str) -> Vec<Row> {
    let first = || [item(&[(PERCENT, "10")])];
    let all = |name, links: &str| {
        good(name, after_page(&first(), links), &three(10.0)).traffic("token 200: 1, usage 200: 3")
    };
    let one = |name, links: &str| good(name, after_page(&first(), links), &three(10.0)[..1]);
    let foreign =
        r#""headers":[{"key":"Authorization","value":"Bearer another-token"},{"key":"Host","value":"x"},"#;
    let teams = item(&[("workloadName", r#""Teams""#), (PERCENT, "7")]);
    vec![
        good("three pages", three_pages(""), &three(50.0)).traffic("token 200: 1, usage 200: 3"),
        good("three pages in gzip", three_pages("gzip: true"), &three(50.0))
            .traffic("token 200: 1, usage 200: 3"),
        all("a link without the version", &to(USAGE)),
        all("a link with the version", &to("/v1/analytics/licenses/usage?seekOperation=Next")),
        all("a link with the origin", &to(&format!("{base}/v1{USAGE}"))),
        all("a link with headers that it must not set", &to(USAGE).replace(r#""headers":["#, foreign)),
        all("a link without a method", &to(USAGE).replace(r#""method":"GET","#, "")),
        one("no link except to itself", r#"{"self":{"uri":"/x"}}"#),
        one("a link that is null", r#"{"next":null}"#),
        one("links that are null", "null"),
        one("links that are a list", "[]"),
        good(
            "an empty page at the end",
            after_page(&first(), &to(USAGE).replace(r#""1""#, r#""3""#)),
            &three(10.0)[..1],
        )
        .traffic("token 200: 1, usage 200: 2"),
        good(
            "a duplicate row and an invalid row on a later page",
            after_page(&[&teams, "{}"], &to(USAGE)),
            &three(50.0)[1..],
        )
        .rejected("duplicate: 1, missing_value: 1")
        .traffic("token 200: 1, usage 200: 3"),
    ]
}

fn interrupted() -> Vec<Row> {
    let fails = |name, usage: &str, reason, text: &str| failed(name, three_pages(usage), reason, text);
    let not_a_collection =
        "the API answered 200 OK: the body is not a collection with a list named items, see line 1 column 1";
    let throttled =
        "the API answered 429 Too Many Requests: Rate limit is exceeded. Try again in 90 seconds.";
    let server_error = "the API answered 500 Internal Server Error, code 800003: Unexpected service error";
    vec![
        good(
            "a second page that fails once",
            three_pages("answer: server_error, skip: 1, times: 1"),
            &three(50.0),
        )
        .traffic("token 200: 1, usage 200: 3, usage 500: 1, usage retries: 1"),
        fails("a second page that fails", "answer: server_error, skip: 1", "server", server_error)
            .traffic("token 200: 1, usage 200: 1, usage 500: 3, usage retries: 2"),
        good(
            "a second page that refuses the token",
            three_pages("answer: unauthorized, skip: 1, times: 1"),
            &three(50.0),
        )
        .traffic("token 200: 2, usage 200: 3, usage 401: 1"),
        fails(
            "a third page that refuses every token",
            "answer: unauthorized, skip: 2",
            "credentials",
            "the API answered 401 Unauthorized, code 400: Access denied",
        )
        .traffic("token 200: 2, usage 200: 2, usage 401: 2"),
        fails(
            "a second page that is throttled",
            "answer: throttled, skip: 1, retry_after: 90",
            "throttled",
            throttled,
        )
        .traffic("token 200: 1, usage 200: 1, usage 429: 1, usage throttled: 1")
        .delay(90),
        fails("a third page that is not a collection", "answer: html, skip: 2", "payload", not_a_collection)
            .traffic("token 200: 1, usage 200: 3"),
        fails(
            "a third page without content",
            "answer: no_content, skip: 2",
            "payload",
            "the API answered 204 No Content: the response has no content",
        )
        .traffic("token 200: 1, usage 200: 2, usage 204: 1"),
        fails(
            "a second page that is cut off",
            "answer: truncated, skip: 1",
            "network",
            "the request to the API failed:",
        )
        .traffic("token 200: 1, usage 200: 1, usage error: 3, usage retries: 2"),
    ]
}

fn refused() -> Vec<Row> {
    let foreign = "the link to the next page leads to another origin";
    let leads_back = "the link to the next page leads back to an earlier page";
    let no_request = "the link to the next page is not a valid request";
    let no_link = "links.next is not a link";
    let links = [
        ("a link to another host", to("https://partner.example/v1/analytics/licenses/usage"), foreign),
        ("a link to another port", to("http://127.0.0.1:1/v1/analytics/licenses/usage"), foreign),
        (
            "a link to another host, without a scheme",
            to("//partner.example/v1/analytics/licenses/usage"),
            foreign,
        ),
        ("a link to another host, by a user name", to("http://127.0.0.1@partner.example/"), foreign),
        ("a link to a file", to("file:///etc/passwd"), foreign),
        ("a link to the same page", format!(r#"{{"next":{{"uri":"{USAGE}","method":"GET"}}}}"#), leads_back),
        (
            "a link with the method POST",
            to(USAGE).replace(r#""GET","headers"#, r#""POST","headers"#),
            no_request,
        ),
        ("an empty link", to(""), no_request),
        (
            "a continuation token of two lines",
            to(USAGE).replace(r#""1""#, r#""1\r\nX-Other: 1""#),
            no_request,
        ),
        ("a link without an address", r#"{"next":{"method":"GET"}}"#.to_owned(), no_link),
        ("a link with a number for an address", r#"{"next":{"uri":1}}"#.to_owned(), no_link),
        ("a link that is text", format!(r#"{{"next":"{USAGE}"}}"#), no_link),
        ("a link that is a list", format!(r#"{{"next":["{USAGE}","GET",[]]}}"#), no_link),
    ];
    let links = links.map(|(name, links, why)| unusable(name, after_page(&[item(&[])], &links), why));
    let forever = collection(&[item(&[])]).replacen('{', &format!("{{\"links\":{},", to(USAGE)), 1);
    let hundred_and_one: Vec<_> = (0..101).map(|number| format!("{{ workload: w{number} }}")).collect();
    let others = [
        unusable(
            "pages that form a leads_back",
            format!("usage: {{ body: {} }}", quoted(&forever)),
            leads_back,
        )
        .traffic("token 200: 1, usage 200: 2"),
        unusable(
            "a hundred and one pages",
            format!("rows: [{}], page_size: 1", hundred_and_one.join(", ")),
            "there are more than 100 pages",
        )
        .traffic("token 200: 1, usage 200: 100"),
    ];
    links.into_iter().chain(others).collect()
}
