//! The usage collection: one row per (service, workload, channel) with the percentage in use.
//!
//! Rows are made of checked parts; a [`UsageReport`] is sorted and its keys are unique. This module knows nothing of
//! JSON, HTTP or Prometheus.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

/// One row of Partner Center's usage collection.
#[derive(Clone, Debug, PartialEq)]
pub struct LicenseUsage {
    /// `serviceName`, such as `o365`; an open set, passed through verbatim.
    pub service: String,
    /// `workloadName`, such as `Exchange`; not unique without the service.
    pub workload: String,
    /// `channel`, such as `reseller`.
    pub channel: String,
    /// `proratedLicensesUsagePercent`.
    pub percent: Percent,
    /// `processedDateTime`: when Microsoft aggregated this row, days before it is served.
    pub processed_at: Timestamp,
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

/// A percentage on the scale 0–100. It may exceed 100 (Microsoft documents "inflated" usage, for example after
/// a licence moved between employees) and is never clamped.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    /// Accepts finite numbers ≥ 0.
    ///
    /// # Errors
    /// [`RowError::InvalidNumber`] for anything else.
    pub fn new(value: f64) -> Result<Self, RowError> {
        // JSON can contain a negative zero; `+ 0.0` makes it positive.
        if value.is_finite() && value >= 0.0 { Ok(Self(value + 0.0)) } else { Err(RowError::InvalidNumber) }
    }

    /// The number, on the scale 0–100.
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// Why a row was dropped: the label value of `partner_license_rows_rejected_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowError {
    /// Another row with the same key is newer, or equally new and later in the collection.
    Duplicate,
    /// The percentage is missing or null.
    MissingValue,
    /// Service, workload or channel is missing, null or empty.
    MissingLabel,
    /// The date is missing or null.
    MissingDate,
    /// The percentage is not a finite number ≥ 0.
    InvalidNumber,
    /// The date cannot be parsed.
    InvalidDate,
    /// Service, workload or channel is not a string, or is longer than [`MAX_LABEL_BYTES`].
    InvalidLabel,
    /// The item is not a JSON object.
    NotAnObject,
    /// The item contains a number that is out of range, or is nested too deeply.
    Unreadable,
}

/// The longest label value accepted from a row, in bytes.
pub const MAX_LABEL_BYTES: usize = 1023;

impl RowError {
    /// Every error, in the order in which they are exported.
    pub const ALL: [Self; 9] = [
        Self::Duplicate,
        Self::MissingValue,
        Self::MissingLabel,
        Self::MissingDate,
        Self::InvalidNumber,
        Self::InvalidDate,
        Self::InvalidLabel,
        Self::NotAnObject,
        Self::Unreadable,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::MissingValue => "missing_value",
            Self::MissingLabel => "missing_label",
            Self::MissingDate => "missing_date",
            Self::InvalidNumber => "invalid_number",
            Self::InvalidDate => "invalid_date",
            Self::InvalidLabel => "invalid_label",
            Self::NotAnObject => "not_an_object",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What to check when a collection has no rows: Partner Center does not say why it has none.
pub const EMPTY_REMEDY: &str = "check whether Partner Center's own pages show usage, the role of the signed-in user, \
                                tenant_id and cloud; a sandbox, or a partner without such licences, never has rows";

/// One whole usage collection: its usable rows, and the number of dropped ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UsageReport {
    rows: Vec<LicenseUsage>,
    rejected: BTreeMap<RowError, u64>,
}

impl UsageReport {
    /// Sorts the rows by key. Of rows with the same key, the one with the newest `processed_at` is kept; on a tie,
    /// the last.
    pub fn collect(items: impl IntoIterator<Item = Result<LicenseUsage, RowError>>) -> Self {
        let mut report = Self::default();
        report.extend(items);
        report
    }

    /// Adds rows that come later in the collection. Only what is kept takes memory.
    pub fn extend(&mut self, items: impl IntoIterator<Item = Result<LicenseUsage, RowError>>) {
        let Self { rows, rejected } = self;
        let mut reject = |error: RowError| *rejected.entry(error).or_insert(0) += 1;
        rows.extend(items.into_iter().filter_map(|item| item.map_err(&mut reject).ok()));
        // The sort is stable, so of equal rows the last of the collection stays last.
        rows.sort_by(|a, b| a.key().cmp(&b.key()).then(a.processed_at.cmp(&b.processed_at)));
        rows.dedup_by(|next, kept| {
            let same = next.key() == kept.key();
            if same {
                std::mem::swap(next, kept);
                reject(RowError::Duplicate);
            }
            same
        });
    }

    /// The rows, sorted by service, workload and channel; no key occurs twice.
    pub fn rows(&self) -> &[LicenseUsage] {
        &self.rows
    }

    /// The number of dropped rows, by error.
    pub fn rejected(&self) -> &BTreeMap<RowError, u64> {
        &self.rejected
    }
}

/// Checks for property tests and fuzz targets, see fuzz/README.md.
#[cfg(any(test, fuzzing))]
impl UsageReport {
    /// Panics unless the report is as documented.
    pub(crate) fn assert_sound(&self) {
        let keys: Vec<_> = self.rows.iter().map(LicenseUsage::key).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "keys are sorted and unique: {keys:?}");
        for row in &self.rows {
            let percent = row.percent.get();
            assert!(percent.is_finite() && percent.is_sign_positive(), "{percent} is not a percentage");
        }
        assert!(self.rejected.values().all(|count| *count > 0), "no count is zero");
    }

    /// The total number of dropped rows.
    pub(crate) fn dropped(&self) -> usize {
        self.rejected.values().map(|count| usize::try_from(*count).expect("rows fit in memory")).sum()
    }
}

/// The dropped rows for people, such as `2 missing_value, 1 duplicate`.
pub fn listing(rejected: &BTreeMap<RowError, u64>) -> String {
    let parts: Vec<String> =
        rejected.iter().map(|(error, count)| format!("{count} {}", error.as_str())).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn row(workload: &str, percent: f64, day: &str) -> Result<LicenseUsage, RowError> {
        Ok(LicenseUsage {
            service: "o365".into(),
            workload: workload.into(),
            channel: "reseller".into(),
            percent: Percent::new(percent)?,
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
        let found: Vec<_> = report.rows().iter().map(|r| (r.workload.as_str(), r.percent.get())).collect();
        assert_eq!(found, [("Exchange", 1.0), ("Teams", 4.0)]);
        assert_eq!(report.rejected()[&RowError::Duplicate], 2);
    }

    #[test]
    fn a_percentage_over_a_hundred_is_kept_and_a_negative_or_infinite_one_is_not() {
        assert_eq!(Percent::new(104.5).map(Percent::get), Ok(104.5));
        for bad in [-0.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Percent::new(bad), Err(RowError::InvalidNumber));
        }
        assert!(Percent::new(-0.0).unwrap().get().is_sign_positive());
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
