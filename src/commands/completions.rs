//! `completions`: prints the script by which a shell completes commands and flags.

use std::process::ExitCode;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use crate::commands::cli::{Cli, CompletionsFlags};
use crate::commands::output;

pub(super) fn run(flags: &CompletionsFlags) -> anyhow::Result<ExitCode> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut command, name, &mut script);
    output::print_document(&repair(flags.shell, &command, &String::from_utf8(script)?))?;
    Ok(ExitCode::SUCCESS)
}

/// Corrects what `clap_complete` 4.6 writes for a program whose name has hyphens and whose flags have dots.
fn repair(shell: Shell, command: &Command, script: &str) -> String {
    match shell {
        // Half of the script takes the hyphens for subcommands, so that no flag is completed.
        Shell::Bash => {
            script.replace("partner__subcmd__license__subcmd__exporter", "partner__license__exporter")
        }
        // fish's argparse refuses flags with dots, so that nothing is completed. This finds the subcommand without it.
        Shell::Fish => {
            let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            let parse = "argparse -s (__fish_partner_license_exporter_global_optspecs) -- $cmd 2>/dev/null\n    or return\n";
            let find = format!("set -l argv (string match --regex '^(?:{})$' -- $cmd)\n", names.join("|"));
            script.replace(parse, &find)
        }
        _ => script.to_owned(),
    }
}
