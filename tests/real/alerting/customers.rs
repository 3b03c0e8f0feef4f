//! The alert on a customer, from the forty customers of the demo to its account manager's mailbox and webhook.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::chain::{linked_rules, start_prometheus};
use super::routing::with_addresses;
use crate::support::exposition::Exposition;
use crate::support::real::{Alertmanager, mail_server, webhook};
use crate::support::{Exporter, Simulator, TENANT, account, run};

const MANAGER: &str = "anna@partner.example";

type Labels = BTreeMap<String, String>;

/// Returns the labels of the row of a customer that is furthest below its threshold.
fn lowest(metrics: &Exposition) -> Option<Labels> {
    let headroom = |(labels, active): (&Labels, f64)| {
        let of = |metric: &str| {
            metrics.0.get(&(format!("partner_license_customer_{metric}"), labels.clone())).copied()
        };
        Some((100.0 * active / of("qualified_licenses")? - of("threshold_percent")?, labels.clone()))
    };
    let rows = metrics.named("partner_license_customer_active_licenses").filter_map(headroom);
    let lowest = rows.min_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (lowest.0 < 0.0).then_some(lowest.1)
}

/// Returns all rows of a customer as Partner Center would report them if every licence were used.
fn fully_used(metrics: &Exposition, customer: &str, name: &str) -> Value {
    let processed = (Timestamp::now() - SignedDuration::from_hours(48)).to_string();
    let rows = metrics.named("partner_license_customer_qualified_licenses");
    let rows = rows.filter(|(labels, _)| labels["customer"] == customer).map(|(labels, qualified)| {
        json!({
            "customerTenantId": customer, "customerName": name, "processedDateTime": processed,
            "serviceCode": labels["service"], "workloadName": labels["workload"], "channel": labels["channel"],
            "licensesActive": qualified, "licensesQualified": qualified,
        })
    });
    rows.collect()
}

/// The configuration that is exported for one customer, with a webhook beside the mail of its manager.
fn routed(directory: &Path, customer: &str, mail: &str, hook: &str) -> String {
    let (list, output) = (directory.join("managers.csv"), directory.join("alerts"));
    fs::write(&list, format!("id,e-mail\n{customer},{MANAGER}\n")).unwrap();
    let flags = ["--output", output.to_str().unwrap(), "--routes", list.to_str().unwrap()];
    let (code, _, errors) = run(&[&["export", "alerts"][..], &flags].concat());
    assert_eq!(code, 0, "{errors}");
    let config = with_addresses(&fs::read_to_string(output.join("alertmanager.yml")).unwrap(), mail, hook);
    let receiver = format!("  - name: '{MANAGER}'\n");
    assert!(config.contains(&receiver), "{config}");
    config.replace(&receiver, &format!("{receiver}    webhook_configs: [{{ url: {hook}/manager }}]\n"))
}

pub(crate) fn a_customer_reaches_its_manager(suite: &'static str) {
    let portfolio = |more: &str| {
        format!(
            "tenants: {{ {TENANT}: {{ rows: portfolio, usage: {{ answer: not_found }}, deployment: {{ answer: not_found }}{more} }} }}"
        )
    };
    let simulator = Simulator::start(&portfolio(""));
    let collections = ", collections: { customers: { enabled: true, poll_interval: 1s, series: 1000 } }";
    let of = account(Some("portfolio"), TENANT, &simulator.url, &simulator.url, collections);
    let exporter = Exporter::start(&format!("poll_interval: 1s\naccounts:\n{of}"), &[]);
    let low = exporter.wait_for("a customer with a low row", lowest);
    let metrics = exporter.metrics();
    let customers = metrics.value("partner_license_customers", &[("account", "portfolio")]);
    assert_eq!(customers, Some(40.0));
    let [customer, service, workload, channel] =
        ["customer", "service", "workload", "channel"].map(|label| low[label].as_str());
    let named =
        metrics.named("partner_license_customer_info").find(|(labels, _)| labels["customer"] == customer);
    let name = named.unwrap().0["customer_name"].as_str();

    let ((mail, mails), (hook, calls)) = (mail_server(), webhook());
    let directory = tempfile::tempdir().unwrap();
    let alertmanager = Alertmanager::start(suite, &routed(directory.path(), customer, &mail, &hook));
    let _prometheus =
        start_prometheus(suite, &exporter, &alertmanager, &linked_rules(&directory.path().join("rules")));

    let to = format!("To: {MANAGER}");
    let firing = mails.wait_for(&[&to]);
    for part in [
        "Subject: [1 firing] Customers use few of their licences (account portfolio)",
        &format!("{name} (customer {customer}, account portfolio) uses few of its licences: "),
        &format!("{workload} (service {service}, channel {channel}) "),
        " not in use. Microsoft's figures are at most ",
        &format!(
            "Dashboard: https://grafana.example/d/partner-license-customers?var-customer={customer}&var-account=portfolio"
        ),
        "What to do: https://wiki.example/runbooks/PartnerLicenseCustomerUsageLow.md",
    ] {
        assert!(firing.contains(part), "no {part:?} in:\n{firing}");
    }
    calls.wait_for(&["/manager", "\"status\":\"firing\"", customer]);
    // The other customers are in the mail of those who own the licences, and this one is not.
    let others = mails.wait_for(&[
        "To: licence-owners@localhost",
        "Customers use few of their licences (account portfolio)",
    ]);
    assert!(!others.contains(customer), "{others}");

    let rows = fully_used(&exporter.metrics(), customer, name);
    simulator.scenario(&portfolio(&format!(", commercial_usage: {{ rows: {rows} }}")));
    mails.wait_for(&[&to, "Subject: [resolved] Customers use few of their licences (account portfolio)"]);
    calls.wait_for(&["/manager", "\"status\":\"resolved\"", customer]);
    // Alertmanager has flushed the group many times by now.
    for (inbox, of_manager) in [(mails, to.as_str()), (calls, "/manager\n")] {
        let messages = inbox.messages();
        let count = messages.iter().filter(|message| message.contains(of_manager)).count();
        assert_eq!(
            count,
            2,
            "not one message that it fires and one that it has resolved:\n{}",
            messages.join("\n")
        );
    }
}
