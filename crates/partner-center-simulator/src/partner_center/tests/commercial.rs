//! Tests the commercial endpoints as a client sees them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::REPORT;
use crate::testkit::{
    HOST, TestResponse, USAGE, access_token, clock, exchange, get, parsed, simulator, usage,
};
use crate::{Scenario, Simulator};

const COMMERCIAL_USAGE: &str = "/partner/v1/analytics/commercial/usage/license";
const WITHOUT_PARTNER: &str = "/v1/analytics/commercial/usage/license";
const COMMERCIAL_DEPLOYMENT: &str = "/partner/v1/analytics/commercial/deployment/license";

/// A caller that is signed in.
struct Caller<'a> {
    simulator: &'a Simulator,
    authorization: String,
}

impl<'a> Caller<'a> {
    async fn new(simulator: &'a Simulator) -> Self {
        let scope = format!("http://{HOST}/user_impersonation offline_access");
        let token = exchange(simulator, "contoso", &[("scope", &scope)]).await.member("access_token");
        Self { simulator, authorization: format!("Bearer {token}") }
    }

    async fn get(&self, path: &str) -> TestResponse {
        get(self.simulator, path, &[("authorization", &self.authorization), ("host", HOST)]).await
    }

    /// The rows of all pages of a path, by links or else by `skip`, and the number of pages.
    async fn all(&self, path: &str) -> (Vec<Value>, usize) {
        let (mut rows, mut pages, mut next) = (vec![], 0, path.to_owned());
        loop {
            let page = parsed(&self.get(&next).await);
            rows.extend(page["Value"].as_array().unwrap().iter().cloned());
            pages += 1;
            let Some(link) = page["@nextLink"].as_str() else { return (rows, pages) };
            next = link.strip_prefix(&format!("http://{HOST}")).unwrap_or(link).to_owned();
        }
    }
}

async fn page(scenario: &str, path: &str) -> Value {
    let simulator = simulator(scenario);
    let answer = Caller::new(&simulator).await.get(path).await;
    assert_eq!(answer.status, 200, "{scenario}, {path}: {}", answer.text());
    parsed(&answer)
}

fn texts<'a>(rows: &'a Value, property: &str) -> Vec<&'a str> {
    rows.as_array().unwrap().iter().map(|row| row[property].as_str().unwrap()).collect()
}

/// The members of an object, in their order.
fn members(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn the_documented_rows_are_those_of_the_documents_on_every_documented_path() {
    for (kind, fixture) in [
        ("usage", include_str!("../../../../../tests/fixtures/commercial-usage-documented.json")),
        ("deployment", include_str!("../../../../../tests/fixtures/commercial-deployment-documented.json")),
    ] {
        let documented: Value = serde_json::from_str(fixture).unwrap();
        for version in ["/v1", "/partner/v1"] {
            for slash in ["", "/"] {
                let path = format!("{version}/analytics/commercial/{kind}/license{slash}");
                let simulator = simulator("{}");
                let answer = Caller::new(&simulator).await.get(&path).await;
                assert!(answer.body.starts_with("\u{feff}{\"Value\":[".as_bytes()), "{path}");
                assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
                // As text, because the order of the members matters too.
                assert_eq!(parsed(&answer).to_string(), documented.to_string(), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_path_that_the_scenario_lacks_is_not_found_and_logged_and_is_no_call() {
    for (paths, partner, plain) in
        [("both", 200, 200), ("v1", 404, 200), ("partner_v1", 200, 404), ("none", 404, 404)]
    {
        let simulator = simulator(&format!(
            "{{ commercial: {{ paths: {paths} }}, commercial_usage: {{ status: 200, times: 9 }} }}"
        ));
        let caller = Caller::new(&simulator).await;
        let mut calls = vec![];
        for (path, status) in [(COMMERCIAL_USAGE, partner), (WITHOUT_PARTNER, plain)] {
            let answer = caller.get(path).await;
            assert_eq!(answer.status, status, "{paths}, {path}");
            if status == 404 {
                assert_eq!(answer.json()["code"], 1000);
            }
            calls.push((path.into(), status.into()));
        }
        let log = get(&simulator, "/simulator/requests", &[]).await.json();
        let logged: Vec<(Value, Value)> = log["requests"].as_array().unwrap()[1..]
            .iter()
            .map(|request| (request["path"].clone(), request["status"].clone()))
            .collect();
        assert_eq!(logged, calls);
        assert_eq!(log["totals"]["commercial_usage"], 2);
    }
}

#[tokio::test]
async fn the_log_has_the_path_and_the_query_of_each_request_for_a_collection() {
    let simulator = simulator("{}");
    let caller = Caller::new(&simulator).await;
    for path in [
        "/v1/analytics/licenses/deployment",
        "/v1/analytics/commercial/usage/license/?top=5&skip=1",
        COMMERCIAL_DEPLOYMENT,
        "/v1/analytics/licenses/usage",
    ] {
        assert_eq!(caller.get(path).await.status, 200);
    }
    let log = get(&simulator, "/simulator/requests", &[]).await.json();
    let logged: Vec<_> = log["requests"].as_array().unwrap()[1..]
        .iter()
        .map(|request| {
            json!([request["endpoint"], request["path"], request["query"], request["authorization"]])
        })
        .collect();
    assert_eq!(
        json!(logged),
        json!([
            ["deployment", "/v1/analytics/licenses/deployment", null, "valid"],
            ["commercial_usage", "/v1/analytics/commercial/usage/license/", "top=5&skip=1", "valid"],
            ["commercial_deployment", COMMERCIAL_DEPLOYMENT, null, "valid"],
            ["usage", USAGE, null, "valid"],
        ])
    );
}

#[tokio::test]
async fn access_without_a_valid_token_is_denied() {
    let simulator = simulator("{ enforce_mfa: true, mfa: false }");
    let caller = Caller::new(&simulator).await;
    for path in [COMMERCIAL_USAGE, COMMERCIAL_DEPLOYMENT, "/v1/analytics/licenses/deployment"] {
        assert_eq!(get(&simulator, path, &[("host", HOST)]).await.json()["code"], 400);
        assert_eq!(caller.get(path).await.json()["code"], 900_421);
    }
}

#[tokio::test]
async fn each_endpoint_has_its_own_behaviour_and_calls() {
    let simulator = simulator(
        "{ usage: { answer: not_found }, deployment: { answer: throttled, retry_after: 9, times: 1 }, \
         commercial_usage: { status: 410, skip: 1 }, commercial_deployment: { answer: no_bom, merge: { TotalCount: 7 } } }",
    );
    let caller = Caller::new(&simulator).await;
    assert_eq!(caller.get(USAGE).await.status, 404);
    let deployment = "/v1/analytics/licenses/deployment";
    assert_eq!(caller.get(deployment).await.header("retry-after"), Some("9"));
    assert_eq!(caller.get(deployment).await.status, 200);
    assert_eq!(caller.get(COMMERCIAL_USAGE).await.status, 200);
    assert_eq!(caller.get(COMMERCIAL_USAGE).await.status, 410);
    let answer = caller.get(COMMERCIAL_DEPLOYMENT).await;
    assert!(
        answer.text().starts_with('{') && answer.text().ends_with(r#""TotalCount":7}"#),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_behaviour_with_a_body_replaces_the_page() {
    let simulator = simulator("commercial_usage: { body: '{\"Value\": 5}', status: 206 }");
    let answer = Caller::new(&simulator).await.get(COMMERCIAL_USAGE).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (206, "{\"Value\": 5}"));
}

#[tokio::test]
async fn an_empty_collection_has_an_envelope_without_rows() {
    for path in [COMMERCIAL_USAGE, COMMERCIAL_DEPLOYMENT] {
        let scenario = "{ commercial_usage: { answer: empty }, commercial_deployment: { rows: [] } }";
        assert_eq!(page(scenario, path).await, json!({"Value": [], "@nextLink": null, "TotalCount": 0}));
    }
}

#[tokio::test]
async fn a_tenant_overrides_rows_customers_and_what_the_commercial_endpoints_have_in_common() {
    let scenario = "
rows: portfolio
customers: { count: 3 }
commercial_usage: { answer: forbidden }
tenants:
  contoso:
    customers: { count: 2, products: 1, workloads: 1 }
    commercial: { active_property: licensesActive }
    commercial_usage: {}
    commercial_deployment: { rows: documented }
    deployment: { rows: [{ licensesSold: 1 }] }
";
    let rows = &page(scenario, COMMERCIAL_USAGE).await["Value"];
    assert_eq!((rows.as_array().unwrap().len(), rows[0]["licensesActive"].is_u64()), (2, true));
    assert_eq!(page(scenario, COMMERCIAL_DEPLOYMENT).await["Value"][0]["customerName"], "TEST COMPANY");
    assert_eq!(page(scenario, "/v1/analytics/licenses/deployment").await["items"][0]["licensesSold"], 1);
}

#[tokio::test]
async fn rows_without_a_scenario_of_their_own_go_with_those_of_the_usage_report() {
    for (rows, counts) in [("documented", [2, 2, 2]), ("portfolio", [1120, 320, 4]), ("[{}]", [0, 0, 0])] {
        let scenario = format!("rows: {rows}");
        let commercial = [COMMERCIAL_USAGE, COMMERCIAL_DEPLOYMENT];
        let mut found = vec![];
        for path in commercial {
            found.push(page(&scenario, path).await["Value"].as_array().unwrap().len());
        }
        let deployment = page(&scenario, "/v1/analytics/licenses/deployment").await;
        found.push(deployment["items"].as_array().unwrap().len());
        assert_eq!(found, counts, "{rows}");
    }
}

#[tokio::test]
async fn listed_rows_are_sent_exactly_as_they_are_written() {
    let rows = r#"[{"licensesActive":-1,"licensesQualified":"5","x":null},{},{"licenseActive":1.50,"a":[1,{"b":true}]}]"#;
    for path in [COMMERCIAL_USAGE, COMMERCIAL_DEPLOYMENT] {
        let scenario =
            format!("{{ commercial_usage: {{ rows: {rows} }}, commercial_deployment: {{ rows: {rows} }} }}");
        let sent = page(&scenario, path).await["Value"].to_string();
        assert_eq!(sent, rows.replace("1.50", "1.5"));
    }
}

// === paging ===

#[tokio::test]
async fn top_and_skip_select_a_page_and_the_link_leads_to_the_next() {
    let simulator = simulator("{ rows: portfolio, customers: { count: 3, products: 1, workloads: 2 } }");
    let caller = Caller::new(&simulator).await;
    let all = parsed(&caller.get(COMMERCIAL_USAGE).await);
    assert_eq!((all["TotalCount"].as_u64(), &all["@nextLink"]), (Some(6), &Value::Null));
    let second = parsed(&caller.get(&format!("{COMMERCIAL_USAGE}?top=2&skip=2")).await);
    assert_eq!(second["Value"].as_array().unwrap()[..], all["Value"].as_array().unwrap()[2..4]);
    assert_eq!(second["TotalCount"], 6);
    assert_eq!(second["@nextLink"], format!("http://{HOST}{COMMERCIAL_USAGE}?top=2&skip=4"));
    let beyond = parsed(&caller.get(&format!("{COMMERCIAL_USAGE}?skip=6")).await);
    assert_eq!(beyond, json!({"Value": [], "@nextLink": null, "TotalCount": 6}));
}

#[tokio::test]
async fn links_lead_through_all_pages_in_every_form() {
    for (form, first) in [
        (
            "absolute",
            json!(format!("http://{HOST}{COMMERCIAL_USAGE}?top=5&filter=channel+eq+%27direct%27&skip=5")),
        ),
        ("relative", json!(format!("{COMMERCIAL_USAGE}?top=5&filter=channel+eq+%27direct%27&skip=5"))),
        (
            "relative_without_version",
            json!("/analytics/commercial/usage/license?top=5&filter=channel+eq+%27direct%27&skip=5"),
        ),
        ("null", Value::Null),
    ] {
        let scenario =
            format!("{{ rows: portfolio, customers: {{ count: 4 }}, commercial: {{ next_link: {form} }} }}");
        let path = format!("{COMMERCIAL_USAGE}?top=5&filter=channel%20eq%20%27direct%27");
        assert_eq!(page(&scenario, &path).await["@nextLink"], first, "{form}");
        if form == "absolute" || form == "relative" {
            let simulator = simulator(&scenario);
            let (rows, pages) = Caller::new(&simulator).await.all(&path).await;
            // Four customers have two products with five workloads each.
            assert_eq!((rows.len(), pages), (40, 8), "{form}");
        }
    }
    let absent = page("{ page_size: 1, commercial: { next_link: absent } }", COMMERCIAL_USAGE).await;
    assert_eq!(members(&absent), ["Value", "TotalCount"]);
}

#[tokio::test]
async fn a_server_can_send_fewer_rows_than_asked_for() {
    let simulator = simulator("{ page_size: 3, rows: portfolio, customers: { count: 1, products: 1 } }");
    let caller = Caller::new(&simulator).await;
    assert_eq!(caller.all(&format!("{COMMERCIAL_USAGE}?top=10")).await.1, 5);
    assert_eq!(caller.all(&format!("{COMMERCIAL_USAGE}?top=2")).await.1, 7);
}

#[tokio::test]
async fn the_total_count_can_be_wrong_or_absent() {
    let path = &format!("{COMMERCIAL_USAGE}?top=1");
    assert_eq!(page("{}", path).await["TotalCount"], 2);
    assert_eq!(page("commercial: { total_count: wrong }", COMMERCIAL_USAGE).await["TotalCount"], 3);
    let absent = page("commercial: { total_count: absent }", path).await;
    assert_eq!(members(&absent), ["Value", "@nextLink"]);
}

#[tokio::test]
async fn a_row_can_be_on_two_pages_or_on_none() {
    let rows: Vec<_> = (0..6).map(|id| json!({"productId": id.to_string()})).collect();
    for (between, ids) in [
        ("nothing", "0 1 2 3 4 5"),
        // Six rows after the one that was inserted, on two pages each.
        ("repeats", "0 1 1 2 3 4 5"),
        ("skips", "0 1 3 4 5"),
    ] {
        let simulator = simulator(&format!(
            "{{ page_size: 2, commercial: {{ between_pages: {between} }}, commercial_usage: {{ rows: {} }} }}",
            json!(rows)
        ));
        let (rows, _) = Caller::new(&simulator).await.all(COMMERCIAL_USAGE).await;
        assert_eq!(texts(&json!(rows), "productId").join(" "), ids, "{between}");
    }
}

#[tokio::test]
async fn an_invalid_query_is_refused() {
    let simulator = simulator("{}");
    let caller = Caller::new(&simulator).await;
    let too_deep = format!("filter={}channel%20eq%20'a'{}", "(".repeat(101), ")".repeat(101));
    for query in [
        "top=0",
        "top=10001",
        "top=ten",
        "skip=-1",
        "groupby=color",
        "groupby=channel,",
        "filter=",
        "filter=channel",
        "filter=channel%20is%20'reseller'",
        "filter=color%20eq%20'red'",
        "filter=channel%20eq%20'reseller",
        "filter=channel%20eq%20reseller",
        "filter=(channel%20eq%20'reseller'",
        "filter=channel%20eq%20'reseller')",
        "filter=channel%20eq%20'a'%20or",
        &too_deep,
        "processedDateTime=yesterday",
        "processedDateTime=2026-02-30",
    ] {
        let answer = caller.get(&format!("{COMMERCIAL_USAGE}?{query}")).await;
        assert_eq!((answer.status.as_u16(), answer.text().contains("\"code\":3000")), (400, true), "{query}");
    }
    // Deployment has no workloads.
    let path = format!("{COMMERCIAL_DEPLOYMENT}?groupby=workloadName");
    assert_eq!(caller.get(&path).await.status, 400);
}

// === filter and groups ===

#[tokio::test]
async fn a_filter_selects_rows() {
    let rows = r#"[
        {productId: a, workloadCode: SFB, channel: reseller}, {productId: b, workloadCode: EXO, channel: reseller},
        {productId: c, workloadCode: EXO, channel: direct}, {productId: d, customerName: "it's"}]"#;
    for (filter, ids) in [
        ("workloadCode eq 'SFB'", "a"),
        ("workloadCode eq 'exo'", "b c"),
        ("WorkloadCode ne 'EXO'", "a d"),
        ("workloadCode eq 'EXO' and channel eq 'Reseller'", "b"),
        ("workloadCode eq 'SFB' or workloadCode eq 'EXO' and channel eq 'direct'", "a c"),
        ("(workloadCode eq 'SFB' or workloadCode eq 'EXO') and channel eq 'direct'", "c"),
        ("workloadCode eq 'SFB' or (channel eq 'Direct')", "a c"),
        ("customerName eq 'it''s'", "d"),
        ("channel eq ''", ""),
    ] {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("filter", filter).finish();
        let path = format!("{COMMERCIAL_USAGE}?{query}");
        let page = page(&format!("commercial_usage: {{ rows: {rows} }}"), &path).await;
        let found = texts(&page["Value"], "productId");
        assert_eq!(
            (found.join(" ").as_str(), page["TotalCount"].as_u64()),
            (ids, Some(found.len() as u64)),
            "{filter}"
        );
    }
}

#[tokio::test]
async fn groups_have_their_fields_and_the_sums_of_the_counts() {
    let rows =
        "[{serviceCode: o365, channel: reseller, licenseActive: 3, licensesQualified: 5, productId: a},
        {serviceCode: crm, licensesActive: 1, licensesQualified: '2'},
        {serviceCode: o365, channel: reseller, licenseActive: 4, licensesQualified: null, productId: b}]";
    let path = format!("{COMMERCIAL_USAGE}?groupby=channel,serviceCode");
    let grouped = page(&format!("commercial_usage: {{ rows: {rows} }}"), &path).await;
    assert_eq!(
        grouped.to_string(),
        json!({
            "Value": [
                {"channel": "reseller", "serviceCode": "o365", "licenseActive": 7, "licensesQualified": 5},
                {"serviceCode": "crm", "licenseActive": 1, "licensesQualified": 2},
            ],
            "@nextLink": null,
            "TotalCount": 2,
        })
        .to_string()
    );
    let scenario = "commercial: { counts_as_text: true, active_property: licensesActive }";
    let text = page(scenario, &format!("{COMMERCIAL_USAGE}?groupby=channel")).await;
    assert_eq!(
        text["Value"],
        json!([{"channel": "reseller", "licensesActive": "0", "licensesQualified": "2"}])
    );
    let path = format!("{COMMERCIAL_DEPLOYMENT}?groupby=serviceCode&filter=channel%20ne%20'a'");
    let deployment = page("{}", &path).await;
    assert_eq!(
        deployment["Value"],
        json!([
            {"serviceCode": "crm", "licensesDeployed": 0, "licensesSold": 9},
            {"serviceCode": "o365", "licensesDeployed": 0, "licensesSold": 5},
        ])
    );
}

#[tokio::test]
async fn groups_of_the_portfolio_are_the_same_with_and_without_visiting_the_customers() {
    const SCENARIO: &str = "{ rows: portfolio, customers: { count: 9, products: 3 } }";
    let path = format!("{COMMERCIAL_USAGE}?groupby=serviceCode,workloadName,channel");
    let short = page(SCENARIO, &path).await;
    let long = page(SCENARIO, &format!("{path}&filter=customerName%20ne%20''")).await;
    assert_eq!((&short, texts(&short["Value"], "workloadName").len()), (&long, 14));
    let customers = page(SCENARIO, &format!("{COMMERCIAL_USAGE}?groupby=customerTenantId&top=4")).await;
    assert_eq!(
        (customers["TotalCount"].as_u64(), texts(&customers["Value"], "customerTenantId").len()),
        (Some(9), 4)
    );
}

#[tokio::test]
async fn the_groups_of_one_customer_are_the_sums_of_its_rows() {
    let simulator = simulator("{ rows: portfolio, customers: { count: 3, products: 2 } }");
    let caller = Caller::new(&simulator).await;
    let first = parsed(&caller.get(&format!("{COMMERCIAL_USAGE}?top=1")).await)["Value"][0].clone();
    let id = first["customerTenantId"].as_str().unwrap().to_lowercase();
    let filter = format!("filter=customerTenantId%20eq%20'{id}'");
    let rows = parsed(&caller.get(&format!("{COMMERCIAL_USAGE}?{filter}")).await);
    assert_eq!(rows["TotalCount"], 28);
    // The name of a parameter is accepted in any case.
    let path = format!("{COMMERCIAL_USAGE}?groupBy=serviceCode,%20WORKLOADNAME,channel&{filter}");
    let groups = parsed(&caller.get(&path).await);
    let counts = ["licenseActive", "licensesQualified"];
    assert_eq!((groups["TotalCount"].as_u64(), sums(&groups, counts)), (Some(14), sums(&rows, counts)));
}

#[tokio::test]
async fn grouping_can_be_ignored_or_refused() {
    let path = format!("{COMMERCIAL_USAGE}?groupby=channel");
    let ignored = page("commercial: { groupby: ignored }", &path).await;
    assert_eq!(
        (ignored["TotalCount"].as_u64(), &ignored["Value"][1]["workloadCode"]),
        (Some(2), &json!("EXO"))
    );
    let simulator = simulator("commercial: { groupby: refused }");
    let caller = Caller::new(&simulator).await;
    assert_eq!(caller.get(&path).await.status, 400);
    assert_eq!(caller.get(COMMERCIAL_USAGE).await.status, 200);
}

// === the portfolio ===

/// The sums of a page's counts by service, workload and channel.
fn sums(page: &Value, counts: [&str; 2]) -> BTreeMap<[String; 3], [u32; 2]> {
    let mut sums = BTreeMap::<_, [u32; 2]>::new();
    for row in page["Value"].as_array().unwrap() {
        let key = ["serviceCode", "workloadName", "channel"]
            .map(|property| row[property].as_str().unwrap_or_default().to_owned());
        let sum = sums.entry(key).or_default();
        for (sum, count) in sum.iter_mut().zip(counts) {
            *sum += u32::try_from(row[count].as_u64().unwrap()).unwrap();
        }
    }
    sums
}

#[tokio::test]
async fn usage_from_both_sources_is_the_same_at_any_moment() {
    for minute in (0..90 * 1440).step_by(6007) {
        let now = clock() + SignedDuration::from_mins(minute);
        let simulator = Simulator::new(Scenario::parse("rows: portfolio").unwrap(), move || now);
        let caller = Caller::new(&simulator).await;
        let report = parsed(&caller.get(USAGE).await);
        let sums = sums(&parsed(&caller.get(COMMERCIAL_USAGE).await), ["licenseActive", "licensesQualified"]);
        let items = report["items"].as_array().unwrap();
        assert_eq!((items.len(), sums.len()), (14, 14));
        for item in items {
            let key = ["serviceName", "workloadName", "channel"]
                .map(|name| item[name].as_str().unwrap().to_owned());
            let [active, qualified] = sums[&key];
            let percent = 100.0 * f64::from(active) / f64::from(qualified);
            let reported = item["proratedLicensesUsagePercent"].as_f64().unwrap();
            assert!((percent - reported).abs() <= 0.01, "{key:?} at {now}: {percent} and {reported}");
        }
    }
}

#[tokio::test]
async fn deployment_from_both_sources_is_the_same() {
    let simulator = simulator("{ rows: portfolio, customers: { count: 17 } }");
    let caller = Caller::new(&simulator).await;
    let report = parsed(&caller.get("/v1/analytics/licenses/deployment").await);
    let sums = sums(&parsed(&caller.get(COMMERCIAL_DEPLOYMENT).await), ["licensesDeployed", "licensesSold"]);
    assert_eq!((report["totalCount"].as_u64(), sums.len()), (Some(4), 4));
    for item in report["items"].as_array().unwrap() {
        let [service, channel] =
            ["serviceName", "channel"].map(|name| item[name].as_str().unwrap().to_owned());
        let [deployed, sold] = sums[&[service, String::new(), channel]];
        assert_eq!(item["licensesSold"], sold);
        assert!(deployed <= sold);
        let percent = 100.0 * f64::from(deployed) / f64::from(sold);
        assert!((percent - item["proratedDeploymentPercent"].as_f64().unwrap()).abs() <= 0.01);
    }
}

#[tokio::test]
async fn a_row_of_the_portfolio_has_the_properties_of_the_sample() {
    let portfolio = page("rows: portfolio", COMMERCIAL_USAGE).await;
    let documented = page("{}", COMMERCIAL_USAGE).await;
    assert_eq!(members(&portfolio["Value"][0]), members(&documented["Value"][0]));
    assert_eq!(portfolio["Value"][0]["processedDateTime"], "2026-11-21T00:00:00");
    let [portfolio, documented] =
        [page("rows: portfolio", COMMERCIAL_DEPLOYMENT).await, page("{}", COMMERCIAL_DEPLOYMENT).await];
    assert_eq!(members(&portfolio["Value"][0]), members(&documented["Value"][0]));
}

#[tokio::test]
async fn a_day_in_the_past_is_the_same_whenever_it_is_asked_for_and_has_an_end() {
    let path = |day: &str| format!("{COMMERCIAL_USAGE}?processedDateTime={day}");
    let at = |now: Timestamp| {
        let scenario = "{ rows: portfolio, commercial: { history_days: 30 }, customers: { count: 5 } }";
        Simulator::new(Scenario::parse(scenario).unwrap(), move || now)
    };
    let (today, tomorrow) = (at(clock()), at(clock() + SignedDuration::from_hours(24)));
    let [one, other] = [
        parsed(&Caller::new(&today).await.get(&path("2026-11-10")).await),
        parsed(&Caller::new(&tomorrow).await.get(&path("2026-11-10T00:00:00")).await),
    ];
    assert_eq!(one, other);
    assert_eq!(one["TotalCount"], 140);
    let unlimited = page("{ rows: portfolio, customers: { count: 5 } }", &path("2001-01-01")).await;
    assert_eq!(unlimited["TotalCount"], 140);
    let days: BTreeSet<_> = texts(&one["Value"], "processedDateTime").into_iter().collect();
    assert_eq!(days, BTreeSet::from(["2026-11-10T00:00:00"]));
    let caller = Caller::new(&today).await;
    for (day, rows) in [
        ("2026-10-23", 0),
        ("2026-10-24", 140),
        ("2026-11-09", 140),
        // Dynamics is processed later than Office.
        ("2026-11-20", 110),
        ("2026-11-22", 0),
    ] {
        let page = parsed(&caller.get(&path(day)).await);
        assert_eq!(page["TotalCount"], rows, "{day}");
        assert_ne!(page["Value"], one["Value"], "{day}");
    }
}

#[tokio::test]
async fn a_day_selects_the_documented_and_listed_rows_that_were_processed_on_it() {
    let rows = "[{processedDateTime: '2026-11-10T03:00:00Z', productId: a}, {productId: b}]";
    let scenario = format!("commercial_usage: {{ rows: {rows} }}");
    for (scenario, day, total) in [
        ("{}", "2018-10-14", 2),
        ("{}", "2018-10-15", 0),
        (&scenario, "2026-11-10", 1),
        (&scenario, "2026-11-11", 0),
    ] {
        let page = page(scenario, &format!("{COMMERCIAL_USAGE}?processedDateTime={day}")).await;
        assert_eq!(page["TotalCount"], total, "{scenario}, {day}");
    }
}

#[tokio::test]
async fn any_page_of_a_million_rows_is_served_alone() {
    let simulator =
        simulator("{ rows: portfolio, customers: { count: 10000, products: 10, workloads: 10 } }");
    let caller = Caller::new(&simulator).await;
    let last = parsed(&caller.get(&format!("{COMMERCIAL_USAGE}?top=100&skip=999900")).await);
    assert_eq!((last["TotalCount"].as_u64(), &last["@nextLink"]), (Some(1_000_000), &Value::Null));
    assert_eq!(last["Value"].as_array().unwrap().len(), 100);
    let first = parsed(&caller.get(&format!("{COMMERCIAL_USAGE}?top=100")).await);
    let next = format!("http://{HOST}{COMMERCIAL_USAGE}?top=100&skip=100");
    assert_eq!((first["TotalCount"].as_u64(), &first["@nextLink"]), (Some(1_000_000), &json!(next)));
    assert_ne!(first["Value"][0]["customerTenantId"], last["Value"][0]["customerTenantId"]);
}

#[tokio::test]
async fn the_usage_report_is_as_before_beside_the_commercial_endpoints() {
    let simulator = simulator("commercial_usage: { answer: server_error }");
    let token = access_token(&simulator, "contoso").await;
    assert_eq!(usage(&simulator, &token).await.body, REPORT);
}
