//! The usage rows of customers, with what a person wants to know of each.

use std::cmp::Reverse;

use crate::config::Thresholds;
use crate::domain::customers::{CustomerUsage, Customers, Judgement, Limits};

use super::line::{Cell, Column, Line};
use super::names::Names;

pub(super) const COLUMNS: &[Column] = &[
    Column::new("customer_name", "Name"),
    Column::new("customer", "Customer"),
    Column::new("workload", "Workload"),
    Column::new("service", "Service"),
    Column::new("channel", "Channel"),
    Column::new("unused", "Unused"),
    Column::new("active", "Active"),
    Column::new("qualified", "Qualified"),
    Column::new("percent", "Usage"),
    Column::new("threshold", "Threshold"),
    Column::new("processed_at", "Data of"),
];

/// A usage row of a customer.
#[derive(Clone, Copy, Debug)]
pub struct CustomerRow<'a> {
    /// The customer's name, if it is known.
    pub name: Option<&'a str>,
    /// The row itself.
    pub row: &'a CustomerUsage,
    /// How it compares with its threshold.
    pub judgement: Judgement,
}

impl<'a> CustomerRow<'a> {
    /// All rows of a collection, in the order of their labels.
    pub fn all(
        customers: &'a Customers,
        limits: Limits,
        thresholds: &'a Thresholds,
    ) -> impl Iterator<Item = Self> + 'a {
        Self::these(customers.rows(), customers, limits, thresholds)
    }

    /// The row at a place in that order.
    pub fn at(
        place: usize,
        customers: &'a Customers,
        limits: Limits,
        thresholds: &'a Thresholds,
    ) -> Option<Self> {
        Self::these(customers.rows().get(place..=place)?, customers, limits, thresholds).next()
    }

    fn these(
        rows: &'a [CustomerUsage],
        customers: &'a Customers,
        limits: Limits,
        thresholds: &'a Thresholds,
    ) -> impl Iterator<Item = Self> + 'a {
        let mut names = Names::new(customers);
        rows.iter().map(move |row| Self {
            name: names.of(&row.customer),
            row,
            judgement: limits.judge(row, |row| thresholds.applying_to_customer(row)),
        })
    }

    /// The order in which rows need attention: those that are low first, and of these and of the others the ones with
    /// the most unused licences.
    pub fn rank(&self) -> Reverse<(bool, u64)> {
        Reverse((self.judgement.is_low, self.row.unused()))
    }

    /// The same as a line.
    pub fn line(&self) -> Line<'a> {
        let Judgement { share, threshold, is_low } = self.judgement;
        let row = self.row;
        let cells = vec![
            self.name.map_or(Cell::Missing, Cell::Text),
            Cell::Text(&row.customer),
            Cell::Text(&row.workload),
            Cell::Text(&row.service),
            Cell::Text(&row.channel),
            Cell::Count(row.unused()),
            Cell::Count(row.licenses.active),
            Cell::Count(row.licenses.qualified),
            share.map_or(Cell::Missing, Cell::Percent),
            threshold.map_or(Cell::Missing, Cell::Percent),
            Cell::Time(row.processed_at),
        ];
        Line { cells, is_low }
    }
}
