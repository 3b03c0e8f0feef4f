//! `check`: is the configuration valid, and if not, what is wrong with it? No network. The file of
//! `--web.config.file` is checked too, if one is named.

use std::process::ExitCode;

use crate::commands::cli::{AccessFlag, ConfigFlag};
use crate::commands::lifecycle::EXIT_FAILED;
use crate::config::{ConfigError, Source};
use crate::domain::clock::Clock;

#[expect(clippy::print_stderr, reason = "the findings are what the user asked for")]
pub(super) fn run(flag: &ConfigFlag, access: &AccessFlag) -> anyhow::Result<ExitCode> {
    let source = source(flag);
    let mut code = ExitCode::SUCCESS;
    let mut fail = |error: ConfigError| {
        eprintln!("error: {:#}", anyhow::Error::new(error));
        code = ExitCode::from(EXIT_FAILED);
    };
    match source.load(&super::environment) {
        Ok(config) => {
            for warning in config.warnings(Clock::system().now()) {
                eprintln!("warning: {warning}");
            }
            let plural = if config.accounts.len() == 1 { "" } else { "s" };
            super::say(&format!("{source}: valid, {} account{plural}", config.accounts.len()))?;
        }
        Err(error) => fail(error),
    }
    match super::serve::web_config(access) {
        Ok(Some(found)) => {
            for warning in found.warnings() {
                eprintln!("warning: {warning}");
            }
            let tls = if found.has_tls() { "with TLS" } else { "without TLS" };
            super::say(&format!("{}: valid, {tls}", access.web_config_file))?;
        }
        Ok(None) => {}
        Err(error) => fail(error),
    }
    Ok(code)
}

/// The file, if one is named, else the environment.
pub(super) fn source(flag: &ConfigFlag) -> Source {
    flag.config_file.clone().map_or(Source::Environment, Source::File)
}
