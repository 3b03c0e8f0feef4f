//! Prometheus exporter for Microsoft partners' licence usage.
//!
//! The modules stand in order of dependency: a module uses only modules above it. ARCHITECTURE.md explains them.

mod large_buffer;

// What the program is about, without input or output.
pub mod domain;

// Configuration and state.
pub mod config;
pub mod state;

// The rows as lines and as CSV.
pub mod sheet;

// Outbound: Entra ID and the Partner Center API.
pub mod partner;
pub mod polling;

// The series of all accounts.
pub mod metrics;

// The running accounts, which it hands to metrics.
pub mod supervisor;

// Inbound: what Prometheus and people read.
pub mod bundled;
pub mod web;

// The command line.
pub mod commands;

#[cfg(test)]
mod seeds;
#[cfg(test)]
mod testkit;
