//! `--version`: prints the build in the layout of the Prometheus tools.

use std::process::ExitCode;

use crate::commands::output;
use crate::metrics::BUILD;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    let [(_, version), (_, revision), (_, branch), (_, rustversion)] = BUILD;
    output::print(&format!(
        "partner-license-exporter, version {version} (branch: {branch}, revision: {revision})\n  \
         rust version:     {rustversion}\n  platform:         {}",
        env!("BUILD_TARGET")
    ))?;
    Ok(ExitCode::SUCCESS)
}
