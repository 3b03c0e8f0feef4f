//! Input: the snapshot file of the last good rows, with any content.

#![no_main]

use libfuzzer_sys::fuzz_target;
use partner_license_exporter::state::snapshot::invariants;

fuzz_target!(|content: &[u8]| invariants::file(content));
