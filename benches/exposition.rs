//! How long it takes to write and to compress a page: `cargo bench --bench exposition`, with `-- 100000` behind it for
//! another number of rows.
//!
//! What is printed is the quickest of many rounds: on a machine that others use as well, the others do not count.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a table for people")]

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use partner_license_exporter::config::Config;
use partner_license_exporter::domain::status::Ledger;
use partner_license_exporter::domain::usage::{LicenseUsage, Percent, UsageReport};
use partner_license_exporter::exposition::{Coding, Format};
use partner_license_exporter::metrics::Fleet;
use partner_license_exporter::polling::Render;
use tokio::time::Instant;

fn main() {
    let numbers: Vec<u32> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    for rows in if numbers.is_empty() { vec![1_000, 10_000] } else { numbers } {
        let now = "2026-11-23T05:13:20Z".parse().unwrap();
        let fleet = fleet(rows, now);
        println!("{rows} rows");
        for format in Format::ALL {
            for coding in Coding::ALL {
                let (mut best, mut size) = (Duration::MAX, 0);
                for _ in 0..30 {
                    // Each page is a new one, on which nothing is ready.
                    let page = fleet.render(now);
                    let begun = Instant::now();
                    size = page.body(format, coding).bytes.len();
                    best = best.min(begun.elapsed());
                }
                let (format, coding) = (format!("{format:?}"), format!("{coding:?}"));
                println!("  {format:15} {coding:8} {:10.3} ms {size:10} bytes", best.as_secs_f64() * 1000.0);
            }
        }
    }
}

/// One account with so many rows.
fn fleet(rows: u32, now: Timestamp) -> Fleet {
    let text = "accounts: [{name: contoso, tenant_id: contoso.example, client_secret: s, refresh_token: r, \
                client_id: 00000000-0000-0000-0000-00000000c11e}]";
    let config = Config::parse(text, &|_| None).unwrap();
    let ledger = Ledger::new(config.accounts[0].name.clone(), Arc::default());
    let report = UsageReport::collect((0..rows).map(|n| {
        Ok(LicenseUsage {
            service: format!("service-{}", n / 100),
            workload: format!("Workload {}", n % 100),
            channel: "reseller".to_owned(),
            percent: Percent::new(f64::from(n * 7919 % 10_000) / 100.0)?,
            processed_at: now,
        })
    }));
    ledger.write(|status| status.poll_ended(Ok(report), now, Duration::from_secs(1)));
    Fleet {
        accounts: vec![ledger],
        poll_interval: config.poll_interval,
        stale_after: config.stale_after,
        thresholds: config.thresholds,
    }
}
