//! The rows of a collection as lines with columns, whatever collection it is, for tables and files.

mod line;
mod csv_file;
mod names;
mod customers;
mod products;

use std::cmp::Ordering;

use crate::config::{Prices, Thresholds};
use crate::domain::collection::{Collected, Collection};
use crate::domain::customers::Limits;
use crate::domain::deployment::LicenseDeployment;
use crate::domain::usage::LicenseUsage;

pub use csv_file::{write_csv_keys, write_csv_lines};
pub use customers::CustomerRow;
pub use line::{Cell, Column, Line};
pub use products::{ProductRow, ProductSummary};

/// The rows of an account.
#[derive(Clone, Copy, Debug)]
pub struct AccountRows<'a> {
    /// The name of the account, if it has one.
    pub account: Option<&'a str>,
    /// The rows.
    pub collected: &'a Collected,
    /// What may raise an alert.
    pub limits: Limits,
}

/// Lines, each with the name of its account.
pub type Lines<'a> = Box<dyn Iterator<Item = (Option<&'a str>, Line<'a>)> + 'a>;

/// The column for the name of the account.
const ACCOUNT: Column = Column::new("account", "Account");

/// The columns of a collection, of which the name of the account comes first if accounts have names.
pub fn columns(collection: Collection, has_accounts: bool) -> Vec<Column> {
    has_accounts.then_some(ACCOUNT).iter().chain(columns_of(collection)).copied().collect()
}

/// The columns of customers' products, likewise.
pub fn product_columns(has_accounts: bool) -> Vec<Column> {
    has_accounts.then_some(ACCOUNT).iter().chain(products::COLUMNS).copied().collect()
}

/// The same line with the name of the account, if it has one, in the column for that.
pub fn of_account<'a>(account: Option<&'a str>, line: Line<'a>) -> Line<'a> {
    let account = account.map_or(Cell::Missing, Cell::Text);
    Line { cells: std::iter::once(account).chain(line.cells).collect(), ..line }
}

fn columns_of(collection: Collection) -> &'static [Column] {
    const USAGE: &[Column] = &[
        Column::new("workload", "Workload"),
        Column::new("service", "Service"),
        Column::new("channel", "Channel"),
        Column::new("percent", "Usage"),
        Column::new("active", "Active"),
        Column::new("qualified", "Qualified"),
        Column::new("threshold", "Threshold"),
        Column::new("processed_at", "Data of"),
    ];
    const DEPLOYMENT: &[Column] = &[
        Column::new("service", "Service"),
        Column::new("channel", "Channel"),
        Column::new("percent", "Deployed"),
        Column::new("sold", "Sold"),
        Column::new("deployed", "Assigned"),
        Column::new("processed_at", "Data of"),
    ];
    match collection {
        Collection::Usage => USAGE,
        Collection::Deployment => DEPLOYMENT,
        Collection::Customers => customers::COLUMNS,
    }
}

/// The rows of a collection of all these accounts together, those that need attention first.
pub fn lines<'a>(
    collection: Collection,
    accounts: &[AccountRows<'a>],
    thresholds: &'a Thresholds,
) -> Lines<'a> {
    match collection {
        Collection::Usage => sorted(
            accounts,
            |of| of.collected.usage(),
            |a, b| a.percent.get().total_cmp(&b.percent.get()),
            |row| usage(row, thresholds),
        ),
        Collection::Deployment => sorted(
            accounts,
            |of| of.collected.deployment(),
            |a, b| a.percent.get().total_cmp(&b.percent.get()),
            deployment,
        ),
        Collection::Customers => sorted(
            accounts,
            |of| {
                let customers = of.collected.customers().into_iter();
                customers.flat_map(move |customers| CustomerRow::all(customers, of.limits, thresholds))
            },
            |a, b| a.rank().cmp(&b.rank()),
            |row| row.line(),
        ),
    }
}

/// The products of customers of all these accounts together, those that cost the most first.
pub fn product_lines<'a>(accounts: &[AccountRows<'a>], prices: &'a Prices) -> Lines<'a> {
    sorted(
        accounts,
        |of| {
            let customers = of.collected.customers().into_iter();
            customers.flat_map(|customers| ProductRow::all(customers, prices))
        },
        |a, b| a.rank().cmp(&b.rank()),
        |row| row.line(),
    )
}

fn sorted<'a, R: 'a, I: IntoIterator<Item = R>>(
    accounts: &[AccountRows<'a>],
    rows: impl Fn(AccountRows<'a>) -> I,
    compare: impl Fn(&R, &R) -> Ordering,
    line: impl Fn(R) -> Line<'a> + 'a,
) -> Lines<'a> {
    let of_account = |of: &AccountRows<'a>| {
        let account = of.account;
        rows(*of).into_iter().map(move |row| (account, row))
    };
    let mut all: Vec<_> = accounts.iter().flat_map(of_account).collect();
    all.sort_by(|(_, a), (_, b)| compare(a, b));
    Box::new(all.into_iter().map(move |(account, row)| (account, line(row))))
}

fn usage<'a>(row: &'a LicenseUsage, thresholds: &Thresholds) -> Line<'a> {
    let (percent, threshold) = (row.percent.get(), thresholds.applying_to(row));
    let cells = vec![
        Cell::Text(&row.workload),
        Cell::Text(&row.service),
        Cell::Text(&row.channel),
        Cell::Percent(percent),
        row.licenses.map_or(Cell::Missing, |it| Cell::Count(it.active)),
        row.licenses.map_or(Cell::Missing, |it| Cell::Count(it.qualified)),
        threshold.map_or(Cell::Missing, Cell::Percent),
        Cell::Time(row.processed_at),
    ];
    Line { cells, is_low: threshold.is_some_and(|threshold| percent < threshold) }
}

fn deployment(row: &LicenseDeployment) -> Line<'_> {
    let cells = vec![
        Cell::Text(&row.service),
        Cell::Text(&row.channel),
        Cell::Percent(row.percent.get()),
        row.sold.map_or(Cell::Missing, Cell::Count),
        row.deployed.map_or(Cell::Missing, Cell::Count),
        Cell::Time(row.processed_at),
    ];
    Line { cells, is_low: false }
}
