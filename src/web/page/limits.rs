//! The limits beyond which the page marks a value: those of the alert rules.

use std::time::Duration;

use jiff::Timestamp;

/// A refresh token with less time left is marked.
pub(super) const REFRESH_TOKEN_EXPIRES_SOON: Duration = Duration::from_hours(24 * 30);
/// A certificate with less time left is marked.
pub(super) const CERTIFICATE_EXPIRES_SOON: Duration = Duration::from_hours(24 * 14);
/// After this many intervals without a successful poll an account is overdue.
pub(super) const OVERDUE_INTERVALS: u32 = 3;

/// Whether no poll has succeeded for too long if the last success was at `last`.
pub(super) fn is_overdue(last: Timestamp, poll_interval: Duration, now: Timestamp) -> bool {
    let limit = poll_interval.saturating_mul(OVERDUE_INTERVALS);
    last.saturating_add(limit).is_ok_and(|limit| limit < now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundled::ALERTS;
    use crate::domain::usage::OLD_FIGURE_AGE;

    #[test]
    fn the_page_and_the_alert_rules_have_the_same_limits() {
        let (_, rules) = ALERTS.iter().find(|(name, _)| name.ends_with(".rules.yml")).unwrap();
        let days = |limit: Duration| format!("{} * 86400", limit.as_secs() / 86_400);
        let interval = "max by (account, collection) (last_over_time(partner_license_poll_interval_seconds";
        // Each limit as the rules write it, and how often.
        for (limit, count) in [
            (days(OLD_FIGURE_AGE), 3),
            (format!("< {}", days(REFRESH_TOKEN_EXPIRES_SOON)), 1),
            (format!("< {}", days(CERTIFICATE_EXPIRES_SOON)), 1),
            (format!("{OVERDUE_INTERVALS} * {interval}"), 1),
        ] {
            assert_eq!(rules.matches(&limit).count(), count, "{limit}");
        }
    }
}
