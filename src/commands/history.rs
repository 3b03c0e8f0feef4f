//! A made-up past for demonstrations: every series of a scrape, and none besides, carried back in time, in the text of
//! OpenMetrics, of which `promtool tsdb create-blocks-from openmetrics` makes blocks. Alerts are added as Prometheus would
//! have recorded them: usage that was low or fell, figures that stand still, an outage, a reload that failed.
//!
//! It knows the exporter by the text of a scrape, and the same scrape always has the same past.

use std::io::{self, Write};

/// The label `job` of everything.
pub const JOB: &str = "partner-license";

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
/// How far back the series go that are of no row.
const OWN_DAYS: f64 = 7.25;
/// As far as Prometheus looks back for a sample, and a part of every step that a graph of a week or a month has.
const STEP: f64 = 300.0;
/// A row with older figures has stopped moving.
const STILL: f64 = 16.0 * DAY;

/// What is carried back, and how far.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    /// What a scrape has just said, in Prometheus' text.
    pub scrape: &'a str,
    /// The targets that said it. All of them have the rows, and the first has the rest.
    pub instances: &'a [&'a str],
    /// When the past ends. Prometheus has to begin later.
    pub end: f64,
    /// How far back rows and alerts go.
    pub days: u32,
}

/// A line of a scrape. The labels are as they were written.
#[derive(Clone, Copy)]
struct Series<'a> {
    name: &'a str,
    labels: &'a str,
    live: f64,
}

/// A row of the usage report as it is now.
struct Row<'a> {
    labels: &'a str,
    percent: f64,
    processed: f64,
    /// Of rows that are not muted.
    threshold: Option<f64>,
    /// How much it gains in a day, on average.
    gain: f64,
    /// How many days ago it fell, if it is low.
    fell: Option<f64>,
    is_still: bool,
}

/// When something was wrong.
struct Spell {
    from: f64,
    to: f64,
}

impl Spell {
    fn has(&self, t: f64) -> bool {
        (self.from..self.to).contains(&t)
    }
}

impl History<'_> {
    /// Writes all of it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let exposed: Vec<Series<'_>> = self.scrape.lines().filter_map(Series::read).collect();
        let rows = self.rows(&exposed);
        let interval = exposed.iter().find(|series| series.name == "partner_license_poll_interval_seconds");
        let interval = interval.map_or(DAY, |series| series.live);
        for series in &exposed {
            // No other series has the labels of a row.
            let row = rows.iter().find(|row| row.labels == series.labels);
            let (targets, days) = match row {
                Some(_) => (self.instances.len(), f64::from(self.days)),
                None => (1, OWN_DAYS),
            };
            for instance in self.instances.iter().take(targets) {
                let labels = joined(&target(instance), series.labels);
                let from = self.end - days * DAY;
                self.samples(out, series.name, &labels, (from, self.end), |t| match row {
                    Some(row) => row.past(series, t, self.end),
                    None => self.past(series, interval, t),
                })?;
            }
        }
        self.alerts(out, &rows, &exposed)?;
        out.write_all(b"# EOF\n")
    }

    /// Writes the samples of a series: at every step, and at the very end.
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

    fn rows<'a>(&self, exposed: &[Series<'a>]) -> Vec<Row<'a>> {
        let named = |name: &'static str| exposed.iter().filter(move |series| series.name == name);
        let of = |name, labels| named(name).find(|series| series.labels == labels).map(|series| series.live);
        let usage = named("partner_license_usage_percent");
        let row = |(n, series): (u32, &Series<'a>)| {
            let threshold = of("partner_license_usage_threshold_percent", series.labels);
            let processed = of("partner_license_usage_processed_timestamp_seconds", series.labels)?;
            let is_low = threshold.is_some_and(|threshold| series.live < threshold);
            let gain = f64::from(n * 7 % 11) * 0.15 - 0.75;
            Some(Row {
                labels: series.labels,
                percent: series.live,
                processed,
                threshold,
                gain: if is_low { -gain.abs() } else { gain },
                fell: is_low.then(|| 10.0 + 2.0 * f64::from(n % 5)),
                is_still: self.end - processed > STILL,
            })
        };
        (0..).zip(usage).filter_map(row).collect()
    }

    /// What a series of no row was at `t`.
    fn past(&self, series: &Series<'_>, interval: f64, t: f64) -> f64 {
        let days = (t - (self.end - OWN_DAYS * DAY)) / DAY;
        let (outage, rejected) = (self.outage(), days.floor());
        let down = t.clamp(outage.from, outage.to) - outage.from;
        // A failed poll is tried again after half an interval at the latest, or after an hour.
        let failed = (down / HOUR.min(interval / 2.0)).floor();
        let polls = ((days * DAY - down) / interval).floor();
        let last_poll = (t / interval).floor() * interval;
        let last_success = if outage.has(t) { outage.from } else { last_poll };
        let label = |name| series.label(name);
        match series.name {
            "partner_license_up" => f64::from(u8::from(!outage.has(t))),
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
                f64::from(u8::from(!self.failed_reload().has(t)))
            }
            "promhttp_metric_handler_requests_total" if label("code") == Some("200") => (t / 15.0).floor(),
            // The one that asks is among them.
            "promhttp_metric_handler_requests_in_flight" => 1.0,
            "process_cpu_seconds_total" => t / 500.0,
            "process_resident_memory_bytes" => (series.live * (1.0 + 0.1 * (t / DAY).sin())).floor(),
            "process_open_fds" => series.live + (t / HOUR).sin().round(),
            _ => series.live,
        }
    }

    /// Half a day, about three days ago, in which Partner Center could not be reached.
    fn outage(&self) -> Spell {
        // Not at a step of any graph: between two windows of a rate something gets lost, if samples are this far apart.
        let from = midnight(self.end, 3.0) + 5.0 * STEP;
        Spell { from, to: from + 0.5 * DAY }
    }

    /// Three hours, about five days ago, in which a new configuration was no good.
    fn failed_reload(&self) -> Spell {
        let from = midnight(self.end, 5.0) + 9.0 * HOUR;
        Spell { from, to: from + 3.0 * HOUR }
    }

    fn alerts(&self, out: &mut impl Write, rows: &[Row<'_>], exposed: &[Series<'_>]) -> io::Result<()> {
        for row in rows.iter().filter(|row| row.threshold.is_some()) {
            if row.is_still {
                let from = self.end - f64::from(self.days) * DAY;
                self.alert(out, "UsageDataStale", row.labels, HOUR, &Spell { from, to: self.end })?;
            }
            for spell in self.low(row) {
                self.alert(out, "UsageLow", row.labels, DAY, &spell)?;
            }
            if let Some(fell) = row.fell.filter(|_| !row.is_still) {
                let spell =
                    Spell { from: midnight(self.end, fell - 1.0), to: midnight(self.end, fell - 9.0) };
                self.alert(out, "UsageDropped", row.labels, 0.0, &spell)?;
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

    /// When the alert on low usage was active: it asks for a day and is held for two.
    fn low(&self, row: &Row<'_>) -> Vec<Spell> {
        let mut spells: Vec<Spell> = Vec::new();
        for day in (0..=self.days).rev().map(f64::from) {
            if row.threshold.is_none_or(|threshold| row.percent_before(day) >= threshold) {
                continue;
            }
            let from = midnight(self.end, day);
            match spells.last_mut() {
                Some(last) if last.to >= from => last.to = from + 3.0 * DAY,
                _ => spells.push(Spell { from, to: from + 3.0 * DAY }),
            }
        }
        // What was low for a day only has never fired.
        spells.retain(|spell| spell.to - spell.from > 3.0 * DAY);
        spells
    }

    /// Writes an alert that was active for a spell, and fired for as much of it as is left after `wait`.
    fn alert(
        &self,
        out: &mut impl Write,
        name: &str,
        labels: &str,
        wait: f64,
        spell: &Spell,
    ) -> io::Result<()> {
        let labels = joined(&format!("alertname=\"PartnerLicense{name}\",severity=\"warning\""), labels);
        let fires = spell.from + wait;
        for (state, span) in [("pending", (spell.from, fires - STEP)), ("firing", (fires, spell.to))] {
            self.samples(out, "ALERTS", &format!("{labels},alertstate=\"{state}\""), span, |_| 1.0)?;
        }
        self.samples(out, "ALERTS_FOR_STATE", &labels, (spell.from, spell.to), |_| spell.from)
    }
}

impl<'a> Series<'a> {
    /// Reads a line; comments are none.
    fn read(line: &'a str) -> Option<Self> {
        let (series, live) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        Some(Self { name, labels: labels.strip_suffix('}')?, live: live.parse().ok()? })
    }

    /// The value of a label that has no need of escapes.
    fn label(&self, name: &str) -> Option<&'a str> {
        self.labels
            .split(',')
            .find_map(|label| label.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
    }
}

impl Row<'_> {
    /// What a series of this row was at `t`.
    fn past(&self, series: &Series<'_>, t: f64, end: f64) -> f64 {
        match series.name {
            "partner_license_usage_percent" => self.percent_before(((midnight(end, 0.0) - t) / DAY).ceil()),
            "partner_license_usage_processed_timestamp_seconds" if !self.is_still => {
                let today = midnight(t, 0.0);
                // On Sundays no new figures come.
                let is_sunday = (today / DAY + 4.0).rem_euclid(7.0) == 0.0;
                today - (midnight(end, 0.0) - self.processed) - if is_sunday { DAY } else { 0.0 }
            }
            _ => series.live,
        }
    }

    /// A figure a day, on a line that ends at today's, with some swing.
    fn percent_before(&self, days: f64) -> f64 {
        if self.is_still || days <= 0.0 {
            return self.percent;
        }
        let swing = ((days + self.percent) * 0.7).sin() * (1.0 + self.percent / 40.0);
        let fall = if self.fell.is_some_and(|fell| days > fell) { 25.0 } else { 0.0 };
        ((self.percent - self.gain * days + swing + fall) * 100.0).round().max(0.0) / 100.0
    }
}

/// The beginning of the day, in UTC, some days before `t`.
fn midnight(t: f64, days: f64) -> f64 {
    ((t / DAY).floor() - days) * DAY
}

fn target(instance: &str) -> String {
    format!("instance=\"{instance}\",job=\"{JOB}\"")
}

/// Labels, and more of them if there are any.
fn joined(labels: &str, more: &str) -> String {
    if more.is_empty() { labels.to_owned() } else { format!("{labels},{more}") }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// A Sunday.
    const END: f64 = 1_764_504_061.0;
    const ROW: &str = r#"{account="a",service="o365",workload="x, \"y\"",channel="direct"}"#;

    /// A row that is as high and was processed as many days ago as this.
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

    /// Each series with its times and values.
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
    fn every_series_of_the_scrape_is_carried_back_and_none_besides_but_alerts() {
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
            assert!(samples.iter().all(|(at, _)| *at <= END), "{series} goes on");
        }
    }

    #[test]
    fn the_past_of_a_row_ends_with_what_it_is_now_and_has_a_sample_within_any_five_minutes() {
        let history = history(&scrape(61.7, 2.0));
        let percent = of(&history, &["usage_percent", "one:1"]);
        assert_eq!(percent.last(), Some(&(END, 61.7)));
        assert!(percent.windows(2).all(|pair| pair[1].0 - pair[0].0 <= STEP));
        assert!(END - percent[0].0 > 30.9 * DAY);
        let figures: BTreeSet<_> = percent.iter().map(|(_, value)| value.to_string()).collect();
        assert!((20..40).contains(&figures.len()), "not a figure a day: {figures:?}");
    }

    #[test]
    fn low_usage_fires_a_day_after_it_has_begun_and_a_row_that_is_high_has_no_alert() {
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
    fn figures_that_have_stopped_moving_have_always_stood_still() {
        let history = history(&scrape(0.0, 3000.0));
        assert!(of(&history, &["usage_percent"]).iter().all(|(_, value)| *value == 0.0));
        let processed = of(&history, &["processed"]);
        assert!(processed.iter().all(|(_, value)| (*value - midnight(END, 3000.0)).abs() < 1.0));
        assert!(!of(&history, &["ALERTS{", "UsageDataStale", "firing"]).is_empty());
        assert!(of(&history, &["ALERTS{", "UsageDropped"]).is_empty());
    }
}
