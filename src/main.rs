//! Parses the command line, runs the command in the library, and returns the exit status.

use std::process::ExitCode;

use clap::Parser;
use partner_license_exporter::commands;
use partner_license_exporter::commands::cli::Cli;
use partner_license_exporter::commands::lifecycle::EXIT_CANNOT_START;

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the user learns why the program could not start")]
            {
                eprintln!("error: {error:#}");
            }
            ExitCode::from(EXIT_CANNOT_START)
        }
    }
}
