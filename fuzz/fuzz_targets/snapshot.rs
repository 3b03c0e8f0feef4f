//! The file of last good rows, as anybody may have left it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use partner_license_exporter::state::snapshot::invariants;

fuzz_target!(|content: &[u8]| invariants::file(content));
