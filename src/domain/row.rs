//! The rows of a collection: checked one by one, sorted, and each key at most once.
//!
//! A row that cannot be used is counted by its [`RowError`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use jiff::Timestamp;

use crate::large_buffer;

/// A row of a collection.
pub trait Row {
    /// The labels that identify it, at most four.
    fn labels(&self) -> impl Iterator<Item = &Arc<str>>;

    /// `processedDateTime`: when Microsoft aggregated it, days before it is served.
    fn processed_at(&self) -> Timestamp;
}

/// Why a row was dropped: the label value of `partner_license_rows_rejected_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowError {
    /// Another row with the same key is newer, or equally new and later in the collection.
    Duplicate,
    /// A figure is missing or null.
    MissingValue,
    /// A label is missing, null or empty.
    MissingLabel,
    /// The date is missing or null.
    MissingDate,
    /// The percentage is not a finite number ≥ 0, or a number of licences is no whole number from 0 to 2^53.
    InvalidNumber,
    /// The date cannot be parsed.
    InvalidDate,
    /// A label is not a string, or is longer than [`MAX_LABEL_BYTES`].
    InvalidLabel,
    /// The item is not a JSON object.
    NotAnObject,
    /// The item contains a number that is out of range, or is nested too deeply.
    Unreadable,
    /// No licence is qualified or sold, so that there is no percentage.
    NoLicenses,
}

/// The longest label value accepted from a row, in bytes.
pub const MAX_LABEL_BYTES: usize = 1023;

impl RowError {
    /// Every error, in the order in which they are exported.
    pub const ALL: [Self; 10] = [
        Self::Duplicate,
        Self::MissingValue,
        Self::MissingLabel,
        Self::MissingDate,
        Self::InvalidNumber,
        Self::InvalidDate,
        Self::InvalidLabel,
        Self::NotAnObject,
        Self::Unreadable,
        Self::NoLicenses,
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
            Self::NoLicenses => "no_licenses",
        }
    }
}

/// Where rows come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// `/v1/analytics/licenses`.
    #[default]
    Licenses,
    /// `analytics/commercial`, its successor.
    Commercial,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 2] = [Self::Licenses, Self::Commercial];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Licenses => "licenses",
            Self::Commercial => "commercial",
        }
    }
}

/// Label values, each of which is kept once: they repeat in thousands of rows.
#[derive(Debug, Default)]
pub struct LabelPool(HashSet<Arc<str>, RandomState>);

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

/// The rows of one whole collection, and the number of dropped ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows<R> {
    sorted: Vec<R>,
    rejected: BTreeMap<RowError, u64>,
    source: Source,
}

/// The rows of a collection that is not complete.
#[derive(Debug)]
pub struct Incoming<R> {
    rows: Vec<R>,
    rejected: BTreeMap<RowError, u64>,
}

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self { sorted: Vec::new(), rejected: BTreeMap::new(), source: Source::default() }
    }
}

impl<R> Default for Incoming<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), rejected: BTreeMap::new() }
    }
}

impl<R: Row> Incoming<R> {
    /// Adds a row that comes later in the collection.
    pub fn add(&mut self, row: Result<R, RowError>) {
        match row {
            Ok(row) => {
                large_buffer::reserve(&mut self.rows, 1);
                self.rows.push(row);
            }
            Err(error) => self.reject(error),
        }
    }

    /// Counts a row that is dropped.
    pub fn reject(&mut self, error: RowError) {
        *self.rejected.entry(error).or_insert(0) += 1;
    }

    /// The number of dropped rows so far, by error.
    pub fn rejected(&self) -> &BTreeMap<RowError, u64> {
        &self.rejected
    }

    /// Sets the number of dropped rows, for instance to what it was before a page that cannot be used.
    pub fn set_rejected(&mut self, rejected: BTreeMap<RowError, u64>) {
        self.rejected = rejected;
    }

    /// Sorts the rows by key. Of rows with the same key, the one with the newest `processed_at` is kept; on a tie,
    /// the last.
    pub fn settle(&mut self) {
        let Self { rows, rejected } = self;
        if rows.is_sorted_by(|a, b| a.labels().lt(b.labels())) {
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
            let same = next.labels().eq(kept.labels());
            if same {
                *rejected.entry(RowError::Duplicate).or_insert(0) += 1;
                // Equal keys are in the order of the collection.
                if next.processed_at() >= kept.processed_at() {
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

    /// The rows so far, as they came from `source`.
    pub fn into_rows(mut self, source: Source) -> Rows<R> {
        self.settle();
        self.rows.shrink_to_fit();
        Rows { sorted: self.rows, rejected: self.rejected, source }
    }
}

/// The positions of rows in the order of their keys, and of equal keys in the present order. Labels that are shared are
/// compared once, and not once for each comparison of two rows.
fn order<R: Row>(rows: &[R]) -> Vec<usize> {
    let address = |label: &Arc<str>| label.as_ptr().addr();
    let mut ranks: HashMap<usize, (&str, u128), BuildHasherDefault<AddressHasher>> = HashMap::default();
    for label in rows.iter().flat_map(R::labels) {
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
    // At most four ranks, which are below 2^32 as there are no 2^32 labels.
    let keys = rows.iter().enumerate().map(|(at, row)| {
        let key = row.labels().map(|label| ranks[&address(label)].1);
        (key.fold(0, |key, rank| key << 32 | rank), at)
    });
    let mut keys: Vec<(u128, usize)> = keys.collect();
    keys.sort_unstable();
    keys.into_iter().map(|(_, at)| at).collect()
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

impl<R: Row> Rows<R> {
    /// These rows of `/v1/analytics/licenses`, see [`Incoming::settle`].
    pub fn collect(items: impl IntoIterator<Item = Result<R, RowError>>) -> Self {
        Self::collect_from(Source::Licenses, items)
    }

    /// These rows of `source`, see [`Incoming::settle`].
    pub fn collect_from(source: Source, items: impl IntoIterator<Item = Result<R, RowError>>) -> Self {
        let mut rows = Incoming::default();
        items.into_iter().for_each(|item| rows.add(item));
        rows.into_rows(source)
    }

    /// The length of all labels together, in bytes.
    pub fn label_bytes(&self) -> usize {
        self.sorted.iter().flat_map(R::labels).map(|label| label.len()).sum()
    }

    /// The rows whose labels have `most` bytes at most, if these are not all of them.
    pub fn with_labels_up_to(&self, most: usize) -> Option<Self>
    where
        R: Clone,
    {
        let fits = |row: &&R| row.labels().all(|label| label.len() <= most);
        let is_whole = self.sorted.iter().all(|row| fits(&row));
        let kept = || self.sorted.iter().filter(fits).cloned().map(Ok);
        (!is_whole).then(|| Self::collect_from(self.source, kept()))
    }

    /// The earliest and the latest time at which Microsoft processed a row.
    pub fn processed(&self) -> Option<(Timestamp, Timestamp)> {
        let times = self.sorted.iter().map(R::processed_at);
        Some((times.clone().min()?, times.max()?))
    }
}

impl<R> Rows<R> {
    /// The rows, sorted by their labels; no key occurs twice.
    pub fn rows(&self) -> &[R] {
        &self.sorted
    }

    /// The number of dropped rows, by error.
    pub fn rejected(&self) -> &BTreeMap<RowError, u64> {
        &self.rejected
    }

    /// The number of rows that were dropped for lack of a label.
    pub fn without_label(&self) -> u64 {
        self.rejected.get(&RowError::MissingLabel).copied().unwrap_or(0)
    }

    /// Where they come from.
    pub fn source(&self) -> Source {
        self.source
    }
}

/// Checks for property tests and fuzz targets, see fuzz/README.md.
#[cfg(any(test, fuzzing))]
impl<R: Row> Rows<R> {
    /// Panics unless the rows are as documented.
    pub(crate) fn assert_sound(&self) {
        assert!(self.sorted.is_sorted_by(|a, b| a.labels().lt(b.labels())), "keys are sorted and unique");
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
