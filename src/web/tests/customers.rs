//! The page of customers and its CSV: what is selected, in which order, and what is said of it.

use super::*;
use crate::domain::collection::Collection;
use crate::domain::customers::{CustomerUsage, Customers, Limits};
use crate::domain::row::{RowError, Rows, Source};

/// Accounts of which the first has these rows. The name of a customer is `Name of …`, unless the id is `nameless`.
fn with_customers(names: &[&str], rows: impl IntoIterator<Item = CustomerUsage>) -> Accounts {
    let ledgers = ledgers(names);
    let rows: Vec<_> = rows.into_iter().collect();
    let names = rows.iter().map(|row| row.customer.clone()).filter(|id| &**id != "nameless");
    let names = names.map(|id| (id.clone(), format!("Name of {id}").into())).collect();
    let rows = rows.into_iter().map(Ok).chain([Err(RowError::MissingLabel)]);
    let usage = Rows::collect_from(Source::Commercial, rows);
    let customers = Customers::new(usage, Rows::default(), names);
    ledgers[0].write(|status| {
        status.customers = Limits { series: 1, min_licenses: 25 };
        let took = Duration::from_secs(3);
        status.of_mut(Collection::Customers).poll_ended(Ok(customers.into()), NOW, took);
    });
    accounts_with(ledgers)
}

async fn get(accounts: &Accounts, path: &str) -> (u16, String) {
    let received = send(&site(accounts.clone()).router, "GET", path, &[]).await;
    (received.status, received.text().to_owned())
}

/// The ids and workloads in the order of the page.
async fn rows(accounts: &Accounts, query: &str) -> Vec<String> {
    let (status, csv) = get(accounts, &format!("/customers.csv{query}")).await;
    assert_eq!(status, 200, "{csv}");
    let (_, html) = get(accounts, &format!("/customers{query}")).await;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let at = |name: &str, headers: &csv::StringRecord| headers.iter().position(|it| it == name).unwrap();
    let headers = reader.headers().unwrap().clone();
    let (customer, workload) = (at("customer", &headers), at("workload", &headers));
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    let found: Vec<_> = records.iter().map(|it| format!("{} {}", &it[customer], &it[workload])).collect();
    // The page has the same rows in the same order.
    let of_page: Vec<_> = html.split("<tr").skip(2).collect();
    assert_eq!(of_page.len(), found.len().min(50), "{html}");
    for (line, record) in of_page.iter().zip(&records) {
        assert!(line.contains(&record[customer]) && line.contains(&record[workload]), "{line}");
    }
    found
}

fn portfolio() -> Accounts {
    with_customers(
        &["contoso"],
        [
            CustomerUsage::of("a", "Exchange", 90, 1000),
            CustomerUsage::of("a", "Teams", 1, 24),
            CustomerUsage::of("b", "Exchange", 5, 30),
            CustomerUsage::of("nameless", "Teams", 700, 900),
        ],
    )
}

#[tokio::test]
async fn rows_that_are_low_come_first_unless_another_order_is_asked_for() {
    let accounts = portfolio();
    for (query, expected) in [
        ("", ["a Exchange", "b Exchange", "nameless Teams", "a Teams"]),
        ("?sort=unused", ["a Exchange", "nameless Teams", "b Exchange", "a Teams"]),
        ("?sort=active", ["nameless Teams", "a Exchange", "b Exchange", "a Teams"]),
        ("?sort=qualified", ["a Exchange", "nameless Teams", "b Exchange", "a Teams"]),
        ("?sort=percent", ["a Teams", "a Exchange", "b Exchange", "nameless Teams"]),
        ("?sort=name", ["nameless Teams", "a Exchange", "a Teams", "b Exchange"]),
        ("?sort=workload", ["a Exchange", "b Exchange", "a Teams", "nameless Teams"]),
    ] {
        assert_eq!(rows(&accounts, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_query_selects_rows_by_customer_labels_and_threshold() {
    let accounts = portfolio();
    for (query, expected) in [
        ("?customer=NAME+OF", &["a Exchange", "b Exchange", "a Teams"][..]),
        ("?customer=nameless", &["nameless Teams"]),
        ("?workload=Teams&low=1", &[]),
        ("?low=1", &["a Exchange", "b Exchange"]),
        ("?service=crm", &[]),
        ("?service=o365&channel=reseller&workload=Teams", &["nameless Teams", "a Teams"]),
        ("?account=other", &[]),
    ] {
        assert_eq!(rows(&accounts, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_page_has_fifty_rows_and_links_to_the_others_with_the_same_query() {
    let accounts = with_customers(
        &["contoso"],
        (0..120).map(|n| CustomerUsage::of(&format!("c{n:03}"), "Teams", 1, 100 + n)),
    );
    assert_eq!(rows(&accounts, "").await.len(), 120);
    let (_, html) = get(&accounts, "/customers?sort=active&page=2").await;
    for link in
        ["customers?sort=active\"", "customers?sort=active&amp;page=3\"", "customers.csv?sort=active\""]
    {
        assert!(html.contains(link), "{link}: {html}");
    }
    assert!(html.contains("Page 2 of 3"), "{html}");
    let (_, last) = get(&accounts, "/customers?page=999").await;
    assert!(last.contains("Page 3 of 3"), "{last}");
}

#[tokio::test]
async fn the_page_says_where_the_figures_come_from_and_what_is_missing() {
    let (_, html) = get(&portfolio(), "/customers").await;
    for text in [
        "3 customers, 4 rows, 2 low",
        "from analytics/commercial",
        "The metrics have 1 of the rows",
        "withholds 3",
        "Dropped from the last good collection: 1 missing_label",
    ] {
        assert!(html.contains(text), "{text}: {html}");
    }
}

#[tokio::test]
async fn text_from_outside_is_neither_markup_nor_a_formula() {
    let accounts = with_customers(&["=\"x\""], [CustomerUsage::of("<script>", "=1+1", 1, 2)]);
    let (_, html) = get(&accounts, "/customers?customer=%3Cscript%3E&workload=%3D1%2B1").await;
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;"), "{html}");
    let (_, csv) = get(&accounts, "/customers.csv").await;
    assert!(csv.contains("\r\n\"'=\"\"x\"\"\",Name of <script>,<script>,'=1+1,"), "{csv}");
}

#[tokio::test]
async fn a_request_that_cannot_be_meant_is_refused_with_what_is_possible() {
    let accounts = portfolio();
    for (path, status, text) in [
        ("/customers?sort=size", 400, "400 sort must be one of rank, unused,"),
        ("/customers?page=0", 400, "400 page must be a number from 1"),
        ("/customers.csv?name=x", 400, "400 unknown parameter; known: customer, account,"),
    ] {
        let (found, said) = get(&accounts, path).await;
        assert_eq!((found, said.starts_with(text)), (status, true), "{said}");
    }
    let none = accounts_with(ledgers(&["contoso"]));
    for path in ["/customers", "/customers.csv"] {
        let (found, said) = get(&none, path).await;
        assert_eq!(found, 404);
        assert!(said.contains("enable them with collections.customers"), "{said}");
    }
}

#[tokio::test]
async fn the_status_page_counts_the_customers_and_leads_to_them() {
    let (_, html) = get(&portfolio(), "/").await;
    for part in ["3 customers with 4 rows, of which 2 low", "Published: 1", "href=\"./customers\""] {
        assert!(html.contains(part), "{part}: {html}");
    }
}
