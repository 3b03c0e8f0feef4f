//! The rows of a usage report and the JSON they are written as.
//!
//! It does not know who asks, nor which status and headers the answer has.

use std::f64::consts::TAU;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::scenario::{Row, Rows};

/// A part of a report's rows.
#[derive(Clone, Copy, Default)]
pub(super) struct Page<'a> {
    pub(super) rows: &'a [Row],
    /// The continuation token of the next page, if there is one.
    pub(super) next: Option<usize>,
}

/// Writes the compact JSON of a report, without a byte order mark.
pub(super) fn report(page: Page<'_>) -> String {
    let items = page.rows.iter().map(item).collect::<Vec<_>>().join(",");
    let count = page.rows.len();
    // As recorded of other collections: the path is relative and leaves the version out.
    let links = page.next.map_or_else(String::new, |token| {
        format!(
            r#""links":{{"next":{{"uri":"/analytics/licenses/usage?seekOperation=Next","method":"GET","headers":[{{"key":"MS-ContinuationToken","value":"{token}"}}]}}}},"#
        )
    });
    format!(r#"{{"totalCount":{count},"items":[{items}],{links}"attributes":{{"objectType":"Collection"}}}}"#)
}

fn item(row: &Row) -> String {
    let properties = [
        row.percent.map(|percent| property("proratedLicensesUsagePercent", &percent)),
        row.workload.as_ref().map(|workload| property("workloadName", workload)),
        row.processed.as_ref().map(|processed| property("processedDateTime", processed)),
        row.service.as_ref().map(|service| property("serviceName", service)),
        row.channel.as_ref().map(|channel| property("channel", channel)),
        Some(r#""attributes":{"objectType":"PartnerLicensesUsageInsights"}"#.to_owned()),
    ];
    format!("{{{}}}", properties.into_iter().flatten().collect::<Vec<_>>().join(","))
}

fn property(name: &str, value: &impl Serialize) -> String {
    let value = serde_json::to_string(value).expect("numbers and text have a JSON form");
    format!(r#""{name}":{value}"#)
}

/// The rows that a scenario asks for, as they are at `now`.
pub(super) fn rows(rows: &Rows, now: Timestamp) -> Vec<Row> {
    match rows {
        Rows::Documented => documented(),
        Rows::Portfolio => PORTFOLIO.iter().map(|curve| curve.row(now)).collect(),
        Rows::Listed(rows) => rows.clone(),
    }
}

fn documented() -> Vec<Row> {
    [
        ("crm", "Microsoft Dynamics CRM", "2017-03-10T00:00:00+00:00"),
        ("crm", "SharePoint", "2017-03-10T00:00:00+00:00"),
        ("o365", "Exchange", "2017-03-09T00:00:00+00:00"),
        ("o365", "SharePoint", "2017-03-09T00:00:00+00:00"),
        ("o365", "Skype For Business", "2017-03-09T00:00:00+00:00"),
    ]
    .map(|(service, workload, processed)| Row {
        service: Some(service.to_owned()),
        workload: Some(workload.to_owned()),
        channel: Some("reseller".to_owned()),
        percent: Some(0.0),
        processed: Some(processed.to_owned()),
    })
    .into()
}

/// A percentage that swings around its middle.
struct Curve {
    service: &'static str,
    workload: &'static str,
    channel: &'static str,
    middle: f64,
    swing: f64,
    period_minutes: f64,
}

const fn curve(
    service: &'static str,
    channel: &'static str,
    workload: &'static str,
    (middle, swing): (f64, f64),
    period_minutes: f64,
) -> Curve {
    Curve { service, workload, channel, middle, swing, period_minutes }
}

/// One row falls below 40 for some of every five minutes, one stays far below, one above 100.
const PORTFOLIO: [Curve; 14] = [
    curve("o365", "reseller", "Exchange", (91.5, 2.4), 17.0),
    curve("o365", "reseller", "SharePoint", (68.0, 5.5), 13.0),
    curve("o365", "reseller", "OneDrive", (74.2, 4.1), 19.0),
    curve("o365", "reseller", "Teams", (82.7, 6.3), 11.0),
    curve("o365", "reseller", "Skype For Business", (9.4, 2.2), 23.0),
    curve("o365", "reseller", "Yammer", (106.8, 3.9), 15.0),
    curve("o365", "reseller", "Viva Insights", (48.0, 14.0), 5.0),
    curve("o365", "direct", "Exchange", (88.1, 1.8), 21.0),
    curve("o365", "direct", "SharePoint", (59.3, 4.7), 9.0),
    curve("o365", "direct", "OneDrive", (63.9, 3.2), 16.0),
    curve("o365", "direct", "Teams", (77.6, 7.5), 14.0),
    curve("crm", "reseller", "Microsoft Dynamics CRM", (57.4, 6.8), 18.0),
    curve("crm", "reseller", "SharePoint", (51.2, 3.6), 12.0),
    curve("crm", "direct", "Microsoft Dynamics CRM", (65.5, 5.0), 20.0),
];

impl Curve {
    fn row(&self, now: Timestamp) -> Row {
        let days = if self.service == "crm" { 5 } else { 2 };
        Row {
            service: Some(self.service.to_owned()),
            workload: Some(self.workload.to_owned()),
            channel: Some(self.channel.to_owned()),
            percent: Some(self.percent(now)),
            processed: Some(midnight_before(now, days)),
        }
    }

    fn percent(&self, now: Timestamp) -> f64 {
        let turns = now.as_duration().as_secs_f64() / 60.0 / self.period_minutes;
        let percent = self.middle + self.swing * (turns.fract() * TAU).sin();
        (percent * 100.0).round() / 100.0
    }
}

fn midnight_before(now: Timestamp, days: i64) -> String {
    let day = now - SignedDuration::from_hours(24 * days);
    day.strftime("%Y-%m-%dT00:00:00+00:00").to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn at(minute: i64) -> Timestamp {
        "2026-11-23T05:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
    }

    fn portfolio(minute: i64) -> Vec<Row> {
        rows(&Rows::Portfolio, at(minute))
    }

    fn percents_over_a_day(workload: &str) -> Vec<f64> {
        (0..1440)
            .flat_map(portfolio)
            .filter(|row| row.workload.as_deref() == Some(workload))
            .map(|row| row.percent.unwrap())
            .collect()
    }

    #[test]
    fn the_documented_report_is_the_documented_bytes() {
        let fixture = include_bytes!("../../../tests/fixtures/usage-documented-wire-bytes.json");
        let report = report(Page { rows: &rows(&Rows::Documented, at(0)), next: None });
        assert_eq!(["\u{feff}", &report].concat().as_bytes(), fixture);
    }

    #[test]
    fn a_listed_row_leaves_out_what_it_does_not_name_and_escapes_the_rest() {
        let row = Row { workload: Some("a\"b".to_owned()), percent: Some(41.5), ..Row::default() };
        assert_eq!(
            report(Page { rows: &[row], next: None }),
            concat!(
                r#"{"totalCount":1,"items":[{"proratedLicensesUsagePercent":41.5,"workloadName":"a\"b","#,
                r#""attributes":{"objectType":"PartnerLicensesUsageInsights"}}],"#,
                r#""attributes":{"objectType":"Collection"}}"#
            )
        );
    }

    #[test]
    fn the_portfolio_has_one_row_per_service_workload_and_channel() {
        let rows = portfolio(0);
        let keys: BTreeSet<_> = rows.iter().map(|row| (&row.service, &row.workload, &row.channel)).collect();
        assert_eq!((rows.len(), keys.len()), (14, 14));
    }

    #[test]
    fn every_figure_of_the_portfolio_moves_within_minutes_and_has_two_decimals() {
        for index in 0..PORTFOLIO.len() {
            let figures: BTreeSet<_> =
                (0..5).map(|minute| portfolio(minute).remove(index).percent.unwrap().to_string()).collect();
            assert!(figures.len() > 2, "{figures:?}");
            assert!(
                figures
                    .iter()
                    .all(|figure| { figure.split_once('.').is_none_or(|(_, decimals)| decimals.len() <= 2) })
            );
        }
    }

    /// Long enough for an alert that waits for a while, and long enough for it to end.
    #[test]
    fn one_row_is_below_forty_for_between_one_and_two_of_any_five_minutes() {
        let curve = PORTFOLIO.iter().find(|curve| curve.workload == "Viva Insights").unwrap();
        for minute in 0..1440 {
            let seconds = (0..300).map(|second| at(minute) + SignedDuration::from_secs(second));
            let low = seconds.filter(|second| curve.percent(*second) < 40.0).count();
            assert!((60..120).contains(&low), "{low} s from {}", at(minute));
        }
    }

    #[test]
    fn one_row_stays_far_below_forty_and_one_above_a_hundred() {
        assert!(percents_over_a_day("Skype For Business").iter().all(|percent| *percent < 20.0));
        assert!(percents_over_a_day("Yammer").iter().all(|percent| *percent > 100.0));
    }

    #[test]
    fn the_portfolio_was_processed_at_a_midnight_of_the_days_before() {
        let rows = portfolio(0);
        assert_eq!(rows[0].processed.as_deref(), Some("2026-11-21T00:00:00+00:00"));
        assert_eq!(rows[13].processed.as_deref(), Some("2026-11-18T00:00:00+00:00"));
    }
}
