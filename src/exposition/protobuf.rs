//! The messages of `io.prometheus.client`, in their three forms: the wire format, each message after its length, and
//! protobuf's own text, either for people or with one message per line.
//!
//! <https://protobuf.dev/programming-guides/encoding/>
//! <https://protobuf.dev/reference/protobuf/textformat-spec/>
//!
//! The walk through a family is the same for all: it calls each field by its number and its name.

use std::io::Write;

use super::family::{Family, Kind, Point, Value};

/// Writes a family as the wire has it, after its length.
pub(super) fn delimited(out: &mut Vec<u8>, family: &Family, points: &[Point<'_>]) {
    let start = out.len();
    let mut wire = Wire(out);
    message(&mut wire, family, points);
    wire.prefix_length(start);
}

/// Writes a family as text of many lines, and an empty one.
pub(super) fn text(out: &mut Vec<u8>, family: &Family, points: &[Point<'_>]) {
    message(&mut Text { out, depth: 0 }, family, points);
    out.push(b'\n');
}

/// Writes a family as one line of text.
pub(super) fn compact(out: &mut Vec<u8>, family: &Family, points: &[Point<'_>]) {
    message(&mut Line { out, first: true }, family, points);
    out.push(b'\n');
}

/// What the fields of a message are given to.
trait Fields {
    fn text(&mut self, number: u32, name: &str, value: &str);
    fn whole(&mut self, number: u32, name: &str, value: u64);
    fn real(&mut self, number: u32, name: &str, value: f64);
    /// One of a closed list of words, each with a number.
    fn word(&mut self, number: u32, name: &str, value: (u64, &str));
    fn message(&mut self, number: u32, name: &str, fields: impl FnOnce(&mut Self));
}

/// The fields of a `MetricFamily`. Each is written even if it is 0: that it is there means something.
fn message(out: &mut impl Fields, family: &Family, points: &[Point<'_>]) {
    out.text(1, "name", family.name);
    out.text(2, "help", family.help);
    let kind = match family.kind {
        Kind::Counter => (0, "COUNTER"),
        Kind::Gauge => (1, "GAUGE"),
        Kind::Histogram => (4, "HISTOGRAM"),
    };
    out.word(3, "type", kind);
    for (labels, value) in points {
        out.message(4, "metric", |metric| {
            for (name, value) in labels {
                metric.message(1, "label", |label| {
                    label.text(1, "name", name);
                    label.text(2, "value", value);
                });
            }
            match value {
                Value::Gauge(value) => metric.message(2, "gauge", |gauge| gauge.real(1, "value", *value)),
                #[expect(clippy::cast_precision_loss, reason = "as all who read it count")]
                Value::Count(count) => counter(metric, *count as f64),
                Value::Sum(sum) => counter(metric, *sum),
                Value::Histogram(buckets) => metric.message(7, "histogram", |histogram| {
                    histogram.whole(1, "sample_count", buckets.count());
                    histogram.real(2, "sample_sum", buckets.sum);
                    for (bound, count) in &buckets.cumulative {
                        histogram.message(3, "bucket", |bucket| {
                            bucket.whole(1, "cumulative_count", *count);
                            bucket.real(2, "upper_bound", *bound);
                        });
                    }
                }),
            }
        });
    }
    if let Some(unit) = family.unit() {
        out.text(5, "unit", unit);
    }
}

fn counter(metric: &mut impl Fields, value: f64) {
    metric.message(3, "counter", |counter| counter.real(1, "value", value));
}

/// The wire format.
struct Wire<'a>(&'a mut Vec<u8>);

impl Wire<'_> {
    const VARINT: u32 = 0;
    const SIXTY_FOUR_BITS: u32 = 1;
    const LENGTH: u32 = 2;

    fn tag(&mut self, number: u32, kind: u32) {
        self.varint(u64::from(number << 3 | kind));
    }

    fn varint(&mut self, value: u64) {
        let (bytes, length) = varint(value);
        self.0.extend_from_slice(&bytes[..length]);
    }

    /// Puts the length of everything from `start` on before it.
    fn prefix_length(&mut self, start: usize) {
        let (bytes, length) = varint((self.0.len() - start) as u64);
        self.0.splice(start..start, bytes[..length].iter().copied());
    }
}

/// Seven bits a byte, the lowest first; all but the last with the high bit set.
#[expect(clippy::cast_possible_truncation, reason = "masked")]
const fn varint(mut value: u64) -> ([u8; 10], usize) {
    let (mut bytes, mut length) = ([0; 10], 0);
    while value >= 0x80 {
        bytes[length] = (value & 0x7f) as u8 | 0x80;
        value >>= 7;
        length += 1;
    }
    bytes[length] = value as u8;
    (bytes, length + 1)
}

impl Fields for Wire<'_> {
    fn text(&mut self, number: u32, _name: &str, value: &str) {
        self.tag(number, Self::LENGTH);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value.as_bytes());
    }

    fn whole(&mut self, number: u32, _name: &str, value: u64) {
        self.tag(number, Self::VARINT);
        self.varint(value);
    }

    fn real(&mut self, number: u32, _name: &str, value: f64) {
        self.tag(number, Self::SIXTY_FOUR_BITS);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn word(&mut self, number: u32, name: &str, (value, _): (u64, &str)) {
        self.whole(number, name, value);
    }

    fn message(&mut self, number: u32, _name: &str, fields: impl FnOnce(&mut Self)) {
        self.tag(number, Self::LENGTH);
        let start = self.0.len();
        fields(self);
        self.prefix_length(start);
    }
}

/// Text with a line for each field, further in with each message.
struct Text<'a> {
    out: &'a mut Vec<u8>,
    depth: usize,
}

impl Text<'_> {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let indent = self.depth * 2;
        writeln!(self.out, "{:indent$}{line}", "").expect("a vector takes everything");
    }
}

impl Fields for Text<'_> {
    fn text(&mut self, _number: u32, name: &str, value: &str) {
        self.line(format_args!("{name}: {}", Quoted(value)));
    }

    fn whole(&mut self, _number: u32, name: &str, value: u64) {
        self.line(format_args!("{name}: {value}"));
    }

    fn real(&mut self, _number: u32, name: &str, value: f64) {
        self.line(format_args!("{name}: {value:?}"));
    }

    fn word(&mut self, _number: u32, name: &str, (_, word): (u64, &str)) {
        self.line(format_args!("{name}: {word}"));
    }

    fn message(&mut self, _number: u32, name: &str, fields: impl FnOnce(&mut Self)) {
        self.line(format_args!("{name}: {{"));
        self.depth += 1;
        fields(self);
        self.depth -= 1;
        self.line(format_args!("}}"));
    }
}

/// Text on one line, a space between two fields.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Line<'_> {
    fn field(&mut self, field: std::fmt::Arguments<'_>) {
        let space = if self.first { "" } else { " " };
        self.first = false;
        write!(self.out, "{space}{field}").expect("a vector takes everything");
    }
}

impl Fields for Line<'_> {
    fn text(&mut self, _number: u32, name: &str, value: &str) {
        self.field(format_args!("{name}:{}", Quoted(value)));
    }

    fn whole(&mut self, _number: u32, name: &str, value: u64) {
        self.field(format_args!("{name}:{value}"));
    }

    fn real(&mut self, _number: u32, name: &str, value: f64) {
        self.field(format_args!("{name}:{value:?}"));
    }

    fn word(&mut self, _number: u32, name: &str, (_, word): (u64, &str)) {
        self.field(format_args!("{name}:{word}"));
    }

    fn message(&mut self, _number: u32, name: &str, fields: impl FnOnce(&mut Self)) {
        self.field(format_args!("{name}:{{"));
        self.first = true;
        fields(self);
        self.first = false;
        self.out.push(b'}');
    }
}

/// A text in quotes, in which nothing ends it and nothing breaks the line.
struct Quoted<'a>(&'a str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write as _;

        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str(r"\\")?,
                '\n' => f.write_str(r"\n")?,
                c if c.is_ascii_control() => write!(f, "\\{:03o}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}
