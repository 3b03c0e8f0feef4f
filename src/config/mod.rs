//! The configuration: one YAML file, or the environment for a single account.
//!
//! [`Config`] is valid by construction. All problems are reported at once, each with its path
//! (`accounts[1].tenant_id`) and none with a secret. This module reads files and the environment, and uses no network.
//!
//! The modules stand in order of dependency.

mod environment;
mod provided;
mod proxy;
mod certificate;
mod credential;
mod cloud;
mod collections;
mod account;
pub mod exposure;
mod thresholds;
mod prices;
mod flags;
mod settings;
mod source;

pub use account::{Account, trust_anchors};
pub use certificate::{CertificateError, ClientCertificate};
pub use cloud::{Cloud, is_https};
pub use collections::{Collections, SourceChoice};
pub use credential::{ClientCredential, ClientProof, CredentialError};
pub use environment::Environment;
pub use prices::Prices;
pub use settings::{Config, Polled};
pub use source::ConfigSource;
pub use thresholds::Thresholds;

pub use exporter_toolkit::secret::{Secret, SecretError};
pub use exporter_toolkit::yaml::{ConfigError, Problem};

#[cfg(test)]
mod tests;
