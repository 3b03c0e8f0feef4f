//! `export`: writes the bundled files of the repository: dashboards, or rules with their runbooks and a configuration
//! for Alertmanager.
//!
//! `routes` adds account managers to that configuration; where there is one already, nothing else changes. The links of
//! the rules to Grafana and to the runbooks have no host, because nobody knows one here; flags insert it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::bundled::{ALERTS, DASHBOARDS};
use crate::commands::cli::{DEMO_ADDRESS, ExportFlags, Exported};
use crate::commands::history::JOB;
use crate::commands::lifecycle::EXIT_FAILED;
use crate::commands::output;
use crate::commands::routes::Routes;

const RULES: &str = "partner-license.rules.yml";
const ALERTMANAGER: &str = "alertmanager.yml";

/// By how much the demonstration shortens the waiting times of rules: from a day to twenty seconds.
const DEMO_SPEED: u32 = 24 * 60 * 3;

/// Returns a configuration of Prometheus that scrapes `demo` at its default address.
fn demo_prometheus() -> String {
    format!(
        "\
# Prometheus for `partner-license-exporter demo`, with the rules beside this file.

global:
  scrape_interval: 5s
  evaluation_interval: 5s

rule_files:
  - partner-license.rules.yml

scrape_configs:
  - job_name: {JOB}
    honor_labels: true
    static_configs:
      - targets: [\"{DEMO_ADDRESS}\"]
"
    )
}

pub(super) fn run(flags: &ExportFlags) -> anyhow::Result<ExitCode> {
    let config = flags.output.join(ALERTMANAGER);
    let (files, overwrite) = match (flags.what, &flags.routes) {
        (Exported::Dashboards, _) => (dashboards(flags)?, flags.overwrite),
        (Exported::Alerts, Some(list)) if config.exists() && !flags.overwrite => {
            (vec![(ALERTMANAGER, routes_only(flags, list, &config)?)], true)
        }
        (Exported::Alerts, _) => (alerts(flags)?, flags.overwrite),
    };
    let written = write(flags, overwrite, &files).inspect_err(output::print_error);
    Ok(if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// Writes the files below the directory, and prints their paths.
fn write(flags: &ExportFlags, overwrite: bool, files: &[(&str, String)]) -> anyhow::Result<()> {
    let files: Vec<(PathBuf, &String)> =
        files.iter().map(|(path, text)| (flags.output.join(path), text)).collect();
    if !overwrite {
        refuse_to_overwrite(&files)?;
    }
    for (path, text) in files {
        let directory = path.parent().unwrap_or(Path::new(""));
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create the directory {}", directory.display()))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        output::print(&path.display().to_string())?;
    }
    Ok(())
}

fn dashboards(flags: &ExportFlags) -> anyhow::Result<Vec<(&'static str, String)>> {
    for (flag, given) in [
        ("--grafana-url", flags.grafana_url.is_some()),
        ("--runbook-url", flags.runbook_url.is_some()),
        ("--routes", flags.routes.is_some()),
        ("--demo", flags.demo),
    ] {
        anyhow::ensure!(!given, "{flag} is about alerts and has no effect on dashboards");
    }
    Ok(DASHBOARDS.iter().map(|(path, text)| (*path, (*text).to_owned())).collect())
}

/// Returns the existing configuration of Alertmanager with the routes of another list.
fn routes_only(flags: &ExportFlags, list: &Path, config: &Path) -> anyhow::Result<String> {
    let others = flags.demo || flags.grafana_url.is_some() || flags.runbook_url.is_some();
    anyhow::ensure!(
        !others,
        "{} exists, so --routes changes nothing but its routes; write other files without --routes",
        config.display()
    );
    let routes = Routes::read(list)?;
    let text = fs::read_to_string(config).with_context(|| format!("cannot read {}", config.display()))?;
    routes.write_into(&text).with_context(|| format!("cannot write routes into {}", config.display()))
}

fn alerts(flags: &ExportFlags) -> anyhow::Result<Vec<(&'static str, String)>> {
    let routes = flags.routes.as_deref().map(Routes::read).transpose()?;
    let change = |path, text: &'static str| {
        anyhow::Ok(match (path, &routes) {
            (RULES, _) => {
                let linked = link(text, flags.grafana_url.as_deref(), flags.runbook_url.as_deref());
                if flags.demo { shorten(&linked) } else { linked }
            }
            (ALERTMANAGER, Some(routes)) => routes.write_into(text)?,
            _ => text.to_owned(),
        })
    };
    let files = ALERTS.iter().map(|(path, text)| anyhow::Ok((*path, change(*path, text)?)));
    let mut files = files.collect::<anyhow::Result<Vec<_>>>()?;
    if flags.demo {
        files.push(("prometheus.yml", demo_prometheus()));
    }
    Ok(files)
}

/// Refuses to write anything if that would overwrite a file that somebody may have changed.
fn refuse_to_overwrite(files: &[(PathBuf, &String)]) -> anyhow::Result<()> {
    for (path, text) in files {
        match fs::read(path) {
            Ok(existing) if existing == text.as_bytes() => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Ok(_) => anyhow::bail!(
                "{} exists and differs; nothing was written (--overwrite replaces existing files)",
                path.display()
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
    }
    Ok(())
}

/// Inserts the addresses of Grafana and of the runbooks into the rules.
fn link(rules: &str, grafana: Option<&str>, runbooks: Option<&str>) -> String {
    let mut rules = rules.to_owned();
    if let Some(base) = grafana {
        rules = rules.replace("dashboard_url: /d/", &format!("dashboard_url: {base}/d/"));
    }
    if let Some(base) = runbooks {
        rules = rules.replace("runbook_url: docs/runbooks/", &format!("runbook_url: {base}/"));
        // Without a path there is no directory above.
        let above =
            base.rsplit_once('/').map_or(base, |(above, _)| if above.ends_with('/') { base } else { above });
        rules = rules.replace("numbers_url: docs/", &format!("numbers_url: {above}/"));
    }
    rules
}

/// Shortens the waiting times of the rules as if a day lasted twenty seconds.
fn shorten(rules: &str) -> String {
    let mut text = String::from(
        "# For `partner-license-exporter demo`: in `for` and `keep_firing_for` a day is twenty seconds.\n\n",
    );
    for line in rules.lines() {
        let (key, value) = line.split_once(": ").unwrap_or((line, ""));
        let shorter = match (key.trim_start(), humantime::parse_duration(value)) {
            ("for" | "keep_firing_for", Ok(time)) => Some((time / DEMO_SPEED).max(Duration::from_secs(1))),
            ("interval", Ok(_)) => Some(Duration::from_secs(5)),
            _ => None,
        };
        text += &match shorter {
            Some(time) => format!("{key}: {}s\n", time.as_secs()),
            None => format!("{line}\n"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_get_their_hosts_and_nothing_else_changes() {
        let rules = "a: 1\n  dashboard_url: /d/x?a={{ b }}\n  runbook_url: docs/runbooks/X.md\n  numbers_url: docs/concepts/y.md\n# /d/ docs/runbooks\n";
        assert_eq!(link(rules, None, None), rules);
        assert_eq!(
            link(rules, Some("https://grafana.example/sub"), Some("https://wiki.example/runbooks")),
            "a: 1\n  dashboard_url: https://grafana.example/sub/d/x?a={{ b }}\n  \
             runbook_url: https://wiki.example/runbooks/X.md\n  numbers_url: https://wiki.example/concepts/y.md\n\
             # /d/ docs/runbooks\n"
        );
        assert!(
            link(rules, None, Some("https://x.example"))
                .contains("numbers_url: https://x.example/concepts/y.md\n")
        );
    }

    #[test]
    fn the_demo_shortens_a_day_to_twenty_seconds_and_no_wait_below_a_second() {
        let rules = "interval: 2m\nfor: 1d\nkeep_firing_for: 2d\nfor: 15m\nfor: 1h\nexpr: x[1d]\n# for: 1d, as it is\n";
        let (_, shortened) =
            shorten(rules).split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert_eq!(
            shortened,
            "interval: 5s\nfor: 20s\nkeep_firing_for: 40s\nfor: 1s\nfor: 1s\nexpr: x[1d]\n# for: 1d, as it is\n"
        );
    }
}
