//! The two texts: Prometheus' own, version 0.0.4, and OpenMetrics.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>
//!
//! They differ in the lines above the samples, in what is escaped in HELP, and in how the bounds of buckets are
//! spelled. A value is spelled the same in both.

use std::io::Write;

use super::family::{Family, Kind, Point, Value};

/// Writes a family as text 0.0.4.
pub(super) fn classic(out: &mut Vec<u8>, family: &Family, points: &[Point<'_>]) {
    describe(out, "HELP", family.name, |out| escape(out, family.help, false));
    describe(out, "TYPE", family.name, |out| add(out, kind(family.kind)));
    for point in points {
        samples(out, family.name, point, number);
    }
}

/// Writes a family as OpenMetrics text.
pub(super) fn open_metrics(out: &mut Vec<u8>, family: &Family, points: &[Point<'_>]) {
    let stem = family.stem();
    describe(out, "HELP", stem, |out| escape(out, family.help, true));
    describe(out, "TYPE", stem, |out| add(out, kind(family.kind)));
    if let Some(unit) = family.unit() {
        describe(out, "UNIT", stem, |out| add(out, unit));
    }
    for point in points {
        samples(out, family.name, point, canonical);
    }
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
        Kind::Histogram => "histogram",
    }
}

/// A line above the samples.
fn describe(out: &mut Vec<u8>, what: &str, name: &str, text: impl Fn(&mut Vec<u8>)) {
    for part in ["# ", what, " ", name, " "] {
        add(out, part);
    }
    text(out);
    add(out, "\n");
}

/// The samples of one point.
fn samples(out: &mut Vec<u8>, name: &str, (labels, value): &Point<'_>, bound: fn(&mut Vec<u8>, f64)) {
    let mut sample = |suffix: &str, le: Option<f64>, value: &dyn Fn(&mut Vec<u8>)| {
        add(out, name);
        add(out, suffix);
        let mut separator = "{";
        for (label, text) in labels {
            add(out, separator);
            add(out, label);
            add(out, "=\"");
            escape(out, text, true);
            add(out, "\"");
            separator = ",";
        }
        if let Some(le) = le {
            add(out, separator);
            add(out, "le=\"");
            bound(out, le);
            add(out, "\"}");
        } else if !labels.is_empty() {
            add(out, "}");
        }
        add(out, " ");
        value(out);
        add(out, "\n");
    };
    match value {
        Value::Gauge(value) | Value::Sum(value) => sample("", None, &|out| number(out, *value)),
        Value::Count(count) => sample("", None, &|out| whole(out, *count)),
        Value::Histogram(buckets) => {
            for (le, count) in &buckets.cumulative {
                sample("_bucket", Some(*le), &|out| whole(out, *count));
            }
            sample("_sum", None, &|out| number(out, buckets.sum));
            sample("_count", None, &|out| whole(out, buckets.count()));
        }
    }
}

/// A number in its shortest spelling; far from 1 with an exponent.
fn number(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    let written = if value.is_nan() {
        write!(out, "NaN")
    } else if value.is_infinite() {
        write!(out, "{}Inf", if value > 0.0 { '+' } else { '-' })
    } else if size == 0.0 || (1e-5..1e21).contains(&size) {
        write!(out, "{value}")
    } else {
        write!(out, "{value:e}")
    };
    written.expect("a vector takes everything");
}

/// The bound of a bucket, which is text to those who store it. OpenMetrics has `1.0` where others have `1`.
fn canonical(out: &mut Vec<u8>, bound: f64) {
    let start = out.len();
    number(out, bound);
    if bound.is_finite() && !out[start..].iter().any(|byte| b".e".contains(byte)) {
        add(out, ".0");
    }
}

fn whole(out: &mut Vec<u8>, count: u64) {
    write!(out, "{count}").expect("a vector takes everything");
}

/// Backslash and line feed, and the quote where `quotes` says so.
fn escape(out: &mut Vec<u8>, text: &str, quotes: bool) {
    let special = |byte: &u8| matches!(byte, b'\\' | b'\n') || (quotes && *byte == b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(special) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'\n' => br"\n",
            b'\\' => br"\\",
            _ => b"\\\"",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

fn add(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}
