//! The JSON of the usage and deployment reports, and the rows behind the names that a scenario uses for them.
//!
//! It does not know who requests a report, nor the status and headers of the response.

use serde::Serialize;
use serde_json::json;

use crate::portfolio::{Curve, Portfolio, SERVICES, WORKLOADS};
use crate::rows::{Properties, ReportRow, ReportRows, Rows};

/// One page of a report.
#[derive(Clone, Copy)]
pub(crate) struct ReportPage<'a> {
    /// The last part of the report's path.
    pub(crate) name: &'static str,
    /// The rows, as JSON.
    pub(crate) items: &'a [String],
    /// The continuation token of the next page, if there is one.
    pub(crate) next: Option<usize>,
}

/// Writes a page as compact JSON, without a byte order mark.
pub(crate) fn json(page: ReportPage<'_>) -> String {
    let ReportPage { name, items, next } = page;
    let (count, items) = (items.len(), items.join(","));
    // As recorded from other collections: the path is relative and omits the version.
    let links = next.map_or_else(String::new, |token| {
        format!(
            r#""links":{{"next":{{"uri":"/analytics/licenses/{name}?seekOperation=Next","method":"GET","headers":[{{"key":"MS-ContinuationToken","value":"{token}"}}]}}}},"#
        )
    });
    format!(r#"{{"totalCount":{count},"items":[{items}],{links}"attributes":{{"objectType":"Collection"}}}}"#)
}

/// The rows of a usage report, as JSON.
pub(crate) fn usage(rows: &ReportRows, portfolio: &Portfolio) -> Vec<String> {
    usage_rows(rows, portfolio).iter().map(usage_item).collect()
}

fn usage_item(row: &ReportRow) -> String {
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

/// The rows that a scenario selects.
fn usage_rows(rows: &ReportRows, portfolio: &Portfolio) -> Vec<ReportRow> {
    match rows {
        Rows::Documented => documented(),
        Rows::Portfolio => {
            let row = |curve| {
                let total = portfolio.total(curve);
                ReportRow {
                    service: Some(curve.service.to_owned()),
                    workload: Some(curve.workload.to_owned()),
                    channel: Some(curve.channel.to_owned()),
                    percent: Some(total.counts.percent()),
                    processed: Some(processed(portfolio, curve)),
                }
            };
            portfolio.processed(&WORKLOADS).into_iter().map(row).collect()
        }
        Rows::Listed(rows) => rows.clone(),
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

/// The rows of a deployment report, as JSON.
pub(crate) fn deployment(rows: &Rows<Properties>, portfolio: &Portfolio) -> Vec<String> {
    const DOCUMENTED: &str = r#"[
        {"proratedDeploymentPercent": 0.0, "licensesSold": 343, "processedDateTime": "2017-03-10T00:00:00+00:00",
         "serviceName": "crm", "channel": "reseller"},
        {"proratedDeploymentPercent": 1.0, "licensesSold": 4464, "processedDateTime": "2017-03-14T03:25:16.36+00:00",
         "serviceName": "o365", "channel": "reseller"}]"#;
    let mut rows: Vec<Properties> = match rows {
        Rows::Documented => serde_json::from_str(DOCUMENTED).expect("the documented rows are JSON"),
        Rows::Portfolio => {
            let row = |curve: &'static Curve| {
                let counts = portfolio.total(curve).counts;
                let properties = [
                    ("proratedDeploymentPercent", json!(counts.percent())),
                    ("licensesSold", json!(counts.total)),
                    ("processedDateTime", json!(processed(portfolio, curve))),
                    ("serviceName", json!(curve.service)),
                    ("channel", json!(curve.channel)),
                ];
                properties.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
            };
            portfolio.processed(&SERVICES).into_iter().map(row).collect()
        }
        Rows::Listed(rows) => rows.clone(),
    };
    for row in &mut rows {
        row.entry("attributes").or_insert_with(|| json!({"objectType": "PartnerLicensesDeploymentInsights"}));
    }
    rows.iter().map(|row| json!(row).to_string()).collect()
}

fn processed(portfolio: &Portfolio, curve: &Curve) -> String {
    format!("{}T00:00:00+00:00", portfolio.day(curve))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::portfolio::Customers;

    fn at(minute: i64) -> Timestamp {
        "2026-11-23T05:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
    }

    fn partner(now: Timestamp) -> Portfolio {
        Portfolio::new(Customers::default(), now, None)
    }

    fn portfolio(minute: i64) -> Vec<ReportRow> {
        usage_rows(&ReportRows::Portfolio, &partner(at(minute)))
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
        let items = usage(&ReportRows::Documented, &partner(at(0)));
        let report = json(ReportPage { name: "usage", items: &items, next: None });
        assert_eq!(["\u{feff}", &report].concat().as_bytes(), fixture);
    }

    #[test]
    fn a_listed_row_omits_absent_properties_and_escapes_the_others() {
        let row =
            ReportRow { workload: Some("a\"b".to_owned()), percent: Some(41.5), ..ReportRow::default() };
        assert_eq!(
            json(ReportPage { name: "usage", items: &[usage_item(&row)], next: None }),
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
        for index in 0..WORKLOADS.len() {
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
        let curve = WORKLOADS.iter().find(|curve| curve.workload == "Viva Insights").unwrap();
        for minute in 0..1440 {
            let seconds = (0..300).map(|second| at(minute) + SignedDuration::from_secs(second));
            let low = seconds.filter(|second| partner(*second).total(curve).counts.percent() < 40.0).count();
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
