//! Renders one account: whether it works and since when, its polls, its credentials and its rows.

use std::time::Duration;

use jiff::Timestamp;
use maud::{Markup, Render, html};

use crate::domain::failure::{Failure, FailureReason};
use crate::domain::schedule::LastPoll;
use crate::domain::status::{AccountStatus, Credentials, LastGood};
use crate::domain::usage::{EMPTY_REMEDY, LicenseUsage, OLD_FIGURE_AGE, listing};
use crate::metrics::Accounts;

use super::context::Context;
use super::limits::{CERTIFICATE_EXPIRES_SOON, OVERDUE_INTERVALS, REFRESH_TOKEN_EXPIRES_SOON, is_overdue};
use super::table::{RowCounts, table};
use super::text::{Count, Length, day, link, time, visible, with_commands};

/// An account as the page shows it.
pub(super) struct AccountView {
    /// Its place in the configuration, from 1.
    pub(super) number: usize,
    pub(super) state: AccountState,
    pub(super) counts: RowCounts,
    status: AccountStatus,
}

/// Whether an account works, in the order in which accounts are listed: those that need a person come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AccountState {
    Failing,
    /// No poll has succeeded for three intervals.
    Overdue,
    /// The last good collection was empty, or is no longer served.
    NoRows,
    /// At least one row that is not muted has an old figure.
    OldFigures,
    Waiting,
    Working,
}

impl AccountState {
    pub(super) const ALL: [Self; 6] =
        [Self::Failing, Self::Overdue, Self::NoRows, Self::OldFigures, Self::Waiting, Self::Working];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Overdue => "overdue",
            Self::NoRows => "no rows",
            Self::OldFigures => "old figures",
            Self::Waiting => "not polled yet",
            Self::Working => "working",
        }
    }

    /// The CSS class, to which style.css gives colour and shape.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Overdue | Self::NoRows | Self::OldFigures => "doubtful",
            Self::Waiting => "waiting",
            Self::Working => "working",
        }
    }
}

impl AccountView {
    pub(super) fn new(number: usize, status: AccountStatus, accounts: &Accounts, now: Timestamp) -> Self {
        let rows = status.visible(now, accounts.stale_after).map(|good| good.report.rows());
        let counts = RowCounts::of(rows.unwrap_or_default(), &accounts.thresholds, now);
        let overdue =
            status.last_good.as_ref().is_some_and(|good| is_overdue(good.at, accounts.poll_interval, now));
        let state = match status.last_poll {
            LastPoll::Never => AccountState::Waiting,
            LastPoll::Failed { .. } => AccountState::Failing,
            LastPoll::Succeeded if overdue => AccountState::Overdue,
            LastPoll::Succeeded if counts.rows == 0 => AccountState::NoRows,
            LastPoll::Succeeded if counts.old > 0 => AccountState::OldFigures,
            LastPoll::Succeeded => AccountState::Working,
        };
        Self { number, state, counts, status }
    }

    /// The name, isolated from the direction of the text around it.
    pub(super) fn name(&self) -> Markup {
        let name = self.status.name.as_ref().map_or("Account", |name| name.as_str());
        html! { bdi { (visible(name)) } }
    }

    /// The reason under which the failure is counted, if the account fails.
    pub(super) fn reason(&self) -> Option<&'static str> {
        Some(self.status.failure()?.reason.as_str())
    }

    /// Renders the section of the account, with at most `most` rows.
    pub(super) fn section(&self, accounts: &Accounts, context: &Context, most: usize) -> Markup {
        let now = context.now;
        let (status, id) = (&self.status, format!("account-{}", self.number));
        html! {
            section aria-labelledby=(id) {
                div.head {
                    h2 id=(id) { (self.name()) }
                    p {
                        strong.state.(self.state.class()) { (self.state.word()) }
                        @if let Some(since) = status.outcome_since {
                            @if self.state.class() == "doubtful" { " · polls have succeeded" }
                            " since " (time(since)) ", for " (Length::between(since, now))
                        }
                    }
                }
                @if let Some(failure) = status.failure() { (self.failure(failure, now)) }
                (self.facts(accounts, now))
                (self.notes(accounts, context))
                @if let Some(good) = status.visible(now, accounts.stale_after) && self.counts.rows > 0 {
                    (table(good.report.rows(), &accounts.thresholds, self.counts, (most, now)))
                }
            }
        }
    }

    fn failure(&self, failure: &Failure, now: Timestamp) -> Markup {
        html! {
            div.failure {
                p {
                    strong { "Reason: " (failure.reason.as_str()) }
                    @if let LastPoll::Failed { in_a_row, .. } = self.status.last_poll && in_a_row > 1 {
                        " · " (in_a_row) " times in a row"
                    }
                    @if let Some(at) = self.status.last_poll_at {
                        " · last tried " (Length::between(at, now)) " ago, " (time(at))
                    }
                }
                p { strong { "What happened:" } " " (visible(&failure.text)) }
                p {
                    strong { "What to do:" } " " (with_commands(&failure.remedy)) ". "
                    a href=(link("/runbooks/PartnerLicenseScrapeFailing")) { "Runbook" }
                }
            }
        }
    }

    fn facts(&self, accounts: &Accounts, now: Timestamp) -> Markup {
        let status = &self.status;
        let processed =
            status.visible(now, accounts.stale_after).and_then(|good| processed(good.report.rows()));
        let Credentials { client_certificate_expires_at, mfa_compliant, .. } = status.credentials;
        let ago = |at, doubtful| {
            let text = format!("{} ago", Length::between(at, now));
            html! { @if doubtful { strong.doubtful { (text) } } @else { (text) } }
        };
        html! {
            dl {
                @match status.last_good.as_ref().map(|good| good.at) {
                    Some(at) => {
                        (fact("Rows fetched", ago(at, is_overdue(at, accounts.poll_interval, now)), Some(time(at))))
                    }
                    None => (fact("Rows fetched", "never", None)),
                }
                @if let Some((oldest, newest)) = processed {
                    @let detail = html! { (day(newest)) @if oldest < newest { ", oldest " (day(oldest)) } };
                    (fact("Data processed", ago(newest, self.counts.old > 0), Some(detail)))
                }
                @match status.next_poll_at {
                    Some(at) if at > now => {
                        (fact("Next poll", html! { "in " (Length::between(now, at)) }, Some(time(at))))
                    }
                    Some(_) => (fact("Next poll", "under way", None)),
                    None => {}
                }
                (refresh_token(&status.credentials, now))
                @if let Some(end) = client_certificate_expires_at {
                    (credential("Client certificate", end, CERTIFICATE_EXPIRES_SOON, now))
                }
                @match mfa_compliant {
                    // What the API said before it, or the sign-in service, demanded a second factor.
                    _ if self.reason() == Some(FailureReason::Mfa.as_str()) => {
                        (fact("MFA", attention("demanded"), Some(html! { "sign in again with MFA" })))
                    }
                    Some(true) => (fact("MFA", "compliant", None)),
                    Some(false) => {
                        (fact("MFA", attention("not compliant"), Some(html! { "sign in again with MFA" })))
                    }
                    None => (fact("MFA", "not known yet", None)),
                }
            }
        }
    }

    /// What a reader should know about the rows, or why there are none.
    fn notes(&self, accounts: &Accounts, context: &Context) -> Markup {
        let now = context.now;
        html! {
            @if !self.status.was_polled() { (self.not_polled(context)) }
            @if self.state == AccountState::Overdue {
                (doubt(&html! {
                    "No poll has succeeded for more than " (OVERDUE_INTERVALS) " poll intervals. "
                    a href=(link("/runbooks/PartnerLicenseScrapeOverdue")) { "Runbook" }
                }))
            }
            @if let Some(good) = &self.status.last_good { (self.notes_on_rows(good, accounts, now)) }
        }
    }

    /// Explains why `partner_license_up` is 0 although no poll has failed.
    fn not_polled(&self, context: &Context) -> Markup {
        html! {
            p.note {
                @if self.status.last_good.is_some() { "These rows date from before the start. " }
                "No poll has completed since the start, so " code { "partner_license_up" } " is 0. "
                @match self.status.next_poll_at {
                    Some(at) if at > context.now => {
                        "The first one is due in " (Length::between(context.now, at)) ". To poll now: "
                        code { (context.poll_now) }
                    }
                    _ => "The first one is under way.",
                }
            }
        }
    }

    fn notes_on_rows(&self, good: &LastGood, accounts: &Accounts, now: Timestamp) -> Markup {
        let LastGood { report, failed_since, .. } = good;
        if !good.is_fresh(now, accounts.stale_after) {
            let limit = humantime::format_duration(accounts.stale_after.unwrap_or_default());
            return html! {
                p.note {
                    "The last good rows are older than " code { "stale_after" } " (" (limit)
                    ") and no longer served."
                }
            };
        }
        html! {
            @if self.status.was_polled() && *failed_since {
                p.note {
                    "The rows are those of the last good poll"
                    @if let Some(end) = good.vanishes_at(accounts.stale_after) {
                        ". Unless another one succeeds, they vanish in "
                        (Length::between(now, end)) ", " (time(end))
                    }
                    "."
                }
            }
            @if report.rows().is_empty() {
                (doubt(&html! {
                    "The last good collection is empty: Partner Center sent no rows. "
                    strong { "What to do:" } " " (EMPTY_REMEDY) ". "
                    a href=(link("/runbooks/PartnerLicenseUsageCollectionEmpty")) { "Runbook" }
                }))
            }
            @if self.counts.old > 0 {
                (doubt(&html! {
                    (Count(self.counts.old, "row")) " with figures older than "
                    (OLD_FIGURE_AGE.as_secs() / 86_400) " days: Microsoft no longer updates them. Whether usage is "
                    "low now is not known. "
                    a href=(link("/runbooks/PartnerLicenseUsageDataStale")) { "Runbook" }
                }))
            }
            @if !report.rejected().is_empty() {
                @let dropped = report.rejected().values().sum::<u64>();
                p.note {
                    "Dropped from the last good collection: " (Count(dropped, "row"))
                    " (" (listing(report.rejected())) ")."
                }
            }
        }
    }
}

/// Renders what works but needs attention.
fn doubt(text: &Markup) -> Markup {
    html! { p.doubt { (text) } }
}

fn refresh_token(credentials: &Credentials, now: Timestamp) -> Markup {
    const NAME: &str = "Refresh token";
    match (credentials.refresh_token_expires_at(now), credentials.refresh_token_issued_at) {
        (Some(end), _) => credential(NAME, end, REFRESH_TOKEN_EXPIRES_SOON, now),
        (None, issued_at) if credentials.refresh_token_refused => {
            let detail = issued_at.map(|at| html! { "issued " (time(at)) });
            fact(NAME, attention("refused"), detail)
        }
        (None, _) => fact(NAME, "not renewed yet", Some(html! { "expiry not known" })),
    }
}

/// Renders the expiry of a credential, marked if it is less than `soon` away.
fn credential(name: &str, end: Timestamp, soon: Duration, now: Timestamp) -> Markup {
    let left = Length::between(now, end);
    let text = if end <= now {
        attention(&format!("expired {} ago", Length::between(end, now)))
    } else if now.saturating_add(soon).is_ok_and(|soon| end < soon) {
        attention(&format!("expires soon, in {left}"))
    } else {
        html! { "expires in " (left) }
    };
    fact(name, text, Some(time(end)))
}

fn attention(text: &str) -> Markup {
    html! { strong.attention { (text) } }
}

fn fact(name: &str, value: impl Render, detail: Option<Markup>) -> Markup {
    html! {
        div {
            dt { (name) }
            dd { (value) @if let Some(detail) = detail { " " small { (detail) } } }
        }
    }
}

/// The earliest and the latest time at which a row was processed.
fn processed(rows: &[LicenseUsage]) -> Option<(Timestamp, Timestamp)> {
    let times = rows.iter().map(|row| row.processed_at);
    Some((times.clone().min()?, times.max()?))
}
