use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::{MetricFamily, MetricType};
use proptest::prelude::*;
use prost::Message as _;

use super::super::table::*;
use super::*;

/// Accounts of these names with all they can show, and the process' own families.
fn everything(names: &[&str], format: Format) -> String {
    let accounts = accounts_named(names);
    accounts.ledgers.iter().for_each(fill);
    accounts.render(NOW).text(format) + &own(true).text(format)
}

#[test]
fn the_table_of_families_and_what_is_rendered_agree_in_names_order_types_and_help() {
    let text = everything(&["a", "b"], Format::Classic);
    let headers = |start: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix(start)).map(str::to_owned).collect()
    };
    let kind = |family: &Family| match family.kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
        Kind::Histogram => "histogram",
    };
    let types: BTreeSet<String> =
        FAMILIES.iter().map(|family| format!("{} {}", family.name, kind(family))).collect();
    let helps: BTreeSet<String> =
        FAMILIES.iter().map(|family| format!("{} {}", family.name, family.help)).collect();
    assert_eq!(headers("# TYPE ").into_iter().collect::<BTreeSet<_>>(), types);
    assert_eq!(headers("# HELP ").into_iter().collect::<BTreeSet<_>>(), helps);
    assert_eq!(headers("# TYPE ").len(), FAMILIES.len(), "each exactly once");
    let order: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
    let found: Vec<String> =
        headers("# TYPE ").iter().map(|header| header.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(found, order);
}

#[test]
fn each_series_has_the_labels_of_its_family_and_the_account_if_it_has_a_name() {
    for (names, named) in [(&["a", "b"][..], true), (&["only"], true), (&[], false)] {
        let all = samples(&everything(names, Format::Classic));
        for family in FAMILIES {
            let found = of(&all, family);
            assert!(!found.is_empty(), "{}", family.name);
            let per_account = found[0].name.starts_with("partner_license_")
                && !found[0].name.starts_with("partner_license_exporter_");
            for sample in found {
                let labels: BTreeSet<&str> = sample
                    .labels
                    .iter()
                    .map(|(name, _)| name.as_str())
                    .filter(|name| *name != "le")
                    .collect();
                let mut expected: BTreeSet<&str> = family.labels.iter().copied().collect();
                if per_account && named {
                    expected.insert("account");
                }
                assert_eq!(labels, expected, "{sample:?}");
            }
        }
    }
}

#[test]
fn no_series_occurs_twice() {
    let all = samples(&everything(&["a", "b"], Format::Classic));
    let keys: BTreeSet<_> = all.iter().map(|sample| (&sample.name, &sample.labels)).collect();
    assert_eq!(keys.len(), all.len());
}

/// Samples whose numbers are compared as numbers: the formats may spell them differently.
fn numbers(text: &str) -> BTreeSet<Sample> {
    let number = |text: &str| text.parse::<f64>().unwrap_or_else(|_| panic!("{text}")).to_bits();
    let spelled = |(name, value): (String, String)| {
        let value = if name == "le" { number(&value).to_string() } else { value };
        (name, value)
    };
    samples(text)
        .into_iter()
        .map(|s| Sample {
            labels: s.labels.into_iter().map(spelled).collect(),
            value: number(&s.value).to_string(),
            ..s
        })
        .collect()
}

/// The samples in messages of protobuf, as texts would spell them.
#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn decoded(mut bytes: &[u8]) -> BTreeSet<Sample> {
    let mut found = BTreeSet::new();
    while !bytes.is_empty() {
        let family = MetricFamily::decode_length_delimited(&mut bytes).unwrap();
        for metric in &family.metric {
            let mut sample = |suffix: &str, le: Option<f64>, value: f64| {
                let labels = metric.label.iter().map(|label| (label.name.clone(), label.value.clone()));
                let mut labels: Vec<_> =
                    labels.chain(le.map(|le| ("le".to_owned(), le.to_bits().to_string()))).collect();
                labels.sort();
                let name = format!("{}{suffix}", family.name);
                assert!(found.insert(Sample { name, labels, value: value.to_bits().to_string() }), "twice");
            };
            if let Some(gauge) = metric.gauge {
                assert_eq!(family.r#type(), MetricType::Gauge);
                sample("", None, gauge.value);
            } else if let Some(counter) = &metric.counter {
                assert_eq!(family.r#type(), MetricType::Counter);
                sample("", None, counter.value);
            } else {
                assert_eq!(family.r#type(), MetricType::Histogram);
                let histogram = metric.histogram.as_ref().unwrap();
                for bucket in &histogram.bucket {
                    sample("_bucket", Some(bucket.upper_bound), bucket.cumulative_count as f64);
                }
                sample("_sum", None, histogram.sample_sum);
                sample("_count", None, histogram.sample_count as f64);
            }
        }
    }
    found
}

#[test]
fn the_texts_and_protobuf_carry_the_same_samples() {
    let accounts = accounts_named(&["a \"quoted\" \\ name", "b"]);
    fill(&accounts.ledgers[0]);
    let snapshot = accounts.render(NOW);
    let classic = numbers(&snapshot.text(Format::Classic));
    assert!(classic.len() > 100);
    assert_eq!(numbers(&snapshot.text(Format::OpenMetrics)), classic);
    assert_eq!(decoded(&snapshot.body(Format::Protobuf, Coding::Identity).bytes), classic);
    let own = own(false);
    assert_eq!(numbers(&own.text(Format::Classic)), numbers(&own.text(Format::OpenMetrics)));
}

#[test]
fn a_body_is_encoded_once_and_compressed_from_the_plain_one() {
    let accounts = accounts_named(&["a"]);
    fill(&accounts.ledgers[0]);
    let snapshot = accounts.render(NOW);
    assert!(snapshot.ready(Format::Classic, Coding::Gzip).is_none());
    let first = snapshot.body(Format::Classic, Coding::Gzip).bytes.clone();
    assert!(snapshot.ready(Format::Classic, Coding::Identity).is_none(), "it is prepared on demand");
    assert_eq!(snapshot.body(Format::Classic, Coding::Gzip).bytes.as_ptr(), first.as_ptr());
    let plain = snapshot.body(Format::Classic, Coding::Identity).bytes.clone();
    assert_eq!(snapshot.ready(Format::Classic, Coding::Identity).unwrap().bytes.as_ptr(), plain.as_ptr());
    // Later changes are not in this snapshot.
    accounts.ledgers[0].write(|status| status.usage_mut().polls = 100);
    let later = snapshot.body(Format::OpenMetrics, Coding::Identity).bytes.clone();
    assert_eq!(numbers(&String::from_utf8_lossy(&later)), numbers(&String::from_utf8_lossy(&plain)));
    assert!(snapshot.body(Format::Classic, Coding::Zstd).bytes.len() < plain.len());
}

#[test]
fn a_selection_has_the_families_of_those_names_as_they_are_in_the_whole() {
    let accounts = accounts_named(&["a"]);
    fill(&accounts.ledgers[0]);
    let snapshot = accounts.render(NOW);
    let selected = |names: &[&str], format| {
        snapshot.encode(format, &Selection::of(names.iter().map(|name| (*name).to_owned())))
    };
    let names = |text: &str| -> BTreeSet<String> {
        text.lines()
            .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split_once(' ')?.0.to_owned()))
            .collect()
    };
    let histogram = REQUEST_DURATION.name;
    for format in [Format::Classic, Format::OpenMetrics] {
        let text =
            String::from_utf8(selected(&[SCRAPES.name, UP.name, histogram, "nobody_has_this"], format))
                .unwrap();
        let stem = SCRAPES.name.strip_suffix(if format == Format::Classic { "" } else { "_total" }).unwrap();
        assert_eq!(names(&text), BTreeSet::from([UP.name, stem, histogram].map(str::to_owned)));
        assert!(snapshot.text(format).contains(text.split_once("# HELP partner_license_api").unwrap().1));
    }
    for name in ["", "partner_license_", "partner_license_api_request_duration_seconds_bucket", "up"] {
        for format in Format::ALL {
            assert_eq!(selected(&[name], format), b"", "{name}");
        }
    }
}

#[test]
fn rows_vanish_when_they_are_stale_and_the_accounts_health_stays() {
    let accounts = accounts_named(&["a"]);
    fill(&accounts.ledgers[0]);
    let end = NOW - 2 * HOUR + 48 * HOUR;
    let (before, after) =
        (samples(&classic(&accounts, end - Duration::from_millis(1))), samples(&classic(&accounts, end)));
    for family in [&USAGE, &PROCESSED, &THRESHOLD] {
        assert_eq!((of(&before, family).len(), of(&after, family).len()), (2, 0), "{}", family.name);
    }
    let others = |all: &[Sample]| -> Vec<Sample> {
        all.iter().filter(|sample| !sample.has("service") && !sample.has("source")).cloned().collect()
    };
    assert_eq!(others(&before), others(&after));
    assert_eq!(of(&after, &ROWS)[0].value, "2", "what the last good collection had is still known");
    assert_eq!(of(&after, &UP)[0].value, "0");
}

#[test]
fn the_next_change_is_when_the_next_rows_vanish() {
    let mut accounts = accounts_named(&["a", "b", "c"]);
    assert_eq!(accounts.next_change(NOW), None);
    for (ledger, hour) in accounts.ledgers.iter().zip([3, 1]) {
        ledger.write(|status| collected(status, [], NOW + hour * HOUR, Duration::ZERO));
    }
    assert_eq!(accounts.next_change(NOW), Some(NOW + 49 * HOUR));
    assert_eq!(accounts.next_change(NOW + 49 * HOUR), Some(NOW + 51 * HOUR));
    assert_eq!(accounts.next_change(NOW + 51 * HOUR), None);
    accounts.stale_after = None;
    assert_eq!(accounts.next_change(NOW), None);
}

#[test]
fn a_muted_row_has_no_threshold_and_keeps_its_usage() {
    let rules = "thresholds: {overrides: [{service: crm, mute: true}, {workload: exchange, percent: 60}]}";
    let accounts = accounts_of(config(&["a"], rules));
    fill(&accounts.ledgers[0]);
    let all = samples(&classic(&accounts, NOW));
    assert_eq!(of(&all, &USAGE).len(), 2);
    let thresholds: Vec<_> =
        of(&all, &THRESHOLD).iter().map(|s| (s.label("workload").unwrap(), s.value.as_str())).collect();
    assert_eq!(thresholds, [("Exchange", "60")]);
}

#[test]
fn every_reason_is_there_from_the_start_at_zero() {
    let all = samples(&classic(&accounts_named(&[]), NOW));
    let reasons = |family| -> Vec<(&str, &str)> {
        of(&all, family).iter().map(|s| (s.label("reason").unwrap(), s.value.as_str())).collect()
    };
    assert_eq!(reasons(&FAILURES), FailureReason::ALL.map(|reason| (reason.as_str(), "0")));
    assert_eq!(reasons(&REJECTED), RowError::ALL.map(|error| (error.as_str(), "0")));
}

#[test]
fn what_nobody_knows_yet_is_absent_and_not_zero() {
    let all = samples(&classic(&accounts_named(&["a"]), NOW));
    for family in [
        &USAGE,
        &PROCESSED,
        &THRESHOLD,
        &ROWS,
        &DURATION,
        &LAST_SCRAPE,
        &LAST_SUCCESS,
        &NEXT_SCRAPE,
        &ACCESS_EXPIRY,
        &REFRESH_ISSUED,
        &REFRESH_EXPIRY,
    ] {
        assert_eq!(of(&all, family), [] as [&Sample; 0], "{}", family.name);
    }
    for (family, value) in [(&UP, "0"), (&SCRAPES, "0"), (&INTERVAL, "21600")] {
        assert_eq!(of(&all, family)[0].value, value, "{}", family.name);
    }
}

#[test]
fn an_empty_collection_has_zero_rows() {
    let accounts = accounts_named(&[]);
    accounts.ledgers[0].write(|status| collected(status, [], NOW, Duration::ZERO));
    let all = samples(&classic(&accounts, NOW));
    assert_eq!((of(&all, &ROWS)[0].value.as_str(), of(&all, &UP)[0].value.as_str()), ("0", "1"));
}

#[test]
fn a_refresh_token_expires_90_days_after_its_issue() {
    let accounts = accounts_named(&["a"]);
    fill(&accounts.ledgers[0]);
    let all = samples(&classic(&accounts, NOW));
    let value = |family| of(&all, family)[0].value.parse::<f64>().unwrap();
    assert!((value(&REFRESH_EXPIRY) - value(&REFRESH_ISSUED) - 7_776_000.0).abs() < f64::EPSILON);
}

#[test]
fn a_refused_refresh_token_has_no_expiry_unless_that_has_passed() {
    let accounts = accounts_named(&["a"]);
    fill(&accounts.ledgers[0]);
    accounts.ledgers[0].write(|status| status.credentials.refresh_token_refused = true);
    let at = |now| samples(&classic(&accounts, now));
    let before = at(NOW);
    assert_eq!((of(&before, &REFRESH_EXPIRY).len(), of(&before, &REFRESH_ISSUED).len()), (0, 1));
    assert_eq!(of(&at(NOW + 90 * 24 * HOUR), &REFRESH_EXPIRY).len(), 1, "the alert on it keeps firing");
}

#[test]
fn equal_statuses_have_equal_bytes() {
    let snapshots = [accounts_named(&["a", "b"]), accounts_named(&["a", "b"])].map(|accounts| {
        accounts.ledgers.iter().for_each(fill);
        accounts.render(NOW)
    });
    for (format, coding) in
        Format::ALL.into_iter().flat_map(|format| Coding::ALL.map(|coding| (format, coding)))
    {
        assert_eq!(snapshots[0].body(format, coding).bytes, snapshots[1].body(format, coding).bytes);
    }
}

#[test]
fn the_help_of_polled_values_says_that_they_are_polled_and_cached() {
    for family in [&USAGE, &PROCESSED] {
        assert!(family.help.ends_with(", polled in the background and cached."), "{}", family.help);
    }
    for family in FAMILIES {
        let help = family.help;
        assert!(help.ends_with('.') && help.trim() == help, "{help}");
        assert!(!help.contains(['\n', '\\', '"']), "OpenMetrics would have to escape it: {help}");
    }
}

#[test]
fn the_process_and_the_handler_are_left_out_on_request_and_nothing_else() {
    let names = |with_process| -> Vec<String> {
        samples(&own(with_process).text(Format::Classic)).into_iter().map(|sample| sample.name).collect()
    };
    let without = names(false);
    assert_eq!(
        without,
        [
            "partner_license_exporter_build_info",
            "partner_license_exporter_config_last_reload_successful",
            "partner_license_exporter_config_last_reload_success_timestamp_seconds",
            "partner_license_exporter_log_lines_dropped_total",
        ]
    );
    let with = names(true);
    assert!(with.starts_with(&without));
    for name in
        ["promhttp_metric_handler_requests_in_flight", "process_cpu_seconds_total", "process_open_fds"]
    {
        assert!(with.iter().any(|found| found == name), "{name}");
    }
}

#[test]
fn reloads_and_scrapes_are_counted() {
    let own = own(true);
    let value = |name: &str, code: Option<&str>| {
        let all = samples(&own.text(Format::Classic));
        let found = all.iter().find(|sample| sample.name == name && sample.label("code") == code);
        found.unwrap_or_else(|| panic!("{name}")).value.clone()
    };
    let (ok, time) = (RELOAD_OK.name, RELOAD_TIME.name);
    assert_eq!((value(ok, None), value(time, None)), ("1".into(), "1795410800".into()));
    own.reloaded(Some("a problem".to_owned()), NOW + HOUR);
    assert_eq!((value(ok, None), value(time, None)), ("0".into(), "1795410800".into()));
    own.reloaded(None, NOW + 2 * HOUR);
    assert_eq!((value(ok, None), value(time, None)), ("1".into(), "1795418000".into()));

    let scrape = own.scrape_begins();
    assert_eq!(value(IN_FLIGHT.name, None), "1");
    drop(scrape);
    assert_eq!(value(IN_FLIGHT.name, None), "0");
    own.answered(200);
    own.answered(200);
    own.answered(503);
    let handled = ["200", "500", "503"].map(|code| value(HANDLED.name, Some(code)));
    assert_eq!(handled, ["2", "0", "1"]);
}

proptest! {
    #[test]
    fn any_label_value_survives_every_format(service in any::<String>(), workload in "[\"\\\\\n{}=, #]{0,12}") {
        let accounts = accounts_named(&["a"]);
        accounts.ledgers[0].write(|status| {
            collected(status, [row(&service, &workload, 1.5)], NOW, Duration::ZERO);
        });
        let snapshot = accounts.render(NOW);
        let held = |sample: &Sample| {
            prop_assert_eq!(sample.label("service"), Some(service.as_str()));
            prop_assert_eq!(sample.label("workload"), Some(workload.as_str()));
            Ok(())
        };
        for format in [Format::Classic, Format::OpenMetrics] {
            // A carriage return is no end of line in either text.
            let text = snapshot.text(format);
            let line = text.split('\n').find(|line| line.starts_with("partner_license_usage_percent{")).unwrap();
            let sample = sample(line);
            held(&sample)?;
            prop_assert_eq!(sample.value.as_str(), "1.5");
        }
        let messages = decoded(&snapshot.body(Format::Protobuf, Coding::Identity).bytes);
        held(messages.iter().find(|sample| sample.name == USAGE.name).unwrap())?;
    }
}

#[test]
fn a_large_text_is_in_a_block_that_glibc_maps_by_itself_and_nothing_else_is() {
    let capacity = |count, format, selection: &Selection| {
        let names: Vec<_> = (0..count).map(|n| format!("a{n}")).collect();
        let accounts = accounts_named(&names.iter().map(String::as_str).collect::<Vec<_>>());
        accounts.ledgers.iter().for_each(fill);
        accounts.render(NOW).encode(format, selection).capacity()
    };
    let (all, one) = (Selection::everything(), Selection::of([USAGE.name.to_owned()]));
    for format in [Format::Classic, Format::OpenMetrics] {
        assert!(capacity(50, format, &all) > 32 << 20, "{format:?}");
    }
    assert!(capacity(1, Format::Classic, &all) < 1 << 20);
    assert!(capacity(50, Format::Classic, &one) < 1 << 20);
    assert!(capacity(50, Format::Protobuf, &all) < 4 << 20);
}
