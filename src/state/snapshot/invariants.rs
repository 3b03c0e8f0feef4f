//! What holds for whatever may be found in a file. Held against it by the tests, by the seeds and by the fuzz
//! target, see fuzz/README.md; no part of the program.

use jiff::Timestamp;

use crate::domain::usage::LicenseUsage;

use super::{Good, Record, VERSION, decode, encode};

pub(super) const OWNER: &str = "https://login.example contoso.example c11e";
const OTHERS: &str = "https://login.example fabrikam.example c11e";

/// A file of any content: it is believed as a whole and by its owner, or not at all.
pub fn file(content: &[u8]) {
    if let Some(good) = decode(content, OWNER) {
        kept(&good);
    }
    // No guess ever meets a checksum, so the rest is seen by those that bring the right one.
    if let Ok(mut record) = serde_json::from_slice::<Record>(content) {
        record.version = VERSION;
        OWNER.clone_into(&mut record.owner);
        record.sha256.clear();
        record.sha256 = record.checksum();
        let content = serde_json::to_vec(&record).expect("a record is JSON");
        if let Some(good) = decode(&content, OWNER) {
            kept(&good);
        }
    }
}

/// These rows come back as they were; damaged in any place, they do not come back, or as they were.
pub(super) fn kept(good: &Good) {
    good.report.assert_sound();
    let content = encode(good, OWNER);
    let restored = decode(&content, OWNER).expect("what was written is believed");
    assert_eq!(parts(&restored), parts(good));
    assert!(decode(&content, OTHERS).is_none(), "the rows of another account");
    // Not at every place, since there are many: the tests choose theirs at random.
    for at in (0..content.len()).step_by(1 + content.len() / 16) {
        damaged(good, &content, at, content[at] ^ 1);
    }
}

/// The file of these rows, cut off before the byte `at`, or with another byte there.
pub(super) fn damaged(good: &Good, content: &[u8], at: usize, byte: u8) {
    assert!(decode(&content[..at], OWNER).is_none(), "cut off before byte {at}");
    let mut content = content.to_vec();
    content[at] = byte;
    if let Some(restored) = decode(&content, OWNER) {
        assert_eq!(parts(&restored), parts(good), "with {byte} as byte {at}");
    }
}

/// All that is kept. How many rows were dropped on the way is not.
pub(super) fn parts(good: &Good) -> (&[LicenseUsage], Timestamp, bool) {
    (good.report.rows(), good.at, good.failed_since)
}
