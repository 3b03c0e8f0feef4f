//! A row as a line of cells.

use jiff::Timestamp;

use crate::domain::money::{Amount, Currency};

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
    /// An amount of money.
    Amount(Amount),
    /// The currency of an amount.
    Currency(Currency),
    /// A time.
    Time(Timestamp),
    /// Nothing.
    Missing,
}

impl Cell<'_> {
    /// Whether it is a number.
    pub const fn is_number(&self) -> bool {
        matches!(self, Self::Count(_) | Self::Percent(_) | Self::Amount(_))
    }
}

impl Column {
    pub(super) const fn new(key: &'static str, title: &'static str) -> Self {
        Self { key, title }
    }
}
