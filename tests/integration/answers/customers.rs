//! The customers collection, from the two commercial endpoints.

use super::bodies::{
    DAY, PERCENT, PROCESSED, body_of, collection, deployed, envelope, item, licenses, quoted, whole,
};
use super::row::{Customer, Row, Usage, good, of_customers, series};

pub(crate) fn rows() -> Vec<Row> {
    let tables =
        [published(), few(), named(), admitted(), dropped(), paged(), without_deployment(), failed()];
    tables.into_iter().flatten().collect()
}

/// What is said of customers without a row of deployment.
const NO_DEPLOYMENT: &str = "second source: payload: the collection is empty";

/// The usage of the old source in this table.
const OLD: [Usage; 1] = [("o365", "Exchange", "reseller", 70.0, DAY)];

const ALL: &str =
    "usage: { source: licenses }, customers: { enabled: true, poll_interval: 1h, poll_timeout: 60s }";
const NO_NAMES: &str = "usage: { source: licenses }, customers: { enabled: true, \
    poll_interval: 1h, poll_timeout: 60s, names: false }";
const ONE_ROW: &str = "usage: { source: licenses }, customers: { enabled: true, \
    poll_interval: 1h, poll_timeout: 60s, series: 1 }";
const NO_ROW: &str = "usage: { source: licenses }, customers: { enabled: true, \
    poll_interval: 1h, poll_timeout: 60s, series: 0 }";

/// One good page of each endpoint.
const TRAFFIC: &str = "token 200: 1, usage 200: 1, commercial_usage 200: 1, \
    commercial_deployment 200: 1";

/// The customer of [`licenses`] and [`deployed`].
const TEST_COMPANY: Customer = Customer {
    id: "0112a436-b14e-4888-967b-ca4bb2cf1234",
    name: Some("TEST COMPANY"),
    usage: &[("o365", "Exchange", "reseller", 40, 80, DAY)],
    deployment: &[("o365", "reseller", 90, 120)],
};

fn with_usage(scenario: &str) -> String {
    format!("{}, {scenario}", body_of("usage", &collection(&[item(&[(PERCENT, "70.0")])])))
}

/// Returns the scenario with these rows of usage and deployment, each on one page.
fn pages(usage: &[String], deployment: &[String]) -> String {
    let page = |endpoint, rows: &[String]| body_of(endpoint, &envelope(rows, &whole(rows.len())));
    format!("{}, {}", page("commercial_usage", usage), page("commercial_deployment", deployment))
}

/// Returns a row whose usage comes from the old source, and which has these customers.
fn found(name: &'static str, scenario: &str, customers: &[Customer]) -> Row {
    found_of(name, scenario, customers, 0, 0)
}

fn found_of(
    name: &'static str,
    scenario: &str,
    published: &[Customer],
    withheld: usize,
    others: usize,
) -> Row {
    good(name, with_usage(scenario), &OLD)
        .collections(ALL)
        .and_good("customers", of_customers(published, withheld, others))
        .traffic(TRAFFIC)
}

/// Returns a row whose usage comes from the old source, and whose customers fail.
fn fails(name: &'static str, scenario: &str, reason: &'static str, text: &str) -> Row {
    good(name, with_usage(scenario), &OLD)
        .collections(ALL)
        .and_failed("customers", reason, text)
        .answered_by("commercial_usage")
}

/// Returns the usage of a customer.
fn used(customer: &str, changes: &[(&str, &str)]) -> String {
    let customer = quoted(customer);
    licenses(&[&[("customerTenantId", &*customer), ("customerName", "")], changes].concat())
}

/// Returns the deployment of a customer.
fn assigned(customer: &str, changes: &[(&str, &str)]) -> String {
    let customer = quoted(customer);
    deployed(&[&[("customerTenantId", &*customer)], changes].concat())
}

fn published() -> Vec<Row> {
    let documented = format!(
        "{}, {}",
        body_of("commercial_usage", include_str!("../../fixtures/commercial-usage-documented.json")),
        body_of(
            "commercial_deployment",
            include_str!("../../fixtures/commercial-deployment-documented.json")
        ),
    );
    let products = [
        used("a", &[]),
        used("a", &[("productId", r#""x""#), ("licensesActive", r#""2""#), ("licensesQualified", "20")]),
        used("a", &[("workloadName", r#""Teams""#), ("licensesActive", ""), ("licenseActive", "7")]),
        used("b", &[("serviceCode", r#""crm""#), ("licensesActive", "90")]),
    ];
    let sold = [
        assigned("a", &[]),
        assigned("a", &[("productId", r#""x""#), ("licensesDeployed", "1"), ("licensesSold", "1")]),
        assigned("c", &[("licensesSold", "60")]),
    ];
    vec![
        found(
            "the documented customer",
            &documented,
            &[Customer {
                usage: &[
                    ("o365", "SharePoint", "reseller", 0, 1, 1_539_475_200),
                    ("o365", "Exchange", "reseller", 0, 1, 1_539_475_200),
                ],
                deployment: &[("crm", "reseller", 0, 9), ("o365", "reseller", 0, 5)],
                ..TEST_COMPANY
            }],
        ),
        found("one customer", &pages(&[licenses(&[])], &[deployed(&[])]), &[TEST_COMPANY]),
        found_of(
            "customers whose products are added up",
            &pages(&products, &sold),
            &[
                Customer {
                    id: "a",
                    usage: &[
                        ("o365", "Exchange", "reseller", 42, 100, DAY),
                        ("o365", "Teams", "reseller", 7, 80, DAY),
                    ],
                    deployment: &[("o365", "reseller", 91, 121)],
                    ..Customer::default()
                },
                Customer {
                    id: "b",
                    usage: &[("crm", "Exchange", "reseller", 90, 80, DAY)],
                    ..Customer::default()
                },
            ],
            0,
            1,
        ),
        found(
            "no customers",
            "commercial_usage: { answer: empty }, commercial_deployment: { answer: empty }",
            &[],
        ),
    ]
}

/// Customers with few licences, and with rows that differ in what a service is called and when it was processed.
fn few() -> Vec<Row> {
    vec![
        found(
            "nothing qualified for a customer",
            &pages(&[used("a", &[("licensesActive", "0"), ("licensesQualified", "0")])], &[]),
            &[Customer {
                id: "a",
                usage: &[("o365", "Exchange", "reseller", 0, 0, DAY)],
                ..Customer::default()
            }],
        )
        .warning(NO_DEPLOYMENT),
        found(
            "a customer with fewer licences than raise an alert",
            &pages(&[used("a", &[("licensesActive", "1"), ("licensesQualified", "24")])], &[]),
            &[Customer {
                id: "a",
                usage: &[("o365", "Exchange", "reseller", 1, 24, DAY)],
                ..Customer::default()
            }],
        )
        .warning(NO_DEPLOYMENT),
        found(
            "the oldest date of a customer's products",
            &pages(
                &[licenses(&[]), licenses(&[("productId", r#""x""#), (PROCESSED, r#""2026-11-18""#)])],
                &[deployed(&[])],
            ),
            &[Customer {
                usage: &[("o365", "Exchange", "reseller", 80, 160, DAY - 2 * 86_400)],
                ..TEST_COMPANY
            }],
        ),
        found(
            "customers whose usage has no code of the service",
            &pages(&[licenses(&[("serviceCode", "")])], &[deployed(&[("serviceCode", "null")])]),
            &[Customer {
                usage: &[("Microsoft Office 365", "Exchange", "reseller", 40, 80, DAY)],
                deployment: &[("Microsoft Office 365", "reseller", 90, 120)],
                ..TEST_COMPANY
            }],
        ),
    ]
}

fn named() -> Vec<Row> {
    let of_name = |name, json: &str, shown: Option<&'static str>| {
        let usage = [licenses(&[("customerName", json)])];
        found(name, &pages(&usage, &[deployed(&[])]), &[Customer { name: shown, ..TEST_COMPANY }])
    };
    let renamed = [
        licenses(&[
            ("customerName", r#""New""#),
            ("productId", r#""x""#),
            ("licensesActive", "0"),
            ("licensesQualified", "0"),
        ]),
        licenses(&[("customerName", r#""Old""#), (PROCESSED, r#""2026-11-19""#)]),
    ];
    let long: &'static str = "ü".repeat(511).leak();
    let too_long = quoted(&"ü".repeat(600));
    let cases = ["0112A436-B14E-4888-967B-CA4BB2CF1234", "0112a436-b14e-4888-967b-ca4bb2cf1234"];
    let of_case =
        |(id, product): (&str, &str)| licenses(&[("customerTenantId", &quoted(id)), ("productId", product)]);
    let id: &'static str = "x".repeat(1023).leak();
    let ids = ["no GUID", "<script>alert(1)</script>", "x\"} 1\n", id];
    let of_id = |id: &'static str| Customer {
        id,
        usage: &[("o365", "Exchange", "reseller", 40, 80, DAY)],
        ..Customer::default()
    };
    vec![
        of_name("a customer without a name", "", None),
        of_name("a customer whose name is null", "null", None),
        of_name("a customer whose name is empty", r#""""#, None),
        of_name("a customer whose name is a number", "7", None),
        of_name(
            "a customer whose name has quotes",
            r#""Fabrikam \"East\" \\ <b>""#,
            Some(r#"Fabrikam "East" \ <b>"#),
        ),
        of_name("a customer whose name is too long", &too_long, Some(long)),
        found(
            "a customer that was renamed",
            &pages(&renamed, &[deployed(&[])]),
            &[Customer {
                name: Some("New"),
                usage: &[("o365", "Exchange", "reseller", 40, 80, DAY - 86_400)],
                ..TEST_COMPANY
            }],
        ),
        found(
            "names that are not wanted",
            &pages(&[licenses(&[])], &[deployed(&[])]),
            &[Customer { name: None, ..TEST_COMPANY }],
        )
        .collections(NO_NAMES),
        found(
            "an id in capitals and in small letters",
            &pages(&[of_case((cases[0], "1")), of_case((cases[1], "2"))], &[deployed(&[])]),
            &[Customer { usage: &[("o365", "Exchange", "reseller", 80, 160, DAY)], ..TEST_COMPANY }],
        ),
        found("customers whose ids are no GUID", &pages(&ids.map(|id| used(id, &[])), &[]), &ids.map(of_id))
            .warning(NO_DEPLOYMENT),
    ]
}

/// Which rows are published, if not all are admitted.
fn admitted() -> Vec<Row> {
    let of = |id: &str, active: &str, qualified: &str| {
        used(id, &[("licensesActive", active), ("licensesQualified", qualified)])
    };
    // `b` is below the threshold and has most unused licences of those, `c` has most of all, and `d` equals `b`.
    let rows = [of("a", "10", "100"), of("d", "10", "200"), of("c", "500", "1000"), of("b", "10", "200")];
    let sold = [assigned("c", &[]), assigned("b", &[])];
    vec![
        found_of(
            "the row with most unused licences below the threshold",
            &pages(&rows, &sold),
            &[Customer {
                id: "b",
                usage: &[("o365", "Exchange", "reseller", 10, 200, DAY)],
                deployment: &[("o365", "reseller", 90, 120)],
                ..Customer::default()
            }],
            3,
            3,
        )
        .collections(ONE_ROW),
        found("no row is admitted", &pages(&rows, &sold), &[])
            .yields(of_customers(&[], 4, 4).and(
                series("partner_license_customer_processed_timestamp_seconds", [("service", "o365")]),
                DAY,
            ))
            .collections(NO_ROW),
    ]
}

fn dropped() -> Vec<Row> {
    let none = [
        used("b", &[("licensesActive", "-1")]),
        used("c", &[("licensesQualified", "0.5")]),
        used("d", &[("licensesActive", "9007199254740994")]),
        used("e", &[("licensesQualified", "null")]),
        used("f", &[("channel", r#""""#)]),
        used("", &[]),
        licenses(&[("customerTenantId", "null")]),
        licenses(&[("customerTenantId", "7")]),
        used(&"x".repeat(1024), &[]),
        used("g", &[(PROCESSED, r#""soon""#)]),
        used("h", &[(PROCESSED, "")]),
        licenses(&[]),
        "7".to_owned(),
    ];
    let of_deployment =
        [deployed(&[]), assigned("b", &[("licensesSold", "-1")]), assigned("c", &[("licensesDeployed", "")])];
    let one = [licenses(&[])];
    vec![
        found("invalid rows of customers", &pages(&none, &[deployed(&[])]), &[TEST_COMPANY]).rejected(
            "invalid_date: 1, invalid_label: 2, invalid_number: 3, missing_date: \
             1, missing_label: 3, missing_value: 1, not_an_object: 1",
        ),
        found("invalid rows of customers' deployment", &pages(&one, &of_deployment), &[TEST_COMPANY])
            .rejected("invalid_number: 1, missing_value: 1"),
        found(
            "the same row of a customer three times",
            &pages(&[licenses(&[]), licenses(&[]), licenses(&[])], &[deployed(&[]), deployed(&[])]),
            &[TEST_COMPANY],
        )
        .rejected("duplicate: 3"),
        found(
            "a row twice, and the customer renamed between",
            &pages(&[licenses(&[]), licenses(&[("customerName", r#""NEW NAME""#)])], &[deployed(&[])]),
            &[Customer { name: Some("NEW NAME"), ..TEST_COMPANY }],
        )
        .rejected("duplicate: 1"),
    ]
}

/// The pages of three rows, and an empty one after them.
const PAGES: &str = "token 200: 1, usage 200: 1, commercial_usage 200: 4, commercial_deployment 200: 1";

fn paged() -> Vec<Row> {
    let rows = ["a", "b", "c"].map(|id| used(id, &[]));
    let of =
        |id| Customer { id, usage: &[("o365", "Exchange", "reseller", 40, 80, DAY)], ..Customer::default() };
    let all = ["a", "b", "c"].map(of);
    let scenario = |commercial: &str, usage: &str| {
        format!(
            "page_size: 1, commercial: {{ {commercial} }}, commercial_usage: {{ rows: [{}], {usage} }}, \
             commercial_deployment: {{ rows: [{}] }}",
            rows.join(", "),
            assigned("z", &[]),
        )
    };
    let missing = "The number of rows is not the announced one; a page may have left some out";
    let pages = |name, commercial: &str| found_of(name, &scenario(commercial, ""), &all, 0, 1).traffic(PAGES);
    let second = |name, usage: &str| found_of(name, &scenario("", usage), &all, 0, 1);
    let broken = |name, usage: &str, reason, text: &str| fails(name, &scenario("", usage), reason, text);
    vec![
        pages("pages of customers by absolute links", "next_link: absolute"),
        pages("pages of customers by relative links", "next_link: relative"),
        pages("pages of customers whose links are null", "next_link: 'null'"),
        found_of(
            "pages of customers of which one repeats a row",
            &scenario("between_pages: repeats", ""),
            &all,
            0,
            1,
        )
        .rejected("duplicate: 1")
        .warning(missing)
        .traffic(
            "token 200: 1, usage 200: 1, commercial_usage 200: 5, \
             commercial_deployment 200: 1",
        ),
        found_of(
            "pages of customers of which one skips a row",
            &scenario("between_pages: skips", ""),
            &[all[0], all[2]],
            0,
            1,
        )
        .warning(missing)
        .traffic(&PAGES.replace("200: 4", "200: 3")),
        second("a page of customers that fails once", "answer: server_error, skip: 1, times: 1")
            .traffic(&format!("{PAGES}, commercial_usage 500: 1, commercial_usage retries: 1")),
        second(
            "a page of customers that is postponed",
            "answer: throttled, retry_after: 1, skip: 1, times: 1",
        )
        .traffic(&format!("{PAGES}, commercial_usage 429: 1, commercial_usage throttled: 1")),
        second("a page of customers that fails three times", "answer: server_error, skip: 1, times: 3")
            .traffic(&format!("{PAGES}, commercial_usage 500: 3, commercial_usage retries: 2")),
        broken(
            "a page of customers that is HTML",
            "answer: html, skip: 2",
            "payload",
            "the API answered 200 OK: the body is not a collection with a list \
             named Value, see line 1 column 1",
        )
        .traffic("token 200: 1, usage 200: 1, commercial_usage 200: 4"),
    ]
}

fn without_deployment() -> Vec<Row> {
    let one = [licenses(&[])];
    let without = |name, behaviour: &str, warning: &str, traffic: &str| {
        let scenario = format!(
            "{}, commercial_deployment: {{ {behaviour} }}",
            body_of("commercial_usage", &envelope(&one, &whole(1)))
        );
        found(name, &scenario, &[Customer { deployment: &[], ..TEST_COMPANY }])
            .warning(format!("second source: {warning}"))
            .traffic(&format!("token 200: 1, usage 200: 1, commercial_usage 200: 1, {traffic}"))
    };
    let unusable = envelope(&[assigned("a", &[("licensesSold", "-1")])], &whole(1));
    vec![
        without(
            "customers without deployment",
            "answer: not_found",
            "server: the API answered 404 Not Found",
            "commercial_deployment 404: 2",
        ),
        without(
            "customers whose deployment has no content",
            "answer: no_content",
            "payload: the API answered 204 No Content: the response has no content",
            "commercial_deployment 204: 1",
        ),
        without(
            "customers whose deployment cannot be used",
            &format!("body: {}", quoted(&unusable)),
            "payload: the API answered 200 OK: none of the rows can be used: 1 invalid_number",
            "commercial_deployment 200: 1",
        )
        .rejected_by_second_source("invalid_number: 1"),
    ]
}

fn failed() -> Vec<Row> {
    let of_usage = |name, behaviour: &str, reason, text: &str, traffic: &str| {
        fails(name, &format!("commercial_usage: {{ {behaviour} }}"), reason, text)
            .traffic(&format!("token 200: 1, usage 200: 1, {traffic}"))
    };
    let of_deployment = |name, behaviour: &str, reason, text: &str, traffic: &str| {
        let scenario =
            format!("commercial: {{ groupby: ignored }}, commercial_deployment: {{ {behaviour} }}");
        fails(name, &scenario, reason, text)
            .answered_by("commercial_deployment")
            .traffic(&format!("token 200: 1, usage 200: 1, commercial_usage 200: 1, {traffic}"))
    };
    let forbidden = "the API answered 403 Forbidden, code 900150: The supplied role \
        doesn't have the rights to perform the requested operation";
    vec![
        of_usage(
            "customers that are not found",
            "answer: not_found",
            "server",
            "the API answered 404 Not Found",
            "commercial_usage 404: 2",
        ),
        of_usage(
            "customers that are forbidden",
            "answer: forbidden",
            "forbidden",
            forbidden,
            "commercial_usage 403: 1",
        ),
        of_usage(
            "customers that are throttled",
            "answer: throttled, retry_after: 120",
            "throttled",
            "the API answered 429 Too Many Requests: Rate limit is exceeded. Try again in 120 seconds.",
            "commercial_usage 429: 1, commercial_usage throttled: 1",
        )
        .delay(120),
        of_usage(
            "customers that have no content",
            "answer: no_content",
            "payload",
            "the API answered 204 No Content: the response has no content",
            "commercial_usage 204: 1",
        ),
        of_usage(
            "customers that are HTML",
            "answer: html",
            "payload",
            "the API answered 200 OK: the body is not a collection with a list \
             named Value, see line 1 column 1",
            "commercial_usage 200: 1",
        ),
        of_usage(
            "customers that are no rows",
            &format!("body: {}", quoted(&envelope(&["7", "{}"], &whole(2)))),
            "payload",
            "the API answered 200 OK: none of the rows can be used: 1 missing_value, 1 not_an_object",
            "commercial_usage 200: 1",
        )
        .rejected("missing_value: 1, not_an_object: 1"),
        of_deployment(
            "customers whose deployment is forbidden",
            "answer: forbidden",
            "forbidden",
            forbidden,
            "commercial_deployment 403: 1",
        ),
        of_deployment(
            "customers whose deployment fails",
            "answer: server_error",
            "server",
            "the API answered 500 Internal Server Error, code 800003: Unexpected service error",
            "commercial_deployment 500: 3, commercial_deployment retries: 2",
        ),
    ]
}
