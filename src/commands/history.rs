//! Generates a history for demonstrations from the text of one scrape, for `promtool tsdb create-blocks-from openmetrics`.
//!
//! The figures of usage, deployment and customers are those of past days, as `backfill` fetches them, each shown as late as the
//! exporter shows the current ones. The history contains exactly the series of the scrape, extended into the past, and
//! what Prometheus would have recorded by the alert rules: the series that rules look back at, and the alerts on low or
//! dropped usage, stale data, an outage and a failed reload. It knows the exporter only from the text of the scrape, and
//! the same scrape and figures always give the same history.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::domain::usage::OLD_FIGURE_AGE;

/// The label `job` of every series.
pub const JOB: &str = "partner-license";

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
/// The days of history of the series that belong neither to a usage row nor to deployment.
const OTHER_DAYS: f64 = 7.25;
/// The time between two samples: Prometheus' lookback, which also divides the step of a graph of a week or a month.
const STEP: f64 = 300.0;
/// The days of history of the series that rules record; no rule looks back further.
const RECORDED_DAYS: f64 = 15.0;
/// Within a week, a drop of the daily mean by more percentage points raises an alert.
const DROP: f64 = 15.0;
/// After this many intervals without a successful poll an account is overdue.
const OVERDUE_INTERVALS: f64 = 3.0;

/// An alert rule: the end of its name, its severity, and its `for` and `keep_firing_for` in seconds.
struct AlertRule {
    name: &'static str,
    severity: &'static str,
    wait: f64,
    hold: f64,
}

/// The alert rules to which something in the history gives cause, as alerts/partner-license.rules.yml has them.
const LOW: AlertRule = rule("UsageLow", "warning", DAY, 2.0 * DAY);
const LOW_FOR_A_WEEK: AlertRule = rule("UsageLow", "critical", 0.0, 2.0 * DAY);
const DROPPED: AlertRule = rule("UsageDropped", "warning", 0.0, 2.0 * DAY);
const STALE: AlertRule = rule("UsageDataStale", "warning", HOUR, 0.0);
const FAILING: AlertRule = rule("ScrapeFailing", "warning", HOUR, 0.0);
const OVERDUE: AlertRule = rule("ScrapeOverdue", "critical", 15.0 * 60.0, 0.0);
const RELOAD_FAILED: AlertRule = rule("ConfigReloadFailed", "warning", 15.0 * 60.0, 0.0);

const fn rule(name: &'static str, severity: &'static str, wait: f64, hold: f64) -> AlertRule {
    AlertRule { name, severity, wait, hold }
}

/// The figures of past days: for each series, as the scrape writes it, those of the days that have one. A day is counted
/// from the Unix epoch.
pub type Figures = BTreeMap<String, BTreeMap<i64, f64>>;

/// What the history is generated from, and how far back it goes.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    /// The scrape, in Prometheus' text format.
    pub scrape: &'a str,
    /// The figures of usage, deployment and customers. A series that is not in it has always had its current figure.
    pub figures: &'a Figures,
    /// The targets of the scrape; all have the series of the usage rows, and only the first has the others.
    pub instances: &'a [&'a str],
    /// The end of the history, in seconds since the Unix epoch; Prometheus must start later.
    pub end: f64,
    /// The days of history of usage rows, deployment and alerts.
    pub days: u32,
}

/// A line of the scrape, with its labels as written.
#[derive(Clone, Copy)]
struct Series<'a> {
    name: &'a str,
    labels: &'a str,
    current: f64,
}

/// A usage row.
struct UsageRow<'a> {
    percent: Series<'a>,
    processed: Series<'a>,
    /// Absent from muted rows.
    threshold: Option<f64>,
}

/// The time during which something was wrong.
struct Period {
    from: f64,
    to: f64,
}

/// The time during which an alert was pending or firing, and since when it fired, if it did.
struct Activity {
    span: Period,
    fires: Option<f64>,
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
        let rows = rows(&exposed);
        for series in &exposed {
            // Only the series of a row have its labels.
            let is_of_row = rows.iter().any(|row| row.percent.labels == series.labels);
            let all_days = f64::from(self.days);
            let (targets, days, step) = match series.name {
                _ if is_of_row => (self.instances.len(), all_days, STEP),
                name if name.starts_with("partner_license_deployment_") => (1, all_days, STEP),
                // There are many, and graphs of them have one point per hour or fewer.
                name if name.starts_with("partner_license_customer") => (1, OTHER_DAYS, HOUR),
                _ => (1, OTHER_DAYS, STEP),
            };
            let (interval, age) = (poll_interval(&exposed, series), self.age_in_days(&exposed, series));
            for instance in self.instances.iter().take(targets) {
                let labels = join(&target(instance), series.labels);
                let from = self.end - days * DAY;
                self.samples(out, series.name, &labels, (from, self.end), step, |t| match age {
                    Some(age) => self.figure_at(series, age, t),
                    None => self.value_at(series, interval, t),
                })?;
            }
        }
        self.recordings(out, &rows, &exposed)?;
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
        step: f64,
        value: impl Fn(f64) -> f64,
    ) -> io::Result<()> {
        let to = to.min(self.end);
        let mut at = (from / step).ceil() * step;
        while at < to {
            writeln!(out, "{name}{{{labels}}} {} {at}", value(at))?;
            at += step;
        }
        if from <= to { writeln!(out, "{name}{{{labels}}} {} {to}", value(to)) } else { Ok(()) }
    }

    /// The days between the figures of a usage, deployment or customers' series and the end.
    fn age_in_days(&self, exposed: &[Series<'_>], series: &Series<'_>) -> Option<i64> {
        let is_processed = |other: &&Series<'_>| {
            let name = other.name.strip_suffix("_processed_timestamp_seconds");
            // The rows of customers have one date for each service.
            let is_of_service = |name: &str| {
                let is_same = |label| other.label(label) == series.label(label);
                name.ends_with("customer") && is_same("account") && is_same("service")
            };
            name.filter(|name| series.name.starts_with(name))
                .is_some_and(|name| other.labels == series.labels || is_of_service(name))
        };
        let processed = exposed.iter().find(is_processed)?;
        Some(day_of(self.end) - day_of(processed.current))
    }

    /// The figure of a series at `t`, when the newest one was `age` days old.
    fn figure_at(&self, series: &Series<'_>, age: i64, t: f64) -> f64 {
        if day_of(t) == day_of(self.end) {
            return series.current;
        }
        let days = self.figures.get(&format!("{}{{{}}}", series.name, series.labels));
        let day =
            days.and_then(|days| days.range(..=day_of(t) - age).next_back().or_else(|| days.iter().next()));
        day.map_or(series.current, |(_, figure)| *figure)
    }

    /// The value at `t` of a series that has no figures of past days.
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
            "partner_license_rows_rejected_total" if label("reason") == Some("missing_value") => rejected,
            "partner_license_api_requests_total" => match label("code") {
                // The old source of a collection may be gone.
                Some("200" | "404") => polls,
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

    /// Writes what the rules record and look back at, once an hour.
    fn recordings(
        &self,
        out: &mut impl Write,
        rows: &[UsageRow<'_>],
        exposed: &[Series<'_>],
    ) -> io::Result<()> {
        let from = (self.end - RECORDED_DAYS * DAY).max(self.start());
        let mut record = |name: &str, row: &UsageRow<'_>, value: &dyn Fn(f64) -> f64| -> io::Result<()> {
            let (labels, mut at) = (row.percent.labels, (from / HOUR).ceil() * HOUR);
            while at < self.end {
                writeln!(out, "row:partner_license_usage_{name}{{{labels}}} {} {at}", value(at))?;
                at += HOUR;
            }
            Ok(())
        };
        for row in rows {
            let age = self.age_in_days(exposed, &row.percent).unwrap_or_default();
            record("percent:max", row, &|t| self.figure_at(&row.percent, age, t))?;
            record("threshold_percent:present", row, &|_| f64::from(u8::from(row.threshold.is_some())))?;
            if let Some(threshold) = row.threshold {
                record("percent:headroom", row, &|t| self.figure_at(&row.percent, age, t) - threshold)?;
                record("processed_timestamp_seconds:age", row, &|t| {
                    t - self.figure_at(&row.processed, age, t)
                })?;
            }
        }
        Ok(())
    }

    fn alerts(&self, out: &mut impl Write, rows: &[UsageRow<'_>], exposed: &[Series<'_>]) -> io::Result<()> {
        for row in rows {
            let Some(threshold) = row.threshold else { continue };
            let (start, labels) = (self.start(), row.percent.labels);
            let age = self.age_in_days(exposed, &row.percent).unwrap_or_default();
            let percent = |t| self.figure_at(&row.percent, age, t);
            let is_low = |t| percent(t) < threshold;
            // The figures change at midnight, so one per day and the one at the other end of the window are enough.
            let is_low_for_a_week = |t: f64| {
                t - 7.0 * DAY >= start
                    && (0..7).all(|n| is_low(t - f64::from(n) * DAY))
                    && is_low(t - 7.0 * DAY + 1.0)
            };
            let daily_mean = |t: f64| {
                let today = (t - midnight(t, 0.0)) / DAY;
                percent(t) * today + percent(t - DAY) * (1.0 - today)
            };
            let has_dropped =
                |t: f64| t - 7.0 * DAY > start && daily_mean(t - 7.0 * DAY) - daily_mean(t) > DROP;
            let is_stale = |t: f64| t - self.figure_at(&row.processed, age, t) > OLD_FIGURE_AGE.as_secs_f64();
            self.alert(out, &LOW, labels, is_low)?;
            self.alert(out, &LOW_FOR_A_WEEK, labels, is_low_for_a_week)?;
            self.alert(out, &DROPPED, labels, has_dropped)?;
            self.alert(out, &STALE, labels, is_stale)?;
        }
        let outage = self.outage();
        for collection in exposed.iter().filter(|series| series.name == "partner_license_up") {
            let limit = OVERDUE_INTERVALS * poll_interval(exposed, collection);
            let overdue = Period { from: outage.from + limit, to: outage.to };
            self.alert(out, &FAILING, collection.labels, |t| outage.contains(t))?;
            self.alert(out, &OVERDUE, collection.labels, |t| overdue.contains(t))?;
        }
        let failed_reload = self.failed_reload();
        for instance in self.instances.iter().take(1) {
            self.alert(out, &RELOAD_FAILED, &target(instance), |t| failed_reload.contains(t))?;
        }
        Ok(())
    }

    /// The start of the history.
    fn start(&self) -> f64 {
        self.end - f64::from(self.days) * DAY
    }

    /// When an alert was active whose expression had a result at the times for which `holds` is true.
    fn activities(&self, rule: &AlertRule, holds: impl Fn(f64) -> bool) -> Vec<Activity> {
        let mut found = Vec::new();
        // The current activity, and the last time at which the expression had a result.
        let mut current: Option<(Activity, f64)> = None;
        let mut at = (self.start() / STEP).ceil() * STEP;
        while at <= self.end {
            if holds(at) {
                let (activity, last) =
                    current.get_or_insert((Activity { span: Period { from: at, to: at }, fires: None }, at));
                (activity.span.to, *last) = (at, at);
                if at - activity.span.from >= rule.wait {
                    activity.fires.get_or_insert(at);
                }
            } else if let Some((activity, last)) = &mut current {
                if activity.fires.is_some() && at - *last < rule.hold {
                    activity.span.to = at;
                } else {
                    found.extend(current.take().map(|(activity, _)| activity));
                }
            }
            at += STEP;
        }
        found.extend(current.map(|(activity, _)| activity));
        // Until the end of the history, not only until the last step before it.
        if let Some(last) = found.last_mut().filter(|last| last.span.to > self.end - STEP) {
            last.span.to = self.end;
        }
        found
    }

    /// Writes an alert: when it was pending, and when it fired.
    fn alert(
        &self,
        out: &mut impl Write,
        rule: &AlertRule,
        labels: &str,
        holds: impl Fn(f64) -> bool,
    ) -> io::Result<()> {
        let AlertRule { name, severity, .. } = rule;
        let labels = join(&format!("alertname=\"PartnerLicense{name}\",severity=\"{severity}\""), labels);
        for Activity { span, fires } in self.activities(rule, holds) {
            let pending_to = fires.map_or(span.to, |fires| fires - STEP);
            let firing = fires.map(|fires| ("firing", (fires, span.to)));
            for (state, span) in [Some(("pending", (span.from, pending_to))), firing].into_iter().flatten() {
                self.samples(out, "ALERTS", &format!("{labels},alertstate=\"{state}\""), span, STEP, |_| {
                    1.0
                })?;
            }
            self.samples(out, "ALERTS_FOR_STATE", &labels, (span.from, span.to), STEP, |_| span.from)?;
        }
        Ok(())
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

/// The usage rows of a scrape.
fn rows<'a>(exposed: &[Series<'a>]) -> Vec<UsageRow<'a>> {
    let named = |name: &'static str| exposed.iter().filter(move |series| series.name == name);
    let of = |name, labels: &str| named(name).find(|series| series.labels == labels);
    let row = |percent: &Series<'a>| {
        let processed = *of("partner_license_usage_processed_timestamp_seconds", percent.labels)?;
        let threshold = of("partner_license_usage_threshold_percent", percent.labels);
        Some(UsageRow { percent: *percent, processed, threshold: threshold.map(|it| it.current) })
    };
    named("partner_license_usage_percent").filter_map(row).collect()
}

/// The UTC day of `t`, counted from the Unix epoch.
#[expect(clippy::cast_possible_truncation, reason = "there are fewer days than that")]
fn day_of(t: f64) -> i64 {
    (t / DAY).floor() as i64
}

/// The start of the UTC day that is `days` before the day of `t`.
fn midnight(t: f64, days: f64) -> f64 {
    ((t / DAY).floor() - days) * DAY
}

/// The labels of a target.
fn target(instance: &str) -> String {
    format!("instance=\"{instance}\",job=\"{JOB}\"")
}

/// The poll interval of a series' collection, or the first interval if the series belongs to no collection.
fn poll_interval(exposed: &[Series<'_>], series: &Series<'_>) -> f64 {
    let intervals = || exposed.iter().filter(|other| other.name == "partner_license_poll_interval_seconds");
    let is_own = |other: &&Series<'_>| {
        let more = series.labels.strip_prefix(other.labels);
        more.is_some_and(|more| more.is_empty() || more.starts_with(','))
    };
    intervals().find(is_own).or_else(|| intervals().next()).map_or(DAY, |interval| interval.current)
}

/// Joins two lists of labels, of which the second may be empty.
fn join(labels: &str, more: &str) -> String {
    if more.is_empty() { labels.to_owned() } else { format!("{labels},{more}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
             partner_license_usage_active_licenses{ROW} 1234\n\
             partner_license_deployment_percent{{account=\"a\",service=\"o365\",channel=\"direct\"}} 92.5\n\
             partner_license_deployment_processed_timestamp_seconds\
             {{account=\"a\",service=\"o365\",channel=\"direct\"}} {processed}\n\
             partner_license_customer_active_licenses{{account=\"a\",customer=\"c\",service=\"o365\"}} 500\n\
             partner_license_customer_processed_timestamp_seconds{{account=\"a\",service=\"o365\"}} {processed}\n\
             partner_license_customers{{account=\"a\"}} 40\n\
             partner_license_up{{account=\"a\",collection=\"usage\"}} 1\n\
             partner_license_poll_interval_seconds{{account=\"a\",collection=\"usage\"}} 15\n\
             process_max_fds 1024\n"
        )
    }

    /// The percentage of ROW some days ago, if it is `percent` today: it oscillates, and if it is low it has dropped.
    fn percent_before(percent: f64, days: i32) -> f64 {
        let days = f64::from(days);
        let drop = if percent < 40.0 && days > 12.0 { 25.0 } else { 0.0 };
        (percent + 0.5 * days.min(1.0) + ((days + percent) * 0.7).sin() + drop).max(0.0)
    }

    /// What the series of ROW were on each of the days before, if the scrape says `percent` of two days ago.
    fn figures(percent: f64) -> Figures {
        let mut figures = Figures::new();
        for days in 1..50 {
            let (day, then) = (day_of(END) - 2 - i64::from(days), percent_before(percent, days));
            let mut add = |name: &str, figure| {
                figures.entry(format!("partner_license_{name}")).or_default().insert(day, figure);
            };
            add(&format!("usage_percent{ROW}"), then);
            add(&format!("usage_active_licenses{ROW}"), (1234.0 * then / percent).round());
            add(&format!("usage_processed_timestamp_seconds{ROW}"), midnight(END, f64::from(2 + days)));
            let deployed = 92.5 - 0.25 * f64::from(days);
            add("deployment_percent{account=\"a\",service=\"o365\",channel=\"direct\"}", deployed);
            let active = 500.0 - 2.0 * f64::from(days);
            add("customer_active_licenses{account=\"a\",customer=\"c\",service=\"o365\"}", active);
        }
        figures
    }

    /// The samples of each series, as pairs of time and value.
    fn history(scrape: &str) -> BTreeMap<String, Vec<(f64, f64)>> {
        let percent = scrape.split(&format!("usage_percent{ROW} ")).nth(1).unwrap();
        let figures = figures(percent.split('\n').next().unwrap().parse().unwrap());
        history_of(scrape, &figures)
    }

    fn history_of(scrape: &str, figures: &Figures) -> BTreeMap<String, Vec<(f64, f64)>> {
        let mut text = Vec::new();
        let instances = &["one:1", "two:2"];
        History { scrape, figures, instances, end: END, days: 31 }.write(&mut text).unwrap();
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
    fn the_history_has_exactly_the_series_of_the_scrape_recordings_and_alerts() {
        let scrape = scrape(30.0, 2.0);
        let mut expected = BTreeSet::new();
        for line in scrape.lines().skip(1) {
            let series = line.rsplit_once(' ').unwrap().0;
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = if labels == "}" { labels.to_owned() } else { format!(",{labels}") };
            let targets = if line.starts_with("partner_license_usage") { 2 } else { 1 };
            for instance in ["one:1", "two:2"].iter().take(targets) {
                expected.insert(format!("{name}{{instance=\"{instance}\",job=\"{JOB}\"{labels}"));
            }
        }
        let history = history(&scrape);
        let found: BTreeSet<_> = history
            .keys()
            .filter(|key| !key.starts_with("ALERTS") && !key.starts_with("row:"))
            .cloned()
            .collect();
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
    fn figures_are_shown_as_late_as_the_current_ones() {
        let history = history(&scrape(61.7, 2.0));
        let [percent, processed] =
            ["usage_percent", "usage_processed"].map(|name| of(&history, &[name, "one:1"]));
        for (n, (at, figure)) in percent.iter().enumerate() {
            let days = i32::try_from(day_of(END) - day_of(*at)).unwrap();
            let expected = if days == 0 { 61.7 } else { percent_before(61.7, days) };
            assert_eq!((*figure, processed[n].1), (expected, midnight(*at, 2.0)), "{days} days ago");
        }
        for (name, first, last, longest) in [
            ("deployment_percent{", 84.75, 92.5, STEP),
            ("customer_active_licenses{", 486.0, 500.0, HOUR),
            ("customers{", 40.0, 40.0, HOUR),
        ] {
            let samples = of(&history, &[name]);
            assert_eq!((samples[0].1, samples.last().unwrap()), (first, &(END, last)), "{name}");
            assert!(samples.windows(2).all(|pair| pair[1].0 - pair[0].0 <= longest), "{name}");
        }
    }

    #[test]
    fn low_usage_is_a_warning_after_a_day_and_critical_after_a_week() {
        let low = history(&scrape(30.0, 2.0));
        let alert = |severity, state| of(&low, &["ALERTS{", "UsageLow", severity, state]);
        let percent = of(&low, &["usage_percent"]);
        let begin = percent.iter().rfind(|(_, value)| *value >= 40.0).unwrap().0 + STEP;
        let (pending, warning, critical) =
            (alert("warning", "pending")[0].0, alert("warning", "firing"), alert("critical", "firing"));
        assert!(END - begin > 9.0 * DAY, "low for more than a week");
        assert_eq!((pending, warning[0].0, warning.last().unwrap().0), (begin, begin + DAY, END));
        assert_eq!((critical[0].0, critical.last().unwrap().0), (begin + 7.0 * DAY, END));
        let high = history(&scrape(91.5, 2.0));
        assert!(of(&high, &["ALERTS", "workload"]).is_empty());
    }

    /// The alerts on a row at the same times as in the history, from its samples and the definitions of the rules.
    #[test]
    fn the_alerts_on_rows_are_those_that_the_rules_raise_on_the_same_samples() {
        let mut firing_hours = [0; 3];
        for percent in [0.0, 12.5, 30.0, 39.0, 41.0, 44.0, 91.5] {
            let all = history(&scrape(percent, 2.0));
            let samples = of(&all, &["usage_percent", "one:1"]);
            let within = |from: f64, to: f64| {
                let window = samples.iter().skip_while(move |(at, _)| *at <= from);
                window.take_while(move |(at, _)| *at <= to).map(|(_, value)| *value)
            };
            #[expect(clippy::cast_precision_loss, reason = "a day has few samples")]
            let mean = |from, to| within(from, to).sum::<f64>() / within(from, to).count() as f64;
            let is_low = |from, to| within(from, to).all(|value| value < 40.0);
            let conditions: [(_, _, &dyn Fn(f64) -> bool); 3] = [
                ("UsageLow", "warning", &|t| t - DAY > samples[0].0 && is_low(t - DAY - 1.0, t)),
                ("UsageLow", "critical", &|t| {
                    within(t - 8.0 * DAY, t - 7.0 * DAY).next().is_some() && is_low(t - 7.0 * DAY, t)
                }),
                ("UsageDropped", "warning", &|t| {
                    mean(t - 8.0 * DAY, t - 7.0 * DAY) - mean(t - DAY, t) > 15.0
                }),
            ];
            for (n, (name, severity, fires)) in conditions.into_iter().enumerate() {
                let firing = of(&all, &["ALERTS{", name, severity, "firing"]);
                let hours = (10 * 24..31 * 24).map(|hour| midnight(END, 31.0) + f64::from(hour) * HOUR);
                let fires: Vec<(f64, bool)> = hours.map(|at| (at, fires(at))).collect();
                for at in fires.iter().map(|(at, _)| *at) {
                    // Held for two days; an hour on both sides of a change is not compared.
                    let held = |from: f64| {
                        fires.iter().any(|(t, fires)| *fires && *t <= from && *t > from - 2.0 * DAY)
                    };
                    let expected = [-HOUR, 0.0, HOUR].map(|shift| held(at + shift));
                    let found = firing.iter().any(|(t, _)| (*t - at).abs() < 1.0);
                    if expected == [expected[1]; 3] {
                        firing_hours[n] += usize::from(found);
                        assert_eq!(found, expected[1], "{name} {severity} of {percent} % at {at}");
                    }
                }
            }
        }
        assert!(firing_hours.iter().all(|hours| *hours > 100), "{firing_hours:?}");
    }

    #[test]
    fn the_alerts_have_the_times_of_the_rules() {
        #[derive(serde::Deserialize)]
        struct Rules {
            groups: Vec<Group>,
        }
        #[derive(serde::Deserialize)]
        struct Group {
            rules: Vec<Rule>,
        }
        #[derive(serde::Deserialize)]
        struct Rule {
            alert: Option<String>,
            expr: String,
            r#for: Option<String>,
            keep_firing_for: Option<String>,
            labels: Option<BTreeMap<String, String>>,
        }
        let (_, text) = crate::bundled::ALERTS.iter().find(|(name, _)| name.ends_with(".rules.yml")).unwrap();
        let rules: Rules = serde_saphyr::from_str(text).unwrap();
        let find = |wanted: &AlertRule| {
            let mut all = rules.groups.iter().flat_map(|group| &group.rules);
            let name = format!("PartnerLicense{}", wanted.name);
            let is = |rule: &&Rule| {
                rule.alert.as_ref() == Some(&name)
                    && rule.labels.as_ref().unwrap()["severity"] == wanted.severity
            };
            all.find(is).unwrap()
        };
        for wanted in [LOW, LOW_FOR_A_WEEK, DROPPED, STALE, FAILING, OVERDUE, RELOAD_FAILED] {
            let rule = find(&wanted);
            let seconds = |time: &Option<String>| {
                time.as_ref().map_or(0.0, |time| humantime::parse_duration(time).unwrap().as_secs_f64())
            };
            let found = (seconds(&rule.r#for), seconds(&rule.keep_firing_for));
            assert!(found == (wanted.wait, wanted.hold), "{} {}: {found:?}", wanted.name, wanted.severity);
        }
        assert!(find(&DROPPED).expr.contains(&format!("> {DROP}\n")));
        assert!(find(&LOW_FOR_A_WEEK).expr.contains("[1w]) < 0"));
        assert!(find(&OVERDUE).expr.contains(&format!("{OVERDUE_INTERVALS} * max by")));
    }

    #[test]
    fn an_outage_of_half_a_day_is_overdue_only_if_that_is_more_than_three_intervals() {
        for (interval, is_overdue) in [("15", true), ("14400", false)] {
            let all = history(
                &scrape(50.0, 2.0)
                    .replace("collection=\"usage\"} 15\n", &format!("collection=\"usage\"}} {interval}\n")),
            );
            let failing = of(&all, &["ALERTS{", "ScrapeFailing", "firing"]);
            let overdue = of(&all, &["ALERTS{", "ScrapeOverdue", "critical", "firing"]);
            assert!(!failing.is_empty());
            assert_eq!(!overdue.is_empty(), is_overdue, "every {interval} s");
        }
    }

    #[test]
    fn each_collection_has_its_own_interval() {
        let customers =
            |name: &str| format!("partner_license_{name}{{account=\"a\",collection=\"customers\"");
        let [up, interval] = ["up", "poll_interval_seconds"].map(customers);
        let next = customers("next_scrape_timestamp_seconds");
        let all = history(&format!("{}{up}}} 1\n{interval}}} 14400\n{next}}} 0\n", scrape(50.0, 2.0)));
        assert!(of(&all, &["_up{", "customers"]).iter().any(|(_, up)| *up == 0.0));
        assert!(
            of(&all, &["next_scrape", "customers"])
                .iter()
                .all(|(at, due)| { (0.0..=14400.0).contains(&(due - at)) && due % 14400.0 == 0.0 })
        );
        let overdue = |collection| of(&all, &["ALERTS{", "ScrapeOverdue", collection]);
        assert!(!overdue("usage").is_empty() && overdue("customers").is_empty());
        assert!(!of(&all, &["ALERTS{", "ScrapeFailing", "customers", "firing"]).is_empty());
    }

    #[test]
    fn what_rules_look_back_at_is_recorded() {
        let all = history(&scrape(30.0, 2.0));
        for (name, last) in [
            ("row:partner_license_usage_percent:max", 30.0),
            ("row:partner_license_usage_percent:headroom", -10.0),
            ("row:partner_license_usage_threshold_percent:present", 1.0),
        ] {
            let samples = of(&all, &[name]);
            assert!(
                samples[0].0 < END - 14.9 * DAY
                    && samples.windows(2).all(|pair| pair[1].0 - pair[0].0 <= HOUR)
            );
            assert!((samples.last().unwrap().1 - last).abs() < 1e-9, "{name}");
        }
        let age = of(&all, &["row:partner_license_usage_processed_timestamp_seconds:age"]);
        assert!(age.iter().all(|(_, age)| (2.0 * DAY..4.0 * DAY).contains(age)), "{age:?}");
    }

    #[test]
    fn a_row_without_figures_of_past_days_has_always_had_its_current_one() {
        let history = history_of(&scrape(0.0, 3000.0), &Figures::new());
        assert!(of(&history, &["usage_percent"]).iter().all(|(_, value)| *value == 0.0));
        let processed = of(&history, &["usage_processed"]);
        assert!(processed.iter().all(|(_, value)| (*value - midnight(END, 3000.0)).abs() < 1.0));
        assert!(!of(&history, &["ALERTS{", "UsageDataStale", "firing"]).is_empty());
        assert!(of(&history, &["ALERTS{", "UsageDropped"]).is_empty());
    }
}
