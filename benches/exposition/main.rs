//! The time to encode and compress the accounts' series, and to answer a scrape from an encoded body:
//! `cargo bench --bench exposition`; append `-- 5000` for another number of rows.
//!
//! "Before" is the former writer in `baseline.rs`, "after" the program. The comparison covers the three families of
//! rows in text 0.0.4. Both write the same bytes, in turns. The minimum of many rounds is printed, which excludes
//! interference.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a table for people")]

mod baseline;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use exporter_toolkit::negotiation::{Coding, Format};
use jiff::Timestamp;
use partner_license_exporter::config::Config;
use partner_license_exporter::domain::clock::{Clock, unix_seconds};
use partner_license_exporter::domain::collection::Collection;
use partner_license_exporter::domain::figures::Percent;
use partner_license_exporter::domain::status::Ledger;
use partner_license_exporter::domain::usage::{LicenseUsage, UsageReport};
use partner_license_exporter::metrics::{
    self, Accounts, BUILD, Choices, FAMILIES, Family, OwnMetrics, Selection,
};
use partner_license_exporter::polling::Render;
use tokio::time::Instant;

const ACCOUNT: &str = "contoso";

fn main() {
    let numbers: Vec<u32> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    for rows in if numbers.is_empty() { vec![1_000, 10_000, 100_000] } else { numbers } {
        let now = "2026-11-23T05:13:20Z".parse().unwrap();
        let (accounts, rounds) = (accounts_with(rows, now), if rows > 10_000 { 20 } else { 100 });
        println!("{rows} rows                      before      after   ratio");
        for coding in Coding::ALL {
            cold(&accounts, now, coding, rounds);
        }
        for coding in Coding::ALL {
            warm(&accounts, now, coding);
        }
        println!("  whole cold bodies");
        for format in Format::ALL {
            for coding in Coding::ALL {
                let mut size = 0;
                let best = (0..rounds).map(|_| {
                    // Each snapshot is new, so no body is encoded yet.
                    let snapshot = accounts.render(now);
                    timed(|| size = snapshot.body(format, coding).bytes.len())
                });
                let (best, format) = (best.min().unwrap(), format!("{format:?}"));
                let coding = format!("{coding:?}");
                println!("    {format:12}{coding:10}{size:12} bytes {:10.3} ms", milliseconds(best));
            }
        }
    }
}

/// Compares the first body of a snapshot: the families of rows in text 0.0.4; the other families are negligible.
fn cold(accounts: &Accounts, now: Timestamp, coding: Coding, rounds: u32) {
    let families: [&Family; 3] = std::array::from_fn(|n| FAMILIES[n]);
    let selection = Selection::of(families.map(|family| family.name.to_owned()));
    let status = accounts.ledgers[0].read();
    let good = status.of(Collection::Usage).unwrap().last_good.as_ref().unwrap();
    let rows = good.report.usage();
    let before = || {
        let mut out = Vec::new();
        let percents = baseline::points(ACCOUNT, rows, |row| Some(row.percent.get()));
        baseline::write(&mut out, families[0], &percents);
        let times = baseline::points(ACCOUNT, rows, |row| Some(unix_seconds(row.processed_at)));
        baseline::write(&mut out, families[1], &times);
        let thresholds = baseline::points(ACCOUNT, rows, |row| accounts.thresholds.applying_to(row));
        baseline::write(&mut out, families[2], &thresholds);
        coding.encode_prefix(out).bytes
    };
    let snapshot = accounts.render(now);
    let after = || coding.encode_prefix(snapshot.encode(Format::Classic, &selection)).bytes;
    assert_eq!(before(), after(), "both write the same");
    compare("cold body", coding, rounds, 1, before, after);
}

/// Compares a scrape whose body is encoded already: that body, followed by the families of the process.
fn warm(accounts: &Accounts, now: Timestamp, coding: Coding) {
    let (snapshot, own) = (accounts.render(now), Arc::new(OwnMetrics::new(false, &Clock::system())));
    let ready = snapshot.body(Format::Classic, coding);
    let everything = Selection::everything();
    let own_families: Vec<&Family> =
        FAMILIES.iter().copied().filter(|family| family.name.contains("_exporter_")).collect();
    let before = || {
        let mut out = Vec::new();
        let build = BUILD.map(|(name, value)| (name, value.into())).to_vec();
        baseline::write(&mut out, own_families[0], &[(build, 1.0)]);
        baseline::write(&mut out, own_families[1], &[(Vec::new(), 1.0)]);
        baseline::write(&mut out, own_families[2], &[(Vec::new(), unix_seconds(now))]);
        (ready.bytes.clone(), ready.finish(out))
    };
    let after = || {
        let mut out = own.encode(Format::Classic, &everything);
        out.extend_from_slice(metrics::trailer(Format::Classic));
        (snapshot.body(Format::Classic, coding).bytes.clone(), ready.finish(out))
    };
    compare("warm scrape", coding, 20, 1_000, before, after);
}

/// Prints the milliseconds that each takes for one turn, and their ratio.
fn compare<T, U>(
    what: &str,
    coding: Coding,
    rounds: u32,
    turns: u32,
    before: impl Fn() -> T,
    after: impl Fn() -> U,
) {
    let (mut best_before, mut best_after) = (Duration::MAX, Duration::MAX);
    for _ in 0..rounds {
        best_before = best_before.min(timed(|| (0..turns).for_each(|_| _ = black_box(before()))) / turns);
        best_after = best_after.min(timed(|| (0..turns).for_each(|_| _ = black_box(after()))) / turns);
    }
    let (before, after, coding) =
        (milliseconds(best_before), milliseconds(best_after), format!("{coding:?}"));
    println!("  {what:12}{coding:10}{before:10.4} {after:10.4} ms {:6.2}", after / before);
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Returns one account with that many rows.
fn accounts_with(rows: u32, now: Timestamp) -> Accounts {
    let text = format!(
        "accounts: [{{name: {ACCOUNT}, tenant_id: contoso.example, client_secret: s, refresh_token: r, \
         client_id: 00000000-0000-0000-0000-00000000c11e}}]"
    );
    let config = Config::parse(&text, &|_| None).unwrap();
    let ledger = Ledger::new(config.accounts[0].name.clone(), Arc::default());
    let report = UsageReport::collect((0..rows).map(|n| {
        Ok(LicenseUsage {
            service: format!("service-{}", n / 100).into(),
            workload: format!("Workload {}", n % 100).into(),
            channel: "reseller".into(),
            percent: Percent::new(f64::from(n * 7919 % 10_000) / 100.0)?,
            licenses: None,
            processed_at: now,
        })
    }));
    ledger.write(|status| {
        status.of_mut(Collection::Usage).poll_ended(Ok(report.into()), now, Duration::from_secs(1));
    });
    Accounts {
        ledgers: vec![ledger],
        stale_after: config.stale_after,
        thresholds: config.thresholds,
        prices: config.prices,
        choices: Choices::default(),
    }
}
