//! Input: the body of a successful response of the successor.

#![no_main]

use libfuzzer_sys::fuzz_target;
use partner_license_exporter::partner::invariants;

fuzz_target!(|body: &[u8]| invariants::commercial(body));
