//! A metric family: its name, type, labels and help, and how `prometheus-client` encodes its samples.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use exporter_toolkit::negotiation::Format;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, NoLabelSet, prometheus_protobuf, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::large_buffer;

use super::value::Value;

/// The static description of a metric family.
#[derive(Debug)]
pub struct Family {
    /// The name as users write it in queries; a counter's ends in `_total`.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels, besides `account`.
    pub labels: &'static [&'static str],
    /// HELP: one line without quotes and backslashes, which not every format escapes.
    pub help: &'static str,
}

/// A family's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up.
    Counter,
    /// Observations in buckets.
    Histogram,
}

/// The families to encode.
#[derive(Clone, Debug, Default)]
pub struct Selection(Option<BTreeSet<String>>);

/// Something that has families to encode.
pub(super) trait Collect: fmt::Debug + Send + Sync + 'static {
    /// Adds its families in the order of [`FAMILIES`](super::FAMILIES).
    fn collect(&self, out: &mut Families<'_>) -> fmt::Result;

    /// Returns about how many bytes all of its families take as text.
    fn typical_size(&self) -> usize {
        0
    }
}

/// The families of an exposition that is being encoded.
#[derive(Debug)]
pub(super) struct Families<'a> {
    encoder: DescriptorEncoder<'a>,
    selection: Selection,
}

/// Encodes the selected families of a source. The [`trailer`] is omitted, so that another source can follow.
pub(super) fn encode<C: Collect>(format: Format, selection: &Selection, source: &Arc<C>) -> Vec<u8> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Selected(Arc::clone(source), selection.clone())));
    let mut room = Vec::new();
    if selection.is_everything() && format != Format::Protobuf {
        large_buffer::reserve(&mut room, source.typical_size());
    }
    let mut out = String::from_utf8(room).expect("it is empty");
    match format {
        Format::Classic => prometheus_text::encode(&mut out, &registry),
        Format::OpenMetrics => text::encode_registry(&mut out, &registry),
        Format::Protobuf => {
            return prometheus_protobuf::encode_to_vec(&registry).expect("a vector takes every message");
        }
    }
    .expect("a string takes every text");
    out.into_bytes()
}

/// Returns the trailer, which follows the families of the last source.
pub const fn trailer(format: Format) -> &'static [u8] {
    match format {
        Format::OpenMetrics => b"# EOF\n",
        Format::Classic | Format::Protobuf => b"",
    }
}

#[derive(Debug)]
struct Selected<C>(Arc<C>, Selection);

impl<C: Collect> Collector for Selected<C> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(source, selection) = self;
        source.collect(&mut Families { encoder, selection: selection.clone() })
    }
}

// === impl Families ===

impl Families<'_> {
    /// Encodes a family, if it is selected and has any sample.
    pub(super) fn add<L: EncodeLabelSet, V: Into<Value>>(
        &mut self,
        family: &Family,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        if !self.selection.has(family) {
            return Ok(());
        }
        let mut samples = samples.into_iter();
        let Some(first) = samples.next() else { return Ok(()) };
        let (name, unit) = family.name_and_unit();
        let mut metric =
            self.encoder.encode_descriptor(name, family.help, unit.as_ref(), family.kind.into())?;
        let mut encode = |(labels, value): (L, V)| {
            let mut sample = metric.encode_family(&labels)?;
            match value.into() {
                Value::Histogram { buckets, sum } => {
                    let count = buckets.iter().map(|(_, count)| count).sum();
                    sample.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
                }
                Value::Number(number) if family.kind == Kind::Counter => {
                    sample.encode_counter::<NoLabelSet, _, f64>(&number, None)
                }
                Value::Number(number) => sample.encode_gauge(&number),
            }
        };
        encode(first)?;
        // Faster than a loop: the iterators below `samples` run loops of their own.
        samples.try_for_each(encode)
    }

    /// Encodes a family of one sample without labels, if it is selected and there is a value.
    pub(super) fn add_one<V: Into<Value>>(
        &mut self,
        family: &Family,
        value: impl FnOnce() -> Option<V>,
    ) -> fmt::Result {
        const NO_LABELS: [(&str, &str); 0] = [];
        self.add(family, std::iter::once_with(value).flatten().map(|value| (NO_LABELS, value)))
    }
}

// === impl Family ===

impl Family {
    /// The name without its unit and a counter's `_total`, and the unit, which is the last word before that. The
    /// encoders put them together again.
    fn name_and_unit(&self) -> (&'static str, Option<Unit>) {
        let stem = match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram => self.name,
        };
        let unit = match stem.rsplit_once('_') {
            Some((name, "seconds")) => Some((name, Unit::Seconds)),
            Some((name, "bytes")) => Some((name, Unit::Bytes)),
            Some((name, "percent")) => Some((name, Unit::Other("percent".to_owned()))),
            _ => None,
        };
        unit.map_or((stem, None), |(name, unit)| (name, Some(unit)))
    }
}

impl From<Kind> for MetricType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Gauge => Self::Gauge,
            Kind::Counter => Self::Counter,
            Kind::Histogram => Self::Histogram,
        }
    }
}

// === impl Selection ===

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

#[cfg(test)]
mod tests;
