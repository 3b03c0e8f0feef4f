//! A family of each type, byte for byte in every format.

use super::*;

static GAUGE: Family = Family { name: "a_percent", kind: Kind::Gauge, labels: &["x"], help: "A." };
static COUNTER: Family = Family { name: "b_seconds_total", kind: Kind::Counter, labels: &[], help: "B." };
static HISTOGRAM: Family = Family { name: "c_seconds", kind: Kind::Histogram, labels: &["x"], help: "C." };
static EMPTY: Family = Family { name: "d", kind: Kind::Gauge, labels: &[], help: "D." };

#[derive(Debug)]
struct Each;

impl Collect for Each {
    fn collect(&self, out: &mut Families<'_>) -> fmt::Result {
        let labels = [vec![("x", "a\"b\\c\nd é\u{1}")], vec![("x", "y"), ("z", "")]];
        out.add(&GAUGE, labels.into_iter().zip([104.5, 0.0]))?;
        out.add_one(&COUNTER, || Some(1.5))?;
        let buckets = vec![(0.5, 0), (1.0, 1), (f64::INFINITY, 1)];
        out.add(&HISTOGRAM, [([("x", "y")], Value::Histogram { buckets, sum: 7.75 })])?;
        out.add_one(&EMPTY, || None::<f64>)
    }
}

/// One sample of a gauge, made when it is asked for.
#[derive(Debug)]
struct One(fn() -> Value);

impl Collect for One {
    fn collect(&self, out: &mut Families<'_>) -> fmt::Result {
        out.add_one(&EMPTY, || Some((self.0)()))
    }
}

fn encoded(format: Format, selection: &Selection) -> Vec<u8> {
    let end = trailer(format);
    [&encode(format, selection, &Arc::new(Each)), end].concat()
}

fn text(format: Format) -> String {
    String::from_utf8(encoded(format, &Selection::everything())).unwrap()
}

#[test]
fn the_classic_text_is_written_as_its_documentation_says() {
    let expected = r#"# HELP a_percent A.
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
    let expected = r#"# HELP a_percent A.
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
c_seconds_sum{x="y"} 7.75
c_seconds_count{x="y"} 2
c_seconds_bucket{le="0.5",x="y"} 0
c_seconds_bucket{le="1.0",x="y"} 1
c_seconds_bucket{le="+Inf",x="y"} 2
# EOF
"#;
    assert_eq!(text(Format::OpenMetrics), expected.replace('@', "\u{1}"));
}

#[test]
fn protobuf_is_written_field_by_field() {
    let bytes = encoded(Format::Protobuf, &Selection::of(["b_seconds_total".to_owned()]));
    let expected = [
        &b"\x2b\x0a\x0fb_seconds_total\x12\x02B."[..],
        b"\x22\x0b\x1a\x09\x09\0\0\0\0\0\0\xf8\x3f",
        b"\x2a\x07seconds",
    ];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn a_family_without_samples_or_not_selected_is_left_out() {
    for format in Format::ALL {
        let empty = Selection::of([EMPTY.name.to_owned()]);
        let unwanted = Arc::new(One(|| panic!("nobody wants this sample")));
        let other = Selection::of(["other".to_owned()]);
        assert_eq!(encode(format, &empty, &Arc::new(Each)), b"", "{format:?}");
        assert_eq!(encode(format, &other, &unwanted), b"", "{format:?}");
        let end: &[u8] = if format == Format::OpenMetrics { b"# EOF\n" } else { b"" };
        assert_eq!(encoded(format, &other), end);
    }
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "the largest count is rounded in text and value alike")]
fn numbers_are_short_and_read_back_as_they_were() {
    let spelled = |value: fn() -> Value| {
        let text = encode(Format::Classic, &Selection::everything(), &Arc::new(One(value)));
        let text = String::from_utf8(text).unwrap();
        text.lines().last().unwrap().strip_prefix("d ").unwrap().to_owned()
    };
    macro_rules! held {
        ($($value:literal $text:literal)*) => {$(
            assert_eq!(spelled(|| Value::from($value)), $text);
            assert_eq!($text.parse::<f64>().unwrap().to_bits(), ($value as f64).to_bits());
        )*};
    }
    held! {
        0.0 "0"
        -0.0 "-0.0"
        1.0 "1"
        0.1 "0.1"
        0.000_01 "0.00001"
        0.000_000_9 "9e-7"
        1_795_410_800.0 "1795410800"
        1_795_410_800.123 "1795410800.123"
        9_007_199_254_740_991.0 "9007199254740991"
        9_007_199_254_740_992.0 "9007199254740992.0"
        1e21 "1e21"
        1.797_693_134_862_315_7e308 "1.7976931348623157e308"
        5e-324 "5e-324"
        18_446_744_073_709_551_615_u64 "18446744073709551615"
    }
    let beyond =
        [spelled(|| f64::INFINITY.into()), spelled(|| f64::NEG_INFINITY.into()), spelled(|| f64::NAN.into())];
    assert_eq!(beyond, ["+Inf", "-Inf", "NaN"]);
}
