//! Tests of the real program, and of the documents, rules and dashboards that belong to it.
//!
//! These tests do not need a Prometheus server or a browser; those that do are in `tests/real/`.

mod alerts;
mod answers;
mod backfill;
mod collections;
mod crashes;
mod docs;
mod doctor;
mod export;
mod faults;
mod fetch;
mod formats;
mod guide;
mod hanging_files;
mod hostile;
mod imports;
mod listeners;
mod login;
mod obstacles;
mod packagers;
mod program;
mod readme;
mod replicas;
mod reverse_proxy;
mod secrets;
mod service_manager;
mod state_directory;
#[path = "../support/mod.rs"]
mod support;
mod web;
