//! The program: everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    partner_license_exporter::commands::run()
}
