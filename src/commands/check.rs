//! `check`: lists every problem of the configuration, and of the web configuration file if one is named, without
//! network.

use std::process::ExitCode;

use crate::commands::cli::{AccessFlag, ConfigFlag};
use crate::commands::lifecycle::EXIT_FAILED;
use crate::commands::{output, settings};
use crate::config::ConfigError;
use crate::domain::clock::Clock;

pub(super) fn run(flag: &ConfigFlag, access: &AccessFlag) -> anyhow::Result<ExitCode> {
    let source = settings::source(flag);
    let mut code = ExitCode::SUCCESS;
    let mut fail = |error: ConfigError| {
        output::print_error(&error.into());
        code = ExitCode::from(EXIT_FAILED);
    };
    match source.examine(&settings::environment) {
        Ok(config) => {
            config.warnings(Clock::system().now()).iter().for_each(output::print_warning);
            let plural = if config.accounts.len() == 1 { "" } else { "s" };
            output::print(&format!("{source}: valid, {} account{plural}", config.accounts.len()))?;
        }
        Err(error) => fail(error),
    }
    match settings::web_config(access) {
        Ok(Some(found)) => {
            found.warnings().iter().for_each(output::print_warning);
            let tls = if found.has_tls() { "with TLS" } else { "without TLS" };
            output::print(&format!("{}: valid, {tls}", access.web_config_file))?;
        }
        Ok(None) => {}
        Err(error) => fail(error),
    }
    Ok(code)
}
