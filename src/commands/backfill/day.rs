//! What the server has of one day, as the samples of the exporter's series.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use exporter_toolkit::negotiation::Format;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::{Prices, Thresholds};
use crate::domain::account::AccountName;
use crate::domain::collection::{Collected, Collection};
use crate::domain::customers::{Customers, Names};
use crate::domain::failure::Failure;
use crate::domain::row::{Row, Rows, Source};
use crate::domain::status::Ledger;
use crate::metrics::{Accounts, Choices, Selection};
use crate::partner::{FetchError, PartnerCenter, Turn};
use crate::polling::Render as _;

use super::progress;

/// How often a day is asked for again after a failure that may end by itself. A pause that the server asks for is no
/// failure, unless it has asked for pauses during all of [`LONGEST_THROTTLING`].
const MOST_FAILURES: u32 = 5;
const LONGEST_THROTTLING: Duration = Duration::from_hours(1);
/// The shortest pause after a failure where the server asked for none; it doubles with each further one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// A longer pause is announced.
const LONG_PAUSE: Duration = Duration::from_secs(5);
/// The count of rows of another day, beside those of rows that were dropped for other reasons.
const OF_ANOTHER_DAY: &str = "of_another_day";

/// What the server has of one day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Day {
    /// The samples, each as in the exposition and without a time; none if the day has no usable row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) samples: Vec<String>,
    /// The numbers of dropped rows, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) dropped: BTreeMap<String, u64>,
    /// Whether the server refused this day, while it answered for others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_refused: bool,
}

/// The families whose samples depend on the rows of a day alone. A threshold is that of today.
const fn families(collection: Collection) -> &'static [&'static str] {
    match collection {
        Collection::Usage => &[
            "partner_license_usage_percent",
            "partner_license_usage_processed_timestamp_seconds",
            "partner_license_usage_active_licenses",
            "partner_license_usage_qualified_licenses",
        ],
        Collection::Deployment => &[
            "partner_license_deployment_percent",
            "partner_license_deployment_sold_licenses",
            "partner_license_deployment_deployed_licenses",
            "partner_license_deployment_processed_timestamp_seconds",
        ],
        Collection::Customers => &[
            "partner_license_customer_active_licenses",
            "partner_license_customer_qualified_licenses",
            "partner_license_customer_sold_licenses",
            "partner_license_customer_deployed_licenses",
            "partner_license_customer_processed_timestamp_seconds",
        ],
    }
}

/// An account whose days are asked for.
pub(crate) struct Past<'a> {
    pub(crate) center: &'a PartnerCenter,
    pub(crate) ledger: &'a Ledger,
    pub(crate) account: Option<&'a AccountName>,
    pub(crate) collection: Collection,
    pub(crate) pace: Duration,
}

impl Past<'_> {
    /// Asks for a day, again after failures that may end by themselves and after the pauses that the server asks for.
    pub(crate) async fn day(&self, day: Date, turn: &mut Turn) -> Result<Day, FetchError> {
        let (began, mut failures) = (Instant::now(), 0);
        loop {
            self.keep_pause().await;
            let error = match self.center.fetch_day(self.collection, day, turn).await {
                Ok(collected) => return Ok(self.of(&collected, day)),
                Err(error) => error,
            };
            if error.status() == Some(204) {
                return Ok(Day::default());
            }
            if is_about_a_day(&error) || !error.is_transient() || failures == MOST_FAILURES {
                let rejected = Failure::from(error.clone()).rejected;
                if rejected.is_empty() {
                    return Err(error);
                }
                // The day has rows, of which none can be used.
                let dropped = rejected.iter().map(|(why, count)| (why.as_str().to_owned(), *count));
                return Ok(Day { dropped: dropped.collect(), ..Day::default() });
            }
            let has_pause = self.pause().is_some();
            if !has_pause {
                sleep(self.pace.max(SHORTEST_PAUSE) * (2 << failures)).await;
            }
            failures += u32::from(is_failure(has_pause, began.elapsed()));
        }
    }

    /// The end of the pause that the server asked for, if it is not over.
    fn pause(&self) -> Option<Instant> {
        self.ledger.read().hold_until.filter(|until| *until > Instant::now())
    }

    /// Waits for the end of the pause that the server asked for.
    async fn keep_pause(&self) {
        let Some(until) = self.pause() else { return };
        let pause = until.duration_since(Instant::now());
        if pause > LONG_PAUSE {
            let pause = humantime::format_duration(Duration::from_secs(pause.as_secs()));
            progress::notice(format_args!("waiting {pause}: the server asked for a pause"));
        }
        sleep_until(until).await;
    }

    /// The samples of the rows that are of this day.
    fn of(&self, collected: &Collected, day: Date) -> Day {
        let mut dropped: BTreeMap<String, u64> =
            collected.rejected().iter().map(|(why, count)| (why.as_str().to_owned(), *count)).collect();
        let of_day = match collected {
            Collected::Usage(rows) => Collected::Usage(rows_of(rows.source(), rows.rows(), day)),
            Collected::Deployment(rows) => Collected::Deployment(rows_of(rows.source(), rows.rows(), day)),
            Collected::Customers(all) => {
                let usage = rows_of(all.source(), all.rows(), day);
                let deployment = rows_of(all.source(), all.deployment(), day);
                Collected::Customers(Customers::new(usage, deployment, Names::new()))
            }
        };
        let others = collected.len() - of_day.len();
        if others > 0 {
            dropped.insert(OF_ANOTHER_DAY.to_owned(), others as u64);
        }
        Day { samples: self.samples(of_day), dropped, is_refused: false }
    }

    /// The samples of rows, exactly as the exporter writes them.
    fn samples(&self, collected: Collected) -> Vec<String> {
        let ledger = Ledger::new(self.account.cloned(), Arc::default());
        ledger.write(|status| {
            status.of_mut(self.collection).poll_ended(Ok(collected), Timestamp::UNIX_EPOCH, Duration::ZERO);
        });
        let accounts = Accounts {
            ledgers: vec![ledger],
            stale_after: None,
            thresholds: Thresholds::default(),
            prices: Prices::default(),
            choices: Choices::default(),
        };
        let selection = Selection::of(families(self.collection).iter().map(|name| (*name).to_owned()));
        let text = accounts.render(Timestamp::UNIX_EPOCH).encode(Format::OpenMetrics, &selection);
        let text = String::from_utf8(text).expect("a text format is UTF-8");
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }
}

impl Day {
    /// A day that the server refuses while it answers for others.
    pub(super) fn refused() -> Self {
        Self { is_refused: true, ..Self::default() }
    }

    /// Whether there is no sample because the server answered with rows of another day.
    pub(super) fn is_of_another_day(&self) -> bool {
        self.samples.is_empty() && self.dropped.contains_key(OF_ANOTHER_DAY)
    }
}

/// Whether an answer counts as a failure, if the server asked for a pause or not, and the day was asked for some time ago.
fn is_failure(has_pause: bool, elapsed: Duration) -> bool {
    !has_pause || elapsed > LONGEST_THROTTLING
}

/// Whether the refusal may be due to the day that was asked for.
pub(super) fn is_about_a_day(error: &FetchError) -> bool {
    matches!(error.status(), Some(400 | 404 | 410))
}

/// The rows that were processed on a day.
fn rows_of<R: Row + Clone>(source: Source, rows: &[R], day: Date) -> Rows<R> {
    let is_of_day = |row: &&R| row.processed_at().to_zoned(TimeZone::UTC).date() == day;
    Rows::collect_from(source, rows.iter().filter(is_of_day).cloned().map(Ok))
}

/// The days from the first to the last one.
pub(crate) fn days(from: Date, to: Date) -> impl DoubleEndedIterator<Item = Date> {
    let count = to.since(from).map_or(-1, |span| i64::from(span.get_days()));
    (0..=count).map(move |n| from.saturating_add(SignedDuration::from_hours(24 * n)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_that_the_server_asks_for_is_a_failure_only_after_an_hour_of_pauses() {
        let hour = Duration::from_hours(1);
        assert!(!is_failure(true, hour));
        assert!(is_failure(true, hour + Duration::from_secs(1)));
        assert!(is_failure(false, Duration::ZERO));
    }
}
