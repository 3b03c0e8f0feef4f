//! The rows of a collection as lines with columns, whatever collection it is, for tables and files.

mod customers;

use std::io;

use jiff::Timestamp;

use crate::config::Thresholds;
use crate::domain::collection::{Collected, Collection};
use crate::domain::customers::Limits;
use crate::domain::deployment::LicenseDeployment;
use crate::domain::usage::LicenseUsage;

pub use customers::CustomerRow;

/// The key of a column for programs, and its title for people.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The key.
    pub key: &'static str,
    /// The title.
    pub title: &'static str,
}

/// A row, with a cell for each column.
#[derive(Debug)]
pub struct Line<'a> {
    /// The cells.
    pub cells: Vec<Cell<'a>>,
    /// Whether usage is below its threshold.
    pub is_low: bool,
}

/// What is known in a column.
#[derive(Clone, Copy, Debug)]
pub enum Cell<'a> {
    /// A text from outside.
    Text(&'a str),
    /// A number of licences.
    Count(u64),
    /// A percentage, on the scale 0–100.
    Percent(f64),
    /// A time.
    Time(Timestamp),
    /// Nothing.
    Missing,
}

impl Cell<'_> {
    /// Whether it is a number.
    pub const fn is_number(&self) -> bool {
        matches!(self, Self::Count(_) | Self::Percent(_))
    }
}

/// The column for the name of the account.
pub const ACCOUNT: Column = column("account", "Account");

const fn column(key: &'static str, title: &'static str) -> Column {
    Column { key, title }
}

/// The columns of a collection.
pub fn columns(collection: Collection) -> &'static [Column] {
    const USAGE: &[Column] = &[
        column("workload", "Workload"),
        column("service", "Service"),
        column("channel", "Channel"),
        column("percent", "Usage"),
        column("active", "Active"),
        column("qualified", "Qualified"),
        column("threshold", "Threshold"),
        column("processed_at", "Data of"),
    ];
    const DEPLOYMENT: &[Column] = &[
        column("service", "Service"),
        column("channel", "Channel"),
        column("percent", "Deployed"),
        column("sold", "Sold"),
        column("deployed", "Assigned"),
        column("processed_at", "Data of"),
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

/// Writes CSV (RFC 4180), with a line of keys. The name of the account comes first if any line has one.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_csv<'a>(
    out: impl io::Write,
    collection: Collection,
    has_accounts: bool,
    lines: impl Iterator<Item = (Option<&'a str>, Line<'a>)>,
) -> csv::Result<()> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    let account = has_accounts.then_some(ACCOUNT);
    writer.write_record(account.iter().chain(columns(collection)).map(|column| column.key))?;
    for (account, line) in lines {
        let account = has_accounts.then(|| account.map_or(Cell::Missing, Cell::Text));
        for cell in account.iter().chain(&line.cells) {
            write_cell(&mut writer, cell)?;
        }
        // Ends the record.
        writer.write_record(None::<&[u8]>)?;
    }
    writer.flush()?;
    Ok(())
}

fn write_cell(writer: &mut csv::Writer<impl io::Write>, cell: &Cell<'_>) -> csv::Result<()> {
    match cell {
        // A spreadsheet would take it for a formula.
        Cell::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
            writer.write_field(format!("'{text}"))
        }
        Cell::Text(text) => writer.write_field(text),
        Cell::Count(number) => writer.write_field(number.to_string()),
        Cell::Percent(percent) => writer.write_field(percent.to_string()),
        Cell::Time(at) => writer.write_field(at.to_string()),
        Cell::Missing => writer.write_field(""),
    }
}
