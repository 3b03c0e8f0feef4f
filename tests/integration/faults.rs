//! Every fault of the wire and of the disk, over real sockets against the real program: none may end it, keep
//! it busy, make it grow or have it tell a secret.

#![expect(clippy::unwrap_used, clippy::float_cmp, reason = "tests fail by panicking; counts are exact")]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use axum::http::Version;
use partner_center_simulator::{CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::exposition::Exposition;
use crate::support::peers;
use crate::support::peers::{Authority, Front, Peer};
use crate::support::{Exporter, OTHER_TENANT, Simulator, TENANT, account, eventually, get, program};

const UP: &str = "partner_license_up";
const USAGE: &str = "partner_license_usage_percent";
const PROXY_PASSWORD: &str = "proxy-sesame";
/// `user:proxy-sesame`
const PROXY_CREDENTIALS: &str = "dXNlcjpwcm94eS1zZXNhbWU=";

/// A directory with a certificate authority in it.
fn with_authority() -> (Arc<tempfile::TempDir>, Authority, String) {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let file = directory.path().join("ca.pem");
    fs::write(&file, authority.pem()).unwrap();
    (Arc::new(directory), authority, format!(", ca_file: \"{}\"", file.display()))
}

/// Neither logs at debug level nor pages show what must stay secret.
fn assert_discreet(exporter: &Exporter) {
    let log = exporter.process.stderr.text();
    assert!(log.contains("\"DEBUG\""), "it logs everything it can");
    let shown = [log, get(&format!("{}/metrics", exporter.url)), get(&exporter.url)].concat();
    // Issued tokens begin with these as well.
    let access_token = "simulated-access-token";
    for secret in [CLIENT_SECRET, REFRESH_TOKEN, access_token, PROXY_PASSWORD, PROXY_CREDENTIALS] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}

/// A program that logs everything.
fn talkative() -> Command {
    program(&["--log.level", "debug", "--log.format", "json"])
}

/// Its lines of an account, or of every account, that say this.
fn logged(exporter: &Exporter, account: Option<&str>, message: &str) -> Vec<Value> {
    let log = exporter.process.stderr.text();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let wanted = |line: &Value| {
        line["msg"].as_str().unwrap().starts_with(message)
            && account.is_none_or(|account| line["account"] == account)
    };
    lines.filter(wanted).collect()
}

/// What an exporter that works shows of an account.
fn works(metrics: &Exposition, account: &str) -> Option<()> {
    let rows = metrics.named(USAGE).filter(|(labels, _)| labels["account"] == account).count();
    (metrics.value(UP, &[("account", account)])? == 1.0 && rows == 5).then_some(())
}

/// What this machine cannot do is told past the test harness, and is a failure where `REQUIRE_TOOLS` is set, as
/// in tests/e2e.rs.
fn not_run(what: &str) {
    assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "{what}");
    let mut terminal = std::io::stderr();
    writeln!(terminal, "NOT run: {what}").unwrap();
}

// === faults of the wire ===

/// What becomes of a poll: reason, code of the requests, their number.
type Outcome = (&'static str, &'static str, u8);

const NETWORK: Outcome = ("network", "error", 3);
const TIMEOUT: Outcome = ("timeout", "error", 1);
const TLS: Outcome = ("tls", "error", 1);
const PAYLOAD: Outcome = ("payload", "error", 1);

/// A fault at one endpoint of one account.
struct Row {
    fault: &'static str,
    endpoint: &'static str,
    /// Where the endpoint is.
    url: String,
    /// Further keys of the account.
    more: String,
    outcome: Outcome,
    /// Whoever counts the connections.
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

    /// With a proxy on the way to nowhere.
    fn proxy(fault: &'static str, proxy: Peer, outcome: Outcome) -> Self {
        let more = format!(", proxy_url: \"http://user:{PROXY_PASSWORD}@{}\"", proxy.address);
        let nowhere = "https://127.0.0.1:1".to_owned();
        Self { peer: Some(proxy), more, ..Self::new(fault, nowhere, outcome) }
    }

    fn with(self, more: &str) -> Self {
        Self { more: more.to_owned(), ..self }
    }

    /// At the token endpoint instead of the usage endpoint.
    fn signing_in(self) -> Self {
        Self { endpoint: "token", ..self }
    }
}

#[test]
fn every_fault_of_the_wire_is_counted_under_its_reason_and_harms_nothing() {
    let (directory, authority, trusted) = with_authority();
    let simulator = Simulator::start("");
    let elsewhere = Peer::answering(peers::silence);
    let redirect = |status: &str| {
        Peer::answering(peers::says(format!("{status}\r\nLocation: http://{}/", elsewhere.address)))
    };
    let (refusing, _bound) = peers::refusing();
    let honest = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"items\": []}";
    let certified = |name, until| Peer::answering_tls(authority.server(name, until), honest);
    let rows = [
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
        Row::proxy("proxy is no proxy", Peer::answering(peers::echo), NETWORK),
        Row::proxy("proxy is silent", Peer::answering(peers::silence), TIMEOUT),
        Row::http("sign-in: reset", Peer::answering(peers::reset_in_the_body), NETWORK).signing_in(),
        Row::http("sign-in: no HTTP", Peer::answering(peers::echo), NETWORK).signing_in(),
        Row::http("sign-in: endless body", Peer::answering(peers::endless_body), PAYLOAD).signing_in(),
        Row::http("sign-in: silence", Peer::answering(peers::silence), TIMEOUT).signing_in(),
        Row::http("sign-in: redirect", redirect("307 Temporary Redirect"), ("server", "307", 1)).signing_in(),
        Row::https("sign-in: unknown authority", certified("127.0.0.1", 2099), TLS).signing_in(),
    ];
    let accounts: String = (1..)
        .zip(&rows)
        .map(|(number, row)| {
            let tenant = format!("00000000-0000-0000-0000-{number:012}");
            let (login, api) = match row.endpoint {
                "token" => (&row.url, &simulator.url),
                _ => (&simulator.url, &row.url),
            };
            account(Some(row.fault), &tenant, login, api, &row.more)
        })
        .collect();
    let config = format!("poll_interval: 6h\npoll_timeout: 6s\naccounts:\n{accounts}");
    let mut command = talkative();
    // Where nobody answers for names at all, that takes a moment and not half a minute.
    command.env("RES_OPTIONS", "timeout:1 attempts:1");
    let mut exporter = Exporter::start_by(command, directory, &config);

    // One scrape that has all of them: a failed account is polled again after fifteen seconds or more.
    let metrics = exporter.wait_for("outcome of every fault", |metrics| {
        let is_over = |row: &Row| {
            let polls = metrics.value("partner_license_scrapes_total", &[("account", row.fault)]);
            // A sign-in goes on when its poll is over.
            polls.is_some_and(|polls| polls >= 1.0) && requests(metrics, row.fault, row.endpoint).len() == 1
        };
        rows.iter().all(is_over).then(|| metrics.clone())
    });
    for row in &rows {
        assert_outcome(row, &metrics, &exporter);
    }
    assert_eq!(elsewhere.connections(), 0, "redirects are not followed");
    assert!(peak_memory(&exporter) < 150 << 20, "it holds {} bytes", peak_memory(&exporter));
    let busy = metrics.value("process_cpu_seconds_total", &[]).unwrap();
    assert!(busy < 6.0, "it was busy for {busy} s; that is as long as it waited");
    assert_discreet(&exporter);
    assert!(exporter.process.is_running());
}

fn assert_outcome(row: &Row, metrics: &Exposition, exporter: &Exporter) {
    let (fault, (reason, code, count)) = (row.fault, row.outcome);
    let account = ("account", fault);
    assert_eq!(metrics.value(UP, &[account]), Some(0.0), "{fault}");
    let failures = metrics.named("partner_license_scrape_failures_total");
    let failures: Vec<_> = failures
        .filter(|(labels, value)| labels["account"] == fault && *value > 0.0)
        .map(|(labels, value)| (labels["reason"].as_str(), value))
        .collect();
    assert_eq!(failures, [(reason, 1.0)], "{fault}");
    let found = requests(metrics, fault, row.endpoint);
    assert_eq!(found, [(code.to_owned(), f64::from(count))], "{fault}");
    if row.endpoint == "token" {
        assert_eq!(requests(metrics, fault, "usage"), [], "{fault}");
    } else {
        assert_eq!(requests(metrics, fault, "token"), [("200".to_owned(), 1.0)], "{fault}");
    }
    let retries = metrics.value("partner_license_api_retries_total", &[account, ("endpoint", row.endpoint)]);
    assert_eq!(retries, Some(f64::from(count - 1)), "{fault}");
    if let Some(peer) = &row.peer {
        assert_eq!(peer.connections(), usize::from(count), "{fault}");
    }
    let lines = logged(exporter, Some(fault), "Polling failed");
    assert!(matches!(&lines[..], [line] if line["reason"] == reason), "{fault}: {lines:?}");
}

/// The most bytes of memory that the process ever held.
fn peak_memory(exporter: &Exporter) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.process.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    peak.unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// The codes of an account's requests to an endpoint, and how often there was each.
fn requests(metrics: &Exposition, account: &str, endpoint: &str) -> Vec<(String, f64)> {
    let all = metrics.named("partner_license_api_requests_total");
    let ours = all.filter(|(labels, _)| labels["account"] == account && labels["endpoint"] == endpoint);
    let codes = ours.map(|(labels, value)| (labels["code"].clone(), value));
    codes.filter(|(_, value)| *value > 0.0).collect()
}

// === TLS, HTTP/2, IPv6 ===

#[test]
fn polls_share_one_connection_over_http_1_and_2_to_a_server_of_a_private_authority() {
    let (directory, authority, trusted) = with_authority();
    let fronts = [("http/1.1", TENANT, Version::HTTP_11), ("h2", OTHER_TENANT, Version::HTTP_2)];
    let fronts = fronts.map(|(protocol, tenant, version)| {
        (protocol, tenant, version, Front::new(authority.server("127.0.0.1", 2099), &[protocol]))
    });
    let accounts = fronts.each_ref().map(|(protocol, tenant, _, front)| {
        account(Some(protocol), tenant, &front.url, &front.url, &trusted)
    });
    let config = format!("poll_interval: 1s\naccounts:\n{}", accounts.concat());
    let exporter = Exporter::start_by(talkative(), directory, &config);
    for (protocol, _, version, front) in &fronts {
        exporter.wait_for_polls(Some(protocol), 3.0);
        works(&exporter.metrics(), protocol).unwrap();
        let requests = front.requests();
        assert!(requests.len() >= 4, "one sign-in and three polls");
        assert!(requests.iter().all(|request| request.version == *version), "{requests:?}");
        assert_eq!(front.connections(), 1, "{protocol}");
    }
    assert_discreet(&exporter);
}

#[test]
fn an_address_may_be_of_ip_version_6() {
    if TcpListener::bind("[::1]:0").is_err() {
        return not_run("this machine has no IPv6");
    }
    let simulator = Simulator::start_at("[::1]:0", &[]);
    assert!(simulator.url.starts_with("http://[::1]:"), "{}", simulator.url);
    let config = format!("accounts:\n{}", simulator.account(Some("six"), TENANT));
    let exporter = Exporter::start(&config, &[]);
    exporter.wait_for("rows", |metrics| works(metrics, "six"));
}

// === proxies ===

/// A server and a proxy before it.
struct Line {
    proxy: Peer,
    proxy_url: String,
    front: Front,
    directory: Arc<tempfile::TempDir>,
    trusted: String,
}

impl Line {
    fn new() -> Self {
        let (directory, authority, trusted) = with_authority();
        let proxy = Peer::answering(peers::tunnel);
        let proxy_url = format!("http://user:{PROXY_PASSWORD}@{}", proxy.address);
        let front = Front::new(authority.server("127.0.0.1", 2099), &["http/1.1"]);
        Self { proxy, proxy_url, front, directory, trusted }
    }

    /// Starts an exporter and waits until it works for both accounts.
    fn start(&self, more: &str, environment: &[(&str, &str)]) -> Exporter {
        let (far, near) = (&self.front.url, &self.front.plain_url);
        let accounts = [
            // What is asked without TLS gets tokens as they are: never through a proxy.
            account(Some("mixed"), TENANT, near, far, &format!("{}{more}", self.trusted)),
            account(Some("near"), OTHER_TENANT, near, near, more),
        ];
        let mut command = talkative();
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
fn a_proxy_gets_its_password_and_what_is_encrypted_and_nothing_else() {
    type Case = fn(&str) -> (String, Vec<(&str, &str)>);
    let cases: [Case; 3] = [
        |url| (format!(", proxy_url: \"{url}\""), vec![]),
        |url| (String::new(), vec![("HTTPS_PROXY", url), ("HTTP_PROXY", url)]),
        |url| (String::new(), vec![("ALL_PROXY", url)]),
    ];
    for case in cases {
        let line = Line::new();
        let (more, environment) = case(&line.proxy_url);
        let exporter = line.start(&more, &environment);
        let requests = line.proxy.requests.lock().unwrap().clone();
        let [request] = &requests[..] else { panic!("one tunnel, and nothing else: {requests:?}") };
        let target = line.front.url.trim_start_matches("https://");
        assert!(request.starts_with(&format!("CONNECT {target} HTTP/1.1\r\n")), "{request}");
        let credentials = format!("proxy-authorization: basic {PROXY_CREDENTIALS}\r\n");
        assert!(request.to_lowercase().contains(&credentials.to_lowercase()), "{request}");
        assert!(!request.to_lowercase().contains("\nauthorization"), "{request}");
        for request in line.front.requests() {
            assert!(!request.headers.contains_key("proxy-authorization"), "{request:?}");
        }
        assert_discreet(&exporter);
    }
}

#[test]
fn no_proxy_names_hosts_that_are_asked_directly() {
    let line = Line::new();
    drop(line.start("", &[("HTTPS_PROXY", &line.proxy_url), ("NO_PROXY", "127.0.0.1")]));
    assert_eq!(line.proxy.connections(), 0);
}

// === faults of the disk ===

/// A state directory of 64 KiB that nobody but the exporter has.
struct Disk {
    exporter: Exporter,
    simulator: Simulator,
    /// What `unshare` and `nsenter` make of it.
    namespaces: &'static Namespaces,
}

struct Namespaces {
    unshare: &'static [&'static str],
    nsenter: &'static [&'static str],
}

/// For root; and for those who may become root in a world of their own.
const NAMESPACES: [Namespaces; 2] = [
    Namespaces { unshare: &["--mount"], nsenter: &["--mount"] },
    Namespaces {
        unshare: &["--user", "--map-root-user", "--mount"],
        nsenter: &["--user", "--preserve-credentials", "--mount"],
    },
];

impl Namespaces {
    /// Has a program started in new ones, where a small file system is mounted at `directory`.
    fn enter(&self, directory: &Path, program: &Command) -> Command {
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
    /// With an exporter at work that signs in and polls every second; none if this machine does not allow that.
    fn start() -> Option<Self> {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let state = directory.path().join("state");
        fs::create_dir(&state).unwrap();
        let possible = |namespaces: &&Namespaces| {
            let probe = namespaces.enter(&state, &Command::new("true")).output();
            probe.is_ok_and(|output| output.status.success())
        };
        let Some(namespaces) = NAMESPACES.iter().find(possible) else {
            not_run("nobody may mount anything here, not even in namespaces of his own (unshare --mount)");
            return None;
        };
        let simulator = Simulator::start("access_token_lifetime: 1800ms");
        let config = format!("poll_interval: 1s\naccounts:\n{}", simulator.account(None, TENANT));
        let exporter = Exporter::start_by(namespaces.enter(&state, &talkative()), directory, &config);
        let disk = Self { exporter, simulator, namespaces };
        eventually("token and rows on the disk", || {
            let files = ["refresh-token", "usage"].map(|purpose| disk.state().join(file_name(purpose)));
            files.iter().all(|file| file.exists()).then_some(())
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

    /// Takes every byte that is left.
    fn fill(&self) {
        let mut ballast =
            fs::File::options().create(true).append(true).open(self.state().join("ballast")).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
    }

    fn clear(&self) {
        fs::remove_file(self.state().join("ballast")).unwrap();
    }

    /// Mounts it anew: `ro` or `rw`. That fails as long as something is being written.
    fn remount(&self, how: &str) {
        eventually("the other mount", || {
            let mut command = Command::new("nsenter");
            command.args(["--target", &self.exporter.process.id().to_string()]).args(self.namespaces.nsenter);
            command.args(["mount", "-o", &format!("remount,bind,{how}")]).arg(self.mounted_at());
            command.output().unwrap().status.success().then_some(())
        });
    }

    fn token(&self) -> String {
        fs::read_to_string(self.state().join(file_name("refresh-token"))).unwrap()
    }

    /// Waits until it has signed in and polled some more times.
    fn wait(&self) {
        let (sign_ins, polls) = (self.simulator.count("token"), self.simulator.count("usage"));
        eventually("sign-ins and polls", || {
            let more = (self.simulator.count("token") - sign_ins, self.simulator.count("usage") - polls);
            (more.0 >= 2 && more.1 >= 2).then_some(())
        });
    }

    fn lines(&self, messages: [&str; 2]) -> [usize; 2] {
        messages.map(|message| logged(&self.exporter, None, message).len())
    }

    fn suffers(&self, spoil: impl Fn(&Self), mend: impl Fn(&Self)) {
        const CANNOT: [&str; 2] = ["Cannot store the new refresh token", "Cannot save the last good rows"];
        const AGAIN: [&str; 2] =
            ["New refresh tokens are stored again", "The last good rows are saved to disk again"];
        eventually("complaints about the disk", || {
            spoil(self);
            (!self.lines(CANNOT).contains(&0)).then_some(())
        });
        spoil(self);
        let (token, complaints) = (self.token(), self.lines(CANNOT));
        self.wait();
        assert_eq!(self.lines(CANNOT), complaints, "changes are told, not states");
        let metrics = self.exporter.metrics();
        assert_eq!((metrics.value(UP, &[]), metrics.named(USAGE).count()), (Some(1.0), 5));
        let failures: f64 =
            metrics.named("partner_license_scrape_failures_total").map(|(_, value)| value).sum();
        assert_eq!(failures, 0.0);
        assert_eq!(self.token(), token, "the old token is still there");

        mend(self);
        eventually("good news of the disk", || (self.lines(AGAIN) == complaints).then_some(()));
        assert_ne!(self.token(), token);
        assert_discreet(&self.exporter);
    }
}

fn file_name(purpose: &str) -> String {
    format!("{purpose}-{TENANT}-{CLIENT_ID}.json")
}

#[test]
fn a_full_disk_stops_neither_polls_nor_sign_ins_and_is_told_once() {
    if let Some(disk) = Disk::start() {
        disk.suffers(Disk::fill, Disk::clear);
    }
}

#[test]
fn a_disk_that_becomes_read_only_stops_neither_polls_nor_sign_ins_and_is_told_once() {
    if let Some(disk) = Disk::start() {
        disk.suffers(|disk| disk.remount("ro"), |disk| disk.remount("rw"));
    }
}

#[test]
fn a_state_directory_that_vanishes_comes_back_with_the_newest_refresh_token() {
    let simulator = Simulator::start("rotation: strict\naccess_token_lifetime: 1800ms");
    let config = format!("poll_interval: 1s\naccounts:\n{}", simulator.account(None, TENANT));
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let mut exporter = Exporter::start_by(talkative(), Arc::clone(&directory), &config);
    let state = directory.path().join("state");
    let files = ["refresh-token", "usage"].map(|purpose| state.join(file_name(purpose)));
    let all_there = || files.iter().all(|file| file.exists()).then_some(());
    for _ in 0..2 {
        eventually("token and rows on the disk", all_there);
        // A file may come in between.
        eventually("the end of the directory", || fs::remove_dir_all(&state).ok());
    }
    eventually("token and rows on the disk again", all_there);
    let polls = exporter.metrics().value("partner_license_scrapes_total", &[]).unwrap();
    exporter.wait_for_polls(None, polls + 2.0);
    let metrics = exporter.metrics();
    assert_eq!(
        metrics.value("partner_license_scrape_failures_total", &[("reason", "credentials")]),
        Some(0.0)
    );
    assert_eq!(metrics.value(UP, &[]), Some(1.0));
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    assert_discreet(&exporter);

    // The newest token: the only one that still signs in.
    exporter.process.signal(Signal::TERM);
    exporter.process.wait();
    let again = Exporter::start_in(directory, &config, &[]);
    again.wait_for_polls(None, 1.0);
    assert_eq!(again.metrics().value(UP, &[]), Some(1.0));
}
