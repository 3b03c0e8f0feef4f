//! What the program is about: rows, accounts, failures, and when to poll. No input, no output.

pub mod account;
pub mod clock;
pub mod reason;
pub mod schedule;
pub mod usage;
pub mod status;
