//! `--version`, in the layout of the Prometheus tools.

use std::process::ExitCode;

use crate::metrics::BUILD;

#[expect(clippy::print_stdout, reason = "this is what the user asked for")]
pub(super) fn run() -> ExitCode {
    let [(_, version), (_, revision), (_, branch), (_, rustversion)] = BUILD;
    println!("partner-license-exporter, version {version} (branch: {branch}, revision: {revision})");
    println!("  rust version:     {rustversion}");
    println!("  platform:         {}", env!("BUILD_TARGET"));
    ExitCode::SUCCESS
}
