//! The licences of customers by product: how many of them nobody uses at all.

use std::sync::Arc;

use jiff::Timestamp;

use super::row::Row;
use super::usage::Qualified;

/// How many of the licences of one product a customer uses.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomerProduct {
    /// `customerTenantId`, as in the rows of usage.
    pub customer: Arc<str>,
    /// `productName`, or `productId` where there is no name.
    pub product: Arc<str>,
    /// `channel`, such as `reseller`.
    pub channel: Arc<str>,
    /// The highest numbers among the workloads of the product.
    pub licenses: Qualified,
    /// `processedDateTime`: the oldest one of its workloads.
    pub processed_at: Timestamp,
}

impl Row for CustomerProduct {
    fn labels(&self) -> impl Iterator<Item = &Arc<str>> {
        [&self.customer, &self.product, &self.channel].into_iter()
    }

    fn processed_at(&self) -> Timestamp {
        self.processed_at
    }
}

impl CustomerProduct {
    /// A row of resellers, processed when the epoch began.
    #[cfg(test)]
    pub(crate) fn of(customer: &str, product: &str, active: u64, qualified: u64) -> Self {
        Self {
            customer: customer.into(),
            product: product.into(),
            channel: "reseller".into(),
            licenses: Qualified { active, qualified },
            processed_at: Timestamp::UNIX_EPOCH,
        }
    }

    /// The number of licences of which no workload is used, at most: the users of one workload may be others than those
    /// of another one.
    pub fn unused(&self) -> u64 {
        self.licenses.qualified.saturating_sub(self.licenses.active)
    }
}
