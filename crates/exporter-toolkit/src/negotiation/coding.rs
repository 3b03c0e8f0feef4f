//! Compresses bodies.
//!
//! A body may have two parts: a large prefix that is compressed once, and a small rest that follows it in each response
//! without being compressed.

use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use flate2::{Compress, Compression, Crc, FlushCompress};

use super::accept::{clauses, joined};

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// The body is not compressed.
    Identity,
    /// Both parts of the body form one gzip member, since some clients stop after the first one.
    Gzip,
    /// Each part of the body is a Zstandard frame.
    Zstd,
}

/// The encoded first part of a body.
#[derive(Debug)]
pub struct EncodedPrefix {
    /// The bytes that are sent first.
    pub bytes: Bytes,
    coding: Coding,
    /// The checksum of the uncompressed prefix, which the trailer of a gzip member needs.
    checksum: Crc,
}

/// The header of a gzip member: deflate, no name, no time, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Higher levels take much more time for little gain.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;
/// The start of a Zstandard frame without a dictionary, whose size follows in four bytes.
const ZSTD_HEADER: [u8; 5] = [0x28, 0xb5, 0x2f, 0xfd, 0xa0];
/// The most bytes in one block of a Zstandard frame.
const ZSTD_BLOCK: usize = 128 * 1024;

/// The compressor that was used last. It has some 300 kB, and to free so large a block makes glibc return less memory to
/// the system from then on.
static COMPRESSOR: Mutex<Option<Compress>> = Mutex::new(None);

impl Coding {
    /// Every coding.
    pub const ALL: [Self; 3] = [Self::Identity, Self::Gzip, Self::Zstd];

    /// Returns the coding for a request with these headers.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self::negotiate(&joined(headers, ACCEPT_ENCODING))
    }

    /// Returns the coding for an `Accept-Encoding` header; a client that refuses every coding gets identity.
    ///
    /// A compression must be named, and is preferred to identity at equal quality; gzip is preferred to zstd.
    pub(super) fn negotiate(accept_encoding: &str) -> Self {
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
            // Identity is refused, and `*` allows anything else.
            None if identity == Some(0) && others > Some(0) && gzip.is_none() => Self::Gzip,
            _ => Self::Identity,
        }
    }

    /// Returns the value of `Content-Encoding`, which identity does without.
    pub(super) const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// Encodes a whole body.
    pub fn encode(self, body: impl Into<Bytes>) -> Vec<u8> {
        let prefix = self.encode_prefix(body);
        [&prefix.bytes[..], &prefix.finish(Vec::new())].concat()
    }

    /// Encodes the first part of a body.
    pub fn encode_prefix(self, prefix: impl Into<Bytes>) -> EncodedPrefix {
        let prefix: Bytes = prefix.into();
        let mut checksum = Crc::new();
        let bytes = match self {
            Self::Identity => prefix,
            Self::Gzip => {
                checksum.update(&prefix);
                let mut out = GZIP_HEADER.to_vec();
                deflate(&mut out, &prefix);
                fitted(out)
            }
            Self::Zstd => fitted(zstd(&prefix)),
        };
        EncodedPrefix { bytes, coding: self, checksum }
    }
}

impl EncodedPrefix {
    /// Encodes the rest of the body, which is sent after [`Self::bytes`].
    pub fn finish(&self, rest: Vec<u8>) -> Vec<u8> {
        match self.coding {
            Coding::Identity => rest,
            Coding::Gzip => {
                let (mut checksum, mut of_rest) = (Crc::new(), Crc::new());
                of_rest.update(&rest);
                checksum.combine(&self.checksum);
                checksum.combine(&of_rest);
                let mut out = Vec::with_capacity(rest.len() + 64);
                for (block, is_last) in blocks(&rest, usize::from(u16::MAX)) {
                    let length = u16::try_from(block.len()).expect("it is the limit of the blocks");
                    out.push(is_last.into());
                    out.extend_from_slice(&length.to_le_bytes());
                    out.extend_from_slice(&(!length).to_le_bytes());
                    out.extend_from_slice(block);
                }
                out.extend_from_slice(&checksum.sum().to_le_bytes());
                out.extend_from_slice(&checksum.amount().to_le_bytes());
                out
            }
            Coding::Zstd => {
                let mut out = Vec::with_capacity(rest.len() + 64);
                out.extend_from_slice(&ZSTD_HEADER);
                let length = u32::try_from(rest.len()).expect("it is small");
                out.extend_from_slice(&length.to_le_bytes());
                for (block, is_last) in blocks(&rest, ZSTD_BLOCK) {
                    let length = u32::try_from(block.len()).expect("it is the limit of the blocks");
                    out.extend_from_slice(&(length << 3 | u32::from(is_last)).to_le_bytes()[..3]);
                    out.extend_from_slice(block);
                }
                out
            }
        }
    }
}

/// Gives the room back that the bytes do not need, which was reserved for input that compresses badly.
fn fitted(mut bytes: Vec<u8>) -> Bytes {
    bytes.shrink_to_fit();
    bytes.into()
}

/// Returns the blocks of at most `size` bytes that `data` consists of, at least one, and whether each is the last one.
fn blocks(data: &[u8], size: usize) -> impl Iterator<Item = (&[u8], bool)> {
    let count = data.len().div_ceil(size).max(1);
    (1..=count)
        .map(move |number| (&data[(number - 1) * size..data.len().min(number * size)], number == count))
}

/// Appends the compressed `data`, up to a byte boundary and without the end of the stream.
fn deflate(out: &mut Vec<u8>, data: &[u8]) {
    let idle = COMPRESSOR.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut state = idle.unwrap_or_else(|| Compress::new(Compression::new(GZIP_LEVEL), false));
    state.reset();
    out.reserve(data.len() / 8 + 64);
    loop {
        let consumed = usize::try_from(state.total_in()).expect("it is at most the length of the data");
        state.compress_vec(&data[consumed..], out, FlushCompress::Full).expect("the input is never corrupt");
        let all =
            usize::try_from(state.total_in()).expect("it is at most the length of the data") == data.len();
        // A full buffer may mean that there is more output.
        if all && out.len() < out.capacity() {
            break;
        }
        out.reserve(out.len().max(64));
    }
    *COMPRESSOR.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(data, ZSTD_LEVEL).expect("the level is valid, and the buffer is large enough")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_client_gets_the_coding_that_it_prefers() {
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
            // Every coding is refused.
            ("*;q=0", Identity),
            ("identity;q=0", Identity),
            ("identity;q=0, gzip;q=0, *", Identity),
            (";;q=,,\"", Identity),
        ] {
            assert_eq!(Coding::negotiate(header), coding, "{header:?}");
        }
    }

    fn encode(coding: Coding, prefix: &[u8], rest: &[u8]) -> Vec<u8> {
        let prefix = coding.encode_prefix(prefix.to_vec());
        [&prefix.bytes[..], &prefix.finish(rest.to_vec())].concat()
    }

    fn gunzip(body: &[u8]) -> Vec<u8> {
        let (mut member, mut out) = (flate2::bufread::GzDecoder::new(body), Vec::new());
        member.read_to_end(&mut out).unwrap();
        assert!(member.into_inner().is_empty(), "there is exactly one member");
        out
    }

    proptest! {
        #[test]
        fn every_coding_can_be_decoded(
            prefix in proptest::collection::vec(any::<u8>(), 0..3000),
            repeated in 1_usize..200,
            rest in proptest::collection::vec(any::<u8>(), 0..300),
            rest_repeated in prop_oneof![9 => Just(1_usize), 1 => 1_usize..1000],
        ) {
            let prefix = prefix.repeat(repeated);
            let rest = rest.repeat(rest_repeated);
            let expected = [&prefix[..], &rest].concat();
            prop_assert_eq!(&encode(Coding::Identity, &prefix, &rest), &expected);
            prop_assert_eq!(&gunzip(&encode(Coding::Gzip, &prefix, &rest)), &expected);
            prop_assert_eq!(&zstd::decode_all(&encode(Coding::Zstd, &prefix, &rest)[..]).unwrap(), &expected);
            prop_assert_eq!(&gunzip(&Coding::Gzip.encode(expected.clone())), &expected);
        }
    }

    #[test]
    fn a_compressed_body_keeps_no_room_that_it_does_not_need() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let bytes = Vec::from(coding.encode_prefix(vec![b'a'; 1 << 20]).bytes);
            assert_eq!(bytes.capacity(), bytes.len(), "{coding:?}");
        }
    }

    #[test]
    fn the_rest_of_a_body_is_not_compressed() {
        let rest = [&b"process_open_fds 9\n".repeat(100)[..], b"# EOF\n"].concat();
        for coding in Coding::ALL {
            let body = encode(coding, b"up 1\n", &rest);
            assert!(body.windows(rest.len()).any(|part| part == rest), "{coding:?}");
        }
    }

    #[test]
    fn repetition_is_compressed() {
        let prefix =
            b"requests_total{method=\"GET\",status=\"200\",listener=\"127.0.0.1:9100\"} 38.25\n".repeat(1000);
        for coding in [Coding::Gzip, Coding::Zstd] {
            assert!(encode(coding, &prefix, b"").len() < prefix.len() / 50, "{coding:?}");
        }
    }
}
