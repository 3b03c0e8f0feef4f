//! The content of a stored token's file: JSON with a version, the owner and a checksum.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::state::file::sha256;

use super::stored_token::{Ancestor, Lineage, StoredToken};

/// Why the content of a file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is incomplete, or its checksum does not match.
    #[error("is damaged")]
    Damaged,
    /// Its owner is another one.
    #[error("belongs to another cloud or tenant")]
    Foreign,
    /// Its version is not known.
    #[error("comes from a later version")]
    Later,
}

/// The fields of the file. Earlier programs ignore what they do not know.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    owner: String,
    ancestor_sha256: Ancestor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed_in_at: Option<Timestamp>,
    issued_at: Timestamp,
    refresh_token: String,
    /// The checksum of this record without this field; absent in the files of the first program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

const VERSION: u32 = 1;

/// The content of the file of a token.
pub(super) fn encode(stored: &StoredToken, owner: &str) -> Vec<u8> {
    let mut record = Record {
        version: VERSION,
        owner: owner.to_owned(),
        ancestor_sha256: stored.lineage.ancestor.clone(),
        signed_in_at: stored.lineage.signed_in_at,
        issued_at: stored.issued_at,
        refresh_token: stored.token.expose_secret().to_owned(),
        sha256: None,
    };
    record.sha256 = Some(record.checksum());
    serde_json::to_vec_pretty(&record).expect(ALWAYS_JSON)
}

/// The token in the content of a file.
///
/// # Errors
/// [`Flaw`] if the content is not complete, or not a token of this owner.
pub(super) fn decode(content: &[u8], owner: &str) -> Result<StoredToken, Flaw> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_slice(content).map_err(|_| Flaw::Damaged)?;
    if version > VERSION {
        return Err(Flaw::Later);
    }
    let mut record: Record = serde_json::from_slice(content).map_err(|_| Flaw::Damaged)?;
    if record.sha256.take().is_some_and(|claimed| claimed != record.checksum()) || version != VERSION {
        return Err(Flaw::Damaged);
    }
    if record.owner != owner {
        return Err(Flaw::Foreign);
    }
    Ok(StoredToken {
        token: SecretString::from(record.refresh_token),
        issued_at: record.issued_at,
        lineage: Lineage { ancestor: record.ancestor_sha256, signed_in_at: record.signed_in_at },
    })
}

const ALWAYS_JSON: &str = "a record of strings and times serialises to JSON";

impl Record {
    /// The checksum of the content, regardless of white space in the file. `sha256` must be `None`.
    fn checksum(&self) -> String {
        sha256(&serde_json::to_vec(self).expect(ALWAYS_JSON))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: &str = "https://login.example contoso.example c11e";

    fn stored() -> StoredToken {
        let lineage = Lineage {
            ancestor: Ancestor::configured(&"abc".into()),
            signed_in_at: Some(Timestamp::UNIX_EPOCH),
        };
        StoredToken { token: "0.AbC_d-e".into(), issued_at: Timestamp::constant(1_795_410_800, 5), lineage }
    }

    fn parts(stored: &StoredToken) -> (&str, Timestamp, &Lineage) {
        (stored.token.expose_secret(), stored.issued_at, &stored.lineage)
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_file_never_brings_another_token_or_lineage() {
        let (content, expected) = (encode(&stored(), OWNER), stored());
        let mut damaged = 0;
        for (at, bit) in (0..content.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut content = content.clone();
            content[at] ^= 1 << bit;
            match decode(&content, OWNER) {
                // In white space, in the name of the checksum, or in the notation of a time.
                Ok(found) => assert_eq!(parts(&found), parts(&expected), "bit {bit} of byte {at}"),
                Err(flaw) => damaged += usize::from(flaw == Flaw::Damaged),
            }
        }
        assert!(damaged > content.len() * 6, "{damaged} of {}", content.len() * 8);
        let token = content.windows(9).position(|window| window == b"0.AbC_d-e").unwrap();
        for at in token..token + 9 {
            let mut content = content.clone();
            content[at] ^= 1;
            assert_eq!(decode(&content, OWNER).unwrap_err(), Flaw::Damaged, "byte {at}");
        }
    }

    #[test]
    fn a_flaw_says_whose_fault_it_is() {
        let content = encode(&stored(), OWNER);
        assert_eq!(
            decode(&content, "https://login.example fabrikam.example c11e").unwrap_err(),
            Flaw::Foreign
        );
        let text = String::from_utf8(content).unwrap();
        let later = text.replace("\"version\": 1", "\"version\": 2");
        assert_eq!(decode(later.as_bytes(), OWNER).unwrap_err(), Flaw::Later);
        assert_eq!(decode(br#"{"version": 2, "other": []}"#, OWNER).unwrap_err(), Flaw::Later);
        let earlier = text.replace("\"version\": 1", "\"version\": 0");
        let without_brace = text.strip_suffix('}').unwrap();
        for damaged in ["", "{}", "[", text.strip_prefix('{').unwrap(), without_brace, &earlier] {
            assert_eq!(decode(damaged.as_bytes(), OWNER).unwrap_err(), Flaw::Damaged, "{damaged}");
        }
    }

    /// The fields as the first program reads them.
    #[derive(Deserialize)]
    struct FirstRecord {
        version: u32,
        owner: String,
        ancestor_sha256: String,
        #[serde(default)]
        signed_in_at: Option<Timestamp>,
        issued_at: Timestamp,
        refresh_token: String,
    }

    #[test]
    fn the_first_program_reads_a_file_with_a_checksum_and_this_one_reads_a_file_without() {
        let (content, expected) = (encode(&stored(), OWNER), stored());
        let first: FirstRecord = serde_json::from_slice(&content).unwrap();
        assert_eq!((first.version, first.owner.as_str()), (1, OWNER));
        assert_eq!(first.ancestor_sha256, String::from(expected.lineage.ancestor.clone()));
        assert_eq!(first.signed_in_at, expected.lineage.signed_in_at);
        assert_eq!((first.issued_at, first.refresh_token.as_str()), (expected.issued_at, "0.AbC_d-e"));
        let mut record: serde_json::Value = serde_json::from_slice(&content).unwrap();
        record.as_object_mut().unwrap().remove("sha256").unwrap();
        let found = decode(record.to_string().as_bytes(), OWNER).unwrap();
        assert_eq!(parts(&found), parts(&expected));
    }
}
