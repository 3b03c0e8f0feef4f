//! Every series this program exports: the one table of families, and how their samples come about.
//!
//! The [`Page`] holds what accounts have to show. It is rendered when something changes; a scrape copies its
//! bytes and appends the few families of the process itself, made by [`OwnMetrics`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{Clock, unix_seconds};
use crate::config::Thresholds;
use crate::exposition::{Family, Format, Kind, Labels, Samples, Value, render};
use crate::poll::Scene;
use crate::reason::Reason;
use crate::status::{AccountStatus, Code, Credentials, Endpoint, Ledger};
use crate::usage::{LicenseUsage, RowError};

/// Declares the families: the name's constant, type, labels and HELP, in the order of the exposition.
macro_rules! families {
    ($($(#[$attribute:meta])* $constant:ident $kind:ident $name:literal [$($label:literal)*] $help:literal)*) => {
        $($(#[$attribute])* static $constant: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*
        /// Every family, in the order in which they are exported.
        pub static FAMILIES: &[&Family] = &[$($(#[$attribute])* &$constant),*];
    };
}

families! {
    USAGE Gauge "partner_license_usage_percent" ["service" "workload" "channel"]
        "Share of qualified licences in use, scale 0-100, may exceed 100: proratedLicensesUsagePercent of Partner Center's /v1/analytics/licenses/usage, polled in the background and cached."
    PROCESSED Gauge "partner_license_usage_processed_timestamp_seconds" ["service" "workload" "channel"]
        "When Microsoft aggregated the row, usually days ago: processedDateTime of Partner Center's /v1/analytics/licenses/usage, polled in the background and cached."
    THRESHOLD Gauge "partner_license_usage_threshold_percent" ["service" "workload" "channel"]
        "Usage below this share, scale 0-100, counts as low, as configured; absent for muted rows."
    ROWS Gauge "partner_license_usage_rows" []
        "Rows in the last good usage collection; 0 when it was empty."
    REJECTED Counter "partner_license_usage_rows_rejected_total" ["reason"]
        "Rows dropped from usage collections, by reason."
    UP Gauge "partner_license_up" []
        "Whether the last poll of the Partner Center API succeeded (1) or not (0)."
    SCRAPES Counter "partner_license_scrapes_total" []
        "Polls of the Partner Center API that ended, good or not."
    FAILURES Counter "partner_license_scrape_failures_total" ["reason"]
        "Polls of the Partner Center API that failed, by reason."
    DURATION Gauge "partner_license_scrape_duration_seconds" []
        "How long the last poll of the Partner Center API took, good or not."
    LAST_SCRAPE Gauge "partner_license_last_scrape_timestamp_seconds" []
        "When the last poll of the Partner Center API ended, good or not."
    LAST_SUCCESS Gauge "partner_license_last_success_timestamp_seconds" []
        "When the last good poll of the Partner Center API ended."
    NEXT_SCRAPE Gauge "partner_license_next_scrape_timestamp_seconds" []
        "When the next poll of the Partner Center API is due."
    INTERVAL Gauge "partner_license_poll_interval_seconds" []
        "Pause between two good polls of the Partner Center API, as configured."
    REQUESTS Counter "partner_license_api_requests_total" ["endpoint" "code"]
        "HTTP requests sent to Entra ID (token) and Partner Center (usage), by status code, or error when there was no complete answer."
    REQUEST_DURATION Histogram "partner_license_api_request_duration_seconds" ["endpoint"]
        "Duration of HTTP requests sent to Entra ID (token) and Partner Center (usage)."
    RETRIES Counter "partner_license_api_retries_total" ["endpoint"]
        "HTTP requests that repeated a failed one within the same poll."
    THROTTLED Counter "partner_license_api_throttled_total" ["endpoint"]
        "HTTP answers that asked to slow down: 429, or any with Retry-After."
    ACCESS_EXPIRY Gauge "partner_license_access_token_expiry_timestamp_seconds" []
        "When the access token in use expires; it is renewed before."
    REFRESH_ISSUED Gauge "partner_license_refresh_token_issued_timestamp_seconds" []
        "When the refresh token in use was issued; absent as long as only the configuration knows it."
    REFRESH_EXPIRY Gauge "partner_license_refresh_token_expiry_timestamp_seconds" []
        "When the refresh token in use expires unless it is renewed before: 90 days after its issue."
    CERTIFICATE_EXPIRY Gauge "partner_license_client_certificate_expiry_timestamp_seconds" []
        "When the client certificate in use expires; absent where the application signs in without one."
    MFA Gauge "partner_license_mfa_compliant" []
        "Whether Partner Center called the sign-in compliant with its demand for multi-factor authentication (1) or not (0); absent until it has said so."
    BUILD_INFO Gauge "partner_license_exporter_build_info" ["version" "revision" "branch" "rustversion"]
        "A metric with a constant '1' value labeled by version, revision, branch and rustversion from which partner_license_exporter was built."
    RELOAD_OK Gauge "partner_license_exporter_config_last_reload_successful" []
        "Whether the last attempt to load the configuration succeeded (1) or not (0)."
    RELOAD_TIME Gauge "partner_license_exporter_config_last_reload_success_timestamp_seconds" []
        "When the configuration was last loaded successfully."
    HANDLED Counter "promhttp_metric_handler_requests_total" ["code"]
        "Total number of scrapes by HTTP status code."
    IN_FLIGHT Gauge "promhttp_metric_handler_requests_in_flight" []
        "Current number of scrapes being served."
    CPU Counter "process_cpu_seconds_total" []
        "Total user and system CPU time spent in seconds."
    OPEN_FDS Gauge "process_open_fds" []
        "Number of open file descriptors."
    MAX_FDS Gauge "process_max_fds" []
        "Maximum number of open file descriptors."
    VIRTUAL Gauge "process_virtual_memory_bytes" []
        "Virtual memory size in bytes."
    RESIDENT Gauge "process_resident_memory_bytes" []
        "Resident memory size in bytes."
    THREADS Gauge "process_threads" []
        "Number of OS threads in the process."
    START_TIME Gauge "process_start_time_seconds" []
        "Start time of the process since unix epoch in seconds."
}

/// All accounts, and what of the configuration their series depend on.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// One per account, in the order of the configuration.
    pub accounts: Vec<Ledger>,
    /// As configured.
    pub poll_interval: Duration,
    /// As configured; `None` = rows never vanish.
    pub stale_after: Option<Duration>,
    /// As configured.
    pub thresholds: Thresholds,
}

/// The series of all accounts, ready to be sent, in every format.
#[derive(Debug)]
pub struct Page {
    bodies: [String; Format::ALL.len()],
}

impl Page {
    /// The page in a format, without the format's trailer.
    pub fn body(&self, format: Format) -> &str {
        &self.bodies[format as usize]
    }
}

// === impl Fleet ===

impl Scene for Fleet {
    type Picture = Page;

    fn draw(&self, now: Timestamp) -> Page {
        let statuses: Vec<AccountStatus> = self.accounts.iter().map(Ledger::read).collect();
        let samples = self.samples(&statuses, now);
        Page { bodies: Format::ALL.map(|format| render(samples.clone(), format)) }
    }

    fn changes_by_itself_at(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.accounts.iter().filter_map(|ledger| ledger.read().vanishes_at(self.stale_after));
        ends.filter(|end| *end > now).min()
    }
}

impl Fleet {
    fn samples(&self, statuses: &[AccountStatus], now: Timestamp) -> Vec<Samples> {
        // One sample per account, for those that have one.
        let each = |family: &'static Family, value: &dyn Fn(&AccountStatus) -> Option<Value>| {
            let point = |status| Some((account(status), value(status)?));
            Samples::new(family, statuses.iter().filter_map(point).collect())
        };
        // One sample per entry of a map or list that each account has.
        let by = |family: &'static Family, entries: &dyn Fn(&AccountStatus) -> Vec<(Labels, Value)>| {
            let points = statuses.iter().flat_map(|status| {
                entries(status).into_iter().map(|(labels, value)| ([account(status), labels].concat(), value))
            });
            Samples::new(family, points.collect())
        };
        // One sample per visible row.
        let rows = |family: &'static Family, value: &dyn Fn(&LicenseUsage) -> Option<f64>| {
            by(family, &|status| {
                let rows = status.visible(now, self.stale_after).map_or(&[][..], |good| good.report.rows());
                rows.iter().filter_map(|row| Some((row_labels(row), Value::Gauge(value(row)?)))).collect()
            })
        };
        let time = |at: Option<Timestamp>| Some(Value::Gauge(unix_seconds(at?)));
        vec![
            rows(&USAGE, &|row| Some(row.percent.get())),
            rows(&PROCESSED, &|row| Some(unix_seconds(row.processed_at))),
            rows(&THRESHOLD, &|row| self.thresholds.applying_to(row)),
            each(&ROWS, &|status| Some(Value::Gauge(float(status.good.as_ref()?.report.rows().len())))),
            by(&REJECTED, &|status| {
                let count = |error: RowError| status.rejected.get(&error).copied().unwrap_or(0);
                RowError::ALL
                    .map(|error| (label("reason", error.as_str()), Value::Count(count(error))))
                    .into()
            }),
            each(&UP, &|status| Some(flag(status.up()))),
            each(&SCRAPES, &|status| Some(Value::Count(status.polls))),
            by(&FAILURES, &|status| {
                let count = |reason: Reason| status.failures.get(&reason).copied().unwrap_or(0);
                Reason::ALL
                    .map(|reason| (label("reason", reason.as_str()), Value::Count(count(reason))))
                    .into()
            }),
            each(&DURATION, &|status| Some(Value::Gauge(status.took?.as_secs_f64()))),
            each(&LAST_SCRAPE, &|status| time(status.last_at)),
            each(&LAST_SUCCESS, &|status| time(status.good.as_ref().map(|good| good.at))),
            each(&NEXT_SCRAPE, &|status| time(status.next_at)),
            each(&INTERVAL, &|_| Some(Value::Gauge(self.poll_interval.as_secs_f64()))),
            by(&REQUESTS, &|status| {
                let labels = |endpoint: Endpoint, code: Code| {
                    let code = match code {
                        Code::Status(status) => status.to_string(),
                        Code::Error => "error".to_owned(),
                    };
                    vec![("endpoint", endpoint.as_str().to_owned()), ("code", code)]
                };
                let requests = status.traffic.requests.iter();
                requests
                    .map(|((endpoint, code), count)| (labels(*endpoint, *code), Value::Count(*count)))
                    .collect()
            }),
            by(&REQUEST_DURATION, &|status| {
                let histogram = |latency: &crate::status::Latency| Value::Histogram(latency.0.clone());
                by_endpoint(&status.traffic.durations, histogram)
            }),
            by(&RETRIES, &|status| by_endpoint(&status.traffic.retries, |count| Value::Count(*count))),
            by(&THROTTLED, &|status| by_endpoint(&status.traffic.throttled, |count| Value::Count(*count))),
            each(&ACCESS_EXPIRY, &|status| time(status.credentials.access_token_expires_at)),
            each(&REFRESH_ISSUED, &|status| time(status.credentials.refresh_token_issued_at)),
            each(&REFRESH_EXPIRY, &|status| {
                let issued_at = status.credentials.refresh_token_issued_at?;
                time(issued_at.checked_add(Credentials::REFRESH_TOKEN_LIFETIME).ok())
            }),
            each(&CERTIFICATE_EXPIRY, &|status| time(status.credentials.client_certificate_expires_at)),
            each(&MFA, &|status| Some(flag(status.credentials.mfa_compliant?))),
        ]
    }
}

fn account(status: &AccountStatus) -> Labels {
    status.name.iter().map(|name| ("account", name.as_str().to_owned())).collect()
}

/// 1 for yes, 0 for no.
fn flag(value: bool) -> Value {
    Value::Gauge(f64::from(u8::from(value)))
}

fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

fn row_labels(row: &LicenseUsage) -> Labels {
    vec![
        ("service", row.service.clone()),
        ("workload", row.workload.clone()),
        ("channel", row.channel.clone()),
    ]
}

fn by_endpoint<T>(map: &BTreeMap<Endpoint, T>, value: impl Fn(&T) -> Value) -> Vec<(Labels, Value)> {
    map.iter().map(|(endpoint, of)| (label("endpoint", endpoint.as_str()), value(of))).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^53")]
fn float(count: usize) -> f64 {
    count as f64
}

// === OwnMetrics ===

/// The series of the process itself, made anew for each scrape.
#[derive(Debug)]
pub struct OwnMetrics {
    /// Whether `promhttp_*` and `process_*` are exported too.
    with_process: bool,
    reloads: std::sync::Mutex<Reloads>,
    handled: [AtomicU64; HANDLED_CODES.len()],
    in_flight: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Reloads {
    last_ok: bool,
    last_success: Timestamp,
}

/// The statuses with which `/metrics` answers.
const HANDLED_CODES: [u16; 3] = [200, 500, 503];

/// What this binary was built from.
pub const BUILD: [(&str, &str); 4] = [
    ("version", env!("CARGO_PKG_VERSION")),
    ("revision", env!("BUILD_REVISION")),
    ("branch", env!("BUILD_BRANCH")),
    ("rustversion", env!("BUILD_RUSTVERSION")),
];

impl OwnMetrics {
    /// Those of a program that has just loaded its configuration.
    pub fn new(with_process: bool, clock: &Clock) -> Self {
        let reloads = Reloads { last_ok: true, last_success: clock.now() };
        Self {
            with_process,
            reloads: reloads.into(),
            handled: Default::default(),
            in_flight: AtomicU64::new(0),
        }
    }

    /// Takes note of a reload.
    pub fn reloaded(&self, ok: bool, at: Timestamp) {
        let mut reloads = self.reloads.lock().expect("nobody panics while holding it");
        reloads.last_ok = ok;
        if ok {
            reloads.last_success = at;
        }
    }

    /// Takes note of a scrape that begins; the guard's end is the scrape's.
    pub fn scrape_begins(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Takes note of the status a scrape is answered with.
    pub fn answered(&self, code: u16) {
        if let Some(n) = HANDLED_CODES.iter().position(|known| *known == code) {
            self.handled[n].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The process' families in a format, without its trailer.
    pub fn body(&self, format: Format) -> String {
        let reloads = *self.reloads.lock().expect("nobody panics while holding it");
        let build = BUILD.map(|(name, value)| (name, value.to_owned())).to_vec();
        let mut samples = vec![
            Samples::new(&BUILD_INFO, vec![(build, Value::Gauge(1.0))]),
            Samples::single(&RELOAD_OK, flag(reloads.last_ok)),
            Samples::single(&RELOAD_TIME, Value::Gauge(unix_seconds(reloads.last_success))),
        ];
        if self.with_process {
            let count = |n: usize| Value::Count(self.handled[n].load(Ordering::Relaxed));
            let handled = HANDLED_CODES.iter().enumerate();
            let handled = handled.map(|(n, code)| (label("code", &code.to_string()), count(n))).collect();
            samples.push(Samples::new(&HANDLED, handled));
            #[expect(clippy::cast_precision_loss, reason = "a number of requests in flight is small")]
            samples.push(Samples::single(
                &IN_FLIGHT,
                Value::Gauge(self.in_flight.load(Ordering::Relaxed) as f64),
            ));
            samples.extend(process().unwrap_or_default());
        }
        render(samples, format)
    }
}

/// A scrape being served.
#[derive(Debug)]
pub struct InFlight(Arc<OwnMetrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The standard process families, from /proc; none where it cannot be read.
#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "bytes, ticks and limits here are below 2^53")]
fn process() -> Option<Vec<Samples>> {
    use procfs::process::{LimitValue, Process};
    use procfs::{CurrentSI, WithCurrentSystemInfo};

    let me = Process::myself().ok()?;
    let stat = me.stat().ok()?;
    let ticks = procfs::ticks_per_second() as f64;
    let gauge = |family, value| Samples::single(family, Value::Gauge(value));
    let boot = procfs::KernelStats::current().ok()?.btime;
    let mut samples = vec![Samples::single(&CPU, Value::Sum((stat.utime + stat.stime) as f64 / ticks))];
    if let Ok(open) = me.fd_count() {
        samples.push(gauge(&OPEN_FDS, float(open)));
    }
    if let Ok(limits) = me.limits() {
        let most = match limits.max_open_files.soft_limit {
            LimitValue::Value(most) => most as f64,
            LimitValue::Unlimited => f64::INFINITY,
        };
        samples.push(gauge(&MAX_FDS, most));
    }
    samples.extend([
        gauge(&VIRTUAL, stat.vsize as f64),
        gauge(&RESIDENT, stat.rss_bytes().get() as f64),
        gauge(&THREADS, stat.num_threads as f64),
        gauge(&START_TIME, boot as f64 + stat.starttime as f64 / ticks),
    ]);
    Some(samples)
}

#[cfg(not(target_os = "linux"))]
fn process() -> Option<Vec<Samples>> {
    None
}

#[cfg(test)]
mod tests;
