#![doc = include_str!("../README.md")]

// The modules are in order of dependency: each one names only modules above it.
pub mod files;
pub mod plain_text;
pub mod shell;
pub mod yaml;
pub mod secret;
pub mod listen;
pub mod negotiation;
pub mod cross_site;
pub mod peer;
pub mod web_config;
pub mod server;
