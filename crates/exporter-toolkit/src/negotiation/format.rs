//! Chooses the format of the metrics by the `Accept` header, as the exporters in Go do, with one difference: a format
//! that the client refuses with `q=0` is not sent unless the client refuses every format.

use std::cmp::Reverse;

use axum::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};

use super::accept::{Clause, clauses, joined};
use super::coding::Coding;

/// An exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format, version 0.0.4.
    Classic,
    /// The OpenMetrics text format, versions 0.0.1 and 1.0.0, which do not differ here.
    OpenMetrics,
    /// Length-delimited protobuf messages.
    Protobuf,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Classic, Self::OpenMetrics, Self::Protobuf];
}

/// A format with the details of the content type that the client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NegotiatedFormat {
    /// The format of the body.
    pub format: Format,
    pub(super) escaping: Escaping,
    media_type: &'static str,
}

impl NegotiatedFormat {
    /// Chooses among the formats that are offered; the classic text, which every Prometheus reads, is the fallback.
    pub fn from_headers(headers: &HeaderMap, offered: &[Format]) -> Self {
        Self::negotiate(&joined(headers, ACCEPT), offered)
    }

    /// Chooses among the formats that are offered by the value of an `Accept` header.
    pub(super) fn negotiate(accept: &str, offered: &[Format]) -> Self {
        let offers: Vec<_> = OFFERS.iter().filter(|offer| offered.contains(&offer.format)).collect();
        choose(accept, &offers, Escaping::Underscores)
    }

    /// Returns the headers of a response in this format and coding.
    pub fn response_headers(&self, coding: Coding) -> HeaderMap {
        let content_type = HeaderValue::try_from(self.content_type()).expect("it is printable ASCII");
        let vary = HeaderValue::from_static("Accept, Accept-Encoding");
        let content_encoding = coding.as_str().map(HeaderValue::from_static);
        [(CONTENT_TYPE, content_type), (VARY, vary)]
            .into_iter()
            .chain(content_encoding.map(|coding| (CONTENT_ENCODING, coding)))
            .collect()
    }

    /// Returns the value of `Content-Type`.
    pub(super) fn content_type(&self) -> String {
        format!("{}; escaping={}", self.media_type, self.escaping.as_str())
    }
}

/// The scheme by which names with other than the classic characters are escaped. It is negotiated because clients
/// ask for it; names with classic characters look the same in every scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escaping {
    /// Each such character becomes an underscore.
    Underscores,
    /// A dot becomes `_dot_`, and each other such character an underscore.
    Dots,
    /// Each such character becomes its code point.
    Values,
    /// Names are not escaped.
    AllowUtf8,
}

impl Escaping {
    /// Every scheme.
    pub(super) const ALL: [Self; 4] = [Self::Underscores, Self::Dots, Self::Values, Self::AllowUtf8];

    /// Returns the name of the scheme in a header.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
            Self::AllowUtf8 => "allow-utf-8",
        }
    }
}

/// A format under one of its media types.
#[derive(Debug)]
struct Offer {
    format: Format,
    /// The value of `Content-Type` up to the escaping.
    media_type: &'static str,
    kind: (&'static str, &'static str),
    parameters: &'static [(&'static str, &'static str)],
    /// Whether a client may leave out the parameters.
    parameters_optional: bool,
}

const PROTO: (&str, &str) = ("proto", "io.prometheus.client.MetricFamily");
const OPEN_METRICS: (&str, &str) = ("application", "openmetrics-text");
const PROTOBUF: (&str, &str) = ("application", "vnd.google.protobuf");

/// Every media type in the order of preference; the first is the default.
static OFFERS: [Offer; 4] = [
    Offer {
        format: Format::Classic,
        media_type: "text/plain; version=0.0.4; charset=utf-8",
        kind: ("text", "plain"),
        parameters: &[("version", "0.0.4")],
        parameters_optional: true,
    },
    Offer {
        format: Format::OpenMetrics,
        media_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
        kind: OPEN_METRICS,
        parameters: &[("version", "1.0.0")],
        parameters_optional: false,
    },
    Offer {
        format: Format::OpenMetrics,
        media_type: "application/openmetrics-text; version=0.0.1; charset=utf-8",
        kind: OPEN_METRICS,
        parameters: &[("version", "0.0.1")],
        parameters_optional: true,
    },
    Offer {
        format: Format::Protobuf,
        media_type: "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
        kind: PROTOBUF,
        parameters: &[PROTO, ("encoding", "delimited")],
        parameters_optional: false,
    },
];

fn choose(accept: &str, offers: &[&Offer], default: Escaping) -> NegotiatedFormat {
    let clauses = clauses(accept);
    let offer = best(&clauses, offers)
        .or_else(|| offers.iter().find(|offer| offer.format == Format::Classic).copied())
        .or(offers.first().copied())
        .unwrap_or(&OFFERS[0]);
    NegotiatedFormat {
        format: offer.format,
        escaping: escaping(clauses, offer).unwrap_or(default),
        media_type: offer.media_type,
    }
}

/// Returns the offer of the highest quality, if any is acceptable. At equal quality the client's order decides, then
/// ours. If only `*/*` matches it, our order alone decides: a client that names a text format and accepts anything
/// may be unable to read anything else.
fn best<'o>(clauses: &[Clause<'_>], offers: &[&'o Offer]) -> Option<&'o Offer> {
    let acceptable = |offer: &Offer| offer.best_match(clauses).filter(|found| found.quality > 0);
    let ranked = offers.iter().enumerate().filter_map(|(n, offer)| {
        let Match { quality, position, specificity } = acceptable(offer)?;
        Some(((quality, Reverse(position), Reverse(n)), specificity, *offer))
    });
    match ranked.max_by_key(|(rank, ..)| *rank)? {
        (_, 0, _) => offers.iter().find(|offer| acceptable(offer).is_some()).copied(),
        (_, _, offer) => Some(offer),
    }
}

/// Returns the escaping of the clause that leads to `offer`, or else of the last clause of a higher quality that names
/// one.
fn escaping(mut clauses: Vec<Clause<'_>>, offer: &Offer) -> Option<Escaping> {
    clauses.retain(|clause| clause.quality > 0);
    clauses.sort_by_key(|clause| Reverse(clause.quality));
    let chosen = clauses.iter().position(|clause| offer.specificity(clause).is_some());
    let considered = clauses.iter().take(chosen.map_or(usize::MAX, |n| n + 1));
    let names = considered.filter_map(|clause| clause.parameter("escaping"));
    names.rev().find_map(|name| Escaping::ALL.into_iter().find(|known| known.as_str() == name))
}

/// How a clause matches an offer.
struct Match {
    quality: u16,
    /// The index of the clause in the header.
    position: usize,
    specificity: u8,
}

impl Offer {
    /// Returns the most specific match.
    fn best_match(&self, clauses: &[Clause<'_>]) -> Option<Match> {
        let matching = clauses.iter().enumerate().filter_map(|(position, clause)| {
            let specificity = self.specificity(clause)?;
            Some(Match { quality: clause.quality, position, specificity })
        });
        matching.max_by_key(|found| (found.specificity, found.quality, Reverse(found.position)))
    }

    /// Returns how specifically a clause matches, from 0 for `*/*` to 3 for a media type with its parameters.
    fn specificity(&self, clause: &Clause<'_>) -> Option<u8> {
        let (kind, subkind) = clause.value.split_once('/').unwrap_or((clause.value, ""));
        let (kind, subkind) = (kind.trim_end(), subkind.trim_start());
        match (kind, subkind) {
            ("*", "*" | "") => return Some(0),
            (kind, _) if !kind.eq_ignore_ascii_case(self.kind.0) => return None,
            (_, "*") => return Some(1),
            (_, subkind) if !subkind.eq_ignore_ascii_case(self.kind.1) => return None,
            _ => {}
        }
        let mut specificity = 3;
        for (name, value) in self.parameters {
            match clause.parameter(name) {
                Some(found) if found == *value => {}
                None if self.parameters_optional => specificity = 2,
                _ => return None,
            }
        }
        Some(specificity)
    }
}

#[cfg(test)]
mod tests;
