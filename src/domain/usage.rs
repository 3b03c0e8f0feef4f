//! The usage collection: one row per (service, workload, channel) with the percentage in use.
//!
//! Rows are made of checked parts; a [`UsageReport`] is sorted and its keys are unique. This module knows nothing of
//! JSON, HTTP or Prometheus.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

/// One row of Partner Center's usage collection.
#[derive(Clone, Debug, PartialEq)]
pub struct LicenseUsage {
    /// `serviceName`, such as `o365`; an open set, passed through verbatim.
    pub service: Arc<str>,
    /// `workloadName`, such as `Exchange`; not unique without the service.
    pub workload: Arc<str>,
    /// `channel`, such as `reseller`.
    pub channel: Arc<str>,
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

    /// The labels of its key.
    pub fn labels(&self) -> [&Arc<str>; 3] {
        [&self.service, &self.workload, &self.channel]
    }

    /// Returns the row, unless one of its labels is longer than `max_bytes`.
    ///
    /// # Errors
    /// [`RowError::InvalidLabel`] if one is.
    pub fn with_labels_up_to(self, max_bytes: usize) -> Result<Self, RowError> {
        if self.labels().iter().all(|label| label.len() <= max_bytes) {
            Ok(self)
        } else {
            Err(RowError::InvalidLabel)
        }
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

/// Why a row was dropped: the label value of `partner_license_usage_rows_rejected_total`.
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

/// Label values, each of which is kept once: they repeat in thousands of rows.
#[derive(Debug, Default)]
pub struct LabelPool(HashSet<Arc<str>>);

impl LabelPool {
    /// The label value with this text.
    pub fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let new = Arc::from(text);
        self.0.insert(Arc::clone(&new));
        new
    }
}

/// One whole usage collection: its usable rows, and the number of dropped ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UsageReport {
    rows: Vec<LicenseUsage>,
    rejected: BTreeMap<RowError, u64>,
}

/// The rows of a [`UsageReport`] that is not complete.
#[derive(Debug, Default)]
pub struct UsageRows {
    rows: Vec<LicenseUsage>,
    rejected: BTreeMap<RowError, u64>,
}

impl UsageRows {
    /// Adds a row that comes later in the collection.
    pub fn add(&mut self, row: Result<LicenseUsage, RowError>) {
        match row {
            Ok(row) => self.rows.push(row),
            Err(error) => *self.rejected.entry(error).or_insert(0) += 1,
        }
    }

    /// Sorts the rows by key. Of rows with the same key, the one with the newest `processed_at` is kept; on a tie,
    /// the last.
    pub fn settle(&mut self) {
        let Self { rows, rejected } = self;
        if rows.is_sorted_by(|a, b| a.key() < b.key()) {
            return;
        }
        let mut order = order(rows);
        for start in 0..rows.len() {
            let mut at = start;
            while order[at] != start {
                let from = std::mem::replace(&mut order[at], at);
                rows.swap(at, from);
                at = from;
            }
            order[at] = at;
        }
        rows.dedup_by(|next, kept| {
            let same = next.key() == kept.key();
            if same {
                *rejected.entry(RowError::Duplicate).or_insert(0) += 1;
                // Equal keys are in the order of the collection.
                if next.processed_at >= kept.processed_at {
                    std::mem::swap(next, kept);
                }
            }
            same
        });
    }

    /// The number of rows that are kept.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The report of the rows so far.
    pub fn into_report(mut self) -> UsageReport {
        self.settle();
        self.rows.shrink_to_fit();
        UsageReport { rows: self.rows, rejected: self.rejected }
    }
}

/// The positions of rows in the order of their keys, and of equal keys in the present order. Labels that are shared are
/// compared once, and not once for each comparison of two rows.
fn order(rows: &[LicenseUsage]) -> Vec<usize> {
    let address = |label: &Arc<str>| label.as_ptr().addr();
    let mut ranks: HashMap<usize, (&str, u128), BuildHasherDefault<AddressHasher>> = HashMap::default();
    for label in rows.iter().flat_map(LicenseUsage::labels) {
        ranks.entry(address(label)).or_insert((label, 0));
    }
    let mut sorted: Vec<_> = ranks.values_mut().collect();
    sorted.sort_unstable();
    let (mut rank, mut before) = (0, None);
    for (label, rank_of_label) in sorted {
        // Equal labels may not be shared.
        rank += u128::from(before.is_some_and(|before| before != *label));
        (*rank_of_label, before) = (rank, Some(*label));
    }
    // Three ranks and the position, which are below 2^32 as there are no 2^32 rows.
    let keys = rows.iter().enumerate().map(|(at, row)| {
        let key = row.labels().map(|label| ranks[&address(label)].1);
        key.into_iter().fold(0, |key, rank| key << 32 | rank) << 32 | at as u128
    });
    let mut keys: Vec<u128> = keys.collect();
    keys.sort_unstable();
    keys.into_iter()
        .map(|key| usize::try_from(key & u128::from(u32::MAX)).expect("it is a position"))
        .collect()
}

/// Hashes an address, which nobody outside of the program chooses, in a few instructions.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("an address is a number");
    }

    fn write_usize(&mut self, address: usize) {
        // The high bits of the product depend on all bits of the address, and a table uses the low ones as well.
        self.0 = (address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl UsageReport {
    /// The report of these rows, see [`UsageRows::settle`].
    pub fn collect(items: impl IntoIterator<Item = Result<LicenseUsage, RowError>>) -> Self {
        let mut rows = UsageRows::default();
        items.into_iter().for_each(|item| rows.add(item));
        rows.into_report()
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
    use std::collections::BTreeSet;

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
