//! The files in the state directory.
//!
//! The modules stand in order of dependency.

pub mod explain;
pub mod file;
pub mod pause;
pub mod snapshot;
