//! The writer that `prometheus-client` replaced, as far as the benchmark needs it: text 0.0.4 of gauges. It is the
//! baseline of the measurement and nothing else.

use std::borrow::Cow;
use std::io::Write as _;

use partner_license_exporter::domain::usage::LicenseUsage;
use partner_license_exporter::metrics::Family;

/// The labels of a sample and its value.
pub(crate) type Point<'a> = (Vec<(&'static str, Cow<'a, str>)>, f64);

/// One point for each row that has a value.
pub(crate) fn points<'a>(
    account: &'a str,
    rows: &'a [LicenseUsage],
    value: impl Fn(&LicenseUsage) -> Option<f64>,
) -> Vec<Point<'a>> {
    let mut points = Vec::new();
    for row in rows {
        if let Some(value) = value(row) {
            let labels = vec![
                ("account", Cow::from(account)),
                ("service", Cow::Borrowed(&*row.service)),
                ("workload", Cow::Borrowed(&*row.workload)),
                ("channel", Cow::Borrowed(&*row.channel)),
            ];
            points.push((labels, value));
        }
    }
    points
}

/// Writes a family.
pub(crate) fn write(out: &mut Vec<u8>, family: &Family, points: &[Point<'_>]) {
    describe(out, "HELP", family.name, family.help);
    describe(out, "TYPE", family.name, "gauge");
    for (labels, value) in points {
        add(out, family.name);
        let mut separator = "{";
        for (label, text) in labels {
            for part in [separator, label, "=\""] {
                add(out, part);
            }
            escape(out, text);
            add(out, "\"");
            separator = ",";
        }
        if !labels.is_empty() {
            add(out, "}");
        }
        add(out, " ");
        number(out, *value);
        add(out, "\n");
    }
}

fn describe(out: &mut Vec<u8>, what: &str, name: &str, text: &str) {
    for part in ["# ", what, " ", name, " ", text, "\n"] {
        add(out, part);
    }
}

fn number(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    let written = if size == 0.0 || (1e-5..1e21).contains(&size) {
        write!(out, "{value}")
    } else {
        write!(out, "{value:e}")
    };
    written.unwrap();
}

fn escape(out: &mut Vec<u8>, text: &str) {
    let special = |byte: &u8| matches!(byte, b'\\' | b'\n' | b'"');
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
