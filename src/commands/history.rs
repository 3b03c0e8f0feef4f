//! Generates a history for demonstrations from the text of one scrape, for `promtool tsdb create-blocks-from openmetrics`.
//!
//! The history contains exactly the series of the scrape, extended into the past, and the alerts that Prometheus would
//! have recorded: low or dropped usage, stale data, an outage and a failed reload. It knows the exporter only from the
//! text of the scrape, and the same scrape always gives the same history.

use std::io::{self, Write};

/// The label `job` of every series.
pub const JOB: &str = "partner-license";

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
/// The days of history of the series that do not belong to a usage row.
const OTHER_DAYS: f64 = 7.25;
/// The time between two samples: Prometheus' lookback, which also divides the step of a graph of a week or a month.
const STEP: f64 = 300.0;
/// The age from which the figures of a row count as stale.
const STALE_AGE: f64 = 16.0 * DAY;

/// What the history is generated from, and how far back it goes.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    /// The scrape, in Prometheus' text format.
    pub scrape: &'a str,
    /// The targets of the scrape; all have the series of the usage rows, and only the first has the others.
    pub instances: &'a [&'a str],
    /// The end of the history, in seconds since the Unix epoch; Prometheus must start later.
    pub end: f64,
    /// The days of history of usage rows and alerts.
    pub days: u32,
}

/// A line of the scrape, with its labels as written.
#[derive(Clone, Copy)]
struct Series<'a> {
    name: &'a str,
    labels: &'a str,
    current: f64,
}

/// The current state of a usage row, and its trend.
struct UsageRow<'a> {
    labels: &'a str,
    percent: f64,
    processed: f64,
    /// Absent from muted rows.
    threshold: Option<f64>,
    /// The average change per day, in percentage points.
    daily_change: f64,
    /// How many days ago the row dropped, if it is low.
    dropped: Option<f64>,
    is_stale: bool,
}

/// The time during which something was wrong.
struct Period {
    from: f64,
    to: f64,
}

impl Period {
    fn contains(&self, t: f64) -> bool {
        (self.from..self.to).contains(&t)
    }
}

impl History<'_> {
    /// Writes the whole history as OpenMetrics.
    ///
    /// # Errors
    /// Fails only if writing to `out` fails.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let exposed: Vec<Series<'_>> = self.scrape.lines().filter_map(Series::parse).collect();
        let rows = self.rows(&exposed);
        let interval = exposed.iter().find(|series| series.name == "partner_license_poll_interval_seconds");
        let interval = interval.map_or(DAY, |series| series.current);
        for series in &exposed {
            // Only the series of a row have its labels.
            let row = rows.iter().find(|row| row.labels == series.labels);
            let (targets, days) = match row {
                Some(_) => (self.instances.len(), f64::from(self.days)),
                None => (1, OTHER_DAYS),
            };
            for instance in self.instances.iter().take(targets) {
                let labels = join(&target(instance), series.labels);
                let from = self.end - days * DAY;
                self.samples(out, series.name, &labels, (from, self.end), |t| match row {
                    Some(row) => row.value_at(series, t, self.end),
                    None => self.value_at(series, interval, t),
                })?;
            }
        }
        self.alerts(out, &rows, &exposed)?;
        out.write_all(b"# EOF\n")
    }

    /// Writes the samples of a series, one per step and one at its end.
    fn samples(
        &self,
        out: &mut impl Write,
        name: &str,
        labels: &str,
        (from, to): (f64, f64),
        value: impl Fn(f64) -> f64,
    ) -> io::Result<()> {
        let to = to.min(self.end);
        let mut at = (from / STEP).ceil() * STEP;
        while at < to {
            writeln!(out, "{name}{{{labels}}} {} {at}", value(at))?;
            at += STEP;
        }
        if from <= to { writeln!(out, "{name}{{{labels}}} {} {to}", value(to)) } else { Ok(()) }
    }

    fn rows<'a>(&self, exposed: &[Series<'a>]) -> Vec<UsageRow<'a>> {
        let named = |name: &'static str| exposed.iter().filter(move |series| series.name == name);
        let of =
            |name, labels| named(name).find(|series| series.labels == labels).map(|series| series.current);
        let usage = named("partner_license_usage_percent");
        let row = |(n, series): (u32, &Series<'a>)| {
            let threshold = of("partner_license_usage_threshold_percent", series.labels);
            let processed = of("partner_license_usage_processed_timestamp_seconds", series.labels)?;
            let is_low = threshold.is_some_and(|threshold| series.current < threshold);
            let change = f64::from(n * 7 % 11) * 0.15 - 0.75;
            Some(UsageRow {
                labels: series.labels,
                percent: series.current,
                processed,
                threshold,
                daily_change: if is_low { -change.abs() } else { change },
                dropped: is_low.then(|| 10.0 + 2.0 * f64::from(n % 5)),
                is_stale: self.end - processed > STALE_AGE,
            })
        };
        (0..).zip(usage).filter_map(row).collect()
    }

    /// The value at `t` of a series that does not belong to a row.
    fn value_at(&self, series: &Series<'_>, interval: f64, t: f64) -> f64 {
        let days = (t - (self.end - OTHER_DAYS * DAY)) / DAY;
        let (outage, rejected) = (self.outage(), days.floor());
        let down = t.clamp(outage.from, outage.to) - outage.from;
        // A failed poll is retried after half an interval, or after an hour if that is sooner.
        let failed = (down / HOUR.min(interval / 2.0)).floor();
        let polls = ((days * DAY - down) / interval).floor();
        let last_poll = (t / interval).floor() * interval;
        let last_success = if outage.contains(t) { outage.from } else { last_poll };
        let label = |name| series.label(name);
        match series.name {
            "partner_license_up" => f64::from(u8::from(!outage.contains(t))),
            "partner_license_last_scrape_timestamp_seconds" => last_poll,
            "partner_license_last_success_timestamp_seconds"
            | "partner_license_refresh_token_issued_timestamp_seconds" => last_success,
            "partner_license_refresh_token_expiry_timestamp_seconds" => last_success + 90.0 * DAY,
            "partner_license_access_token_expiry_timestamp_seconds" => last_success + HOUR,
            "partner_license_next_scrape_timestamp_seconds" => last_poll + interval,
            "partner_license_scrape_duration_seconds" => 0.4 + 0.1 * (t / HOUR).sin(),
            "partner_license_scrapes_total" => polls + failed,
            "partner_license_scrape_failures_total" => match label("reason") {
                Some("network") => failed,
                _ => 0.0,
            },
            "partner_license_api_retries_total" => 2.0 * failed,
            "partner_license_usage_rows_rejected_total" if label("reason") == Some("missing_value") => {
                rejected
            }
            "partner_license_api_requests_total" => match label("code") {
                Some("200") => polls,
                Some("error") => 3.0 * failed,
                _ => 0.0,
            },
            name if name.starts_with("partner_license_api_request_duration_seconds") => {
                let share = match label("le") {
                    Some("0.05") => 0.0,
                    Some("0.1") => 0.3,
                    Some("0.25") => 0.8,
                    Some("0.5") => 0.97,
                    None if name.ends_with("_sum") => 0.2,
                    _ => 1.0,
                };
                polls * share
            }
            "partner_license_exporter_config_last_reload_successful" => {
                f64::from(u8::from(!self.failed_reload().contains(t)))
            }
            "promhttp_metric_handler_requests_total" if label("code") == Some("200") => (t / 15.0).floor(),
            // The scrape itself is in flight.
            "promhttp_metric_handler_requests_in_flight" => 1.0,
            "process_cpu_seconds_total" => t / 500.0,
            "process_resident_memory_bytes" => (series.current * (1.0 + 0.1 * (t / DAY).sin())).floor(),
            "process_open_fds" => series.current + (t / HOUR).sin().round(),
            _ => series.current,
        }
    }

    /// The half day, about three days ago, during which Partner Center was unreachable.
    fn outage(&self) -> Period {
        // The start is not at a step of any graph: as samples are this far apart, a rate would miss an increase
        // between two of its windows.
        let from = midnight(self.end, 3.0) + 5.0 * STEP;
        Period { from, to: from + 0.5 * DAY }
    }

    /// The three hours, about five days ago, during which a new configuration was invalid.
    fn failed_reload(&self) -> Period {
        let from = midnight(self.end, 5.0) + 9.0 * HOUR;
        Period { from, to: from + 3.0 * HOUR }
    }

    fn alerts(&self, out: &mut impl Write, rows: &[UsageRow<'_>], exposed: &[Series<'_>]) -> io::Result<()> {
        for row in rows.iter().filter(|row| row.threshold.is_some()) {
            if row.is_stale {
                let from = self.end - f64::from(self.days) * DAY;
                self.alert(out, "UsageDataStale", row.labels, HOUR, &Period { from, to: self.end })?;
            }
            for period in self.low_periods(row) {
                self.alert(out, "UsageLow", row.labels, DAY, &period)?;
            }
            if let Some(dropped) = row.dropped.filter(|_| !row.is_stale) {
                let period =
                    Period { from: midnight(self.end, dropped - 1.0), to: midnight(self.end, dropped - 9.0) };
                self.alert(out, "UsageDropped", row.labels, 0.0, &period)?;
            }
        }
        for account in exposed.iter().filter(|series| series.name == "partner_license_up") {
            self.alert(out, "ScrapeFailing", account.labels, HOUR, &self.outage())?;
        }
        for instance in self.instances.iter().take(1) {
            self.alert(out, "ConfigReloadFailed", &target(instance), 3.0 * STEP, &self.failed_reload())?;
        }
        Ok(())
    }

    /// The active periods of the alert on low usage, which fires after one day and keeps firing for two.
    fn low_periods(&self, row: &UsageRow<'_>) -> Vec<Period> {
        let mut periods: Vec<Period> = Vec::new();
        for day in (0..=self.days).rev().map(f64::from) {
            if row.threshold.is_none_or(|threshold| row.percent_before(day) >= threshold) {
                continue;
            }
            let from = midnight(self.end, day);
            match periods.last_mut() {
                Some(last) if last.to >= from => last.to = from + 3.0 * DAY,
                _ => periods.push(Period { from, to: from + 3.0 * DAY }),
            }
        }
        // The alert does not fire for usage that was low on a single day.
        periods.retain(|period| period.to - period.from > 3.0 * DAY);
        periods
    }

    /// Writes an alert that was active for a period: pending for `wait` seconds, then firing.
    fn alert(
        &self,
        out: &mut impl Write,
        name: &str,
        labels: &str,
        wait: f64,
        period: &Period,
    ) -> io::Result<()> {
        let labels = join(&format!("alertname=\"PartnerLicense{name}\",severity=\"warning\""), labels);
        let fires = period.from + wait;
        for (state, span) in [("pending", (period.from, fires - STEP)), ("firing", (fires, period.to))] {
            self.samples(out, "ALERTS", &format!("{labels},alertstate=\"{state}\""), span, |_| 1.0)?;
        }
        self.samples(out, "ALERTS_FOR_STATE", &labels, (period.from, period.to), |_| period.from)
    }
}

impl<'a> Series<'a> {
    /// Parses a line of the scrape, unless it is a comment.
    fn parse(line: &'a str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        Some(Self { name, labels: labels.strip_suffix('}')?, current: value.parse().ok()? })
    }

    /// The value of a label, which must not contain escapes or commas.
    fn label(&self, name: &str) -> Option<&'a str> {
        self.labels
            .split(',')
            .find_map(|label| label.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
    }
}

impl UsageRow<'_> {
    /// The value at `t` of a series of this row.
    fn value_at(&self, series: &Series<'_>, t: f64, end: f64) -> f64 {
        match series.name {
            "partner_license_usage_percent" => self.percent_before(((midnight(end, 0.0) - t) / DAY).ceil()),
            "partner_license_usage_processed_timestamp_seconds" if !self.is_stale => {
                let today = midnight(t, 0.0);
                // There are no new figures on Sundays.
                let is_sunday = (today / DAY + 4.0).rem_euclid(7.0) == 0.0;
                today - (midnight(end, 0.0) - self.processed) - if is_sunday { DAY } else { 0.0 }
            }
            _ => series.current,
        }
    }

    /// The percentage some days ago: one figure a day, on a trend with oscillation that ends at the current figure.
    fn percent_before(&self, days: f64) -> f64 {
        if self.is_stale || days <= 0.0 {
            return self.percent;
        }
        let swing = ((days + self.percent) * 0.7).sin() * (1.0 + self.percent / 40.0);
        let drop = if self.dropped.is_some_and(|dropped| days > dropped) { 25.0 } else { 0.0 };
        ((self.percent - self.daily_change * days + swing + drop) * 100.0).round().max(0.0) / 100.0
    }
}

/// The start of the UTC day that is `days` before the day of `t`.
fn midnight(t: f64, days: f64) -> f64 {
    ((t / DAY).floor() - days) * DAY
}

/// The labels of a target.
fn target(instance: &str) -> String {
    format!("instance=\"{instance}\",job=\"{JOB}\"")
}

/// Joins two lists of labels, of which the second may be empty.
fn join(labels: &str, more: &str) -> String {
    if more.is_empty() { labels.to_owned() } else { format!("{labels},{more}") }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// A Sunday.
    const END: f64 = 1_764_504_061.0;
    const ROW: &str = r#"{account="a",service="o365",workload="x, \"y\"",channel="direct"}"#;

    /// A scrape with one row of this percentage, processed `days` ago.
    fn scrape(percent: f64, days: f64) -> String {
        let processed = midnight(END, days);
        format!(
            "# HELP partner_license_up A comment.\n\
             partner_license_usage_percent{ROW} {percent}\n\
             partner_license_usage_processed_timestamp_seconds{ROW} {processed}\n\
             partner_license_usage_threshold_percent{ROW} 40\n\
             partner_license_up{{account=\"a\"}} 1\n\
             partner_license_poll_interval_seconds{{account=\"a\"}} 15\n\
             process_max_fds 1024\n"
        )
    }

    /// The samples of each series, as pairs of time and value.
    fn history(scrape: &str) -> BTreeMap<String, Vec<(f64, f64)>> {
        let mut text = Vec::new();
        History { scrape, instances: &["one:1", "two:2"], end: END, days: 31 }.write(&mut text).unwrap();
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for line in String::from_utf8(text).unwrap().strip_suffix("# EOF\n").unwrap().lines() {
            let (rest, at) = line.rsplit_once(' ').unwrap();
            let (series, value) = rest.rsplit_once(' ').unwrap();
            all.entry(series.to_owned()).or_default().push((at.parse().unwrap(), value.parse().unwrap()));
        }
        all
    }

    fn of<'a>(history: &'a BTreeMap<String, Vec<(f64, f64)>>, parts: &[&str]) -> &'a [(f64, f64)] {
        let mut found = history.iter().filter(|(series, _)| parts.iter().all(|part| series.contains(part)));
        found.next().map_or(&[], |(_, samples)| samples)
    }

    #[test]
    fn the_history_has_exactly_the_series_of_the_scrape_and_alerts() {
        let scrape = scrape(30.0, 2.0);
        let mut expected = BTreeSet::new();
        for line in scrape.lines().skip(1) {
            let series = line.rsplit_once(' ').unwrap().0;
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = if labels == "}" { labels.to_owned() } else { format!(",{labels}") };
            let targets = if line.contains("workload") { 2 } else { 1 };
            for instance in ["one:1", "two:2"].iter().take(targets) {
                expected.insert(format!("{name}{{instance=\"{instance}\",job=\"{JOB}\"{labels}"));
            }
        }
        let history = history(&scrape);
        let found: BTreeSet<_> = history.keys().filter(|key| !key.starts_with("ALERTS")).cloned().collect();
        assert_eq!(found, expected);
        for (series, samples) in &history {
            assert!(samples.is_sorted_by(|one, next| one.0 < next.0), "{series} goes back in time");
            assert!(samples.iter().all(|(at, _)| *at <= END), "{series} goes beyond the end");
        }
    }

    #[test]
    fn the_history_of_a_row_ends_at_its_current_value_and_has_a_sample_every_five_minutes() {
        let history = history(&scrape(61.7, 2.0));
        let percent = of(&history, &["usage_percent", "one:1"]);
        assert_eq!(percent.last(), Some(&(END, 61.7)));
        assert!(percent.windows(2).all(|pair| pair[1].0 - pair[0].0 <= STEP));
        assert!(END - percent[0].0 > 30.9 * DAY);
        let figures: BTreeSet<_> = percent.iter().map(|(_, value)| value.to_string()).collect();
        assert!((20..40).contains(&figures.len()), "not a figure a day: {figures:?}");
    }

    #[test]
    fn low_usage_fires_after_a_day_and_a_high_row_has_no_alert() {
        let low = history(&scrape(30.0, 2.0));
        let (pending, firing) =
            (of(&low, &["ALERTS{", "UsageLow", "pending"]), of(&low, &["ALERTS{", "UsageLow", "firing"]));
        let percent = of(&low, &["usage_percent"]);
        let begin = percent.iter().rfind(|(_, value)| *value >= 40.0).unwrap().0 + STEP;
        assert_eq!((pending[0].0, firing[0].0, firing.last().unwrap().0), (begin, begin + DAY, END));
        assert!(!of(&low, &["ALERTS{", "UsageDropped", "firing"]).is_empty());
        let high = history(&scrape(91.5, 2.0));
        assert!(of(&high, &["ALERTS", "workload"]).is_empty());
    }

    #[test]
    fn the_figures_of_a_stale_row_never_change() {
        let history = history(&scrape(0.0, 3000.0));
        assert!(of(&history, &["usage_percent"]).iter().all(|(_, value)| *value == 0.0));
        let processed = of(&history, &["processed"]);
        assert!(processed.iter().all(|(_, value)| (*value - midnight(END, 3000.0)).abs() < 1.0));
        assert!(!of(&history, &["ALERTS{", "UsageDataStale", "firing"]).is_empty());
        assert!(of(&history, &["ALERTS{", "UsageDropped"]).is_empty());
    }
}
