//! The time to poll a collection, and what of it only `serde_json` would take: `cargo bench --bench poll`; append
//! `-- 5000` for another number of rows.
//!
//! "Poll" is a fetch from a server in the same process, over loopback, with pages of up to 50,000 rows; "receive" is
//! the same requests without reading the rows, and "parse" is `serde_json` into structs. They take turns. The minimum
//! of several rounds is printed, which excludes interference.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a table for people")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::Method;
use partner_license_exporter::config::Config;
use partner_license_exporter::domain::clock::Clock;
use partner_license_exporter::domain::status::Ledger;
use partner_license_exporter::partner::{PartnerCenter, TokenStore, UsageSource};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// A page of more rows would be larger than an answer may be.
const PAGE: usize = 50_000;
const ROUNDS: usize = 10;

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
    processed_date_time: jiff::civil::DateTime,
    service_name: String,
    channel: String,
}

#[tokio::main]
async fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    println!("    rows         poll      receive        parse    poll − receive ÷ parse");
    for rows in if numbers.is_empty() { vec![1_000, 10_000, 100_000] } else { numbers } {
        let pages: Vec<Bytes> =
            (0..rows).step_by(PAGE).map(|first| page(first, PAGE.min(rows - first), rows)).collect();
        let address = serve(pages.clone()).await;
        let directory = tempfile::tempdir().unwrap();
        let center = center(address, directory.path());
        let (mut poll, mut receive, mut parse) = (Duration::MAX, Duration::MAX, Duration::MAX);
        // The first fetch signs in.
        for _ in 0..=ROUNDS {
            let began = Instant::now();
            assert_eq!(center.fetch().await.unwrap().rows().len(), rows);
            poll = poll.min(began.elapsed());
            let began = Instant::now();
            for number in 0..pages.len() {
                read(address, number).await;
            }
            receive = receive.min(began.elapsed());
            let began = Instant::now();
            for page in &pages {
                black_box(serde_json::from_slice::<Page>(page).unwrap());
            }
            parse = parse.min(began.elapsed());
        }
        let [poll, receive, parse] = [poll, receive, parse].map(|time| time.as_secs_f64() * 1000.0);
        println!("{rows:8} {poll:9.2} ms {receive:9.2} ms {parse:9.2} ms {:9.2}", (poll - receive) / parse);
    }
}

/// Returns a page of the collection, with a link if others follow.
fn page(first: usize, count: usize, rows: usize) -> Bytes {
    let mut text = format!(r#"{{"totalCount":{count},"items":["#);
    for number in first..first + count {
        let separator = if number == first { "" } else { "," };
        write!(
            text,
            r#"{separator}{{"proratedLicensesUsagePercent":{}.25,"workloadName":"Workload {}","processedDateTime":"2026-11-21T00:00:00","serviceName":"service-{}","channel":"reseller"}}"#,
            number % 100,
            number % 100,
            number / 100,
        )
        .unwrap();
    }
    text.push(']');
    let next = (first + count) / PAGE;
    if first + count < rows {
        write!(
            text,
            r#","links":{{"next":{{"uri":"/analytics/licenses/usage?seekOperation=Next","method":"GET","headers":[{{"key":"MS-ContinuationToken","value":"{next}"}}]}}}}"#
        )
        .unwrap();
    }
    text.push('}');
    text.into()
}

/// Starts a server of tokens and pages.
async fn serve(pages: Vec<Bytes>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = async move |request: Request| {
        if request.method() == Method::POST {
            let token = r#"{"token_type":"Bearer","expires_in":3600,"access_token":"a","refresh_token":"r"}"#;
            return Bytes::from(token);
        }
        let number = request.headers().get("MS-ContinuationToken");
        let number = number.map_or(0, |number| number.to_str().unwrap().parse().unwrap());
        Bytes::clone(&pages[number])
    };
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

fn center(address: SocketAddr, directory: &std::path::Path) -> PartnerCenter {
    let text = format!(
        "accounts: [{{tenant_id: contoso.example, client_secret: s, refresh_token: r, cloud: custom, \
         client_id: 00000000-0000-0000-0000-00000000c11e, api_base_url: 'http://{address}', \
         login_base_url: 'http://{address}'}}]"
    );
    let config = Config::parse(&text, &|_| None).unwrap();
    let account = &config.accounts[0];
    let store = TokenStore::open(directory, account).unwrap();
    let ledger = Ledger::new(None, Arc::default());
    PartnerCenter::new(account, store, &ledger, &Clock::system(), config.poll_timeout).unwrap()
}

/// Reads a page and discards it.
async fn read(address: SocketAddr, number: usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET /v1/analytics/licenses/usage HTTP/1.1\r\nHost: {address}\r\nMS-ContinuationToken: {number}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut body = Vec::new();
    stream.read_to_end(&mut body).await.unwrap();
    black_box(body);
}
