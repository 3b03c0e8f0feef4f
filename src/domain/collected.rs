//! What a successful poll of a collection brings.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::usage::{LicenseUsage, RowError, UsageReport};

/// The rows of one whole collection.
#[derive(Clone, Debug, PartialEq)]
pub enum Collected {
    /// Of the usage collection.
    Usage(UsageReport),
}

impl Collected {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Usage(report) => report.rows().len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of dropped rows, by error.
    pub fn rejected(&self) -> &BTreeMap<RowError, u64> {
        match self {
            Self::Usage(report) => report.rejected(),
        }
    }

    /// The earliest and the latest time at which Microsoft processed a row.
    pub fn processed(&self) -> Option<(Timestamp, Timestamp)> {
        let times = match self {
            Self::Usage(report) => report.rows().iter().map(|row| row.processed_at),
        };
        Some((times.clone().min()?, times.max()?))
    }

    /// The rows, if they are those of the usage collection.
    pub fn usage(&self) -> &[LicenseUsage] {
        match self {
            Self::Usage(report) => report.rows(),
        }
    }
}

impl From<UsageReport> for Collected {
    fn from(report: UsageReport) -> Self {
        Self::Usage(report)
    }
}
