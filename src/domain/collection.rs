//! The collections of Partner Center, and what a successful poll of one brings.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::customers::Customers;
use super::deployment::LicenseDeployment;
use super::row::{RowError, Rows, Source};
use super::usage::LicenseUsage;

/// A collection of Partner Center that is polled by its own schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Collection {
    /// How much of the licences is used, by service, workload and channel.
    Usage,
    /// How many of the licences sold are assigned, by service and channel.
    Deployment,
    /// Both of these for each customer.
    Customers,
}

impl Collection {
    /// Every collection, in the order in which they are exported.
    pub const ALL: [Self; 3] = [Self::Usage, Self::Deployment, Self::Customers];

    /// Whether a poll may take a hundred requests and minutes, and bring a hundred thousand rows.
    pub const fn is_large(self) -> bool {
        match self {
            Self::Usage | Self::Deployment => false,
            Self::Customers => true,
        }
    }

    /// The label value, and the key in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Deployment => "deployment",
            Self::Customers => "customers",
        }
    }
}

/// The rows of one whole collection.
#[derive(Clone, Debug, PartialEq)]
pub enum Collected {
    /// Of the usage collection.
    Usage(Rows<LicenseUsage>),
    /// Of the deployment collection.
    Deployment(Rows<LicenseDeployment>),
    /// Of the customers collection.
    Customers(Customers),
}

/// Evaluates an expression for the rows of whichever collection.
macro_rules! of_any {
    ($collected:expr, $rows:ident => $value:expr) => {
        match $collected {
            Collected::Usage($rows) => $value,
            Collected::Deployment($rows) => $value,
            Collected::Customers($rows) => $value,
        }
    };
}

impl Collected {
    /// Whose rows they are.
    pub fn collection(&self) -> Collection {
        match self {
            Self::Usage(_) => Collection::Usage,
            Self::Deployment(_) => Collection::Deployment,
            Self::Customers(_) => Collection::Customers,
        }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        of_any!(self, rows => rows.rows().len())
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of dropped rows, by error.
    pub fn rejected(&self) -> &BTreeMap<RowError, u64> {
        of_any!(self, rows => rows.rejected())
    }

    /// Where the rows come from.
    pub fn source(&self) -> Source {
        of_any!(self, rows => rows.source())
    }

    /// The length of all labels together, in bytes.
    pub fn label_bytes(&self) -> usize {
        of_any!(self, rows => rows.label_bytes())
    }

    /// The earliest and the latest time at which Microsoft processed a row.
    pub fn processed(&self) -> Option<(Timestamp, Timestamp)> {
        of_any!(self, rows => rows.processed())
    }

    /// The rows, if they are those of the usage collection.
    pub fn usage(&self) -> &[LicenseUsage] {
        if let Self::Usage(rows) = self { rows.rows() } else { &[] }
    }

    /// The rows, if they are those of the deployment collection.
    pub fn deployment(&self) -> &[LicenseDeployment] {
        if let Self::Deployment(rows) = self { rows.rows() } else { &[] }
    }

    /// The customers, if they are those of the customers collection.
    pub fn customers(&self) -> Option<&Customers> {
        if let Self::Customers(customers) = self { Some(customers) } else { None }
    }
}

impl From<Customers> for Collected {
    fn from(customers: Customers) -> Self {
        Self::Customers(customers)
    }
}

impl From<Rows<LicenseUsage>> for Collected {
    fn from(rows: Rows<LicenseUsage>) -> Self {
        Self::Usage(rows)
    }
}

impl From<Rows<LicenseDeployment>> for Collected {
    fn from(rows: Rows<LicenseDeployment>) -> Self {
        Self::Deployment(rows)
    }
}
