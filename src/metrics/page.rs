//! The accounts' series: from what is known of the accounts to bytes in every format and coding.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Thresholds;
use crate::domain::clock::unix_seconds;
use crate::domain::reason::Reason;
use crate::domain::status::{AccountStatus, Code, Credentials, Endpoint, Latency, Ledger};
use crate::domain::usage::{LicenseUsage, RowError};
use crate::exposition::{
    Buckets, Coding, EncodedPrefix, Exposition, Format, Labels, Point, Selection, Value,
};
use crate::polling::Scene;

use super::{
    ACCESS_EXPIRY, CERTIFICATE_EXPIRY, DURATION, FAILURES, INTERVAL, LAST_SCRAPE, LAST_SUCCESS, MFA,
    NEXT_SCRAPE, PROCESSED, REFRESH_EXPIRY, REFRESH_ISSUED, REJECTED, REQUEST_DURATION, REQUESTS, RETRIES,
    ROWS, SCRAPES, THRESHOLD, THROTTLED, UP, USAGE, flag, float, label,
};

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

/// The series of all accounts at one moment. Drawing it costs little; each body is written when it is first wanted,
/// and kept for as long as the page is.
#[derive(Debug)]
pub struct Page {
    fleet: Fleet,
    statuses: Vec<AccountStatus>,
    at: Timestamp,
    bodies: [[OnceLock<EncodedPrefix>; Coding::ALL.len()]; Format::ALL.len()],
}

impl Scene for Fleet {
    type Picture = Page;

    fn draw(&self, now: Timestamp) -> Page {
        let statuses = self.accounts.iter().map(Ledger::read).collect();
        Page { fleet: self.clone(), statuses, at: now, bodies: Default::default() }
    }

    fn changes_by_itself_at(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.accounts.iter().filter_map(|ledger| ledger.read().vanishes_at(self.stale_after));
        ends.filter(|end| *end > now).min()
    }
}

// === impl Page ===

impl Page {
    /// Whether every account has been polled well, so that all that there ever is to see can be seen.
    pub fn is_complete(&self) -> bool {
        self.statuses.iter().all(|status| status.good.is_some())
    }

    /// A body that was prepared already, without the exposition's end.
    pub fn ready(&self, format: Format, coding: Coding) -> Option<&EncodedPrefix> {
        self.bodies[format as usize][coding as usize].get()
    }

    /// A body, without the exposition's end. Takes a while, the first time, where there are many rows.
    pub fn body(&self, format: Format, coding: Coding) -> &EncodedPrefix {
        let [plain, ..] = &self.bodies[format as usize];
        self.bodies[format as usize][coding as usize].get_or_init(|| match plain.get() {
            Some(plain) if coding != Coding::Identity => coding.encode_prefix(plain.bytes.clone()),
            // Who takes it compressed needs no plain one beside it.
            _ => {
                let selection = Selection::everything();
                let mut out = Exposition::new(format, &selection);
                self.write(&mut out);
                coding.encode_prefix(out.into_bytes())
            }
        })
    }

    /// Writes the families in their order.
    pub fn write(&self, out: &mut Exposition<'_>) {
        self.write_rows(out);
        self.write_polls(out);
        self.write_traffic(out);
        self.write_credentials(out);
    }

    /// A text, without its end.
    #[cfg(test)]
    pub(crate) fn text(&self, format: Format) -> String {
        String::from_utf8(self.body(format, Coding::Identity).bytes.to_vec()).unwrap()
    }

    fn write_rows(&self, out: &mut Exposition<'_>) {
        out.add(&USAGE, || self.rows(|row| Some(row.percent.get())));
        out.add(&PROCESSED, || self.rows(|row| Some(unix_seconds(row.processed_at))));
        out.add(&THRESHOLD, || self.rows(|row| self.fleet.thresholds.applying_to(row)));
        out.add(&ROWS, || {
            self.each(|status| Some(Value::Gauge(float(status.good.as_ref()?.report.rows().len()))))
        });
        out.add(&REJECTED, || {
            self.by(|status| {
                let count = |error: RowError| status.rejected.get(&error).copied().unwrap_or(0);
                RowError::ALL.map(|error| (label("reason", error.as_str()), Value::Count(count(error))))
            })
        });
    }

    fn write_polls(&self, out: &mut Exposition<'_>) {
        out.add(&UP, || self.each(|status| Some(flag(status.up()))));
        out.add(&SCRAPES, || self.each(|status| Some(Value::Count(status.polls))));
        out.add(&FAILURES, || {
            self.by(|status| {
                let count = |reason: Reason| status.failures.get(&reason).copied().unwrap_or(0);
                Reason::ALL.map(|reason| (label("reason", reason.as_str()), Value::Count(count(reason))))
            })
        });
        out.add(&DURATION, || self.each(|status| Some(Value::Gauge(status.took?.as_secs_f64()))));
        out.add(&LAST_SCRAPE, || self.each(|status| time(status.last_at)));
        out.add(&LAST_SUCCESS, || self.each(|status| time(status.good.as_ref().map(|good| good.at))));
        out.add(&NEXT_SCRAPE, || self.each(|status| time(status.next_at)));
        out.add(&INTERVAL, || self.each(|_| Some(Value::Gauge(self.fleet.poll_interval.as_secs_f64()))));
    }

    fn write_traffic(&self, out: &mut Exposition<'_>) {
        out.add(&REQUESTS, || {
            self.by(|status| {
                let labels = |endpoint: Endpoint, code: Code| {
                    let code = match code {
                        Code::Status(status) => Cow::from(status.to_string()),
                        Code::Error => Cow::from("error"),
                    };
                    [label("endpoint", endpoint.as_str()), label("code", code)].concat()
                };
                let requests = status.traffic.requests.iter();
                requests
                    .map(move |((endpoint, code), count)| (labels(*endpoint, *code), Value::Count(*count)))
            })
        });
        out.add(&REQUEST_DURATION, || self.by(|status| by_endpoint(&status.traffic.durations, histogram)));
        let count = |count: &u64| Value::Count(*count);
        out.add(&RETRIES, || self.by(|status| by_endpoint(&status.traffic.retries, count)));
        out.add(&THROTTLED, || self.by(|status| by_endpoint(&status.traffic.throttled, count)));
    }

    fn write_credentials(&self, out: &mut Exposition<'_>) {
        out.add(&ACCESS_EXPIRY, || self.each(|status| time(status.credentials.access_token_expires_at)));
        out.add(&REFRESH_ISSUED, || self.each(|status| time(status.credentials.refresh_token_issued_at)));
        out.add(&REFRESH_EXPIRY, || {
            self.each(|status| {
                let issued_at = status.credentials.refresh_token_issued_at?;
                time(issued_at.checked_add(Credentials::REFRESH_TOKEN_LIFETIME).ok())
            })
        });
        out.add(&CERTIFICATE_EXPIRY, || {
            self.each(|status| time(status.credentials.client_certificate_expires_at))
        });
        out.add(&MFA, || self.each(|status| Some(flag(status.credentials.mfa_compliant?))));
    }

    /// One point per account, for those that have one.
    fn each(&self, value: impl Fn(&AccountStatus) -> Option<Value>) -> Vec<Point<'_>> {
        self.statuses.iter().filter_map(|status| Some((account(status), value(status)?))).collect()
    }

    /// One point per entry of a map or list that each account has.
    fn by<'a, E>(&'a self, entries: impl Fn(&'a AccountStatus) -> E) -> Vec<Point<'a>>
    where
        E: IntoIterator<Item = Point<'a>>,
    {
        let points = self.statuses.iter().flat_map(|status| {
            entries(status).into_iter().map(|(labels, value)| ([account(status), labels].concat(), value))
        });
        points.collect()
    }

    /// One point per visible row, for those that have one.
    fn rows(&self, value: impl Fn(&LicenseUsage) -> Option<f64>) -> Vec<Point<'_>> {
        let mut points = Vec::new();
        for status in &self.statuses {
            let visible = status.visible(self.at, self.fleet.stale_after);
            for row in visible.map_or(&[][..], |good| good.report.rows()) {
                if let Some(value) = value(row) {
                    let mut labels = Vec::with_capacity(4);
                    labels.extend(account(status));
                    labels.push(("service", Cow::from(&row.service)));
                    labels.push(("workload", Cow::from(&row.workload)));
                    labels.push(("channel", Cow::from(&row.channel)));
                    points.push((labels, Value::Gauge(value)));
                }
            }
        }
        points
    }
}

fn time(at: Option<Timestamp>) -> Option<Value> {
    Some(Value::Gauge(unix_seconds(at?)))
}

fn account(status: &AccountStatus) -> Labels<'_> {
    status.name.iter().map(|name| ("account", Cow::from(name.as_str()))).collect()
}

fn histogram(latency: &Latency) -> Value {
    Value::Histogram(Buckets { cumulative: latency.cumulative().collect(), sum: latency.sum() })
}

fn by_endpoint<'a, T>(
    map: &'a BTreeMap<Endpoint, T>,
    value: impl Fn(&T) -> Value + 'a,
) -> impl Iterator<Item = Point<'a>> {
    map.iter().map(move |(endpoint, of)| (label("endpoint", endpoint.as_str()), value(of)))
}
