//! Renders one account: whether it works and since when, its polls, its credentials and its rows.

use std::time::Duration;

use jiff::Timestamp;
use maud::{Markup, Render, html};

use crate::domain::failure::Failure;
use crate::domain::schedule::LastPoll;
use crate::domain::status::{AccountStatus, Credentials, LastGood};
use crate::domain::usage::{LicenseUsage, listing};
use crate::metrics::Accounts;

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
    Waiting,
    Working,
}

/// A refresh token with less time left is marked; the alert rules have the same limit.
const REFRESH_TOKEN_EXPIRES_SOON: Duration = Duration::from_hours(24 * 30);
/// A certificate with less time left is marked; the alert rules have the same limit.
const CERTIFICATE_EXPIRES_SOON: Duration = Duration::from_hours(24 * 14);

impl AccountState {
    pub(super) const ALL: [Self; 3] = [Self::Failing, Self::Waiting, Self::Working];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Waiting => "not polled yet",
            Self::Working => "working",
        }
    }

    /// The CSS class, to which style.css gives colour and shape.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Waiting => "waiting",
            Self::Working => "working",
        }
    }
}

impl AccountView {
    pub(super) fn new(number: usize, status: AccountStatus, accounts: &Accounts, now: Timestamp) -> Self {
        let state = match status.last_poll {
            LastPoll::Never => AccountState::Waiting,
            LastPoll::Succeeded => AccountState::Working,
            LastPoll::Failed { .. } => AccountState::Failing,
        };
        let rows = status.visible(now, accounts.stale_after).map(|good| good.report.rows());
        let counts = RowCounts::of(rows.unwrap_or_default(), &accounts.thresholds);
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
    pub(super) fn section(&self, accounts: &Accounts, now: Timestamp, most: usize) -> Markup {
        let (status, id) = (&self.status, format!("account-{}", self.number));
        html! {
            section aria-labelledby=(id) {
                div.head {
                    h2 id=(id) { (self.name()) }
                    p {
                        strong.state.(self.state.class()) { (self.state.word()) }
                        @if let Some(since) = status.outcome_since {
                            " since " (time(since)) ", for " (Length::between(since, now))
                        }
                    }
                }
                @if let Some(failure) = status.failure() { (self.failure(failure, now)) }
                (self.facts(accounts, now))
                (self.notes(accounts, now))
                @if let Some(good) = status.visible(now, accounts.stale_after) && self.counts.rows > 0 {
                    (table(good.report.rows(), &accounts.thresholds, self.counts, most))
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
                    strong { "What to do:" } " " (with_commands(failure.remedy)) ". "
                    a href=(link("/runbooks/PartnerLicenseScrapeFailing")) { "Runbook" }
                }
            }
        }
    }

    fn facts(&self, accounts: &Accounts, now: Timestamp) -> Markup {
        let status = &self.status;
        let processed =
            status.visible(now, accounts.stale_after).and_then(|good| processed(good.report.rows()));
        let Credentials { refresh_token_issued_at, client_certificate_expires_at, mfa_compliant, .. } =
            status.credentials;
        let lifetime = Credentials::REFRESH_TOKEN_LIFETIME;
        let refresh_token_expires_at =
            refresh_token_issued_at.map(|at| at.saturating_add(lifetime).unwrap_or(Timestamp::MAX));
        let ago = |at| html! { (Length::between(at, now)) " ago" };
        html! {
            dl {
                @match status.last_good.as_ref().map(|good| good.at) {
                    Some(at) => (fact("Rows fetched", ago(at), Some(time(at)))),
                    None => (fact("Rows fetched", "never", None)),
                }
                @if let Some((oldest, newest)) = processed {
                    @let detail = html! { (day(newest)) @if oldest < newest { ", oldest " (day(oldest)) } };
                    (fact("Data processed", ago(newest), Some(detail)))
                }
                @match status.next_poll_at {
                    Some(at) if at > now => {
                        (fact("Next poll", html! { "in " (Length::between(now, at)) }, Some(time(at))))
                    }
                    Some(_) => (fact("Next poll", "under way", None)),
                    None => {}
                }
                @match refresh_token_expires_at {
                    Some(end) => (credential("Refresh token", end, REFRESH_TOKEN_EXPIRES_SOON, now)),
                    None => (fact("Refresh token", "not renewed yet", Some(html! { "expiry not known" }))),
                }
                @if let Some(end) = client_certificate_expires_at {
                    (credential("Client certificate", end, CERTIFICATE_EXPIRES_SOON, now))
                }
                @match mfa_compliant {
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
    fn notes(&self, accounts: &Accounts, now: Timestamp) -> Markup {
        let Some(good) = &self.status.last_good else { return Markup::default() };
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
            @if !self.status.was_polled() {
                p.note { "These rows date from before the start; no poll has completed since then." }
            } @else if *failed_since {
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
                p.note { "The last good collection was empty: Partner Center sent no rows." }
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
