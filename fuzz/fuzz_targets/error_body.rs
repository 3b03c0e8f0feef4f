//! The body of an answer that is no success, of the API and of the sign-in service.

#![no_main]

use libfuzzer_sys::fuzz_target;
use partner_license_exporter::partner::invariants;

fuzz_target!(|body: &[u8]| invariants::error_body(body));
