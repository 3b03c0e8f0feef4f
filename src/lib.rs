//! Prometheus exporter for Microsoft partners' licence usage.
//!
//! The modules stand in order of dependency: a module names only modules above it. ARCHITECTURE.md is the map.

// What the program is about. Pure: no input and no output.
pub mod domain;

// What it is told, and what it keeps.
pub mod config;
pub mod state;

// Outbound: Entra ID and the Partner Center API.
pub mod partner;
pub mod polling;

// Inbound: what Prometheus and people read.
pub mod metrics;
pub mod supervisor;
pub mod bundled;
pub mod web;

// The command line, and where everything is put together.
pub mod commands;

// For tests alone.
#[cfg(test)]
mod seeds;
