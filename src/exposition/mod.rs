//! How metrics are written: families in, bytes in one of the formats out; and which format a client gets.
//!
//! One set of families serves every format, so that they cannot disagree: `family` is what they all write,
//! `text` writes both texts, `protobuf` the three forms of protobuf. `negotiate` reads what a client accepts,
//! `coding` compresses. Knows nothing of accounts or HTTP servers.

mod family;
mod protobuf;
mod text;

use std::collections::BTreeSet;

pub use exporter_toolkit::negotiation::{Coding, EncodedPrefix, Format};
pub use family::{Buckets, Family, Kind, Labels, Point, Value};

/// Which families are wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection(Option<BTreeSet<String>>);

impl Selection {
    /// The families of these names; names that no family has select nothing.
    pub fn of(names: impl IntoIterator<Item = String>) -> Self {
        Self(Some(names.into_iter().collect()))
    }

    /// All families.
    pub const fn everything() -> Self {
        Self(None)
    }

    /// Whether nothing is left out.
    pub const fn is_everything(&self) -> bool {
        self.0.is_none()
    }

    fn has(&self, family: &Family) -> bool {
        self.0.as_ref().is_none_or(|names| names.contains(family.name))
    }
}

/// An exposition while it is written. Several can be put together, if only the last one has an end.
#[derive(Debug)]
pub struct Exposition<'a> {
    format: Format,
    selection: &'a Selection,
    out: Vec<u8>,
}

impl<'a> Exposition<'a> {
    /// An empty one, which takes no families but those selected.
    pub const fn new(format: Format, selection: &'a Selection) -> Self {
        Self { format, selection, out: Vec::new() }
    }

    /// Writes a family, if it is selected and has a point at all.
    pub fn add<'p>(&mut self, family: &'static Family, points: impl FnOnce() -> Vec<Point<'p>>) {
        if !self.selection.has(family) {
            return;
        }
        let points = points();
        if points.is_empty() {
            return;
        }
        let out = &mut self.out;
        match self.format {
            Format::Classic => text::classic(out, family, &points),
            Format::OpenMetrics => text::open_metrics(out, family, &points),
            Format::Protobuf => protobuf::delimited(out, family, &points),
            Format::ProtobufText => protobuf::text(out, family, &points),
            Format::ProtobufCompact => protobuf::compact(out, family, &points),
        }
    }

    /// Writes what has to come after the last family.
    pub fn end(&mut self) {
        if self.format == Format::OpenMetrics {
            self.out.extend_from_slice(b"# EOF\n");
        }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
}

#[cfg(test)]
mod tests;
