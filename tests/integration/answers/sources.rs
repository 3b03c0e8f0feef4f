//! Usage from whichever source has it, and the deployment collection from either.

use super::bodies::{
    DAY, PERCENT, PROCESSED, body_of, collection, deployed, envelope, exchange_of, item, licenses, quoted,
    whole,
};
use super::row::{Counted, Counts, Deployed, Row, Usage, failed, good, listing, of_deployment, of_successor};

pub(crate) fn rows() -> Vec<Row> {
    let tables =
        [chosen(), pinned(), both_fail(), old_deployment(), not_deployment(), new_deployment(), alone()];
    tables.into_iter().flatten().collect()
}

const AUTO: &str = "usage: { source: auto }";

/// The usage of the successor in these tables.
const NEW: [Counted; 1] = [exchange_of(40, 80, 50.0)];

/// The usage of the old source in these tables.
const OLD: [Usage; 1] = [("o365", "Exchange", "reseller", 70.0, DAY)];

/// Returns the scenario in which the old source behaves in this way, and the successor has a row.
fn old(behaviour: &str) -> String {
    let page = body_of("commercial_usage", &envelope(&[licenses(&[])], &whole(1)));
    format!("usage: {{ {behaviour} }}, {page}")
}

/// Returns the old source's collection with one row.
fn old_body() -> String {
    collection(&[item(&[(PERCENT, "70.0")])])
}

fn chosen() -> Vec<Row> {
    let replaced = |name, behaviour: &str, status: &str| {
        good(name, old(behaviour), &[])
            .collections(AUTO)
            .yields(of_successor(&NEW))
            .traffic(&format!("token 200: 1, usage {status}: 1, commercial_usage 200: 1"))
    };
    let stays = |name, behaviour: &str, reason, text: &str, traffic: &str| {
        failed(name, old(behaviour), reason, format!("the API answered {text}"))
            .collections(AUTO)
            .traffic(&format!("token 200: 1, {traffic}"))
    };
    let body = |body: &str| format!("body: {}", quoted(body));
    let unusable = collection(&[item(&[(PERCENT, "-1")]), item(&[(PROCESSED, "null")])]);
    vec![
        good("an old source that works", old(&body(&old_body())), &OLD).collections(AUTO),
        replaced("an old source that is not found", "answer: not_found", "404"),
        replaced(
            "an old source that is not found, in the API's words",
            "status: 404, answer: forbidden",
            "404",
        ),
        replaced("an old source that is gone", "status: 410, body: ''", "410"),
        replaced("an old source without content", "answer: no_content", "204"),
        replaced("an old source with an empty body", "body: ''", "200"),
        replaced("an old source with an empty collection", "answer: empty", "200"),
        replaced("an old source whose rows cannot be used", &body(&unusable), "200"),
        good(
            "an old source with one usable row",
            old(&body(&collection(&[
                item(&[(PERCENT, "-1")]),
                item(&[(PERCENT, "70.0"), ("workloadName", r#""Teams""#)]),
            ]))),
            &[("o365", "Teams", "reseller", 70.0, DAY)],
        )
        .collections(AUTO)
        .rejected("invalid_number: 1"),
        stays(
            "an old source that answers with HTML",
            "answer: html",
            "payload",
            "200 OK: the body is not a collection with a list named items, see line 1 column 1",
            "usage 200: 1",
        ),
        stays(
            "an old source that fails",
            "answer: server_error",
            "server",
            "500 Internal Server Error, code 800003: Unexpected service error",
            "usage 500: 3, usage retries: 2",
        ),
        stays(
            "an old source that forbids",
            "answer: forbidden",
            "forbidden",
            "403 Forbidden, code 900150: The supplied role doesn't have the \
             rights to perform the requested operation",
            "usage 403: 1",
        ),
        stays(
            "an old source that is throttled",
            "answer: throttled, retry_after: 90",
            "throttled",
            "429 Too Many Requests: Rate limit is exceeded. Try again in 90 seconds.",
            "usage 429: 1, usage throttled: 1",
        )
        .delay(90),
        stays(
            "an old source that is gone and asks for a pause",
            "status: 404, body: '', retry_after: 600",
            "server",
            "404 Not Found",
            "usage 404: 1, usage throttled: 1",
        )
        .warning(
            "second source: throttled: the server asked for a pause between two \
             requests of a poll",
        )
        .delay(600),
        stays(
            "an old source that is gone and asks for a pause beyond the poll",
            "status: 404, body: '', retry_after: 90",
            "server",
            "404 Not Found",
            "usage 404: 1, usage throttled: 1",
        )
        .warning(
            "second source: throttled: the server asked for a pause between two \
             requests of a poll",
        )
        .delay(90),
    ]
}

/// One source is the only one that is asked.
fn pinned() -> Vec<Row> {
    let works = old(&format!("body: {}", quoted(&old_body())));
    vec![
        good("the old source alone, which is empty", old("answer: empty"), &[]),
        failed(
            "the old source alone, which is gone",
            old("answer: not_found"),
            "server",
            "the API answered 404 Not Found",
        )
        .traffic("token 200: 1, usage 404: 1"),
        good("the successor alone, though the old source works", works, &[])
            .collections("usage: { source: commercial }")
            .yields(of_successor(&NEW))
            .traffic("token 200: 1, commercial_usage 200: 1"),
    ]
}

fn both_fail() -> Vec<Row> {
    let gone = |name, second: &str, warning: &str, traffic: &str| {
        let scenario = format!("usage: {{ answer: not_found }}, commercial_usage: {{ {second} }}");
        failed(name, scenario, "server", "the API answered 404 Not Found")
            .collections(AUTO)
            .warning(format!("second source: {warning}"))
            .traffic(&format!("usage 404: 1, {traffic}"))
    };
    let empty = |name, second: &str, traffic: &str| {
        let scenario = format!("usage: {{ answer: empty }}, commercial_usage: {{ {second} }}");
        good(name, scenario, &[]).collections(AUTO).traffic(&format!("usage 200: 1, {traffic}"))
    };
    let of_page = |rows: &[String]| format!("body: {}", quoted(&envelope(rows, &whole(rows.len()))));
    let unusable = [licenses(&[("licensesActive", "-1")])];
    vec![
        gone(
            "the successor is not found either",
            "answer: not_found",
            "server: the API answered 404 Not Found",
            "token 200: 1, commercial_usage 404: 2",
        ),
        gone(
            "the successor forbids",
            "answer: forbidden",
            "forbidden: the API answered 403 Forbidden, code 900150: The supplied \
             role doesn't have the rights to perform the requested operation",
            "token 200: 1, commercial_usage 403: 1",
        ),
        gone(
            "the successor refuses every token",
            "answer: unauthorized",
            "credentials: the API answered 401 Unauthorized, code 400: Access denied",
            "token 200: 2, commercial_usage 401: 2",
        ),
        gone(
            "the successor is throttled",
            "answer: throttled, retry_after: 90",
            "throttled: the API answered 429 Too Many Requests: Rate limit is \
             exceeded. Try again in 90 seconds.",
            "token 200: 1, commercial_usage 429: 1, commercial_usage throttled: 1",
        )
        .delay_between(60..=90),
        gone(
            "the successor fails",
            "answer: server_error",
            "server: the API answered 500 Internal Server Error, code 800003: Unexpected service error",
            "token 200: 1, commercial_usage 500: 3, commercial_usage retries: 2",
        ),
        gone(
            "the successor answers with HTML",
            "answer: html",
            "payload: the API answered 200 OK: the body is not a collection with \
             a list named Value, see line 1 column 1",
            "token 200: 1, commercial_usage 200: 1",
        ),
        gone(
            "the successor has no content",
            "answer: no_content",
            "payload: the API answered 204 No Content: the response has no content",
            "token 200: 1, commercial_usage 204: 1",
        ),
        gone(
            "the rows of the successor cannot be used",
            &of_page(&unusable),
            "payload: the API answered 200 OK: none of the rows can be used: 1 invalid_number",
            "token 200: 1, commercial_usage 200: 1",
        )
        .rejected("invalid_number: 1"),
        good(
            "the old source is gone, and the successor is empty",
            "usage: { answer: not_found }, commercial_usage: { answer: empty }",
            &[],
        )
        .collections(AUTO)
        .yields(of_successor(&[]))
        .traffic("token 200: 1, usage 404: 1, commercial_usage 200: 1"),
        empty("both are empty", "answer: empty", "token 200: 1, commercial_usage 200: 1"),
        empty(
            "the old source is empty, and the successor fails",
            "answer: server_error",
            "token 200: 1, commercial_usage 500: 3, commercial_usage retries: 2",
        )
        .warning(
            "second source: server: the API answered 500 Internal Server Error, \
             code 800003: Unexpected service error",
        ),
        empty(
            "the old source is empty, and the successor is throttled",
            "answer: throttled, retry_after: 7200",
            "token 200: 1, commercial_usage 429: 1, commercial_usage throttled: 1",
        )
        .warning(
            "second source: throttled: the API answered 429 Too Many Requests: \
             Rate limit is exceeded. Try again in 7200 seconds.",
        )
        .delay_between(7100..=7200),
    ]
}

/// When every row of deployment was processed, as [`DAY`].
const AT: f64 = 1_795_132_800.0;

/// Returns a row whose usage comes from the old source, and whose deployment has these rows.
fn found(name: &'static str, scenario: impl Into<String>, rows: &[Deployed]) -> Row {
    let scenario = format!("{}, {}", body_of("usage", &old_body()), scenario.into());
    good(name, scenario, &OLD)
        .collections("usage: { source: auto }, deployment: { enabled: true }")
        .and_good("deployment", of_deployment(rows))
        .traffic("token 200: 1, usage 200: 1, deployment 200: 1")
}

/// Returns a row whose usage comes from the old source, and whose deployment fails.
fn fails(name: &'static str, scenario: impl Into<String>, reason: &'static str, text: &str) -> Row {
    let scenario = format!("{}, {}", body_of("usage", &old_body()), scenario.into());
    good(name, scenario, &OLD)
        .collections("usage: { source: auto }, deployment: { enabled: true }")
        .and_failed("deployment", reason, text)
        .traffic("token 200: 1, usage 200: 1, deployment 200: 1")
}

/// Returns an item of the old deployment collection: 62.5 % of 400 licences, except for `changes`, as in [`item`].
fn sold(changes: &[(&str, &str)]) -> String {
    let usual =
        [("workloadName", ""), (PERCENT, ""), ("proratedDeploymentPercent", "62.5"), ("licensesSold", "400")];
    let changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
    let usual = usual.into_iter().filter(|(name, _)| !changed(name));
    item(&usual.chain(changes.iter().copied()).collect::<Vec<_>>())
}

fn old_deployment() -> Vec<Row> {
    let of = |items: &[String]| body_of("deployment", &collection(items));
    let of_service = |service, sold| (service, "reseller", 62.5, sold, None, AT);
    let accepted = [
        ("an integer", "400", Some(400)),
        ("a float", "400.0", Some(400)),
        ("a text", r#""400""#, Some(400)),
        ("none", "0", Some(0)),
        ("null", "null", None),
        ("missing", "", None),
    ];
    let items: Vec<_> = accepted
        .iter()
        .map(|(name, json, _)| sold(&[("serviceName", &quoted(name)), ("licensesSold", json)]))
        .collect();
    let expected: Vec<_> = accepted.iter().map(|(name, _, sold)| of_service(*name, *sold)).collect();
    let percentages = [
        ("one", "1.0", 1.0),
        ("as recorded", "26.16", 26.16),
        ("more than all", "104", 104.0),
        ("nothing", "0", 0.0),
    ];
    let with_percentages: Vec<_> = percentages
        .iter()
        .map(|(name, json, _)| sold(&[("serviceName", &quoted(name)), ("proratedDeploymentPercent", json)]))
        .collect();
    let of_percentages: Vec<Deployed> = percentages
        .iter()
        .map(|(name, _, percent)| (*name, "reseller", *percent, Some(400), None, AT))
        .collect();
    let none = [
        ("licensesSold", "-1", "invalid_number"),
        ("licensesSold", "0.5", "invalid_number"),
        ("licensesSold", "1e17", "invalid_number"),
        ("licensesSold", r#""many""#, "invalid_number"),
        ("proratedDeploymentPercent", "-0.1", "invalid_number"),
        ("proratedDeploymentPercent", r#""62.5""#, "invalid_number"),
        ("proratedDeploymentPercent", "null", "missing_value"),
        ("proratedDeploymentPercent", "", "missing_value"),
        (PROCESSED, "null", "missing_date"),
        (PROCESSED, r#""soon""#, "invalid_date"),
        ("serviceName", "", "missing_label"),
        ("channel", "7", "invalid_label"),
        ("channel", r#""\ud83c""#, "unreadable"),
    ];
    let mut dropped: Vec<_> = none.iter().map(|(member, json, _)| sold(&[(member, json)])).collect();
    dropped.insert(1, sold(&[]));
    let mut reasons = Counts::new();
    for (_, _, reason) in none {
        *reasons.entry(reason.to_owned()).or_default() += 1;
    }
    let pages = format!(
        "deployment: {{ rows: [{}, {}] }}, page_size: 1",
        sold(&[]),
        sold(&[("channel", r#""direct""#)]),
    );
    vec![
        found(
            "the documented deployment",
            "deployment: { answer: ok }",
            &[
                ("crm", "reseller", 0.0, Some(343), None, 1_489_104_000.0),
                ("o365", "reseller", 1.0, Some(4464), None, 1_489_461_916.36),
            ],
        ),
        found("licences sold", of(&items), &expected),
        found("percentages of deployment", of(&with_percentages), &of_percentages),
        found("invalid rows of deployment", of(&dropped), &[of_service("o365", Some(400))])
            .rejected(&listing(&reasons)),
        found(
            "duplicates of deployment",
            of(&[sold(&[]), sold(&[("licensesSold", "7")])]),
            &[of_service("o365", Some(7))],
        )
        .rejected("duplicate: 1"),
        found(
            "two pages of deployment",
            pages,
            &[("o365", "direct", 62.5, Some(400), None, AT), of_service("o365", Some(400))],
        )
        .traffic("token 200: 1, usage 200: 1, deployment 200: 2"),
        found(
            "an empty deployment",
            "deployment: { answer: empty }, commercial_deployment: { answer: empty }",
            &[],
        )
        .traffic("token 200: 1, usage 200: 1, deployment 200: 1, commercial_deployment 200: 1"),
    ]
}

fn not_deployment() -> Vec<Row> {
    let nothing = "the API answered 200 OK: the body is not a collection with a list \
        named items, see line 1 column";
    vec![
        fails("a deployment that is HTML", "deployment: { answer: html }", "payload", nothing),
        fails("a deployment that breaks off", "deployment: { answer: malformed }", "payload", nothing),
        fails(
            "a deployment in the page of the successor",
            body_of("deployment", &envelope(&[deployed(&[])], &whole(1))),
            "payload",
            nothing,
        ),
        fails(
            "a deployment whose connection is lost",
            "deployment: { answer: truncated }",
            "network",
            "the request to the API failed:",
        )
        .traffic("token 200: 1, usage 200: 1, deployment error: 3, deployment retries: 2"),
    ]
}

fn new_deployment() -> Vec<Row> {
    let gone = |name, behaviour: &str, rows: &[Deployed]| {
        let scenario =
            format!("deployment: {{ answer: not_found }}, commercial_deployment: {{ {behaviour} }}");
        found(name, scenario, rows)
            .traffic("token 200: 1, usage 200: 1, deployment 404: 1, commercial_deployment 200: 1")
    };
    let of = |rows: &[String]| format!("body: {}", quoted(&envelope(rows, &whole(rows.len()))));
    let of_customer = |customer: &str, changes: &[(&str, &str)]| {
        let customer = quoted(customer);
        deployed(&[&[("customerTenantId", &*customer)], changes].concat())
    };
    let one = ("o365", "reseller", 75.0, Some(120), Some(90), AT);
    let none = [
        ("licensesDeployed", "-1", "invalid_number"),
        ("licensesDeployed", "null", "missing_value"),
        ("licensesSold", "", "missing_value"),
        ("licensesSold", "1.5", "invalid_number"),
        ("licensesSold", "9007199254740994", "invalid_number"),
        ("channel", r#""""#, "missing_label"),
        (PROCESSED, r#""soon""#, "invalid_date"),
    ];
    let mut dropped: Vec<_> = none
        .iter()
        .enumerate()
        .map(|(number, (member, json, _))| of_customer(&number.to_string(), &[(member, json)]))
        .collect();
    dropped.insert(1, deployed(&[]));
    let mut reasons = Counts::new();
    for (_, _, reason) in none {
        *reasons.entry(reason.to_owned()).or_default() += 1;
    }
    let documented = include_str!("../../fixtures/commercial-deployment-documented.json");
    let pages = |commercial: &str| {
        format!(
            "page_size: 1, commercial: {{ groupby: ignored, {commercial} }}, deployment: {{ answer: not_found }}, \
             commercial_deployment: {{ rows: [{}, {}] }}",
            of_customer("a", &[]),
            of_customer("b", &[]),
        )
    };
    let two = [("o365", "reseller", 75.0, Some(240), Some(180), AT)];
    let two_pages = "token 200: 1, usage 200: 1, deployment 404: 1, commercial_deployment 200: 2";
    let and_an_empty_page = two_pages.replace("commercial_deployment 200: 2", "commercial_deployment 200: 3");
    let and_an_empty_page = and_an_empty_page.as_str();
    vec![
        gone(
            "the documented page of deployment",
            &format!("body: {}", quoted(documented)),
            &[
                ("crm", "reseller", 0.0, Some(9), Some(0), 1_539_475_200.0),
                ("o365", "reseller", 0.0, Some(5), Some(0), 1_539_475_200.0),
            ],
        ),
        gone(
            "customers of deployment are added up",
            &of(&[
                deployed(&[]),
                of_customer("b", &[("licensesDeployed", "30"), ("licensesSold", r#""40""#)]),
            ]),
            &[("o365", "reseller", 75.0, Some(160), Some(120), AT)],
        ),
        gone(
            "more deployed than sold",
            &of(&[deployed(&[("licensesDeployed", "150")])]),
            &[("o365", "reseller", 125.0, Some(120), Some(150), AT)],
        ),
        gone(
            "nothing sold of one service",
            &of(&[
                deployed(&[]),
                deployed(&[("serviceCode", r#""crm""#), ("licensesDeployed", "0"), ("licensesSold", "0")]),
            ]),
            &[one],
        )
        .rejected("no_licenses: 1"),
        gone("invalid rows of the successor of deployment", &of(&dropped), &[one])
            .rejected(&listing(&reasons)),
        gone("the same row of deployment twice", &of(&[deployed(&[]), deployed(&[])]), &[one])
            .rejected("duplicate: 1"),
        gone(
            "deployment that the server adds up",
            &format!("rows: [{}, {}]", of_customer("a", &[]), of_customer("b", &[])),
            &two,
        )
        .traffic(two_pages),
        found("pages of deployment by links", pages("next_link: relative"), &two).traffic(and_an_empty_page),
        found("pages of deployment without links", pages("next_link: absent"), &two)
            .traffic(and_an_empty_page),
    ]
}

/// Deployment fails, and usage works.
fn alone() -> Vec<Row> {
    let gone = |name, second: &str, warning: &str, traffic: &str| {
        let scenario = format!("deployment: {{ answer: not_found }}, commercial_deployment: {{ {second} }}");
        fails(name, scenario, "server", "the API answered 404 Not Found")
            .warning(format!("second source: {warning}"))
            .traffic(&format!("token 200: 1, usage 200: 1, deployment 404: 1, {traffic}"))
    };
    let alone = |name, answer: &str, reason, text: &str, traffic: &str| {
        fails(
            name,
            format!("deployment: {{ answer: {answer} }}"),
            reason,
            &format!("the API answered {text}"),
        )
        .traffic(&format!("token 200: 1, usage 200: 1, {traffic}"))
    };
    vec![
        alone(
            "deployment that fails alone",
            "server_error",
            "server",
            "500 Internal Server Error, code 800003: Unexpected service error",
            "deployment 500: 3, deployment retries: 2",
        ),
        alone(
            "deployment that is forbidden alone",
            "forbidden",
            "forbidden",
            "403 Forbidden, code 900150: The supplied role doesn't have the \
             rights to perform the requested operation",
            "deployment 403: 1",
        ),
        gone(
            "no source of deployment is found",
            "answer: not_found",
            "server: the API answered 404 Not Found",
            "commercial_deployment 404: 2",
        ),
        gone(
            "the successor of deployment fails",
            "answer: server_error",
            "server: the API answered 500 Internal Server Error, code 800003: Unexpected service error",
            "commercial_deployment 500: 3, commercial_deployment retries: 2",
        ),
        gone(
            "the successor of deployment has the rows of usage",
            &format!("body: {}", quoted(&envelope(&[licenses(&[])], &whole(1)))),
            "payload: the API answered 200 OK: none of the rows can be used: 1 missing_value",
            "commercial_deployment 200: 1",
        )
        .rejected("missing_value: 1"),
    ]
}
