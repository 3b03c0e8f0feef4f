#![doc = include_str!("../README.md")]

// In the order of dependency: a module names only modules above it.
pub mod yaml;
pub mod secret;
pub mod listen;
pub mod negotiation;
pub mod web_config;
pub mod server;
