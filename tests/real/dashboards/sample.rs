//! The data on which the dashboards are tested: a real exporter that polls the simulator, scraped as two replicas by a
//! real Prometheus that already has forty days of history.
//!
//! The history is that of the demo, for two replicas. Further exporters exist in the history only.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use partner_license_exporter::commands::history::{Figures, History, JOB};
use partner_license_exporter::domain::clock::{Clock, unix_seconds};
use serde_json::{Value, json};

use crate::dashboards::prometheus::Prometheus;
use crate::support::real::tool;
use crate::support::{Exporter, OTHER_TENANT, Simulator, TENANT, account, eventually, get};

pub(crate) const REPLICAS: [&str; 2] = ["exporter-1:10365", "exporter-2:10365"];

/// Exporters that exist in the history only: instance, value of `up`, and number of polls, all of which failed. The
/// first one is down, the second one has just restored its rows after a restart, and the polls of the third one fail.
const OTHERS: [(&str, f64, f64); 3] =
    [("exporter-3:10365", 0.0, 7.0), ("exporter-4:10365", 1.0, 0.0), ("exporter-5:10365", 1.0, 3.0)];

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
const PERCENT: &str = "partner_license_usage_percent";
const PROCESSED: &str = "partner_license_usage_processed_timestamp_seconds";
const ACTIVE: &str = "partner_license_usage_active_licenses";
const DEPLOYMENT_PROCESSED: &str = "partner_license_deployment_processed_timestamp_seconds";
const CUSTOMERS_PROCESSED: &str = "partner_license_customer_processed_timestamp_seconds";

/// A row of the usage report.
pub(crate) struct Row {
    pub(crate) service: &'static str,
    pub(crate) workload: &'static str,
    pub(crate) channel: &'static str,
    /// The usage today.
    pub(crate) percent: f64,
    pub(crate) threshold: Option<f64>,
}

const fn row(names: (&'static str, &'static str, &'static str), percent: f64, threshold: Option<f64>) -> Row {
    Row { service: names.0, channel: names.1, workload: names.2, percent, threshold }
}

/// Rows far below their threshold, just above it, above 100 %, muted, and with special characters of regular
/// expressions.
pub(crate) const ROWS: [Row; 11] = [
    row(("o365", "reseller", "Exchange"), 91.5, Some(60.0)),
    row(("o365", "reseller", "SharePoint"), 68.2, Some(40.0)),
    row(("o365", "reseller", "Teams"), 82.7, Some(40.0)),
    row(("o365", "reseller", "Skype For Business"), 9.4, Some(40.0)),
    row(("o365", "reseller", "Yammer"), 106.8, Some(40.0)),
    row(("o365", "reseller", "Viva Insights"), 42.6, Some(40.0)),
    row(("o365", "direct", "Exchange"), 57.1, Some(60.0)),
    row(("o365", "direct", "Teams (calls + PSTN)"), 35.3, Some(40.0)),
    row(("crm", "reseller", "Microsoft Dynamics CRM"), 57.4, Some(40.0)),
    row(("crm", "reseller", "SharePoint"), 22.9, None),
    row(("crm", "direct", "Microsoft Dynamics CRM"), 65.5, Some(40.0)),
];
const OVERRIDES: &str = "
  - { service: o365, workload: Exchange, percent: 60 }
  - { service: crm, workload: SharePoint, mute: true }
";
/// The number of rows of the second account, if there is one.
const OTHER_ROWS: usize = 3;
/// The customers of each account: their ids, names, and numbers of licences that qualify for each workload. Each has all
/// rows of the account.
pub(crate) const CUSTOMERS: [(&str, &str, f64); 4] = [
    ("0112a436-9d8f-4d8c-9e0f-6b1f0c5a7d01", "Fourth Coffee", 4000.0),
    ("7b1e5c5e-2f57-4f0a-8a35-1d2c3b4a5f02", "Proseware (\"UK\")", 3000.0),
    ("9c2f6d6f-3068-4a1b-9b46-2e3d4c5b6a03", "Adventure Works", 2000.0),
    ("ad307e70-4179-4b2c-8c57-3f4e5d6c7b04", "Wide World Importers", 1000.0),
];
/// The customer that exists in the history only.
pub(crate) const VANISHED: &str = "be418f81-5280-4c3d-9d68-4a5b6c7d8e05";
/// The name of the first customer, as the exporters have it that exist in the history only.
const FORMER_NAME: &str = "Third Coffee";
/// The number of rows of customers that are published, which is less than those of the first account.
pub(crate) const SERIES: usize = 40;

/// An exporter, a simulator and a Prometheus, which end when this value is dropped.
pub(crate) struct Sample {
    pub(crate) prometheus: Prometheus,
    /// The names of the accounts; none if the only account has no name.
    pub(crate) accounts: &'static [&'static str],
    /// The time at which all data were present, in Unix seconds.
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
        let (simulator, config) = start_simulator(accounts, now, directory.path());
        let exporter = Exporter::start(&config, &[]);
        // The first poll is throttled, so the counters of failures have a value.
        let collections = 3 * accounts.len().max(1);
        exporter.wait_for("successful polls of all collections", |metrics| {
            let ups = metrics.named("partner_license_up").filter(|(_, up)| *up > 0.0);
            (ups.count() == collections).then_some(())
        });

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
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: {JOB}\n  \
             honor_labels: true\n  static_configs:\n{}",
            targets.concat()
        );
        let prometheus = Prometheus::start(suite, directory.path(), &config);
        // Two scrapes by this Prometheus itself are needed for the growth of counters.
        let now = eventually("scrapes of both replicas", || {
            let now = unix_seconds(clock.now());
            let scrapes = prometheus.query("count_over_time(scrape_samples_scraped[1m])", now).unwrap();
            (scrapes.len() == 2 && scrapes.iter().all(|series| series.samples[0].1 >= 2.0)).then_some(now)
        });
        Self { prometheus, accounts, now, _exporter: exporter, _simulator: simulator, _directory: directory }
    }

    /// The number of rows for which `wanted` is true.
    pub(crate) fn count(&self, wanted: impl Fn(&Row) -> bool) -> usize {
        let other = if self.accounts.len() > 1 { OTHER_ROWS } else { 0 };
        ROWS.iter().chain(&ROWS[..other]).filter(|row| wanted(row)).count()
    }
}

/// Starts a simulator, and returns it with the exporter's configuration. The last account signs in with a certificate.
/// All collections are polled; the customers have no names if the account has none.
fn start_simulator(accounts: &[&str], now: Timestamp, directory: &Path) -> (Simulator, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut certificate = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let end = day(now, -200);
    let part = |number: i8| u8::try_from(number).unwrap();
    certificate.not_after = rcgen::date_time_ymd(end.year().into(), part(end.month()), part(end.day()));
    let certificate = certificate.self_signed(&key).unwrap().pem();
    let file = directory.join("certificate.pem");
    std::fs::write(&file, certificate.clone() + &key.serialize_pem()).unwrap();

    let simulator = Simulator::start(
        &json!({
            "client_certificate": certificate,
            // Otherwise all rows would have one date.
            "commercial": { "groupby": "ignored" },
            "tenants": { TENANT: collections(&ROWS, now), OTHER_TENANT: collections(&ROWS[..OTHER_ROWS], now) },
        })
        .to_string(),
    );
    let (last, first) =
        accounts.split_last().map_or((None, None), |(last, rest)| (Some(*last), rest.first()));
    let secret = format!("client_secret: {}", partner_center_simulator::CLIENT_SECRET);
    let by_certificate = |account: String| {
        account.replace(&secret, &format!("client_certificate_file: \"{}\"", file.display()))
    };
    let more = format!(
        ", collections: {{ usage: {{ source: commercial }}, deployment: {{ enabled: true }}, \
         customers: {{ enabled: true, series: {SERIES}, names: {} }} }}",
        !accounts.is_empty(),
    );
    let of = |name, tenant| account(name, tenant, &simulator.url, &simulator.url, &more);
    let config = match first {
        Some(first) => of(Some(first), TENANT) + &by_certificate(of(last, OTHER_TENANT)),
        None => by_certificate(of(last, TENANT)),
    };
    let config = format!("poll_interval: 6h\nthresholds:\n  overrides:{OVERRIDES}accounts:\n{config}");
    (simulator, config)
}

/// What the simulator answers if these are the rows: each is the sum of all customers, who use the same share.
fn collections(rows: &[Row], now: Timestamp) -> Value {
    let of_customers = |figures: fn(&mut Value, &Row, f64)| -> Vec<Value> {
        let pairs = rows.iter().flat_map(|row| CUSTOMERS.map(|customer| (row, customer)));
        let json = |(row, (id, name, licenses)): (&Row, (&str, &str, f64))| {
            let processed = day(now, days_behind(row.service)).strftime("%Y-%m-%dT00:00:00Z");
            let mut json = json!({
                "customerTenantId": id, "customerName": name, "processedDateTime": processed.to_string(),
                "serviceCode": row.service, "workloadName": row.workload, "channel": row.channel,
            });
            figures(&mut json, row, licenses);
            json
        };
        pairs.map(json).collect()
    };
    let usage = of_customers(|json, row, licenses| {
        json["licensesActive"] = (row.percent / 100.0 * licenses).round().into();
        json["licensesQualified"] = licenses.into();
    });
    let deployment = of_customers(|json, row, licenses| {
        let share = if row.channel == "direct" { 0.95 } else { 0.9 };
        json["licensesDeployed"] = (share * licenses).round().into();
        json["licensesSold"] = licenses.into();
    });
    json!({
        "commercial_usage": { "answer": "throttled", "retry_after": 1, "times": 1, "rows": usage },
        "commercial_deployment": { "rows": deployment },
    })
}

/// The date some days before a time.
fn day(now: Timestamp, before: i64) -> jiff::civil::Date {
    (now - SignedDuration::from_hours(24 * before)).to_zoned(TimeZone::UTC).date()
}

/// The age of a service's figures, in days.
fn days_behind(service: &str) -> i64 {
    if service == "crm" { 5 } else { 2 }
}

// === history ===

fn write_history(file: &Path, exporter: &Exporter, end: f64) {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
    let scrape = get(&format!("{}/metrics", exporter.url));
    for (instance, up, polls) in OTHERS {
        let last = if up == 0.0 { end - HOUR } else { end };
        for line in scrape.lines().chain(["up 1"]) {
            let series = line.rsplit_once(' ').unwrap().0;
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.replace('}', if labels == "}" { "" } else { "," });
            let labels = labels.replace(CUSTOMERS[0].1, FORMER_NAME);
            let (value, to) = match name {
                "up" => (up, end),
                "partner_license_exporter_build_info" | "partner_license_customer_info" => (1.0, last),
                "partner_license_up" => (0.0, last),
                "partner_license_scrapes_total" => (polls, last),
                "partner_license_last_success_timestamp_seconds" => (end - DAY, last),
                // An older poll has ten times as many licences, and a customer who has vanished since.
                _ if name.starts_with("partner_license_customer") => (10.0 * series_value(line), last),
                _ => continue,
            };
            let labels = if name.starts_with("partner_license_customer") {
                labels.replace(CUSTOMERS[1].0, VANISHED).replace(CUSTOMERS[1].1, "Vanished")
            } else {
                labels
            };
            for ago in (0..24).rev() {
                let at = to - 300.0 * f64::from(ago);
                writeln!(out, "{name}{{{labels}instance=\"{instance}\",job=\"{JOB}\"}} {value} {at}")
                    .unwrap();
            }
        }
    }
    write_former_customers(&mut out, &scrape, end);
    write_last_year(&mut out, &scrape, end);
    // The last customer is new, so only what the exporter says now has it.
    let (new, _, _) = CUSTOMERS[CUSTOMERS.len() - 1];
    let old: String =
        scrape.lines().filter(|line| !line.contains(new)).flat_map(|line| [line, "\n"]).collect();
    let figures = past(&old);
    let history = History { scrape: &old, figures: &figures, instances: &REPLICAS, end, days: 40 };
    history.write(&mut out).unwrap();
    out.flush().unwrap();
}

/// Writes figures of customers of a month and of a week ago: those of today, and those of a customer who has vanished.
fn write_former_customers(out: &mut impl std::io::Write, scrape: &str, end: f64) {
    let (id, name, _) = CUSTOMERS[0];
    let polled = "partner_license_last_success_timestamp_seconds";
    for line in scrape.lines().filter(|line| line.starts_with(polled) && line.contains("\"customers\"")) {
        let labels = line.split_once('{').unwrap().1.rsplit_once(' ').unwrap().0;
        let at = end - 30.0 * DAY - 300.0;
        writeln!(out, "{polled}{{instance=\"{}\",job=\"{JOB}\",{labels} {at} {at}", REPLICAS[0]).unwrap();
    }
    let is_old = |line: &&str| line.contains(id) && !line.starts_with('#');
    for line in scrape.lines().filter(is_old) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (metric, labels) = series.split_once('{').unwrap();
        let vanished = labels.replace(id, VANISHED).replace(name, "Vanished");
        for (labels, days) in [(labels, 30.0), (&vanished, 30.0), (&vanished, 7.0)] {
            let at = end - days * 24.0 * HOUR - 300.0;
            writeln!(out, "{metric}{{instance=\"{}\",job=\"{JOB}\",{labels} {value} {at}", REPLICAS[0])
                .unwrap();
        }
    }
}

/// Writes the usage of two days a year ago, as `backfill` would: nine tenths of that of today.
fn write_last_year(out: &mut impl std::io::Write, scrape: &str, end: f64) {
    for line in scrape.lines().filter(|line| line.starts_with(PERCENT)) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let labels = series.split_once('{').unwrap().1;
        for ago in (0..2 * 24 * 12_u16).rev() {
            let (at, then) =
                (end - 364.0 * DAY - 300.0 * f64::from(ago), 0.9 * value.parse::<f64>().unwrap());
            writeln!(out, "{PERCENT}{{instance=\"{}\",job=\"{JOB}\",{labels} {then} {at}", REPLICAS[0])
                .unwrap();
        }
    }
}

/// Returns the value of a line of an exposition.
fn series_value(line: &str) -> f64 {
    line.rsplit_once(' ').unwrap().1.parse().unwrap_or_default()
}

/// The figures of the days before those of the scrape: on a trend with oscillation, and those of a low row had dropped.
fn past(scrape: &str) -> Figures {
    let parse = |line: &'static str| {
        scrape
            .lines()
            .filter_map(move |it| it.strip_prefix(line)?.rsplit_once(' '))
            .map(|(labels, value)| (labels.to_owned(), value.parse::<f64>().unwrap()))
    };
    let of = |name, labels: &str| parse(name).find(|(other, _)| other == labels).map(|(_, value)| value);
    let day = |seconds: f64| format!("{}", (seconds / DAY).floor()).parse::<i64>().unwrap();
    let mut figures = Figures::new();
    let mut add = |name: &str, labels: &str, day: i64, value: f64| {
        figures.entry(format!("{name}{labels}")).or_default().insert(day, value);
    };
    for (n, (labels, percent)) in (0_u8..).zip(parse(PERCENT)) {
        let processed = of(PROCESSED, &labels).unwrap();
        let is_low = of("partner_license_usage_threshold_percent", &labels).is_some_and(|it| percent < it);
        let change = f64::from(n * 7 % 11) * 0.15 - 0.75;
        let daily = if is_low { -change.abs() } else { change };
        for ago in (1_u8..=45).map(f64::from) {
            let swing = ((ago + percent) * 0.7).sin() * (1.0 + percent / 40.0);
            let drop = if is_low && ago > 10.0 + 2.0 * f64::from(n % 5) { 25.0 } else { 0.0 };
            let then = ((percent - daily * ago + swing + drop) * 100.0).round().max(0.0) / 100.0;
            let at = processed - ago * DAY;
            add(PERCENT, &labels, day(at), then);
            add(PROCESSED, &labels, day(at), at);
            if let Some(active) = of(ACTIVE, &labels) {
                add(ACTIVE, &labels, day(at), (active * then / percent).round());
            }
        }
    }
    for name in ["partner_license_deployment_percent", "partner_license_deployment_deployed_licenses"] {
        for (labels, value) in parse(name) {
            let processed = of(DEPLOYMENT_PROCESSED, &labels).unwrap();
            for ago in (1_u8..=45).map(f64::from) {
                add(name, &labels, day(processed - ago * DAY), (value * (1.0 - 0.004 * ago)).round());
                add(DEPLOYMENT_PROCESSED, &labels, day(processed - ago * DAY), processed - ago * DAY);
            }
        }
    }
    for (labels, processed) in parse(CUSTOMERS_PROCESSED) {
        for ago in (1_u8..=45).map(f64::from) {
            let at = processed - ago * DAY;
            add(CUSTOMERS_PROCESSED, &labels, day(at), at);
        }
    }
    for name in ["partner_license_customer_active_licenses", "partner_license_customer_deployed_licenses"] {
        for (labels, value) in parse(name) {
            let (_, processed) = parse(CUSTOMERS_PROCESSED).next().unwrap();
            for ago in (1_u8..=45).map(f64::from) {
                add(name, &labels, day(processed - ago * DAY), (value * (1.0 - 0.004 * ago)).round());
            }
        }
    }
    figures
}
