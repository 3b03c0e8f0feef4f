//! What an exporter for Prometheus needs besides its metrics.
//!
//! Sockets to listen on, a server that bounds what its peers can take, the web configuration file of the Prometheus
//! exporters, and the negotiation of formats and codings. It knows nothing of what is exported.
//!
//! In order of dependency: a module names only modules above it.

pub mod yaml;
pub mod secret;
pub mod listen;
pub mod negotiation;
pub mod web_config;
pub mod server;
