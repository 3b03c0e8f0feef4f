//! Invariants of reading a file with any content, checked by tests, seeds and the fuzz target, see fuzz/README.md.

use jiff::Timestamp;

use crate::domain::collection::{Collected, Collection};
use crate::domain::deployment::LicenseDeployment;
use crate::domain::row::Source;
use crate::domain::usage::LicenseUsage;

use super::{LastGood, Record, Saved, VERSION, decode, encode};

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
    // Random content never has a matching checksum, so give it one.
    if let Ok(mut record) = serde_json::from_slice::<Record<Vec<Saved<'_>>>>(content) {
        record.version = VERSION;
        OWNER.clone_into(&mut record.owner);
        record.sha256.clear();
        record.sha256 = record.checksum();
        let content = serde_json::to_vec(&record).expect("a record serialises to JSON");
        if let Some(good) = decode(&content, OWNER, collection) {
            round_trip(&good);
        }
    }
}

/// These rows are restored unchanged; from a damaged file they are restored unchanged or not at all.
pub(super) fn round_trip(good: &LastGood) {
    let collection = good.report.collection();
    match &*good.report {
        Collected::Usage(rows) => rows.assert_sound(),
        Collected::Deployment(rows) => rows.assert_sound(),
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

type Parts<'a> = ((&'a [LicenseUsage], &'a [LicenseDeployment], Source), Timestamp, bool);

/// Everything that a file contains. The number of dropped rows is not saved.
pub(super) fn parts(good: &LastGood) -> Parts<'_> {
    let report = &good.report;
    ((report.usage(), report.deployment(), report.source()), good.at, good.failed_since)
}
