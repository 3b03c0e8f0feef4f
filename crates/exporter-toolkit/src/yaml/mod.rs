//! Reads a YAML document key by key and collects every problem instead of stopping at the first.

mod file;
mod layout;
mod problem;
mod section;
mod value;

pub use file::read;
pub(crate) use problem::shorten;
pub use problem::{ConfigError, Problem, Problems};
pub(crate) use section::Entry;
pub use section::Section;
