//! Input: the headers of a response; `Retry-After` and `Date` are read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use partner_license_exporter::partner::invariants;

fuzz_target!(|headers: &[u8]| invariants::retry_after(headers));
