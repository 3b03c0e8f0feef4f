//! No output contains a secret: the tests cause every kind of failure with recognisable secrets, and search all output
//! of every command for them, at every log level.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use partner_center_simulator::CLIENT_ID;
use serde_json::{Value, json};

use crate::support;
use crate::support::peers;
use crate::support::peers::Peer;
use crate::support::{Exporter, Process, Simulator, agent, eventually, get, program};

const SECRET: &str = "canary-client-secret-7f3a/+~";
const FIRST_TOKEN: &str = "canary.refresh.token.91bc";
const PROXY_PASSWORD: &str = "canary-proxy-password-55d1";
const FEDERATED: &str = "canary.federated.token-a0e7";
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/client-certificates/rsa.pem");
const DAMAGED: &str = "canary-damaged-state-83e0";

/// Returns a part of each secret that all its encodings contain.
fn secrets() -> Vec<String> {
    let key = fs::read_to_string(KEY).unwrap();
    let key = key.lines().nth(3).unwrap().to_owned();
    let proxy = STANDARD.encode(format!("user:{PROXY_PASSWORD}"));
    let mut secrets: Vec<_> = [
        "canary",
        // Everything that the simulator issues begins with one of these.
        "simulated-access-token",
        "simulated-refresh-token",
        "simulated-device-code",
        "simulated-authorization-code",
        // Every issued token and every assertion begins with one of these.
        "eyJ0eXAi",
        "eyJhbGci",
    ]
    .map(str::to_owned)
    .into();
    secrets.extend([key, proxy]);
    secrets
}

/// Returns the secrets that a text contains.
fn found(text: &str) -> Vec<String> {
    secrets().into_iter().filter(|secret| text.contains(secret)).collect()
}

fn assert_no_secrets(source: &str, text: &str) {
    assert_eq!(found(text), [""; 0], "{source}: {text}");
}

const TOKEN_ANSWERS: [&str; 17] = [
    "ok",
    "refresh_token_expired",
    "consent_revoked",
    "bad_client_secret",
    "mfa_required",
    "secret_expired",
    "unknown_application",
    "refresh_token_revoked",
    "mfa_expired",
    "conditional_access",
    "consent_missing_principal",
    "assertion_refused",
    "wrong_tenant",
    "invalid_scope",
    "throttled",
    "server_error",
    "malformed",
];
const USAGE_ANSWERS: [&str; 15] = [
    "no_bom",
    "empty",
    "throttled",
    "server_error",
    "unauthorized",
    "mfa_required",
    "wrong_audience",
    "forbidden",
    "app_only",
    "conditional_access",
    "not_found",
    "malformed",
    "html",
    "truncated",
    "no_content",
];

/// Returns a handler that repeats the secrets of the request in the members in which Entra ID and Partner Center
/// describe errors.
fn repeating_secrets(status: &'static str) -> impl Fn(&mut TcpStream, &str) -> io::Result<()> {
    move |stream, request| {
        // The order is reversed so that the secrets are in the part of the text that the program prints.
        let body = request.rsplit("\r\n\r\n").next().unwrap_or_default();
        let authorization = request.lines().find(|line| line.to_lowercase().starts_with("authorization"));
        let quoted = authorization.unwrap_or(body);
        let pieces: Vec<_> = quoted.split('&').rev().collect();
        let quoted = pieces.join("&");
        let decoded: Vec<_> = form_urlencoded::parse(quoted.as_bytes()).map(|(_, value)| value).collect();
        let decoded = decoded.join(" ");
        let answer = json!({
            "error": quoted, "error_description": decoded, "trace_id": decoded, "correlation_id": quoted,
            "suberror": decoded, "code": decoded, "description": quoted, "message": quoted,
            "access_token": format!("{decoded} no token"), "items": [{"serviceName": quoted}],
        });
        let answer = answer.to_string();
        let head = quoted.replace(['\r', '\n'], " ");
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nMS-RequestId: {head}\r\nMS-CV: {head}\r\n\
             Location: http://127.0.0.1:1/?{head}\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        )
    }
}

/// Accounts that fail in all ways, one for each.
struct FailingAccounts {
    simulator: Simulator,
    directory: Arc<tempfile::TempDir>,
    accounts: Vec<String>,
    /// Locks the stored token of an account while it is open.
    lock: Option<fs::File>,
}

impl FailingAccounts {
    fn new() -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let path = |name: &str| directory.path().join(name);
        fs::write(path("federated"), FEDERATED).unwrap();
        fs::write(path("secret"), SECRET).unwrap();
        fs::write(path("token"), FIRST_TOKEN).unwrap();
        let simulator = Simulator::start("");
        let mut failing =
            Self { simulator, directory: Arc::clone(&directory), accounts: Vec::new(), lock: None };
        let mut tenants = serde_json::Map::new();
        let url = failing.simulator.url.clone();
        let secret = format!("client_secret_file: \"{}\"", path("secret").display());
        for answer in TOKEN_ANSWERS {
            let tenant = failing.add(&format!("token-{answer}"), &url, &url, &secret);
            tenants.insert(tenant, json!({"token": {"answer": answer}}));
        }
        for answer in USAGE_ANSWERS {
            let tenant = failing.add(&format!("usage-{answer}"), &url, &url, &secret);
            tenants.insert(tenant, json!({"usage": {"answer": answer}}));
        }
        let tenant = failing.add("declined", &url, &url, &secret);
        tenants.insert(tenant, json!({"device": {"answer": "decline", "polls": 0, "interval": "1s"}, "authorize": {"answer": "decline"}}));
        let tenant = failing.add("device-blocked", &url, &url, &secret);
        tenants.insert(tenant, json!({"device": {"answer": "blocked", "polls": 0, "interval": "1s"}}));
        let tenant = failing.add("device-expired", &url, &url, &secret);
        tenants
            .insert(tenant, json!({"device": {"answer": "pending", "interval": "1s", "expires_in": "3s"}}));
        let certificate = format!("client_certificate_file: \"{KEY}\"");
        let federated = format!("federated_token_file: \"{}\"", path("federated").display());
        let proof = [("secret", &secret), ("certificate", &certificate), ("federated", &federated)];
        for status in ["400 Bad Request", "401 Unauthorized", "302 Found", "429 Slow", "200 OK", "503 Busy"] {
            let peer = Peer::answering(repeating_secrets(status));
            let echo = format!("http://{}", peer.address);
            let number = status.split(' ').next().unwrap();
            for (kind, credential) in proof {
                failing.add(&format!("echo-sign-in-{number}-{kind}"), &echo, &url, credential);
            }
            failing.add(&format!("echo-api-{number}"), &url, &echo, &secret);
        }
        let peer = Peer::answering(peers::echo);
        let echo = format!("http://{}", peer.address);
        failing.add("no-http-sign-in", &echo, &url, &certificate);
        failing.add("no-http-api", &url, &echo, &secret);
        let without_tls = format!("https://{}", peer.address);
        failing.add("no-tls-sign-in", &without_tls, &url, &secret);
        failing.add("no-tls-api", &url, &without_tls, &secret);
        let proxy = format!("{secret}, proxy_url: \"http://user:{PROXY_PASSWORD}@{}\"", peer.address);
        failing.add("proxy", "https://127.0.0.1:1", "https://127.0.0.1:1", &proxy);
        // The simulator assert_refused these two.
        failing.add("certificate-refused", &url, &url, &certificate);
        failing.add("federated-refused", &url, &url, &federated);
        let damaged = failing.add("damaged", &url, &url, &secret);
        let other_cloud = failing.add("other-cloud", &url, &url, &secret);
        fs::create_dir(path("state")).unwrap();
        let state = |tenant: &str, content: &str| {
            fs::write(path(&format!("state/refresh-token-{tenant}-{CLIENT_ID}.json")), content).unwrap();
            fs::write(path(&format!("state/usage-{tenant}-{CLIENT_ID}.json")), content).unwrap();
        };
        state(&damaged, &format!("{{\"refresh_token\": \"{DAMAGED}\""));
        let record = json!({"version": 1, "owner": "other", "ancestor_sha256": "", "issued_at": "2026-01-01T00:00:00Z",
            "refresh_token": DAMAGED});
        state(&other_cloud, &record.to_string());
        let unwritable = failing.add("unwritable", &url, &url, &secret);
        fs::create_dir_all(path(&format!("state/refresh-token-{unwritable}-{CLIENT_ID}.json/x"))).unwrap();
        // No test signs in to this account, because `login` would wait for the lock.
        let locked = failing.add("usage-locked", &url, &url, &secret);
        let lock = fs::File::create(path(&format!("state/refresh-token-{locked}-{CLIENT_ID}.lock"))).unwrap();
        lock.lock().unwrap();
        failing.lock = Some(lock);
        let scenario = json!({
            "client_secret": SECRET, "refresh_token": FIRST_TOKEN, "tenants": tenants,
            "device": {"interval": "1s", "polls": 0, "expires_in": "3s"},
        });
        failing.simulator.scenario(&scenario.to_string());
        failing.write_config();
        failing
    }

    fn add(&mut self, name: &str, login: &str, api: &str, keys: &str) -> String {
        let tenant = format!("00000000-0000-0000-0000-{:012}", self.accounts.len() + 1);
        let token = self.directory.path().join("token");
        self.accounts.push(format!(
            "  - {{ name: {name}, tenant_id: {tenant}, client_id: {CLIENT_ID}, cloud: custom, refresh_token_file: \
             \"{}\", login_base_url: \"{login}\", api_base_url: \"{api}\", {keys} }}\n",
            token.display()
        ));
        tenant
    }

    fn config(&self) -> String {
        format!("poll_interval: 6h\npoll_timeout: 6s\naccounts:\n{}", self.accounts.concat())
    }

    fn write_config(&self) -> PathBuf {
        support::write_config(self.directory.path(), &self.config())
    }

    /// Removes the stored rows and pauses, so that the next start polls every account at once.
    fn forget_polls(&self) {
        for entry in fs::read_dir(self.directory.path().join("state")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if ["usage-", "pause-"].iter().any(|start| name.starts_with(start)) {
                fs::remove_file(path).unwrap();
            }
        }
    }

    fn names(&self) -> Vec<String> {
        let name = |account: &String| {
            account.split(['{', ',']).nth(1).unwrap().replace("name:", "").trim().to_owned()
        };
        self.accounts.iter().map(name).collect()
    }
}

/// Runs a command to its end, and asserts that its output contains no secret.
fn run_without_secrets(what: &str, mut command: Command) -> (Option<i32>, String) {
    command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert_no_secrets(what, &text);
    assert!(!text.contains("panicked"), "{what}: {text}");
    (output.status.code(), text)
}

fn command_line(id: u32) -> String {
    let arguments = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap();
    assert!(!arguments.is_empty(), "the process is gone");
    arguments
}

#[test]
fn the_search_finds_secrets() {
    assert_eq!(found(&format!("secret={SECRET}")), ["canary"]);
    assert_eq!(found("refused simulated-refresh-token-4-abc"), ["simulated-refresh-token"]);
    assert_eq!(found(&fs::read_to_string(KEY).unwrap()).len(), 1);
    assert_eq!(found("nothing"), [""; 0]);
}

/// Returns the accounts whose polls failed, with the level of the message, from a log in JSON.
fn logged_failures(log: &str) -> Vec<(String, String)> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let failures = lines.filter(|line| line["msg"] == "Polling failed");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    failures.map(|line| (text(&line["account"]), text(&line["level"]))).collect()
}

#[test]
fn no_failure_of_a_running_exporter_reveals_a_secret() {
    let failing = FailingAccounts::new();
    let names = failing.names();
    let mut failures = Vec::new();
    for (level, format) in [("debug", "json"), ("debug", "logfmt"), ("info", "logfmt")] {
        let flags = ["--log.level", level, "--log.format", format];
        failing.forget_polls();
        let exporter = Exporter::start_in(Arc::clone(&failing.directory), &failing.config(), &flags);
        for name in &names {
            exporter.wait_for_polls(Some(name), 1.0);
        }
        let metrics = get(&format!("{}/metrics", exporter.url));
        assert_no_secrets("metrics", &metrics);
        assert_no_secrets("page", &get(&exporter.url));
        assert_no_secrets("command line", &command_line(exporter.process.id()));
        let log = exporter.process.stderr.text();
        assert!(log.contains("Polling failed"));
        if format == "json" {
            failures = logged_failures(&log);
        }
        // Of an account that has not changed, a reload would start the next poll a minute after this one.
        support::write_config(failing.directory.path(), &failing.config().replace(": 6h", ": 5h"));
        assert_eq!(exporter.reload(), 200);
        exporter.wait_for_polls(Some("usage-forbidden"), 2.0);
        let mut answer = agent().post(&format!("{}/-/reload?{SECRET}", exporter.url)).send_empty().unwrap();
        assert_no_secrets("answer", &answer.body_mut().read_to_string().unwrap());
        assert_no_secrets(level, &exporter.process.stderr.text());
        assert_no_secrets(level, &exporter.process.stdout.text());
    }
    // At these levels no line announces the address, so the failures in the log are counted.
    for (level, levels) in [("warn", &["WARN", "ERROR"][..]), ("error", &["ERROR"])] {
        let expected = failures.iter().filter(|(_, level)| levels.contains(&level.as_str())).count();
        assert!(expected > 20, "{failures:?}");
        failing.forget_polls();
        let file = failing.write_config();
        let flags = ["--log.level", level, "--log.format", "json", "--web.listen-address", "127.0.0.1:0"];
        let process =
            Process::start(&mut program(&[&flags[..], &["--config.file", file.to_str().unwrap()]].concat()));
        eventually("every failure in the log", || {
            (logged_failures(&process.stderr.text()).len() >= expected).then_some(())
        });
        assert_no_secrets(level, &process.stderr.text());
    }
    // Only the files of refresh tokens, and files that were set aside, may contain secrets.
    for entry in fs::read_dir(failing.directory.path().join("state")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("refresh-token-") && !name.contains(".set-aside") {
            assert_no_secrets(&name, &fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn neither_doctor_nor_check_reveals_a_secret() {
    let failing = FailingAccounts::new();
    let file = failing.write_config();
    let file = file.to_str().unwrap();
    thread::scope(|scope| {
        for format in ["text", "json"] {
            scope.spawn(move || {
                let (code, text) = run_without_secrets(
                    format,
                    program(&["doctor", "--config.file", file, "--format", format]),
                );
                assert_eq!(code, Some(1), "{text}");
                assert!(text.contains("usage-forbidden") && text.contains("(secret)"), "{text}");
            });
        }
    });
    assert_eq!(run_without_secrets("check", program(&["check", "--config.file", file])).0, Some(0));
}

#[test]
fn neither_fetch_nor_backfill_reveals_a_secret() {
    let failing = FailingAccounts::new();
    let place = |timeout: &str| {
        let directory = tempfile::tempdir().unwrap();
        let config = failing.config().replace("poll_timeout: 6s", &format!("poll_timeout: {timeout}"));
        (support::write_config(directory.path(), &config), directory)
    };
    // The polls that succeed have time enough on a busy machine.
    let ((hasty, _hasty), (patient, _patient)) = (place("1s"), place("60s"));
    let directory = tempfile::tempdir().unwrap();
    let names = Mutex::new(failing.names().into_iter());
    let past = |name: &str| directory.path().join(name);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let next = || names.lock().unwrap().next();
                while let Some(name) = next() {
                    let is_good = ["usage-no_bom", "usage-empty", "token-ok"].contains(&name.as_str());
                    let file = if is_good { &patient } else { &hasty };
                    let account = ["--config.file", file.to_str().unwrap(), "--account", &*name];
                    for format in ["json", "openmetrics"] {
                        let command = program(&[&["fetch", "--format", format][..], &account].concat());
                        let (code, text) = run_without_secrets(&format!("fetch {name}"), command);
                        assert!(!is_good || code == Some(0), "{name}: {text}");
                        assert!(code == Some(0) || text.contains(&format!("account {name}: ")), "{text}");
                    }
                    let mut command = program(&[&["backfill", "--pace", "0s"][..], &account].concat());
                    command.args(["--from", "2018-10-14", "--to", "2018-10-14", "--output"]).arg(past(&name));
                    let (_, said, complained) = support::run_until_it_waits(&mut command);
                    assert_no_secrets(&format!("backfill {name}"), &(said + &complained));
                }
            });
        }
    });
    // Neither what was written nor a part of it has one.
    let files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().path()).collect();
    assert!(files.iter().any(|file| file.ends_with("usage-forbidden")), "{files:?}");
    for file in files {
        assert_no_secrets(&file.display().to_string(), &fs::read_to_string(&file).unwrap());
    }
}

#[test]
fn no_login_reveals_a_secret() {
    let failing = FailingAccounts::new();
    let file = failing.write_config();
    let (file, names) = (file.to_str().unwrap(), failing.names());
    let names: Vec<_> = names.iter().filter(|name| !name.starts_with("usage-")).collect();
    thread::scope(|scope| {
        for share in names.chunks(names.len().div_ceil(8)) {
            scope.spawn(move || {
                for name in share {
                    run_without_secrets(name, program(&["login", "--config.file", file, "--account", name]));
                }
            });
        }
        for name in [
            "token-ok",
            "token-bad_client_secret",
            "declined",
            "echo-sign-in-400-certificate",
            "echo-sign-in-400-secret",
        ] {
            scope.spawn(move || {
                log_in_by_browser(file, name);
            });
        }
    });
}

/// Signs in with the browser flow. If the sign-in service cannot do it, the redirect has a made-up secret.
fn log_in_by_browser(file: &str, name: &str) {
    let mut command = program(&["login", "--browser", "--config.file", file, "--account", name]);
    let mut process = Process::start(command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY"));
    let url = process.stdout.wait_for("address", |line| Some(line.strip_prefix("    ")?.to_owned()));
    assert_no_secrets("command line", &command_line(process.id()));
    let query = url.split_once('?').unwrap().1.to_owned();
    let value = |wanted: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        pairs.find_map(|(name, value)| (name == wanted).then_some(value)).unwrap()
    };
    if name.starts_with("echo") {
        let back = format!("{}/?state={}&code=canary-code-1b", value("redirect_uri"), value("state"));
        get(&back);
    } else {
        get(&url);
    }
    process.wait();
    assert_no_secrets(name, &process.stdout.text());
    assert_no_secrets(name, &process.stderr.text());
}

#[test]
fn no_invalid_configuration_is_quoted_with_its_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("empty"), "").unwrap();
    fs::write(path("key"), format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"))
        .unwrap();
    fs::write(path("binary"), [b"canary".as_slice(), &[0xff, 0xfe]].concat()).unwrap();
    fs::write(path("words"), "canary canary").unwrap();
    let good = format!("tenant_id: contoso.example, client_id: {CLIENT_ID}");
    let file =
        |key: &str, name: &str| format!("accounts: [{{ {good}, {key}: \"{}\" }}]", path(name).display());
    let mut texts = vec![
        SECRET.to_owned(),
        format!("accounts: {SECRET}"),
        format!("accounts: [{SECRET}]"),
        format!("accounts:\n  - client_secret:{SECRET}\n"),
        format!("accounts:\n  - client_secret: \"{SECRET}\n"),
        format!("accounts:\n  - tenant_id: x\n   client_secret: {SECRET}\n"),
        format!("accounts:\n  - client_secret: [{SECRET}]\n    refresh_token: {{ a: {FIRST_TOKEN} }}\n"),
        format!("accounts:\n  - client_secret: &{SECRET} *x\n"),
        format!("accounts:\n  - client_secret: !{SECRET} x\n"),
        format!("accounts: [{{ {good}, client_secret: {SECRET}, client_secret_file: {SECRET} }}]"),
        format!(
            "accounts: [{{ {good}, refresh_token: \"{FIRST_TOKEN} x\", client_secret: \"{SECRET}\\u0007\" }}]"
        ),
        format!("accounts: [{{ {good}, client_secret: {SECRET}, client_secret: {SECRET} }}]"),
        file("client_certificate_file", "key"),
        file("client_certificate_file", "words"),
        file("refresh_token_file", "binary"),
        file("client_secret_file", "binary"),
        file("client_secret_file", "empty"),
        file("refresh_token_file", "."),
        file("federated_token_file", "words"),
        file("ca_file", "key"),
    ];
    let keys = ["tenant_id", "client_id", "cloud", "locale", "api_base_url", "login_base_url", "proxy_url"];
    for key in keys {
        texts.push(format!("accounts: [{{ {key}: \"{SECRET}\", cloud: custom }}]"));
        texts.push(format!("accounts: [{{ {key}: \"http://user:{SECRET}@host name/\", cloud: custom }}]"));
        texts.push(format!(
            "accounts: [{{ {good}, {key}: \"https://user:{PROXY_PASSWORD}@127.0.0.1:99999\" }}]"
        ));
    }
    for key in ["poll_interval", "poll_timeout", "stale_after", "thresholds"] {
        texts.push(format!("{key}: {SECRET}\naccounts: [{{ {good} }}]"));
    }
    for (number, text) in texts.iter().enumerate() {
        let file = path(&format!("config-{number}.yml"));
        let with_state = format!("state_directory: \"{}\"\n{text}", path("state").display());
        for text in [text, &with_state] {
            fs::write(&file, text).unwrap();
            assert_refused(&file, text);
        }
    }
}

fn assert_refused(file: &Path, text: &str) {
    let file = file.to_str().unwrap();
    let commands: [&[&str]; 4] = [
        &["check"],
        &["doctor", "--format", "json"],
        &["login"],
        &["serve", "--web.listen-address", "127.0.0.1:0", "--log.format", "json"],
    ];
    let (code, said) = run_without_secrets(text, program(&["check", "--config.file", file]));
    for command in commands {
        // With a valid configuration, these commands would connect to a server.
        if code == Some(1) {
            let (code, said) =
                run_without_secrets(text, program(&[command, &["--config.file", file]].concat()));
            assert!(matches!(code, Some(1 | 2)), "{text}: {said}");
        }
    }
    assert!(!said.is_empty());
}

#[test]
fn secrets_in_environment_variables_are_not_revealed() {
    let (refusing, _bound) = peers::refusing();
    let variables = [
        ("AZURE_TENANT_ID", "contoso.example"),
        ("AZURE_CLIENT_ID", CLIENT_ID),
        ("AZURE_CLIENT_SECRET", SECRET),
        ("PARTNER_CENTER_REFRESH_TOKEN", FIRST_TOKEN),
        ("HTTPS_PROXY", &format!("http://user:{PROXY_PASSWORD}@{refusing}")),
        ("RES_OPTIONS", "timeout:1 attempts:1"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let past = directory.path().join("past.om").display().to_string();
    let backfill =
        ["backfill", "--from", "2026-01-01", "--to", "2026-01-01", "--pace", "0s", "--output", &past];
    for arguments in
        [&["check"][..], &["doctor"], &["doctor", "--format", "json"], &["login"], &["fetch"], &backfill]
    {
        for wrong in ["", "AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_AUTHORITY_HOST"] {
            let mut command = program(arguments);
            command.envs(variables).env("STATE_DIRECTORY", directory.path());
            if !wrong.is_empty() {
                command.env(wrong, SECRET);
            }
            run_without_secrets(&format!("{arguments:?} {wrong}"), command);
        }
    }
    let mut command = program(&["--web.listen-address", "127.0.0.1:0", "--log.level", "debug"]);
    let mut exporter = Process::start(command.envs(variables).env("STATE_DIRECTORY", directory.path()));
    exporter.stderr.wait_for("failure", |line| line.contains("Polling failed").then_some(()));
    assert_no_secrets("command line", &command_line(exporter.id()));
    exporter.signal(rustix::process::Signal::TERM);
    exporter.wait();
    assert_no_secrets("log", &exporter.stderr.text());
}
