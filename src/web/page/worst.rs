//! Renders the customers who need attention most, each with a link to all of its rows.

use maud::{Markup, html};

use crate::config::Thresholds;
use crate::domain::customers::{Choice, CustomerUsage, Customers, Limits};
use crate::web::selection::{By, Selection};

use super::text::{Percentage, day, link, visible};

/// Renders the worst row of each of the worst customers of an account, if there are any.
pub(super) fn worst_customers(
    (account, customers): (Option<&str>, &Customers),
    choice: &Choice,
    (limits, thresholds): (Limits, &Thresholds),
) -> Markup {
    html! {
        @if !choice.worst.is_empty() {
            table.worst {
                caption {
                    "The worst customers" @if account.is_some() { " of this account" }
                    ": low ones first, and of these those with the most unused licences in one workload."
                }
                thead {
                    tr {
                        @for title in ["Customer", "Workload", "Unused", "Qualified", "Usage", "Data of"] {
                            th scope="col" { (title) }
                        }
                    }
                }
                tbody {
                    @for row in choice.worst.iter().map(|at| &customers.rows()[*at]) {
                        (worst_row(row, (account, customers), (limits, thresholds)))
                    }
                }
            }
        }
    }
}

fn worst_row(
    row: &CustomerUsage,
    (account, customers): (Option<&str>, &Customers),
    (limits, thresholds): (Limits, &Thresholds),
) -> Markup {
    let judgement = limits.judge(row, |row| thresholds.applying_to_customer(row));
    let query = Selection::of_customer(By::Workload, &row.customer, account).first_page();
    let name = customers.names().get(&row.customer).unwrap_or(&row.customer);
    html! {
        tr {
            th scope="row" { a href=(link(&format!("/customers{query}"))) { bdi { (visible(name)) } } }
            td { (visible(&row.workload)) }
            td { (row.unused()) }
            td { (row.licenses.qualified) }
            td {
                @if let Some(percent) = judgement.share {
                    (Percentage { percent, low_below: judgement.threshold })
                    @if judgement.is_low { " " b { "low" } }
                } @else { "none" }
            }
            td { (day(row.processed_at)) }
        }
    }
}
