//! A metric family: its name, type, unit and help, and the points it has at one moment.

use std::borrow::Cow;

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
    /// Observations in buckets.
    Histogram,
}

/// The labels of one point, in the order in which they are written.
pub type Labels<'a> = Vec<(&'static str, Cow<'a, str>)>;

/// One labelled value of a family.
pub type Point<'a> = (Labels<'a>, Value);

/// The value of one point.
#[derive(Clone, Debug)]
pub enum Value {
    /// Of a gauge.
    Gauge(f64),
    /// Of a counter that counts.
    Count(u64),
    /// Of a counter that measures.
    Sum(f64),
    /// Of a histogram.
    Histogram(Buckets),
}

/// What a histogram has seen.
#[derive(Clone, Debug)]
pub struct Buckets {
    /// Upper bounds, each with the number of observations up to it. The last bound is infinite.
    pub cumulative: Vec<(f64, u64)>,
    /// The sum of all observations.
    pub sum: f64,
}

impl Buckets {
    /// How many observations there were.
    pub fn count(&self) -> u64 {
        self.cumulative.last().map_or(0, |(_, count)| *count)
    }
}

impl Family {
    /// The name without a counter's `_total`, as OpenMetrics wants it in the lines above the samples.
    pub(super) fn stem(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram => self.name,
        }
    }

    /// The unit, which is the last word of the name.
    pub(super) fn unit(&self) -> Option<&'static str> {
        let (_, last) = self.stem().rsplit_once('_')?;
        ["seconds", "bytes", "percent"].contains(&last).then_some(last)
    }
}
