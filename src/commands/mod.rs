//! What each command does: the composition root, where everything is put together.

mod check;
mod demo;
mod serve;
mod simulate;
mod version;

use std::io::Write as _;
use std::process::ExitCode;

use crate::cli::{Cli, Command, LogFlags};
use crate::clock::Clock;
use crate::lifecycle::EXIT_CANNOT_START;
use crate::logging::{self, LogFormat};

/// Runs the command that the command line asks for.
///
/// # Errors
/// If it cannot start.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if cli.version {
        return version::run();
    }
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(flags) if flags.config_check => check::run(&flags.config, &flags.web.access),
        Command::Serve(flags) => block_on(flags.log, serve::run(flags)),
        Command::Check(flags) => check::run(&flags.config, &flags.access),
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
    match outcome {
        // Machines read this log to its end, so the reason belongs into it. For people main prints it.
        Err(error) if log.format == LogFormat::Json => {
            tracing::error!(err = format!("{error:#}"), "Cannot start");
            Ok(ExitCode::from(EXIT_CANNOT_START))
        }
        outcome => outcome,
    }
}

/// Writes what the user asked for. Whoever stopped reading, such as `head`, has all they wanted.
///
/// # Errors
/// If it cannot be written for another reason, such as a full disk.
fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// The process' environment, where an empty variable counts as absent.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
