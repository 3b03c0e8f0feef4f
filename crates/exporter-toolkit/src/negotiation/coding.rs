//! How bodies are compressed. A body has two parts: the first is large and prepared once, the second is small and
//! follows it anew for every client.

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use super::accept::clauses;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    Identity,
    /// One member, whose second part refers to nothing in the first: every client reads it, also those that stop
    /// after one member.
    Gzip,
    /// Two frames.
    Zstd,
}

/// The first part of a body, in some coding.
#[derive(Debug)]
pub struct Beginning {
    /// To be sent first.
    pub bytes: Bytes,
    coding: Coding,
    /// Of what was compressed, which is in the end of a gzip member.
    checksum: Crc,
}

/// The head of a gzip member: deflate, no name, no time, an unknown system.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The levels at which both spend most of what can be gained.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

impl Coding {
    /// Every coding, in the order of the bodies of a page.
    pub const ALL: [Self; 3] = [Self::Identity, Self::Gzip, Self::Zstd];

    /// What a client with this `Accept-Encoding` header gets. Total: who refuses everything gets the body as it is.
    ///
    /// What compresses has to be named, and wins over identity where it is as welcome; gzip wins over zstd.
    pub fn negotiate(accept_encoding: &str) -> Self {
        let clauses = clauses(accept_encoding);
        let quality = |names: &[&str]| {
            let named = clauses
                .iter()
                .filter(|clause| names.iter().any(|name| clause.value.eq_ignore_ascii_case(name)));
            named.map(|clause| clause.quality).max()
        };
        let (gzip, zstd, others) = (quality(&["gzip", "x-gzip"]), quality(&["zstd"]), quality(&["*"]));
        let identity = quality(&["identity"]).or(others);
        let named = [(Self::Zstd, zstd), (Self::Gzip, gzip)].into_iter();
        let named =
            named.filter_map(|(coding, quality)| Some((coding, quality.filter(|quality| *quality > 0)?)));
        match named.max_by_key(|(_, quality)| *quality) {
            Some((coding, quality)) if quality >= identity.unwrap_or(0) => coding,
            // Anything, but not as it is.
            None if identity == Some(0) && others > Some(0) && gzip.is_none() => Self::Gzip,
            _ => Self::Identity,
        }
    }

    /// The value of `Content-Encoding`, if the answer has one.
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// The first part of a body.
    pub fn begin(self, first: impl Into<Bytes>) -> Beginning {
        let first: Bytes = first.into();
        let mut checksum = Crc::new();
        let bytes = match self {
            Self::Identity => first,
            Self::Gzip => {
                checksum.update(&first);
                let mut out = GZIP_HEAD.to_vec();
                deflate(&mut out, &first, FlushCompress::Full);
                out.into()
            }
            Self::Zstd => zstd(&first).into(),
        };
        Beginning { bytes, coding: self, checksum }
    }
}

impl Beginning {
    /// The rest of the body.
    pub fn end(&self, rest: Vec<u8>) -> Vec<u8> {
        match self.coding {
            Coding::Identity => rest,
            Coding::Gzip => {
                let (mut checksum, mut of_rest) = (Crc::new(), Crc::new());
                of_rest.update(&rest);
                checksum.combine(&self.checksum);
                checksum.combine(&of_rest);
                let mut out = Vec::new();
                deflate(&mut out, &rest, FlushCompress::Finish);
                out.extend_from_slice(&checksum.sum().to_le_bytes());
                out.extend_from_slice(&checksum.amount().to_le_bytes());
                out
            }
            Coding::Zstd => zstd(&rest),
        }
    }
}

/// Compresses `data` and ends on a full byte: with more to come, or for good.
fn deflate(out: &mut Vec<u8>, data: &[u8], flush: FlushCompress) {
    let mut state = Compress::new(Compression::new(GZIP_LEVEL), false);
    out.reserve(data.len() / 8 + 64);
    loop {
        let consumed = usize::try_from(state.total_in()).expect("no more than there was");
        let status = state.compress_vec(&data[consumed..], out, flush).expect("the state is ours alone");
        let all = usize::try_from(state.total_in()).expect("no more than there was") == data.len();
        // A full buffer means that there may be more.
        let finished = match flush {
            FlushCompress::Finish => status == Status::StreamEnd,
            _ => all && out.len() < out.capacity(),
        };
        if finished {
            return;
        }
        out.reserve(out.len().max(64));
    }
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(data, ZSTD_LEVEL)
        .expect("the level is one of zstd's, and the buffer as large as it asks for")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_names_a_coding_gets_the_one_it_likes_best() {
        use Coding::{Gzip, Identity, Zstd};
        for (header, coding) in [
            ("", Identity),
            ("identity", Identity),
            ("gzip", Gzip),
            ("GZIP;q=0.5", Gzip),
            ("x-gzip", Gzip),
            ("gzip, deflate, br, zstd", Gzip),
            ("zstd, gzip", Gzip),
            ("zstd", Zstd),
            ("gzip;q=0.1,zstd;q=0.5", Zstd),
            ("gzip;q=1.0, identity; q=0.5, *;q=0", Gzip),
            ("gzip, identity", Gzip),
            ("gzip;q=0.2, identity;q=0.5", Identity),
            ("gzip;q=0", Identity),
            ("gzip;q=0, zstd;q=0.1", Zstd),
            ("br, deflate", Identity),
            ("*", Identity),
            ("*;q=0.5, gzip;q=0.1", Identity),
            ("identity;q=0, *", Gzip),
            ("identity;q=0, gzip;q=0.001", Gzip),
            ("gzip;q=x, zstd", Zstd),
            // Who refuses all there is gets the body as it is, and an answer.
            ("*;q=0", Identity),
            ("identity;q=0", Identity),
            ("identity;q=0, gzip;q=0, *", Identity),
            (";;q=,,\"", Identity),
        ] {
            assert_eq!(Coding::negotiate(header), coding, "{header:?}");
        }
    }

    fn whole(coding: Coding, first: &[u8], rest: &[u8]) -> Vec<u8> {
        let beginning = coding.begin(first.to_vec());
        [&beginning.bytes[..], &beginning.end(rest.to_vec())].concat()
    }

    fn gunzip(body: &[u8]) -> Vec<u8> {
        let (mut member, mut out) = (flate2::bufread::GzDecoder::new(body), Vec::new());
        member.read_to_end(&mut out).unwrap();
        assert!(member.into_inner().is_empty(), "one member, and nothing behind it");
        out
    }

    proptest! {
        #[test]
        fn both_parts_come_out_of_every_coding(
            first in proptest::collection::vec(any::<u8>(), 0..3000),
            repeated in 1_usize..200,
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let first = first.repeat(repeated);
            let expected = [&first[..], &rest].concat();
            prop_assert_eq!(&whole(Coding::Identity, &first, &rest), &expected);
            prop_assert_eq!(&gunzip(&whole(Coding::Gzip, &first, &rest)), &expected);
            prop_assert_eq!(&zstd::decode_all(&whole(Coding::Zstd, &first, &rest)[..]).unwrap(), &expected);
        }
    }

    #[test]
    fn repetition_is_taken_out() {
        let first =
            b"partner_license_usage_percent{service=\"o365\",workload=\"Exchange\"} 38.25\n".repeat(1000);
        for coding in [Coding::Gzip, Coding::Zstd] {
            assert!(whole(coding, &first, b"").len() < first.len() / 50, "{coding:?}");
        }
    }
}
