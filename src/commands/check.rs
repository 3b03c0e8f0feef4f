//! `check`: is the configuration valid, and if not, what is wrong with it? No network.

use std::process::ExitCode;

use crate::cli::ConfigFlag;
use crate::config::Source;
use crate::lifecycle::EXIT_FAILED;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the findings are what the user asked for")]
pub(super) fn run(flag: &ConfigFlag) -> ExitCode {
    let source = source(flag);
    match source.load(&super::environment) {
        Ok(config) => {
            for warning in config.warnings() {
                eprintln!("warning: {warning}");
            }
            let plural = if config.accounts.len() == 1 { "" } else { "s" };
            println!("{source}: valid, {} account{plural}", config.accounts.len());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {:#}", anyhow::Error::new(error));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// The file, if one is named, else the environment.
pub(super) fn source(flag: &ConfigFlag) -> Source {
    flag.config_file.clone().map_or(Source::Environment, Source::File)
}
