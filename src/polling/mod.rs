//! Polls the accounts, persists their last good rows, and renders what changes.

mod persist;
mod publish;
mod run;

pub use persist::persist;
pub use publish::{Render, publish};
pub use run::{Plan, run};

#[cfg(test)]
mod tests;
