//! The accounts' series at one moment, and their bodies in every format and coding.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use exporter_toolkit::negotiation::{Coding, EncodedPrefix, Format};
use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};

use crate::config::{Prices, Thresholds};
use crate::domain::account::AccountName;
use crate::domain::clock::unix_seconds;
use crate::domain::collection::{Collected, Collection};
use crate::domain::customers::{Choice, CustomerDeployment, CustomerUsage, Customers};
use crate::domain::deployment::LicenseDeployment;
use crate::domain::failure::FailureReason;
use crate::domain::polled::CollectionStatus;
use crate::domain::row::RowError;
use crate::domain::status::{AccountStatus, Code, Endpoint, Latency, Ledger};
use crate::domain::usage::LicenseUsage;
use crate::polling::{Preparation, Render};

use super::choices::Choices;
use super::family::{self, Collect, Families, Family, Selection};
use super::table::{
    ACCESS_EXPIRY, ACTIVE, CERTIFICATE_EXPIRY, CUSTOMER_ACTIVE, CUSTOMER_DEPLOYED, CUSTOMER_INFO,
    CUSTOMER_PROCESSED, CUSTOMER_QUALIFIED, CUSTOMER_ROWS, CUSTOMER_SOLD, CUSTOMER_THRESHOLD, CUSTOMERS,
    DEPLOYED, DEPLOYMENT, DEPLOYMENT_PROCESSED, DURATION, FAILURES, INTERVAL, LAST_SCRAPE, LAST_SUCCESS, MFA,
    NEXT_SCRAPE, PROCESSED, QUALIFIED, REFRESH_EXPIRY, REFRESH_ISSUED, REJECTED, REQUEST_DURATION, REQUESTS,
    RETRIES, ROWS, SCRAPES, SOLD, SOURCE, THRESHOLD, THROTTLED, UP, USAGE,
};
use super::value::Value;

/// All accounts, with the settings that their series depend on.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// The ledgers, one per account, in the order of the configuration.
    pub ledgers: Vec<Ledger>,
    /// The setting `stale_after`; `None` means that rows never vanish.
    pub stale_after: Option<Duration>,
    /// The setting `thresholds`.
    pub thresholds: Thresholds,
    /// The setting `prices`, which is for pages: no price is in a series.
    pub prices: Prices,
    /// Which rows of customers are published.
    pub choices: Choices,
}

/// The series of all accounts at one moment. A body is encoded when it is first asked for, and kept as long as the
/// snapshot.
#[derive(Debug)]
pub struct MetricsSnapshot {
    series: Arc<Series>,
    bodies: [[OnceLock<EncodedPrefix>; Coding::ALL.len()]; Format::ALL.len()],
    /// For which of them scrapes have asked.
    asked: [[AtomicBool; Coding::ALL.len()]; Format::ALL.len()],
    /// The first moment after the scrapes that asked for them in earlier snapshots.
    asked_before: [[OnceLock<Timestamp>; Coding::ALL.len()]; Format::ALL.len()],
}

/// How long after a scrape the bodies that it asked for are prepared for each snapshot. Where many accounts are polled
/// one after another, there are several snapshots between two scrapes.
const PREPARED_FOR: Duration = Duration::from_mins(1);

/// The size in bytes of an account's series without its rows, of which histograms are the most.
const TYPICAL_ACCOUNT: usize = 10_000;
/// The size in bytes of the series of one row.
const TYPICAL_ROW: usize = 400;

/// The data from which the series are encoded.
#[derive(Debug)]
struct Series {
    accounts: Accounts,
    statuses: Vec<AccountStatus>,
    at: Timestamp,
    /// What is published of the customers of each account, if they are visible.
    choices: OnceLock<Vec<Option<Arc<Choice>>>>,
}

/// The rows of one collection, and the labels of a row.
type RowsOf<R, const N: usize> = (fn(&Collected) -> &[R], fn(&R) -> [&Arc<str>; N]);

/// The labels of one sample: the account's name, if it has one, and the values of the family's labels.
struct Labels<'a, const N: usize> {
    account: Option<&'a AccountName>,
    names: &'static [&'static str],
    values: [Cow<'a, str>; N],
}

impl Render for Accounts {
    type Output = MetricsSnapshot;

    fn render(&self, now: Timestamp) -> MetricsSnapshot {
        let statuses = self.ledgers.iter().map(Ledger::read).collect();
        let series = Series { accounts: self.clone(), statuses, at: now, choices: OnceLock::new() };
        MetricsSnapshot {
            series: Arc::new(series),
            bodies: Default::default(),
            asked: Default::default(),
            asked_before: Default::default(),
        }
    }

    fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let of = |status: AccountStatus| {
            let vanish = status.collections.values().map(|it| it.vanishes_at(self.stale_after));
            vanish.chain([status.credentials.refresh_token_end()]).collect::<Vec<_>>()
        };
        let ends = self.ledgers.iter().flat_map(|ledger| of(ledger.read())).flatten();
        ends.filter(|end| *end > now).min()
    }

    /// Prepares the bodies for which scrapes asked since the last change, or a short time before it.
    fn preparation(before: &Arc<MetricsSnapshot>, next: &Arc<MetricsSnapshot>) -> Option<Preparation> {
        let each = Format::ALL.into_iter().flat_map(|format| Coding::ALL.map(|coding| (format, coding)));
        let asked: Vec<_> = each.filter(|(format, coding)| next.inherits(before, *format, *coding)).collect();
        let next = Arc::clone(next);
        (!asked.is_empty()).then(|| -> Preparation {
            Box::new(move || {
                for (format, coding) in asked {
                    next.prepare(format, coding);
                }
            })
        })
    }
}

// === impl MetricsSnapshot ===

impl MetricsSnapshot {
    /// Whether the last rows of every collection are known.
    pub fn is_complete(&self) -> bool {
        let mut collections = self.series.statuses.iter().flat_map(|status| status.collections.values());
        collections.all(|status| status.last_good.is_some())
    }

    /// Returns a body without the trailer, if it is encoded already.
    pub fn ready(&self, format: Format, coding: Coding) -> Option<&EncodedPrefix> {
        self.bodies[format as usize][coding as usize].get()
    }

    /// Returns a body without the trailer for a scrape. The first call is slow if there are many rows.
    pub fn body(&self, format: Format, coding: Coding) -> &EncodedPrefix {
        self.asked[format as usize][coding as usize].store(true, Ordering::Relaxed);
        self.prepare(format, coding)
    }

    /// Returns whether this snapshot, which takes the place of `before`, is expected to be asked for a body.
    fn inherits(&self, before: &Self, format: Format, coding: Coding) -> bool {
        let (format, coding, now) = (format as usize, coding as usize, self.series.at);
        let asked = if before.asked[format][coding].load(Ordering::Relaxed) {
            Some(now)
        } else {
            before.asked_before[format][coding].get().copied()
        };
        let asked = asked.filter(|asked| now.duration_since(*asked).unsigned_abs() < PREPARED_FOR);
        asked.is_some_and(|asked| self.asked_before[format][coding].set(asked).is_ok())
    }

    fn prepare(&self, format: Format, coding: Coding) -> &EncodedPrefix {
        let [plain, ..] = &self.bodies[format as usize];
        self.bodies[format as usize][coding as usize].get_or_init(|| match plain.get() {
            Some(plain) if coding != Coding::Identity => coding.encode_prefix(plain.bytes.clone()),
            // A plain body that nobody requests is not kept beside a compressed one.
            _ => coding.encode_prefix(self.encode(format, &Selection::everything())),
        })
    }

    /// Encodes the selected families, without the trailer.
    pub fn encode(&self, format: Format, selection: &Selection) -> Vec<u8> {
        family::encode(format, selection, &self.series)
    }

    /// Returns the text of all families, without the trailer.
    #[cfg(test)]
    pub(crate) fn text(&self, format: Format) -> String {
        String::from_utf8(self.body(format, Coding::Identity).bytes.to_vec()).unwrap()
    }
}

// === impl Series ===

impl Collect for Series {
    fn collect(&self, out: &mut Families<'_>) -> fmt::Result {
        self.collect_rows(out)?;
        self.collect_polls(out)?;
        self.collect_traffic(out)?;
        self.collect_credentials(out)
    }

    fn typical_size(&self) -> usize {
        let good = self.statuses.iter().flat_map(|status| status.collections.values());
        let rows: usize = good.filter_map(|it| Some(it.last_good.as_ref()?.report.len())).sum();
        self.statuses.len() * TYPICAL_ACCOUNT + rows * TYPICAL_ROW
    }
}

impl Series {
    fn collect_rows(&self, out: &mut Families<'_>) -> fmt::Result {
        let usage: RowsOf<LicenseUsage, 3> =
            (Collected::usage, |row| [&row.service, &row.workload, &row.channel]);
        let deployment: RowsOf<LicenseDeployment, 2> =
            (Collected::deployment, |row| [&row.service, &row.channel]);
        self.rows(out, &USAGE, usage, |row| Some(row.percent.get()))?;
        self.rows(out, &PROCESSED, usage, |row| Some(unix_seconds(row.processed_at)))?;
        self.rows(out, &THRESHOLD, usage, |row| self.accounts.thresholds.applying_to(row))?;
        self.rows(out, &ACTIVE, usage, |row| Some(row.licenses?.active))?;
        self.rows(out, &QUALIFIED, usage, |row| Some(row.licenses?.qualified))?;
        self.labelled(out, &SOURCE, |status| {
            let usage = status.of(Collection::Usage)?.visible(self.at, self.accounts.stale_after)?;
            Some(([usage.report.source().as_str().into()], true))
        })?;
        self.rows(out, &DEPLOYMENT, deployment, |row| Some(row.percent.get()))?;
        self.rows(out, &SOLD, deployment, |row| row.sold)?;
        self.rows(out, &DEPLOYED, deployment, |row| row.deployed)?;
        self.rows(out, &DEPLOYMENT_PROCESSED, deployment, |row| Some(unix_seconds(row.processed_at)))?;
        self.collect_customers(out)?;
        self.polled(out, &ROWS, |status| Some(status.last_good.as_ref()?.report.len() as u64))?;
        self.counted(out, &REJECTED, RowError::ALL.map(|it| (it, it.as_str())), |status| &status.rejected)
    }

    fn collect_customers(&self, out: &mut Families<'_>) -> fmt::Result {
        self.customer_usage(out, &CUSTOMER_ACTIVE, |row, _| Some(row.licenses.active.into()))?;
        self.customer_usage(out, &CUSTOMER_QUALIFIED, |row, _| Some(row.licenses.qualified.into()))?;
        self.customer_usage(out, &CUSTOMER_THRESHOLD, |_, threshold| Some(threshold?.into()))?;
        self.customer_deployment(out, &CUSTOMER_SOLD, |row| row.sold)?;
        self.customer_deployment(out, &CUSTOMER_DEPLOYED, |row| row.deployed)?;
        self.customers(out, &CUSTOMER_INFO, |customers, choice| {
            let named = |id| Some(([text(id), text(customers.names().get(id)?)], true));
            choice.customers.iter().filter_map(named)
        })?;
        self.each(out, &CUSTOMERS, |status| {
            let good = status.of(Collection::Customers)?.last_good.as_ref()?;
            Some(good.report.customers()?.count() as u64)
        })?;
        self.customers(out, &CUSTOMER_ROWS, |_, choice| {
            let counts = [("published", choice.rows.len()), ("withheld", choice.withheld)];
            counts.map(|(state, count)| ([state.into()], count as u64))
        })?;
        self.customers(out, &CUSTOMER_PROCESSED, |customers, _| {
            let sample = |(service, at): (_, &_)| ([text(service)], unix_seconds(*at));
            customers.processed_by_service().iter().map(sample)
        })
    }

    fn collect_polls(&self, out: &mut Families<'_>) -> fmt::Result {
        let reasons = FailureReason::ALL.map(|it| (it, it.as_str()));
        self.polled(out, &UP, |status| Some(status.up()))?;
        self.polled(out, &SCRAPES, |status| Some(status.polls))?;
        self.counted(out, &FAILURES, reasons, |status| &status.failures)?;
        self.polled(out, &DURATION, |status| Some(status.last_poll_duration?.as_secs_f64()))?;
        self.polled(out, &LAST_SCRAPE, |status| status.last_poll_at.map(unix_seconds))?;
        self.polled(out, &LAST_SUCCESS, |status| Some(unix_seconds(status.last_good.as_ref()?.at)))?;
        self.polled(out, &NEXT_SCRAPE, |status| status.next_poll_at.map(unix_seconds))?;
        self.polled(out, &INTERVAL, |status| Some(status.poll_interval.as_secs_f64()))
    }

    fn collect_traffic(&self, out: &mut Families<'_>) -> fmt::Result {
        self.labelled(out, &REQUESTS, |status| {
            status.traffic.requests.iter().map(|((endpoint, code), count)| {
                let code = match code {
                    Code::Status(status) => status.to_string().into(),
                    Code::Error => "error".into(),
                };
                ([endpoint.as_str().into(), code], *count)
            })
        })?;
        let histogram =
            |latency: &Latency| Value::Histogram { buckets: latency.buckets().collect(), sum: latency.sum() };
        self.labelled(out, &REQUEST_DURATION, |status| by_endpoint(&status.traffic.durations, histogram))?;
        let count = |count: &u64| *count;
        self.labelled(out, &RETRIES, |status| by_endpoint(&status.traffic.retries, count))?;
        self.labelled(out, &THROTTLED, |status| by_endpoint(&status.traffic.throttled, count))
    }

    fn collect_credentials(&self, out: &mut Families<'_>) -> fmt::Result {
        self.times(out, &ACCESS_EXPIRY, |status| status.credentials.access_token_expires_at)?;
        self.times(out, &REFRESH_ISSUED, |status| status.credentials.refresh_token_issued_at)?;
        self.times(out, &REFRESH_EXPIRY, |status| status.credentials.refresh_token_expires_at(self.at))?;
        self.times(out, &CERTIFICATE_EXPIRY, |status| status.credentials.client_certificate_expires_at)?;
        self.each(out, &MFA, |status| status.credentials.mfa_compliant)
    }

    /// Adds one sample for each visible row of a collection that has a value.
    fn rows<R: 'static, const N: usize, V: Into<Value>>(
        &self,
        out: &mut Families<'_>,
        family: &'static Family,
        (rows, labels): RowsOf<R, N>,
        value: impl Fn(&R) -> Option<V>,
    ) -> fmt::Result {
        self.labelled(out, family, |status| {
            let (at, stale_after, value) = (self.at, self.accounts.stale_after, &value);
            let good = status.collections.values().filter_map(move |it| it.visible(at, stale_after));
            good.flat_map(move |good| rows(&good.report))
                .filter_map(move |row| Some((labels(row).map(text), value(row)?)))
        })
    }

    /// Adds one sample for each published usage row of a customer that has a value.
    fn customer_usage(
        &self,
        out: &mut Families<'_>,
        family: &'static Family,
        value: impl Fn(&CustomerUsage, Option<f64>) -> Option<Value>,
    ) -> fmt::Result {
        self.customers(out, family, |customers, choice| {
            let value = &value;
            choice.rows.iter().filter_map(move |(at, threshold)| {
                let row = &customers.rows()[*at];
                let labels = [&row.customer, &row.service, &row.workload, &row.channel];
                Some((labels.map(text), value(row, *threshold)?))
            })
        })
    }

    /// Adds one sample for each deployment row of a customer with a published row.
    fn customer_deployment(
        &self,
        out: &mut Families<'_>,
        family: &'static Family,
        value: impl Fn(&CustomerDeployment) -> u64,
    ) -> fmt::Result {
        self.customers(out, family, |customers, choice| {
            let value = &value;
            choice.deployment.iter().map(move |at| {
                let row = &customers.deployment()[*at];
                let labels = [&row.customer, &row.service, &row.channel];
                (labels.map(text), value(row))
            })
        })
    }

    /// Adds the samples of each account whose customers are visible.
    fn customers<'a, const N: usize, V: Into<Value>, I: IntoIterator<Item = ([Cow<'a, str>; N], V)>>(
        &'a self,
        out: &mut Families<'_>,
        family: &'static Family,
        samples: impl Fn(&'a Customers, &'a Choice) -> I,
    ) -> fmt::Result {
        let choices = self.choices.get_or_init(|| {
            let of = |status: &AccountStatus| {
                let good = status.of(Collection::Customers)?.visible(self.at, self.accounts.stale_after)?;
                Some(self.accounts.choices.of(&good.report, status.customers, &self.accounts.thresholds))
            };
            self.statuses.iter().map(of).collect()
        });
        let published = self.statuses.iter().zip(choices).filter_map(|(status, choice)| {
            let good = status.of(Collection::Customers)?.last_good.as_ref()?;
            Some((status, samples(good.report.customers()?, choice.as_ref()?)))
        });
        let of_account = |(status, samples): (&'a AccountStatus, I)| labels_of(status, family, samples);
        out.add(family, published.flat_map(of_account))
    }

    /// Adds one sample for each collection that has a value.
    fn polled<V: Into<Value>>(
        &self,
        out: &mut Families<'_>,
        family: &'static Family,
        value: impl Fn(&CollectionStatus) -> Option<V>,
    ) -> fmt::Result {
        self.labelled(out, family, |status| {
            let collections = status.collections.iter();
            collections
                .filter_map(|(collection, status)| Some(([collection.as_str().into()], value(status)?)))
        })
    }

    /// Adds the counts of each collection, also those that are 0.
    fn counted<K: Copy + Ord, const N: usize>(
        &self,
        out: &mut Families<'_>,
        family: &'static Family,
        keys: [(K, &'static str); N],
        counts: impl Fn(&CollectionStatus) -> &BTreeMap<K, u64>,
    ) -> fmt::Result {
        self.labelled(out, family, |status| {
            let (keys, counts) = (&keys, &counts);
            status.collections.iter().flat_map(move |(collection, status)| {
                let counts = counts(status);
                let count = |key| counts.get(key).copied().unwrap_or(0);
                keys.iter().map(move |(key, word)| ([collection.as_str().into(), (*word).into()], count(key)))
            })
        })
    }

    /// Adds one sample for each account that has a value.
    fn each<V: Into<Value>>(
        &self,
        out: &mut Families<'_>,
        family: &'static Family,
        value: impl Fn(&AccountStatus) -> Option<V>,
    ) -> fmt::Result {
        self.labelled(out, family, |status| value(status).map(|value| ([], value)))
    }

    /// Adds one sample for each account that has a time.
    fn times(
        &self,
        out: &mut Families<'_>,
        family: &'static Family,
        time: impl Fn(&AccountStatus) -> Option<Timestamp>,
    ) -> fmt::Result {
        self.each(out, family, |status| time(status).map(unix_seconds))
    }

    /// Adds the samples of each account: the values of the family's labels, and the value.
    fn labelled<'a, const N: usize, V: Into<Value>, I: IntoIterator<Item = ([Cow<'a, str>; N], V)>>(
        &'a self,
        out: &mut Families<'_>,
        family: &'static Family,
        samples: impl Fn(&'a AccountStatus) -> I,
    ) -> fmt::Result {
        let of_account = |status: &'a AccountStatus| labels_of(status, family, samples(status));
        out.add(family, self.statuses.iter().flat_map(of_account))
    }
}

/// Adds the names of the labels, and that of the account, to the samples of an account.
fn labels_of<'a, const N: usize, V>(
    status: &'a AccountStatus,
    family: &'static Family,
    samples: impl IntoIterator<Item = ([Cow<'a, str>; N], V)>,
) -> impl Iterator<Item = (Labels<'a, N>, V)> {
    let (account, names) = (status.name.as_ref(), family.labels);
    samples.into_iter().map(move |(values, value)| (Labels { account, names, values }, value))
}

fn text(label: &Arc<str>) -> Cow<'_, str> {
    Cow::Borrowed(label)
}

fn by_endpoint<T, V>(
    map: &BTreeMap<Endpoint, T>,
    value: impl Fn(&T) -> V,
) -> impl Iterator<Item = ([Cow<'_, str>; 1], V)> {
    map.iter().map(move |(endpoint, of)| ([endpoint.as_str().into()], value(of)))
}

impl<const N: usize> EncodeLabelSet for Labels<'_, N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        if let Some(account) = self.account {
            ("account", account.as_str()).encode(encoder.encode_label())?;
        }
        for (name, value) in self.names.iter().zip(&self.values) {
            (*name, value.as_ref()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}
