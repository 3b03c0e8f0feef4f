use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Config;
use crate::domain::clock::Clock;
use crate::domain::collection::{Collected, Collection};
use crate::domain::customers::{CustomerDeployment, CustomerUsage, Customers, Limits};
use crate::domain::deployment::LicenseDeployment;
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::figures::Percent;
use crate::domain::row::{RowError, Rows, Source};
use crate::domain::status::{AccountStatus, Code, Endpoint, Ledger};
use crate::domain::usage::{LicenseUsage, Qualified, UsageReport};
use crate::polling::Render;
use exporter_toolkit::negotiation::{Coding, Format};

use super::*;

mod golden;
mod rules;

/// 2026-11-23 05:13:20 UTC
const NOW: Timestamp = Timestamp::constant(1_795_410_800, 0);
const HOUR: Duration = Duration::from_hours(1);

/// A configuration with accounts of these names, or one without a name.
fn config(names: &[&str], more: &str) -> Config {
    use std::fmt::Write as _;
    let mut text = format!("{more}\naccounts:\n");
    for (n, name) in names.iter().enumerate() {
        write!(text, "  - {{name: {name:?}, tenant_id: t{n}.example, ").unwrap();
        text += "client_id: 00000000-0000-0000-0000-00000000c11e, client_secret: s, refresh_token: r}\n";
    }
    if names.is_empty() {
        text += "  - {tenant_id: t.example, client_id: 00000000-0000-0000-0000-00000000c11e, ";
        text += "client_secret: s, refresh_token: r}\n";
    }
    Config::parse(&text, &|_| None).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
}

/// Accounts of a configuration that were not polled yet.
fn accounts_of(config: Config) -> Accounts {
    Accounts {
        ledgers: config.accounts.into_iter().map(|account| Ledger::of_usage(account.name)).collect(),
        stale_after: config.stale_after,
        thresholds: config.thresholds,
        prices: config.prices,
        choices: Choices::default(),
    }
}

fn accounts_named(names: &[&str]) -> Accounts {
    accounts_of(config(names, ""))
}

fn row(service: &str, workload: &str, percent: f64) -> Result<LicenseUsage, RowError> {
    Ok(LicenseUsage {
        service: service.into(),
        workload: workload.into(),
        channel: "reseller".into(),
        percent: Percent::new(percent)?,
        licenses: None,
        processed_at: "2026-11-17T00:00:00Z".parse().unwrap(),
    })
}

/// A poll that collected these rows ends at `at`.
fn collected(
    status: &mut AccountStatus,
    rows: impl IntoIterator<Item = Result<LicenseUsage, RowError>>,
    at: Timestamp,
    took: Duration,
) {
    status.usage_mut().poll_ended(Ok(UsageReport::collect(rows).into()), at, took);
}

/// Three usage rows of two customers, of which one has a name, and a deployment row of each.
fn customers() -> Collected {
    let usage = |customer: &str, workload: &str, active, qualified| {
        let row = CustomerUsage::of(customer, workload, active, qualified);
        Ok(CustomerUsage { processed_at: NOW - 72 * HOUR, ..row })
    };
    let usage = [usage("c1", "Exchange", 17, 21), usage("c1", "Teams", 3, 120), usage("c2", "Teams", 50, 51)];
    let deployment = |customer: &str, sold, deployed| {
        let (service, channel) = ("o365".into(), "reseller".into());
        let processed_at = NOW - 72 * HOUR;
        Ok(CustomerDeployment { customer: customer.into(), service, channel, sold, deployed, processed_at })
    };
    Customers::new(
        Rows::collect_from(Source::Commercial, usage),
        Rows::collect_from(Source::Commercial, [deployment("c1", 150, 130), deployment("c2", 60, 61)]),
        [("c1".into(), "Contoso".into())].into(),
    )
    .into()
}

/// Everything an account can have to show, once.
fn fill(ledger: &Ledger) {
    ledger.write(|status| {
        let exchange = LicenseUsage {
            licenses: Some(Qualified { active: 153, qualified: 400 }),
            ..row("o365", "Exchange", 38.25).unwrap()
        };
        let rows = [Ok(exchange), row("crm", "Teams", 104.5), Err(RowError::InvalidDate)];
        collected(status, rows, NOW - 2 * HOUR, Duration::from_millis(1250));
        let deployment = LicenseDeployment {
            service: "o365".into(),
            channel: "reseller".into(),
            percent: Percent::new(26.16).unwrap(),
            sold: Some(4464),
            deployed: Some(1168),
            processed_at: NOW - 48 * HOUR,
        };
        let deployment = Rows::collect_from(Source::Commercial, [Ok(deployment)]).into();
        status.of_mut(Collection::Deployment).poll_ended(Ok(deployment), NOW - 2 * HOUR, HOUR / 60);
        status.customers = Limits { series: 2, min_licenses: 25 };
        status.of_mut(Collection::Customers).poll_ended(Ok(customers()), NOW - 3 * HOUR, HOUR / 30);
        let text = "it failed".to_owned();
        let failure = Failure {
            reason: FailureReason::Throttled,
            needs_operator: false,
            retry_after: None,
            rejected: std::collections::BTreeMap::new(),
            remedy: FailureReason::Throttled.remedy().into(),
            text,
        };
        status.usage_mut().poll_ended(Err(failure), NOW - HOUR, Duration::from_millis(300));
        status.usage_mut().next_poll_at = Some(NOW + HOUR);
        for (endpoint, code, seconds) in [
            (Endpoint::Token, Code::Status(200), 0.25),
            (Endpoint::Usage, Code::Status(200), 1.0),
            (Endpoint::Usage, Code::Status(429), 0.125),
            (Endpoint::Usage, Code::Error, 130.0),
        ] {
            *status.traffic.requests.entry((endpoint, code)).or_insert(0) += 1;
            status.traffic.durations.entry(endpoint).or_default().observe(seconds);
        }
        status.traffic.retries.insert(Endpoint::Usage, 2);
        status.traffic.throttled.insert(Endpoint::Usage, 1);
        status.credentials.access_token_expires_at = Some(NOW + HOUR);
        status.credentials.refresh_token_issued_at = Some(NOW - 24 * HOUR);
        status.credentials.client_certificate_expires_at = Some(NOW + 240 * HOUR);
        status.credentials.mfa_compliant = Some(true);
    });
}

fn classic(accounts: &Accounts, now: Timestamp) -> String {
    accounts.render(now).text(Format::Classic)
}

fn own(with_process: bool) -> Arc<OwnMetrics> {
    Arc::new(OwnMetrics::new(with_process, &Clock::fixed(NOW)))
}

// === a small parser of both text formats ===

/// One sample: its name, its labels and its value as written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: String,
}

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.label(name).is_some()
    }
}

fn samples(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

fn sample(line: &str) -> Sample {
    let mut rest = line.chars().peekable();
    let take_until = |ends: &[char], rest: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        let mut out = String::new();
        while let Some(c) = rest.next_if(|c| !ends.contains(c)) {
            out.push(c);
        }
        out
    };
    let name = take_until(&['{', ' '], &mut rest);
    let mut labels = Vec::new();
    if rest.next() == Some('{') {
        loop {
            let label = take_until(&['='], &mut rest);
            assert_eq!((rest.next(), rest.next()), (Some('='), Some('"')), "{line}");
            let mut value = String::new();
            loop {
                match rest.next().unwrap_or_else(|| panic!("the value ends: {line}")) {
                    '"' => break,
                    '\\' => value.push(match rest.next() {
                        Some('n') => '\n',
                        Some(c @ ('\\' | '"')) => c,
                        other => panic!("{other:?} cannot be escaped: {line}"),
                    }),
                    c => value.push(c),
                }
            }
            labels.push((label, value));
            match rest.next() {
                Some(',') => {}
                Some('}') => break,
                other => panic!("{other:?}: {line}"),
            }
        }
        assert_eq!(rest.next(), Some(' '), "{line}");
    }
    labels.sort();
    let value: String = rest.collect();
    assert!(!value.is_empty() && !value.contains(' '), "a value and no time stamp: {line}");
    Sample { name, labels, value }
}

/// The samples of a family in classic text.
fn of<'a>(all: &'a [Sample], family: &Family) -> Vec<&'a Sample> {
    let suffixes: &[&str] =
        if family.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
    let names: Vec<String> = suffixes.iter().map(|suffix| format!("{}{suffix}", family.name)).collect();
    all.iter().filter(|sample| names.contains(&sample.name)).collect()
}
