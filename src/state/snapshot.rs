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
use crate::domain::customers::{CustomerDeployment, CustomerUsage, Customers, Names};
use crate::domain::deployment::LicenseDeployment;
use crate::domain::figures::Percent;
use crate::domain::polled::LastGood;
use crate::domain::products::CustomerProduct;
use crate::domain::row::{Incoming, LabelPool, Row, Rows, Source};
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

/// A customer with its rows. Each row is a list, since there may be a hundred thousand.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedCustomer<'a> {
    id: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    usage: Vec<SavedUsage<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deployment: Vec<SavedDeployment<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    products: Vec<SavedProduct<'a>>,
}

/// Service, workload, channel, active and qualified licences, time.
type SavedUsage<'a> = (Cow<'a, str>, Cow<'a, str>, Cow<'a, str>, u64, u64, Timestamp);
/// Service, channel, sold and deployed licences, time.
type SavedDeployment<'a> = (Cow<'a, str>, Cow<'a, str>, u64, u64, Timestamp);

/// Product, channel, active and qualified licences, time.
type SavedProduct<'a> = (Cow<'a, str>, Cow<'a, str>, u64, u64, Timestamp);

/// Rows to be written. Each is converted while it is written, since all together would take more memory than the file.
struct SavedRows<'a>(&'a Collected);

impl Serialize for SavedRows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Collected::Usage(rows) => serializer.collect_seq(rows.rows().iter().map(usage)),
            Collected::Deployment(rows) => serializer.collect_seq(rows.rows().iter().map(deployment)),
            Collected::Customers(all) => serializer.collect_seq(customers(all)),
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
        let most = self.max_label_bytes;
        let fitting = match &*good.report {
            Collected::Usage(rows) => rows.with_labels_up_to(most).map(Collected::from),
            Collected::Deployment(rows) => rows.with_labels_up_to(most).map(Collected::from),
            Collected::Customers(customers) => customers.with_labels_up_to(most).map(Collected::from),
        };
        let report = fitting.map_or_else(|| Arc::clone(&good.report), Arc::new);
        LastGood { report, ..good.clone() }
    }

    /// Removes the files in which names of customers may be: those that were set aside, and the file itself unless its
    /// rows are used and are saved again without names.
    pub fn remove_names(&self, is_used: bool) {
        self.file.remove_set_aside();
        if !is_used {
            self.file.remove();
        }
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
    // Too many rows for people to read.
    let written = if good.report.collection().is_large() {
        serde_json::to_writer(&mut content, &record)
    } else {
        serde_json::to_writer_pretty(&mut content, &record)
    };
    written.expect(ALWAYS_JSON);
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

/// A customer for each id that occurs in the rows, which are sorted by it.
fn customers(customers: &Customers) -> impl Iterator<Item = SavedCustomer<'_>> {
    let (mut usage, mut deployment) = (customers.rows(), customers.deployment());
    let mut products = customers.products().map_or(&[][..], Rows::rows);
    std::iter::from_fn(move || {
        let firsts = [usage.first().map(|row| &row.customer), deployment.first().map(|row| &row.customer)];
        let id = firsts.into_iter().flatten().min()?;
        let (of_usage, of_deployment, of_products) = (
            usage.split_off(..usage.partition_point(|row| row.customer <= *id))?,
            deployment.split_off(..deployment.partition_point(|row| row.customer <= *id))?,
            products.split_off(..products.partition_point(|row| row.customer <= *id))?,
        );
        Some(SavedCustomer {
            id: Cow::Borrowed(id),
            name: customers.names().get(id).map(|name| Cow::Borrowed(&**name)),
            usage: of_usage
                .iter()
                .map(|CustomerUsage { service, workload, channel, licenses, processed_at, .. }| {
                    let [service, workload, channel] =
                        [service, workload, channel].map(|label| Cow::Borrowed(&**label));
                    (service, workload, channel, licenses.active, licenses.qualified, *processed_at)
                })
                .collect(),
            deployment: of_deployment
                .iter()
                .map(|CustomerDeployment { service, channel, sold, deployed, processed_at, .. }| {
                    let [service, channel] = [service, channel].map(|label| Cow::Borrowed(&**label));
                    (service, channel, *sold, *deployed, *processed_at)
                })
                .collect(),
            products: of_products
                .iter()
                .filter(|row| row.customer == *id)
                .map(|CustomerProduct { product, channel, licenses, processed_at, .. }| {
                    let [product, channel] = [product, channel].map(|label| Cow::Borrowed(&**label));
                    (product, channel, licenses.active, licenses.qualified, *processed_at)
                })
                .collect(),
        })
    })
}

/// The content of a file, if it is complete, has this owner and these rows.
fn decode(content: &[u8], owner: &str, collection: Collection) -> Option<LastGood> {
    match collection {
        Collection::Usage => {
            let row = |labels: &mut LabelPool, row: Saved<'_>| {
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
            decode_with(content, owner, |rows, source| Some(all(rows, source, row)?.into()))
        }
        Collection::Deployment => {
            let row = |labels: &mut LabelPool, row: Saved<'_>| {
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
            decode_with(content, owner, |rows, source| Some(all(rows, source, row)?.into()))
        }
        Collection::Customers => {
            decode_with(content, owner, |rows, source| Some(restored_customers(rows, source).into()))
        }
    }
}

/// The same with what makes a collection of the rows of one kind.
fn decode_with<'a, R: Serialize + Deserialize<'a>>(
    content: &'a [u8],
    owner: &str,
    collect: impl FnOnce(Vec<R>, Source) -> Option<Collected>,
) -> Option<LastGood> {
    let mut record: Record<Vec<R>> = serde_json::from_slice(content).ok()?;
    let claimed = std::mem::take(&mut record.sha256);
    if record.version != VERSION || record.owner != owner || record.checksum() != claimed {
        return None;
    }
    let source = match record.source.as_deref() {
        None => Source::Licenses,
        Some(word) => Source::ALL.into_iter().find(|source| source.as_str() == word)?,
    };
    let report = Arc::new(collect(record.rows, source)?);
    Some(LastGood { report, at: record.polled_at, failed_since: record.failed_since })
}

/// The rows, if each of them is one.
fn all<R: Row>(
    saved: Vec<Saved<'_>>,
    source: Source,
    mut row: impl FnMut(&mut LabelPool, Saved<'_>) -> Option<R>,
) -> Option<Rows<R>> {
    let mut labels = LabelPool::default();
    let rows = saved.into_iter().map(|saved| row(&mut labels, saved)).collect::<Option<Vec<_>>>()?;
    Some(Rows::collect_from(source, rows.into_iter().map(Ok)))
}

fn restored_customers(saved: Vec<SavedCustomer<'_>>, source: Source) -> Customers {
    let (mut labels, mut names) = (LabelPool::default(), Names::new());
    let (mut usage, mut deployment, mut products) =
        (Incoming::default(), Incoming::default(), None::<Incoming<_>>);
    for of in saved {
        let id = labels.share(&of.id);
        if let Some(name) = of.name {
            names.insert(Arc::clone(&id), labels.share(&name));
        }
        for (service, workload, channel, active, qualified, processed_at) in of.usage {
            let [service, workload, channel] = [service, workload, channel].map(|label| labels.share(&label));
            let licenses = Qualified { active, qualified };
            let customer = Arc::clone(&id);
            usage.add(Ok(CustomerUsage { customer, service, workload, channel, licenses, processed_at }));
        }
        for (service, channel, sold, deployed, processed_at) in of.deployment {
            let [service, channel] = [service, channel].map(|label| labels.share(&label));
            let customer = Arc::clone(&id);
            deployment.add(Ok(CustomerDeployment {
                customer,
                service,
                channel,
                sold,
                deployed,
                processed_at,
            }));
        }
        for (product, channel, active, qualified, processed_at) in of.products {
            let [product, channel] = [product, channel].map(|label| labels.share(&label));
            let licenses = Qualified { active, qualified };
            let row = CustomerProduct { customer: Arc::clone(&id), product, channel, licenses, processed_at };
            products.get_or_insert_default().add(Ok(row));
        }
    }
    let products = products.map(|products| products.into_rows(source));
    Customers::new(usage.into_rows(source), deployment.into_rows(source), names).with_products(products)
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
