//! Prometheus exporter for Microsoft partners' licence usage.
pub mod simulator;
