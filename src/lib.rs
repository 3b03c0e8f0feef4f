//! Prometheus exporter for Microsoft partners' licence usage.
//!
//! The map of the house, in order of dependency: a module may name only modules above it in this
//! file (`tests/layering.rs` holds the order to the code). ARCHITECTURE.md tells the story around it.

// What the program is about. Pure: no input, no output, no clock of their own.
pub mod bundled;
pub mod clock;
pub mod reason;
pub mod schedule;
pub mod usage;

// What it is told, and what it knows.
pub mod yaml;
pub mod config;
pub mod statefile;
pub mod status;
pub mod snapshot;

// Outbound: Entra ID and the Partner Center API.
pub mod partner;
pub mod poll;

// Inbound: what Prometheus and people read.
pub mod exposition;
pub mod metrics;
pub mod supervisor;
pub mod web;

// The counterpart, which knows nothing of the above, and a past for its figures.
pub mod simulator;
pub mod history;

// The shell around it.
pub mod lifecycle;
pub mod logging;
pub mod cli;
pub mod commands;

// For tests alone.
#[cfg(test)]
mod seeds;
