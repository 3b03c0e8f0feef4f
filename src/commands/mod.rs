//! What each command does: the composition root, where everything is put together.

mod check;
mod demo;
mod serve;
mod simulate;
mod version;

use std::process::ExitCode;

use crate::cli::{Cli, Command, LogFlags};
use crate::clock::Clock;
use crate::logging;

/// Runs the command that the command line asks for.
///
/// # Errors
/// If it cannot start.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if cli.version {
        return Ok(version::run());
    }
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(flags) if flags.config_check => Ok(check::run(&flags.config, &flags.web.access)),
        Command::Serve(flags) => block_on(flags.log, serve::run(flags)),
        Command::Check(flags) => Ok(check::run(&flags.config, &flags.access)),
        Command::Demo(flags) => block_on(flags.log, demo::run(flags)),
        Command::Simulate(flags) => block_on(flags.log, simulate::run(flags)),
    }
}

/// Starts logging and the runtime, and runs a command in it.
fn block_on(
    log: LogFlags,
    command: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    logging::start(log.level, log.format, Clock::system());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(command);
    // What was not finished in time is not waited for.
    runtime.shutdown_background();
    outcome
}

/// The process' environment, where an empty variable counts as absent.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
