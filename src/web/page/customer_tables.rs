//! Renders the tables of customers' rows: by workload, and by product with what unused licences cost.

use maud::{Markup, html};

use crate::domain::customers::Customers;
use crate::domain::money::Money;
use crate::metrics::Accounts;
use crate::sheet::{CustomerRow, ProductRow, ProductSummary};
use crate::web::selection::{By, Found, OfAccount, Selection, Sort};

use super::text::{Percentage, day, visible};

/// What a table needs to know besides its rows.
pub(super) struct Frame<'a> {
    pub(super) all: &'a [OfAccount],
    pub(super) accounts: &'a Accounts,
    pub(super) selection: &'a Selection,
}

impl<'a> Frame<'a> {
    /// Whether the rows may be of several accounts.
    fn has_accounts(&self) -> bool {
        self.all.len() > 1
    }

    /// Whether it is known what licences cost.
    fn has_costs(&self) -> bool {
        !self.accounts.prices.is_empty() && self.all.iter().any(|of| of.customers().products().is_some())
    }

    fn customers(&self, account: Option<&str>) -> Option<&'a Customers> {
        self.all.iter().find(|of| of.account.as_deref() == account).map(OfAccount::customers)
    }

    /// The summary of all products, whichever rows are selected.
    pub(super) fn all_products(&self) -> ProductSummary<'a> {
        let rows = |of: &'a OfAccount| ProductRow::all(of.customers(), &self.accounts.prices);
        if self.has_costs() {
            ProductSummary::of(self.all.iter().flat_map(rows))
        } else {
            ProductSummary::default()
        }
    }

    fn heading(&self, title: &str, sort: Sort) -> Markup {
        let is_sorted = self.selection.sort == sort;
        let is_number =
            matches!(sort, Sort::Rank | Sort::Unused | Sort::Active | Sort::Qualified | Sort::Percent);
        let order = if is_number && sort != Sort::Percent { "descending" } else { "ascending" };
        html! {
            th class=[is_number.then_some("number")] scope="col" aria-sort=[is_sorted.then_some(order)] {
                a href=(format!("customers{}", self.selection.query(sort, 1))) { (title) }
            }
        }
    }

    /// Renders the rows by workload.
    pub(super) fn by_workload(&self, rows: &[Found<'_, CustomerRow<'_>>]) -> Markup {
        let has_costs = self.has_costs();
        let head = html! {
            (self.heading("Customer", Sort::Name))
            @if self.has_accounts() { th scope="col" { "Account" } }
            (self.heading("Workload", Sort::Workload))
            (self.heading("Service", Sort::Service))
            (self.heading("Channel", Sort::Channel))
            (self.heading("Unused", Sort::Unused))
            (self.heading("Active", Sort::Active))
            (self.heading("Qualified", Sort::Qualified))
            (self.heading("Usage", Sort::Percent))
            th.number scope="col" { "Threshold" }
            @if has_costs { th.number scope="col" { "Customer’s cost a month" } }
            th scope="col" { "Data of" }
        };
        let caption = html! {
            @if self.selection.sort == Sort::Rank { "Low rows first, and of these those with the most unused licences." }
            @else { (self.other_order("Low rows first")) }
            @if has_costs {
                " The cost is that of all unused licences of the customer; it is partial if any of its products has no price."
            }
        };
        let body = html! { @for found in rows { (self.workload(found, has_costs)) } };
        table(&caption, &head, &body)
    }

    fn workload(&self, Found { account, row, .. }: &Found<'_, CustomerRow<'_>>, has_costs: bool) -> Markup {
        let (judgement, of) = (row.judgement, row.row);
        let class =
            if judgement.is_low { Some("low") } else { judgement.threshold.is_none().then_some("muted") };
        let customers = self.customers(*account).filter(|_| has_costs);
        html! {
            tr class=[class] {
                (customer(row.name, &of.customer))
                @if self.has_accounts() { td { (visible(account.unwrap_or(""))) } }
                td { (visible(&of.workload)) }
                td { (visible(&of.service)) }
                td { (visible(&of.channel)) }
                @for number in [of.unused(), of.licenses.active, of.licenses.qualified] { td.number { (number) } }
                td.number {
                    @if let Some(percent) = judgement.share {
                        (Percentage { percent, low_below: judgement.threshold })
                        @if judgement.is_low { " " b { "low" } }
                    } @else { "none" }
                }
                td.number { @if let Some(threshold) = judgement.threshold { (threshold) " %" } @else { "none" } }
                @if has_costs {
                    td.number {
                        @if let Some(customers) = customers {
                            @let products = ProductRow::of_customer(&of.customer, customers, &self.accounts.prices);
                            @let ProductSummary { costs, without_price } = ProductSummary::of(products);
                            @if costs.is_empty() { "no price" }
                            @else {
                                a href=(products_of(&of.customer, *account)) { (costs) }
                                @if !without_price.is_empty() { " " small { "partial" } }
                            }
                        }
                    }
                }
                td { (day(of.processed_at)) }
            }
        }
    }

    /// Renders the rows by product.
    pub(super) fn by_product(&self, rows: &[Found<'_, ProductRow<'_>>]) -> Markup {
        let head = html! {
            (self.heading("Customer", Sort::Name))
            @if self.has_accounts() { th scope="col" { "Account" } }
            (self.heading("Product", Sort::Product))
            (self.heading("Channel", Sort::Channel))
            (self.heading("Unused cost a month", Sort::Rank))
            (self.heading("Unused at most", Sort::Unused))
            th.number scope="col" { "Price a month" }
            (self.heading("Active", Sort::Active))
            (self.heading("Qualified", Sort::Qualified))
            th scope="col" { "Data of" }
        };
        let caption = html! {
            @if self.selection.sort == Sort::Rank { "The most expensive unused licences first, by currency." }
            @else { (self.other_order("The most expensive unused licences first")) }
        };
        let body = html! {
            @for Found { account, row, .. } in rows {
                tr {
                    (customer(row.name, &row.row.customer))
                    @if self.has_accounts() { td { (visible(account.unwrap_or(""))) } }
                    td { (visible(&row.row.product)) }
                    td { (visible(&row.row.channel)) }
                    td.number { (price(row.cost())) }
                    td.number { (row.row.unused()) }
                    td.number { (price(row.price.copied())) }
                    @for number in [row.row.licenses.active, row.row.licenses.qualified] { td.number { (number) } }
                    td { (day(row.row.processed_at)) }
                }
            }
        };
        table(&caption, &head, &body)
    }

    /// How the rows are sorted, with a link to the usual order.
    fn other_order(&self, usual: &str) -> Markup {
        let usual_order = format!("customers{}", self.selection.query(Sort::Rank, 1));
        html! { "Follow a heading to sort by it. " a href=(usual_order) { (usual) } "." }
    }
}

fn table(caption: &Markup, head: &Markup, body: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Rows" {
            table.customers {
                caption { (caption) }
                thead { tr { (head) } }
                tbody { (body) }
            }
        }
    }
}

fn price(money: Option<Money>) -> Markup {
    html! { @if let Some(money) = money { (money) } @else { "no price" } }
}

/// The link to the products of a customer.
fn products_of(customer: &str, account: Option<&str>) -> String {
    format!("customers{}", Selection::of_customer(By::Product, customer, account).first_page())
}

/// Renders the name of a customer, if it is known, and the id.
fn customer(name: Option<&str>, id: &str) -> Markup {
    html! {
        th scope="row" {
            @if let Some(name) = name { bdi { (visible(name)) } " " small { (visible(id)) } }
            @else { (visible(id)) }
        }
    }
}
