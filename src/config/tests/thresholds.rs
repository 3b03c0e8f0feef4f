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
