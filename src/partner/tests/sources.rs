//! The two sources of a collection: which one is asked, and what each brings.

use super::*;
use crate::domain::customers::Customers;
use crate::domain::row::{Row as _, RowError, Rows, Source as RowSource};

const COMMERCIAL: &str = "/partner/v1/analytics/commercial/usage/license/";

impl TestBed {
    fn client_from(&self, source: &str) -> PartnerCenter {
        self.client_of(&self.account_with(REFRESH_TOKEN, "http", source), Duration::from_mins(1))
    }

    /// The paths of the requests to the API so far.
    fn paths(&self) -> Vec<String> {
        let arrivals = self.arrivals.borrow();
        let paths = arrivals.iter().map(|arrival| arrival.path.clone());
        paths.filter(|path| path.contains("/analytics/")).collect()
    }
}

async fn deployment(client: &PartnerCenter) -> Result<Rows<LicenseDeployment>, FetchError> {
    let mut turn = Turns::default().take().await;
    match client.fetch(Collection::Deployment, &mut turn).await? {
        Collected::Deployment(rows) => Ok(rows),
        other => panic!("{other:?}"),
    }
}

async fn customers(client: &PartnerCenter) -> Result<Customers, FetchError> {
    let mut turn = Turns::default().take().await;
    match client.fetch(Collection::Customers, &mut turn).await? {
        Collected::Customers(customers) => Ok(customers),
        other => panic!("{other:?}"),
    }
}

/// The key, the percentage and the numbers of a row.
type Figures = (String, f64, Option<(u64, u64)>);

fn figures(rows: &UsageReport) -> Vec<Figures> {
    let figures = |row: &LicenseUsage| {
        let key = row.labels().map(|label| &**label).collect::<Vec<_>>().join(" ");
        let licenses = row.licenses.map(|licenses| (licenses.active, licenses.qualified));
        (key, row.percent.get(), licenses)
    };
    rows.rows().iter().map(figures).collect()
}

#[tokio::test]
async fn the_second_source_is_asked_only_where_the_first_is_gone_empty_or_unusable() {
    let old = vec![USAGE];
    // The rows are grouped, and one of them says the date.
    let both = vec![USAGE, COMMERCIAL, COMMERCIAL];
    for (scenario, source, requests) in [
        ("rows: portfolio", RowSource::Licenses, &old),
        ("{rows: portfolio, usage: {status: 404}}", RowSource::Commercial, &both),
        ("{rows: portfolio, usage: {status: 410}}", RowSource::Commercial, &both),
        ("{rows: portfolio, usage: {answer: empty}}", RowSource::Commercial, &both),
        ("{rows: portfolio, usage: {answer: no_content}}", RowSource::Commercial, &both),
        ("{rows: portfolio, usage: {body: ''}}", RowSource::Commercial, &both),
        ("{rows: portfolio, usage: {rows: [{serviceName: o365}]}}", RowSource::Commercial, &both),
    ] {
        let bed = TestBed::new(scenario).await;
        let rows = bed.client_from("auto").usage().await.unwrap();
        assert_eq!((rows.source(), rows.rows().len()), (source, 14), "{scenario}");
        assert_eq!(bed.paths(), *requests, "{scenario}");
    }
    for scenario in
        ["usage: {answer: server_error}", "usage: {answer: forbidden}", "usage: {answer: throttled}"]
    {
        let bed = TestBed::new(scenario).await;
        assert!(bed.client_from("auto").usage().await.is_err(), "{scenario}");
        assert!(bed.paths().iter().all(|path| path == USAGE), "{scenario}: {:?}", bed.paths());
    }
}

#[tokio::test]
async fn a_pinned_source_is_the_only_one_that_is_asked() {
    let bed = TestBed::new("{rows: portfolio, usage: {answer: empty}}").await;
    assert_eq!(bed.client_from("licenses").usage().await.unwrap().rows().len(), 0);
    assert_eq!(bed.paths(), [USAGE]);
    let bed = TestBed::new("rows: portfolio").await;
    let rows = bed.client_from("commercial").usage().await.unwrap();
    assert_eq!((rows.source(), rows.rows().len()), (RowSource::Commercial, 14));
    assert!(bed.paths().iter().all(|path| path == COMMERCIAL), "{:?}", bed.paths());
}

#[tokio::test]
async fn if_the_second_source_fails_too_the_answer_of_the_first_stands() {
    let fails = "commercial_usage: {answer: server_error, retry_after: 60}";
    let bed = TestBed::new(&format!("{{usage: {{answer: empty}}, {fails}}}")).await;
    assert_eq!(bed.client_from("auto").usage().await.unwrap().rows().len(), 0);
    let bed = TestBed::new(&format!("{{usage: {{answer: not_found}}, {fails}}}")).await;
    let error = bed.client_from("auto").usage().await.unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
    let bed = TestBed::new("{usage: {rows: [{serviceName: o365}]}, commercial_usage: {answer: empty}}").await;
    let error = bed.client_from("auto").usage().await.unwrap_err();
    assert_eq!(error.rejected[&RowError::MissingValue], 1, "an empty second source explains nothing");
}

#[tokio::test]
async fn both_sources_agree_to_a_hundredth_of_a_point() {
    let bed = TestBed::new("rows: portfolio").await;
    let old = bed.client_from("licenses").usage().await.unwrap();
    for scenario in [
        "rows: portfolio",
        "{rows: portfolio, commercial: {groupby: ignored}}",
        "{rows: portfolio, page_size: 7, commercial: {groupby: ignored}}",
    ] {
        let bed = TestBed::new(scenario).await;
        let new = bed.client_from("commercial").usage().await.unwrap();
        for (old, new) in figures(&old).iter().zip(figures(&new)) {
            assert_eq!(old.0, new.0, "{scenario}");
            assert!((old.1 - new.1).abs() <= 0.01, "{scenario}: {old:?} {new:?}");
            let (active, qualified) = new.2.expect("the successor has numbers");
            assert!(qualified > 0 && active <= 2 * qualified, "{scenario}: {new:?}");
        }
        assert_eq!(new.rows().len(), old.rows().len());
    }
}

#[tokio::test]
async fn the_path_that_exists_is_tried_once_and_remembered() {
    let bed = TestBed::new("{rows: portfolio, commercial: {paths: v1}}").await;
    let client = bed.client_from("commercial");
    for _ in 0..2 {
        assert_eq!(client.usage().await.unwrap().rows().len(), 14);
    }
    let missing = bed.paths().iter().filter(|path| path.starts_with("/partner/")).count();
    assert_eq!(missing, 1, "{:?}", bed.paths());
}

#[tokio::test]
async fn every_form_of_the_link_to_the_next_page_brings_all_rows_once() {
    for commercial in [
        "next_link: absolute",
        "next_link: relative",
        "next_link: absent",
        "next_link: 'null'",
        "next_link: relative_without_version",
        "total_count: absent",
        "between_pages: repeats",
        "active_property: licensesActive",
        "counts_as_text: true",
    ] {
        let scenario =
            format!("{{rows: portfolio, page_size: 25, commercial: {{groupby: refused, {commercial}}}}}");
        let bed = TestBed::new(&scenario).await;
        let rows = bed.client_from("commercial").usage().await.unwrap();
        let expected = TestBed::new("rows: portfolio").await.client_from("commercial").usage().await.unwrap();
        assert_eq!(figures(&rows), figures(&expected), "{commercial}");
    }
}

#[tokio::test]
async fn deployment_comes_from_either_source_with_what_each_knows() {
    let bed = TestBed::new("rows: documented").await;
    let rows = deployment(&bed.client_from("auto")).await.unwrap();
    let of = |row: &LicenseDeployment| (row.service.to_string(), row.percent.get(), row.sold, row.deployed);
    let found: Vec<_> = rows.rows().iter().map(of).collect();
    assert_eq!(found, [("crm".to_owned(), 0.0, Some(343), None), ("o365".to_owned(), 1.0, Some(4464), None)]);
    let bed = TestBed::new("{rows: portfolio, deployment: {answer: not_found}}").await;
    let rows = deployment(&bed.client_from("auto")).await.unwrap();
    assert_eq!((rows.source(), rows.rows().len()), (RowSource::Commercial, 4));
    assert!(rows.rows().iter().all(|row| row.sold > Some(0) && row.deployed.is_some()), "{rows:?}");
}

/// The commercial rows that a scenario lists, each as the members of a JSON object.
fn listed(rows: &[&str]) -> String {
    let row = |row: &&str| {
        format!(
            "{{serviceCode: o365, workloadName: Teams, channel: reseller, processedDateTime: '2026-11-20', {row}}}"
        )
    };
    rows.iter().map(row).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn rows_of_different_customers_and_products_are_added_up_whichever_members_tell_them_apart() {
    for member in ["customerTenantId", "customerName", "productId", "productName"] {
        for (one, other, expected) in [("a", "b", (6, 20)), ("a", "a", (3, 10)), ("1", "2", (6, 20))] {
            let of = |value| format!("{member}: {value}, licensesActive: 3, licensesQualified: 10");
            let rows = listed(&[&of(one), &of(other)]);
            let bed = TestBed::new(&format!(
                "{{commercial: {{groupby: ignored}}, commercial_usage: {{rows: [{rows}]}}}}"
            ))
            .await;
            let rows = bed.client_from("commercial").usage().await.unwrap();
            let [(_, percent, licenses)] = &figures(&rows)[..] else { panic!("{rows:?}") };
            assert_eq!((*percent, *licenses), (30.0, Some(expected)), "{member}: {one} and {other}");
        }
    }
}

#[tokio::test]
async fn a_commercial_row_that_cannot_be_used_costs_only_itself() {
    let rows = listed(&[
        "customerName: good, licensesActive: 12, licensesQualified: 10",
        "customerName: a, licensesActive: -1, licensesQualified: 10",
        "customerName: b, licensesActive: 1.5, licensesQualified: 10",
        "customerName: c, licensesActive: 1, licensesQualified: 1e17",
        "customerName: d, licensesActive: 1",
        "customerName: e, licensesActive: [], licensesQualified: 10",
    ]);
    let more = "{serviceCode: crm, workloadName: none, channel: c, licensesActive: 0, licensesQualified: 0, \
                processedDateTime: '2026-11-20'}, \
                {serviceCode: crm, workloadName: w, channel: '', licensesActive: 1, licensesQualified: 1, \
                processedDateTime: '2026-11-20'}, \
                {serviceCode: crm, workloadName: w, channel: c, licensesActive: 1, licensesQualified: 1, \
                processedDateTime: soon}";
    let bed = TestBed::new(&format!(
        "{{commercial: {{groupby: ignored}}, commercial_usage: {{rows: [{rows}, {more}]}}}}"
    ))
    .await;
    let rows = bed.client_from("commercial").usage().await.unwrap();
    assert_eq!(figures(&rows), [("o365 Teams reseller".to_owned(), 120.0, Some((12, 10)))]);
    let rejected: Vec<_> = rows.rejected().iter().map(|(error, count)| (error.as_str(), *count)).collect();
    let expected = [
        ("missing_value", 1),
        ("missing_label", 1),
        ("invalid_number", 4),
        ("invalid_date", 1),
        ("no_licenses", 1),
    ];
    assert_eq!(rejected, expected);
}

#[tokio::test]
async fn a_server_that_refuses_to_group_is_asked_for_single_rows_from_then_on() {
    let bed = TestBed::new("{rows: portfolio, commercial: {groupby: refused}}").await;
    let client = bed.client_from("commercial");
    for requests in [2, 3] {
        assert_eq!(client.usage().await.unwrap().rows().len(), 14);
        assert_eq!(bed.paths().len(), requests, "single rows have dates");
    }
}

#[tokio::test]
async fn a_page_that_the_server_postpones_for_a_moment_is_asked_for_again() {
    let pages = "rows: portfolio, page_size: 500, commercial: {groupby: ignored}";
    let bed = TestBed::new(&format!(
        "{{{pages}, commercial_usage: {{answer: throttled, retry_after: 1, skip: 1, times: 1}}}}"
    ))
    .await;
    assert_eq!(bed.client_from("commercial").usage().await.unwrap().rows().len(), 14);
    let all = TestBed::new(&format!("{{{pages}}}")).await;
    all.client_from("commercial").usage().await.unwrap();
    assert_eq!(bed.paths().len(), all.paths().len() + 1, "one page again");
    let long = TestBed::new(&format!(
        "{{{pages}, commercial_usage: {{answer: throttled, retry_after: 600, skip: 1, times: 1}}}}"
    ))
    .await;
    let error = long.client_from("commercial").usage().await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::Throttled);
}

#[tokio::test]
async fn rows_without_a_date_have_that_of_a_single_row_and_without_it_the_poll_fails() {
    let bed = TestBed::new("rows: portfolio").await;
    let grouped = bed.client_from("commercial").usage().await.unwrap();
    assert!(grouped.rows().iter().all(|row| row.processed_at < START), "{grouped:?}");
    let single = TestBed::new("{rows: portfolio, commercial: {groupby: ignored}}").await;
    let single = single.client_from("commercial").usage().await.unwrap();
    let newest = single.rows().iter().map(|row| row.processed_at).max();
    assert!(grouped.rows().iter().all(|row| Some(row.processed_at) <= newest));
    let throttled = "commercial_usage: {answer: throttled, retry_after: 60, skip: 1}";
    let bed = TestBed::new(&format!("{{rows: portfolio, {throttled}}}")).await;
    let error = bed.client_from("commercial").usage().await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::Throttled, "rows do not vanish in silence");
}

#[tokio::test]
async fn no_request_is_sent_within_a_pause_that_the_first_source_asked_for() {
    let bed = TestBed::new("{rows: portfolio, usage: {status: 404, retry_after: 600}}").await;
    let error = bed.client_from("auto").usage().await.unwrap_err();
    assert_eq!(
        (error.status, error.retry_after()),
        (Some(reqwest::StatusCode::NOT_FOUND), Some(Duration::from_secs(600)))
    );
    assert_eq!(bed.paths(), [USAGE]);
}

/// A row of the commercial usage collection, and of the deployment collection.
fn of_customer(id: &str, name: &str, product: &str, figures: &str) -> String {
    format!(
        "{{customerTenantId: {id}, customerName: {name}, productId: {product}, serviceCode: o365, channel: reseller, \
         workloadName: Teams, processedDateTime: '2026-11-20', {figures}}}"
    )
}

#[tokio::test]
async fn customers_are_summed_over_products_and_add_up_to_the_usage_of_the_account() {
    let scenario = "{rows: portfolio, customers: {count: 30, products: 3}}";
    let bed = TestBed::new(scenario).await;
    let client = bed.client_from("auto");
    let all = customers(&client).await.unwrap();
    assert_eq!((all.count(), all.names().len(), all.rows().len()), (30, 30, 30 * 14));
    let total = bed.client_from("commercial").usage().await.unwrap();
    for row in total.rows() {
        let same = all.rows().iter().filter(|of| {
            (&of.service, &of.workload, &of.channel) == (&row.service, &row.workload, &row.channel)
        });
        let sum = same.fold((0, 0), |(active, qualified), of| {
            (active + of.licenses.active, qualified + of.licenses.qualified)
        });
        let licenses = row.licenses.unwrap();
        assert_eq!(sum, (licenses.active, licenses.qualified), "{:?}", row.key());
    }
    // Pages of any size bring the same.
    let small = TestBed::new("{rows: portfolio, customers: {count: 30, products: 3}, page_size: 101}").await;
    assert_eq!(customers(&small.client_from("auto")).await.unwrap(), all);
}

#[tokio::test]
async fn customers_keep_their_id_and_get_their_newest_name_unless_names_are_not_wanted() {
    let id = "0112A436-B14E-4888-967B-CA4BB2CF1234";
    let old =
        of_customer(id, "Old", "p1", "licensesActive: 1, licensesQualified: 2").replace("11-20", "11-19");
    let new = of_customer(&id.to_lowercase(), "New", "p2", "licenseActive: 3, licensesQualified: 4");
    let odd = of_customer("'a customer'", "null", "p2", "licensesActive: 5, licensesQualified: 0");
    let sold = of_customer(id, "New", "p1", "licensesDeployed: 7, licensesSold: 8");
    let scenario = format!(
        "{{commercial_usage: {{rows: [{new}, {old}, {odd}]}}, commercial_deployment: {{rows: [{sold}]}}}}"
    );
    let bed = TestBed::new(&scenario).await;
    let found = customers(&bed.client_from("licenses")).await.unwrap();
    let rows: Vec<_> = found
        .rows()
        .iter()
        .map(|row| (&*row.customer, row.licenses.active, row.licenses.qualified))
        .collect();
    assert_eq!(rows, [(&*id.to_lowercase(), 4, 6), ("a customer", 5, 0)]);
    let day = found.rows()[0].processed_at.to_string();
    assert_eq!(day, "2026-11-19T00:00:00Z", "of a sum the oldest one");
    let names: Vec<_> = found.names().iter().map(|(id, name)| (&**id, &**name)).collect();
    assert_eq!(names, [(&*id.to_lowercase(), "New")]);
    let [row] = found.deployment() else { panic!("{found:?}") };
    assert_eq!((&*row.customer, row.sold, row.deployed), (&*id.to_lowercase(), 8, 7));
    let account = bed.account_with(REFRESH_TOKEN, "http", "auto}, customers: {names: false");
    let client = bed.client_of(&account, Duration::from_mins(1));
    assert_eq!(customers(&client).await.unwrap(), found.without_names());
}

/// A usage row of a customer's product.
fn of_product(
    [id, name]: [&str; 2],
    [workload, channel]: [&str; 2],
    [active, qualified]: [u32; 2],
) -> String {
    format!(
        "{{customerTenantId: c, productId: {id}, productName: {name}, workloadName: {workload}, serviceCode: o365, \
         channel: {channel}, licensesActive: {active}, licensesQualified: {qualified}, \
         processedDateTime: '2026-11-20'}}"
    )
}

#[tokio::test]
async fn licences_are_counted_once_for_each_product_where_these_are_wanted() {
    let guid = "6fd2c87f-b296-42f0-b197-1e91e994b900";
    let (exchange, teams, bi) = (["Exchange", "reseller"], ["Teams", "reseller"], ["BI", "reseller"]);
    let rows = [
        of_product([guid, "E3"], exchange, [60, 100]),
        // More users than of Exchange, and fewer licences that qualify.
        of_product([&guid.to_uppercase(), "E3"], teams, [70, 90]),
        // A page may repeat a row that has changed meanwhile.
        of_product([guid, "E3"], teams, [99, 90]).replace("11-20", "11-19"),
        // The licences of another channel are others. The newest name counts.
        of_product([guid, "Office 365 E3"], ["Teams", "direct"], [1, 5]).replace("11-20", "11-21"),
        of_product(["null", "Visio"], teams, [7, 3]),
        // Two products with one name.
        of_product(["p1", "Power BI"], bi, [1, 10]),
        of_product(["p2", "Power BI"], bi, [2, 20]),
        of_product(["p3", "null"], bi, [0, 1]),
        of_product(["null", "null"], ["Sway", "reseller"], [3, 4]),
    ];
    let bed = TestBed::new(&format!(
        "{{page_size: 4, commercial_usage: {{rows: [{}]}}, commercial_deployment: {{answer: not_found}}}}",
        rows.join(", ")
    ))
    .await;
    let client = bed.client_from("auto");
    assert_eq!(customers(&client).await.unwrap().products(), None);
    client.ledger.write(|status| status.keeps_products = true);
    let found = customers(&client).await.unwrap();
    let products = found.products().unwrap();
    let shown = products.rows().iter().map(|row| {
        let licenses = row.licenses;
        format!(
            "{} {} {} of {}, unused {}",
            row.product,
            row.channel,
            licenses.active,
            licenses.qualified,
            row.unused()
        )
    });
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            "Office 365 E3 direct 1 of 5, unused 4",
            "Office 365 E3 reseller 70 of 100, unused 30",
            "Power BI reseller 3 of 30, unused 27",
            "Visio reseller 7 of 3, unused 0",
            "p3 reseller 0 of 1, unused 1",
        ]
    );
    assert_eq!(products.rejected(), &[(RowError::MissingLabel, 1)].into(), "the row without a product");
    assert_eq!(found.rejected(), &[(RowError::Duplicate, 1)].into());
}

#[tokio::test]
async fn customers_without_a_deployment_collection_have_their_usage_and_any_other_failure_fails_the_poll() {
    for (answer, requests) in [("not_found", 2), ("gone", 2), ("empty", 1), ("no_content", 1)] {
        let answer = if answer == "gone" { "status: 410".to_owned() } else { format!("answer: {answer}") };
        let bed = TestBed::new(&format!("{{rows: portfolio, commercial_deployment: {{{answer}}}}}")).await;
        let found = customers(&bed.client_from("auto")).await.unwrap();
        assert_eq!((found.rows().len(), found.deployment().len()), (40 * 14, 0), "{answer}");
        let paths = bed.paths();
        let of_deployment = paths.iter().filter(|path| path.contains("deployment")).count();
        assert_eq!(of_deployment, requests, "{answer}: {paths:?}");
    }
    for collection in ["usage", "deployment"] {
        for (answer, reason) in [
            ("forbidden", FailureReason::Forbidden),
            ("throttled", FailureReason::Throttled),
            ("server_error", FailureReason::Server),
        ] {
            let bed =
                TestBed::new(&format!("{{rows: portfolio, commercial_{collection}: {{answer: {answer}}}}}"))
                    .await;
            let error = customers(&bed.client_from("auto")).await.unwrap_err();
            assert_eq!(error.reason(), reason, "{collection}: {answer}");
        }
    }
}

#[tokio::test]
async fn the_path_of_the_commercial_collections_may_be_configured() {
    let bed = TestBed::new("{rows: portfolio, commercial: {paths: v1}}").await;
    let with_path = |path: &str| {
        let text = format!("commercial}}, commercial_path: {path}, deployment: {{enabled: false");
        bed.client_of(&bed.account_with(REFRESH_TOKEN, "http", &text), Duration::from_mins(1))
    };
    assert_eq!(with_path("/v1").usage().await.unwrap().rows().len(), 14);
    assert!(bed.paths().iter().all(|path| path.starts_with("/v1/")), "{:?}", bed.paths());
    let error = with_path("/partner/v1/").usage().await.unwrap_err();
    assert!(error.to_string().contains("404"), "no other path is tried: {error}");
}

#[tokio::test]
async fn a_page_that_fails_costs_no_more_than_that_page_again() {
    let bed =
        TestBed::new("{rows: portfolio, page_size: 200, commercial_usage: {answer: server_error}}").await;
    let client = bed.client_from("auto");
    assert!(customers(&client).await.is_err(), "a first page is not waited for");
    assert_eq!(bed.paths().len(), 3);
    let scenario =
        "{rows: portfolio, page_size: 200, commercial_usage: {skip: 1, times: 7, answer: server_error}}";
    let bed = TestBed::new(scenario).await;
    assert_eq!(customers(&bed.client_from("auto")).await.unwrap().rows().len(), 40 * 14);
    let paths = bed.paths();
    let of_usage = paths.iter().filter(|path| path.contains("/usage/")).count();
    let (customers, workloads, products) = (40_usize, 14, 2);
    let pages = (customers * workloads * products).div_ceil(200);
    assert_eq!(of_usage, pages + 7, "{paths:?}");
}

#[tokio::test]
async fn a_page_that_is_not_from_partner_center_costs_no_more_than_that_page_again() {
    for answer in ["malformed", "html", "no_content", "forbidden", "mfa_required"] {
        let scenario = format!(
            "{{rows: portfolio, page_size: 200, commercial_usage: {{skip: 2, times: 1, answer: {answer}}}}}"
        );
        let bed = TestBed::new(&scenario).await;
        let found = customers(&bed.client_from("auto")).await.unwrap();
        assert_eq!((found.rows().len(), found.rejected().len()), (40 * 14, 0), "{answer}");
        let whole = TestBed::new("{rows: portfolio}").await;
        assert_eq!(found, customers(&whole.client_from("auto")).await.unwrap(), "{answer}");
    }
}

#[tokio::test]
async fn a_total_that_is_that_of_the_page_loses_no_row() {
    let of_page = "{merge: {TotalCount: 100}}";
    let scenario = format!(
        "{{rows: portfolio, page_size: 100, commercial: {{next_link: absent}}, commercial_usage: {of_page}, \
         commercial_deployment: {of_page}}}"
    );
    let bed = TestBed::new(&scenario).await;
    assert_eq!(customers(&bed.client_from("auto")).await.unwrap().rows().len(), 40 * 14);
}

#[tokio::test]
async fn the_same_row_counts_once_whatever_the_case_of_its_ids() {
    let id = "0112A436-B14E-4888-967B-CA4BB2CF1234";
    let rows = [id.to_owned(), id.to_lowercase()]
        .map(|id| of_customer(&id, "Contoso", id.as_str(), "licensesActive: 5, licensesQualified: 40"));
    let bed = TestBed::new(&format!("{{commercial_usage: {{rows: [{}]}}}}", rows.join(", "))).await;
    let found = customers(&bed.client_from("auto")).await.unwrap();
    let [row] = found.rows() else { panic!("{found:?}") };
    assert_eq!((row.licenses.active, row.licenses.qualified), (5, 40));
    assert_eq!(found.rejected()[&RowError::Duplicate], 1);
}

#[tokio::test]
async fn a_collection_that_is_too_large_is_not_blamed_on_the_address() {
    let rows: Vec<String> = (0..101)
        .map(|n| format!("{{service: o365, workload: w{n}, channel: reseller, percent: 1}}"))
        .collect();
    let bed = TestBed::new(&format!("{{page_size: 1, rows: [{}]}}", rows.join(", "))).await;
    let error = bed.client_from("licenses").usage().await.unwrap_err();
    assert!(error.to_string().contains("more than 100 pages"), "{error}");
    assert!(
        error.remedy().starts_with("the collection is larger than this program reads"),
        "{}",
        error.remedy()
    );
}
