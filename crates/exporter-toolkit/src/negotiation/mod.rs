//! Content negotiation: the format of the metrics and the coding of the body that a client accepts.

mod accept;
mod coding;
mod format;
#[cfg(any(test, fuzzing))]
pub mod invariants;

pub use coding::{Coding, EncodedPrefix};
pub use format::{Format, NegotiatedFormat};
