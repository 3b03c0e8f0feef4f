//! The rows of a collection as lines with columns, whatever collection it is, for tables and files.

mod line;
mod csv_file;
mod names;
mod customers;
mod products;

use crate::config::{Prices, Thresholds};
use crate::domain::collection::{Collected, Collection};
use crate::domain::customers::{Customers, Limits};
use crate::domain::deployment::LicenseDeployment;
use crate::domain::usage::LicenseUsage;

pub use csv_file::write_csv;
pub use customers::CustomerRow;
pub use line::{Cell, Column, Line};
pub use products::{ProductRow, ProductSummary, cost_of};

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

/// The rows of a collection, those that need attention first.
pub fn lines<'a>(
    collected: &'a Collected,
    limits: Limits,
    thresholds: &'a Thresholds,
) -> Box<dyn Iterator<Item = Line<'a>> + 'a> {
    match collected {
        Collected::Usage(rows) => {
            let mut rows: Vec<_> = rows.rows().iter().collect();
            rows.sort_by(|a, b| a.percent.get().total_cmp(&b.percent.get()));
            Box::new(rows.into_iter().map(|row| usage(row, thresholds)))
        }
        Collected::Deployment(rows) => {
            let mut rows: Vec<_> = rows.rows().iter().collect();
            rows.sort_by(|a, b| a.percent.get().total_cmp(&b.percent.get()));
            Box::new(rows.into_iter().map(deployment))
        }
        Collected::Customers(all) => {
            let mut rows: Vec<_> = CustomerRow::all(all, limits, thresholds).collect();
            rows.sort_by_key(CustomerRow::rank);
            Box::new(rows.into_iter().map(|row| row.line()))
        }
    }
}

/// The products of customers, those that cost the most first.
pub fn product_lines<'a>(customers: &'a Customers, prices: &'a Prices) -> impl Iterator<Item = Line<'a>> {
    let mut rows: Vec<_> = ProductRow::all(customers, prices).collect();
    rows.sort_by_key(ProductRow::rank);
    rows.into_iter().map(|row| row.line())
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
