//! The page of customers and its CSV: what is selected, in which order, and what is said of it.

use std::pin::Pin;

use http_body::Body as _;

use super::*;
use crate::domain::collection::Collection;
use crate::domain::customers::{CustomerUsage, Customers, Limits};
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::polled::CollectionStatus;
use crate::domain::products::CustomerProduct;
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
        ("?sort=name", ["a Exchange", "a Teams", "b Exchange", "nameless Teams"]),
        ("?sort=workload", ["a Exchange", "b Exchange", "a Teams", "nameless Teams"]),
    ] {
        assert_eq!(rows(&accounts, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn the_document_about_customers_names_the_columns_that_can_be_sorted() {
    let (_, html) = get(&with_products(PRICES), "/customers").await;
    let head = html.split("<thead>").nth(1).unwrap().split("</thead>").next().unwrap();
    let links = head.split("<a href=\"customers").skip(1);
    let titles: Vec<_> = links.map(|it| it.split(['>', '<']).nth(1).unwrap().to_lowercase()).collect();
    let [all @ .., unused, active, qualified, usage] = &titles[..] else { panic!("{head}") };
    let expected =
        format!("sorted by {}, {unused}, {active} and {qualified} licences and {usage},", all.join(", "));
    let (_, text) = crate::bundled::concepts().find(|(name, _)| *name == "customers").unwrap();
    let words: Vec<_> = text.split_whitespace().collect();
    assert!(words.join(" ").contains(&expected), "{expected}");
}

#[tokio::test]
async fn a_query_selects_rows_by_customer_labels_and_threshold() {
    let accounts = portfolio();
    for (query, expected) in [
        ("?customer=NAME+OF", &["a Exchange", "b Exchange", "a Teams"][..]),
        ("?customer=nameless", &["nameless Teams"]),
        ("?workload=Teams&low=1", &[]),
        ("?low=1", &["a Exchange", "b Exchange"]),
        ("?low=true", &["a Exchange", "b Exchange"]),
        ("?low=0&workload=Exchange", &["a Exchange", "b Exchange"]),
        ("?low=false&customer=nameless", &["nameless Teams"]),
        ("?low=&customer=nameless", &["nameless Teams"]),
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
        ("/customers?low=no", 400, "400 low must be one of 1, true, 0, false"),
        ("/customers.csv?low=off", 400, "400 low must be one of 1, true, 0, false"),
        ("/customers.csv?name=x", 400, "400 unknown parameter; known: by, customer, account,"),
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
async fn names_are_sorted_whatever_their_case_and_found_without_the_blanks_around_them() {
    let ids = ["Zeta", "alpha", "eBay", "Äpfel", "Alpine", "nameless"];
    let accounts = with_customers(&["contoso"], ids.map(|id| CustomerUsage::of(id, "Teams", 1, 2)));
    let expected = ["alpha", "Alpine", "eBay", "Zeta", "Äpfel", "nameless"].map(|id| format!("{id} Teams"));
    assert_eq!(rows(&accounts, "?sort=name").await, expected);
    assert_eq!(rows(&accounts, "?customer=+zeta+").await, ["Zeta Teams"]);
    let (_, html) = get(&accounts, "/customers?customer=nobody").await;
    assert!(html.contains("<p>No row matches.</p>"), "{html}");
}

#[tokio::test]
async fn a_name_cannot_turn_the_direction_of_writing() {
    let accounts = with_customers(&["contoso"], [CustomerUsage::of("c", "\u{202e}gnp.exe", 1, 2)]);
    for path in ["/", "/customers"] {
        let (_, html) = get(&accounts, path).await;
        assert!(html.contains("\u{fffd}gnp.exe") && !html.contains('\u{202e}'), "{html}");
    }
}

#[tokio::test]
async fn an_account_without_customers_or_whose_polls_fail_is_named_with_the_reason() {
    let took = Duration::from_secs(3);
    let accounts = with_customers(&["contoso", "fabrikam", "off"], [CustomerUsage::of("c1", "Teams", 1, 2)]);
    let of = |index: usize, change: &dyn Fn(&mut CollectionStatus)| {
        accounts.ledgers[index].write(|status| change(status.of_mut(Collection::Customers)));
    };
    let said = async |path: &str| get(&accounts, path).await;
    of(1, &|_| {});
    let (status, html) = said("/customers").await;
    assert_eq!((status, html.matches("the status page says more").count()), (200, 1), "{html}");
    assert!(html.contains("fabrikam: customers have not been polled yet<"), "{html}");
    for index in [0, 1] {
        of(index, &|customers| customers.poll_ended(Err(Failure::of(FailureReason::Forbidden)), NOW, took));
    }
    let (_, html) = said("/customers").await;
    let reason = "fail since 2026-11-23 05:13 UTC: forbidden";
    for part in [
        format!("contoso: polls of customers {reason}<"),
        format!("fabrikam: no customers, polls of customers {reason}<"),
    ] {
        assert!(html.contains(&part), "{part}: {html}");
    }
    of(0, &|customers| customers.last_good = None);
    for path in ["/customers", "/customers.csv"] {
        let (status, text) = said(path).await;
        assert_eq!(status, 503, "{text}");
        let start =
            format!("503 contoso: no customers, polls of customers {reason}; fabrikam: no customers, ");
        assert!(text.starts_with(&start) && text.ends_with("; the status page says more\n"), "{text}");
    }
}

#[tokio::test]
async fn the_status_page_counts_the_customers_and_leads_to_them() {
    let (_, html) = get(&portfolio(), "/").await;
    for part in ["3 customers with 4 rows, of which 2 low", "Published: 1", "href=\"./customers\""] {
        assert!(html.contains(part), "{part}: {html}");
    }
}

/// Three customers with products and these prices.
fn with_products(prices: &str) -> Accounts {
    let products = [
        CustomerProduct::of("a", "Microsoft 365 E3", 90, 100),
        CustomerProduct::of("a", "<Visio>", 0, 7),
        CustomerProduct::of("b", "microsoft 365 e3", 5, 30),
        CustomerProduct::of("b", "Power BI", 3, 5),
        CustomerProduct::of("nameless", "Microsoft 365 E3", 900, 700),
    ];
    let products = products.map(Ok).into_iter().chain([Err(RowError::MissingLabel)]);
    with_these_products(portfolio(), prices, products)
}

/// The same accounts, of which the first has these products.
fn with_these_products(
    accounts: Accounts,
    prices: &str,
    products: impl IntoIterator<Item = Result<CustomerProduct, RowError>>,
) -> Accounts {
    let text = format!(
        "prices: [{prices}]\naccounts: [{{tenant_id: a.example, client_id: 00000000-0000-0000-0000-00000000c11e}}]"
    );
    accounts.ledgers[0].write(|status| {
        let good = status.of_mut(Collection::Customers).last_good.as_mut().unwrap();
        let products = Rows::collect_from(Source::Commercial, products);
        let customers = good.report.customers().unwrap().clone().with_products(Some(products));
        good.report = Arc::new(customers.into());
    });
    Accounts { prices: Config::parse(&text, &no_environment).unwrap().prices, ..accounts }
}

const PRICES: &str = "{product: Microsoft 365 E3, per_month: 36.10, currency: EUR}, \
                      {product: Power BI, per_month: 9.99, currency: USD}";

#[tokio::test]
async fn products_cost_what_their_unused_licences_cost_and_those_without_a_price_come_last() {
    let accounts = with_products(PRICES);
    let (status, csv) = get(&accounts, "/customers.csv?by=product").await;
    assert_eq!(status, 200);
    let expected = "\
        contoso,Name of b,b,microsoft 365 e3,reseller,25,5,30,36.10,902.50,EUR,1970-01-01T00:00:00Z\r\n\
        contoso,Name of a,a,Microsoft 365 E3,reseller,10,90,100,36.10,361.00,EUR,1970-01-01T00:00:00Z\r\n\
        contoso,,nameless,Microsoft 365 E3,reseller,0,900,700,36.10,0.00,EUR,1970-01-01T00:00:00Z\r\n\
        contoso,Name of b,b,Power BI,reseller,2,3,5,9.99,19.98,USD,1970-01-01T00:00:00Z\r\n\
        contoso,Name of a,a,<Visio>,reseller,7,0,7,,,,1970-01-01T00:00:00Z\r\n";
    let (columns, lines) = csv.split_once("\r\n").unwrap();
    assert_eq!(
        columns,
        "account,customer_name,customer,product,channel,unused,active,qualified,price_per_month,cost_per_month,currency,\
         processed_at"
    );
    assert_eq!(lines, expected);
    let (_, html) = get(&accounts, "/customers?by=product").await;
    for text in [
        "cost at most <strong>1263.50 EUR, 19.98 USD</strong> a month",
        "less the highest number of active ones",
        "not included in any cost: <bdi>&lt;Visio&gt;</bdi>.",
        "Without a product: 1 row of usage",
        "902.50 EUR",
        "href=\"customers.csv?by=product\"",
        "href=\"customers?by=product&amp;sort=product\"",
    ] {
        assert!(html.contains(text), "{text}: {html}");
    }
}

#[tokio::test]
async fn products_are_sorted_and_selected_by_their_own_columns() {
    let accounts = with_products(PRICES);
    for (query, expected) in [
        ("", ["microsoft 365 e3", "Microsoft 365 E3", "Microsoft 365 E3", "Power BI", "<Visio>"].as_slice()),
        ("&sort=cost&customer=b", &["microsoft 365 e3", "Power BI"]),
        ("&sort=unused&customer=name+of", &["microsoft 365 e3", "Microsoft 365 E3", "<Visio>", "Power BI"]),
        ("&sort=product&customer=name+of", &["<Visio>", "Microsoft 365 E3", "Power BI", "microsoft 365 e3"]),
        ("&product=Power+BI", &["Power BI"]),
        ("&channel=direct", &[]),
        ("&account=other", &[]),
    ] {
        let (status, csv) = get(&accounts, &format!("/customers.csv?by=product{query}")).await;
        assert_eq!(status, 200, "{csv}");
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let found: Vec<_> = reader.records().map(|record| record.unwrap()[3].to_owned()).collect();
        assert_eq!(found, expected, "{query}");
        let (_, html) = get(&accounts, &format!("/customers?by=product{query}")).await;
        assert_eq!(html.matches("<tr").count().saturating_sub(1), expected.len(), "{query}: {html}");
    }
    for (path, text) in [
        (
            "/customers?by=product&workload=Teams",
            "400 unknown parameter; known: by, customer, account, product,",
        ),
        ("/customers?by=product&sort=percent", "400 sort must be one of cost, unused,"),
        ("/customers?by=size", "400 by must be one of workload, product"),
        ("/customers?product=x", "400 unknown parameter; known: by, customer, account, service,"),
    ] {
        let (status, said) = get(&accounts, path).await;
        assert_eq!((status, said.starts_with(text)), (400, true), "{said}");
    }
}

#[tokio::test]
async fn each_customer_has_its_costs_beside_its_workloads_and_a_link_to_its_products() {
    let (_, html) = get(&with_products(PRICES), "/customers").await;
    for text in [
        "Customer’s cost a month",
        "<a href=\"customers?by=product&amp;customer=b&amp;account=contoso\">902.50 EUR, 19.98 USD</a>",
        "<a href=\"customers?by=product&amp;customer=a&amp;account=contoso\">361.00 EUR</a> <small>partial</small>",
        "it is partial if any of its products has no price",
        "</table></div><p class=\"note\">Without a price in the configuration, and so not included in any cost: \
         <bdi>&lt;Visio&gt;</bdi>.</p>",
        "href=\"customers?by=product\"",
        "href=\"./concepts/the-numbers\"",
    ] {
        assert!(html.contains(text), "{text}: {html}");
    }
    assert_eq!(
        html.matches("<small>partial</small>").count(),
        2,
        "all products of the other customers have a price: {html}"
    );
    let (_, html) = get(&with_products(""), "/customers").await;
    assert!(!html.contains("cost"), "without prices there is no column for them: {html}");
}

#[tokio::test]
async fn without_products_the_page_says_when_they_come() {
    let (status, said) = get(&portfolio(), "/customers?by=product").await;
    assert_eq!((status, said.contains("only if there are prices")), (404, true), "{said}");
    let accounts = Accounts { prices: with_products(PRICES).prices, ..portfolio() };
    let (status, said) = get(&accounts, "/customers.csv?by=product").await;
    assert_eq!((status, said.contains("from the next poll of customers on")), (404, true), "{said}");
    let (_, html) = get(&accounts, "/customers").await;
    assert!(html.contains("What unused licences cost is known after the next poll."), "{html}");
}

#[tokio::test]
async fn no_price_is_in_a_series() {
    let accounts = with_products(PRICES);
    let series = |accounts: &Accounts| {
        let snapshot = accounts.render(NOW);
        let selection = crate::metrics::Selection::everything();
        String::from_utf8(snapshot.encode(Format::OpenMetrics, &selection)).unwrap()
    };
    assert!(series(&accounts).contains("partner_license_customers"));
    assert_eq!(series(&accounts), series(&portfolio()));
}

#[tokio::test]
async fn the_status_page_has_the_ten_worst_customers_of_each_account() {
    let (_, html) = get(&portfolio(), "/").await;
    assert!(html.contains("The worst customers of this account: low ones first"), "{html}");
    let rows: Vec<_> = html.split("<table class=\"worst\">").nth(1).unwrap().split("<tr").skip(2).collect();
    let expected = [
        (
            "./customers?customer=a&amp;account=contoso\"><bdi>Name of a</bdi></a></th><td>Exchange</td><td>910</td>",
            "low",
        ),
        (
            "./customers?customer=b&amp;account=contoso\"><bdi>Name of b</bdi></a></th><td>Exchange</td><td>25</td>",
            "low",
        ),
        (
            "./customers?customer=nameless&amp;account=contoso\"><bdi>nameless</bdi></a></th><td>Teams</td><td>200</td>",
            "77.78 %",
        ),
    ];
    assert_eq!(rows.len(), expected.len(), "{html}");
    for (row, (start, end)) in rows.iter().zip(expected) {
        assert!(row.contains(start) && row.contains(end), "{start}: {row}");
    }
    let none = accounts_with(ledgers(&["contoso"]));
    let (_, html) = get(&none, "/").await;
    assert!(!html.contains("class=\"worst\""), "{html}");
}

#[tokio::test]
async fn a_page_of_customers_stays_small_however_many_there_are() {
    let rows = |n: u32| {
        CustomerUsage::of(&format!("customer {n:05}"), &format!("workload {}", n % 3_000), 1, n.into())
    };
    let accounts = with_customers(&["contoso"], (0..20_000).map(rows));
    let product = |n: u32| {
        CustomerProduct::of(&format!("customer {n:05}"), &format!("product {}", n % 3_000), 1, n.into())
    };
    let accounts = with_these_products(accounts, PRICES, (0..20_000).map(product).map(Ok));
    for path in ["/customers?page=200", "/customers?by=product&page=200"] {
        let (status, html) = get(&accounts, path).await;
        assert_eq!((status, html.matches("<tr").count()), (200, 51), "{path}");
        assert!(html.len() < 64_000, "{path}: {} bytes", html.len());
        assert!(html.contains("Page 200 of 400"), "{path}");
    }
    let (_, html) = get(&accounts, "/customers?by=product").await;
    assert!(html.contains(", and 2900 more."), "{html}");
}

/// A thousand rows and products of an account, in the order of their ids, and those of a second account.
fn two_large_accounts() -> Accounts {
    let of = |n: u32| CustomerUsage::of(&format!("{n:04}"), "Teams", 1, 100);
    let product = |n: u32| CustomerProduct::of(&format!("{n:04}"), "Power BI", 1, 100);
    let names = ["first", "second-account"];
    let [first, second] = [0..1000, 1000..2000].map(|ids: std::ops::Range<u32>| {
        let accounts = with_customers(&names[..1], ids.clone().map(of));
        with_these_products(accounts, PRICES, ids.map(product).map(Ok))
    });
    let both = accounts_with(ledgers(&names));
    for (ledger, accounts) in both.ledgers.iter().zip([&first, &second]) {
        let status = accounts.ledgers[0].read();
        let good = status.of(Collection::Customers).unwrap().last_good.clone();
        ledger.write(|status| status.of_mut(Collection::Customers).last_good = good);
    }
    Accounts { prices: first.prices, ..both }
}

#[tokio::test]
async fn a_file_is_sent_in_small_pieces_that_together_have_every_row_once() {
    let accounts = two_large_accounts();
    for by in ["workload", "product"] {
        for (query, ids) in [("", 0..2000), ("&account=second-account", 1000..2000), ("&customer=none", 0..0)]
        {
            let request = Request::get(format!("/customers.csv?by={by}{query}")).body(Body::empty()).unwrap();
            let response = site(accounts.clone()).router.oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200);
            let mut body = response.into_body();
            let mut pieces = Vec::new();
            while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                pieces.push(frame.unwrap().into_data().unwrap());
            }
            assert!(pieces.iter().all(|piece| piece.len() < 64 << 10), "{by} {query}");
            let csv = pieces.concat();
            let mut reader = csv::Reader::from_reader(&*csv);
            assert_eq!(reader.headers().unwrap().iter().take(3).collect::<Vec<_>>()[2], "customer");
            let found: Vec<_> = reader
                .records()
                .map(Result::unwrap)
                .map(|record| (record[0].to_owned(), record[2].parse::<u32>().unwrap()))
                .collect();
            let account = |n: u32| if n < 1000 { "first" } else { "second-account" };
            assert_eq!(found, ids.map(|n| (account(n).to_owned(), n)).collect::<Vec<_>>(), "{by} {query}");
        }
    }
}

#[tokio::test]
async fn a_reader_that_hangs_up_frees_what_its_file_is_made_of() {
    let accounts = two_large_accounts();
    let rows =
        || accounts.ledgers[0].read().of(Collection::Customers).unwrap().last_good.clone().unwrap().report;
    let rows = rows();
    let before = Arc::strong_count(&rows);
    let request = Request::get("/customers.csv").body(Body::empty()).unwrap();
    let mut body = site(accounts.clone()).router.oneshot(request).await.unwrap().into_body();
    let mut frame = async || std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
    frame().await.unwrap().unwrap();
    assert!(Arc::strong_count(&rows) > before, "the file is made of the rows");
    drop(body);
    let freed = async {
        while Arc::strong_count(&rows) > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), freed).await.unwrap();
}
