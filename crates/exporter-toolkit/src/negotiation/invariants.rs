//! The invariants of negotiation, which property tests, seeds and a fuzz target check.

use super::coding::Coding;
use super::format::{Escaping, Format, NegotiatedFormat};

/// For each format, clauses that ask for it and nothing else.
const EXACT: [(&str, Format); 4] = [
    ("text/plain;version=0.0.4", Format::Classic),
    ("application/openmetrics-text;version=1.0.0", Format::OpenMetrics),
    ("application/openmetrics-text;version=0.0.1", Format::OpenMetrics),
    (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
        Format::Protobuf,
    ),
];

/// Checks the headers of a request, `Accept` on the first line and `Accept-Encoding` on the second.
///
/// # Panics
/// If the client gets a format or a coding that it does not accept although it accepts another one.
pub fn accept(headers: &[u8]) {
    let headers = String::from_utf8_lossy(headers);
    let (accept, accept_encoding) = headers.split_once('\n').unwrap_or((&headers, ""));
    format(accept);
    coding(accept_encoding);
}

fn negotiate(accept: &str) -> NegotiatedFormat {
    NegotiatedFormat::negotiate(accept, &Format::ALL)
}

fn format(accept: &str) {
    let negotiated = negotiate(accept);
    let content_type = negotiated.content_type();
    let squeezed = content_type.replace(' ', "").replace(";charset=utf-8", "");
    let known = EXACT.iter().any(|(clause, format)| {
        *format == negotiated.format
            && Escaping::ALL.iter().any(|scheme| squeezed == format!("{clause};escaping={}", scheme.as_str()))
    });
    assert!(known, "{content_type} is not a known content type");

    let lowercase = accept.to_ascii_lowercase();
    let name = match negotiated.format {
        Format::Classic => "",
        Format::OpenMetrics => "openmetrics-text",
        Format::Protobuf => "vnd.google.protobuf",
    };
    assert!(lowercase.contains(name) || lowercase.contains('*'), "{:?} for {accept:?}", negotiated.format);
    assert!(
        negotiated.escaping == Escaping::Underscores || accept.contains(negotiated.escaping.as_str()),
        "{:?} for {accept:?}",
        negotiated.escaping
    );

    // A clause that comes first and has the highest quality decides, whatever follows.
    for (clause, format) in EXACT {
        let first = format!("{clause},{accept}");
        assert_eq!(negotiate(&first).format, format, "{first:?}");
    }
    // An unclosed quote would swallow the additions.
    if !accept.contains('"') {
        let more = format!("{accept},image/png,x;y=z");
        assert_eq!(negotiate(&more), negotiated, "{more:?}");
        let wider = accept.replace(',', " ,\t").replace(';', "\t; ");
        assert_eq!(negotiate(&wider), negotiated, "{wider:?}");
    }
}

fn coding(accept_encoding: &str) {
    let lowercase = accept_encoding.to_ascii_lowercase();
    match Coding::negotiate(accept_encoding) {
        Coding::Identity => {}
        Coding::Gzip => assert!(lowercase.contains("gzip") || lowercase.contains('*'), "{accept_encoding:?}"),
        Coding::Zstd => assert!(lowercase.contains("zstd"), "{accept_encoding:?}"),
    }
    assert_eq!(Coding::negotiate(&format!("gzip,{accept_encoding}")), Coding::Gzip, "{accept_encoding:?}");
    assert_eq!(Coding::negotiate(&lowercase), Coding::negotiate(accept_encoding), "{accept_encoding:?}");
}
