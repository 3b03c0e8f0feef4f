//! The real Prometheus and Alertmanager with their tools, and small servers for them to talk to.
//!
//! scripts/fetch-tools downloads two versions: the oldest that is supported and the newest in Debian.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use libtest_mimic::{Arguments, Conclusion, Trial};
use serde_json::Value;

use super::exposition::Series;
use super::{Process, TIMEOUT, agent, eventually, listening_on};

pub const SUITES: [&str; 2] = ["bookworm", "testing"];
const TOOLS: [&str; 5] = ["prometheus", "promtool", "alertmanager", "amtool", "node_exporter"];

/// A test: its name, and a function that takes the suite whose tools it uses.
pub type Case = (&'static str, fn(&'static str));

/// Runs each case with each suite. If tools are missing, the tests are reported as ignored, with the reason; with
/// `REQUIRE_TOOLS=1`, which scripts/test sets, they fail instead.
pub fn run_cases(arguments: &Arguments, cases: &'static [Case]) -> Conclusion {
    // Each trial starts about six processes, so three trials at a time are enough.
    let arguments = Arguments { test_threads: arguments.test_threads.or(Some(3)), ..arguments.clone() };
    let trials = SUITES.into_iter().flat_map(|suite| {
        let missing: Vec<PathBuf> =
            TOOLS.iter().map(|name| tool(suite, name)).filter(|path| !path.exists()).collect();
        for path in &missing {
            eprintln!("not found: {} (scripts/fetch-tools downloads it)", path.display());
        }
        let required = std::env::var_os("REQUIRE_TOOLS").is_some();
        cases.iter().map(move |(name, case)| {
            Trial::test(format!("{suite}::{name}"), move || {
                case(suite);
                Ok(())
            })
            .with_ignored_flag(!missing.is_empty() && !required)
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if conclusion.num_ignored > 0 {
        eprintln!("{} tests were NOT run, because tools are missing: see above\n", conclusion.num_ignored);
    }
    conclusion
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn tool(suite: &str, name: &str) -> PathBuf {
    root().join("target/tools").join(suite).join("bin").join(name)
}

/// Runs a tool in the root directory of the project and returns its output; the tool must succeed.
pub fn run_tool(suite: &str, name: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(tool(suite, name))
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{name} {arguments:?} of {suite}:\n{text}");
    text
}

// === Prometheus ===

pub struct Prometheus {
    pub process: Process,
    pub url: String,
    directory: Arc<tempfile::TempDir>,
}

impl Prometheus {
    pub fn start(suite: &str, config: &str) -> Self {
        Self::start_in(suite, Arc::new(tempfile::tempdir().unwrap()), config)
    }

    /// Kills an instance and starts another one on its data.
    pub fn start_again(suite: &str, before: Self, config: &str) -> Self {
        let directory = Arc::clone(&before.directory);
        before.process.kill();
        Self::start_in(suite, directory, config)
    }

    fn start_in(suite: &str, directory: Arc<tempfile::TempDir>, config: &str) -> Self {
        let (process, url) = run_prometheus(&mut prometheus(suite, directory.path(), config));
        Self { process, url, directory }
    }

    /// The unit of a metric as the target of a job reported it, which shows the format that was scraped.
    pub fn unit_of(&self, metric: &str, job: &str) -> String {
        let request = agent().get(format!("{}/api/v1/targets/metadata", self.url)).query("metric", metric);
        let mut answer = request.query("match_target", format!("{{job=\"{job}\"}}")).call().unwrap();
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        answer["data"][0]["unit"].as_str().unwrap_or_else(|| panic!("no metadata: {answer}")).to_owned()
    }

    /// The result of an instant query: series and values.
    pub fn query(&self, query: &str) -> BTreeMap<Series, f64> {
        let url = format!("{}/api/v1/query", self.url);
        let mut answer = agent().get(&url).query("query", query).call().unwrap();
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let samples = answer["data"]["result"].as_array().unwrap();
        samples
            .iter()
            .map(|sample| {
                let mut labels: BTreeMap<String, String> =
                    serde_json::from_value(sample["metric"].clone()).unwrap();
                let name = labels.remove("__name__").unwrap_or_default();
                ((name, labels), sample["value"][1].as_str().unwrap().parse().unwrap())
            })
            .collect()
    }
}

/// The command that starts Prometheus in a directory, on the blocks in `data` if there are any.
pub fn prometheus(suite: &str, directory: &Path, config: &str) -> Command {
    let file = directory.join("prometheus.yml");
    fs::write(&file, config).unwrap();
    let mut command = Command::new(tool(suite, "prometheus"));
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
        .arg("--web.listen-address=127.0.0.1:0");
    command
}

/// Starts a command that runs Prometheus, waits until it is ready and returns its address.
pub fn run_prometheus(command: &mut Command) -> (Process, String) {
    let process = Process::start(command);
    let url = format!("http://{}", listening_on(&process.stderr));
    let ready = format!("{url}/-/ready");
    eventually("Prometheus is ready", || (agent().get(&ready).call().ok()?.status() == 200).then_some(()));
    (process, url)
}

/// The same YAML, with every value of these keys replaced by one second.
pub fn with_short_waits(text: &str, keys: &[&str]) -> String {
    let mut found = BTreeSet::new();
    let lines = text.lines().map(|line| {
        let key = line.trim_start_matches([' ', '-']).split_once(':').map_or("", |(key, _)| key);
        if keys.contains(&key) {
            found.insert(key);
            line.split_once(':').unwrap().0.to_owned() + ": 1s\n"
        } else {
            line.to_owned() + "\n"
        }
    });
    let short: String = lines.collect();
    assert_eq!(found.len(), keys.len(), "only {found:?} of {keys:?} occur");
    short
}

// === Alertmanager ===

pub struct Alertmanager {
    pub url: String,
    _process: Process,
    _directory: tempfile::TempDir,
}

impl Alertmanager {
    /// Starts it with a configuration, which may use the shipped template.
    pub fn start(suite: &str, config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("alertmanager.yml");
        fs::write(&file, config).unwrap();
        fs::create_dir(directory.path().join("alertmanager")).unwrap();
        let template = "alertmanager/partner-license.tmpl";
        fs::copy(root().join("examples").join(template), directory.path().join(template)).unwrap();
        let process = Process::start(
            Command::new(tool(suite, "alertmanager"))
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.path={}", directory.path().join("data").display()))
                .arg("--web.external-url=http://alertmanager.example")
                .args(["--cluster.listen-address=", "--web.listen-address=127.0.0.1:0"]),
        );
        let url = format!("http://{}", listening_on(&process.stderr));
        Self { url, _process: process, _directory: directory }
    }

    /// Every alert that it knows.
    pub fn alerts(&self) -> Vec<Value> {
        let alerts = super::json(&format!("{}/api/v2/alerts", self.url));
        alerts.as_array().unwrap().clone()
    }

    /// Sends it firing alerts.
    pub fn post(&self, alerts: &Value) {
        let url = format!("{}/api/v2/alerts", self.url);
        let answer = agent().post(&url).send_json(alerts).unwrap();
        assert_eq!(answer.status(), 200);
    }
}

// === small servers ===

/// The messages that have arrived so far, in order.
#[derive(Clone, Default)]
pub struct Inbox(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Inbox {
    fn put(&self, message: String) {
        self.0.0.lock().unwrap().push(message);
        self.0.1.notify_all();
    }

    /// Waits for a message that contains all of these parts.
    pub fn wait_for(&self, parts: &[&str]) -> String {
        let (messages, arrived) = &*self.0;
        let wanted = |message: &&String| parts.iter().all(|part| message.contains(part));
        let guard = messages.lock().unwrap();
        let (messages, _) = arrived
            .wait_timeout_while(guard, 2 * TIMEOUT, |messages| !messages.iter().any(|it| wanted(&it)))
            .unwrap();
        let (found, all) = (messages.iter().find(wanted).cloned(), messages.join("\n---\n"));
        drop(messages);
        found.unwrap_or_else(|| panic!("no message with {parts:?} in:\n{all}"))
    }

    pub fn messages(&self) -> Vec<String> {
        self.0.0.lock().unwrap().clone()
    }
}

/// Starts a webhook. Returns its address, and a message for each call: a line with the path, then the body.
pub fn webhook() -> (String, Inbox) {
    let inbox = Inbox::default();
    let sink = inbox.clone();
    let address = serve(move |path, body| {
        sink.put(format!("{path}\n{body}"));
        // Alertmanager treats any other response of Slack as a failure and repeats the call.
        "ok".to_owned()
    });
    (format!("http://{address}"), inbox)
}

/// Starts a mail server that accepts everything. Returns its address, and each message with its headers, decoded.
pub fn mail_server() -> (String, Inbox) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let inbox = Inbox::default();
    let sink = inbox.clone();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (mut answer, mut lines) = (stream.try_clone().unwrap(), BufReader::new(stream).lines());
            drop(answer.write_all(b"220 here\r\n"));
            while let Some(Ok(line)) = lines.next() {
                let reply: &[u8] = match line.get(..4) {
                    Some("DATA") => {
                        drop(answer.write_all(b"354 go on\r\n"));
                        let message = lines.by_ref().map_while(Result::ok).take_while(|line| line != ".");
                        // A dot at the start of a line is sent twice.
                        let message =
                            message.map(|line| line.strip_prefix('.').map_or(line.clone(), str::to_owned));
                        sink.put(decode_quoted_printable(&message.collect::<Vec<_>>().join("\n")));
                        b"250 taken\r\n"
                    }
                    Some("QUIT") => b"221 bye\r\n",
                    _ => b"250 fine\r\n",
                };
                drop(answer.write_all(reply));
            }
        }
    });
    (address, inbox)
}

/// Decodes quoted-printable text.
fn decode_quoted_printable(text: &str) -> String {
    let joined = text.replace("=\n", "");
    let mut bytes = Vec::new();
    let mut parts = joined.split('=');
    bytes.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        match part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => bytes.extend(std::iter::once(byte).chain(part.bytes().skip(2))),
            None => bytes.extend(std::iter::once(b'=').chain(part.bytes())),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Starts a target that always serves this text, in the classic format, and returns its address.
pub fn serve_text(text: String) -> String {
    serve(move |_, _| text.clone())
}

/// Serves HTTP in the background until the test program ends, one request per connection, and returns the address.
fn serve(answer: impl Fn(String, String) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(&stream);
            let mut head = Vec::new();
            while let Some(Ok(line)) = reader.by_ref().lines().next() {
                if line.is_empty() {
                    break;
                }
                head.push(line);
            }
            let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else { continue };
            let length = head.iter().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length:")
                    .and_then(|value| value.trim().parse().ok())
            });
            let mut body = vec![0; length.unwrap_or(0)];
            if reader.read_exact(&mut body).is_err() {
                continue;
            }
            let text = answer(path.to_owned(), String::from_utf8(body).unwrap());
            let reply = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
                text.len()
            );
            drop((&stream).write_all(reply.as_bytes()));
        }
    });
    address
}
