//! The deployment collection: one row per (service, channel) with the percentage of licences that is assigned.

use std::sync::Arc;

use jiff::Timestamp;

use super::figures::Percent;
use super::row::Row;

/// One row of Partner Center's deployment collection.
#[derive(Clone, Debug, PartialEq)]
pub struct LicenseDeployment {
    /// `serviceName`, such as `o365`; an open set, passed through verbatim.
    pub service: Arc<str>,
    /// `channel`, such as `reseller`.
    pub channel: Arc<str>,
    /// `proratedDeploymentPercent`, or 100 × deployed ÷ sold licences.
    pub percent: Percent,
    /// `licensesSold`, where the source has it.
    pub sold: Option<u64>,
    /// `licensesDeployed`, where the source has it; may exceed `sold`.
    pub deployed: Option<u64>,
    /// `processedDateTime`: when Microsoft aggregated this row, days before it is served.
    pub processed_at: Timestamp,
}

impl Row for LicenseDeployment {
    fn labels(&self) -> impl Iterator<Item = &Arc<str>> {
        [&self.service, &self.channel].into_iter()
    }

    fn processed_at(&self) -> Timestamp {
        self.processed_at
    }
}
