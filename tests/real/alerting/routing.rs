//! Tests of the shipped Alertmanager configuration: which alerts silence others, and when owners are notified.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::real::{Alertmanager, mail_server, root, tool, webhook, with_short_waits};

/// The shipped example with short waiting times, and with these addresses of the mail server and the webhook.
pub(crate) fn example(mail: &str, hook: &str) -> String {
    with_addresses(&shipped("examples/alertmanager.yml"), mail, hook)
}

/// A configuration with short waiting times, and with these addresses of the mail server and the webhook.
pub(crate) fn with_addresses(config: &str, mail: &str, hook: &str) -> String {
    let text = for_hook(config, hook);
    assert!(text.contains("127.0.0.1:25"), "the configuration has no mail server");
    text.replace("127.0.0.1:25", mail)
}

fn shipped(example: &str) -> String {
    fs::read_to_string(root().join(example)).unwrap()
}

/// A configuration with short waiting times, and with this address of the webhook.
fn for_hook(config: &str, hook: &str) -> String {
    let text = with_short_waits(config, &["group_wait", "group_interval"]);
    assert!(text.contains("http://127.0.0.1:9095"), "the configuration has no webhook");
    text.replace("http://127.0.0.1:9095", hook)
}

/// The same configuration with whole business days on these weekdays.
pub(crate) fn with_weekdays(config: &str, weekdays: &str) -> String {
    let (days, start, end) = ("\"monday:friday\"", "\"08:00\"", "\"17:00\"");
    for part in [days, start, end] {
        assert!(config.contains(part), "the example has no {part}");
    }
    config.replace(days, weekdays).replace(start, "\"00:00\"").replace(end, "\"24:00\"")
}

/// An alert with the labels in `text`, which is written as `name severity key=value …`.
fn alert(text: &str) -> Value {
    let mut words = text.split(' ');
    let mut labels = BTreeMap::from([("alertname", format!("PartnerLicense{}", words.next().unwrap()))]);
    labels.insert("severity", words.next().unwrap().to_owned());
    labels
        .extend(words.map(|word| word.split_once('=').unwrap()).map(|(key, value)| (key, value.to_owned())));
    json!({ "labels": labels, "annotations": { "summary": text, "description": text } })
}

/// Returns which of these alerts are silenced when all of them fire.
fn silenced<'a>(suite: &str, config: &str, alerts: &[&'a str]) -> BTreeSet<&'a str> {
    // Alertmanager processes alerts in the order in which they arrive: when the last one is silenced, it has processed
    // all.
    const LAST: [&str; 2] =
        ["RefreshTokenExpiring critical account=last", "RefreshTokenExpiring warning account=last"];
    let alertmanager = Alertmanager::start(suite, config);
    alertmanager.post(&alerts.iter().map(|text| alert(text)).collect());
    alertmanager.post(&LAST.map(alert).into());
    let is_silenced = |known: &[Value], text: &str| {
        let found = known.iter().find(|alert| alert["annotations"]["summary"] == text)?;
        Some(found["status"]["inhibitedBy"].as_array().is_some_and(|by| !by.is_empty()))
    };
    let known = eventually("the last alert is silenced", || {
        let known = alertmanager.alerts();
        (is_silenced(&known, LAST[1]) == Some(true)).then_some(known)
    });
    alerts.iter().filter(|text| is_silenced(&known, text).unwrap()).copied().collect()
}

/// An alert, those that it silences, and those that it does not.
type Inhibition = (String, Vec<String>, Vec<String>);

/// What failing polls of a collection silence: only what depends on that collection.
fn by_polls(row: &str) -> [Inhibition; 4] {
    let texts = |list: &[String]| list.to_vec();
    [
        (
            "ScrapeFailing warning account=contoso collection=usage".to_owned(),
            texts(&[
                format!("UsageLow warning {row}"),
                format!("UsageDropped warning {row}"),
                format!("UsageDataStale warning {row}"),
                format!("UsageSeriesLost warning {row}"),
                "UsageCollectionEmpty warning account=contoso collection=usage".to_owned(),
            ]),
            texts(&[
                "UsageLow warning account=fabrikam service=o365 workload=Exchange channel=reseller"
                    .to_owned(),
                "UsageCollectionEmpty warning account=contoso collection=deployment".to_owned(),
                "ScrapeFailing warning account=contoso collection=customers".to_owned(),
                "MfaNotCompliant warning account=contoso".to_owned(),
            ]),
        ),
        (
            "ScrapeFailing warning account=contoso collection=customers".to_owned(),
            texts(&[
                "UsageCollectionEmpty warning account=contoso collection=customers".to_owned(),
                "CustomerUsageLow warning account=contoso customer=bank".to_owned(),
                "UsageDataStale warning account=contoso collection=customers service=o365".to_owned(),
            ]),
            texts(&[
                "CustomerUsageLow warning account=fabrikam customer=bank".to_owned(),
                format!("UsageLow warning {row}"),
                format!("UsageSeriesLost warning {row}"),
                "UsageCollectionEmpty warning account=contoso collection=usage".to_owned(),
                "UsageCollectionEmpty warning account=fabrikam collection=customers".to_owned(),
            ]),
        ),
        (
            "ScrapeOverdue critical collection=usage".to_owned(),
            texts(&[
                "UsageLow warning service=o365 workload=Exchange channel=reseller".to_owned(),
                "UsageCollectionEmpty warning collection=usage".to_owned(),
            ]),
            texts(&[format!("UsageLow warning {row}")]),
        ),
        (
            "ScrapeOverdue critical collection=deployment".to_owned(),
            texts(&["UsageCollectionEmpty warning collection=deployment".to_owned()]),
            texts(&["UsageLow warning service=o365 workload=Exchange channel=reseller".to_owned()]),
        ),
    ]
}

pub(crate) fn inhibitions_are_correct(suite: &'static str) {
    let config = example("127.0.0.1:1", "http://127.0.0.1:1");
    let row = "account=contoso service=o365 workload=Exchange channel=reseller";
    let other = "account=contoso service=o365 workload=Exchange channel=direct";
    let texts = |list: &[String]| list.to_vec();
    let by_others = [
        (
            format!("UsageLow critical {row}"),
            texts(&[format!("UsageLow warning {row}")]),
            texts(&[format!("UsageLow warning {other}"), format!("UsageDropped warning {row}")]),
        ),
        (
            "RefreshTokenExpiring critical".to_owned(),
            texts(&["RefreshTokenExpiring warning".to_owned()]),
            texts(&[
                "RefreshTokenExpiring warning account=fabrikam".to_owned(),
                "ClientCertificateExpiring warning".to_owned(),
            ]),
        ),
        (
            format!("UsageDataStale warning {row}"),
            texts(&[
                format!("UsageLow warning {row}"),
                format!("UsageLow critical {row}"),
                format!("UsageDropped warning {row}"),
            ]),
            texts(&[
                format!("UsageLow warning {other}"),
                "CustomerUsageLow warning account=contoso customer=bank".to_owned(),
                "ScrapeFailing warning account=tailspin".to_owned(),
            ]),
        ),
        (
            "ScrapeFailing warning account=contoso collection=usage".to_owned(),
            Vec::new(),
            texts(&["CustomerUsageLow warning account=contoso customer=bank".to_owned()]),
        ),
        (
            "ScrapeFailing warning account=contoso collection=customers".to_owned(),
            Vec::new(),
            texts(&[format!("UsageDataStale warning {row}")]),
        ),
        (
            "ScrapeOverdue critical account=contoso collection=usage".to_owned(),
            Vec::new(),
            texts(&["UsageDataStale warning account=contoso collection=customers service=o365".to_owned()]),
        ),
        (
            "UsageDataStale warning account=contoso collection=customers service=o365".to_owned(),
            Vec::new(),
            texts(&[
                "CustomerUsageLow warning account=contoso customer=bank".to_owned(),
                format!("UsageLow warning {row}"),
            ]),
        ),
        (
            "ExporterDown critical account=contoso".to_owned(),
            texts(&[
                format!("UsageLow critical {row}"),
                "MfaNotCompliant warning account=contoso".to_owned(),
                "ScrapeOverdue critical account=contoso collection=customers".to_owned(),
            ]),
            texts(&[
                "MfaNotCompliant warning account=fabrikam".to_owned(),
                "ExporterDown warning job=licences instance=a:10365".to_owned(),
            ]),
        ),
        (
            "ExporterDown critical exporters=none".to_owned(),
            texts(&[
                format!("UsageLow critical {row}"),
                "MfaNotCompliant warning".to_owned(),
                "ScrapeOverdue critical account=contoso collection=usage".to_owned(),
            ]),
            texts(&["ExporterDown critical account=contoso".to_owned()]),
        ),
        (
            // The account without a name.
            "ExporterDown critical".to_owned(),
            texts(&["MfaNotCompliant warning".to_owned()]),
            texts(&["MfaNotCompliant warning account=contoso".to_owned()]),
        ),
        (
            "ExporterDown warning job=licences instance=a:10365".to_owned(),
            Vec::new(),
            texts(&[format!("UsageLow warning {row}"), "MfaNotCompliant warning".to_owned()]),
        ),
    ];
    for (source, silenced_by_it, not_silenced) in by_others.into_iter().chain(by_polls(row)) {
        let all: Vec<&str> = std::iter::once(&source)
            .chain(&silenced_by_it)
            .chain(&not_silenced)
            .map(String::as_str)
            .collect();
        let expected: BTreeSet<&str> = silenced_by_it.iter().map(String::as_str).collect();
        assert_eq!(silenced(suite, &config, &all), expected, "silenced by {source}");
    }
}

pub(crate) fn owners_are_notified_in_business_hours(suite: &'static str) {
    let ((mail, mails), (hook, calls)) = (mail_server(), webhook());
    let low = "UsageLow warning service=o365 workload=Exchange channel=reseller";
    let failing = "ScrapeFailing warning account=tailspin";
    // A day that is neither today nor tomorrow.
    let today = Timestamp::now().to_zoned(TimeZone::UTC);
    let closed =
        format!("\"{}\"", today.tomorrow().unwrap().tomorrow().unwrap().strftime("%A")).to_lowercase();
    let config = example(&mail, &hook);
    let alertmanager = Alertmanager::start(suite, &with_weekdays(&config, &closed));
    alertmanager.post(&json!([alert(low), alert(failing)]));
    calls.wait_for(&["ScrapeFailing"]);
    // Alertmanager flushes both groups a second after their first alert and every second after that.
    alertmanager.post(&json!([alert("MfaNotCompliant warning account=tailspin")]));
    calls.wait_for(&["MfaNotCompliant"]);
    assert_eq!(mails.messages(), [""; 0], "mail outside business hours");

    let alertmanager = Alertmanager::start(suite, &with_weekdays(&config, "\"sunday:saturday\""));
    alertmanager.post(&json!([alert(low)]));
    mails.wait_for(&["To: licence-owners@localhost", "UsageLow warning"]);
}

pub(crate) fn teams_receives_cards(suite: &'static str) {
    const TEAMS: &str = "examples/alertmanager-teams.yml";
    if suite == "bookworm" {
        // The example needs a newer version, as its first comment says.
        let output =
            Command::new(tool(suite, "amtool")).args(["check-config", TEAMS]).current_dir(root()).output();
        let output = output.unwrap();
        let text = [output.stdout, output.stderr].concat();
        assert!(String::from_utf8_lossy(&text).contains("msteamsv2_configs not found"));
        return;
    }
    let (hook, calls) = webhook();
    let alertmanager =
        Alertmanager::start(suite, &with_weekdays(&for_hook(&shipped(TEAMS), &hook), "\"sunday:saturday\""));
    alertmanager.post(&json!([
        alert("UsageLow critical account=contoso service=o365"),
        alert("MfaNotCompliant warning account=contoso"),
    ]));
    for (path, title, text) in [
        (
            "/teams/licence-owners",
            "[1 firing] Critical: UsageLow critical account=contoso service=o365 (service o365, account contoso)",
            "_critical since ",
        ),
        (
            "/teams/platform",
            "[1 firing] MfaNotCompliant warning account=contoso (account contoso)",
            "_warning since ",
        ),
    ] {
        let call = calls.wait_for(&[path, title]);
        let card: Value = serde_json::from_str(call.split_once('\n').unwrap().1).unwrap();
        let blocks = card["attachments"][0]["content"]["body"].as_array().unwrap();
        let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        assert_eq!(texts[0], title);
        assert!(texts[1].contains(text), "{texts:?}");
    }
}
