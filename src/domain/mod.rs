//! What the program is about: rows, accounts, failures, and when to poll. It does no input or output.
//!
//! The modules stand in order of dependency.

pub mod account;
pub mod text;
pub mod clock;
pub mod row;
pub mod figures;
pub mod money;
pub mod usage;
pub mod deployment;
pub mod products;
pub mod customers;
pub mod collection;
pub mod failure;
pub mod schedule;
pub mod shard;
pub mod polled;
pub mod status;
