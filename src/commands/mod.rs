//! Runs the commands: each file below puts together what its command needs.
//!
//! The modules stand in order of dependency.

mod log_writer;
mod logging;
mod service_manager;
mod lifecycle;
mod output;
mod cli;
mod settings;
mod loopback;
mod new_file;
pub mod history;
mod simulate;
mod serve;
mod check;
mod doctor;
mod fetch;
mod backfill;
mod demo;
mod login;
mod routes;
mod export;
mod healthcheck;
mod completions;
mod man;
mod version;

use std::process::ExitCode;

use clap::Parser as _;

use crate::domain::clock::Clock;

pub use cli::DEMO_ADDRESS;
use cli::{Cli, Command, LogFlags};
use lifecycle::EXIT_CANNOT_START;
use logging::LogFormat;

/// Runs the command that the command line names, and returns the exit status.
pub fn run() -> ExitCode {
    dispatch(Cli::parse()).unwrap_or_else(|error| {
        output::print_error(&error);
        ExitCode::from(EXIT_CANNOT_START)
    })
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    if cli.version {
        return version::run();
    }
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(flags) if flags.config_check => {
            flags.shard.shard()?;
            check::run(&flags.config, &flags.web.access)
        }
        Command::Serve(flags) => block_on(flags.log, serve::run(flags)),
        Command::Check(flags) => check::run(&flags.config, &flags.access),
        Command::Doctor(flags) => block_on(LogFlags::for_people(), doctor::run(flags)),
        Command::Fetch(flags) => block_on(LogFlags::for_people(), fetch::run(flags)),
        Command::Backfill(flags) => block_on(LogFlags::for_people(), backfill::run(flags)),
        Command::Login(flags) => block_on(LogFlags::for_people(), login::run(flags)),
        Command::Demo(flags) => block_on(flags.log, demo::run(flags)),
        Command::Simulate(flags) => block_on(flags.log, simulate::run(flags)),
        Command::Export(flags) => export::run(&flags),
        Command::Healthcheck(flags) => block_on(LogFlags::for_people(), healthcheck::run(flags)),
        Command::Completions(flags) => completions::run(&flags),
        Command::Man(flags) => man::run(&flags),
    }
}

/// Starts logging and the runtime, and runs a command in it.
fn block_on(
    log: LogFlags,
    command: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    logging::start(log.level, log.format, Clock::system())?;
    // One thread runs all tasks, which wait most of the time. What computes long has a thread of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(command);
    // Blocking work that is still under way does not delay the exit.
    runtime.shutdown_background();
    logging::flush();
    match outcome {
        // Programs parse a JSON log to its end, so the reason belongs in it. For people it is printed at the end.
        Err(error) if log.format == LogFormat::Json => {
            tracing::error!(err = format!("{error:#}"), "Cannot start");
            logging::flush();
            Ok(ExitCode::from(EXIT_CANNOT_START))
        }
        outcome => outcome,
    }
}
