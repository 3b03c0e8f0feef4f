//! What the dashboards are tried on: two replicas of the real exporter under the simulator, scraped by a real
//! Prometheus that has forty days of history already.
//!
//! The history is the one that the demo makes up, for two replicas; further exporters are in the history alone.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use partner_license_exporter::commands::history::{History, JOB};
use partner_license_exporter::domain::clock::{Clock, unix_seconds};

use crate::dashboards::prometheus::Prometheus;
use crate::support::real::tool;
use crate::support::{Exporter, OTHER_TENANT, Simulator, TENANT, account, eventually, get};

pub(crate) const REPLICAS: [&str; 2] = ["exporter-1:10365", "exporter-2:10365"];

/// Exporters that are only in the history: whether they could be scraped, and how many polls had ended, in vain. One is
/// down, one has just been started with the rows of its predecessor, and one gets nowhere.
const OTHERS: [(&str, f64, f64); 3] =
    [("exporter-3:10365", 0.0, 7.0), ("exporter-4:10365", 1.0, 0.0), ("exporter-5:10365", 1.0, 3.0)];

const HOUR: f64 = 3600.0;

/// A row of the usage report.
pub(crate) struct Row {
    pub(crate) service: &'static str,
    pub(crate) workload: &'static str,
    pub(crate) channel: &'static str,
    /// Today.
    pub(crate) percent: f64,
    pub(crate) threshold: Option<f64>,
}

const fn row(names: (&'static str, &'static str, &'static str), percent: f64, threshold: Option<f64>) -> Row {
    Row { service: names.0, channel: names.1, workload: names.2, percent, threshold }
}

/// Among them: far below, just above, above 100 %, muted, with characters that a regular expression understands.
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
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: {JOB}\n  \
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
    let secret = format!("client_secret: {}", partner_center_simulator::CLIENT_SECRET);
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
    let scrape = get(&format!("{}/metrics", exporter.url));
    for (instance, up, polls) in OTHERS {
        let last = if up == 0.0 { end - HOUR } else { end };
        for line in scrape.lines().chain(["up 1"]) {
            let series = line.rsplit_once(' ').unwrap().0;
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.replace('}', if labels == "}" { "" } else { "," });
            let (value, to) = match name {
                "up" => (up, end),
                "partner_license_exporter_build_info" => (1.0, last),
                "partner_license_up" => (0.0, last),
                "partner_license_scrapes_total" => (polls, last),
                _ => continue,
            };
            for ago in (0..24).rev() {
                let at = to - 300.0 * f64::from(ago);
                writeln!(out, "{name}{{{labels}instance=\"{instance}\",job=\"{JOB}\"}} {value} {at}")
                    .unwrap();
            }
        }
    }
    let history = History { scrape: &scrape, instances: &REPLICAS, end, days: 40 };
    history.write(&mut out).unwrap();
    out.flush().unwrap();
}
