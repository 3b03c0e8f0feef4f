//! The usage collection: one row per (service, workload, channel) with the percentage in use.
//!
//! Rows are made of checked parts. This module knows nothing of JSON, HTTP or Prometheus.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::figures::Percent;
use super::row::{Row, Rows};

/// One row of Partner Center's usage collection.
#[derive(Clone, Debug, PartialEq)]
pub struct LicenseUsage {
    /// `serviceName`, such as `o365`; an open set, passed through verbatim.
    pub service: Arc<str>,
    /// `workloadName`, such as `Exchange`; not unique without the service.
    pub workload: Arc<str>,
    /// `channel`, such as `reseller`.
    pub channel: Arc<str>,
    /// `proratedLicensesUsagePercent`, or 100 × active ÷ qualified licences.
    pub percent: Percent,
    /// The numbers of licences, where the source has them.
    pub licenses: Option<Qualified>,
    /// `processedDateTime`: when Microsoft aggregated this row, days before it is served.
    pub processed_at: Timestamp,
}

/// How many licences could be used, and how many of them are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qualified {
    /// `licensesActive`; may exceed `qualified`.
    pub active: u64,
    /// `licensesQualified`.
    pub qualified: u64,
}

/// The rows of a usage collection.
pub type UsageReport = Rows<LicenseUsage>;

impl Row for LicenseUsage {
    fn labels(&self) -> impl Iterator<Item = &Arc<str>> {
        [&self.service, &self.workload, &self.channel].into_iter()
    }

    fn processed_at(&self) -> Timestamp {
        self.processed_at
    }
}

impl LicenseUsage {
    /// What identifies a row.
    pub fn key(&self) -> (&str, &str, &str) {
        (&self.service, &self.workload, &self.channel)
    }

    /// Whether the figure is older at `now` than [`OLD_FIGURE_AGE`].
    pub fn is_old(&self, now: Timestamp) -> bool {
        self.processed_at.saturating_add(OLD_FIGURE_AGE).is_ok_and(|limit| limit < now)
    }
}

/// The age above which a figure is old, whatever is normal for its row; the alert rules have the same limit.
pub const OLD_FIGURE_AGE: Duration = Duration::from_hours(16 * 24);

/// What to check when a collection has no rows: Partner Center does not say why it has none.
pub const EMPTY_REMEDY: &str = "check whether Partner Center's own pages show usage, the role of the signed-in user, \
                                tenant_id and cloud; a sandbox, or a partner without such licences, never has rows";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::row::{LabelPool, RowError};

    fn row(workload: &str, percent: f64, day: &str) -> Result<LicenseUsage, RowError> {
        Ok(LicenseUsage {
            service: "o365".into(),
            workload: workload.into(),
            channel: "reseller".into(),
            percent: Percent::new(percent)?,
            licenses: None,
            processed_at: format!("{day}T00:00:00Z").parse().unwrap(),
        })
    }

    #[test]
    fn of_rows_with_the_same_key_the_newest_is_kept_and_on_a_tie_the_last() {
        let report = UsageReport::collect([
            row("Teams", 3.0, "2026-01-02"),
            row("Exchange", 1.0, "2026-01-01"),
            row("Teams", 1.0, "2026-01-01"),
            row("Teams", 4.0, "2026-01-02"),
        ]);
        let found: Vec<_> = report.rows().iter().map(|r| (&*r.workload, r.percent.get())).collect();
        assert_eq!(found, [("Exchange", 1.0), ("Teams", 4.0)]);
        assert_eq!(report.rejected()[&RowError::Duplicate], 2);
    }

    #[test]
    fn rows_are_sorted_by_the_text_of_their_labels_whether_or_not_these_are_shared() {
        let keys = [
            ("b", "a", "c"),
            ("a", "b", "a"),
            ("a", "b", ""),
            ("b", "a", "c"),
            ("a", "a", "z"),
            ("", "b", "b"),
        ];
        let mut pool = LabelPool::default();
        for shared in [true, false] {
            let mut label = |text: &str| if shared { pool.share(text) } else { text.into() };
            let rows = keys.map(|(service, workload, channel)| {
                let row = row("", 1.0, "2026-01-01").unwrap();
                let (service, workload, channel) = (label(service), label(workload), label(channel));
                Ok(LicenseUsage { service, workload, channel, ..row })
            });
            let report = UsageReport::collect(rows);
            report.assert_sound();
            let sorted: BTreeSet<_> = keys.into_iter().collect();
            assert!(report.rows().iter().map(LicenseUsage::key).eq(sorted), "{report:?}");
            assert_eq!(report.rejected()[&RowError::Duplicate], 1);
        }
    }

    proptest! {
        #[test]
        fn the_order_of_rows_of_different_days_makes_no_difference(
            (rows, others) in vec(0..4u8, 0..28)
                .prop_map(|keys| keys.into_iter().enumerate().collect::<Vec<_>>())
                .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        ) {
            let of = |rows: &[(usize, u8)]| {
                let day = |day: &usize| format!("2026-01-{:02}", day + 1);
                UsageReport::collect(rows.iter().map(|(at, key)| row(&key.to_string(), 1.0, &day(at))))
            };
            let report = of(&rows);
            report.assert_sound();
            prop_assert_eq!(report.rows().len() + report.dropped(), rows.len());
            prop_assert_eq!(of(&others), report);
        }
    }
}
