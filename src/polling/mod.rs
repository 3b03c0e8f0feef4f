//! Polls the accounts, persists their last good rows, and renders what changes.
//!
//! The modules stand in order of dependency.

mod persist;
mod publish;
mod run;

pub use persist::persist;
pub use publish::{Render, publish};
pub use run::{Plan, run};

#[cfg(test)]
mod tests;
