//! Network and disk faults against the real program, over real sockets: none may end it, keep it busy, raise its memory
//! use or reveal a secret.

#![expect(clippy::unwrap_used, clippy::float_cmp, reason = "tests fail by panicking; counts are exact")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use axum::http::Version;
use partner_center_simulator::{CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::exposition::Exposition;
use crate::support::peers;
use crate::support::peers::{Authority, Peer, TlsSimulator};
use crate::support::{Exporter, OTHER_TENANT, Simulator, TENANT, account, eventually, get, not_run, program};

const UP: &str = "partner_license_up";
const USAGE: &str = "partner_license_usage_percent";
/// The key of an account that has every collection, in YAML. The customers are polled as often as the others.
const EVERY: &str = ", collections: { deployment: { enabled: true }, \
                     customers: { enabled: true, poll_interval: 1s, poll_timeout: 5s } }";
/// Every collection, with the endpoint that is asked first.
const COLLECTIONS: [(&str, &str); 3] =
    [("usage", "usage"), ("deployment", "deployment"), ("customers", "commercial_usage")];
/// The number of commands that run at a time.
const AT_A_TIME: usize = 8;
const PROXY_PASSWORD: &str = "proxy-sesame";
/// `user:proxy-sesame` in base64.
const PROXY_CREDENTIALS: &str = "dXNlcjpwcm94eS1zZXNhbWU=";

/// Creates a directory with the certificate of an authority, and returns both and the key of an account that trusts it.
fn with_authority() -> (Arc<tempfile::TempDir>, Authority, String) {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let file = directory.path().join("ca.pem");
    fs::write(&file, authority.pem()).unwrap();
    (Arc::new(directory), authority, format!(", ca_file: \"{}\"", file.display()))
}

/// Asserts that neither the logs at debug level nor the pages contain a secret.
fn assert_no_secrets(exporter: &Exporter) {
    let log = exporter.process.stderr.text();
    assert!(log.contains("\"DEBUG\""), "the log level is not debug");
    let shown = [log, get(&format!("{}/metrics", exporter.url)), get(&exporter.url)].concat();
    // Every issued access token begins with this.
    let access_token = "simulated-access-token";
    for secret in [CLIENT_SECRET, REFRESH_TOKEN, access_token, PROXY_PASSWORD, PROXY_CREDENTIALS] {
        assert!(!shown.contains(secret), "{secret} leaked");
    }
}

/// Returns the program with all log levels, in JSON.
fn verbose() -> Command {
    program(&["--log.level", "debug", "--log.format", "json"])
}

/// Returns the log lines with this message, of one account or of all.
fn logged(exporter: &Exporter, account: Option<&str>, message: &str) -> Vec<Value> {
    let log = exporter.process.stderr.text();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let wanted = |line: &Value| {
        line["msg"].as_str().unwrap().starts_with(message)
            && account.is_none_or(|account| line["account"] == account)
    };
    lines.filter(wanted).collect()
}

/// Returns a value if the metrics show a successful poll of each collection of the account.
fn works(metrics: &Exposition, account: &str) -> Option<()> {
    let all_up = COLLECTIONS
        .iter()
        .all(|(name, _)| metrics.value(UP, &[("account", account), ("collection", name)]) == Some(1.0));
    let rows = metrics.named(USAGE).filter(|(labels, _)| labels["account"] == account).count();
    (all_up && rows == 5).then_some(())
}

// === network faults ===

/// The expected outcome of a poll: the reason of the failure, and the code and the number of the requests.
type Outcome = (&'static str, &'static str, u8);

const NETWORK: Outcome = ("network", "error", 3);
const TIMEOUT: Outcome = ("timeout", "error", 1);
const TLS: Outcome = ("tls", "error", 1);
const PAYLOAD: Outcome = ("payload", "error", 1);

/// A fault at one endpoint of one account.
struct Row {
    fault: &'static str,
    endpoint: &'static str,
    /// The base URL of the endpoint.
    url: String,
    /// Further keys of the account, in YAML.
    more: String,
    outcome: Outcome,
    /// The faulty server, which counts its connections.
    peer: Option<Peer>,
}

impl Row {
    fn new(fault: &'static str, url: String, outcome: Outcome) -> Self {
        Self { fault, endpoint: "usage", url, more: String::new(), outcome, peer: None }
    }

    fn at(scheme: &str, fault: &'static str, peer: Peer, outcome: Outcome) -> Self {
        let url = format!("{scheme}://{}", peer.address);
        Self { peer: Some(peer), ..Self::new(fault, url, outcome) }
    }

    fn http(fault: &'static str, peer: Peer, outcome: Outcome) -> Self {
        Self::at("http", fault, peer, outcome)
    }

    fn https(fault: &'static str, peer: Peer, outcome: Outcome) -> Self {
        Self::at("https", fault, peer, outcome)
    }

    /// Returns a row with a faulty proxy, in front of an address that nothing listens on.
    fn proxy(fault: &'static str, proxy: Peer, outcome: Outcome) -> Self {
        let more = format!(", proxy_url: \"http://user:{PROXY_PASSWORD}@{}\"", proxy.address);
        let nowhere = "https://127.0.0.1:1".to_owned();
        Self { peer: Some(proxy), more, ..Self::new(fault, nowhere, outcome) }
    }

    fn with(self, more: &str) -> Self {
        Self { more: more.to_owned(), ..self }
    }

    /// Moves the fault from the endpoints of the collections to the token endpoint.
    fn signing_in(self) -> Self {
        Self { endpoint: "token", ..self }
    }

    fn times_out(&self) -> bool {
        self.outcome == TIMEOUT
    }

    /// Returns the endpoints that have the fault.
    fn endpoints(&self) -> impl Iterator<Item = &'static str> {
        let of_api = COLLECTIONS.iter().map(|(_, endpoint)| *endpoint).filter(|_| self.endpoint != "token");
        of_api.chain((self.endpoint == "token").then_some("token"))
    }
}

/// Every fault, with what must live as long as the rows.
struct Faults {
    rows: Vec<Row>,
    _directory: Arc<tempfile::TempDir>,
    /// Where redirects lead.
    elsewhere: Peer,
    _refusing: OwnedFd,
}

impl Faults {
    fn new() -> Self {
        let (directory, authority, trusted) = with_authority();
        let elsewhere = Peer::answering(peers::silence);
        let redirect = |status: &str| {
            Peer::answering(peers::says(format!("{status}\r\nLocation: http://{}/", elsewhere.address)))
        };
        let (refusing, bound) = peers::refusing();
        let honest = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"items\": []}";
        let certified = |name, until| Peer::answering_tls(authority.server(name, until), honest);
        let rows = vec![
            Row::new("refused", format!("http://{refusing}"), NETWORK),
            Row::new("no such name", "https://partner-center.invalid".to_owned(), NETWORK),
            Row::http("closed at once", Peer::new(|_| Ok(())), NETWORK),
            Row::http("closed after the request", Peer::answering(|_, _| Ok(())), NETWORK),
            Row::http("half a head", Peer::answering(peers::half_a_head), NETWORK),
            Row::http("half a body", Peer::answering(peers::half_a_body), NETWORK),
            Row::http("half a chunk", Peer::answering(peers::half_a_chunk), NETWORK),
            Row::http("reset in the head", Peer::answering(peers::reset_in_the_head), NETWORK),
            Row::http("reset in the body", Peer::answering(peers::reset_in_the_body), NETWORK),
            Row::http("no HTTP", Peer::answering(peers::echo), NETWORK),
            Row::http("endless head", Peer::answering(peers::endless_head), NETWORK),
            Row::http("endless body", Peer::answering(peers::endless_body), PAYLOAD),
            Row::http("gzip bomb", Peer::answering(peers::gzip_bomb), PAYLOAD),
            Row::http("silence", Peer::answering(peers::silence), TIMEOUT),
            Row::http("dripping head", Peer::answering(peers::dripping_head), TIMEOUT),
            Row::http("dripping body", Peer::answering(peers::dripping_body), TIMEOUT),
            Row::http("dripping interim answers", Peer::answering(peers::dripping_interim_answers), TIMEOUT),
            Row::http("redirect 302", redirect("302 Found"), ("server", "302", 1)),
            Row::http("redirect 307", redirect("307 Temporary Redirect"), ("server", "307", 1)),
            Row::http("redirect 308", redirect("308 Permanent Redirect"), ("server", "308", 1)),
            Row::https("no TLS", Peer::new(peers::no_tls), TLS),
            Row::https("unknown authority", certified("127.0.0.1", 2099), TLS),
            Row::https("wrong name", certified("partner-center.invalid", 2099), TLS).with(&trusted),
            Row::https("expired", certified("127.0.0.1", 2020), TLS).with(&trusted),
            Row::https("no handshake", Peer::new(|mut stream| peers::silence(&mut stream, "")), TIMEOUT),
            Row::https("closed during the handshake", Peer::new(|_| Ok(())), NETWORK),
            Row::https("no close_notify", certified("127.0.0.1", 2099), NETWORK).with(&trusted),
            Row::proxy("proxy wants a password", Peer::answering(peers::says("407 No".to_owned())), NETWORK),
            Row::proxy("proxy forbids", Peer::answering(peers::says("403 No".to_owned())), NETWORK),
            Row::proxy("proxy closes", Peer::answering(|_, _| Ok(())), NETWORK),
            Row::proxy("proxy is not a proxy", Peer::answering(peers::echo), NETWORK),
            Row::proxy("proxy is silent", Peer::answering(peers::silence), TIMEOUT),
            Row::http("sign-in: reset", Peer::answering(peers::reset_in_the_body), NETWORK).signing_in(),
            Row::http("sign-in: no HTTP", Peer::answering(peers::echo), NETWORK).signing_in(),
            Row::http("sign-in: endless body", Peer::answering(peers::endless_body), PAYLOAD).signing_in(),
            Row::http("sign-in: silence", Peer::answering(peers::silence), TIMEOUT).signing_in(),
            Row::http("sign-in: redirect", redirect("307 Temporary Redirect"), ("server", "307", 1))
                .signing_in(),
            Row::https("sign-in: unknown authority", certified("127.0.0.1", 2099), TLS).signing_in(),
        ];
        Self { rows, _directory: directory, elsewhere, _refusing: bound }
    }

    /// The configuration of the accounts whose polls fail because of their timeout, or of the others.
    fn config(&self, simulator: &Simulator, times_out: bool, timeout: &str) -> String {
        let more = EVERY.replace("1s", "6h").replace("5s", timeout);
        let of = |(number, row): (usize, &Row)| {
            let tenant = format!("00000000-0000-0000-0000-{number:012}");
            let (login, api) = match row.endpoint {
                "token" => (&row.url, &simulator.url),
                _ => (&simulator.url, &row.url),
            };
            account(Some(row.fault), &tenant, login, api, &format!("{}{more}", row.more))
        };
        let rows = (1..).zip(&self.rows).filter(|(_, row)| row.times_out() == times_out);
        format!("poll_interval: 6h\npoll_timeout: {timeout}\naccounts:\n{}", rows.map(of).collect::<String>())
    }
}

#[test]
fn every_network_fault_is_counted_under_its_reason_and_affects_nothing_else() {
    let simulator = Simulator::start("");
    let faults = Faults::new();
    // What does not wait for the timeout has time enough on a busy machine.
    for (times_out, timeout) in [(true, "5s"), (false, "60s")] {
        let config = faults.config(&simulator, times_out, timeout);
        let rows: Vec<_> = faults.rows.iter().filter(|row| row.times_out() == times_out).collect();
        assert_outcomes(&rows, &config);
    }
    assert_eq!(faults.elsewhere.connections(), 0, "redirects are not followed");
}

/// Asserts that an exporter with this configuration has the outcome of each row, and works on.
fn assert_outcomes(rows: &[&Row], config: &str) {
    let mut command = verbose();
    // On a machine without a name server, resolution then fails within a second instead of half a minute.
    command.env("RES_OPTIONS", "timeout:1 attempts:1");
    let mut exporter = Exporter::start_by(command, Arc::new(tempfile::tempdir().unwrap()), config);

    // A collection that has failed is polled again after fifteen seconds or more. The other two polls of its account have
    // ended by then.
    let mut seen = BTreeMap::new();
    while seen.len() < rows.len() {
        let before = seen.len();
        let missing = rows.iter().map(|row| row.fault).filter(|it| !seen.contains_key(it));
        let what = format!("outcome of {}", missing.collect::<Vec<_>>().join(", "));
        eventually(&what, || {
            let metrics = exporter.metrics();
            for row in rows {
                if !seen.contains_key(row.fault) && is_over(row, &metrics) {
                    seen.insert(row.fault, (metrics.clone(), row.peer.as_ref().map(Peer::connections)));
                }
            }
            (seen.len() > before).then_some(())
        });
    }
    let last = exporter.metrics();
    for row in rows {
        let (metrics, connections) = &seen[row.fault];
        assert_outcome(row, metrics, *connections, &exporter);
    }
    assert!(peak_memory(&exporter) < 150 << 20, "used {} bytes of memory", peak_memory(&exporter));
    let busy = last.value("process_cpu_seconds_total", &[]).unwrap();
    assert!(busy < 12.0, "used {busy} s of processor time");
    assert_no_secrets(&exporter);
    assert!(exporter.process.is_running());
}

#[test]
fn every_network_fault_ends_fetch_and_backfill_for_its_reason_and_they_write_nothing() {
    let simulator = Simulator::start("");
    let faults = Faults::new();
    let place = |times_out, timeout| {
        let directory = tempfile::tempdir().unwrap();
        let config = faults.config(&simulator, times_out, timeout);
        (crate::support::write_config(directory.path(), &config), directory)
    };
    let (hasty, patient) = (place(true, "2s"), place(false, "60s"));
    let files = || [&hasty, &patient].map(|(_, directory)| fs::read_dir(directory).unwrap().count());
    let check = |row: &Row, (file, _): &(PathBuf, tempfile::TempDir), arguments: &[&str]| {
        let mut command = program(&[arguments, &["--account", row.fault]].concat());
        command.arg("--config.file").arg(file);
        command.env("RES_OPTIONS", "timeout:1 attempts:1");
        let output = command.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(1), "{}: {text}", row.fault);
        let expected = format!("account {}: {}: ", row.fault, row.outcome.0);
        assert!(text.contains(&expected), "{expected}: {text}");
        assert!(text.contains("\n  what to do: "), "{text}");
        for secret in
            [CLIENT_SECRET, REFRESH_TOKEN, "simulated-access-token", PROXY_PASSWORD, PROXY_CREDENTIALS]
        {
            assert!(!text.contains(secret), "{secret} leaked");
        }
    };
    let rows = Mutex::new(faults.rows.iter());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                let next = || rows.lock().unwrap().next();
                while let Some(row) = next() {
                    let place = if row.times_out() { &hasty } else { &patient };
                    for collection in ["usage", "customers"] {
                        check(row, place, &["fetch", collection, "--format", "json"]);
                    }
                    let output = place.1.path().join(format!("{}.om", row.fault.replace(' ', "-")));
                    let days = ["--from", "2026-01-01", "--to", "2026-01-02", "--pace", "0s"];
                    let backfill = ["backfill", "--output", output.to_str().unwrap()];
                    check(row, place, &[&backfill[..], &days].concat());
                }
            });
        }
    });
    assert_eq!(files(), [1, 1], "neither a state directory nor a part of the past");
    assert_eq!(faults.elsewhere.connections(), 0, "redirects are not followed");
}

/// Returns whether each collection of an account has been polled, and all of the polls' requests have ended.
fn is_over(row: &Row, metrics: &Exposition) -> bool {
    let polled = |(name, _): &(&str, &str)| {
        let labels = [("account", row.fault), ("collection", *name)];
        metrics.value("partner_license_scrapes_total", &labels) >= Some(1.0)
    };
    // A sign-in can outlast its poll.
    let asked = row.endpoints().all(|endpoint| requests(metrics, row.fault, endpoint).len() == 1);
    COLLECTIONS.iter().all(polled) && asked
}

fn assert_outcome(row: &Row, metrics: &Exposition, connections: Option<usize>, exporter: &Exporter) {
    let (fault, (reason, code, count)) = (row.fault, row.outcome);
    let account = ("account", fault);
    for (name, _) in COLLECTIONS {
        assert_eq!(metrics.value(UP, &[account, ("collection", name)]), Some(0.0), "{name}: {fault}");
        let failures = metrics.named("partner_license_scrape_failures_total");
        let failures: Vec<_> = failures
            .filter(|(labels, _)| labels["account"] == fault && labels["collection"] == name)
            .filter(|(_, value)| *value > 0.0)
            .map(|(labels, value)| (labels["reason"].as_str(), value))
            .collect();
        assert_eq!(failures, [(reason, 1.0)], "{name}: {fault}");
        let lines = logged(exporter, Some(fault), "Polling failed");
        let lines: Vec<_> = lines.iter().filter(|line| line["collection"] == name).collect();
        let [line] = &lines[..] else { panic!("{name}: {fault}: {lines:?}") };
        assert_eq!(line["reason"], reason, "{fault}: {line}");
        if ["network", "tls"].contains(&reason) {
            let place = row.url.split_once("://").unwrap().1;
            let place = if place.contains(':') { place.to_owned() } else { format!("{place}:443") };
            let proxy = if fault.starts_with("proxy") { " through a proxy" } else { "" };
            let error = line["err"].as_str().unwrap();
            assert!(error.contains(&format!(": {place}{proxy}: ")), "{fault}: {error}");
        }
    }
    // Each collection signs in by itself while no sign-in succeeds; one that takes long serves several.
    let is_shared = row.endpoint == "token" && reason == "timeout";
    let mut asked = 0.0;
    for endpoint in row.endpoints() {
        let polls = if endpoint == "token" { 3.0 } else { 1.0 };
        let found = requests(metrics, fault, endpoint);
        let [(found_code, found)] = &found[..] else { panic!("{endpoint}: {fault}: {found:?}") };
        let expected = polls * f64::from(count);
        assert_eq!(found_code, code, "{endpoint}: {fault}");
        assert!(
            *found == expected || is_shared && *found < expected,
            "{endpoint}: {fault}: {found} requests"
        );
        let retries = metrics.value("partner_license_api_retries_total", &[account, ("endpoint", endpoint)]);
        assert_eq!(retries, Some(polls * f64::from(count - 1)), "{endpoint}: {fault}");
        asked += found;
    }
    if row.endpoint == "token" {
        for (_, endpoint) in COLLECTIONS {
            assert_eq!(requests(metrics, fault, endpoint), [], "{fault}");
        }
    } else {
        assert_eq!(requests(metrics, fault, "token"), [("200".to_owned(), 1.0)], "{fault}");
    }
    if let Some(connections) = connections {
        let connections = f64::from(u32::try_from(connections).unwrap());
        assert!(connections == asked || is_shared, "{fault}: {connections} connections");
    }
}

/// Returns the peak memory of the process, in bytes.
fn peak_memory(exporter: &Exporter) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.process.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    peak.unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// Returns the codes of an account's requests to an endpoint, with the number of each.
fn requests(metrics: &Exposition, account: &str, endpoint: &str) -> Vec<(String, f64)> {
    let all = metrics.named("partner_license_api_requests_total");
    let ours = all.filter(|(labels, _)| labels["account"] == account && labels["endpoint"] == endpoint);
    let codes = ours.map(|(labels, value)| (labels["code"].clone(), value));
    codes.filter(|(_, value)| *value > 0.0).collect()
}

// === TLS, HTTP/2, IPv6 ===

#[test]
fn polls_reuse_one_http_1_or_2_connection_to_a_server_with_a_certificate_of_a_private_authority() {
    let (directory, authority, trusted) = with_authority();
    let fronts = [("http/1.1", TENANT, Version::HTTP_11), ("h2", OTHER_TENANT, Version::HTTP_2)];
    let fronts = fronts.map(|(protocol, tenant, version)| {
        (protocol, tenant, version, TlsSimulator::new(authority.server("127.0.0.1", 2099), &[protocol]))
    });
    let accounts = fronts.each_ref().map(|(protocol, tenant, _, front)| {
        account(Some(protocol), tenant, &front.url, &front.url, &format!("{trusted}{EVERY}"))
    });
    let config = format!("poll_interval: 1s\naccounts:\n{}", accounts.concat());
    let exporter = Exporter::start_by(verbose(), directory, &config);
    for (protocol, _, version, front) in &fronts {
        exporter.wait_for_polls(Some(protocol), 3.0);
        exporter.wait_for("rows", |metrics| works(metrics, protocol));
        let requests = front.requests();
        assert!(requests.len() >= 4, "one sign-in and three polls");
        assert!(requests.iter().all(|request| request.version == *version), "{requests:?}");
        assert_eq!(front.connections(), 1, "{protocol}");
    }
    assert_no_secrets(&exporter);
}

#[test]
fn endpoints_can_have_ipv6_addresses() {
    if TcpListener::bind("[::1]:0").is_err() {
        return not_run("IPv6, which this machine does not have");
    }
    let simulator = Simulator::start_at("[::1]:0", &[]);
    assert!(simulator.url.starts_with("http://[::1]:"), "{}", simulator.url);
    let config =
        format!("accounts:\n{}", account(Some("six"), TENANT, &simulator.url, &simulator.url, EVERY));
    let exporter = Exporter::start(&config, &[]);
    exporter.wait_for("rows", |metrics| works(metrics, "six"));
}

// === proxies ===

/// A server and a proxy in front of it.
struct ProxiedServer {
    proxy: Peer,
    proxy_url: String,
    front: TlsSimulator,
    directory: Arc<tempfile::TempDir>,
    trusted: String,
}

impl ProxiedServer {
    fn new() -> Self {
        let (directory, authority, trusted) = with_authority();
        let proxy = Peer::answering(peers::tunnel);
        let proxy_url = format!("http://user:{PROXY_PASSWORD}@{}", proxy.address);
        let front = TlsSimulator::new(authority.server("127.0.0.1", 2099), &["http/1.1"]);
        Self { proxy, proxy_url, front, directory, trusted }
    }

    /// Starts an exporter, and waits until polls of both accounts succeed.
    fn start(&self, more: &str, environment: &[(&str, &str)]) -> Exporter {
        let (far, near) = (&self.front.url, &self.front.plain_url);
        let accounts = [
            // Requests without TLS contain tokens in plain text, so they must never go through a proxy.
            account(Some("mixed"), TENANT, near, far, &format!("{}{more}{EVERY}", self.trusted)),
            account(Some("near"), OTHER_TENANT, near, near, &format!("{more}{EVERY}")),
        ];
        let mut command = verbose();
        command.envs(environment.iter().copied());
        let config = format!("accounts:\n{}", accounts.concat());
        let exporter = Exporter::start_by(command, Arc::clone(&self.directory), &config);
        for account in ["mixed", "near"] {
            exporter.wait_for("rows", |metrics| works(metrics, account));
        }
        exporter
    }
}

#[test]
fn a_proxy_receives_only_its_credentials_and_encrypted_traffic() {
    type Case = fn(&str) -> (String, Vec<(&str, &str)>);
    let cases: [Case; 3] = [
        |url| (format!(", proxy_url: \"{url}\""), vec![]),
        |url| (String::new(), vec![("HTTPS_PROXY", url), ("HTTP_PROXY", url)]),
        |url| (String::new(), vec![("ALL_PROXY", url)]),
    ];
    for case in cases {
        let server = ProxiedServer::new();
        let (more, environment) = case(&server.proxy_url);
        let exporter = server.start(&more, &environment);
        let requests = server.proxy.requests.lock().unwrap().clone();
        let [request] = &requests[..] else { panic!("not exactly one tunnel: {requests:?}") };
        let target = server.front.url.trim_start_matches("https://");
        assert!(request.starts_with(&format!("CONNECT {target} HTTP/1.1\r\n")), "{request}");
        let credentials = format!("proxy-authorization: basic {PROXY_CREDENTIALS}\r\n");
        assert!(request.to_lowercase().contains(&credentials.to_lowercase()), "{request}");
        assert!(!request.to_lowercase().contains("\nauthorization"), "{request}");
        for request in server.front.requests() {
            assert!(!request.headers.contains_key("proxy-authorization"), "{request:?}");
        }
        assert_no_secrets(&exporter);
    }
}

#[test]
fn hosts_in_no_proxy_are_contacted_directly() {
    let server = ProxiedServer::new();
    drop(server.start("", &[("HTTPS_PROXY", &server.proxy_url), ("NO_PROXY", "127.0.0.1")]));
    assert_eq!(server.proxy.connections(), 0);
}

// === disk faults ===

/// A state directory on a file system of 64 KiB that is mounted for the exporter alone.
struct Disk {
    exporter: Exporter,
    simulator: Simulator,
    /// The namespaces of the exporter.
    namespaces: &'static Namespaces,
}

/// The arguments of `unshare` and `nsenter` that create and enter namespaces.
pub(crate) struct Namespaces {
    unshare: &'static [&'static str],
    pub(crate) nsenter: &'static [&'static str],
}

/// The namespaces for root, and for users who may create a user namespace.
pub(crate) const NAMESPACES: [Namespaces; 2] = [
    Namespaces { unshare: &["--mount"], nsenter: &["--mount"] },
    Namespaces {
        unshare: &["--user", "--map-root-user", "--mount"],
        nsenter: &["--user", "--preserve-credentials", "--mount"],
    },
];

impl Namespaces {
    /// Returns those in which this machine allows to mount something at `directory`, if there are any.
    fn find(directory: &Path) -> Option<&'static Self> {
        let possible = |namespaces: &&Self| {
            let probe = namespaces.enter(directory, &Command::new("true")).output();
            probe.is_ok_and(|output| output.status.success())
        };
        let found = NAMESPACES.iter().find(possible);
        if found.is_none() {
            not_run("a small disk, which cannot be mounted here, even in new namespaces (unshare --mount)");
        }
        found
    }

    /// Returns a command that starts a program in new namespaces, with a small file system mounted at `directory`.
    pub(crate) fn enter(&self, directory: &Path, program: &Command) -> Command {
        let mut command = Command::new("unshare");
        let mount = r#"mount -t tmpfs -o size=64k,mode=700 tmpfs "$0" && exec "$@""#;
        command.args(self.unshare).args(["--", "sh", "-c", mount]).arg(directory);
        command.arg(program.get_program()).args(program.get_args());
        for (name, _) in program.get_envs().filter(|(_, value)| value.is_none()) {
            command.env_remove(name);
        }
        command
    }
}

impl Disk {
    /// Starts an exporter that signs in and polls about every second; `None` if this machine does not allow mounting.
    fn start() -> Option<Self> {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let state = directory.path().join("state");
        fs::create_dir(&state).unwrap();
        let namespaces = Namespaces::find(&state)?;
        let simulator = Simulator::start("access_token_lifetime: 1800ms");
        let config = of_every_collection(&simulator);
        let exporter = Exporter::start_by(namespaces.enter(&state, &verbose()), directory, &config);
        let disk = Self { exporter, simulator, namespaces };
        eventually("token and rows on the disk", || {
            let mut files = PURPOSES.map(|purpose| disk.state().join(file_name(purpose))).into_iter();
            files.all(|file| file.exists()).then_some(())
        });
        Some(disk)
    }

    /// The state directory as the exporter sees it.
    fn state(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.exporter.process.id());
        Path::new(&root).join(self.mounted_at().strip_prefix("/").unwrap())
    }

    fn mounted_at(&self) -> PathBuf {
        self.exporter.directory.path().join("state")
    }

    /// Fills the file system.
    fn fill(&self) {
        let mut ballast =
            fs::File::options().create(true).append(true).open(self.state().join("ballast")).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
    }

    fn clear(&self) {
        fs::remove_file(self.state().join("ballast")).unwrap();
    }

    /// Remounts the file system as `ro` or `rw`, which is retried while a file is open for writing.
    fn remount(&self, how: &str) {
        eventually("the remount", || {
            let mut command = Command::new("nsenter");
            command.args(["--target", &self.exporter.process.id().to_string()]).args(self.namespaces.nsenter);
            command.args(["mount", "-o", &format!("remount,bind,{how}")]).arg(self.mounted_at());
            command.output().unwrap().status.success().then_some(())
        });
    }

    fn token(&self) -> String {
        fs::read_to_string(self.state().join(file_name("refresh-token"))).unwrap()
    }

    /// Waits for two more sign-ins and polls.
    fn wait(&self) {
        let counts = || {
            ["token", "usage", "deployment", "commercial_usage"]
                .map(|endpoint| self.simulator.count(endpoint))
        };
        let before = counts();
        eventually("sign-ins and polls", || {
            counts().iter().zip(before).all(|(now, before)| *now >= before + 2).then_some(())
        });
    }

    fn lines(&self, messages: [&str; 2]) -> [usize; 2] {
        messages.map(|message| logged(&self.exporter, None, message).len())
    }

    /// Asserts that sign-ins and polls go on while the disk is broken, and that the log reports its failure and its
    /// recovery once.
    fn assert_tolerated(&self, break_it: impl Fn(&Self), repair: impl Fn(&Self)) {
        const FAILED: [&str; 2] = ["Cannot store the new refresh token", "Cannot save the last good rows"];
        const RECOVERED: [&str; 2] =
            ["New refresh tokens are stored again", "The last good rows are saved to disk again"];
        eventually("log lines about the disk", || {
            break_it(self);
            let [token, rows] = self.lines(FAILED);
            (token > 0 && rows >= COLLECTIONS.len()).then_some(())
        });
        break_it(self);
        let (token, logged_failures) = (self.token(), self.lines(FAILED));
        self.wait();
        assert_eq!(self.lines(FAILED), logged_failures, "only changes are logged");
        let metrics = self.exporter.metrics();
        assert_eq!((metrics.of_usage(UP, &[]), metrics.named(USAGE).count()), (Some(1.0), 5));
        let failures: f64 =
            metrics.named("partner_license_scrape_failures_total").map(|(_, value)| value).sum();
        assert_eq!(failures, 0.0);
        assert_eq!(self.token(), token, "the old token stays on the disk");

        repair(self);
        eventually("log lines about the recovery", || {
            (self.lines(RECOVERED) == logged_failures).then_some(())
        });
        assert_ne!(self.token(), token);
        assert_no_secrets(&self.exporter);
    }
}

/// What the state directory has a file for.
const PURPOSES: [&str; 4] = ["refresh-token", "usage", "deployment", "customers"];

/// A configuration of one account with every collection, each of which is polled every second.
fn of_every_collection(simulator: &Simulator) -> String {
    let account = account(None, TENANT, &simulator.url, &simulator.url, EVERY);
    format!("poll_interval: 1s\naccounts:\n{account}")
}

fn file_name(purpose: &str) -> String {
    format!("{purpose}-{TENANT}-{CLIENT_ID}.json")
}

#[test]
fn a_full_disk_stops_neither_polls_nor_sign_ins_and_is_logged_once() {
    if let Some(disk) = Disk::start() {
        disk.assert_tolerated(Disk::fill, Disk::clear);
    }
}

#[test]
fn a_full_disk_ends_backfill_which_keeps_the_days_that_it_has_fetched() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let Some(namespaces) = Namespaces::find(&disk) else { return };
    let simulator = Simulator::start("rows: portfolio");
    let accounts = format!("accounts:\n{}", simulator.account(None, TENANT));
    let config = crate::support::write_config(directory.path(), &accounts);
    let file = disk.join("past.om");
    let mut command = program(&["backfill", "--pace", "0s", "--from", "2026-01-01", "--to", "2026-01-02"]);
    command.args(["--label", "job=partner-license"]);
    command.args(["--config.file", config.to_str().unwrap(), "--output", file.to_str().unwrap()]);
    let mut listing = Command::new("sh");
    listing.args(["-c", r#""$@"; echo "status $?"; ls -A "$0""#]).arg(&disk);
    listing.arg(command.get_program()).args(command.get_args());
    let output = namespaces.enter(&disk, &listing).output().unwrap();
    let [text, complaint] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(text, "status 1\npast.om.partial\n", "{complaint}");
    let expected = format!("error: cannot write {}: No space left on device", file.display());
    assert!(complaint.starts_with(&expected), "{complaint}");
    assert!(
        complaint.ends_with("\n2 of 2 days are fetched; the same command goes on from there\n"),
        "{complaint}"
    );
}

#[test]
fn a_read_only_disk_stops_neither_polls_nor_sign_ins_and_is_logged_once() {
    if let Some(disk) = Disk::start() {
        disk.assert_tolerated(|disk| disk.remount("ro"), |disk| disk.remount("rw"));
    }
}

#[test]
fn a_deleted_state_directory_is_created_again_with_the_newest_refresh_token() {
    let simulator = Simulator::start("rotation: strict\naccess_token_lifetime: 1800ms");
    let config = of_every_collection(&simulator);
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let mut exporter = Exporter::start_by(verbose(), Arc::clone(&directory), &config);
    let state = directory.path().join("state");
    let files = PURPOSES.map(|purpose| state.join(file_name(purpose)));
    let all_exist = || files.iter().all(|file| file.exists()).then_some(());
    for _ in 0..2 {
        eventually("token and rows on the disk", all_exist);
        // The removal fails if a file is created meanwhile.
        eventually("the removal of the directory", || fs::remove_dir_all(&state).ok());
    }
    eventually("token and rows on the disk again", all_exist);
    let polls = exporter.metrics().of_usage("partner_license_scrapes_total", &[]).unwrap();
    exporter.wait_for_polls(None, polls + 2.0);
    let metrics = exporter.metrics();
    assert_eq!(
        metrics.of_usage("partner_license_scrape_failures_total", &[("reason", "credentials")]),
        Some(0.0)
    );
    assert_eq!(metrics.of_usage(UP, &[]), Some(1.0));
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    assert_no_secrets(&exporter);

    // Only the newest token still signs in.
    exporter.process.signal(Signal::TERM);
    exporter.process.wait();
    let again = Exporter::start_in(directory, &config, &[]);
    again.wait_for_polls(None, 1.0);
    assert_eq!(again.metrics().of_usage(UP, &[]), Some(1.0));
}
