//! Renders the customers as a table that query parameters sort and filter, 50 rows at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};

use crate::domain::row::listing;
use crate::metrics::Accounts;
use crate::web::selection::{Found, OfAccount, Selection, Sort};
use crate::web::site::Site;

use super::document::{self, Forms};
use super::text::{Count, Length, Percentage, day, time, visible};

/// How many rows a page has.
const PAGE_ROWS: usize = 50;

/// Answers with the rows of `all` accounts with customers that are selected.
pub(crate) fn respond(
    all: &[OfAccount],
    accounts: &Accounts,
    selection: &Selection,
    site: &Site,
) -> Response {
    let now = site.clock.now();
    let mut rows = selection.rows(all, accounts);
    let found = rows.len();
    let pages = found.div_ceil(PAGE_ROWS).max(1);
    let page = selection.page.min(pages);
    selection.sort(&mut rows, page * PAGE_ROWS);
    let shown = &rows[(page - 1) * PAGE_ROWS..];
    let has_accounts = all.iter().any(|of| of.account.is_some());
    let body = html! {
        header {
            h1 { "Customers" }
            nav aria-label="Pages" {
                ul {
                    @if site.telemetry_path != "/" { li { a href="." { "Status page" } } }
                    li { a href=(format!("customers.csv{}", selection.query(selection.sort, 1))) { "CSV" } }
                }
            }
        }
        main {
            section aria-labelledby="figures" {
                h2 id="figures" { "About these figures" }
                @for of in all { (about(of, accounts, now)) }
            }
            section aria-labelledby="rows" {
                h2 id="rows" { (Count(found, "row")) }
                (form(all, selection))
                @if found > 0 { (table(shown, selection, has_accounts)) }
                @if pages > 1 { (links(selection, page, pages)) }
            }
        }
    };
    document::respond_with(document::render("Customers · Partner license exporter", &body), Forms::Own)
}

/// How old the figures of an account are, where they come from, and what is missing among the metrics.
fn about(of: &OfAccount, accounts: &Accounts, now: Timestamp) -> Markup {
    let (customers, report) = (of.customers(), &of.good.report);
    let choice = accounts.choices.of(report, of.limits, &accounts.thresholds);
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
        }
    }
}

fn form(all: &[OfAccount], selection: &Selection) -> Markup {
    let accounts: BTreeSet<&str> = all.iter().filter_map(|of| of.account.as_deref()).collect();
    let [services, workloads, channels] = labels(all);
    html! {
        form.filter method="get" action="customers" {
            label { "Customer " input type="search" name="customer" value=(selection.customer); }
            (choice("Account", "account", &accounts, &selection.account))
            (choice("Service", "service", &services, &selection.service))
            (choice("Workload", "workload", &workloads, &selection.workload))
            (choice("Channel", "channel", &channels, &selection.channel))
            label {
                input type="checkbox" name="low" value="1" checked[selection.low]; " only low"
            }
            @if selection.sort != Sort::Rank { input type="hidden" name="sort" value=(selection.sort.as_str()); }
            button { "Show" }
            @if !selection.query(Sort::Rank, 1).is_empty() { a href="customers" { "All rows" } }
        }
    }
}

/// The services, workloads and channels that occur.
fn labels(all: &[OfAccount]) -> [BTreeSet<&str>; 3] {
    let mut found: [Vec<&Arc<str>>; 3] = Default::default();
    for row in all.iter().flat_map(|of| of.customers().rows()) {
        for (known, label) in found.iter_mut().zip([&row.service, &row.workload, &row.channel]) {
            // Rows share their labels, so there are few.
            if !known.iter().any(|known| Arc::ptr_eq(known, label)) {
                known.push(label);
            }
        }
    }
    found.map(|labels| labels.into_iter().map(|label| &**label).collect())
}

/// A choice among the values that occur, if there is one.
fn choice(title: &str, name: &str, values: &BTreeSet<&str>, selected: &str) -> Markup {
    html! {
        @if values.len() > 1 || !selected.is_empty() {
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

fn table(rows: &[Found<'_>], selection: &Selection, has_accounts: bool) -> Markup {
    let heading = |title: &str, sort: Sort| {
        let is_sorted = selection.sort == sort;
        let is_number = matches!(sort, Sort::Unused | Sort::Active | Sort::Qualified | Sort::Percent);
        let order = if is_number && sort != Sort::Percent { "descending" } else { "ascending" };
        html! {
            th class=[is_number.then_some("number")] scope="col" aria-sort=[is_sorted.then_some(order)] {
                a href=(format!("customers{}", selection.query(sort, 1))) { (title) }

            }
        }
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label="Rows" {
        table.customers {
            caption {
                @if selection.sort == Sort::Rank { "Low rows first, and of these those with the most unused licences." }
                @else { "Follow a heading to sort by it. " a href=(format!("customers{}", selection.query(Sort::Rank, 1))) { "Low rows first" } "." }
            }
            thead {
                tr {
                    (heading("Customer", Sort::Name))
                    @if has_accounts { th scope="col" { "Account" } }
                    (heading("Workload", Sort::Workload))
                    (heading("Service", Sort::Service))
                    (heading("Channel", Sort::Channel))
                    (heading("Unused", Sort::Unused))
                    (heading("Active", Sort::Active))
                    (heading("Qualified", Sort::Qualified))
                    (heading("Usage", Sort::Percent))
                    th.number scope="col" { "Threshold" }
                    th scope="col" { "Data of" }
                }
            }
            tbody { @for found in rows { (row(found, has_accounts)) } }
        }
        }
    }
}

fn row(Found { account, row }: &Found<'_>, has_accounts: bool) -> Markup {
    let (judgement, of) = (row.judgement, row.row);
    let class = if judgement.is_low { Some("low") } else { judgement.threshold.is_none().then_some("muted") };
    html! {
        tr class=[class] {
            th scope="row" {
                @if let Some(name) = row.name { bdi { (visible(name)) } " " small { (visible(&of.customer)) } }
                @else { (visible(&of.customer)) }
            }
            @if has_accounts { td { (visible(account.unwrap_or(""))) } }
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
            td { (day(of.processed_at)) }
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
