//! Input: the values of `Accept` and `Accept-Encoding`, on one line each.

#![no_main]

use exporter_toolkit::negotiation::invariants;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|headers: &[u8]| invariants::accept(headers));
