//! `man`: prints the manual page of the program, or writes a page for each command.

use std::fs;
use std::iter;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use jiff::Timestamp;

use crate::commands::cli::{Cli, ManFlags};
use crate::commands::lifecycle::EXIT_FAILED;
use crate::commands::{output, settings};

/// The exit statuses, in the language of man(7).
const EXIT_STATUS: &str = r#".SH "EXIT STATUS"
.TP
0
Done, or stopped by a signal.
.TP
1
It ran and failed, or the configuration that was to be checked is invalid.
.TP
2
It could not start: flags, configuration, state directory or addresses.
"#;

/// The same for `healthcheck`.
const EXIT_STATUS_OF_HEALTHCHECK: &str = r#".SH "EXIT STATUS"
.TP
0
The exporter answers.
.TP
1
It does not, or not as it should.
.TP
2
The flags are wrong.
"#;

/// What the pages of commands that read a configuration say about variables and files.
const ENVIRONMENT_AND_FILES: &str = r".SH ENVIRONMENT
Without a configuration file, those that begin with AZURE_ and PARTNER_CENTER_ describe the account.
.TP
.BR AZURE_TENANT_ID ,\  AZURE_CLIENT_ID
The tenant and the application.
.TP
.BR AZURE_CLIENT_SECRET ,\  AZURE_CLIENT_CERTIFICATE_PATH ,\  AZURE_FEDERATED_TOKEN_FILE
The credential of the application: the first one that is set.
.TP
.BR PARTNER_CENTER_REFRESH_TOKEN ,\  PARTNER_CENTER_REFRESH_TOKEN_FILE
A refresh token, or a file with one, in the place of a sign-in.
.TP
.B AZURE_AUTHORITY_HOST
The host that selects the cloud.
.TP
.B STATE_DIRECTORY
The state directory, unless the configuration names one.
.TP
.BR HTTPS_PROXY ,\  ALL_PROXY ,\  NO_PROXY
The proxy, and the hosts that are reached without it.
.TP
.BR SSL_CERT_FILE ,\  SSL_CERT_DIR
CA certificates in the place of those of the system.
.SH FILES
.TP
.I /etc/partner\-license\-exporter/config.yml
The configuration of the service.
.TP
.I /var/lib/partner\-license\-exporter
The refresh tokens and the last good rows of the service.
";

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
    let date = date();
    let page = Man::new(command.clone())
        .date(date.as_str())
        .source(concat!("partner-license-exporter ", env!("CARGO_PKG_VERSION")))
        .manual("Prometheus exporters");
    let mut text = Vec::new();
    page.render(&mut text)?;
    let mut text = String::from_utf8(text)?
        // An empty date has no quotes, so that what follows would be in its place.
        .replacen(" 1  \"", " 1 \"\" \"", 1)
        // One paragraph is enough.
        .replace(".br\n\n.br\n", ".sp\n");
    let is_healthcheck = command.get_name() == "healthcheck";
    text += if is_healthcheck { EXIT_STATUS_OF_HEALTHCHECK } else { EXIT_STATUS };
    if command.get_arguments().any(|argument| argument.get_long() == Some("config.file")) {
        text += ENVIRONMENT_AND_FILES;
    }
    text += ".SH \"SEE ALSO\"\n";
    text += if command.has_subcommands() {
        ".BR prometheus (1),\n.BR promtool (1)\n"
    } else {
        ".BR partner\\-license\\-exporter (1)\n"
    };
    Ok((page.get_filename(), text))
}

/// Returns the date of the source, which packagers set as seconds of the epoch; without it, nothing.
fn date() -> String {
    let second = settings::environment("SOURCE_DATE_EPOCH").and_then(|second| second.parse().ok());
    let time = second.and_then(|second| Timestamp::from_second(second).ok());
    time.map_or_else(String::new, |time| time.strftime("%Y-%m-%d").to_string())
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
