//! Renders the customers as a table that query parameters sort and filter, 50 rows at a time.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use axum::response::Response;
use foldhash::fast::RandomState;
use jiff::Timestamp;
use maud::{Markup, html};

use crate::domain::customers::Customers;
use crate::domain::row::{Rows, listing};
use crate::metrics::Accounts;
use crate::sheet::ProductSummary;
use crate::web::doubt::Doubt;
use crate::web::selection::{By, Found, OfAccount, Selection, Sort, Sorted};
use crate::web::site::Site;

use super::customer_tables::Frame;
use super::document::{self, Forms};
use super::text::{Count, Length, day, link, time, visible};

/// How many rows a page has.
const PAGE_ROWS: usize = 50;
/// How many values a choice offers; of more, one has to be written.
const MAX_OPTIONS: usize = 500;
/// How many products without a price are named.
const MAX_NAMED_PRODUCTS: usize = 100;

/// The rows of a page, rendered, and which page it is.
struct Shown<'a> {
    /// The number of rows on all pages.
    found: usize,
    page: usize,
    pages: usize,
    /// What unused licences cost, and which products have no price, if there are prices.
    products: ProductSummary<'a>,
    table: Markup,
}

/// Answers with the rows of `all` accounts with customers that are selected.
pub(crate) fn respond(
    all: &[OfAccount],
    accounts: &Accounts,
    selection: &Selection,
    site: &Site,
) -> Response {
    let now = site.clock.now();
    let frame = Frame { all, accounts, selection };
    let shown = match selection.by {
        By::Workload => {
            let (rows, products) = (selection.rows(all, accounts), frame.all_products());
            Shown::of(rows, selection, products, |rows| frame.by_workload(rows))
        }
        By::Product => {
            let rows = selection.products(all, accounts);
            let products = ProductSummary::of(rows.iter().map(|found| found.row));
            Shown::of(rows, selection, products, |rows| frame.by_product(rows))
        }
    };
    let body = html! {
        header {
            h1 { "Customers" }
            nav aria-label="Pages" {
                ul {
                    @if site.telemetry_path != "/" { li { a href="." { "Status page" } } }
                    @if selection.by == By::Product { li { a href="customers" { "By workload" } } }
                    @else if all.iter().any(|of| of.customers().products().is_some()) {
                        li { a href="customers?by=product" { "By product" } }
                    }
                    li { a href=(format!("customers.csv{}", selection.query(selection.sort, 1))) { "CSV" } }
                }
            }
        }
        main {
            section aria-labelledby="figures" {
                h2 id="figures" { "About these figures" }
                @for of in all { (about(of, accounts, now)) }
                @for doubt in Doubt::all(accounts, now) {
                    div.failure { p { bdi { (visible(&doubt.to_string())) } "; the status page says more." } }
                }
                p.note {
                    a href=(link("/concepts/the-numbers")) { "What the numbers mean" } ", and what they cannot tell you."
                }
            }
            section aria-labelledby="rows" {
                h2 id="rows" { (Count(shown.found, "row")) }
                @if selection.by == By::Product { (costs(&shown.products)) }
                (form(all, selection))
                @if shown.found > 0 { (shown.table) (without_price(&shown.products)) }
                @else { p { "No row matches." } }
                @if shown.pages > 1 { (links(selection, shown.page, shown.pages)) }
            }
        }
    };
    document::respond_with(document::render("Customers · Partner license exporter", &body), Forms::Own)
}

impl<'a> Shown<'a> {
    fn of<R: Sorted>(
        mut rows: Vec<Found<'_, R>>,
        selection: &Selection,
        products: ProductSummary<'a>,
        table: impl FnOnce(&[Found<'_, R>]) -> Markup,
    ) -> Self {
        let found = rows.len();
        let pages = found.div_ceil(PAGE_ROWS).max(1);
        let page = selection.page.min(pages);
        selection.sort(&mut rows, (page - 1) * PAGE_ROWS..page * PAGE_ROWS);
        Self { found, page, pages, products, table: table(&rows) }
    }
}

/// How old the figures of an account are, where they come from, and what is missing among the metrics.
fn about(of: &OfAccount, accounts: &Accounts, now: Timestamp) -> Markup {
    let (customers, report) = (of.customers(), &of.good.report);
    let choice = accounts.choices.of(report, of.limits, &accounts.thresholds);
    let without_product = customers.products().map_or(0, Rows::without_label);
    html! {
        p.note {
            @if let Some(account) = &of.account { bdi { (visible(account)) } ": " }
            (Count(customers.count(), "customer")) ", " (Count(customers.rows().len(), "row")) ", "
            (choice.low) " low. Fetched " (Length::between(of.good.at, now)) " ago, " (time(of.good.at))
            ", from analytics/commercial"
            @if let Some((oldest, newest)) = customers.processed() {
                "; processed by Microsoft on " (day(newest)) @if oldest < newest { ", oldest " (day(oldest)) }
            }
            ". "
            @if choice.withheld > 0 {
                "The metrics have " (choice.rows.len()) " of the rows; the setting " code { "series" }
                " withholds " (choice.withheld) ". "
            }
            @if !customers.rejected().is_empty() {
                "Dropped from the last good collection: " (listing(customers.rejected())) ". "
            }
            @if without_product > 0 { "Without a product: " (Count(without_product, "row of usage")) ". " }
            @if customers.products().is_none() && !accounts.prices.is_empty() {
                "What unused licences cost is known after the next poll. "
            }
        }
    }
}

/// What the unused licences of all selected products cost.
fn costs(summary: &ProductSummary<'_>) -> Markup {
    html! {
        p.note {
            @if !summary.costs.is_empty() {
                "Licences of which no workload is used cost at most " strong { (summary.costs) } " a month. "
            }
            "The column “Unused at most” is the number of qualified licences less the highest number of active ones \
             among the workloads of the product."
        }
    }
}

/// The products that no cost includes.
fn without_price(summary: &ProductSummary<'_>) -> Markup {
    let named = summary.without_price.iter().take(MAX_NAMED_PRODUCTS);
    let others = summary.without_price.len().saturating_sub(MAX_NAMED_PRODUCTS);
    html! {
        @if !summary.without_price.is_empty() {
            p.note {
                "Without a price in the configuration, and so not included in any cost: "
                @for (n, product) in named.enumerate() { @if n > 0 { ", " } bdi { (visible(product)) } }
                @if others > 0 { ", and " (others) " more" }
                "."
            }
        }
    }
}

fn form(all: &[OfAccount], selection: &Selection) -> Markup {
    let accounts: BTreeSet<&str> = all.iter().filter_map(|of| of.account.as_deref()).collect();
    let Labels { services, workloads, products, channels } = Labels::of(all, selection.by);
    let is_by_product = selection.by == By::Product;
    html! {
        form.filter method="get" action="customers" {
            @if is_by_product { input type="hidden" name="by" value="product"; }
            label { "Customer " input type="search" name="customer" value=(selection.customer); }
            (choice("Account", "account", &accounts, &selection.account))
            (choice("Service", "service", &services, &selection.service))
            (choice("Workload", "workload", &workloads, &selection.workload))
            (choice("Product", "product", &products, &selection.product))
            (choice("Channel", "channel", &channels, &selection.channel))
            @if !is_by_product {
                label {
                    input type="checkbox" name="low" value="1" checked[selection.low]; " only low"
                }
            }
            @if selection.sort != Sort::Rank {
                input type="hidden" name="sort" value=(selection.word(selection.sort));
            }
            button { "Show" }
            @let all_rows = Selection::of(selection.by).query(Sort::Rank, 1);
            @if selection.query(Sort::Rank, 1) != all_rows { a href=(format!("customers{all_rows}")) { "All rows" } }
        }
    }
}

/// The labels that occur in rows.
#[derive(Default)]
struct Labels<'a> {
    services: BTreeSet<&'a str>,
    workloads: BTreeSet<&'a str>,
    products: BTreeSet<&'a str>,
    channels: BTreeSet<&'a str>,
}

impl<'a> Labels<'a> {
    fn of(all: &'a [OfAccount], by: By) -> Self {
        let customers = || all.iter().map(OfAccount::customers);
        match by {
            By::Workload => {
                let rows = || customers().flat_map(Customers::rows);
                Self {
                    services: distinct(rows().map(|row| &row.service)),
                    workloads: distinct(rows().map(|row| &row.workload)),
                    channels: distinct(rows().map(|row| &row.channel)),
                    ..Self::default()
                }
            }
            By::Product => {
                let rows = || customers().filter_map(|it| it.products()).flat_map(Rows::rows);
                Self {
                    products: distinct(rows().map(|row| &row.product)),
                    channels: distinct(rows().map(|row| &row.channel)),
                    ..Self::default()
                }
            }
        }
    }
}

/// The labels, each of them once. Rows share theirs, so that few texts have to be compared.
fn distinct<'a>(labels: impl Iterator<Item = &'a Arc<str>>) -> BTreeSet<&'a str> {
    let mut known: HashSet<usize, RandomState> = HashSet::default();
    labels.filter(|label| known.insert(label.as_ptr().addr())).map(|label| &**label).collect()
}

/// A choice among the values that occur, if there is one.
fn choice(title: &str, name: &str, values: &BTreeSet<&str>, selected: &str) -> Markup {
    html! {
        @if values.len() > MAX_OPTIONS {
            label { (title) " " input type="search" name=(name) value=(selected); }
        } @else if values.len() > 1 || !selected.is_empty() {
            label {
                (title) " "
                select name=(name) {
                    option value="" selected[selected.is_empty()] { "any" }
                    @for value in values { option value=(value) selected[*value == selected] { (visible(value)) } }
                    @if !selected.is_empty() && !values.contains(selected) {
                        option value=(selected) selected { (visible(selected)) }
                    }
                }
            }
        }
    }
}

fn links(selection: &Selection, page: usize, pages: usize) -> Markup {
    let to = |page: usize| format!("customers{}", selection.query(selection.sort, page));
    html! {
        nav.pages aria-label="Pages of the table" {
            @if page > 1 { a href=(to(1)) { "First" } " " a href=(to(page - 1)) rel="prev" { "Previous" } " " }
            span aria-current="page" { "Page " (page) " of " (pages) }
            @if page < pages { " " a href=(to(page + 1)) rel="next" { "Next" } " " a href=(to(pages)) { "Last" } }
        }
    }
}
