//! What holds for whatever a client may accept. Held against it by the tests, by the seeds and by the fuzz target,
//! see fuzz/README.md; no part of the program.

use super::{Coding, Escaping, Format, negotiate};

/// Of each format, a clause that asks for it and nothing else.
const EXACT: [(&str, Format); 4] = [
    ("text/plain;version=0.0.4", Format::Classic),
    ("application/openmetrics-text;version=1.0.0", Format::OpenMetrics),
    ("application/openmetrics-text;version=0.0.1", Format::OpenMetrics),
    (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
        Format::Protobuf,
    ),
];

/// The headers of a request, `Accept` on the first line and `Accept-Encoding` on the second: there is an answer, and
/// it is one that was asked for.
pub fn accept(headers: &[u8]) {
    let headers = String::from_utf8_lossy(headers);
    let (accept, accept_encoding) = headers.split_once('\n').unwrap_or((&headers, ""));
    format(accept);
    coding(accept_encoding);
}

fn format(accept: &str) {
    let answer = negotiate(accept);
    let content_type = answer.content_type();
    let squeezed = content_type.replace(' ', "").replace(";charset=utf-8", "");
    let known = EXACT.iter().any(|(clause, format)| {
        *format == answer.format
            && Escaping::ALL.iter().any(|way| squeezed == format!("{clause};escaping={}", way.as_str()))
    });
    assert!(known, "{content_type} is no content type of ours");

    let asked = accept.to_ascii_lowercase();
    let word = match answer.format {
        Format::Classic => "",
        Format::OpenMetrics => "openmetrics-text",
        Format::Protobuf => "vnd.google.protobuf",
    };
    assert!(asked.contains(word) || asked.contains('*'), "{:?} for {accept:?}", answer.format);
    assert!(
        answer.escaping == Escaping::Underscores || accept.contains(answer.escaping.as_str()),
        "{:?} for {accept:?}",
        answer.escaping
    );

    // Whatever else is said, what comes first and most gladly is what is sent.
    for (clause, format) in EXACT {
        let first = format!("{clause},{accept}");
        assert_eq!(negotiate(&first).format, format, "{first:?}");
    }
    // Quotes that do not end take in what follows.
    if !accept.contains('"') {
        let more = format!("{accept},image/png,x;y=z");
        assert_eq!(negotiate(&more), answer, "{more:?}");
        let wider = accept.replace(',', " ,\t").replace(';', "\t; ");
        assert_eq!(negotiate(&wider), answer, "{wider:?}");
    }
}

fn coding(accept_encoding: &str) {
    let asked = accept_encoding.to_ascii_lowercase();
    match Coding::negotiate(accept_encoding) {
        Coding::Identity => {}
        Coding::Gzip => assert!(asked.contains("gzip") || asked.contains('*'), "{accept_encoding:?}"),
        Coding::Zstd => assert!(asked.contains("zstd"), "{accept_encoding:?}"),
    }
    assert_eq!(Coding::negotiate(&format!("gzip,{accept_encoding}")), Coding::Gzip, "{accept_encoding:?}");
    assert_eq!(Coding::negotiate(&asked), Coding::negotiate(accept_encoding), "{accept_encoding:?}");
}
