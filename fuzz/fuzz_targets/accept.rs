//! The headers `Accept` and `Accept-Encoding`, a line for each.

#![no_main]

use libfuzzer_sys::fuzz_target;
use exporter_toolkit::negotiation::invariants;

fuzz_target!(|headers: &[u8]| invariants::accept(headers));
