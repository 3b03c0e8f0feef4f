//! The value of a sample, and how its numbers are spelled.

use std::fmt;

use prometheus_client::encoding::{
    CounterValueEncoder, EncodeCounterValue, EncodeGaugeValue, GaugeValueEncoder,
};

/// The value of one sample.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Of a gauge or a counter.
    Number(Number),
    /// Of a histogram.
    Histogram {
        /// Upper bounds, each with the number of observations between it and the bound below. The last bound is
        /// infinite.
        buckets: Vec<(f64, u64)>,
        /// The sum of all observations.
        sum: f64,
    },
}

/// A number, which is encoded without a fraction if it has none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Whole(u64),
    Float(f64),
}

impl From<f64> for Value {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "what the casts change is no whole number, and the comparison finds it"
    )]
    fn from(value: f64) -> Self {
        /// From here on not every whole number is a float.
        const LIMIT: u64 = 1 << 53;
        let whole = value as u64;
        let is_whole = whole < LIMIT && (whole as f64).to_bits() == value.to_bits();
        Self::Number(if is_whole { Number::Whole(whole) } else { Number::Float(value) })
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Number(Number::Whole(count))
    }
}

impl From<bool> for Value {
    /// 1 for true, 0 for false.
    fn from(value: bool) -> Self {
        u64::from(value).into()
    }
}

impl EncodeGaugeValue for Number {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => EncodeGaugeValue::encode(number, encoder),
            Self::Float(number) => EncodeGaugeValue::encode(number, encoder),
        }
    }
}

impl EncodeCounterValue for Number {
    fn encode(&self, encoder: &mut CounterValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => EncodeCounterValue::encode(number, encoder),
            Self::Float(number) => EncodeCounterValue::encode(number, encoder),
        }
    }
}
