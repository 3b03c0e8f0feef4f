//! `check`: lists every problem of the configuration, of the CA certificates, and of the web configuration file if one
//! is named, without network.

use std::process::ExitCode;

use crate::commands::cli::{AccessFlag, ConfigFlag};
use crate::commands::lifecycle::EXIT_FAILED;
use crate::commands::{output, settings};
use crate::domain::clock::Clock;
use crate::partner::TrustAnchors;

pub(super) fn run(flag: &ConfigFlag, access: &AccessFlag) -> anyhow::Result<ExitCode> {
    let source = settings::source(flag);
    let mut code = ExitCode::SUCCESS;
    let mut fail = |error: anyhow::Error| {
        output::print_error(&error);
        code = ExitCode::from(EXIT_FAILED);
    };
    match source.examine(&settings::environment) {
        Ok(config) => {
            config.warnings(Clock::system().now()).iter().for_each(output::print_warning);
            let (anchors, mut accounts) = (TrustAnchors::default(), config.accounts.iter());
            match accounts.try_for_each(|account| anchors.of(account).map(drop)) {
                Ok(()) => {
                    let plural = if config.accounts.len() == 1 { "" } else { "s" };
                    output::print(&format!("{source}: valid, {} account{plural}", config.accounts.len()))?;
                }
                Err(error) => fail(error.into()),
            }
        }
        Err(error) => fail(error.into()),
    }
    match settings::web_config(access) {
        Ok(Some(found)) => {
            found.warnings().iter().for_each(output::print_warning);
            let tls = if found.has_tls() { "with TLS" } else { "without TLS" };
            output::print(&format!("{}: valid, {tls}", access.web_config_file))?;
        }
        Ok(None) => {}
        Err(error) => fail(error.into()),
    }
    Ok(code)
}
