//! Tests of scraping: the labels of the scrape job, and a Prometheus that restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::support::real::{Prometheus, root, with_short_waits};
use crate::support::{Exporter, Simulator, TENANT, eventually};

const ROWS: &str = "partner_license_usage_percent";

/// A simulator and an exporter with a row that is low.
fn low_row() -> (Simulator, Exporter) {
    let simulator = Simulator::start(
        "rows: [{ service: o365, workload: Exchange, channel: reseller, percent: 12.5, processed: \"2026-11-20T00:00:00\" }]",
    );
    let exporter =
        Exporter::start(&format!("accounts:\n{}", simulator.account(Some("contoso"), TENANT)), &[]);
    exporter.wait_for_polls(Some("contoso"), 1.0);
    (simulator, exporter)
}

pub(crate) fn rows_keep_their_service(suite: &'static str) {
    let (_simulator, exporter) = low_row();
    let target = exporter.url.trim_start_matches("http://");
    let job = |name: &str, labels: &str, more: &str| {
        format!(
            "- job_name: {name}\n  static_configs: [{{ targets: [{target:?}], labels: {{ {labels} }} }}]\n{more}"
        )
    };
    let taken = "service: monitoring, account: operations, endpoint: http-metrics, collection: system";
    let config = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs:\n{}{}{}{}",
        job("honoured", taken, "  honor_labels: true\n"),
        job("relabelled", taken, &alternative()),
        job("relabelled_without_need", "site: here", &alternative()),
        job("neither", taken, ""),
    );
    let prometheus = Prometheus::start(suite, &config);
    let labels_of = |job: &str| {
        eventually("the row", || {
            let found = prometheus.query(&format!("{ROWS}{{job={job:?}}}"));
            let ((_, labels), _) = found.into_iter().next()?;
            Some(
                labels
                    .into_iter()
                    .filter(|(key, _)| !["instance", "job"].contains(&key.as_str()))
                    .collect::<BTreeSet<_>>(),
            )
        })
    };
    let owned = |labels: &[(&str, &str)]| -> BTreeSet<(String, String)> {
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let row =
        [("account", "contoso"), ("service", "o365"), ("workload", "Exchange"), ("channel", "reseller")];
    // Labels of the target that the row does not have remain; the rules aggregate over them.
    let with_others = owned(&[&row[..], &[("endpoint", "http-metrics"), ("collection", "system")]].concat());
    assert_eq!(labels_of("honoured"), with_others);
    assert_eq!(labels_of("relabelled"), with_others);
    assert_eq!(labels_of("relabelled_without_need"), owned(&[&row[..], &[("site", "here")]].concat()));
    // Other series have more labels, of which `endpoint` is one that service discovery sets too.
    let values_of = |label: &str, metric: &str, job: &str| {
        eventually("the series of the job", || {
            let query = format!("count by (account, {label}) (partner_license_{metric}{{job={job:?}}})");
            let found = prometheus.query(&query);
            (!found.is_empty()).then(|| found.into_keys().map(|(_, labels)| labels).collect::<Vec<_>>())
        })
    };
    for (label, metric, values) in
        [("endpoint", "api_throttled_total", &["token", "usage"][..]), ("collection", "up", &["usage"])]
    {
        let of_account =
            |value: &&str| owned(&[("account", "contoso"), (label, value)]).into_iter().collect();
        let expected: Vec<BTreeMap<String, String>> = values.iter().map(of_account).collect();
        for job in ["honoured", "relabelled", "relabelled_without_need"] {
            assert_eq!(values_of(label, metric, job), expected, "{job}");
        }
    }
    // Without both settings the label of the row is lost.
    let lost = labels_of("neither");
    assert!(lost.contains(&("service".to_owned(), "monitoring".to_owned())), "{lost:?}");
}

/// The alternative to `honor_labels` in examples/prometheus.yml, as text for a job.
fn alternative() -> String {
    let example = fs::read_to_string(root().join("examples/prometheus.yml")).unwrap();
    let lines = example.lines().skip_while(|line| !line.contains("metric_relabel_configs:"));
    let lines = lines.map_while(|line| line.strip_prefix("    #   "));
    let text = lines.map(|line| ["  ", line, "\n"].concat()).collect::<String>();
    assert!(text.contains("labelmap") && text.contains("labeldrop"), "{text}");
    let guide = fs::read_to_string(root().join("docs/guide/alerts.md")).unwrap();
    for line in text.lines() {
        assert!(guide.contains(line), "docs/guide/alerts.md does not contain {line}");
    }
    text
}

pub(crate) fn pending_time_survives_a_restart(suite: &'static str) {
    let (_simulator, exporter) = low_row();
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.yml");
    let shipped = fs::read_to_string(root().join("alerts/partner-license.rules.yml")).unwrap();
    // Only the evaluation interval is shortened, so that the test need not wait for it.
    fs::write(&rules, with_short_waits(&shipped, &["interval"])).unwrap();
    let config = format!(
        "global: {{ scrape_interval: 1s }}\nrule_files: [ {} ]\nscrape_configs:\n\
         - {{ job_name: any, honor_labels: true, static_configs: [{{ targets: [{:?}] }}] }}\n",
        rules.display(),
        exporter.url.trim_start_matches("http://"),
    );
    let pending_for = |prometheus: &Prometheus| {
        let query = "time() - ALERTS_FOR_STATE{alertname=\"PartnerLicenseUsageLow\", severity=\"warning\"}";
        prometheus.query(query).into_values().next()
    };
    let before = Prometheus::start(suite, &config);
    eventually("the alert is pending for some seconds", || {
        pending_for(&before).filter(|seconds| *seconds > 8.0)
    });
    let after = Prometheus::start_again(suite, before, &config);
    let seconds = eventually("the alert is evaluated again", || {
        let up = after.query("up").into_values().next()?;
        let state = after.query("ALERTS{alertname=\"PartnerLicenseUsageLow\", alertstate=\"pending\"}");
        (up == 1.0 && !state.is_empty()).then_some(pending_for(&after)?)
    });
    assert!(seconds > 8.0, "the alert has been pending for {seconds} s only");
}
