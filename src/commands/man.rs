//! `man`: prints the manual page of the program, or writes a page for each command.

use std::fs;
use std::iter;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::commands::cli::{Cli, ManFlags};
use crate::commands::lifecycle::EXIT_FAILED;
use crate::commands::output;

/// What every page says after the flags, in the language of man(7).
const LAST_SECTIONS: &str = r#".SH "EXIT STATUS"
.TP
0
Done, or stopped by a signal.
.TP
1
It ran and failed, or the configuration that was to be checked is invalid.
.TP
2
It could not start: flags, configuration, state directory or addresses.
.SH FILES
.TP
.I /etc/partner\-license\-exporter/config.yml
The configuration of the service.
.TP
.I /var/lib/partner\-license\-exporter
The refresh tokens and the last good rows of the service.
"#;

pub(super) fn run(flags: &ManFlags) -> anyhow::Result<ExitCode> {
    let mut program = Cli::command().disable_help_subcommand(true);
    // Gives the subcommands the names of their pages.
    program.build();
    let pages: Vec<(String, String)> =
        iter::once(&program).chain(program.get_subcommands()).map(page).collect::<anyhow::Result<_>>()?;
    let Some(directory) = &flags.output else {
        output::print_document(&pages[0].1)?;
        return Ok(ExitCode::SUCCESS);
    };
    let written = write(directory, &pages).inspect_err(output::print_error);
    Ok(if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// Returns the file name and the text of a command's page.
fn page(command: &Command) -> anyhow::Result<(String, String)> {
    let page = Man::new(command.clone())
        .source(concat!("partner-license-exporter ", env!("CARGO_PKG_VERSION")))
        .manual("Prometheus exporters");
    let mut text = Vec::new();
    page.render(&mut text)?;
    // The title has an empty date, and without its quotes what follows would be in its place.
    let text = String::from_utf8(text)?.replacen(" 1  \"", " 1 \"\" \"", 1);
    Ok((page.get_filename(), text + LAST_SECTIONS))
}

/// Writes the pages into the directory, and prints their paths.
fn write(directory: &Path, pages: &[(String, String)]) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create the directory {}", directory.display()))?;
    for (name, page) in pages {
        let path = directory.join(name);
        fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
        output::print(&path.display().to_string())?;
    }
    Ok(())
}
