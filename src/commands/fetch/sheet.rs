//! The rows of a collection as a sheet with columns, whatever collection it is.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::Thresholds;
use crate::domain::collection::{Collected, Collection};
use crate::domain::customers::{Customers, Limits};
use crate::domain::deployment::LicenseDeployment;
use crate::domain::failure::Failure;
use crate::domain::figures::Percent;
use crate::domain::usage::LicenseUsage;

/// What the poll of one account brought.
pub(super) struct Fetched {
    /// The account's name, if it has one.
    pub(super) account: Option<String>,
    /// What may raise an alert.
    pub(super) limits: Limits,
    pub(super) outcome: Result<Collected, Failure>,
}

impl Cell {
    pub(super) const fn is_number(&self) -> bool {
        matches!(self, Self::Count(_) | Self::Percent(_))
    }
}

/// Rows, those that need attention first.
pub(super) struct Sheet {
    pub(super) columns: Vec<Column>,
    pub(super) lines: Vec<Line>,
}

/// The key of a column for programs, and its title for people.
#[derive(Clone, Copy)]
pub(super) struct Column {
    pub(super) key: &'static str,
    pub(super) title: &'static str,
}

/// A row, with a cell for each column.
pub(super) struct Line {
    pub(super) cells: Vec<Cell>,
    /// Whether usage is below its threshold.
    pub(super) is_low: bool,
}

#[derive(Clone)]
pub(super) enum Cell {
    Text(String),
    Count(u64),
    Percent(f64),
    Time(Timestamp),
    Missing,
}

const ACCOUNT: Column = column("account", "Account");

const fn column(key: &'static str, title: &'static str) -> Column {
    Column { key, title }
}

/// The columns of a collection.
fn columns(collection: Collection) -> &'static [Column] {
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
    const CUSTOMERS: &[Column] = &[
        column("customer_name", "Name"),
        column("customer", "Customer"),
        column("workload", "Workload"),
        column("service", "Service"),
        column("channel", "Channel"),
        column("unused", "Unused"),
        column("active", "Active"),
        column("qualified", "Qualified"),
        column("percent", "Usage"),
        column("threshold", "Threshold"),
        column("processed_at", "Data of"),
    ];
    match collection {
        Collection::Usage => USAGE,
        Collection::Deployment => DEPLOYMENT,
        Collection::Customers => CUSTOMERS,
    }
}

impl Sheet {
    /// The rows of all accounts, with a column for their names if they have any.
    pub(super) fn new(collection: Collection, all: &[Fetched], thresholds: &Thresholds) -> Self {
        let is_named = all.iter().any(|fetched| fetched.account.is_some());
        let account = is_named.then_some(ACCOUNT);
        let columns = account.into_iter().chain(columns(collection).iter().copied()).collect();
        let lines = all.iter().flat_map(|fetched| {
            let name = fetched.account.clone().map_or(Cell::Missing, Cell::Text);
            Self::of(collection, fetched, thresholds).lines.into_iter().map(move |line| {
                let name = is_named.then(|| name.clone());
                Line { cells: name.into_iter().chain(line.cells).collect(), ..line }
            })
        });
        Self { columns, lines: lines.collect() }
    }

    /// The rows of one account.
    pub(super) fn of(collection: Collection, fetched: &Fetched, thresholds: &Thresholds) -> Self {
        let lines = fetched.outcome.as_ref().map(|rows| lines(rows, fetched.limits, thresholds));
        Self { columns: columns(collection).to_vec(), lines: lines.unwrap_or_default() }
    }
}

fn lines(collected: &Collected, limits: Limits, thresholds: &Thresholds) -> Vec<Line> {
    match collected {
        Collected::Usage(rows) => {
            let mut rows: Vec<_> = rows.rows().iter().collect();
            rows.sort_by(|a, b| a.percent.get().total_cmp(&b.percent.get()));
            let line = |row: &&LicenseUsage| {
                let threshold = thresholds.applying_to(row);
                Line {
                    cells: vec![
                        text(&row.workload),
                        text(&row.service),
                        text(&row.channel),
                        Cell::Percent(row.percent.get()),
                        row.licenses.map_or(Cell::Missing, |it| Cell::Count(it.active)),
                        row.licenses.map_or(Cell::Missing, |it| Cell::Count(it.qualified)),
                        threshold.map_or(Cell::Missing, Cell::Percent),
                        Cell::Time(row.processed_at),
                    ],
                    is_low: threshold.is_some_and(|threshold| row.percent.get() < threshold),
                }
            };
            rows.iter().map(line).collect()
        }
        Collected::Deployment(rows) => {
            let mut rows: Vec<_> = rows.rows().iter().collect();
            rows.sort_by(|a, b| a.percent.get().total_cmp(&b.percent.get()));
            let count = |number: Option<u64>| number.map_or(Cell::Missing, Cell::Count);
            let cells = |row: &&LicenseDeployment| {
                vec![
                    text(&row.service),
                    text(&row.channel),
                    Cell::Percent(row.percent.get()),
                    count(row.sold),
                    count(row.deployed),
                    Cell::Time(row.processed_at),
                ]
            };
            rows.iter().map(|row| Line { cells: cells(row), is_low: false }).collect()
        }
        Collected::Customers(customers) => of_customers(customers, limits, thresholds),
    }
}

fn of_customers(customers: &Customers, limits: Limits, thresholds: &Thresholds) -> Vec<Line> {
    // All rows, with the thresholds that the exporter would publish.
    let all = Limits { series: usize::MAX, ..limits };
    let choice = customers.choose(all, |row| thresholds.applying_to_customer(row));
    let mut lines: Vec<_> = choice
        .rows
        .iter()
        .map(|(at, threshold)| {
            let row = &customers.rows()[*at];
            let share = Percent::of(row.licenses.active, row.licenses.qualified).ok().map(Percent::get);
            let is_low = share.zip(*threshold).is_some_and(|(share, threshold)| share < threshold);
            let name = customers.names().get(&row.customer).map_or(Cell::Missing, text);
            let cells = vec![
                name,
                text(&row.customer),
                text(&row.workload),
                text(&row.service),
                text(&row.channel),
                Cell::Count(row.unused()),
                Cell::Count(row.licenses.active),
                Cell::Count(row.licenses.qualified),
                share.map_or(Cell::Missing, Cell::Percent),
                threshold.map_or(Cell::Missing, Cell::Percent),
                Cell::Time(row.processed_at),
            ];
            ((is_low, row.unused()), Line { cells, is_low })
        })
        .collect();
    lines.sort_by_key(|(rank, _)| Reverse(*rank));
    lines.into_iter().map(|(_, line)| line).collect()
}

fn text(label: &Arc<str>) -> Cell {
    Cell::Text(label.to_string())
}
