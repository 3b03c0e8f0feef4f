//! Polls the collections of the accounts, persists their last good rows, and renders what changes.
//!
//! The modules stand in order of dependency.

mod persist;
mod publish;
mod shared;
mod run;

pub use persist::{persist, persist_pauses};
pub use publish::{Preparation, Render, publish};
pub use run::{Plan, run};
pub use shared::Shared;

#[cfg(test)]
mod tests;
