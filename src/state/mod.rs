//! What the program keeps in its state directory.

pub mod file;
pub mod snapshot;
