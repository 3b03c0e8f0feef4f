//! What a client accepts: the format of the metrics, and the coding in which they are sent.

mod accept;
mod coding;
mod format;
#[cfg(any(test, fuzzing))]
pub mod invariants;

pub use coding::{Beginning, Coding};
pub use format::{Answer, Escaping, Format, negotiate};
