//! How metrics are written: families in, bytes in one of the formats out.
//!
//! One set of families serves every format, so that they cannot disagree. OpenMetrics is written by
//! `prometheus-client`; the classic text, which that library does not have, from the same library's data
//! model. Knows nothing of accounts or HTTP servers.

mod classic;
mod family;
mod negotiate;

use prometheus_client::encoding::{prometheus_protobuf, text};
use prometheus_client::registry::Registry;

pub use family::{Family, Kind, Labels, Samples, Value};
pub use negotiate::negotiate;

/// A format in which Prometheus reads metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text, version 0.0.4.
    Classic,
    /// OpenMetrics text, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Every format, in the order of the bodies of a page.
    pub const ALL: [Self; 2] = [Self::Classic, Self::OpenMetrics];

    /// The exact `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What ends an exposition, after all its families.
    pub const fn trailer(self) -> &'static str {
        match self {
            Self::Classic => "",
            Self::OpenMetrics => "# EOF\n",
        }
    }
}

/// Writes families in the given order, without the trailer: expositions can be put together from parts.
pub fn render(families: Vec<Samples>, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(family::Snapshot(families)));
    let mut out = String::new();
    let written = match format {
        Format::Classic => {
            prometheus_protobuf::encode(&registry).and_then(|model| classic::write(&mut out, &model))
        }
        Format::OpenMetrics => text::encode_registry(&mut out, &registry),
    };
    written.expect("a string takes everything");
    out
}

#[cfg(test)]
mod tests;
