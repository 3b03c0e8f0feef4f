//! The whole line with the real parts: simulator, exporter, Prometheus, Alertmanager, mail and webhooks; and what of
//! the shipped files the real tools can judge.
//!
//! The parts come from scripts/fetch-tools, in two versions each: the oldest supported and the newest that
//! Debian has. Where they are missing these tests are reported as ignored, with the reason; with
//! `REQUIRE_TOOLS=1`, as scripts/test sets it, they fail instead.

#![expect(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::disallowed_methods,
    reason = "tests fail by panicking"
)]

mod chain;
mod files;
mod routing;
mod scraping;

use libtest_mimic::{Arguments, Conclusion};

use crate::support::real::{Case, run_cases};

const CASES: [Case; 11] = [
    ("promtool_accepts_the_rules_and_all_of_their_tests_pass", files::rules_are_accepted),
    ("promtool_accepts_what_is_made_of_the_rules_and_what_the_runbooks_ask", files::queries_are_accepted),
    ("amtool_accepts_the_examples_and_routes_each_alert_to_its_audience", files::routes_are_right),
    ("messages_are_rendered_as_they_were_read_and_found_good", files::messages_are_as_before),
    ("an_alert_silences_what_it_explains_and_nothing_else", routing::inhibitions_are_right),
    ("owners_are_not_called_outside_business_hours", routing::owners_sleep_at_night),
    ("teams_gets_cards_where_alertmanager_can_make_them", routing::teams_gets_cards),
    ("rows_keep_their_service_whatever_the_labels_of_the_target", scraping::rows_keep_their_service),
    ("a_restart_of_prometheus_does_not_start_the_day_anew", scraping::the_day_goes_on),
    ("low_usage_recovery_outage_token_mfa_and_a_dead_exporter_reach_their_audience", chain::alerts_arrive),
    ("the_rules_of_the_demo_fire_and_resolve_on_the_demo", chain::the_demo_alerts),
];

pub(crate) fn run(arguments: &Arguments) -> Conclusion {
    run_cases(arguments, &CASES)
}
