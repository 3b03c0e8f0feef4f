//! A family of each kind, byte for byte in every format.

use super::*;

static GAUGE: Family =
    Family { name: "a_percent", kind: Kind::Gauge, labels: &["x"], help: "A \\ \"gauge\"\nof two lines." };
static COUNTER: Family = Family { name: "b_seconds_total", kind: Kind::Counter, labels: &[], help: "B." };
static HISTOGRAM: Family = Family { name: "c_seconds", kind: Kind::Histogram, labels: &["x"], help: "C." };
static EMPTY: Family = Family { name: "d", kind: Kind::Gauge, labels: &[], help: "D." };

fn written(format: Format, selection: &Selection) -> Vec<u8> {
    let mut out = Exposition::new(format, selection);
    out.add(&GAUGE, || {
        vec![
            (vec![("x", "a\"b\\c\nd é\u{1}".into())], Value::Gauge(104.5)),
            (vec![("x", "y".into()), ("z", "".into())], Value::Gauge(0.0)),
        ]
    });
    out.add(&COUNTER, || vec![(Labels::new(), Value::Sum(1.5))]);
    out.add(&HISTOGRAM, || {
        let cumulative = vec![(0.5, 0), (1.0, 1), (f64::INFINITY, 2)];
        vec![(vec![("x", "y".into())], Value::Histogram(Buckets { cumulative, sum: 7.75 }))]
    });
    out.add(&EMPTY, Vec::new);
    out.end();
    out.into_bytes()
}

fn text(format: Format) -> String {
    String::from_utf8(written(format, &Selection::everything())).unwrap()
}

#[test]
fn the_classic_text_is_written_as_its_documentation_says() {
    let expected = r#"# HELP a_percent A \\ "gauge"\nof two lines.
# TYPE a_percent gauge
a_percent{x="a\"b\\c\nd é@"} 104.5
a_percent{x="y",z=""} 0
# HELP b_seconds_total B.
# TYPE b_seconds_total counter
b_seconds_total 1.5
# HELP c_seconds C.
# TYPE c_seconds histogram
c_seconds_bucket{x="y",le="0.5"} 0
c_seconds_bucket{x="y",le="1"} 1
c_seconds_bucket{x="y",le="+Inf"} 2
c_seconds_sum{x="y"} 7.75
c_seconds_count{x="y"} 2
"#;
    assert_eq!(text(Format::Classic), expected.replace('@', "\u{1}"));
}

#[test]
fn open_metrics_has_the_same_samples_below_its_own_lines() {
    let expected = r#"# HELP a_percent A \\ \"gauge\"\nof two lines.
# TYPE a_percent gauge
# UNIT a_percent percent
a_percent{x="a\"b\\c\nd é@"} 104.5
a_percent{x="y",z=""} 0
# HELP b_seconds B.
# TYPE b_seconds counter
# UNIT b_seconds seconds
b_seconds_total 1.5
# HELP c_seconds C.
# TYPE c_seconds histogram
# UNIT c_seconds seconds
c_seconds_bucket{x="y",le="0.5"} 0
c_seconds_bucket{x="y",le="1.0"} 1
c_seconds_bucket{x="y",le="+Inf"} 2
c_seconds_sum{x="y"} 7.75
c_seconds_count{x="y"} 2
# EOF
"#;
    assert_eq!(text(Format::OpenMetrics), expected.replace('@', "\u{1}"));
}

#[test]
fn protobuf_is_written_field_by_field() {
    let bytes = written(Format::Protobuf, &Selection::of(["b_seconds_total".to_owned()]));
    let expected = [
        &b"\x2d\x0a\x0fb_seconds_total\x12\x02B.\x18\x00"[..],
        b"\x22\x0b\x1a\x09\x09\0\0\0\0\0\0\xf8\x3f",
        b"\x2a\x07seconds",
    ];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn protobuf_as_text_has_a_line_for_each_field_or_for_each_family() {
    let selection = Selection::of(["a_percent".to_owned(), "c_seconds".to_owned()]);
    let text = String::from_utf8(written(Format::ProtobufText, &selection)).unwrap();
    let (gauge, histogram) = text.split_once("\n\n").unwrap();
    let expected = r#"name: "a_percent"
help: "A \\ \"gauge\"\nof two lines."
type: GAUGE
metric: {
  label: {
    name: "x"
    value: "a\"b\\c\nd é\001"
  }
  gauge: {
    value: 104.5
  }
}
metric: {
  label: {
    name: "x"
    value: "y"
  }
  label: {
    name: "z"
    value: ""
  }
  gauge: {
    value: 0.0
  }
}
unit: "percent""#;
    assert_eq!(gauge, expected);
    assert!(histogram.ends_with("}\nunit: \"seconds\"\n\n"), "{histogram}");

    let compact = String::from_utf8(written(Format::ProtobufCompact, &selection)).unwrap();
    let histogram = r#"name:"c_seconds" help:"C." type:HISTOGRAM metric:{label:{name:"x" value:"y"} histogram:{sample_count:2 sample_sum:7.75 bucket:{cumulative_count:0 upper_bound:0.5} bucket:{cumulative_count:1 upper_bound:1.0} bucket:{cumulative_count:2 upper_bound:inf}}} unit:"seconds""#;
    assert_eq!(compact.lines().nth(1), Some(histogram));
    assert_eq!(compact.lines().count(), 2);
}

#[test]
fn a_family_without_points_or_not_selected_is_left_out() {
    for format in Format::ALL {
        let mut out = Exposition::new(format, &Selection(None));
        out.add(&EMPTY, Vec::new);
        let selection = Selection::of(["other".to_owned()]);
        let mut selected = Exposition::new(format, &selection);
        selected.add(&GAUGE, || panic!("nobody wants these points"));
        assert_eq!((out.into_bytes(), selected.into_bytes()), (vec![], vec![]), "{format:?}");
        let end: &[u8] = if format == Format::OpenMetrics { b"# EOF\n" } else { b"" };
        assert_eq!(written(format, &selection), end);
    }
}

#[test]
fn numbers_are_short_and_read_back_as_they_were() {
    let spelled = |value: f64| {
        let selection = Selection::everything();
        let mut out = Exposition::new(Format::Classic, &selection);
        out.add(&EMPTY, || vec![(Labels::new(), Value::Gauge(value))]);
        let text = String::from_utf8(out.into_bytes()).unwrap();
        text.lines().last().unwrap().strip_prefix("d ").unwrap().to_owned()
    };
    for (value, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (0.000_01, "0.00001"),
        (0.000_009, "9e-6"),
        (1_795_410_800.123, "1795410800.123"),
        (18_446_744_073_709_552_000.0, "18446744073709552000"),
        (1e21, "1e21"),
        (f64::MAX, "1.7976931348623157e308"),
        (5e-324, "5e-324"),
    ] {
        assert_eq!(spelled(value), text);
        assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
    }
    let beyond = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN].map(spelled);
    assert_eq!(beyond, ["+Inf", "-Inf", "NaN"]);
}
