//! Renders one collection of an account: whether it works and since when, its polls and its rows.

use jiff::Timestamp;
use maud::{Markup, html};

use crate::domain::collection::{Collected, Collection};
use crate::domain::customers::{Choice, Limits};
use crate::domain::failure::{Failure, FailureReason};
use crate::domain::polled::{CollectionStatus, LastGood};
use crate::domain::row::Source;
use crate::domain::row::listing;
use crate::domain::schedule::LastPoll;
use crate::domain::usage::{EMPTY_REMEDY, OLD_FIGURE_AGE};
use crate::metrics::Accounts;

use super::context::Context;
use super::fact::fact;
use super::limits::{OVERDUE_INTERVALS, is_overdue};
use super::table::{RowCounts, deployment_table, table};
use super::text::{Count, Length, day, link, time, visible, with_commands};
use super::worst::worst_customers;

/// A collection of an account as the page shows it.
pub(super) struct CollectionView {
    pub(super) collection: Collection,
    pub(super) state: CollectionState,
    pub(super) counts: RowCounts,
    status: CollectionStatus,
    limits: Limits,
}

/// Whether a collection works, in the order in which accounts are listed: those that need a person come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CollectionState {
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

impl CollectionState {
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

impl CollectionView {
    pub(super) fn new(
        collection: Collection,
        (status, limits): (CollectionStatus, Limits),
        accounts: &Accounts,
        now: Timestamp,
    ) -> Self {
        let good = status.visible(now, accounts.stale_after);
        let rows = good.map_or(0, |good| good.report.len());
        let usage = good.map_or(&[][..], |good| good.report.usage());
        let counts = RowCounts { rows, ..RowCounts::of(usage, &accounts.thresholds, now) };
        let overdue =
            status.last_good.as_ref().is_some_and(|good| is_overdue(good.at, status.poll_interval, now));
        let state = match status.last_poll {
            LastPoll::Never => CollectionState::Waiting,
            LastPoll::Failed { .. } => CollectionState::Failing,
            LastPoll::Succeeded if overdue => CollectionState::Overdue,
            LastPoll::Succeeded if counts.rows == 0 => CollectionState::NoRows,
            LastPoll::Succeeded if counts.old > 0 => CollectionState::OldFigures,
            LastPoll::Succeeded => CollectionState::Working,
        };
        Self { collection, state, counts, status, limits }
    }

    /// The name of the collection for people.
    pub(super) const fn title(&self) -> &'static str {
        match self.collection {
            Collection::Usage => "Usage",
            Collection::Deployment => "Deployment",
            Collection::Customers => "Customers",
        }
    }

    /// The reason under which the failure is counted, if the last poll failed.
    pub(super) fn reason(&self) -> Option<FailureReason> {
        Some(self.status.failure()?.reason)
    }

    /// The state, and since when.
    pub(super) fn head(&self, now: Timestamp) -> Markup {
        html! {
            p {
                strong.state.(self.state.class()) { (self.state.word()) }
                @if let Some(since) = self.status.outcome_since {
                    @if self.state.class() == "doubtful" { " · polls have succeeded" }
                    " since " (time(since)) ", for " (Length::between(since, now))
                }
            }
        }
    }

    /// The failure of the last poll, if it failed.
    pub(super) fn failure(&self, now: Timestamp) -> Option<Markup> {
        Some(self.describe(self.status.failure()?, now))
    }

    /// The `most` lowest rows of the account with this name, if there are any that can be shown.
    pub(super) fn rows(
        &self,
        account: Option<&str>,
        accounts: &Accounts,
        (most, now): (usize, Timestamp),
    ) -> Option<Markup> {
        let good = self.status.visible(now, accounts.stale_after)?;
        match &*good.report {
            Collected::Usage(_) if good.report.is_empty() => None,
            Collected::Usage(usage) => {
                Some(table(usage.rows(), &accounts.thresholds, self.counts, (most, now)))
            }
            Collected::Deployment(rows) => {
                (!good.report.is_empty()).then(|| deployment_table(rows.rows(), most))
            }
            Collected::Customers(customers) => {
                let choice = accounts.choices.of(&good.report, self.limits, &accounts.thresholds);
                Some(html! {
                    (published(customers.count(), &choice))
                    (worst_customers((account, customers), &choice, (self.limits, &accounts.thresholds)))
                })
            }
        }
    }

    fn describe(&self, failure: &Failure, now: Timestamp) -> Markup {
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

    /// Where the rows of usage came from, if that is not the usual source.
    fn source(&self) -> Option<&'static str> {
        let source = self.status.last_good.as_ref()?.report.source();
        (source == Source::Commercial).then_some("analytics/commercial")
    }

    /// When rows were fetched, when Microsoft made them, and when the next poll is due.
    pub(super) fn facts(&self, accounts: &Accounts, now: Timestamp) -> Markup {
        let status = &self.status;
        let processed = status.visible(now, accounts.stale_after).and_then(|good| good.report.processed());
        let ago = |at, doubtful| {
            let text = format!("{} ago", Length::between(at, now));
            html! { @if doubtful { strong.doubtful { (text) } } @else { (text) } }
        };
        html! {
            @match status.last_good.as_ref().map(|good| good.at) {
                Some(at) => {
                    (fact("Rows fetched", ago(at, is_overdue(at, status.poll_interval, now)), Some(time(at))))
                }
                None => (fact("Rows fetched", "never", None)),
            }
            @if let Some(source) = self.source() { (fact("Source", source, None)) }
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
        }
    }

    /// What a reader should know about the rows, or why there are none.
    pub(super) fn notes(&self, accounts: &Accounts, context: &Context) -> Markup {
        let now = context.now;
        html! {
            @if !self.status.was_polled() { (self.not_polled(context)) }
            @if self.state == CollectionState::Overdue {
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
            @if report.is_empty() {
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

/// Renders how much of the customers is published.
fn published(customers: usize, choice: &Choice) -> Markup {
    let rows = choice.rows.len();
    html! {
        p.note {
            (Count(customers, "customer")) " with " (Count(rows + choice.withheld, "row")) ", of which " (choice.low)
            " low. Published: " (rows)
            @if choice.withheld > 0 {
                "; withheld by the setting " code { "series" } ": " (choice.withheld)
            }
            ". "
            a href=(link("/customers")) { "All rows" } " · "
            a href=(link("/concepts/the-numbers")) { "What the numbers mean" }
        }
    }
}

/// Renders what works but needs attention.
fn doubt(text: &Markup) -> Markup {
    html! { p.doubt { (text) } }
}
