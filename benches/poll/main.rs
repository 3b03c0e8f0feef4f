//! The time from the last byte of a collection to the snapshot that scrapes read, beside what `serde_json` alone takes
//! to parse the body into structs: `cargo bench --bench poll`; append `-- 5000` for another number of rows.
//!
//! A server in the same process holds back the last byte of the body until the client has read everything else. From
//! then on "poll" lasts: the fetch, the ledger, and the snapshot of all accounts; not the 20 ms in which changes are
//! gathered. It takes turns with "parse". The minimum and the median of several rounds are printed.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a table for people")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use partner_license_exporter::config::Config;
use partner_license_exporter::domain::clock::Clock;
use partner_license_exporter::domain::collection::Collection;
use partner_license_exporter::domain::status::Ledger;
use partner_license_exporter::metrics::{Accounts, Choices};
use partner_license_exporter::partner::{PartnerCenter, Source as _, TokenStore, TrustAnchors, Turns};
use partner_license_exporter::polling::Render;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const ROUNDS: usize = 21;

/// A page, as a program reads it that expects no fault.
#[derive(Deserialize)]
#[expect(dead_code, reason = "the values are not used")]
struct Page {
    items: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "the values are not used")]
struct Row {
    prorated_licenses_usage_percent: f64,
    workload_name: String,
    processed_date_time: String,
    service_name: String,
    channel: String,
}

/// When the last byte of the last body was sent.
type LastByte = Arc<Mutex<Instant>>;

#[tokio::main]
async fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    println!("    rows  poll, min  parse, min   ratio  poll, median  parse, median   ratio");
    for rows in if numbers.is_empty() { vec![1_000, 10_000, 75_000] } else { numbers } {
        let body: Arc<str> = page(rows).into();
        let last_byte = Arc::new(Mutex::new(Instant::now()));
        let address = serve(Arc::clone(&body), Arc::clone(&last_byte)).await;
        let directory = tempfile::tempdir().unwrap();
        let (center, accounts) = exporter(address, directory.path());
        let (mut polls, mut parses) = (Vec::new(), Vec::new());
        let mut published = accounts.render(Clock::system().now());
        let mut turn = Turns::default().take().await;
        // The first fetch signs in.
        for round in 0..=ROUNDS {
            let report = center.fetch(Collection::Usage, &mut turn).await.unwrap();
            assert_eq!(report.len(), rows);
            let at = Clock::system().now();
            accounts.ledgers[0]
                .write(|status| status.of_mut(Collection::Usage).poll_ended(Ok(report), at, Duration::ZERO));
            let snapshot = accounts.render(at);
            let poll = last_byte.lock().unwrap().elapsed();
            published = black_box(snapshot);
            let began = Instant::now();
            let plain = serde_json::from_slice::<Page>(body.as_bytes()).unwrap();
            let parse = began.elapsed();
            drop(black_box(plain));
            if round > 0 {
                polls.push(poll.as_secs_f64() * 1000.0);
                parses.push(parse.as_secs_f64() * 1000.0);
            }
        }
        drop(published);
        polls.sort_by(f64::total_cmp);
        parses.sort_by(f64::total_cmp);
        let [least, median] = [0, ROUNDS / 2].map(|at| (polls[at], parses[at]));
        println!(
            "{rows:8} {:7.2} ms  {:7.2} ms {:7.2}    {:7.2} ms     {:7.2} ms {:7.2}",
            least.0,
            least.1,
            least.0 / least.1,
            median.0,
            median.1,
            median.0 / median.1
        );
    }
}

/// Returns the collection, as a page.
fn page(rows: usize) -> String {
    let mut text = format!(r#"{{"totalCount":{rows},"items":["#);
    for number in 0..rows {
        let separator = if number == 0 { "" } else { "," };
        write!(
            text,
            r#"{separator}{{"proratedLicensesUsagePercent":{}.25,"workloadName":"Workload {}","processedDateTime":"2026-11-21T00:00:00","serviceName":"service-{}","channel":"reseller"}}"#,
            number % 100,
            number % 100,
            number / 100,
        )
        .unwrap();
    }
    text.push_str("]}");
    text
}

/// Starts a server of tokens and of the collection.
async fn serve(body: Arc<str>, last_byte: LastByte) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&body), Arc::clone(&last_byte)));
        }
    });
    address
}

/// Answers the requests of a connection.
async fn answer(mut stream: TcpStream, body: Arc<str>, last_byte: LastByte) {
    stream.set_nodelay(true).unwrap();
    let mut request = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut request).await {
        let token = r#"{"token_type":"Bearer","expires_in":3600,"access_token":"a","refresh_token":"r"}"#;
        let is_sign_in = request.starts_with(b"POST");
        // What is left of a form is read with the next request, and does no harm there.
        if !request.windows(4).any(|end| end == b"\r\n\r\n") {
            continue;
        }
        request.clear();
        let body = if is_sign_in { token } else { &*body };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        let (last, rest) = body.as_bytes().split_last().unwrap();
        stream.write_all(rest).await.unwrap();
        // Nothing tells when the client has read this much.
        tokio::time::sleep(Duration::from_millis(100)).await;
        *last_byte.lock().unwrap() = Instant::now();
        stream.write_all(&[*last]).await.unwrap();
    }
}

/// Returns the client of one account, and its series.
fn exporter(address: SocketAddr, directory: &std::path::Path) -> (PartnerCenter, Accounts) {
    let text = format!(
        "accounts: [{{tenant_id: contoso.example, client_secret: s, refresh_token: r, cloud: custom, \
         client_id: 00000000-0000-0000-0000-00000000c11e, api_base_url: 'http://{address}', \
         login_base_url: 'http://{address}'}}]"
    );
    let config = Config::parse(&text, &|_| None).unwrap();
    let account = &config.accounts[0];
    let store = TokenStore::open(directory, account).unwrap();
    let ledger = Ledger::new(None, Arc::default());
    let anchors = TrustAnchors::default();
    let center =
        PartnerCenter::new(account, store, &ledger, &Clock::system(), config.poll_timeout, &anchors).unwrap();
    let accounts = Accounts {
        ledgers: vec![ledger],
        stale_after: config.stale_after,
        thresholds: config.thresholds,
        choices: Choices::default(),
    };
    (center, accounts)
}
