//! The program: everything else is in the library.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// The allocator, which returns to the system what a poll has freed; that of glibc keeps more and more of it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    partner_license_exporter::commands::run()
}
