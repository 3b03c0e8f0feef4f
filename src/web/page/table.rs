//! Renders the rows of a collection as a table: usage lowest first, each with a bar against its threshold.

use jiff::Timestamp;
use maud::{Markup, html};

use crate::config::Thresholds;
use crate::domain::deployment::LicenseDeployment;
use crate::domain::usage::LicenseUsage;

use super::text::{Count, Percentage, day, visible};

/// How many rows a collection has, and how many of them are low, old or muted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RowCounts {
    pub(super) rows: usize,
    /// Rows below their threshold.
    pub(super) low: usize,
    /// Rows with a threshold and an old figure.
    pub(super) old: usize,
    /// Rows without a threshold.
    pub(super) muted: usize,
}

impl RowCounts {
    pub(super) fn of(rows: &[LicenseUsage], thresholds: &Thresholds, now: Timestamp) -> Self {
        let mut counts = Self { rows: rows.len(), ..Self::default() };
        for row in rows {
            match thresholds.applying_to(row) {
                Some(threshold) => {
                    counts.low += usize::from(row.percent.get() < threshold);
                    counts.old += usize::from(row.is_old(now));
                }
                None => counts.muted += 1,
            }
        }
        counts
    }
}

impl std::ops::Add for RowCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            low: self.low + other.low,
            old: self.old + other.old,
            muted: self.muted + other.muted,
        }
    }
}

/// The percentage at the full length of a bar, so that there is room above 100 %.
const FULL_LENGTH_PERCENT: f64 = 125.0;

/// Renders the `most` lowest of `rows`, whose counts are `counts`, as they are at `now`.
pub(super) fn table(
    rows: &[LicenseUsage],
    thresholds: &Thresholds,
    counts: RowCounts,
    (most, now): (usize, Timestamp),
) -> Markup {
    html! {
        table {
            caption {
                (Count(counts.rows, "row")) ", lowest first"
                @for (count, word) in [(counts.low, "low"), (counts.old, "old"), (counts.muted, "muted")] {
                    @if count > 0 { " · " (count) " " (word) }
                }
                @if counts.rows > most { ". Only the lowest " (most) " are shown; the metrics have all of them" }
                "."
            }
            thead {
                tr {
                    @for title in ["Workload", "Service", "Channel", "Usage", "Threshold", "Data of"] {
                        th scope="col" { (title) }
                    }
                }
            }
            tbody {
                @for row in lowest(rows, most) { (table_row(row, thresholds.applying_to(row), now)) }
            }
        }
    }
}

/// Renders the `most` first of the rows of a deployment collection.
pub(super) fn deployment_table(rows: &[LicenseDeployment], most: usize) -> Markup {
    html! {
        table.deployment {
            caption {
                (Count(rows.len(), "row"))
                @if rows.len() > most { ". Only the first " (most) " are shown; the metrics have all of them" }
                "."
            }
            thead {
                tr {
                    @for title in ["Service", "Channel", "Sold", "Assigned", "Share", "Data of"] {
                        th scope="col" { (title) }
                    }
                }
            }
            tbody {
                @for row in rows.iter().take(most) {
                    tr {
                        th scope="row" { (visible(&row.service)) }
                        td { (visible(&row.channel)) }
                        @for number in [row.sold, row.deployed] {
                            td { @if let Some(number) = number { (number) } @else { "not known" } }
                        }
                        td { (Percentage { percent: row.percent.get(), low_below: None }) }
                        td { (day(row.processed_at)) }
                    }
                }
            }
        }
    }
}

/// The `most` lowest rows; of equal rows the first by name.
fn lowest(rows: &[LicenseUsage], most: usize) -> impl Iterator<Item = &LicenseUsage> {
    let mut order: Vec<(f64, usize)> =
        rows.iter().enumerate().map(|(n, row)| (row.percent.get(), n)).collect();
    let by_percent = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if order.len() > most {
        order.select_nth_unstable_by(most, by_percent);
        order.truncate(most);
    }
    order.sort_unstable_by(by_percent);
    order.into_iter().map(|(_, n)| &rows[n])
}

fn table_row(row: &LicenseUsage, threshold: Option<f64>, now: Timestamp) -> Markup {
    let percent = row.percent.get();
    let is_low = threshold.is_some_and(|threshold| percent < threshold);
    let class = if is_low { Some("low") } else { threshold.is_none().then_some("muted") };
    html! {
        tr class=[class] {
            th scope="row" { (visible(&row.workload)) }
            td { (visible(&row.service)) }
            td { (visible(&row.channel)) }
            td {
                span { (Percentage { percent, low_below: threshold }) }
                (bar(percent, threshold))
                @if is_low { " " b { "low" } }
            }
            td { @if let Some(threshold) = threshold { (threshold) " %" } @else { "muted" } }
            td {
                (day(row.processed_at))
                @if threshold.is_some() && row.is_old(now) { " " b { "old" } }
            }
        }
    }
}

/// Renders a percentage as a bar with a mark at its threshold. Screen readers skip it, because the text beside it says
/// the same.
fn bar(percent: f64, threshold: Option<f64>) -> Markup {
    let share = |percent: f64| (percent / FULL_LENGTH_PERCENT * 100.0).min(100.0);
    html! {
        svg.bar width="160" height="10" aria-hidden="true" {
            rect width={ (format_args!("{:.1}", share(percent))) "%" } height="100%" {}
            // A gap shows that the bar is cut off.
            @if percent > FULL_LENGTH_PERCENT { rect.gap x="92%" width="3" height="100%" {} }
            @if let Some(threshold) = threshold {
                rect.mark x={ (format_args!("{:.1}", share(threshold).min(99.0))) "%" } width="2" height="100%" {}
            }
        }
    }
}
