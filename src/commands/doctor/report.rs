//! Collects the findings of the doctor, and prints them as lines for people or as one JSON document.

use std::io;
use std::process::ExitCode;

use serde::Serialize;

use crate::commands::cli::ReportFormat;
use crate::commands::lifecycle::EXIT_FAILED;
use crate::commands::output;
use crate::config::Account;
use crate::partner::{FetchError, remedy};

/// The outcome of one step.
#[derive(Serialize)]
#[serde(rename_all = "lowercase", tag = "outcome")]
pub(super) enum Outcome {
    Ok {
        detail: String,
    },
    /// It works, but something about it needs attention.
    Warning {
        cause: String,
        remedy: String,
    },
    Failed {
        cause: String,
        remedy: String,
    },
    Skipped {
        detail: String,
    },
}

/// All findings so far. As JSON, later versions may add steps; names and meanings of existing ones stay.
#[derive(Serialize)]
pub(super) struct Report {
    well: bool,
    findings: Vec<Finding>,
    #[serde(skip)]
    format: ReportFormat,
    /// The account under examination.
    #[serde(skip)]
    account: Option<String>,
    /// The flags for the commands in remedies.
    #[serde(skip)]
    flags: String,
}

#[derive(Serialize)]
struct Finding {
    /// Absent where the step is about the configuration as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    step: &'static str,
    #[serde(flatten)]
    outcome: Outcome,
}

pub(super) fn ok(detail: impl Into<String>) -> Outcome {
    Outcome::Ok { detail: detail.into() }
}

pub(super) fn warning(cause: impl Into<String>, remedy: &str) -> Outcome {
    Outcome::Warning { cause: cause.into(), remedy: remedy.to_owned() }
}

pub(super) fn failed(cause: impl Into<String>, remedy: &str) -> Outcome {
    Outcome::Failed { cause: cause.into(), remedy: remedy.to_owned() }
}

pub(super) fn skipped(detail: impl Into<String>) -> Outcome {
    Outcome::Skipped { detail: detail.into() }
}

impl From<FetchError> for Outcome {
    fn from(error: FetchError) -> Self {
        failed(format!("{}: {error}", error.reason().as_str()), error.remedy())
    }
}

impl Report {
    pub(super) const fn new(format: ReportFormat, flags: String) -> Self {
        Self { well: true, findings: Vec::new(), format, account: None, flags }
    }

    /// Attributes further findings to this account.
    pub(super) fn begin(&mut self, account: &Account) {
        self.account = Some(account.display_name().to_owned());
        self.flags.clone_from(&account.command_flags);
    }

    /// Adds a finding. People read it at once, programs at the end.
    pub(super) fn add(&mut self, step: &'static str, mut outcome: Outcome) -> io::Result<()> {
        if let Outcome::Warning { remedy, .. } | Outcome::Failed { remedy, .. } = &mut outcome {
            *remedy = remedy::with_flags(remedy, &self.flags);
        }
        if self.format == ReportFormat::Text {
            let place = self.account.as_ref().map_or_else(String::new, |account| format!("{account}: "));
            output::print(&match &outcome {
                Outcome::Ok { detail } => format!("ok       {place}{step}: {detail}"),
                Outcome::Warning { cause, remedy } => {
                    format!("WARNING  {place}{step}: {cause}\n         what to do: {remedy}")
                }
                Outcome::Failed { cause, remedy } => {
                    format!("FAILED   {place}{step}: {cause}\n         what to do: {remedy}")
                }
                Outcome::Skipped { detail } => format!("skipped  {place}{step}: {detail}"),
            })?;
        }
        self.well &= !matches!(outcome, Outcome::Failed { .. });
        self.findings.push(Finding { account: self.account.clone(), step, outcome });
        Ok(())
    }

    /// Prints the end of the report, and returns the exit status.
    pub(super) fn finish(self) -> anyhow::Result<ExitCode> {
        let count = |is: fn(&Outcome) -> bool| self.findings.iter().filter(|it| is(&it.outcome)).count();
        let failures = count(|outcome| matches!(outcome, Outcome::Failed { .. }));
        let warnings = count(|outcome| matches!(outcome, Outcome::Warning { .. }));
        output::print(&match (self.format, failures, warnings) {
            (ReportFormat::Json, _, _) => serde_json::to_string_pretty(&self)?,
            (ReportFormat::Text, 0, 0) => "\nAll is well.".to_owned(),
            (ReportFormat::Text, 0, 1) => "\nNo step failed; 1 warning.".to_owned(),
            (ReportFormat::Text, 0, _) => format!("\nNo step failed; {warnings} warnings."),
            (ReportFormat::Text, 1, _) => "\n1 step failed.".to_owned(),
            (ReportFormat::Text, _, _) => format!("\n{failures} steps failed."),
        })?;
        Ok(if self.well { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
    }
}
