use prometheus_client::metrics::histogram::Histogram;

use super::*;

static GAUGE: Family = Family { name: "a_percent", kind: Kind::Gauge, labels: &["x"], help: "A \\ gauge." };
static COUNTER: Family = Family { name: "b_seconds_total", kind: Kind::Counter, labels: &[], help: "B." };
static HISTOGRAM: Family = Family { name: "c_seconds", kind: Kind::Histogram, labels: &["x"], help: "C." };
static EMPTY: Family = Family { name: "d", kind: Kind::Gauge, labels: &[], help: "D." };

fn families() -> Vec<Samples> {
    let histogram = Histogram::new([0.5, 1.0]);
    histogram.observe(0.75);
    histogram.observe(7.0);
    let hostile = || vec![("x", "a\"b\\c\nd".to_owned())];
    vec![
        Samples::new(
            &GAUGE,
            vec![(hostile(), Value::Gauge(104.5)), (vec![("x", "y".into())], Value::Gauge(0.0))],
        ),
        Samples::single(&COUNTER, Value::Sum(1.5)),
        Samples::new(&HISTOGRAM, vec![(vec![("x", "y".into())], Value::Histogram(histogram))]),
        Samples::new(&EMPTY, vec![]),
    ]
}

#[test]
fn the_classic_text_is_written_as_its_documentation_says() {
    let expected = r#"# HELP a_percent A \\ gauge.
# TYPE a_percent gauge
a_percent{x="a\"b\\c\nd"} 104.5
a_percent{x="y"} 0
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
    assert_eq!(render(families(), Format::Classic), expected);
}

#[test]
fn openmetrics_carries_the_same_samples_with_its_own_headers() {
    let text = render(families(), Format::OpenMetrics);
    for line in [
        "# UNIT a_percent percent",
        r#"a_percent{x="a\"b\\c\nd"} 104.5"#,
        "# TYPE b_seconds counter",
        "b_seconds_total 1.5",
        r#"c_seconds_bucket{le="+Inf",x="y"} 2"#,
    ] {
        assert!(text.lines().any(|found| found == line), "no line {line:?} in:\n{text}");
    }
    assert!(!text.contains("# TYPE d"), "a family without samples has no header");
    assert!(!text.contains("# EOF"), "the trailer is the caller's");
}
