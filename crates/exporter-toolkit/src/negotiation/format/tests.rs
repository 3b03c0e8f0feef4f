//! What clients accept and what they get. The tables are those by which the exporters in Go are tested.

use proptest::prelude::*;

use super::*;

const DELIMITED: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
const OM_0: &str = "application/openmetrics-text; version=0.0.1; charset=utf-8";
const OM_1: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A format that is not served, to show that the choice depends on the offers.
static OM_2: Offer = Offer {
    format: Format::OpenMetrics,
    media_type: "application/openmetrics-text; version=2.0.0; charset=utf-8",
    kind: OPEN_METRICS,
    parameters: &[("version", "2.0.0")],
    parameters_optional: false,
};

fn negotiate(accept: &str) -> NegotiatedFormat {
    NegotiatedFormat::negotiate(accept, &Format::ALL)
}

fn offer(media_type: &str) -> &'static Offer {
    OFFERS.iter().chain([&OM_2]).find(|offer| offer.media_type == media_type).unwrap()
}

fn assert_chosen(accept: &str, offers: &[&str], default: Escaping, media_type: &str, escaping: &str) {
    let offers: Vec<_> = offers.iter().map(|media_type| offer(media_type)).collect();
    let chosen = choose(accept, &offers, default);
    assert_eq!(chosen.content_type(), format!("{media_type}; escaping={escaping}"), "{accept}");
}

#[test]
fn without_open_metrics_the_choice_is_that_of_the_go_table() {
    let offers = [DELIMITED, CLASSIC];
    let p =
        |rest: &str| format!("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily{rest}");
    for (accept, media_type, escaping) in [
        (&*p(";encoding=delimited"), DELIMITED, "underscores"),
        (&p(";encoding=text"), CLASSIC, "underscores"),
        (&p(";encoding=compact-text"), CLASSIC, "underscores"),
        ("text/plain;version=0.0.4", CLASSIC, "underscores"),
        (&p(";encoding=delimited; escaping=allow-utf-8;"), DELIMITED, "allow-utf-8"),
        (&p(";encoding=text; escaping=allow-utf-8;"), CLASSIC, "allow-utf-8"),
        (&p(";encoding=compact-text; escaping=allow-utf-8;"), CLASSIC, "allow-utf-8"),
        ("text/plain;version=0.0.4;", CLASSIC, "underscores"),
        ("text/plain;version=0.0.4; escaping=values;", CLASSIC, "values"),
    ] {
        assert_chosen(accept, &offers, Escaping::Underscores, media_type, escaping);
    }
}

#[test]
fn with_open_metrics_the_choice_is_that_of_the_go_table() {
    let offers = [OM_1, OM_0, DELIMITED, CLASSIC];
    let p =
        |rest: &str| format!("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily{rest}");
    for (accept, media_type, escaping) in [
        ("application/openmetrics-text", OM_0, "values"),
        ("application/openmetrics-text;version=0.0.1; escaping=underscores", OM_0, "underscores"),
        ("application/openmetrics-text;version=1.0.0", OM_1, "values"),
        ("application/openmetrics-text;version=2.0.0", CLASSIC, "values"),
        ("application/openmetrics-text;version=0.0.1", OM_0, "values"),
        ("application/openmetrics-text;version=1.0.0; escaping=values;", OM_1, "values"),
        ("application/openmetrics-text;version=0.0.4", CLASSIC, "values"),
        (&*p(";encoding=compact-text; escaping=underscores"), CLASSIC, "underscores"),
        ("text/plain;version=0.0.4", CLASSIC, "values"),
        ("text/plain;version=0.0.4; escaping=allow-utf-8", CLASSIC, "allow-utf-8"),
        (&p(";encoding=delimited; escaping=allow-utf-8;"), DELIMITED, "allow-utf-8"),
        (&p(";encoding=text; escaping=allow-utf-8;"), CLASSIC, "allow-utf-8"),
        (&p(";encoding=compact-text; escaping=allow-utf-8;"), CLASSIC, "allow-utf-8"),
        (&p(";encoding=delimited; escaping=underscores;"), DELIMITED, "underscores"),
        (&p(";encoding=text; escaping=underscores;"), CLASSIC, "underscores"),
        (&p(";encoding=compact-text; escaping=underscores;"), CLASSIC, "underscores"),
    ] {
        assert_chosen(accept, &offers, Escaping::Values, media_type, escaping);
    }
}

#[test]
fn with_other_offers_the_choice_is_that_of_the_go_table() {
    let om_2 = OM_2.media_type;
    for (accept, offers, media_type) in [
        ("application/openmetrics-text;version=2.0.0", &[om_2, CLASSIC][..], om_2),
        ("application/openmetrics-text;version=2.0.0", &[OM_1, CLASSIC], CLASSIC),
        ("application/openmetrics-text;version=2.0.0", &[DELIMITED], DELIMITED),
        (
            "application/openmetrics-text;version=1.0.0;q=0.8, application/openmetrics-text;version=2.0.0;q=0.9",
            &[OM_1, om_2, CLASSIC],
            om_2,
        ),
        ("*/*", &[om_2, DELIMITED, CLASSIC], om_2),
        ("*/*", &[CLASSIC, DELIMITED], CLASSIC),
        ("text/plain", &[DELIMITED, CLASSIC], CLASSIC),
        ("application/unknown", &[], CLASSIC),
    ] {
        assert_chosen(accept, offers, Escaping::Values, media_type, "values");
    }
}

#[test]
fn real_scrapers_and_browsers_get_what_they_prefer() {
    let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let native_histograms = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;q=0.7,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.2";
    let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
    for (accept, media_type, escaping) in [
        (prometheus_3, OM_1, "allow-utf-8"),
        (native_histograms, DELIMITED, "allow-utf-8"),
        (prometheus_2, OM_1, "underscores"),
        (
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3",
            CLASSIC,
            "allow-utf-8",
        ),
        ("text/plain;version=0.0.4;q=0.8,*/*;q=0.2", CLASSIC, "underscores"),
        (browser, CLASSIC, "underscores"),
        ("*/*", CLASSIC, "underscores"),
        ("text/plain;q=0.5,*/*", CLASSIC, "underscores"),
        ("text/plain;version=0.0.4;q=0.1,*/*;q=0.2", CLASSIC, "underscores"),
        ("", CLASSIC, "underscores"),
    ] {
        let content_type = negotiate(accept).content_type();
        assert_eq!(content_type, format!("{media_type}; escaping={escaping}"), "{accept}");
    }
}

#[test]
fn the_spelling_of_a_clause_does_not_matter() {
    for (accept, media_type) in [
        ("Application/OpenMetrics-Text ; Version=\"1.0.0\" ; charset=UTF-8", OM_1),
        (" text/plain ; q=0.1 ,\tapplication/openmetrics-text;version=1.0.0;q=0.2", OM_1),
        (
            "application/vnd.google.protobuf;encoding=delimited;proto=io.prometheus.client.MetricFamily",
            DELIMITED,
        ),
        ("*", CLASSIC),
        ("text/*", CLASSIC),
        ("application/*", OM_1),
        ("text / plain", CLASSIC),
    ] {
        assert_eq!(negotiate(accept).media_type, media_type, "{accept}");
    }
}

#[test]
fn a_refused_format_is_not_sent_unless_every_format_is_refused() {
    for (accept, media_type) in [
        ("application/openmetrics-text;version=1.0.0;q=0, */*;q=0.1", CLASSIC),
        ("text/plain;q=0, */*", OM_1),
        ("text/*;q=0, application/openmetrics-text;version=1.0.0;q=0, */*;q=0.5", OM_0),
        ("*/*;q=0, application/openmetrics-text;version=0.0.1;q=0.1", OM_0),
        // Every format is refused.
        ("*/*;q=0", CLASSIC),
        ("text/plain;q=0", CLASSIC),
        ("application/openmetrics-text;version=1.0.0;q=0", CLASSIC),
    ] {
        assert_eq!(negotiate(accept).media_type, media_type, "{accept}");
    }
}

#[test]
fn malformed_clauses_and_unknown_names_are_skipped() {
    for accept in [
        "application/json;q=x",
        ";;,,=",
        "text/html",
        "application/vnd.google.protobuf",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily",
        "application/vnd.google.protobuf;proto=other;encoding=delimited",
        "application/openmetrics-text;version=1.0.0;q=high",
        "text/plain;version=0.0.4;escaping=backwards",
        "application/openmetrics-text;x=\",version=1.0.0",
        "a/b/c, //, /, text",
    ] {
        let content_type = negotiate(accept).content_type();
        let expected = if accept.contains("x=\"") { OM_0 } else { CLASSIC };
        assert_eq!(content_type, format!("{expected}; escaping=underscores"), "{accept}");
    }
}

#[test]
fn the_seeds_keep_the_invariants() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/accept");
    let seeds: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        println!("{}", seed.display()); // shown if the next line panics
        crate::negotiation::invariants::accept(&std::fs::read(&seed).unwrap());
    }
}

proptest! {
    #[test]
    fn any_header_keeps_the_invariants(
        clauses in proptest::collection::vec(
            (
                prop_oneof![
                    Just("text/plain"), Just("*/*"), Just("text/*"), Just("application/openmetrics-text"),
                    Just("application/vnd.google.protobuf"), Just("application/*"), Just("gzip"), Just("x/y")
                ],
                prop_oneof![
                    Just(""), Just(";version=1.0.0"), Just("; version=0.0.4"), Just(";version=\"0.0.1\""),
                    Just(";proto=io.prometheus.client.MetricFamily;encoding=text"), Just(";x=\"")
                ],
                prop_oneof![Just(""), Just(";escaping=values"), Just(";escaping=dots"), Just(";escaping=x")],
                prop_oneof![Just(""), Just(";q=0"), Just(";q=0.5"), Just(";Q=1"), Just(";q=")],
            ),
            0..6,
        ),
        codings in ".{0,40}",
    ) {
        let clauses: Vec<String> =
            clauses.into_iter().map(|(kind, parameters, escaping, q)| [kind, parameters, escaping, q].concat()).collect();
        crate::negotiation::invariants::accept(format!("{}\n{codings}", clauses.join(",")).as_bytes());
    }
}
