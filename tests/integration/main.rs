//! The program from outside: the real binary, and the documents, rules and dashboards that come with it.
//!
//! Nothing here needs more than this repository; what needs a real Prometheus or a browser is in `tests/real/`.

mod alerts;
mod answers;
mod crashes;
mod docs;
mod doctor;
mod export;
mod faults;
mod formats;
mod hostile;
mod imports;
mod listeners;
mod login;
mod program;
mod readme;
mod replicas;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
mod web;
