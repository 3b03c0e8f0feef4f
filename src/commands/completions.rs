//! `completions`: prints the script by which a shell completes commands and flags.

use std::process::ExitCode;

use clap::builder::PossibleValue;
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

/// Corrects what `clap_complete` 4.6 writes for a program whose name has hyphens and whose flags have dots, and completes
/// what it leaves out.
fn repair(shell: Shell, command: &Command, script: &str) -> String {
    match shell {
        // Half of the script takes the hyphens for subcommands, so that no flag is completed. And of `--flag=value` it
        // would complete no value, since bash takes `=` for a word.
        Shell::Bash => {
            let previous = "    prev=\"$3\"\n";
            let flag = "    if [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD - 2]}; fi\n";
            script
                .replace("partner__subcmd__license__subcmd__exporter", "partner__license__exporter")
                .replace(previous, &format!("{previous}{flag}"))
        }
        // fish's argparse refuses flags with dots, so that nothing is completed. This finds the subcommand without it. The
        // words that a subcommand takes are left out.
        Shell::Fish => {
            let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            let parse = "argparse -s (__fish_partner_license_exporter_global_optspecs) -- $cmd 2>/dev/null\n    or return\n";
            let find = format!("set -l argv (string match --regex '^(?:{})$' -- $cmd)\n", names.join("|"));
            script.replace(parse, &find) + &words_for_fish(command)
        }
        _ => script.to_owned(),
    }
}

/// Returns a line for each subcommand that takes one of several words.
fn words_for_fish(command: &Command) -> String {
    let positionals = command.get_subcommands().flat_map(|subcommand| {
        subcommand
            .get_positionals()
            .map(|positional| (subcommand.get_name(), positional.get_possible_values()))
    });
    let lines = positionals.filter(|(_, values)| !values.is_empty()).map(|(subcommand, values)| {
        let values: Vec<&str> = values.iter().map(PossibleValue::get_name).collect();
        let is_used = format!("__fish_partner_license_exporter_using_subcommand {subcommand}");
        format!("complete -c {} -n \"{is_used}\" -f -a \"{}\"\n", command.get_name(), values.join(" "))
    });
    lines.collect::<Vec<_>>().concat()
}
