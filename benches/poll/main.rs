//! The time from the last byte of a collection to the snapshot that scrapes read, beside what `serde_json` alone takes
//! to parse the bodies into structs: `cargo bench --bench poll`; append `-- 5000` for another number of rows.
//!
//! A server in the same process holds back the last byte of the last body until the client has read everything else.
//! From then on "poll" lasts: the fetch, the ledger, and the snapshot of all accounts; not the 20 ms in which changes
//! are gathered. It takes turns with "parse". The minimum and the median of several rounds are printed.
//!
//! Customers come in pages of 10,000 rows, and their first scrape is part of the poll, since it chooses the rows that are
//! published. Of these polls the processor time of the whole process but the server is printed too.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a table for people")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use exporter_toolkit::negotiation::{Coding, Format};
use partner_license_exporter::config::Config;
use partner_license_exporter::domain::clock::Clock;
use partner_license_exporter::domain::collection::Collection;
use partner_license_exporter::domain::status::Ledger;
use partner_license_exporter::metrics::{Accounts, Choices, MetricsSnapshot};
use partner_license_exporter::partner::{PartnerCenter, Source as _, TokenStore, TrustAnchors, Turn, Turns};
use partner_license_exporter::polling::Render;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const ROUNDS: usize = 21;

const ROUNDS_OF_CUSTOMERS: usize = 5;
const PAGE_ROWS: usize = 10_000;
/// The program refuses more.
const MAX_USAGE_ROWS: usize = 100_000;

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

/// A page of customers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "the values are not used")]
struct CustomersPage {
    value: Vec<CustomersRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "the values are not used")]
struct CustomersRow {
    workload_code: Option<String>,
    workload_name: Option<String>,
    service_code: String,
    service_name: String,
    channel: String,
    customer_tenant_id: String,
    customer_name: String,
    product_id: String,
    product_name: String,
    licenses_active: Option<u64>,
    licenses_qualified: Option<u64>,
    licenses_deployed: Option<u64>,
    licenses_sold: Option<u64>,
    processed_date_time: String,
}

/// The bodies by what their requests contain; the last one is sent in two parts.
type Bodies = Arc<Vec<(String, String)>>;

/// When the last byte of the last body was sent.
type LastByte = Arc<Mutex<Instant>>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    println!("usage, rows  poll, min  parse, min   ratio  poll, median  parse, median   ratio");
    for rows in if numbers.is_empty() { vec![1_000, 10_000, 75_000] } else { numbers.clone() } {
        if rows > MAX_USAGE_ROWS {
            continue;
        }
        usage(rows).await;
    }
    println!("\ncustomers, rows  poll, median  parse, median   ratio  processor  ratio");
    for rows in if numbers.is_empty() { vec![1_000, 10_000, 100_000, 1_000_000] } else { numbers } {
        customers(rows).await;
    }
}

/// Measures polls of the usage collection in one page.
async fn usage(rows: usize) {
    let bodies: Bodies = Arc::new(vec![("usage".to_owned(), page(rows))]);
    let mut exporter = Exporter::of(Arc::clone(&bodies)).await;
    let (mut polls, mut parses) = (Vec::new(), Vec::new());
    // The first fetch signs in.
    for round in 0..=ROUNDS {
        let (poll, snapshot) = exporter.poll(Collection::Usage, rows).await;
        drop(black_box(snapshot));
        let began = Instant::now();
        drop(black_box(serde_json::from_str::<Page>(&bodies[0].1).unwrap()));
        if round > 0 {
            polls.push(poll);
            parses.push(milliseconds(began.elapsed()));
        }
    }
    polls.sort_by(f64::total_cmp);
    parses.sort_by(f64::total_cmp);
    let [least, median] = [0, ROUNDS / 2].map(|at| (polls[at], parses[at]));
    println!(
        "{rows:11} {:7.2} ms  {:7.2} ms {:7.2}    {:7.2} ms     {:7.2} ms {:7.2}",
        least.0,
        least.1,
        least.0 / least.1,
        median.0,
        median.1,
        median.0 / median.1
    );
}

/// Measures polls of customers with ten workloads and ten products each, and with the deployment of the products.
async fn customers(rows: usize) {
    let products = rows / 10;
    let mut bodies = customer_pages("usage", rows);
    bodies.extend(customer_pages("deployment", products));
    let bodies: Bodies = Arc::new(bodies);
    let mut exporter = Exporter::of(Arc::clone(&bodies)).await;
    let (mut polls, mut parses, mut processor) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS_OF_CUSTOMERS {
        let before = processor_time();
        let (poll, snapshot) = exporter.poll(Collection::Customers, rows / 10).await;
        let of_poll = processor_time() - before;
        drop(snapshot);
        let began = Instant::now();
        for (_, body) in bodies.iter() {
            drop(black_box(serde_json::from_str::<CustomersPage>(body).unwrap()));
        }
        if round > 0 {
            polls.push(poll);
            parses.push(milliseconds(began.elapsed()));
            processor.push(of_poll);
        }
    }
    for values in [&mut polls, &mut parses, &mut processor] {
        values.sort_by(f64::total_cmp);
    }
    let [poll, parse, processor] = [polls, parses, processor].map(|values| values[ROUNDS_OF_CUSTOMERS / 2]);
    println!(
        "{rows:15}    {poll:7.1} ms     {parse:7.1} ms {:7.2} {processor:7.0} ms  {:5.2}",
        poll / parse,
        processor / parse
    );
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The processor time of all threads but the server's so far, in milliseconds.
fn processor_time() -> f64 {
    let of_task = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        let (name, fields) = stat.rsplit_once(") ").unwrap();
        // In ticks of a hundredth of a second on every Linux.
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap());
        if name.ends_with("(server") { 0.0 } else { ticks.sum::<f64>() * 10.0 }
    };
    std::fs::read_dir("/proc/self/task").unwrap().map(of_task).sum()
}

/// Returns the pages of a customers' collection, each with what its request contains.
fn customer_pages(name: &str, rows: usize) -> Vec<(String, String)> {
    // The server may have counted the rows of a page only, so the last one is followed by an empty one.
    let starts = (0..rows).step_by(PAGE_ROWS).chain([rows]);
    let page = |start: usize| {
        let of_page = start..rows.min(start + PAGE_ROWS);
        let row = |number| customer_row(name, number);
        let value: Vec<String> = of_page.map(row).collect();
        format!(r#"{{"Value":[{}],"@nextLink":null,"TotalCount":{rows}}}"#, value.join(","))
    };
    starts.map(|start| (format!("{name}/license/?top=10000&skip={start} "), page(start))).collect()
}

fn customer_row(name: &str, number: usize) -> String {
    let (product, workload) = (number % 10, number / 10 % 10);
    let (part, whole) = (number % 97, number % 89 + 50);
    let (customer, figures) = if name == "usage" {
        let workload = format!(r#""workloadCode":"W{workload}","workloadName":"Workload {workload}""#);
        (number / 100, format!(r#"{workload},"licensesActive":{part},"licensesQualified":{whole}"#))
    } else {
        (number / 10, format!(r#""licensesDeployed":{part},"licensesSold":{whole}"#))
    };
    format!(
        r#"{{{figures},"serviceCode":"o365","serviceName":"Microsoft Office 365","channel":"reseller","customerTenantId":"{customer:08x}-0000-4000-8000-{customer:012x}","customerName":"Customer {customer}","productId":"{product:08x}-0000-4000-9000-000000000000","productName":"Product {product}","processedDateTime":"2026-11-21T00:00:00"}}"#
    )
}

/// One account, its series, and the server of its collections.
struct Exporter {
    center: PartnerCenter,
    accounts: Accounts,
    last_byte: LastByte,
    turn: Turn,
    _directory: tempfile::TempDir,
}

impl Exporter {
    async fn of(bodies: Bodies) -> Self {
        let last_byte = Arc::new(Mutex::new(Instant::now()));
        let address = serve(bodies, Arc::clone(&last_byte)).await;
        let directory = tempfile::tempdir().unwrap();
        let (center, accounts) = exporter(address, directory.path());
        let turn = Turns::default().take().await;
        Self { center, accounts, last_byte, turn, _directory: directory }
    }

    /// Polls once, and returns the milliseconds from the last byte to the snapshot.
    async fn poll(&mut self, collection: Collection, rows: usize) -> (f64, MetricsSnapshot) {
        let report = self.center.fetch(collection, &mut self.turn).await.unwrap();
        assert_eq!(report.len(), rows);
        let at = Clock::system().now();
        self.accounts.ledgers[0]
            .write(|status| status.of_mut(collection).poll_ended(Ok(report), at, Duration::ZERO));
        let snapshot = self.accounts.render(at);
        if collection == Collection::Customers {
            black_box(snapshot.body(Format::Classic, Coding::Identity));
        }
        (milliseconds(self.last_byte.lock().unwrap().elapsed()), snapshot)
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

/// Starts a server of tokens and of the collections, in a thread of its own.
async fn serve(bodies: Bodies, last_byte: LastByte) -> SocketAddr {
    let (sender, address) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        sender.send(listener.local_addr().unwrap()).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&bodies), Arc::clone(&last_byte)));
        }
    };
    let thread = std::thread::Builder::new().name("server".to_owned());
    thread.spawn(move || runtime.block_on(server)).unwrap();
    address.await.unwrap()
}

/// Answers the requests of a connection.
async fn answer(mut stream: TcpStream, bodies: Bodies, last_byte: LastByte) {
    stream.set_nodelay(true).unwrap();
    let mut request = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut request).await {
        let token = r#"{"token_type":"Bearer","expires_in":3600,"access_token":"a","refresh_token":"r"}"#;
        // What is left of a form is read with the next request, and does no harm there.
        if !request.windows(4).any(|end| end == b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&request);
        let line = text.lines().find(|line| line.contains("GET ")).unwrap_or_default();
        let body = bodies.iter().find(|(part, _)| line.contains(part.as_str()));
        let is_last = body.is_none_or(|(part, _)| *part == bodies[bodies.len() - 1].0);
        let body = body.map_or(token, |(_, body)| body);
        request.clear();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        let (last, rest) = body.as_bytes().split_last().unwrap();
        stream.write_all(rest).await.unwrap();
        if is_last {
            // Nothing tells when the client has read this much.
            tokio::time::sleep(Duration::from_millis(100)).await;
            *last_byte.lock().unwrap() = Instant::now();
        }
        stream.write_all(&[*last]).await.unwrap();
    }
}

/// Returns the client of one account, and its series.
fn exporter(address: SocketAddr, directory: &std::path::Path) -> (PartnerCenter, Accounts) {
    let text = format!(
        "collections: {{customers: {{enabled: true}}}}\n\
         accounts: [{{tenant_id: contoso.example, client_secret: s, refresh_token: r, cloud: custom, \
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
        prices: config.prices,
        choices: Choices::default(),
    };
    (center, accounts)
}
