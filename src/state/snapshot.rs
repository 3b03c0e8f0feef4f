//! The last good rows on disk, one file per account and collection, so that a restart leaves no gap in the graphs.
//!
//! A file is used only if it is complete: it must have this version, this owner and a matching checksum. This module
//! knows nothing of polls.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use crate::config::Account;
use crate::domain::collection::{Collected, Collection};
use crate::domain::deployment::LicenseDeployment;
use crate::domain::figures::Percent;
use crate::domain::polled::LastGood;
use crate::domain::row::{LabelPool, Row, Rows, Source};
use crate::domain::usage::{LicenseUsage, Qualified};
use crate::large_buffer;
use crate::state::file::{Sha256, StateFile};

/// The file of the last good rows of one collection of an account.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    file: StateFile,
    collection: Collection,
    /// The longest label that may be served, which may be lower than when the rows were saved.
    max_label_bytes: usize,
}

/// Why a file cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file cannot be read, or not be set aside.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause, which is part of the message.
        cause: io::Error,
    },
    /// The file is unusable and was moved to this path.
    #[error("the file is damaged, or from another cloud or a later version; moved to {}", .0.display())]
    SetAside(PathBuf),
    /// The time of the poll is in the future: the clock is, or was, wrong.
    #[error("{}: its poll ended at {at}, which is in the future", path.display())]
    Future {
        /// The file.
        path: PathBuf,
        /// When its poll ended.
        at: Timestamp,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record<R> {
    version: u32,
    owner: String,
    polled_at: Timestamp,
    /// Whether a later poll failed.
    failed_since: bool,
    /// Where the rows came from, if that is not the old source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    rows: R,
    /// The checksum of this record with an empty string here, see [`Record::checksum`].
    sha256: String,
}

/// A row of any collection. What a collection does not have is absent.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved<'a> {
    service: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workload: Option<Cow<'a, str>>,
    channel: Cow<'a, str>,
    /// As text, since a JSON number may lose its last bit.
    percent: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    active: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    qualified: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sold: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deployed: Option<u64>,
    processed_at: Timestamp,
}

/// Rows to be written. Each is converted while it is written, since all together would take more memory than the file.
struct SavedRows<'a>(&'a Collected);

impl Serialize for SavedRows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Collected::Usage(rows) => serializer.collect_seq(rows.rows().iter().map(usage)),
            Collected::Deployment(rows) => serializer.collect_seq(rows.rows().iter().map(deployment)),
        }
    }
}

const VERSION: u32 = 1;

/// The size in bytes of a row with short labels.
const TYPICAL_ROW: usize = 150;

/// The size in bytes of the largest file that is read.
const MAX_BYTES: u64 = 64 << 20;

impl SnapshotStore {
    /// The store of a collection of `account` in `directory`, without reading or writing anything.
    pub fn new(directory: &Path, account: &Account, collection: Collection) -> Self {
        Self {
            file: StateFile::new(directory, collection.as_str(), account, MAX_BYTES),
            collection,
            max_label_bytes: account.label_value_length_limit,
        }
    }

    /// The saved rows, if they may still be served at `now`.
    ///
    /// # Errors
    /// [`SnapshotError`] if there is a file that cannot be used.
    pub fn restore(
        &self,
        now: Timestamp,
        stale_after: Option<Duration>,
    ) -> Result<Option<LastGood>, SnapshotError> {
        let file_error = |cause| SnapshotError::File { path: self.file.path().to_owned(), cause };
        let content = self.file.read().map_err(file_error)?;
        let usable =
            content.as_deref().and_then(|content| decode(content, self.file.owner(), self.collection));
        let good = match (content, usable) {
            (_, Some(good)) => Some(good),
            (None, None) => self.take_back(),
            (Some(_), None) => {
                let error = SnapshotError::SetAside(self.file.set_aside().map_err(file_error)?);
                let Some(good) = self.take_back() else { return Err(error) };
                tracing::warn!(err = %error, "Cannot use a file of rows, restoring those that had been set aside");
                Some(good)
            }
        };
        let Some(good) = good else { return Ok(None) };
        if good.at > now {
            return Err(SnapshotError::Future { path: self.file.path().to_owned(), at: good.at });
        }
        Ok(Some(self.servable(&good)).filter(|good| good.is_fresh(now, stale_after)))
    }

    /// The newest rows that were set aside and belong to this account, for example after its cloud was wrong for a
    /// while. Their file gets its name back.
    fn take_back(&self) -> Option<LastGood> {
        let decode = |content: Vec<u8>| decode(&content, self.file.owner(), self.collection);
        let (aside, good) = self.file.find_set_aside(decode, |good| good.at)?;
        self.file.take_back(&aside);
        Some(good)
    }

    /// Returns the rows whose labels may be served; one that is too long would make servers refuse the whole scrape.
    fn servable(&self, good: &LastGood) -> LastGood {
        fn fitting<R: Row + Clone>(rows: &Rows<R>, most: usize) -> Option<Collected>
        where
            Collected: From<Rows<R>>,
        {
            let fits = |row: &&R| row.labels().all(|label| label.len() <= most);
            let is_whole = rows.rows().iter().all(|row| fits(&row));
            let kept = || Rows::collect_from(rows.source(), rows.rows().iter().filter(fits).cloned().map(Ok));
            (!is_whole).then(|| kept().into())
        }
        let fitting = match &*good.report {
            Collected::Usage(rows) => fitting(rows, self.max_label_bytes),
            Collected::Deployment(rows) => fitting(rows, self.max_label_bytes),
        };
        let report = fitting.map_or_else(|| Arc::clone(&good.report), Arc::new);
        LastGood { report, ..good.clone() }
    }

    /// Saves rows. On return they are on disk.
    ///
    /// # Errors
    /// If they cannot be written, or are too large to be read again; the rows saved before are still there.
    pub fn save(&self, good: &LastGood) -> io::Result<()> {
        // Known before the rows are encoded, which takes as much memory again.
        ensure_readable(good.report.label_bytes())?;
        let content = encode(good, self.file.owner());
        ensure_readable(content.len())?;
        self.file.replace(content)
    }
}

/// Refuses a content that [`SnapshotStore::restore`] would not read.
fn ensure_readable(bytes: usize) -> io::Result<()> {
    if u64::try_from(bytes).is_ok_and(|bytes| bytes <= MAX_BYTES) {
        return Ok(());
    }
    let text = format!("they need more than {} MiB, the most that is read again", MAX_BYTES >> 20);
    Err(io::Error::new(io::ErrorKind::FileTooLarge, text))
}

fn encode(good: &LastGood, owner: &str) -> Vec<u8> {
    let source = good.report.source();
    let mut record = Record {
        version: VERSION,
        owner: owner.to_owned(),
        polled_at: good.at,
        failed_since: good.failed_since,
        source: (source != Source::Licenses).then(|| source.as_str().to_owned()),
        rows: SavedRows(&good.report),
        sha256: String::new(),
    };
    record.sha256 = record.checksum();
    let mut content = Vec::new();
    large_buffer::reserve(&mut content, good.report.len() * TYPICAL_ROW);
    serde_json::to_writer_pretty(&mut content, &record).expect(ALWAYS_JSON);
    content
}

fn usage(row: &LicenseUsage) -> Saved<'_> {
    Saved {
        service: Cow::Borrowed(&row.service),
        workload: Some(Cow::Borrowed(&row.workload)),
        channel: Cow::Borrowed(&row.channel),
        percent: row.percent.get().to_string().into(),
        active: row.licenses.map(|licenses| licenses.active),
        qualified: row.licenses.map(|licenses| licenses.qualified),
        processed_at: row.processed_at,
        ..Saved::default()
    }
}

fn deployment(row: &LicenseDeployment) -> Saved<'_> {
    Saved {
        service: Cow::Borrowed(&row.service),
        channel: Cow::Borrowed(&row.channel),
        percent: row.percent.get().to_string().into(),
        sold: row.sold,
        deployed: row.deployed,
        processed_at: row.processed_at,
        ..Saved::default()
    }
}

/// The content of a file, if it is complete, has this owner and these rows.
fn decode(content: &[u8], owner: &str, collection: Collection) -> Option<LastGood> {
    let mut record: Record<Vec<Saved<'_>>> = serde_json::from_slice(content).ok()?;
    let claimed = std::mem::take(&mut record.sha256);
    if record.version != VERSION || record.owner != owner || record.checksum() != claimed {
        return None;
    }
    let source = match record.source.as_deref() {
        None => Source::Licenses,
        Some(word) => Source::ALL.into_iter().find(|source| source.as_str() == word)?,
    };
    let mut labels = LabelPool::default();
    let rows = record.rows.into_iter();
    let report = match collection {
        Collection::Usage => {
            let row = |row: Saved<'_>| {
                Some(LicenseUsage {
                    service: labels.share(&row.service),
                    workload: labels.share(&row.workload?),
                    channel: labels.share(&row.channel),
                    percent: Percent::new(row.percent.parse().ok()?).ok()?,
                    licenses: row
                        .active
                        .zip(row.qualified)
                        .map(|(active, qualified)| Qualified { active, qualified }),
                    processed_at: row.processed_at,
                })
            };
            let rows = rows.map(row).collect::<Option<Vec<_>>>()?;
            Rows::collect_from(source, rows.into_iter().map(Ok)).into()
        }
        Collection::Deployment => {
            let row = |row: Saved<'_>| {
                // Otherwise it is a row of the usage collection.
                row.workload.is_none().then_some(())?;
                Some(LicenseDeployment {
                    service: labels.share(&row.service),
                    channel: labels.share(&row.channel),
                    percent: Percent::new(row.percent.parse().ok()?).ok()?,
                    sold: row.sold,
                    deployed: row.deployed,
                    processed_at: row.processed_at,
                })
            };
            let rows = rows.map(row).collect::<Option<Vec<_>>>()?;
            Rows::collect_from(source, rows.into_iter().map(Ok)).into()
        }
    };
    Some(LastGood { report: Arc::new(report), at: record.polled_at, failed_since: record.failed_since })
}

const ALWAYS_JSON: &str = "a record of strings and times serialises to JSON";

impl<R: Serialize> Record<R> {
    /// The checksum of the content, regardless of white space in the file. `sha256` must be empty.
    fn checksum(&self) -> String {
        let mut hash = Sha256::default();
        serde_json::to_writer(&mut hash, self).expect(ALWAYS_JSON);
        hash.digits()
    }
}

#[cfg(any(test, fuzzing))]
pub mod invariants;
#[cfg(test)]
mod tests;
