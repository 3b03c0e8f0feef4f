//! Log lines on stderr, with the field names of the Prometheus ecosystem: `time`, `level`, `source`, `msg`,
//! then the event's own fields; as logfmt or as JSON.
//!
//! Only this program's events are written: other crates' debug output could show what was sent.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::domain::clock::Clock;

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object per line.
    Json,
}

/// From which level on lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    /// Every poll.
    Debug,
    /// Start, stop and changes of state.
    Info,
    /// Degraded, and retrying.
    Warn,
    /// A human must act.
    Error,
}

/// Sends this program's events to stderr from now on.
pub fn start(level: LogLevel, format: LogFormat, clock: Clock) {
    let level = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    tracing_subscriber::registry().with(Lines { format, clock }.with_filter(level)).init();
}

/// The crates whose events are written.
const OURS: [&str; 3] = [env!("CARGO_CRATE_NAME"), "exporter_toolkit", "partner_center_simulator"];

struct Lines {
    format: LogFormat,
    clock: Clock,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let root = metadata.target().split("::").next().unwrap_or_default();
        if !OURS.contains(&root) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let file = metadata.file().map_or("", |path| path.rsplit_once("src/").map_or(path, |(_, file)| file));
        let source = format!("{file}:{}", metadata.line().unwrap_or_default());
        let mut line = Map::new();
        line.insert("time".into(), format!("{:.3}", self.clock.now()).into());
        line.insert("level".into(), metadata.level().as_str().into());
        line.insert("source".into(), source.into());
        line.insert("msg".into(), fields.message.into());
        line.extend(fields.others);
        let mut text = match self.format {
            LogFormat::Json => Value::Object(line).to_string(),
            LogFormat::Logfmt => logfmt(&line),
        };
        text.push('\n');
        // One write per line, so that lines of several tasks do not mix. There is nowhere to report a
        // failure to.
        drop(std::io::stderr().lock().write_all(text.as_bytes()));
    }
}

fn logfmt(line: &Map<String, Value>) -> String {
    let mut out = String::new();
    for (key, value) in line {
        let space = if out.is_empty() { "" } else { " " };
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let bare = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_.:/+%@[]".contains(c));
        // JSON's quoting is Go's, as far as logfmt readers care, and leaves no control character bare.
        let text = if bare { text } else { Value::String(text).to_string() };
        write!(out, "{space}{key}={text}").expect("a string takes everything");
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
    use super::*;

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
