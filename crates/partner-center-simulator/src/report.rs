//! The rows behind the names that a scenario uses, and the JSON of a usage report.
//!
//! It does not know who requests a report, nor the status and headers of the response.

use std::f64::consts::TAU;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::rows::{ReportRow, ReportRows};

/// One page of a report.
#[derive(Clone, Copy, Default)]
pub(crate) struct ReportPage<'a> {
    pub(crate) rows: &'a [ReportRow],
    /// The continuation token of the next page, if there is one.
    pub(crate) next: Option<usize>,
}

/// Writes a page as compact JSON, without a byte order mark.
pub(crate) fn json(page: ReportPage<'_>) -> String {
    let items = page.rows.iter().map(item).collect::<Vec<_>>().join(",");
    let count = page.rows.len();
    // As recorded from other collections: the path is relative and omits the version.
    let links = page.next.map_or_else(String::new, |token| {
        format!(
            r#""links":{{"next":{{"uri":"/analytics/licenses/usage?seekOperation=Next","method":"GET","headers":[{{"key":"MS-ContinuationToken","value":"{token}"}}]}}}},"#
        )
    });
    format!(r#"{{"totalCount":{count},"items":[{items}],{links}"attributes":{{"objectType":"Collection"}}}}"#)
}

fn item(row: &ReportRow) -> String {
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
    let value = serde_json::to_string(value).expect("numbers and text serialise to JSON");
    format!(r#""{name}":{value}"#)
}

/// The rows that a scenario selects, with their figures at `now`.
pub(crate) fn rows(rows: &ReportRows, now: Timestamp) -> Vec<ReportRow> {
    match rows {
        ReportRows::Documented => documented(),
        ReportRows::Portfolio => PORTFOLIO.iter().map(|curve| curve.row(now)).collect(),
        ReportRows::Listed(rows) => rows.clone(),
    }
}

fn documented() -> Vec<ReportRow> {
    [
        ("crm", "Microsoft Dynamics CRM", "2017-03-10T00:00:00+00:00"),
        ("crm", "SharePoint", "2017-03-10T00:00:00+00:00"),
        ("o365", "Exchange", "2017-03-09T00:00:00+00:00"),
        ("o365", "SharePoint", "2017-03-09T00:00:00+00:00"),
        ("o365", "Skype For Business", "2017-03-09T00:00:00+00:00"),
    ]
    .map(|(service, workload, processed)| ReportRow {
        service: Some(service.to_owned()),
        workload: Some(workload.to_owned()),
        channel: Some("reseller".to_owned()),
        percent: Some(0.0),
        processed: Some(processed.to_owned()),
    })
    .into()
}

/// A row whose percentage oscillates around a mean.
///
/// The fields are the service, the channel, the workload, the mean, the amplitude and the period in minutes.
struct Curve(&'static str, &'static str, &'static str, f64, f64, f64);

/// One row falls below 40 for a part of every five minutes, one stays far below 40, and one stays above 100.
const PORTFOLIO: [Curve; 14] = [
    Curve("o365", "reseller", "Exchange", 91.5, 2.4, 17.0),
    Curve("o365", "reseller", "SharePoint", 68.0, 5.5, 13.0),
    Curve("o365", "reseller", "OneDrive", 74.2, 4.1, 19.0),
    Curve("o365", "reseller", "Teams", 82.7, 6.3, 11.0),
    Curve("o365", "reseller", "Skype For Business", 9.4, 2.2, 23.0),
    Curve("o365", "reseller", "Yammer", 106.8, 3.9, 15.0),
    Curve("o365", "reseller", "Viva Insights", 48.0, 14.0, 5.0),
    Curve("o365", "direct", "Exchange", 88.1, 1.8, 21.0),
    Curve("o365", "direct", "SharePoint", 59.3, 4.7, 9.0),
    Curve("o365", "direct", "OneDrive", 63.9, 3.2, 16.0),
    Curve("o365", "direct", "Teams", 77.6, 7.5, 14.0),
    Curve("crm", "reseller", "Microsoft Dynamics CRM", 57.4, 6.8, 18.0),
    Curve("crm", "reseller", "SharePoint", 51.2, 3.6, 12.0),
    Curve("crm", "direct", "Microsoft Dynamics CRM", 65.5, 5.0, 20.0),
];

impl Curve {
    fn row(&self, now: Timestamp) -> ReportRow {
        let &Self(service, channel, workload, ..) = self;
        ReportRow {
            service: Some(service.to_owned()),
            workload: Some(workload.to_owned()),
            channel: Some(channel.to_owned()),
            percent: Some(self.percent(now)),
            processed: Some(midnight_before(now, if service == "crm" { 5 } else { 2 })),
        }
    }

    fn percent(&self, now: Timestamp) -> f64 {
        let &Self(.., mean, amplitude, period) = self;
        let turns = now.as_duration().as_secs_f64() / 60.0 / period;
        let percent = mean + amplitude * (turns.fract() * TAU).sin();
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

    fn portfolio(minute: i64) -> Vec<ReportRow> {
        rows(&ReportRows::Portfolio, at(minute))
    }

    fn percents_over_a_day(workload: &str) -> Vec<f64> {
        (0..1440)
            .flat_map(portfolio)
            .filter(|row| row.workload.as_deref() == Some(workload))
            .map(|row| row.percent.unwrap())
            .collect()
    }

    #[test]
    fn the_documented_report_has_the_documented_bytes() {
        let fixture = include_bytes!("../../../tests/fixtures/usage-documented-wire-bytes.json");
        let report = json(ReportPage { rows: &rows(&ReportRows::Documented, at(0)), next: None });
        assert_eq!(["\u{feff}", &report].concat().as_bytes(), fixture);
    }

    #[test]
    fn a_listed_row_omits_absent_properties_and_escapes_the_others() {
        let row =
            ReportRow { workload: Some("a\"b".to_owned()), percent: Some(41.5), ..ReportRow::default() };
        assert_eq!(
            json(ReportPage { rows: &[row], next: None }),
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
    fn every_portfolio_figure_changes_within_minutes_and_has_at_most_two_decimals() {
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

    /// So an alert with a short waiting time fires, and then resolves.
    #[test]
    fn one_row_is_below_forty_for_one_to_two_of_any_five_minutes() {
        let curve = PORTFOLIO.iter().find(|Curve(_, _, workload, ..)| *workload == "Viva Insights").unwrap();
        for minute in 0..1440 {
            let seconds = (0..300).map(|second| at(minute) + SignedDuration::from_secs(second));
            let low = seconds.filter(|second| curve.percent(*second) < 40.0).count();
            assert!((60..120).contains(&low), "{low} s from {}", at(minute));
        }
    }

    #[test]
    fn one_row_stays_far_below_forty_and_one_stays_above_a_hundred() {
        assert!(percents_over_a_day("Skype For Business").iter().all(|percent| *percent < 20.0));
        assert!(percents_over_a_day("Yammer").iter().all(|percent| *percent > 100.0));
    }

    #[test]
    fn the_portfolio_was_processed_at_midnight_some_days_ago() {
        let rows = portfolio(0);
        assert_eq!(rows[0].processed.as_deref(), Some("2026-11-21T00:00:00+00:00"));
        assert_eq!(rows[13].processed.as_deref(), Some("2026-11-18T00:00:00+00:00"));
    }
}
