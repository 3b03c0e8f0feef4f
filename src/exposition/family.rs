//! A metric family: its name, type and help, and the samples it has at one moment.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

/// What a family is, for as long as the program lives.
#[derive(Debug)]
pub struct Family {
    /// The name as users write it in queries; a counter's ends in `_total`.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels, besides `account`.
    pub labels: &'static [&'static str],
    /// HELP, one or two sentences on one line.
    pub help: &'static str,
}

/// A family's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up.
    Counter,
    /// Durations in buckets.
    Histogram,
}

/// The labels of one sample, in the order in which they are written.
pub type Labels = Vec<(&'static str, String)>;

/// The value of one sample.
#[derive(Clone, Debug)]
pub enum Value {
    /// Of a gauge.
    Gauge(f64),
    /// Of a counter that counts.
    Count(u64),
    /// Of a counter that measures.
    Sum(f64),
    /// Of a histogram.
    Histogram(Histogram),
}

/// The samples of one family.
#[derive(Clone, Debug)]
pub struct Samples {
    family: &'static Family,
    points: Vec<(Labels, Value)>,
}

impl Samples {
    /// The given samples, in the given order.
    pub fn new(family: &'static Family, points: Vec<(Labels, Value)>) -> Self {
        Self { family, points }
    }

    /// A family of one sample without labels.
    pub fn single(family: &'static Family, value: Value) -> Self {
        Self::new(family, vec![(Labels::new(), value)])
    }
}

impl Family {
    /// The name without what the encoder adds by itself: a counter's `_total`, then the unit.
    fn parts(&self) -> (&'static str, Option<Unit>) {
        let name =
            self.name.strip_suffix("_total").filter(|_| self.kind == Kind::Counter).unwrap_or(self.name);
        let units = [Unit::Seconds, Unit::Bytes, Unit::Other("percent".to_owned())];
        units
            .into_iter()
            .find_map(|unit| Some((name.strip_suffix(unit.as_str())?.strip_suffix('_')?, Some(unit))))
            .unwrap_or((name, None))
    }
}

/// Families as they are at one moment, in the shape that `prometheus-client` collects.
#[derive(Debug)]
pub(super) struct Snapshot(pub(super) Vec<Samples>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Samples { family, points } in &self.0 {
            if points.is_empty() {
                continue;
            }
            let (name, unit) = family.parts();
            let kind = match family.kind {
                Kind::Gauge => MetricType::Gauge,
                Kind::Counter => MetricType::Counter,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut family_encoder = encoder.encode_descriptor(name, family.help, unit.as_ref(), kind)?;
            for (labels, value) in points {
                if labels.is_empty() {
                    // A family of no labels is not the same to the encoder as a sample without labels.
                    encode_value(value, family_encoder)?;
                    break;
                }
                encode_value(value, family_encoder.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

fn encode_value(value: &Value, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
    match value {
        Value::Gauge(value) => ConstGauge::new(*value).encode(encoder),
        Value::Count(value) => ConstCounter::new(*value).encode(encoder),
        Value::Sum(value) => ConstCounter::new(*value).encode(encoder),
        Value::Histogram(histogram) => histogram.encode(encoder),
    }
}
