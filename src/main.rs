//! The program: arguments in, exit status out. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use partner_license_exporter::commands;
use partner_license_exporter::commands::cli::Cli;
use partner_license_exporter::commands::lifecycle::EXIT_CANNOT_START;

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            #[expect(
                clippy::print_stderr,
                reason = "the one place that tells why the program could not start"
            )]
            {
                eprintln!("error: {error:#}");
            }
            ExitCode::from(EXIT_CANNOT_START)
        }
    }
}
