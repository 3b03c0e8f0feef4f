//! Input: the values of `Accept` and `Accept-Encoding`, on one line each.

#![no_main]

use libfuzzer_sys::fuzz_target;
use exporter_toolkit::negotiation::invariants;

fuzz_target!(|headers: &[u8]| invariants::accept(headers));
