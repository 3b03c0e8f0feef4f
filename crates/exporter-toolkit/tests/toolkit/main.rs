//! Tests of the toolkit through the example `counter`, on all kinds of listeners.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and take real time"
)]

mod hostile;
mod listeners;
mod negotiation;
mod readers;
#[path = "../support/mod.rs"]
mod support;
