//! The last good rows on disk, one file per account, so that a restart leaves no gap in the graphs.
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
use crate::domain::status::LastGood;
use crate::domain::usage::{LabelPool, LicenseUsage, Percent, UsageReport};
use crate::large_buffer;
use crate::state::file::{Sha256, StateFile};

/// The file of one account's last good rows.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    file: StateFile,
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
    rows: R,
    /// The checksum of this record with an empty string here, see [`Record::checksum`].
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row<'a> {
    service: Cow<'a, str>,
    workload: Cow<'a, str>,
    channel: Cow<'a, str>,
    /// As text, since a JSON number may lose its last bit.
    percent: Cow<'a, str>,
    processed_at: Timestamp,
}

/// Rows to be written. Each is converted while it is written, since all together would take more memory than the file.
struct Rows<'a>(&'a [LicenseUsage]);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|row| Row {
            service: Cow::Borrowed(&row.service),
            workload: Cow::Borrowed(&row.workload),
            channel: Cow::Borrowed(&row.channel),
            percent: row.percent.get().to_string().into(),
            processed_at: row.processed_at,
        }))
    }
}

const VERSION: u32 = 1;

/// The size in bytes of a row with short labels.
const TYPICAL_ROW: usize = 150;

/// The size in bytes of the largest file that is read.
const MAX_BYTES: u64 = 64 << 20;

impl SnapshotStore {
    /// The store of `account` in `directory`, without reading or writing anything.
    pub fn new(directory: &Path, account: &Account) -> Self {
        Self {
            file: StateFile::new(directory, "usage", account, MAX_BYTES),
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
        let usable = content.as_deref().and_then(|content| decode(content, self.file.owner()));
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
        Ok(Some(self.servable(good)).filter(|good| good.is_fresh(now, stale_after)))
    }

    /// The newest rows that were set aside and belong to this account, for example after its cloud was wrong for a
    /// while. Their file gets its name back.
    fn take_back(&self) -> Option<LastGood> {
        let decode = |content: Vec<u8>| decode(&content, self.file.owner());
        let (aside, good) = self.file.find_set_aside(decode, |good| good.at)?;
        self.file.take_back(&aside);
        Some(good)
    }

    /// Returns the rows whose labels may be served; one that is too long would make servers refuse the whole scrape.
    fn servable(&self, good: LastGood) -> LastGood {
        let fits = |row: &&LicenseUsage| row.labels().iter().all(|label| label.len() <= self.max_label_bytes);
        let rows = good.report.rows();
        if rows.iter().all(|row| fits(&row)) {
            return good;
        }
        let report = UsageReport::collect(rows.iter().filter(fits).cloned().map(Ok));
        LastGood { report: Arc::new(report), ..good }
    }

    /// Saves rows. On return they are on disk.
    ///
    /// # Errors
    /// If they cannot be written, or are too large to be read again; the rows saved before are still there.
    pub fn save(&self, good: &LastGood) -> io::Result<()> {
        let labels =
            good.report.rows().iter().map(|row| row.service.len() + row.workload.len() + row.channel.len());
        // Known before the rows are encoded, which takes as much memory again.
        ensure_readable(labels.sum())?;
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
    let mut record = Record {
        version: VERSION,
        owner: owner.to_owned(),
        polled_at: good.at,
        failed_since: good.failed_since,
        rows: Rows(good.report.rows()),
        sha256: String::new(),
    };
    record.sha256 = record.checksum();
    let mut content = Vec::new();
    large_buffer::reserve(&mut content, good.report.rows().len() * TYPICAL_ROW);
    serde_json::to_writer_pretty(&mut content, &record).expect(ALWAYS_JSON);
    content
}

/// The content of a file, if it is complete and has this owner.
fn decode(content: &[u8], owner: &str) -> Option<LastGood> {
    let mut record: Record<Vec<Row<'_>>> = serde_json::from_slice(content).ok()?;
    let claimed = std::mem::take(&mut record.sha256);
    if record.version != VERSION || record.owner != owner || record.checksum() != claimed {
        return None;
    }
    let mut labels = LabelPool::default();
    let row = |row: Row<'_>| {
        Some(LicenseUsage {
            service: labels.share(&row.service),
            workload: labels.share(&row.workload),
            channel: labels.share(&row.channel),
            percent: Percent::new(row.percent.parse().ok()?).ok()?,
            processed_at: row.processed_at,
        })
    };
    let rows = record.rows.into_iter().map(row).collect::<Option<Vec<_>>>()?;
    let report = Arc::new(UsageReport::collect(rows.into_iter().map(Ok)));
    Some(LastGood { report, at: record.polled_at, failed_since: record.failed_since })
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
