//! Input: the body of an error response, from the API or the sign-in service.

#![no_main]

use libfuzzer_sys::fuzz_target;
use partner_license_exporter::partner::invariants;

fuzz_target!(|body: &[u8]| invariants::error_body(body));
