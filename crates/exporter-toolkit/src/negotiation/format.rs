//! Which format a client gets. Total: whatever it sends, there is an answer.
//!
//! As the exporters in Go choose, with one difference: what a client refuses by `q=0` it does not get, unless it
//! refuses everything.

use std::cmp::Reverse;

use super::accept::{Clause, clauses};

/// A way to write metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text, version 0.0.4.
    Classic,
    /// OpenMetrics text. Versions 0.0.1 and 1.0.0 are the same to us.
    OpenMetrics,
    /// Messages of protobuf, each after its length.
    Protobuf,
}

impl Format {
    /// Every format, in the order of the enumeration.
    pub const ALL: [Self; 3] = [Self::Classic, Self::OpenMetrics, Self::Protobuf];
}

/// What somebody is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How the body is written.
    pub format: Format,
    /// How names beyond ASCII would be written.
    pub escaping: Escaping,
    media_type: &'static str,
}

impl Answer {
    /// The exact `Content-Type`.
    pub fn content_type(&self) -> String {
        format!("{}; escaping={}", self.media_type, self.escaping.as_str())
    }
}

/// What becomes of names with characters that names did not always have. None of ours has any, so this is
/// answered and changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escaping {
    /// An underscore for each such character.
    Underscores,
    /// Dots become `_dot_`, and the others underscores.
    Dots,
    /// Their code points.
    Values,
    /// They stay.
    AllowUtf8,
}

impl Escaping {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Underscores, Self::Dots, Self::Values, Self::AllowUtf8];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
            Self::AllowUtf8 => "allow-utf-8",
        }
    }
}

/// A format under one of its names.
#[derive(Debug)]
struct Offer {
    format: Format,
    /// The beginning of the `Content-Type`.
    media_type: &'static str,
    kind: (&'static str, &'static str),
    parameters: &'static [(&'static str, &'static str)],
    /// Parameters that a client need not name.
    implied: bool,
}

const PROTO: (&str, &str) = ("proto", "io.prometheus.client.MetricFamily");
const OPEN_METRICS: (&str, &str) = ("application", "openmetrics-text");
const PROTOBUF: (&str, &str) = ("application", "vnd.google.protobuf");

/// What can be had; the first is for those who do not care.
static OFFERS: [Offer; 4] = [
    Offer {
        format: Format::Classic,
        media_type: "text/plain; version=0.0.4; charset=utf-8",
        kind: ("text", "plain"),
        parameters: &[("version", "0.0.4")],
        implied: true,
    },
    Offer {
        format: Format::OpenMetrics,
        media_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
        kind: OPEN_METRICS,
        parameters: &[("version", "1.0.0")],
        implied: false,
    },
    Offer {
        format: Format::OpenMetrics,
        media_type: "application/openmetrics-text; version=0.0.1; charset=utf-8",
        kind: OPEN_METRICS,
        parameters: &[("version", "0.0.1")],
        implied: true,
    },
    Offer {
        format: Format::Protobuf,
        media_type: "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
        kind: PROTOBUF,
        parameters: &[PROTO, ("encoding", "delimited")],
        implied: false,
    },
];

/// The answer for an `Accept` header. Whoever asks for nothing we have gets the classic text, which every
/// Prometheus reads.
pub fn negotiate(accept: &str) -> Answer {
    choose(accept, &OFFERS, Escaping::Underscores)
}

fn choose(accept: &str, offers: &[Offer], default: Escaping) -> Answer {
    let clauses = clauses(accept);
    let offer = best(&clauses, offers)
        .or_else(|| offers.iter().find(|offer| offer.format == Format::Classic))
        .or(offers.first())
        .unwrap_or(&OFFERS[0]);
    Answer {
        format: offer.format,
        escaping: escaping(clauses, offer).unwrap_or(default),
        media_type: offer.media_type,
    }
}

/// The offer that is most welcome, if any is. Of equally welcome ones the client's order decides, then ours. Where
/// nothing but `*/*` speaks for it, ours alone does: a client that names a text and takes anything may well read nothing
/// else.
fn best<'o>(clauses: &[Clause<'_>], offers: &'o [Offer]) -> Option<&'o Offer> {
    let welcome = |offer: &Offer| offer.welcome(clauses).filter(|welcome| welcome.quality > 0);
    let ranked = offers.iter().enumerate().filter_map(|(n, offer)| {
        let Welcome { quality, position, exactness } = welcome(offer)?;
        Some(((quality, Reverse(position), Reverse(n)), exactness, offer))
    });
    match ranked.max_by_key(|(rank, ..)| *rank)? {
        (_, 0, _) => offers.iter().find(|offer| welcome(offer).is_some()),
        (_, _, offer) => Some(offer),
    }
}

/// The last way of escaping that the clauses name, from the most welcome one to the one that leads to `offer`.
fn escaping(mut clauses: Vec<Clause<'_>>, offer: &Offer) -> Option<Escaping> {
    clauses.retain(|clause| clause.quality > 0);
    clauses.sort_by_key(|clause| Reverse(clause.quality));
    let asked = clauses.iter().position(|clause| offer.matched_by(clause).is_some());
    let named = clauses.iter().take(asked.map_or(usize::MAX, |n| n + 1));
    let words = named.filter_map(|clause| clause.parameter("escaping"));
    words.rev().find_map(|word| Escaping::ALL.into_iter().find(|known| known.as_str() == word))
}

/// What a clause says of an offer.
struct Welcome {
    /// In thousandths.
    quality: u16,
    /// Where in the list it stands.
    position: usize,
    /// How exactly it describes the offer; 0 = as anything.
    exactness: u8,
}

impl Offer {
    /// How welcome it is by the clause that describes it best.
    fn welcome(&self, clauses: &[Clause<'_>]) -> Option<Welcome> {
        let matching = clauses.iter().enumerate().filter_map(|(position, clause)| {
            let exactness = self.matched_by(clause)?;
            Some(Welcome { exactness, quality: clause.quality, position })
        });
        matching.max_by_key(|welcome| (welcome.exactness, welcome.quality, Reverse(welcome.position)))
    }

    /// Whether a clause means it, and how exactly.
    fn matched_by(&self, clause: &Clause<'_>) -> Option<u8> {
        let (kind, subkind) = clause.value.split_once('/').unwrap_or((clause.value, ""));
        let (kind, subkind) = (kind.trim_end(), subkind.trim_start());
        match (kind, subkind) {
            ("*", "*" | "") => return Some(0),
            (kind, _) if !kind.eq_ignore_ascii_case(self.kind.0) => return None,
            (_, "*") => return Some(1),
            (_, subkind) if !subkind.eq_ignore_ascii_case(self.kind.1) => return None,
            _ => {}
        }
        let mut exactness = 3;
        for (name, value) in self.parameters {
            match clause.parameter(name) {
                Some(found) if found == *value => {}
                None if self.implied => exactness = 2,
                _ => return None,
            }
        }
        Some(exactness)
    }
}

#[cfg(test)]
mod tests;
