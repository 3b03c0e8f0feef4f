use crate::domain::customers::CustomerUsage;
use crate::domain::figures::Percent;
use crate::domain::usage::LicenseUsage;

use super::*;

fn row(service: &str, workload: &str, channel: &str) -> LicenseUsage {
    LicenseUsage {
        service: service.into(),
        workload: workload.into(),
        channel: channel.into(),
        percent: Percent::new(1.0).unwrap(),
        licenses: None,
        processed_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

fn thresholds(text: &str) -> Thresholds {
    valid(&format!("thresholds:\n{text}\n{}", file_of(&[]))).thresholds
}

#[test]
fn a_row_that_no_override_names_has_the_default() {
    assert_eq!(Thresholds::default().applying_to(&row("o365", "Exchange", "reseller")), Some(40.0));
    let rules = thresholds("  default_percent: 12.5\n  overrides: [{service: crm, percent: 60}]");
    assert_eq!(rules.applying_to(&row("o365", "Exchange", "reseller")), Some(12.5));
}

#[test]
fn the_first_override_that_matches_wins() {
    let rules = thresholds(
        "  overrides:
    - { service: o365, workload: Exchange, channel: direct, percent: 1 }
    - { service: o365, workload: Exchange, percent: 2 }
    - { workload: Exchange, percent: 3 }
    - { channel: direct, mute: true }
    - { channel: direct, percent: 4 }
    - { percent: 5, mute: false }",
    );
    for (found, threshold) in [
        (row("o365", "Exchange", "direct"), Some(1.0)),
        (row("o365", "Exchange", "reseller"), Some(2.0)),
        (row("crm", "Exchange", "direct"), Some(3.0)),
        (row("o365", "Teams", "direct"), None),
        (row("o365", "Teams", "reseller"), Some(5.0)),
    ] {
        assert_eq!(rules.applying_to(&found), threshold, "{:?}", found.key());
    }
}

#[test]
fn an_override_ignores_letter_case_and_nothing_else() {
    let rules = thresholds("  overrides: [{service: O365, workload: ÜBUNG, channel: Reseller, mute: true}]");
    assert_eq!(rules.applying_to(&row("o365", "übung", "RESELLER")), None);
    assert_eq!(rules.applying_to(&row("o365 ", "übung", "reseller")), Some(40.0));
    assert_eq!(rules.applying_to(&row("o365", "übun", "reseller")), Some(40.0));
}

#[test]
fn a_threshold_may_be_zero_or_above_a_hundred() {
    let rules = thresholds("  default_percent: 0\n  overrides: [{service: crm, percent: 130}]");
    assert_eq!(rules.applying_to(&row("o365", "Teams", "reseller")), Some(0.0));
    assert_eq!(rules.applying_to(&row("crm", "Teams", "reseller")), Some(130.0));
}

#[test]
fn an_override_for_a_customer_applies_to_that_customer_only_and_others_apply_to_all() {
    let rules = thresholds(
        "  overrides:
    - { customer: 0112A436-b14e-4888-967b-ca4bb2cf1234, service: o365, percent: 20 }
    - { service: crm, mute: true }",
    );
    let of_customer = |customer: &str, service: &str| {
        let row = CustomerUsage::of(customer, "Teams", 1, 50);
        CustomerUsage { service: service.into(), ..row }
    };
    for (customer, service, threshold) in [
        ("0112a436-b14e-4888-967b-ca4bb2cf1234", "o365", Some(20.0)),
        ("0112a436-b14e-4888-967b-ca4bb2cf1234", "crm", None),
        ("another", "o365", Some(40.0)),
    ] {
        let found = rules.applying_to_customer(&of_customer(customer, service));
        assert_eq!(found, threshold, "{customer} {service}");
    }
    assert_eq!(rules.applying_to(&row("o365", "Teams", "reseller")), Some(40.0), "usage has no customer");
}
