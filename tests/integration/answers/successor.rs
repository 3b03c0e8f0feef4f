//! Usage from the successor, `analytics/commercial/usage/license`, as the only source.

use super::bodies::{
    DAY, PROCESSED, body_of, envelope, exchange_of, gzip_body, licenses, quoted, successor_rows, whole,
};
use super::row::{Counted, Counts, Row, failed, good, listing, of_successor};

/// Returns all rows; `base` is the address of the API.
pub(crate) fn rows(base: &str) -> Vec<Row> {
    let tables =
        [envelopes(), not_pages(), followed(base), counted(), interrupted(), counts(), labels(), dates()];
    tables.into_iter().flatten().chain(grouping()).chain(paths()).chain(refusals()).collect()
}

/// The rows in Microsoft's documentation.
const DOCUMENTED: [Counted; 2] = [
    (("o365", "Exchange", "reseller", 0.0, 1_539_475_200), 0, 1),
    (("o365", "SharePoint", "reseller", 0.0, 1_539_475_200), 0, 1),
];

const SOURCE: &str = "usage: { source: commercial }";

/// Returns a row whose poll succeeds by one request and yields `usage`.
fn found(name: &'static str, scenario: impl Into<String>, usage: &[Counted]) -> Row {
    good(name, scenario, &[])
        .collections(SOURCE)
        .yields(of_successor(usage))
        .traffic("token 200: 1, commercial_usage 200: 1")
}

/// Returns a row whose poll fails by one request.
fn fails(
    name: &'static str,
    scenario: impl Into<String>,
    reason: &'static str,
    text: impl Into<String>,
) -> Row {
    failed(name, scenario, reason, text)
        .collections(SOURCE)
        .answered_by("commercial_usage")
        .traffic("token 200: 1, commercial_usage 200: 1")
}

/// Returns a row whose poll fails because the response with status 200 cannot be used, for the reason `what`.
fn unusable(name: &'static str, scenario: impl Into<String>, what: &str) -> Row {
    fails(name, scenario, "payload", format!("the API answered 200 OK: {what}"))
}

/// Returns a row whose body is not a page, with the position of the error.
fn not_a_page(name: &'static str, scenario: impl Into<String>, place: &str) -> Row {
    unusable(name, scenario, &format!("the body is not a collection with a list named Value, see {place}"))
}

/// Returns the scenario in which the endpoint answers as the key says.
fn usage(behaviour: &str) -> String {
    format!("commercial_usage: {{ {behaviour} }}")
}

fn envelopes() -> Vec<Row> {
    let one = licenses(&[]);
    let half = [exchange_of(40, 80, 50.0)];
    let body = |name, body: &str| found(name, body_of("commercial_usage", &body.replace("ROW", &one)), &half);
    let rest = |name, rest: &str| body(name, &envelope(&[&one], rest));
    let documented = include_str!("../../fixtures/commercial-usage-documented.json");
    vec![
        found("the documented page", body_of("commercial_usage", documented), &DOCUMENTED),
        found("a page without a byte order mark", usage("answer: no_bom"), &DOCUMENTED)
            .traffic("token 200: 1, commercial_usage 200: 2"),
        found(
            "a page in gzip",
            "commercial: { groupby: ignored }, commercial_usage: { gzip: true }",
            &DOCUMENTED,
        ),
        found(
            "a page of text/plain",
            "commercial: { groupby: ignored }, commercial_usage: { headers: { \
             content-type: text/plain } }",
            &DOCUMENTED,
        ),
        found("an empty page", usage("answer: empty"), &[]),
        found("an empty page without a count", body_of("commercial_usage", r#"{"Value":[]}"#), &[]),
        body(
            "new members around the rows",
            r#"{"@odata.context":{"Value":[{}]},"Value":[ROW],"TotalCount":1}"#,
        ),
        body("a count before the rows", r#"{"TotalCount":1,"@nextLink":null,"Value":[ROW]}"#),
        body(
            "white space around every token of a page",
            "\r\n { \"Value\" : [ ROW ] ,\t\"TotalCount\" : 1 } \n",
        ),
        rest("a count as text", r#""@nextLink":null,"TotalCount":"1""#),
        rest("no link at all", r#""TotalCount":1"#),
        rest("a link that is empty", r#""@nextLink":"","TotalCount":1"#),
        rest("a link that is a number", r#""@nextLink":7,"TotalCount":1"#),
        rest("a link that is false", r#""@nextLink":false,"TotalCount":1"#),
        rest("a link that is a list", r#""@nextLink":["/x"],"TotalCount":1"#),
        rest("a link that is an empty object", r#""@nextLink":{},"TotalCount":1"#),
        found(
            "a link nested deeply",
            usage(&gzip_body(&envelope(
                &[&one],
                &format!(r#""@nextLink":{}{},"TotalCount":1"#, "[".repeat(50_000), "]".repeat(50_000)),
            ))),
            &half,
        ),
        found(
            "a row nested deeply",
            usage(&gzip_body(&envelope(&["[".repeat(50_000) + &"]".repeat(50_000), one.clone()], &whole(2)))),
            &half,
        )
        .rejected("unreadable: 1"),
        found(
            "rows that are not objects",
            successor_rows(&["7", "null", r#""x""#, "[]", "true", &one]),
            &half,
        )
        .rejected("not_an_object: 5"),
        found(
            "a member of a row twice, of which the last one counts",
            successor_rows(&[one.replacen('{', r#"{"licensesActive":7,"channel":"direct","#, 1)]),
            &half,
        ),
    ]
}

fn not_pages() -> Vec<Row> {
    let one = licenses(&[]);
    let bodies = [
        ("no list of rows", r#"{"TotalCount":0,"@nextLink":null}"#, "line 1 column 33"),
        ("a list of rows that is null", r#"{"Value":null,"TotalCount":0}"#, "line 1 column 13"),
        ("a list of rows that is an object", r#"{"Value":{"rows":[]}}"#, "line 1 column 9"),
        ("two lists of rows", r#"{"Value":[],"Value":[ROW]}"#, "line 1 column 19"),
        ("value in lower case", r#"{"value":[ROW],"TotalCount":1}"#, "line 1 column 419"),
        ("the page of the old source", r#"{"totalCount":0,"items":[]}"#, "line 1 column 27"),
        ("a list of rows alone", "[ROW]", "line 1 column 0"),
        ("a page that breaks off", r#"{"Value":[{"licensesAc"#, "line 1 column 22"),
        (
            "the page of Microsoft's document, which lacks a bracket",
            r#"{"Value":[ROW,"TotalCount":1}"#,
            "line 1 column 416",
        ),
        ("text after the page", r#"{"Value":[],"TotalCount":0}x"#, "line 1 column 28"),
        ("an empty page of zero bytes", "", "line 1 column 0"),
    ];
    let bodies = bodies.map(|(name, body, place)| {
        not_a_page(name, body_of("commercial_usage", &body.replace("ROW", &one)), place)
    });
    let spaces = " ".repeat((16 << 20) + 1);
    let others = [
        not_a_page("an HTML page instead of a page", usage("answer: html"), "line 1 column 1"),
        not_a_page(
            "an error of the API with 200",
            usage("status: 200, answer: forbidden"),
            "line 1 column 139",
        ),
        fails(
            "204 from the successor",
            usage("answer: no_content"),
            "payload",
            "the API answered 204 No Content: the response has no content",
        )
        .traffic("token 200: 1, commercial_usage 204: 1"),
        fails(
            "a page of 16 MiB and a byte",
            usage(&gzip_body(&spaces)),
            "payload",
            "the response from the API is larger than 16 MiB",
        )
        .traffic("token 200: 1, commercial_usage error: 1"),
        fails(
            "a page whose connection is lost",
            usage("answer: truncated"),
            "network",
            "the request to the API failed:",
        )
        .traffic("token 200: 1, commercial_usage error: 3, commercial_usage retries: 2"),
    ];
    bodies.into_iter().chain(others).collect()
}

/// The workloads of three rows, each on a page of its own.
const WORKLOADS: [&str; 3] = ["Exchange", "SharePoint", "Teams"];

fn three() -> Vec<Counted> {
    let row = |workload| (("o365", workload, "reseller", 50.0, DAY), 40, 80);
    WORKLOADS.map(row).into()
}

fn row_of(workload: &str) -> String {
    licenses(&[("workloadName", &quoted(workload))])
}

/// Returns the scenario with three pages of one row each.
fn three_pages(commercial: &str, usage: &str) -> String {
    let rows = WORKLOADS.map(row_of).join(", ");
    format!(
        "page_size: 1, commercial: {{ groupby: ignored, {commercial} }}, \
         commercial_usage: {{ rows: [{rows}], {usage} }}"
    )
}

/// Returns the scenario in which the first of the three pages has this link; the simulator writes the others.
fn after_link(link: &str) -> String {
    let page = envelope(&[row_of("Exchange")], &format!(r#""@nextLink":{link},"TotalCount":3"#));
    three_pages("", &format!("body: {}, times: 1", quoted(&page)))
}

/// The pages, and an empty one after them, since the last one is as full as the others.
const PAGES: &str = "token 200: 1, commercial_usage 200: 4";

fn followed(base: &str) -> Vec<Row> {
    let all = |name, scenario: String| found(name, scenario, &three()).traffic(PAGES);
    let to = |name, link: &str| all(name, after_link(link));
    let path = "analytics/commercial/usage/license/?top=1&skip=1";
    let forever = envelope(&[licenses(&[])], &format!(r#""@nextLink":"/{path}","TotalCount":3"#));
    vec![
        all("three pages by absolute links", three_pages("next_link: absolute", "")),
        all("three pages by links with the version", three_pages("next_link: relative", "")),
        all(
            "three pages by links without the version",
            three_pages("next_link: relative_without_version", ""),
        ),
        all("three pages in gzip", three_pages("", "gzip: true")),
        to("a link with the other version", &format!(r#""/v1/{path}""#)),
        to("a link without a leading slash", &format!(r#""{path}""#)),
        to("a link that is a query alone", r#""?top=1&skip=1""#),
        to("a link with a fragment", &format!(r#""{base}/partner/v1/{path}#rows""#)),
        to("a link that is an object", &format!(r#"{{"uri":"/{path}","method":"GET","headers":[]}}"#)),
        to(
            "a link that is an object with a header",
            &format!(r#"{{"uri":"/{path}","headers":[{{"key":"MS-ContinuationToken","value":"1"}}]}}"#),
        ),
        to("a link to another host", r#""https://partner.example/v1/analytics?skip=1""#),
        to("a link to another port", r#""http://127.0.0.1:1/v1/analytics/commercial/usage/license?skip=1""#),
        to("a link to another host, by a user name", r#""http://127.0.0.1@partner.example/""#),
        to("a link to another host, without a scheme", r#""//partner.example/v1/analytics""#),
        to("a link with the method POST", &format!(r#"{{"uri":"/{path}","method":"POST"}}"#)),
        to("a link to a file", r#""file:///etc/passwd""#),
        to("a link to a page beyond the last one", r#""/analytics/commercial/usage/license/?top=1&skip=9""#)
            .yields(of_successor(&three()[..1]))
            .traffic("token 200: 1, commercial_usage 200: 2")
            .warning(MISSING),
        unusable(
            "links that lead back",
            body_of("commercial_usage", &forever),
            "the link to the next page leads back to an earlier page",
        )
        .traffic("token 200: 1, commercial_usage 200: 2"),
    ]
}

/// The warning about a page that may have left rows out.
const MISSING: &str = "The number of rows is not the announced one; a page may have left some out";

fn counted() -> Vec<Row> {
    let all = |name, commercial: &str| found(name, three_pages(commercial, ""), &three());
    let one = [licenses(&[])];
    let of_count = |name, count: &str| {
        let page = envelope(&one, &format!(r#""@nextLink":null,"TotalCount":{count}"#));
        let then = format!(
            "commercial: {{ groupby: ignored, total_count: absent }}, \
             commercial_usage: {{ rows: [{}], body: {}, times: 1 }}",
            one[0],
            quoted(&page)
        );
        found(name, then, &[exchange_of(40, 80, 50.0)]).traffic("token 200: 1, commercial_usage 200: 2")
    };
    vec![
        all("three pages whose links are null", "next_link: 'null'").traffic(PAGES),
        all("three pages without links", "next_link: absent").traffic(PAGES),
        all("three pages without links and counts", "next_link: absent, total_count: absent")
            .traffic("token 200: 1, commercial_usage 200: 4"),
        all("three pages with links and without counts", "total_count: absent")
            .traffic("token 200: 1, commercial_usage 200: 4"),
        found(
            "two pages with counts that are one more than their rows",
            three_pages("next_link: absent, total_count: wrong", "").replacen(
                "page_size: 1",
                "page_size: 2",
                1,
            ),
            &three(),
        )
        .traffic("token 200: 1, commercial_usage 200: 2")
        .warning(MISSING),
        of_count("a count that is absent", "null"),
        of_count("a count that is negative", "-1"),
        of_count("a count that is a fraction", "1.5"),
        of_count("a count that is an object", "{}"),
        of_count("a count that is too small", "0"),
        of_count("a count that is too large", "2"),
        all("a page that repeats a row of the page before", "between_pages: repeats")
            .rejected("duplicate: 1")
            .traffic("token 200: 1, commercial_usage 200: 5")
            .warning(MISSING),
        all("a page that skips a row", "between_pages: skips")
            .yields(of_successor(&[three()[0], three()[2]]))
            .traffic("token 200: 1, commercial_usage 200: 3")
            .warning(MISSING),
        found(
            "the same row three times",
            successor_rows(&[licenses(&[]), licenses(&[]), licenses(&[])]),
            &[exchange_of(40, 80, 50.0)],
        )
        .rejected("duplicate: 2"),
        found(
            "a row twice, of which the newer one counts",
            successor_rows(&[
                licenses(&[("licensesActive", "20")]),
                licenses(&[(PROCESSED, r#""2026-11-19T00:00:00""#)]),
            ]),
            &[exchange_of(20, 80, 25.0)],
        )
        .rejected("duplicate: 1"),
        found(
            "a server that does not skip rows",
            body_of("commercial_usage", &envelope(&one, r#""@nextLink":null"#)),
            &[exchange_of(40, 80, 50.0)],
        )
        .rejected("duplicate: 1")
        .traffic("token 200: 1, commercial_usage 200: 2"),
    ]
}

fn interrupted() -> Vec<Row> {
    let pages = |usage: &str| three_pages("", usage);
    let breaks = |name, usage: &str, reason, text: &str| fails(name, pages(usage), reason, text);
    vec![
        found("a second page that fails once", pages("answer: server_error, skip: 1, times: 1"), &three())
            .traffic(
                "token 200: 1, commercial_usage 200: 4, commercial_usage 500: 1, \
                 commercial_usage retries: 1",
            ),
        found(
            "a second page that fails three times",
            pages("answer: server_error, skip: 1, times: 3"),
            &three(),
        )
        .traffic(
            "token 200: 1, commercial_usage 200: 4, commercial_usage 500: 3, \
             commercial_usage retries: 2",
        ),
        found(
            "a third page that refuses the token",
            pages("answer: unauthorized, skip: 2, times: 1"),
            &three(),
        )
        .traffic("token 200: 2, commercial_usage 200: 4, commercial_usage 401: 1"),
        found(
            "a second page that is postponed",
            pages("answer: throttled, retry_after: 1, skip: 1, times: 1"),
            &three(),
        )
        .traffic(
            "token 200: 1, commercial_usage 200: 4, commercial_usage 429: 1, \
             commercial_usage throttled: 1",
        ),
        breaks(
            "a second page that is postponed for long",
            "answer: throttled, retry_after: 600, skip: 1",
            "throttled",
            "the API answered 429 Too Many Requests: Rate limit is exceeded. Try again in 600 seconds.",
        )
        .traffic(
            "token 200: 1, commercial_usage 200: 1, commercial_usage 429: 1, \
             commercial_usage throttled: 1",
        )
        .delay(600),
        breaks(
            "a third page that is HTML",
            "answer: html, skip: 2",
            "payload",
            "the API answered 200 OK: the body is not a collection with a list \
             named Value, see line 1 column 1",
        )
        .traffic(PAGES),
        breaks(
            "a second page without content",
            "answer: no_content, skip: 1",
            "payload",
            "the API answered 204 No Content: the response has no content",
        )
        .traffic("token 200: 1, commercial_usage 200: 1, commercial_usage 204: 2"),
        found(
            "a second page that is cut off three times",
            pages("answer: truncated, skip: 1, times: 3"),
            &three(),
        )
        .traffic(
            "token 200: 1, commercial_usage 200: 4, commercial_usage error: 3, \
             commercial_usage retries: 2",
        ),
    ]
}

/// Returns a row with rows that are dropped, each with a member in raw JSON and the reason, and one that is accepted. They
/// are of different customers.
fn dropped(name: &'static str, rows: &[(&str, &str, &str)]) -> Row {
    let customer = |number: usize| format!("\"customer {number}\"");
    let of = |(number, (member, json, _)): (usize, &(&str, &str, &str))| {
        licenses(&[("customerTenantId", &customer(number)), (member, json)])
    };
    let mut bodies: Vec<_> = rows.iter().enumerate().map(of).collect();
    bodies.insert(1, licenses(&[]));
    let mut reasons = Counts::new();
    for (_, _, reason) in rows {
        *reasons.entry((*reason).to_owned()).or_default() += 1;
    }
    found(name, successor_rows(&bodies), &[exchange_of(40, 80, 50.0)]).rejected(&listing(&reasons))
}

/// Returns the row of a customer with these numbers.
fn of_customer(customer: &str, active: &str, qualified: &str) -> String {
    let customer = quoted(customer);
    licenses(&[("customerTenantId", &customer), ("licensesActive", active), ("licensesQualified", qualified)])
}

/// Returns a row whose counts are all accepted.
fn accepted_counts() -> Row {
    let numbers = [
        ("an integer", "20", 20),
        ("a float", "20.0", 20),
        ("an exponent", "2e1", 20),
        ("within rounding", "19.9999999999", 20),
        ("a text", r#""20""#, 20),
        ("a text with spaces", r#"" 20 ""#, 20),
        ("a text with a fraction of zero", r#""20.0""#, 20),
        ("zero", "0", 0),
        ("negative zero", "-0", 0),
        ("all", "80", 80),
        ("more than all", "96", 96),
    ];
    let rows: Vec<_> = numbers
        .iter()
        .map(|(name, json, _)| licenses(&[("workloadName", &quoted(name)), ("licensesActive", json)]))
        .collect();
    let expected: Vec<Counted> = numbers
        .iter()
        .map(|(name, _, active)| {
            let percent = match active {
                20 => 25.0,
                80 => 100.0,
                96 => 120.0,
                _ => 0.0,
            };
            (("o365", *name, "reseller", percent, DAY), *active, 80)
        })
        .collect();
    found("counts", successor_rows(&rows), &expected)
}

fn counts() -> Vec<Row> {
    let none = |member| {
        [
            "-1",
            "0.5",
            "1e400",
            "9007199254740994",
            "1e17",
            r#""many""#,
            r#""""#,
            r#""-1""#,
            r#""1,000""#,
            r#""NaN""#,
            "true",
            "[1]",
            "{}",
        ]
        .map(|json| {
            let reason = match json {
                "1e400" => "unreadable",
                // An empty text is as good as none, of which there may be another spelling.
                r#""""# if member == "licensesActive" => "missing_value",
                _ => "invalid_number",
            };
            (member, json, reason)
        })
    };
    let missing = [
        ("licensesActive", "null"),
        ("licensesActive", ""),
        ("licensesQualified", "null"),
        ("licensesQualified", ""),
    ];
    let most = "9007199254740992";
    vec![
        accepted_counts(),
        dropped("invalid counts of active licences", &none("licensesActive")),
        dropped("invalid counts of qualified licences", &none("licensesQualified")),
        dropped("missing counts", &missing.map(|(member, json)| (member, json, "missing_value"))),
        found(
            "both spellings of active licences",
            successor_rows(&[
                licenses(&[("customerTenantId", r#""a""#), ("licensesActive", ""), ("licenseActive", "30")]),
                licenses(&[
                    ("customerTenantId", r#""b""#),
                    ("licensesActive", "null"),
                    ("licenseActive", r#""10""#),
                ]),
                licenses(&[("customerTenantId", r#""c""#), ("licensesActive", "8"), ("licenseActive", "70")]),
            ]),
            &[exchange_of(48, 240, 20.0)],
        ),
        found(
            "customers and products are added up",
            successor_rows(&[
                of_customer("a", "1", "10"),
                of_customer("b", "12", "10"),
                licenses(&[("productId", r#""x""#), ("licensesActive", "2"), ("licensesQualified", "40")]),
            ]),
            &[exchange_of(15, 60, 25.0)],
        ),
        found(
            "the largest counts",
            successor_rows(&[of_customer("a", most, most), of_customer("b", most, most)]),
            &[exchange_of(1 << 54, 1 << 54, 100.0)],
        ),
        found(
            "nothing qualified in one workload",
            successor_rows(&[
                licenses(&[]),
                licenses(&[
                    ("workloadName", r#""Teams""#),
                    ("licensesActive", "0"),
                    ("licensesQualified", "0"),
                ]),
            ]),
            &[exchange_of(40, 80, 50.0)],
        )
        .rejected("no_licenses: 1"),
        found(
            "nothing qualified anywhere",
            successor_rows(&[of_customer("a", "0", "0"), of_customer("b", "0", "0")]),
            &[],
        )
        .rejected("no_licenses: 1"),
        found(
            "nothing qualified for one customer",
            successor_rows(&[licenses(&[]), of_customer("b", "0", "0")]),
            &[exchange_of(40, 80, 50.0)],
        ),
    ]
}

fn labels() -> Vec<Row> {
    let long: &'static str = "x".repeat(1023).leak();
    let too_long = quoted(&format!("{long}x"));
    let names = [
        r#"the "new" Exchange"#,
        r"\\server\new\",
        "one\ntwo\r\nthree\n",
        "a tab\t, nothing\0, an escape\u{1b}[31m and others\u{7f}\u{85}\u{2028}",
        "x\"} 1\npartner_license_up 1\n# HELP",
        "Teams 🎉 👩‍💻",
        "<script>alert(1)</script>&amp;'",
        "  ",
        long,
    ];
    let with_names: Vec<_> = names.iter().map(|name| licenses(&[("workloadName", &quoted(name))])).collect();
    let of_names: Vec<Counted> =
        names.iter().map(|name| (("o365", *name, "reseller", 50.0, DAY), 40, 80)).collect();
    let none = [
        ("workloadName", too_long.as_str(), "invalid_label"),
        ("workloadName", "7", "invalid_label"),
        ("channel", "{}", "invalid_label"),
        ("serviceCode", "true", "invalid_label"),
        ("channel", r#""\ud83c""#, "unreadable"),
        ("channel", r#""""#, "missing_label"),
        ("channel", "null", "missing_label"),
        ("workloadName", "", "missing_label"),
    ];
    let by_name = |name, code: &str, text: &'static str| {
        found(
            name,
            successor_rows(&[licenses(&[("serviceCode", code)])]),
            &[((text, "Exchange", "reseller", 50.0, DAY), 40, 80)],
        )
    };
    let ids: Vec<_> = ["no GUID", "", "0112a436", "<script>", "7\n8", long, "x\u{202e}y"]
        .iter()
        .map(|id| of_customer(id, "1", "4"))
        .chain(["null", "7", "[]"].map(|json| {
            licenses(&[("customerTenantId", json), ("licensesActive", "1"), ("licensesQualified", "4")])
        }))
        .collect();
    vec![
        found("labels of the successor", successor_rows(&with_names), &of_names),
        dropped("invalid labels of the successor", &none),
        by_name("a service without a code has its name", "", "Microsoft Office 365"),
        by_name("a service whose code is empty has its name", r#""""#, "Microsoft Office 365"),
        by_name("a service whose code is null has its name", "null", "Microsoft Office 365"),
        found(
            "no code and no name of the service",
            successor_rows(&[
                licenses(&[]),
                licenses(&[("customerName", r#""b""#), ("serviceCode", ""), ("serviceName", "")]),
            ]),
            &[exchange_of(40, 80, 50.0)],
        )
        .rejected("missing_label: 1"),
        found("ids of customers that are no GUID", successor_rows(&ids), &[exchange_of(9, 36, 25.0)])
            .rejected("duplicate: 1"),
        found(
            "services, workloads and channels that differ",
            successor_rows(&[
                licenses(&[]),
                licenses(&[("serviceCode", r#""crm""#)]),
                licenses(&[("channel", r#""Reseller""#)]),
            ]),
            &[
                exchange_of(40, 80, 50.0),
                (("crm", "Exchange", "reseller", 50.0, DAY), 40, 80),
                (("o365", "Exchange", "Reseller", 50.0, DAY), 40, 80),
            ],
        ),
    ]
}

fn dates() -> Vec<Row> {
    let dates = [
        ("in Zulu time", r#""2026-11-20T00:00:00Z""#),
        ("in another zone", r#""2026-11-20T02:00:00+02:00""#),
        ("with seven digits of a second", r#""2026-11-20T00:00:00.0000000""#),
        ("a day alone", r#""2026-11-20""#),
    ];
    let bodies: Vec<_> = dates
        .iter()
        .map(|(name, json)| licenses(&[("workloadName", &quoted(name)), (PROCESSED, json)]))
        .collect();
    let expected: Vec<Counted> =
        dates.iter().map(|(name, _)| (("o365", *name, "reseller", 50.0, DAY), 40, 80)).collect();
    let none = [
        (PROCESSED, r#""10/14/2018""#, "invalid_date"),
        (PROCESSED, r#""""#, "invalid_date"),
        (PROCESSED, "1795132800", "invalid_date"),
        (PROCESSED, "{}", "invalid_date"),
    ];
    vec![
        found("dates of the successor", successor_rows(&bodies), &expected),
        dropped("invalid dates of the successor", &none),
        found(
            "the oldest date of the rows of a sum",
            successor_rows(&[
                licenses(&[]),
                licenses(&[("productId", r#""x""#), (PROCESSED, r#""2026-11-18""#)]),
            ]),
            &[(("o365", "Exchange", "reseller", 50.0, DAY - 2 * 86_400), 80, 160)],
        ),
        found(
            "rows without a date beside one that has it",
            successor_rows(&[
                licenses(&[("workloadName", r#""Teams""#), (PROCESSED, "")]),
                licenses(&[("workloadName", r#""Viva""#), (PROCESSED, "null")]),
                licenses(&[]),
            ]),
            &[
                exchange_of(40, 80, 50.0),
                (("o365", "Teams", "reseller", 50.0, DAY), 40, 80),
                (("o365", "Viva", "reseller", 50.0, DAY), 40, 80),
            ],
        )
        .traffic("token 200: 1, commercial_usage 200: 2"),
        unusable(
            "no date anywhere",
            successor_rows(&[licenses(&[(PROCESSED, "")])]),
            "none of the rows can be used: 1 missing_date",
        )
        .rejected("missing_date: 1")
        .then_requests(1)
        .traffic("token 200: 1, commercial_usage 200: 2"),
    ]
}

fn grouping() -> Vec<Row> {
    let rows = "rows: [{ROW}, {OTHER}]"
        .replace("{ROW}", &licenses(&[]))
        .replace("{OTHER}", &licenses(&[("productId", r#""x""#), ("licensesActive", "8")]));
    let grouped = |name, commercial: &str| {
        let scenario = format!("commercial: {{ {commercial} }}, commercial_usage: {{ {rows} }}");
        found(name, scenario, &[exchange_of(48, 160, 30.0)])
    };
    let two = "token 200: 1, commercial_usage 200: 2";
    let dated = |name, usage: &str, reason, text: &str| {
        fails(name, format!("commercial_usage: {{ {rows}, {usage}, skip: 1 }}"), reason, text)
    };
    vec![
        grouped("rows that the server adds up", "groupby: applied").traffic(two),
        grouped("rows that the server adds up, with counts as text", "counts_as_text: true").traffic(two),
        grouped("rows that the server adds up, in the other spelling", "active_property: licensesActive")
            .traffic(two),
        grouped("rows that the server does not add up", "groupby: ignored"),
        grouped("a server that refuses to add rows up", "groupby: refused")
            .traffic("token 200: 1, commercial_usage 200: 1, commercial_usage 400: 1"),
        dated(
            "a date that the server refuses to tell",
            "answer: forbidden",
            "forbidden",
            "the API answered 403 Forbidden, code 900150: The supplied role \
             doesn't have the rights to perform the requested operation",
        )
        .traffic("token 200: 1, commercial_usage 200: 1, commercial_usage 403: 1"),
        dated(
            "a date that is HTML",
            "answer: html",
            "payload",
            "the API answered 200 OK: none of the rows can be used: 1 missing_date",
        )
        .rejected("missing_date: 1")
        .then_requests(1)
        .traffic(two),
    ]
}

fn paths() -> Vec<Row> {
    let only = |name, path: &str| {
        let scenario = format!("commercial: {{ paths: {path}, groupby: ignored }}");
        found(name, scenario, &DOCUMENTED)
    };
    vec![
        only("the path of Microsoft's example", "partner_v1"),
        only("the path of Microsoft's syntax line", "v1")
            .traffic("token 200: 1, commercial_usage 200: 1, commercial_usage 404: 1"),
        fails(
            "neither of the paths",
            "commercial: { paths: none }",
            "server",
            "the API answered 404 Not Found, code 1000: Not found",
        )
        .mfa_compliant(None)
        .traffic("token 200: 1, commercial_usage 404: 2"),
        fails("both paths are gone", usage("status: 410, body: ''"), "server", "the API answered 410 Gone")
            .traffic("token 200: 1, commercial_usage 410: 2"),
    ]
}

fn refusals() -> Vec<Row> {
    let refused = |name, answer: &str, reason, text: &str| {
        fails(name, usage(&format!("answer: {answer}")), reason, format!("the API answered {text}"))
    };
    vec![
        refused(
            "a successor that is forbidden",
            "forbidden",
            "forbidden",
            "403 Forbidden, code 900150: The supplied role doesn't have the \
             rights to perform the requested operation",
        )
        .traffic("token 200: 1, commercial_usage 403: 1"),
        refused(
            "a successor that refuses every token",
            "unauthorized",
            "credentials",
            "401 Unauthorized, code 400: Access denied",
        )
        .traffic("token 200: 2, commercial_usage 401: 2"),
        refused(
            "a successor that demands a second factor",
            "mfa_required",
            "mfa",
            "401 Unauthorized, code 900421: Multi-factor authentication is required to call this API.",
        )
        .mfa_compliant(Some(false))
        .traffic("token 200: 2, commercial_usage 401: 2"),
        refused(
            "a successor that is throttled",
            "throttled, retry_after: 120",
            "throttled",
            "429 Too Many Requests: Rate limit is exceeded. Try again in 120 seconds.",
        )
        .delay(120)
        .traffic("token 200: 1, commercial_usage 429: 1, commercial_usage throttled: 1"),
        refused(
            "a successor that fails",
            "server_error",
            "server",
            "500 Internal Server Error, code 800003: Unexpected service error",
        )
        .traffic("token 200: 1, commercial_usage 500: 3, commercial_usage retries: 2"),
        refused(
            "a successor that refuses the query",
            "echo",
            "server",
            "400 Bad Request, code 800002: Invalid request input: Bearer (secret)",
        )
        .traffic("token 200: 1, commercial_usage 400: 2"),
    ]
}
