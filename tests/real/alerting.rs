//! Tests of alerting, from the simulator through exporter, Prometheus and Alertmanager to mail and webhooks; and checks
//! of the shipped files with the real tools.

#![expect(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::disallowed_methods,
    reason = "tests fail by panicking"
)]

mod chain;
mod customers;
mod files;
mod recipe;
mod routing;
mod scraping;

use libtest_mimic::{Arguments, Conclusion};

use crate::support::real::{Case, run_cases};

const CASES: [Case; 14] = [
    ("promtool_accepts_the_rules_and_all_their_tests_pass", files::rules_are_accepted),
    ("promtool_accepts_the_exported_rules_and_the_queries_of_the_runbooks", files::queries_are_accepted),
    ("amtool_accepts_the_examples_and_routes_each_alert_to_its_receiver", files::routes_are_correct),
    ("amtool_accepts_the_routes_of_account_managers", files::account_managers_are_routed),
    ("notifications_are_rendered_as_in_the_golden_files", files::notifications_match_golden_files),
    ("an_alert_silences_only_the_alerts_that_it_explains", routing::inhibitions_are_correct),
    ("owners_are_not_notified_outside_business_hours", routing::owners_are_notified_in_business_hours),
    ("teams_receives_cards_from_an_alertmanager_that_supports_them", routing::teams_receives_cards),
    ("rows_keep_their_service_label_whatever_labels_the_target_has", scraping::rows_keep_their_service),
    (
        "a_restart_of_prometheus_does_not_restart_the_day_of_a_pending_alert",
        scraping::pending_time_survives_a_restart,
    ),
    ("low_usage_recovery_outage_token_mfa_and_a_dead_exporter_reach_their_receivers", chain::alerts_arrive),
    (
        "a_customer_who_uses_few_licences_reaches_its_manager_once_and_resolves",
        customers::a_customer_reaches_its_manager,
    ),
    ("the_documented_test_alert_arrives_within_a_minute_and_resolves", recipe::test_alert_arrives),
    ("the_rules_of_the_demo_fire_and_resolve_on_the_demo", chain::demo_rules_fire),
];

pub(crate) fn run(arguments: &Arguments) -> Conclusion {
    run_cases(arguments, &CASES)
}
