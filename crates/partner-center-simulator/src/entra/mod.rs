//! The v2.0 endpoints of Entra ID: people sign in, and an application gets its tokens.
//!
//! It knows nothing of Partner Center.

mod error;
mod request;
mod client;
mod grants;
pub(crate) mod token;
pub(crate) mod device;
pub(crate) mod authorize;

#[cfg(test)]
mod tests;
