//! One account: whether it works and since when, what is known of its polls and credentials, and its rows.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::failure::Failure;
use crate::domain::schedule::LastPoll;
use crate::domain::status::{AccountStatus, Credentials, LastGood};
use crate::domain::usage::{LicenseUsage, listing};
use crate::metrics::Fleet;

use super::table::{self, Tally};
use super::text::{Count, Day, Escaped, Length, Moment, WithCommands, add};

/// An account as it is shown.
pub(super) struct View {
    /// Its place in the configuration, from 1.
    pub(super) number: usize,
    pub(super) state: State,
    pub(super) tally: Tally,
    status: AccountStatus,
}

/// In the order in which accounts are listed: what needs a person comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Failing,
    Waiting,
    Working,
}

/// Ends that are nearer are called near; the alert rules have the same limits.
const REFRESH_TOKEN_IS_NEAR: Duration = Duration::from_hours(24 * 30);
const CERTIFICATE_IS_NEAR: Duration = Duration::from_hours(24 * 14);

impl State {
    pub(super) const ALL: [Self; 3] = [Self::Failing, Self::Waiting, Self::Working];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Waiting => "not polled yet",
            Self::Working => "working",
        }
    }

    /// The class of what is marked with it; style.css has the colour and the shape.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Waiting => "waiting",
            Self::Working => "working",
        }
    }
}

impl View {
    pub(super) fn new(number: usize, status: AccountStatus, fleet: &Fleet, now: Timestamp) -> Self {
        let state = match status.last_poll {
            LastPoll::Never => State::Waiting,
            LastPoll::Succeeded => State::Working,
            LastPoll::Failed { .. } => State::Failing,
        };
        let rows = status.visible(now, fleet.stale_after).map(|good| good.report.rows());
        let tally = Tally::of(rows.unwrap_or_default(), &fleet.thresholds);
        Self { number, state, tally, status }
    }

    pub(super) fn name(&self) -> Escaped<'_> {
        Escaped(self.status.name.as_ref().map_or("Account", |name| name.as_str()))
    }

    /// The word its failure is counted under, if it fails.
    pub(super) fn reason(&self) -> Option<&'static str> {
        Some(self.status.failure()?.reason.as_str())
    }

    /// Writes its section, with `most` rows at most.
    pub(super) fn write(&self, out: &mut String, fleet: &Fleet, now: Timestamp, most: usize) {
        let (number, status) = (self.number, &self.status);
        add!(
            out,
            "<section aria-labelledby=\"account-{number}\">\n<div class=\"head\"><h2 id=\"account-{number}\"><bdi>{}</bdi></h2>\
             <p><strong class=\"state {}\">{}</strong>",
            self.name(),
            self.state.class(),
            self.state.word(),
        );
        if let Some(since) = status.outcome_since {
            add!(out, " since {}, for {}", Moment(since), Length::between(since, now));
        }
        add!(out, "</p></div>\n");
        if let Some(failure) = status.failure() {
            self.write_failure(out, failure, now);
        }
        self.write_facts(out, fleet, now);
        self.write_notes(out, fleet, now);
        if let Some(good) = status.visible(now, fleet.stale_after)
            && self.tally.rows > 0
        {
            table::write(out, good.report.rows(), &fleet.thresholds, self.tally, most);
        }
        add!(out, "</section>\n");
    }

    fn write_failure(&self, out: &mut String, failure: &Failure, now: Timestamp) {
        add!(out, "<div class=\"failure\">\n<p><strong>Reason: {}</strong>", failure.reason.as_str());
        if let LastPoll::Failed { in_a_row, .. } = self.status.last_poll
            && in_a_row > 1
        {
            add!(out, " · {in_a_row} times in a row");
        }
        if let Some(at) = self.status.last_poll_at {
            add!(out, " · last tried {} ago, {}", Length::between(at, now), Moment(at));
        }
        add!(
            out,
            "</p>\n<p><strong>What happened:</strong> {}</p>\n<p><strong>What to do:</strong> {}. \
             <a href=\"/runbooks/PartnerLicenseScrapeFailing\">Runbook</a></p>\n</div>\n",
            Escaped(&failure.text),
            WithCommands(failure.remedy)
        );
    }

    fn write_facts(&self, out: &mut String, fleet: &Fleet, now: Timestamp) {
        let status = &self.status;
        let ago = |at| format!("{} ago", Length::between(at, now));
        add!(out, "<dl>\n");
        match status.last_good.as_ref().map(|good| good.at) {
            Some(at) => fact(out, "Rows fetched", &ago(at), Some(Moment(at))),
            None => fact(out, "Rows fetched", "never", None::<&str>),
        }
        if let Some((oldest, newest)) =
            status.visible(now, fleet.stale_after).and_then(|good| processed(good.report.rows()))
        {
            let mut days = Day(newest).to_string();
            if oldest < newest {
                add!(&mut days, ", oldest {}", Day(oldest));
            }
            fact(out, "Data processed", &ago(newest), Some(days));
        }
        match status.next_poll_at {
            Some(at) if at > now => {
                fact(out, "Next poll", &format!("in {}", Length::between(now, at)), Some(Moment(at)));
            }
            Some(_) => fact(out, "Next poll", "under way", None::<&str>),
            None => {}
        }
        let Credentials { refresh_token_issued_at, client_certificate_expires_at, mfa_compliant, .. } =
            status.credentials;
        match refresh_token_issued_at.map(|at| at.saturating_add(Credentials::REFRESH_TOKEN_LIFETIME)) {
            Some(end) => {
                write_end(out, "Refresh token", end.unwrap_or(Timestamp::MAX), REFRESH_TOKEN_IS_NEAR, now);
            }
            None => fact(out, "Refresh token", "not renewed yet", Some("its end is not known")),
        }
        if let Some(end) = client_certificate_expires_at {
            write_end(out, "Client certificate", end, CERTIFICATE_IS_NEAR, now);
        }
        match mfa_compliant {
            Some(true) => fact(out, "MFA", "compliant", None::<&str>),
            Some(false) => fact(out, "MFA", &attention("not compliant"), Some("sign in again with MFA")),
            None => fact(out, "MFA", "not known yet", None::<&str>),
        }
        add!(out, "</dl>\n");
    }

    /// What a reader should know of the rows, or of why there are none.
    fn write_notes(&self, out: &mut String, fleet: &Fleet, now: Timestamp) {
        let Some(good) = &self.status.last_good else { return };
        if !good.is_fresh(now, fleet.stale_after) {
            let limit = humantime::format_duration(fleet.stale_after.unwrap_or_default());
            add!(
                out,
                "<p class=\"note\">The last good rows are older than <code>stale_after</code> ({limit}) and not served any more.</p>\n"
            );
            return;
        }
        let LastGood { report, failed_since, .. } = good;
        if !self.status.was_polled() {
            add!(
                out,
                "<p class=\"note\">These rows are of before the start; no poll has ended since then.</p>\n"
            );
        } else if *failed_since {
            add!(out, "<p class=\"note\">The rows are those of the last good poll");
            if let Some(end) = good.vanishes_at(fleet.stale_after) {
                let left = Length::between(now, end);
                add!(out, ". Unless another one succeeds, they vanish in {left}, {}", Moment(end));
            }
            add!(out, ".</p>\n");
        }
        if report.rows().is_empty() {
            add!(
                out,
                "<p class=\"note\">The last good collection was empty: Partner Center has sent no rows.</p>\n"
            );
        }
        if !report.rejected().is_empty() {
            let dropped: u64 = report.rejected().values().sum();
            let dropped = Count(dropped, "row");
            add!(
                out,
                "<p class=\"note\">Dropped from the last good collection: {dropped} ({}).</p>\n",
                listing(report.rejected())
            );
        }
    }
}

fn write_end(out: &mut String, what: &str, end: Timestamp, near: Duration, now: Timestamp) {
    let left = Length::between(now, end);
    let text = if end <= now {
        attention(&format!("ended {} ago", Length::between(end, now)))
    } else if now.saturating_add(near).is_ok_and(|near| end < near) {
        attention(&format!("ends soon, in {left}"))
    } else {
        format!("ends in {left}")
    };
    fact(out, what, &text, Some(Moment(end)));
}

/// What a person should look at. `text` is HTML.
fn attention(text: &str) -> String {
    format!("<strong class=\"attention\">{text}</strong>")
}

/// A line of the list of facts. `text` and `detail` are HTML.
fn fact(out: &mut String, what: &str, text: &str, detail: Option<impl std::fmt::Display>) {
    add!(out, "<div><dt>{what}</dt><dd>{text}");
    if let Some(detail) = detail {
        add!(out, " <small>{detail}</small>");
    }
    add!(out, "</dd></div>\n");
}

/// When the oldest and the newest rows were processed.
fn processed(rows: &[LicenseUsage]) -> Option<(Timestamp, Timestamp)> {
    let moments = rows.iter().map(|row| row.processed_at);
    Some((moments.clone().min()?, moments.max()?))
}
