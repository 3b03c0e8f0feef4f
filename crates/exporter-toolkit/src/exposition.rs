//! A registry's metrics as bytes, in each format that is negotiated.

use prometheus_client::encoding::{prometheus_protobuf, prometheus_text, text};
use prometheus_client::registry::Registry;

use crate::negotiation::Format;

/// Encodes a registry, without what [`end`] adds, so that several registries can follow each other.
pub fn encode(format: Format, registry: &Registry) -> Vec<u8> {
    let mut out = String::new();
    match format {
        Format::Classic => prometheus_text::encode(&mut out, registry),
        Format::OpenMetrics => text::encode_registry(&mut out, registry),
        Format::Protobuf => {
            return prometheus_protobuf::encode_to_vec(registry).expect("a vector takes every message");
        }
    }
    .expect("a string takes every text");
    out.into_bytes()
}

/// What follows the last family.
pub const fn end(format: Format) -> &'static [u8] {
    match format {
        Format::OpenMetrics => b"# EOF\n",
        Format::Classic | Format::Protobuf => b"",
    }
}
