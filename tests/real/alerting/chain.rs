//! The whole chain: simulator, exporter, Prometheus, Alertmanager, and a mail server and a webhook that receive alerts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::Value;

use super::routing::{example, with_weekdays};
use crate::support::real::{Alertmanager, Prometheus, mail_server, webhook, with_short_waits};
use crate::support::{
    Exporter, OTHER_TENANT, Process, Simulator, TENANT, eventually, program, put_scenario, run,
};

const THIRD_TENANT: &str = "33333333-3333-3333-3333-333333333333";

/// The time some days ago, in the format of Partner Center.
fn ago(days: i64) -> String {
    (Timestamp::now() - SignedDuration::from_hours(24 * days)).strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// A scenario in which contoso has a row, fabrikam signs in without a second factor, and no token of tailspin is
/// renewed.
fn scenario(percent: f64, contoso: &str) -> String {
    format!(
        "rows: [{{ service: o365, workload: Exchange, channel: reseller, percent: {percent:?}, processed: {:?} }}]\n\
         tenants:\n  {TENANT}: {{ {contoso} }}\n  {OTHER_TENANT}: {{ mfa: false, rows: [] }}\n  \
         {THIRD_TENANT}: {{ rows: [], token: {{ answer: server_error }} }}\n",
        ago(3)
    )
}

pub(crate) fn alerts_arrive(suite: &'static str) {
    // Tokens inherit from the sign-in whether it had a second factor.
    let simulator = Simulator::start(&format!("rows: []\ntenants: {{ {OTHER_TENANT}: {{ mfa: false }} }}"));
    let accounts: String = [("contoso", TENANT), ("fabrikam", OTHER_TENANT), ("tailspin", THIRD_TENANT)]
        .map(|(name, tenant)| simulator.account(Some(name), tenant))
        .concat();
    let config = format!("poll_interval: 1s\naccounts:\n{accounts}");
    let directory = directory_with_an_old_token(&config);
    simulator.scenario(&scenario(80.0, ""));
    let exporter = Exporter::start_in(directory, &config, &[]);
    exporter.wait_for_polls(Some("contoso"), 1.0);

    let ((mail, mails), (hook, calls)) = (mail_server(), webhook());
    let alertmanager =
        Alertmanager::start(suite, &with_weekdays(&example(&mail, &hook), "\"sunday:saturday\""));
    let rules = tempfile::tempdir().unwrap();
    let prometheus = start_prometheus(suite, &exporter, &alertmanager, &linked_rules(rules.path()));

    // The token of tailspin is 75 days old and the sign-in of fabrikam has no second factor: the platform team is
    // notified of both.
    let token = calls.wait_for(&["The refresh token of account tailspin expires in 14d 23h"]);
    assert!(token.starts_with("/slack\n"), "{token}");
    assert_eq!(
        slack(&token)["title"],
        "[1 firing] The refresh token is not being renewed and will expire (account tailspin)"
    );
    assert_eq!(
        slack(&token)["title_link"],
        "https://grafana.example/d/partner-license-exporter?var-account=tailspin"
    );
    let mfa = calls.wait_for(&["the sign-in of account fabrikam does not meet its requirement"]);
    let text = slack(&mfa)["text"].as_str().unwrap().to_owned();
    assert!(
        text.contains("<https://wiki.example/runbooks/PartnerLicenseMfaNotCompliant.md|What to do>"),
        "{text}"
    );

    // The owners are notified of low usage, with everything that they need to know.
    assert_eq!(mails.messages(), [""; 0]);
    simulator.scenario(&scenario(12.5, ""));
    let low = mails.wait_for(&["12.50 %"]);
    for part in [
        "Subject: [1 firing] Licence usage is below its threshold (service o365, account contoso)",
        "To: licence-owners@localhost",
        "Usage of Exchange (service o365, channel reseller, account contoso) is 12.50 %, below its threshold of 40.00 %. \
         Microsoft's figure is 3.0 days old.",
        "warning since ",
        "Dashboard: https://grafana.example/d/partner-license-detail?var-service=o365&var-workload=Exchange\
         &var-channel=reseller&var-account=contoso",
        "What to do: https://wiki.example/runbooks/PartnerLicenseUsageLow.md",
        "Microsoft&#39;s figure is 3.0 days old.<br>",
    ] {
        assert!(low.contains(part), "no {part:?} in:\n{low}");
    }

    // Usage recovers.
    simulator.scenario(&scenario(80.0, ""));
    mails.wait_for(&["Subject: [resolved] Licence usage is below its threshold", "Resolved:", "12.50 %"]);

    // Usage is low again, and then the API fails: the platform team is notified, and the owners' alert is silenced.
    simulator.scenario(&scenario(11.5, ""));
    mails.wait_for(&["11.50 %"]);
    simulator.scenario(&scenario(11.5, "usage: { answer: server_error }"));
    calls.wait_for(&["No poll of the usage collection of account contoso has succeeded", "server"]);
    let low = [("alertname", "PartnerLicenseUsageLow"), ("account", "contoso")];
    // Both fire, because the poll interval is a second here.
    let polls = ["PartnerLicenseScrapeFailing", "PartnerLicenseScrapeOverdue"];
    wait_until_silenced(&alertmanager, &low, &polls);
    simulator.scenario(&scenario(11.5, ""));
    calls.wait_for(&["Resolved: No poll of the usage collection of account contoso has succeeded"]);

    // The exporter is killed, and the other alerts about its accounts are silenced.
    exporter.process.kill();
    let down = calls.wait_for(&["No exporter answers for account fabrikam"]);
    assert_eq!(slack(&down)["color"], "danger");
    let mfa = [("alertname", "PartnerLicenseMfaNotCompliant"), ("account", "fabrikam")];
    wait_until_silenced(&alertmanager, &mfa, &["PartnerLicenseExporterDown"]);
    drop(prometheus);
}

/// The first attachment of a message to Slack.
fn slack(call: &str) -> Value {
    let body: Value = serde_json::from_str(call.split_once('\n').unwrap().1).unwrap();
    body["attachments"][0].clone()
}

/// A directory whose stored refresh token of tailspin was issued 75 days ago.
fn directory_with_an_old_token(config: &str) -> Arc<tempfile::TempDir> {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let mut exporter = Exporter::start_in(Arc::clone(&directory), config, &[]);
    exporter.wait_for_polls(Some("tailspin"), 1.0);
    exporter.process.signal(Signal::TERM);
    exporter.process.wait();
    let state: PathBuf = fs::read_dir(directory.path().join("state"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(&format!("refresh-token-{THIRD_TENANT}")) && !name.contains(".lock")
        })
        .unwrap();
    let mut token: Value = serde_json::from_str(&fs::read_to_string(&state).unwrap()).unwrap();
    // A record without a checksum, as the first program wrote it, may be edited.
    token.as_object_mut().unwrap().remove("sha256");
    let issued = Timestamp::now() - SignedDuration::from_hours(24 * 75);
    token["issued_at"] = issued.to_string().into();
    fs::write(&state, token.to_string()).unwrap();
    directory
}

/// The rules as the program exports them, with links and with short waiting times.
pub(super) fn linked_rules(directory: &Path) -> PathBuf {
    let output = directory.to_str().unwrap();
    let links = ["--grafana-url=https://grafana.example/", "--runbook-url=https://wiki.example/runbooks"];
    let (code, _, errors) = run(&[&["export", "alerts", "--output", output][..], &links].concat());
    assert_eq!(code, 0, "{errors}");
    let file = directory.join("partner-license.rules.yml");
    let exported = fs::read_to_string(&file).unwrap();
    fs::write(&file, with_short_waits(&exported, &["for", "keep_firing_for", "interval"])).unwrap();
    file
}

pub(super) fn start_prometheus(
    suite: &str,
    exporter: &Exporter,
    alertmanager: &Alertmanager,
    rules: &Path,
) -> Prometheus {
    let config = format!(
        "global: {{ scrape_interval: 2s, evaluation_interval: 1s }}\nrule_files: [ {} ]\n\
         scrape_configs: [{{ job_name: any, honor_labels: true, static_configs: [{{ targets: [{:?}] }}] }}]\n\
         alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: [{:?}] }}] }}] }}\n",
        rules.display(),
        exporter.url.trim_start_matches("http://"),
        alertmanager.url.trim_start_matches("http://"),
    );
    Prometheus::start(suite, &config)
}

/// Waits until the alert with these labels is silenced, and checks that one of these alerts silences it.
fn wait_until_silenced(alertmanager: &Alertmanager, labels: &[(&str, &str)], by: &[&str]) {
    let is = |alert: &Value| labels.iter().all(|(key, value)| alert["labels"][key] == *value);
    let source = eventually("the alert is silenced", || {
        let alerts = alertmanager.alerts();
        let alert = alerts.iter().find(|alert| is(alert))?;
        let source = alert["status"]["inhibitedBy"].as_array()?.first()?.clone();
        let source = alerts.iter().find(|alert| alert["fingerprint"] == source)?;
        Some(source["labels"]["alertname"].as_str()?.to_owned())
    });
    assert!(by.contains(&source.as_str()), "silenced by {source}, not by one of {by:?}");
}

// === the demo ===

/// The tenant of the demo's account whose values move.
const PORTFOLIO_TENANT: &str = "00000000-0000-0000-0000-00000000f011";

pub(crate) fn demo_rules_fire(suite: &'static str) {
    let mut command = program(&["demo", "--poll-interval=1s"]);
    command.args(["--web.listen-address=127.0.0.1:0", "--simulator.listen-address=127.0.0.1:0"]);
    let demo = Process::start(&mut command);
    let address = demo.stdout.wait_for("address of the metrics", |line| {
        Some(line.split_once("http://")?.1.strip_suffix("/metrics")?.to_owned())
    });
    let simulator = demo.stdout.wait_for("address of the simulator", |line| {
        Some(line.trim().strip_prefix("simulator")?.trim().trim_end_matches('/').to_owned())
    });
    let directory = tempfile::tempdir().unwrap();
    let (code, _, errors) =
        run(&["export", "alerts", "--demo", "--output", directory.path().to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    let rules = fs::read_to_string(directory.path().join("partner-license.rules.yml")).unwrap();
    let config = fs::read_to_string(directory.path().join("prometheus.yml")).unwrap();
    // Waiting times are even shorter than in the demo, and the ports are different.
    let rules = with_short_waits(&rules, &["for", "keep_firing_for", "interval"]);
    fs::write(directory.path().join("partner-license.rules.yml"), rules).unwrap();
    assert!(config.contains("127.0.0.1:10365") && config.contains("5s"));
    let config = config.replace("127.0.0.1:10365", &address).replace("5s", "1s");
    let rules = format!("- {}", directory.path().join("partner-license.rules.yml").display());
    let prometheus = Prometheus::start(suite, &config.replace("- partner-license.rules.yml", &rules));
    let fires = |account: &str, alert: &str, workload: &str| {
        let query = format!(
            "ALERTS{{alertname=\"PartnerLicense{alert}\", alertstate=\"firing\", account={account:?}, \
             workload={workload:?}}}"
        );
        !prometheus.query(&query).is_empty()
    };
    for (account, alert, workload) in [
        ("portfolio", "UsageLow", "Skype For Business"),
        ("documented", "UsageLow", "Exchange"),
        ("documented", "UsageDataStale", "Exchange"),
    ] {
        eventually(&format!("{alert} of {account} fires"), || fires(account, alert, workload).then_some(()));
    }

    // The values that the curve of Viva Insights takes within five minutes, without the wait.
    for (percent, is_low) in [(34.0, true), (62.0, false)] {
        put_scenario(
            &simulator,
            &format!(
                "tenants: {{ {PORTFOLIO_TENANT}: {{ rows: [{{ service: o365, workload: Viva Insights, channel: reseller, percent: {percent:?}, \
                 processed: {:?} }}] }} }}",
                ago(2)
            ),
        );
        eventually(&format!("the alert on {percent} %"), || {
            (fires("portfolio", "UsageLow", "Viva Insights") == is_low).then_some(())
        });
    }
}
