//! What each command does: the composition root, where everything is put together.

pub mod lifecycle;
pub mod logging;
pub mod cli;
pub mod history;

mod check;
mod demo;
mod doctor;
mod export;
mod login;
mod loopback;
mod serve;
mod simulate;
mod version;

use std::io::Write as _;
use std::process::ExitCode;

use self::cli::{Cli, Command, LogFlags};
use self::lifecycle::EXIT_CANNOT_START;
use self::logging::LogFormat;
use crate::config::{Account, Config};
use crate::domain::clock::Clock;

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
        Command::Doctor(flags) => block_on(LogFlags::for_people(), doctor::run(flags)),
        Command::Login(flags) => block_on(LogFlags::for_people(), login::run(flags)),
        Command::Demo(flags) => block_on(flags.log, demo::run(flags)),
        Command::Simulate(flags) => block_on(flags.log, simulate::run(flags)),
        Command::Export(flags) => export::run(&flags),
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

/// The account that a command is about: the only one, or the one that is named.
///
/// # Errors
/// If it is not clear which.
fn choose<'a>(config: &'a Config, name: Option<&str>) -> anyhow::Result<&'a Account> {
    let names: Vec<_> = config.accounts.iter().map(Account::display_name).collect();
    match (&config.accounts[..], name) {
        ([account], None) => Ok(account),
        (accounts, Some(name)) => accounts
            .iter()
            .find(|account| account.display_name() == name)
            .ok_or_else(|| anyhow::anyhow!("there is no account {name:?}; known: {}", names.join(", "))),
        (_, None) => {
            anyhow::bail!("there are several accounts; choose one with --account: {}", names.join(", "))
        }
    }
}

/// The process' environment, where an empty variable counts as absent.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
