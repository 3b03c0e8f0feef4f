//! What the dashboards are tried on: two replicas of the real exporter under the simulator, scraped by a real
//! Prometheus that has forty days of history already.
//!
//! The history is made from a scrape: every series that the exporter exposes, and none that it does not, is
//! carried back in time. Alerts are added as Prometheus would have recorded them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use partner_license_exporter::clock::{Clock, unix_seconds};

use crate::prometheus::{Prometheus, tool};
use crate::support::exposition::Series;
use crate::support::{Exporter, OTHER_TENANT, Simulator, TENANT, account, eventually};

pub(crate) const REPLICAS: [&str; 2] = ["exporter-1:10365", "exporter-2:10365"];

/// Exporters that are only in the history: whether they could be scraped, and how many polls had ended, in vain. One is
/// down, one has just been started with the rows of its predecessor, and one gets nowhere.
const OTHERS: [(&str, f64, f64); 3] =
    [("exporter-3:10365", 0.0, 7.0), ("exporter-4:10365", 1.0, 0.0), ("exporter-5:10365", 1.0, 3.0)];

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
/// How far back rows and alerts go, and the exporter's own series.
const DAYS: f64 = 40.0;
const OWN_DAYS: f64 = 9.0;
/// Within the five minutes that Prometheus looks back for a sample.
const STEP: f64 = 300.0;
const POLL: f64 = 6.0 * HOUR;

/// A row of the usage report.
pub(crate) struct Row {
    pub(crate) service: &'static str,
    pub(crate) workload: &'static str,
    pub(crate) channel: &'static str,
    /// Today.
    pub(crate) percent: f64,
    /// How much it gains in a day, on average.
    gain: f64,
    pub(crate) threshold: Option<f64>,
}

const fn row(
    names: (&'static str, &'static str, &'static str),
    (percent, gain): (f64, f64),
    threshold: Option<f64>,
) -> Row {
    Row { service: names.0, channel: names.1, workload: names.2, percent, gain, threshold }
}

/// Among them: far below, just above, above 100 %, muted, with characters that a regular expression understands.
pub(crate) const ROWS: [Row; 11] = [
    row(("o365", "reseller", "Exchange"), (91.5, 0.1), Some(60.0)),
    row(("o365", "reseller", "SharePoint"), (68.2, -0.2), Some(40.0)),
    row(("o365", "reseller", "Teams"), (82.7, 0.6), Some(40.0)),
    row(("o365", "reseller", "Skype For Business"), (9.4, -0.9), Some(40.0)),
    row(("o365", "reseller", "Yammer"), (106.8, 0.3), Some(40.0)),
    row(("o365", "reseller", "Viva Insights"), (42.6, 0.4), Some(40.0)),
    row(("o365", "direct", "Exchange"), (57.1, -0.5), Some(60.0)),
    row(("o365", "direct", "Teams (calls + PSTN)"), (35.3, 0.2), Some(40.0)),
    row(("crm", "reseller", "Microsoft Dynamics CRM"), (57.4, 0.0), Some(40.0)),
    row(("crm", "reseller", "SharePoint"), (22.9, 0.1), None),
    row(("crm", "direct", "Microsoft Dynamics CRM"), (65.5, -0.3), Some(40.0)),
];
const OVERRIDES: &str = "
  - { service: o365, workload: Exchange, percent: 60 }
  - { service: crm, workload: SharePoint, mute: true }
";
/// The rows of the second account, where there is one.
const OTHER_ROWS: usize = 3;

/// Exporter, simulator, Prometheus; all end with this value.
pub(crate) struct Sample {
    pub(crate) prometheus: Prometheus,
    /// The names of the accounts; none if the only account has no name.
    pub(crate) accounts: &'static [&'static str],
    /// When everything was there.
    pub(crate) now: f64,
    _exporter: Exporter,
    _simulator: Simulator,
    _directory: tempfile::TempDir,
}

impl Sample {
    pub(crate) fn start(suite: &str, accounts: &'static [&'static str]) -> Self {
        let clock = Clock::system();
        let now = clock.now();
        let directory = tempfile::tempdir().unwrap();
        let (simulator, config) = partner_center(accounts, now, directory.path());
        let exporter = Exporter::start(&config, &[]);
        let names: Vec<Option<&str>> = match accounts {
            [] => vec![None],
            some => some.iter().map(|name| Some(*name)).collect(),
        };
        // The first poll is throttled, so that there is a failure to count.
        for name in names {
            exporter.wait_for_polls(name, 2.0);
        }

        let file = directory.path().join("history.om");
        write_history(&file, &exporter, unix_seconds(now).floor());
        let output = Command::new(tool(suite, "promtool"))
            .args(["tsdb", "create-blocks-from", "openmetrics", "--quiet", "--max-block-duration=1440h"])
            .args([&file, &directory.path().join("data")])
            .output()
            .unwrap();
        assert!(output.status.success(), "promtool: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::remove_file(&file).unwrap();

        let target = exporter.url.trim_start_matches("http://");
        let targets = REPLICAS.map(|instance| {
            format!("  - {{ targets: [\"{target}\"], labels: {{ instance: \"{instance}\" }} }}\n")
        });
        let config = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: partner-license\n  \
             honor_labels: true\n  static_configs:\n{}",
            targets.concat()
        );
        let prometheus = Prometheus::start(suite, directory.path(), &config);
        // Two scrapes by this Prometheus itself, so that counters can be seen to grow.
        let now = eventually("scrapes of both replicas", || {
            let now = unix_seconds(clock.now());
            let scrapes = prometheus.query("count_over_time(scrape_samples_scraped[1m])", now).unwrap();
            (scrapes.len() == 2 && scrapes.iter().all(|series| series.samples[0].1 >= 2.0)).then_some(now)
        });
        Self { prometheus, accounts, now, _exporter: exporter, _simulator: simulator, _directory: directory }
    }

    /// How many rows there are that `wanted` says yes to.
    pub(crate) fn count(&self, wanted: impl Fn(&Row) -> bool) -> usize {
        let other = if self.accounts.len() > 1 { OTHER_ROWS } else { 0 };
        ROWS.iter().chain(&ROWS[..other]).filter(|row| wanted(row)).count()
    }
}

/// The counterpart, and the exporter's configuration for it: the last account signs in with a certificate.
fn partner_center(accounts: &[&str], now: Timestamp, directory: &Path) -> (Simulator, String) {
    let rows = |rows: &[Row]| {
        let line = |row: &Row| {
            format!(
                "  - {{ service: {}, workload: \"{}\", channel: {}, percent: {:?}, processed: \"{}\" }}\n",
                row.service,
                row.workload,
                row.channel,
                row.percent,
                day(now, days_behind(row.service)).strftime("%Y-%m-%dT00:00:00Z"),
            )
        };
        rows.iter().map(line).collect::<String>()
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let mut certificate = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let end = day(now, -200);
    let part = |number: i8| u8::try_from(number).unwrap();
    certificate.not_after = rcgen::date_time_ymd(end.year().into(), part(end.month()), part(end.day()));
    let certificate = certificate.self_signed(&key).unwrap().pem();
    let file = directory.join("certificate.pem");
    std::fs::write(&file, certificate.clone() + &key.serialize_pem()).unwrap();

    let other = rows(&ROWS[..OTHER_ROWS]).replace("  - ", "      - ");
    let simulator = Simulator::start(&format!(
        "client_certificate: {}\nusage: {{ answer: throttled, retry_after: 1, times: 1 }}\nrows:\n{}\
         tenants:\n  {OTHER_TENANT}:\n    rows:\n{other}",
        serde_json::Value::from(certificate),
        rows(&ROWS),
    ));
    let (last, first) =
        accounts.split_last().map_or((None, None), |(last, rest)| (Some(*last), rest.first()));
    let secret = format!("client_secret: {}", partner_license_exporter::simulator::CLIENT_SECRET);
    let by_certificate = |account: String| {
        account.replace(&secret, &format!("client_certificate_file: \"{}\"", file.display()))
    };
    let of = |name, tenant| account(name, tenant, &simulator.url, &simulator.url, "");
    let config = match first {
        Some(first) => of(Some(first), TENANT) + &by_certificate(of(last, OTHER_TENANT)),
        None => by_certificate(of(last, TENANT)),
    };
    let config = format!("poll_interval: 6h\nthresholds:\n  overrides:{OVERRIDES}accounts:\n{config}");
    (simulator, config)
}

/// The day of a moment, some days before.
fn day(now: Timestamp, before: i64) -> jiff::civil::Date {
    (now - SignedDuration::from_hours(24 * before)).to_zoned(TimeZone::UTC).date()
}

/// How long Microsoft takes to aggregate a service's rows.
fn days_behind(service: &str) -> i64 {
    if service == "crm" { 5 } else { 2 }
}

// === history ===

fn write_history(file: &Path, exporter: &Exporter, end: f64) {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
    let exposed = exporter.metrics().0;
    for (series, live) in &exposed {
        let is_row = series.1.contains_key("workload");
        let days = if is_row { DAYS } else { OWN_DAYS };
        // One replica's own series are enough.
        for instance in &REPLICAS[..if is_row { 2 } else { 1 }] {
            write(&mut out, series, Some(instance), end - days * DAY, end, &|t| {
                Some(past(series, *live, t, end))
            });
        }
    }
    for (instance, up) in
        REPLICAS.map(|instance| (instance, 1.0)).into_iter().chain(OTHERS.map(|one| (one.0, one.1)))
    {
        let series = ("up".to_owned(), BTreeMap::new());
        write(&mut out, &series, Some(instance), end - OWN_DAYS * DAY, end, &|_| Some(up));
    }
    for (instance, up, polls) in OTHERS {
        for series in exposed.keys() {
            let value = match series.0.as_str() {
                "partner_license_exporter_build_info" => 1.0,
                "partner_license_up" => 0.0,
                "partner_license_scrapes_total" => polls,
                _ => continue,
            };
            let until = if up == 0.0 { end - HOUR } else { end };
            write(&mut out, series, Some(instance), end - DAY, until, &|_| Some(value));
        }
    }
    for alert in alerts(&exposed.keys().cloned().collect::<Vec<_>>(), end) {
        alert.write(&mut out, end);
    }
    out.write_all(b"# EOF\n").unwrap();
    out.flush().unwrap();
}

/// Writes the samples of a series, one each step; where there is no value there is a gap.
fn write(
    out: &mut impl std::io::Write,
    (name, labels): &Series,
    instance: Option<&str>,
    from: f64,
    to: f64,
    value: &dyn Fn(f64) -> Option<f64>,
) {
    let mut line = format!("{name}{{");
    if let Some(instance) = instance {
        write!(line, "instance=\"{instance}\",job=\"partner-license\"").unwrap();
    }
    for (label, value) in labels {
        let comma = if line.ends_with('{') { "" } else { "," };
        write!(line, "{comma}{label}={}", serde_json::Value::from(value.as_str())).unwrap();
    }
    line.push_str("} ");
    let mut at = from;
    while at <= to {
        if let Some(value) = value(at) {
            writeln!(out, "{line}{value} {at}").unwrap();
        }
        at += STEP;
    }
}

/// What a series that is now `live` was at `t`.
fn past((name, labels): &Series, live: f64, t: f64, end: f64) -> f64 {
    let polls = ((t - (end - OWN_DAYS * DAY)) / POLL).floor();
    let last_poll = (t / POLL).floor() * POLL;
    let midnight = (t / DAY).floor() * DAY;
    let last_success = if in_outage(t, end) { outage(end).0 } else { last_poll };
    let failed =
        if t > outage(end).0 { ((t.min(outage(end).1) - outage(end).0) / HOUR).floor() } else { 0.0 };
    match name.as_str() {
        "partner_license_usage_percent" => percent(row_of(labels).unwrap(), live, t, end),
        "partner_license_usage_processed_timestamp_seconds" => {
            // On Sundays no new figures come.
            let is_sunday = (midnight / DAY + 4.0).rem_euclid(7.0) == 0.0;
            #[expect(clippy::cast_precision_loss, reason = "a few days")]
            let behind = days_behind(&labels["service"]) as f64 + f64::from(u8::from(is_sunday));
            midnight - behind * DAY
        }
        "partner_license_up" => f64::from(u8::from(!in_outage(t, end))),
        "partner_license_last_scrape_timestamp_seconds" => last_poll,
        "partner_license_last_success_timestamp_seconds"
        | "partner_license_refresh_token_issued_timestamp_seconds" => last_success,
        "partner_license_refresh_token_expiry_timestamp_seconds" => last_success + 90.0 * DAY,
        "partner_license_access_token_expiry_timestamp_seconds" => last_success + HOUR,
        "partner_license_next_scrape_timestamp_seconds" => last_poll + POLL,
        "partner_license_scrape_duration_seconds" => 0.4 + 0.2 * (last_poll / DAY).sin(),
        "partner_license_scrapes_total" => polls + failed,
        "partner_license_scrape_failures_total" => match labels["reason"].as_str() {
            "network" => failed,
            "throttled" => (polls / 11.0).floor(),
            _ => 0.0,
        },
        "partner_license_api_throttled_total" if labels["endpoint"] == "usage" => (polls / 11.0).floor(),
        "partner_license_api_retries_total" => 2.0 * failed,
        "partner_license_usage_rows_rejected_total" if labels["reason"] == "missing_value" => {
            (polls / 4.0).floor()
        }
        "partner_license_api_requests_total" => match labels["code"].as_str() {
            "200" => polls,
            "429" => (polls / 11.0).floor(),
            _ => 3.0 * failed,
        },
        name if name.starts_with("partner_license_api_request_duration_seconds") => {
            let share = match labels.get("le").map(String::as_str) {
                Some("0.05") => 0.0,
                Some("0.1") => 0.3,
                Some("0.25") => 0.8,
                Some("0.5") => 0.97,
                _ => 1.0,
            };
            polls * share
        }
        "promhttp_metric_handler_requests_total" if labels["code"] == "200" => t / 15.0,
        "process_cpu_seconds_total" => t / 500.0,
        "process_resident_memory_bytes" => live * (1.0 + 0.1 * (t / DAY).sin()),
        "process_open_fds" => live + (t / HOUR).sin().round(),
        _ => live,
    }
}

fn row_of(labels: &BTreeMap<String, String>) -> Option<&'static Row> {
    let names = ["service", "workload", "channel"].map(|label| labels[label].as_str());
    ROWS.iter().find(|row| [row.service, row.workload, row.channel] == names)
}

/// Half a day, about three days ago, in which Partner Center could not be reached.
fn outage(end: f64) -> (f64, f64) {
    // Not at a step of any graph: between two windows of a rate something gets lost, if samples are this far apart.
    let from = ((end - 3.0 * DAY) / DAY).floor() * DAY + 1500.0;
    (from, from + 0.5 * DAY)
}

fn in_outage(t: f64, end: f64) -> bool {
    let (from, to) = outage(end);
    (from..to).contains(&t)
}

/// A figure a day, on a line that ends at `live`, with some swing.
fn percent(row: &Row, live: f64, t: f64, end: f64) -> f64 {
    let days = (end / DAY).floor() - (t / DAY).floor();
    let swing = ((days + live) * 0.7).sin() * (1.0 + live / 40.0);
    (((live - row.gain * days + if days > 0.0 { swing } else { 0.0 }) * 100.0).round() / 100.0).max(0.0)
}

/// An alert of the past: since when its condition holds, since when it fires.
struct Alert {
    labels: Vec<(String, String)>,
    active: f64,
    fires: f64,
    ends: f64,
}

impl Alert {
    fn write(&self, out: &mut impl std::io::Write, end: f64) {
        let series = |name: &str, state: Option<&str>| {
            let state = state.map(|state| ("alertstate".to_owned(), state.to_owned()));
            (name.to_owned(), self.labels.iter().cloned().chain(state).collect())
        };
        let ends = self.ends.min(end);
        let mut one = |series: &Series, from, to, value: f64| {
            write(out, series, None, from, to, &|_| Some(value));
        };
        one(&series("ALERTS", Some("pending")), self.active, self.fires - STEP, 1.0);
        one(&series("ALERTS", Some("firing")), self.fires, ends, 1.0);
        one(&series("ALERTS_FOR_STATE", None), self.active, ends, self.active);
    }
}

/// Low usage for each row that is low now, for some since long ago; a drop that is over; an outage; one that is
/// pending; a replica that was down.
fn alerts(exposed: &[Series], end: f64) -> Vec<Alert> {
    let named = |name: &str, labels: &BTreeMap<String, String>| {
        let more = [("alertname", name), ("severity", "warning")];
        let more = more.map(|(label, value)| (label.to_owned(), value.to_owned()));
        more.into_iter().chain(labels.clone()).collect()
    };
    let mut alerts = Vec::new();
    let mut add = |labels, active, fires, ends| alerts.push(Alert { labels, active, fires, ends });
    let of = |metric: &'static str| {
        exposed.iter().filter(move |(name, _)| name == metric).map(|(_, labels)| labels)
    };
    for (n, labels) in of("partner_license_usage_threshold_percent").enumerate() {
        let row = row_of(labels).unwrap();
        if row.threshold.is_some_and(|threshold| row.percent < threshold) {
            #[expect(clippy::cast_precision_loss, reason = "a few days")]
            let since = end - (3.0 + 2.5 * n as f64) * DAY;
            add(named("PartnerLicenseUsageLow", labels), since, since + DAY, end);
            let since = end - 12.0 * DAY;
            add(named("PartnerLicenseUsageDropped", labels), since, since + DAY, since + 4.0 * DAY);
        }
    }
    for account in of("partner_license_up") {
        let (from, to) = outage(end);
        add(named("PartnerLicenseScrapeFailing", account), from, from + HOUR, to);
        add(named("PartnerLicenseApiThrottled", account), end - HOUR, end + STEP, end);
    }
    let target = [("instance", REPLICAS[1]), ("job", "partner-license")];
    let target = target.map(|(label, value)| (label.to_owned(), value.to_owned()));
    let from = end - 5.0 * DAY;
    add(named("PartnerLicenseExporterDown", &target.into()), from, from + HOUR, from + 5.0 * HOUR);
    alerts
}
