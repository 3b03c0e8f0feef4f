//! Writes the samples of many days as OpenMetrics, in the order that `promtool tsdb create-blocks-from` needs.
//!
//! That is by family, series and time: promtool drops a sample that is older than the one before it, and says nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::day::Day;
use crate::metrics::{FAMILIES, Family};

/// How much was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) series: u64,
    pub(super) samples: u64,
}

const SECONDS_OF_A_DAY: u64 = 86_400;

/// Writes the samples, each from the start of its day on, as often as Prometheus needs one: once per `lookback`.
pub(super) fn write(
    out: &mut impl Write,
    days: &BTreeMap<Date, Day>,
    labels: &[(String, String)],
    lookback: Duration,
) -> io::Result<Written> {
    let labels: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    let labels = labels.join(",");
    let mut all: BTreeMap<(usize, &str), Vec<(i64, &str)>> = BTreeMap::new();
    for (day, content) in days {
        let start = day.to_zoned(TimeZone::UTC).map_err(io::Error::other)?.timestamp().as_second();
        for (series, value) in content.samples.iter().filter_map(|line| line.rsplit_once(' ')) {
            let name = series.split('{').next().unwrap_or_default();
            let family = FAMILIES.iter().position(|family| family.name == name);
            let family =
                family.ok_or_else(|| io::Error::other(format!("{name} is no series of this program")))?;
            all.entry((family, series)).or_default().push((start, value));
        }
    }
    let (mut written, mut begun) = (Written::default(), BTreeSet::new());
    for ((family, series), samples) in all {
        if begun.insert(family) {
            let Family { name, help, .. } = FAMILIES[family];
            writeln!(out, "# TYPE {name} gauge\n# HELP {name} {help}")?;
        }
        let series = with_labels(series, &labels);
        for (start, value) in samples {
            for second in (0..SECONDS_OF_A_DAY).step_by(step(lookback)) {
                writeln!(out, "{series} {value} {}", start.saturating_add_unsigned(second))?;
                written.samples += 1;
            }
        }
        written.series += 1;
    }
    out.write_all(b"# EOF\n")?;
    Ok(written)
}

fn step(lookback: Duration) -> usize {
    usize::try_from(lookback.as_secs()).unwrap_or(usize::MAX).max(1)
}

/// A series with further labels.
fn with_labels(series: &str, labels: &str) -> String {
    match series.strip_suffix('}') {
        _ if labels.is_empty() => series.to_owned(),
        Some(series) => format!("{series},{labels}}}"),
        None => format!("{series}{{{labels}}}"),
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{account="a b",service="o365",workload="x } \" 1",channel="direct"}"#;

    fn text(days: &[(i8, &[&str])], labels: &[(&str, &str)], lookback: u64) -> (String, Written) {
        let days = days.iter().map(|(day, samples)| {
            let samples = samples.iter().map(|sample| sample.replace("ROW", ROW)).collect();
            (Date::constant(2026, 1, *day), Day { samples, ..Day::default() })
        });
        let labels: Vec<_> = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut out = Vec::new();
        let lookback = Duration::from_secs(lookback);
        let written = write(&mut out, &days.collect(), &labels, lookback).unwrap();
        (String::from_utf8(out).unwrap(), written)
    }

    #[test]
    fn samples_are_in_the_order_of_families_series_and_time_and_a_day_without_data_has_none() {
        let (text, written) = text(
            &[
                (3, &["partner_license_usage_percentROW 91.5", "partner_license_usage_active_licensesROW 7"]),
                (2, &[]),
                (1, &["partner_license_usage_percentROW 90", "partner_license_usage_active_licensesROW 6"]),
            ],
            &[("instance", "e:1"), ("job", "a\\\"\n")],
            43_200,
        );
        let row = ROW.replace('}', "").replace("x  ", "x } ");
        let row = format!(r#"{row},instance="e:1",job="a\\\"\n"}}"#);
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected: Vec<String> = [
            ("percent", "90", 1_767_225_600),
            ("percent", "90", 1_767_268_800),
            ("percent", "91.5", 1_767_398_400),
            ("percent", "91.5", 1_767_441_600),
            ("active_licenses", "6", 1_767_225_600),
            ("active_licenses", "6", 1_767_268_800),
            ("active_licenses", "7", 1_767_398_400),
            ("active_licenses", "7", 1_767_441_600),
        ]
        .map(|(name, value, at)| format!("partner_license_usage_{name}{row} {value} {at}"))
        .into();
        assert_eq!(samples, expected);
        assert_eq!(written, Written { series: 2, samples: 8 });
        assert!(text.starts_with("# TYPE partner_license_usage_percent gauge\n# HELP partner_"), "{text}");
        assert!(text.ends_with("\n# EOF\n"));
    }

    #[test]
    fn at_any_time_of_a_day_there_is_a_sample_younger_than_the_lookback() {
        for lookback in [1, 7, 300, 301, 3600, 86_399, 86_400] {
            let (text, _) = text(&[(1, &["partner_license_usage_percentROW 90"])], &[], lookback);
            let times: Vec<u64> = text
                .lines()
                .filter(|line| !line.starts_with('#'))
                .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap() - 1_767_225_600)
                .collect();
            assert_eq!(times[0], 0);
            let ends = times[1..].iter().copied().chain([86_400]);
            // At the end of an interval there is the next sample.
            assert!(
                times.iter().zip(ends).all(|(from, to)| from < &to && to - from <= lookback),
                "{lookback}"
            );
        }
    }

    #[test]
    fn an_unnamed_account_without_labels_gets_those_that_are_added() {
        assert_eq!(with_labels("x", ""), "x");
        assert_eq!(with_labels("x", "a=\"b\""), "x{a=\"b\"}");
    }
}
