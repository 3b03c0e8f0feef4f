//! The status page at `/`, for people: which accounts work, since when, and what they report.
//!
//! Rendered on the server, without script or outside asset. Everything that comes from outside is escaped.

use std::fmt::{Display, Write};
use std::time::Duration;

use jiff::Timestamp;

use crate::metrics::{BUILD, Fleet};
use crate::status::{AccountStatus, Ledger};
use crate::usage::LicenseUsage;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8886; --bad: #b3261e; --good: #1b6e3c; }
@media (prefers-color-scheme: dark) { :root { --bad: #ffb4ab; --good: #7fd69b; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
nav a { margin-right: 1rem; }
table { border-collapse: collapse; width: 100%; } .scroll { overflow-x: auto; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.bad { color: var(--bad); font-weight: 600; } .good { color: var(--good); font-weight: 600; }
footer { margin-top: 2rem; font-size: .85rem; }
";

/// The page as it is at `now`.
pub(super) fn render(fleet: &Fleet, telemetry_path: &str, now: Timestamp) -> String {
    let mut out = String::new();
    let accounts: Vec<AccountStatus> = fleet.accounts.iter().map(Ledger::read).collect();
    add(
        &mut out,
        format_args!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Partner license exporter</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>Partner license exporter</h1>\n\
         <nav aria-label=\"Endpoints\"><a href=\"{path}\">Metrics</a> <a href=\"/-/healthy\">Health</a> \
         <a href=\"/-/ready\">Readiness</a></nav></header>\n<main>\n",
            path = Escaped(telemetry_path),
        ),
    );
    for account in &accounts {
        section(&mut out, fleet, account, now);
    }
    let [(_, version), (_, revision), ..] = BUILD;
    add(
        &mut out,
        format_args!(
            "</main>\n<footer>Version {version}, revision {revision:.12}. Times are UTC. This page shows {at}.</footer>\n\
         </body>\n</html>\n",
            at = moment(now),
        ),
    );
    out
}

fn section(out: &mut String, fleet: &Fleet, account: &AccountStatus, now: Timestamp) {
    let name = account.name.as_ref().map_or("Account", |name| name.as_str());
    add(out, format_args!("<section>\n<h2>{}</h2>\n", Escaped(name)));
    let since = account.since.map(|since| format!(" since {}", moment(since))).unwrap_or_default();
    match &account.failure {
        Some(failure) => add(
            out,
            format_args!(
                "<p class=\"bad\" role=\"status\">Polling fails{since}: {reason}</p>\n<p>{text}</p>\n<p>What to do: {remedy}.</p>\n",
                reason = failure.reason.as_str(),
                text = Escaped(&failure.text),
                remedy = Escaped(failure.remedy),
            ),
        ),
        None if account.tried() => {
            add(out, format_args!("<p class=\"good\" role=\"status\">Polling works{since}.</p>\n"));
        }
        None if account.visible(now, fleet.stale_after).is_some() => {
            add(
                out,
                format_args!("<p role=\"status\">Not polled since the start; the rows are of before.</p>\n"),
            );
        }
        None => add(out, format_args!("<p role=\"status\">Not polled yet.</p>\n")),
    }
    let ago = |at: Timestamp| format!("{} ago", length(now, at));
    let lasts = [
        ("Last poll", account.last_at.map(ago)),
        ("Last good poll", account.good.as_ref().map(|good| ago(good.at))),
        ("Next poll", account.next_at.map(|at| format!("in {}", length(at, now)))),
    ];
    let lasts: Vec<String> =
        lasts.into_iter().filter_map(|(what, when)| Some(format!("{what}: {}", when?))).collect();
    if !lasts.is_empty() {
        add(out, format_args!("<p>{}.</p>\n", lasts.join(" · ")));
    }
    match account.visible(now, fleet.stale_after) {
        Some(good) if !good.report.rows().is_empty() => table(out, fleet, good.report.rows()),
        Some(_) => add(out, format_args!("<p>The last good collection was empty.</p>\n")),
        None if account.good.is_some() => {
            add(
                out,
                format_args!("<p>The last good rows are older than stale_after and no longer shown.</p>\n"),
            );
        }
        None => {}
    }
    add(out, format_args!("</section>\n"));
}

/// The rows, lowest first.
fn table(out: &mut String, fleet: &Fleet, rows: &[LicenseUsage]) {
    let mut rows: Vec<&LicenseUsage> = rows.iter().collect();
    rows.sort_by(|a, b| a.percent.get().total_cmp(&b.percent.get()));
    add(
        out,
        format_args!(
            "<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">Service</th><th scope=\"col\">Workload</th>\
         <th scope=\"col\">Channel</th><th scope=\"col\" class=\"number\">Usage</th>\
         <th scope=\"col\" class=\"number\">Threshold</th><th scope=\"col\">Data of</th></tr></thead>\n<tbody>\n",
        ),
    );
    for row in rows {
        let threshold = fleet.thresholds.applying_to(row);
        let low = threshold.is_some_and(|threshold| row.percent.get() < threshold);
        add(
            out,
            format_args!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"number{}\">{} %{}</td><td class=\"number\">{}</td><td>{}</td></tr>\n",
                Escaped(&row.service),
                Escaped(&row.workload),
                Escaped(&row.channel),
                if low { " bad" } else { "" },
                row.percent.get(),
                if low { " low" } else { "" },
                threshold.map_or_else(|| "muted".to_owned(), |threshold| format!("{threshold} %")),
                row.processed_at.strftime("%Y-%m-%d"),
            ),
        );
    }
    add(out, format_args!("</tbody>\n</table></div>\n"));
}

fn moment(at: Timestamp) -> impl Display {
    at.strftime("%Y-%m-%d %H:%M:%S")
}

/// From `earlier` to `later`, in whole seconds.
fn length(later: Timestamp, earlier: Timestamp) -> impl Display {
    let seconds = later.duration_since(earlier).as_secs();
    humantime::format_duration(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn add(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes everything");
}

/// Text, safe inside elements and quoted attributes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
