//! Invariants of reading a file with any content, checked by tests, seeds and the fuzz target, see fuzz/README.md.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::collection::{Collected, Collection};
use crate::domain::customers::{CustomerDeployment, CustomerUsage, Names};
use crate::domain::deployment::LicenseDeployment;
use crate::domain::row::Source;
use crate::domain::usage::LicenseUsage;

use super::{LastGood, Record, Saved, SavedCustomer, VERSION, decode, encode};

pub(super) const OWNER: &str = "https://login.example contoso.example c11e";
const OTHERS: &str = "https://login.example fabrikam.example c11e";

/// A file with any content is used as a whole and by its owner, or not at all.
pub fn file(content: &[u8]) {
    for collection in Collection::ALL {
        used_or_not(content, collection);
    }
}

fn used_or_not(content: &[u8], collection: Collection) {
    if let Some(good) = decode(content, OWNER, collection) {
        round_trip(&good);
    }
    let signed = match collection {
        Collection::Usage | Collection::Deployment => signed::<Saved<'_>>(content),
        Collection::Customers => signed::<SavedCustomer<'_>>(content),
    };
    if let Some(good) = signed.and_then(|content| decode(&content, OWNER, collection)) {
        round_trip(&good);
    }
}

/// The same record with a checksum that matches, which random content never has.
fn signed<'a, R: Serialize + Deserialize<'a>>(content: &'a [u8]) -> Option<Vec<u8>> {
    let mut record: Record<Vec<R>> = serde_json::from_slice(content).ok()?;
    record.version = VERSION;
    OWNER.clone_into(&mut record.owner);
    record.sha256.clear();
    record.sha256 = record.checksum();
    Some(serde_json::to_vec(&record).expect("a record serialises to JSON"))
}

/// These rows are restored unchanged; from a damaged file they are restored unchanged or not at all.
pub(super) fn round_trip(good: &LastGood) {
    let collection = good.report.collection();
    match &*good.report {
        Collected::Usage(rows) => rows.assert_sound(),
        Collected::Deployment(rows) => rows.assert_sound(),
        Collected::Customers(customers) => customers.assert_sound(),
    }
    let content = encode(good, OWNER);
    let restored = decode(&content, OWNER, collection).expect("a written file is usable");
    assert_eq!(parts(&restored), parts(good));
    assert!(decode(&content, OTHERS, collection).is_none(), "another account must not use the rows");
    // A sample, since there are many positions; the tests choose theirs at random.
    for at in (0..content.len()).step_by(1 + content.len() / 16) {
        damaged(good, &content, at, content[at] ^ 1);
    }
}

/// The file of these rows, truncated at the byte `at` or with another byte there.
pub(super) fn damaged(good: &LastGood, content: &[u8], at: usize, byte: u8) {
    let collection = good.report.collection();
    assert!(decode(&content[..at], OWNER, collection).is_none(), "truncated at byte {at}");
    let mut content = content.to_vec();
    content[at] = byte;
    if let Some(restored) = decode(&content, OWNER, collection) {
        assert_eq!(parts(&restored), parts(good), "with {byte} as byte {at}");
    }
}

type Parts<'a> = (Rows<'a>, Source, Timestamp, bool);

#[derive(Debug, PartialEq)]
pub(super) enum Rows<'a> {
    Usage(&'a [LicenseUsage]),
    Deployment(&'a [LicenseDeployment]),
    Customers(&'a [CustomerUsage], &'a [CustomerDeployment], &'a Names),
}

/// Everything that a file contains. The number of dropped rows is not saved.
pub(super) fn parts(good: &LastGood) -> Parts<'_> {
    let rows = match &*good.report {
        Collected::Usage(rows) => Rows::Usage(rows.rows()),
        Collected::Deployment(rows) => Rows::Deployment(rows.rows()),
        Collected::Customers(it) => Rows::Customers(it.rows(), it.deployment(), it.names()),
    };
    (rows, good.report.source(), good.at, good.failed_since)
}
