//! `completions`: prints the script by which a shell completes commands and flags.

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::commands::cli::{Cli, CompletionsFlags};
use crate::commands::output;

pub(super) fn run(flags: &CompletionsFlags) -> anyhow::Result<ExitCode> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut command, name, &mut script);
    // clap_complete 4.6 takes the hyphens of the program's name for subcommands in half of its script for bash, which then
    // completes no flags. What it writes in the other half is right.
    let script = String::from_utf8(script)?;
    let script = script.replace("partner__subcmd__license__subcmd__exporter", "partner__license__exporter");
    output::print_document(&script)?;
    Ok(ExitCode::SUCCESS)
}
