//! What the program is about: rows, accounts, failures, and when to poll. It does no input or output.
//!
//! The modules stand in order of dependency.

pub mod account;
pub mod clock;
pub mod usage;
pub mod failure;
pub mod schedule;
pub mod status;

/// The former name of [`failure::FailureReason`], until every module uses the new one.
pub mod reason {
    pub use super::failure::FailureReason as Reason;
}
