//! Writes log lines to stderr, as logfmt or JSON, with the field names of the Prometheus ecosystem: `time`, `level`,
//! `source`, `msg`, then the fields of the event.
//!
//! Only the events of this workspace are written, because debug output of other crates could show what was sent.

use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::fs::MetadataExt as _;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::domain::clock::Clock;

use super::log_writer::LogWriter;
pub(super) use super::log_writer::{dropped, flush};

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object per line.
    Json,
}

/// The lowest level that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogLevel {
    /// Every poll.
    Debug,
    /// Start, stop and changes of state.
    Info,
    /// Degraded, and retrying.
    Warn,
    /// A person must act.
    Error,
}

/// Writes the events of this workspace to stderr from now on, and panics as errors.
///
/// # Errors
/// If the thread that writes cannot be started.
pub(super) fn start(level: LogLevel, format: LogFormat, clock: Clock) -> io::Result<()> {
    let level = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let writer = LogWriter::to_stderr()?;
    let write = move |line: String| writer.line(line);
    let priorities = stderr_is_the_journal(std::env::var("JOURNAL_STREAM").ok().as_deref());
    let lines = Lines { format, clock, priorities, write };
    tracing_subscriber::registry().with(lines.with_filter(level)).init();
    std::panic::set_hook(Box::new(|panic| tracing::error!(err = %panic, "Panicked")));
    Ok(())
}

/// Whether `journal_stream`, which systemd sets to device and inode of the journal's socket, means this stderr.
fn stderr_is_the_journal(journal_stream: Option<&str>) -> bool {
    let stderr = std::fs::metadata("/proc/self/fd/2").map(|found| format!("{}:{}", found.dev(), found.ino()));
    stderr.is_ok_and(|stderr| journal_stream == Some(stderr.as_str()))
}

/// The priority of syslog that the journal reads at the beginning of a line (`sd-daemon(3)`).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

/// The crates of this workspace, whose events are written.
const WORKSPACE: [&str; 3] = [env!("CARGO_CRATE_NAME"), "exporter_toolkit", "partner_center_simulator"];

/// Passes each event of this workspace to `write`, as one line, so that lines of several threads do not mix.
struct Lines<W> {
    format: LogFormat,
    clock: Clock,
    /// Whether each line begins with its priority, for the journal.
    priorities: bool,
    write: W,
}

impl<S: Subscriber, W: Fn(String) + 'static> Layer<S> for Lines<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let root = metadata.target().split("::").next().unwrap_or_default();
        if !WORKSPACE.contains(&root) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let file = below_src(metadata.file().unwrap_or_default());
        let source = format!("{file}:{}", metadata.line().unwrap_or_default());
        let mut line = Map::new();
        line.insert("time".into(), format!("{:.3}", self.clock.now()).into());
        line.insert("level".into(), metadata.level().as_str().into());
        line.insert("source".into(), source.into());
        line.insert("msg".into(), fields.message.into());
        line.extend(fields.others);
        let text = match self.format {
            LogFormat::Json => Value::Object(line).to_string(),
            LogFormat::Logfmt => logfmt(&line),
        };
        let priority = if self.priorities { priority(*metadata.level()) } else { "" };
        (self.write)(format!("{priority}{text}\n"));
    }
}

/// Shortens the path of a source file to the part below the `src` of its crate.
fn below_src(path: &str) -> &str {
    path.rsplit_once("src/").map_or(path, |(_, file)| file)
}

fn logfmt(line: &Map<String, Value>) -> String {
    let mut out = String::new();
    for (key, value) in line {
        let space = if out.is_empty() { "" } else { " " };
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let bare = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_.:/+%@[]".contains(c));
        // JSON escapes every control character, and readers of logfmt expect Go's quoting, which is the same here.
        let text = if bare { text } else { Value::String(text).to_string() };
        write!(out, "{space}{key}={text}").expect("writing to a String cannot fail");
    }
    out
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(String, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.push((field.name().to_owned(), value.into()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" { self.message = text } else { self.add(field, text) }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" { value.clone_into(&mut self.message) } else { self.add(field, value) }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use jiff::Timestamp;

    use super::*;

    /// The lines that the events of `work` bring about.
    fn logged(format: LogFormat, work: impl FnOnce()) -> String {
        logged_with(format, false, work)
    }

    fn logged_with(format: LogFormat, priorities: bool, work: impl FnOnce()) -> String {
        let lines = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&lines);
        let write = move |line: String| written.lock().unwrap().push_str(&line);
        let clock = Clock::fixed(Timestamp::UNIX_EPOCH);
        let subscriber = tracing_subscriber::registry().with(Lines { format, clock, priorities, write });
        tracing::subscriber::with_default(subscriber, work);
        Arc::into_inner(lines).unwrap().into_inner().unwrap()
    }

    #[test]
    fn events_of_the_three_crates_are_written_and_those_of_others_are_not() {
        let lines = logged(LogFormat::Logfmt, || {
            tracing::info!("of the product");
            tracing::info!(target: "exporter_toolkit::server", "of the toolkit");
            tracing::info!(target: "partner_center_simulator", "of the simulator");
            tracing::info!(target: "reqwest", "of another crate");
            tracing::info!(target: "exporter_toolkit_fork::server", "of another crate");
            tracing::info!(target: "hyper::exporter_toolkit", "of another crate");
        });
        let messages: Vec<_> =
            lines.lines().filter_map(|line| line.split_once("msg=")).map(|(_, msg)| msg).collect();
        assert_eq!(messages, ["\"of the product\"", "\"of the toolkit\"", "\"of the simulator\""]);
    }

    #[test]
    fn a_json_line_has_the_fields_of_the_event_after_the_four_of_every_line() {
        let lines = logged(LogFormat::Json, || tracing::warn!(attempts = 3, url = %"http://x", "Retrying"));
        let line: Map<String, Value> = serde_json::from_str(&lines).unwrap();
        let keys: Vec<_> = line.keys().map(String::as_str).collect();
        assert_eq!(keys, ["time", "level", "source", "msg", "attempts", "url"]);
        assert_eq!((&line["level"], &line["msg"]), (&"WARN".into(), &"Retrying".into()));
        assert_eq!((&line["attempts"], &line["url"]), (&3.into(), &"http://x".into()));
        assert!(line["source"].as_str().unwrap().starts_with("commands/logging.rs:"), "{lines}");
    }

    #[test]
    fn a_line_for_the_journal_begins_with_its_priority() {
        for format in [LogFormat::Logfmt, LogFormat::Json] {
            let lines = logged_with(format, true, || {
                tracing::error!("a");
                tracing::warn!("b");
                tracing::info!("c");
                tracing::debug!("d");
            });
            let priorities: Vec<_> = lines.lines().filter_map(|line| line.get(..3)).collect();
            assert_eq!(priorities, ["<3>", "<4>", "<6>", "<7>"]);
        }
    }

    #[test]
    fn stderr_is_the_journal_only_if_device_and_inode_are_those_of_journal_stream() {
        let stderr = std::fs::metadata("/proc/self/fd/2").unwrap();
        let of = |device: u64, inode: u64| format!("{device}:{inode}");
        assert!(stderr_is_the_journal(Some(&of(stderr.dev(), stderr.ino()))));
        assert!(!stderr_is_the_journal(Some(&of(stderr.dev(), stderr.ino() + 1))));
        assert!(!stderr_is_the_journal(Some("")) && !stderr_is_the_journal(None));
    }

    #[test]
    fn a_source_is_named_by_its_path_in_its_crate() {
        for (path, expected) in [
            ("src/commands/serve.rs", "commands/serve.rs"),
            ("crates/exporter-toolkit/src/server/mod.rs", "server/mod.rs"),
            ("/usr/src/exporter/crates/partner-center-simulator/src/lib.rs", "lib.rs"),
            ("tests/main.rs", "tests/main.rs"),
        ] {
            assert_eq!(below_src(path), expected);
        }
    }

    #[test]
    fn logfmt_quotes_what_needs_it_and_never_breaks_the_line() {
        let mut line = Map::new();
        line.insert("msg".into(), "two words".into());
        line.insert("account".into(), "a\"b\nlevel=ERROR".into());
        line.insert("n".into(), 3.into());
        line.insert("address".into(), "[::1]:10365".into());
        line.insert("empty".into(), "".into());
        let expected = r#"msg="two words" account="a\"b\nlevel=ERROR" n=3 address=[::1]:10365 empty="""#;
        assert_eq!(logfmt(&line), expected);
    }
}
