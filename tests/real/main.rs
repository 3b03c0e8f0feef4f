//! Tests of the exporter with the real programs that its users have: Prometheus, Alertmanager, promtool,
//! `node_exporter`, a browser, Helm.
//!
//! `scripts/fetch-tools` downloads them. Tests whose programs are missing are reported as ignored, with the reason;
//! with `REQUIRE_TOOLS=1`, which scripts/test sets, they fail instead.

mod alerting;
mod backfill;
mod browser;
mod chart;
mod dashboards;
mod e2e;
mod shards;
mod sources;
#[path = "../support/mod.rs"]
mod support;
mod textfile;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    if std::env::var_os("SERVE_SAMPLE").is_some() {
        dashboards::serve();
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_args();
    let groups = [e2e::run, alerting::run, dashboards::run, browser::run, chart::run];
    let failed = groups.map(|run| run(&arguments).has_failed()).contains(&true);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
