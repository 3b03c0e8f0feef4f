//! The JSON of the usage and deployment reports, and the rows behind the names that a scenario uses for them.
//!
//! It does not know who requests a report, nor the status and headers of the response.

use serde_json::{Value, json};

use crate::portfolio::{Curve, Holding, Portfolio, SERVICES, WORKLOADS};
use crate::rows::{Properties, ReportRow, Rows};

/// One of the two reports.
pub(crate) struct Report {
    /// The last part of its path.
    name: &'static str,
    object_type: &'static str,
    curves: &'static [Curve],
    /// The properties of a row of the portfolio, apart from those that both reports have.
    properties: fn(&Holding<'_>) -> Value,
    documented: &'static str,
}

pub(crate) const USAGE: Report = Report {
    name: "usage",
    object_type: "PartnerLicensesUsageInsights",
    curves: &WORKLOADS,
    properties: |holding| json!({"proratedLicensesUsagePercent": holding.counts.percent(), "workloadName": holding.curve.workload}),
    documented: r#"[
        {"proratedLicensesUsagePercent": 0.0, "workloadName": "Microsoft Dynamics CRM",
         "processedDateTime": "2017-03-10T00:00:00+00:00", "serviceName": "crm", "channel": "reseller"},
        {"proratedLicensesUsagePercent": 0.0, "workloadName": "SharePoint",
         "processedDateTime": "2017-03-10T00:00:00+00:00", "serviceName": "crm", "channel": "reseller"},
        {"proratedLicensesUsagePercent": 0.0, "workloadName": "Exchange",
         "processedDateTime": "2017-03-09T00:00:00+00:00", "serviceName": "o365", "channel": "reseller"},
        {"proratedLicensesUsagePercent": 0.0, "workloadName": "SharePoint",
         "processedDateTime": "2017-03-09T00:00:00+00:00", "serviceName": "o365", "channel": "reseller"},
        {"proratedLicensesUsagePercent": 0.0, "workloadName": "Skype For Business",
         "processedDateTime": "2017-03-09T00:00:00+00:00", "serviceName": "o365", "channel": "reseller"}]"#,
};

pub(crate) const DEPLOYMENT: Report = Report {
    name: "deployment",
    object_type: "PartnerLicensesDeploymentInsights",
    curves: &SERVICES,
    properties: |holding| json!({"proratedDeploymentPercent": holding.counts.percent(), "licensesSold": holding.counts.total}),
    documented: r#"[
        {"proratedDeploymentPercent": 0.0, "licensesSold": 343, "processedDateTime": "2017-03-10T00:00:00+00:00",
         "serviceName": "crm", "channel": "reseller"},
        {"proratedDeploymentPercent": 1.0, "licensesSold": 4464,
         "processedDateTime": "2017-03-14T03:25:16.36+00:00", "serviceName": "o365", "channel": "reseller"}]"#,
};

impl Report {
    /// Writes the page after some rows as compact JSON, without a byte order mark, or returns `None` if there are fewer
    /// rows; the continuation token is the number of rows before a page, and 0 stands for a page of any size.
    pub(crate) fn page(&self, rows: &[Properties], start: usize, size: usize) -> Option<String> {
        let (_, rest) = rows.split_at_checked(start)?;
        let size = if size == 0 { rest.len() } else { size.min(rest.len()) };
        let (rows, others) = rest.split_at_checked(size)?;
        let mut page = json!({"totalCount": size, "items": rows});
        if !others.is_empty() {
            // As recorded from other collections: the path is relative and omits the version.
            page["links"] = json!({"next": {
                "uri": format!("/analytics/licenses/{}?seekOperation=Next", self.name),
                "method": "GET",
                "headers": [{"key": "MS-ContinuationToken", "value": (start + size).to_string()}],
            }});
        }
        page["attributes"] = json!({"objectType": "Collection"});
        Some(page.to_string())
    }

    /// The rows that a scenario selects.
    pub(crate) fn rows(&self, rows: &Rows<Properties>, portfolio: &Portfolio) -> Vec<Properties> {
        let mut rows: Vec<Properties> = match rows {
            Rows::Documented => serde_json::from_str(self.documented).expect("the documented rows are JSON"),
            Rows::Portfolio => {
                let row = |curve| {
                    let mut row = (self.properties)(&portfolio.total(curve));
                    row["processedDateTime"] = format!("{}T00:00:00+00:00", portfolio.day(curve)).into();
                    row["serviceName"] = curve.service.into();
                    row["channel"] = curve.channel.into();
                    serde_json::from_value(row).expect("a row is an object")
                };
                portfolio.processed(self.curves).into_iter().map(row).collect()
            }
            Rows::Listed(rows) => rows.clone(),
        };
        for row in &mut rows {
            row.entry("attributes").or_insert_with(|| json!({"objectType": self.object_type}));
        }
        rows
    }
}

/// The properties that the response has for a row of a usage report.
pub(crate) fn properties(row: &ReportRow) -> Properties {
    let properties = [
        ("proratedLicensesUsagePercent", row.percent.map(Value::from)),
        ("workloadName", row.workload.clone().map(Value::from)),
        ("processedDateTime", row.processed.clone().map(Value::from)),
        ("serviceName", row.service.clone().map(Value::from)),
        ("channel", row.channel.clone().map(Value::from)),
    ];
    properties.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
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

    fn portfolio(minute: i64) -> Vec<Properties> {
        USAGE.rows(&Rows::Portfolio, &partner(at(minute)))
    }

    fn percent(row: &Properties) -> f64 {
        row["proratedLicensesUsagePercent"].as_f64().unwrap()
    }

    fn percents_over_a_day(workload: &str) -> Vec<f64> {
        (0..1440)
            .flat_map(portfolio)
            .filter(|row| row["workloadName"] == workload)
            .map(|row| percent(&row))
            .collect()
    }

    #[test]
    fn the_documented_report_has_the_documented_bytes() {
        let fixture = include_bytes!("../../../tests/fixtures/usage-documented-wire-bytes.json");
        let rows = USAGE.rows(&Rows::Documented, &partner(at(0)));
        let report = USAGE.page(&rows, 0, 0).unwrap();
        assert_eq!(["\u{feff}", &report].concat().as_bytes(), fixture);
    }

    #[test]
    fn a_listed_row_omits_absent_properties_and_escapes_the_others() {
        let row =
            ReportRow { workload: Some("a\"b".to_owned()), percent: Some(41.5), ..ReportRow::default() };
        assert_eq!(
            USAGE.page(&USAGE.rows(&Rows::Listed(vec![properties(&row)]), &partner(at(0))), 0, 0).unwrap(),
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
        let keys: BTreeSet<_> = rows
            .iter()
            .map(|row| ["serviceName", "workloadName", "channel"].map(|name| row[name].to_string()))
            .collect();
        assert_eq!((rows.len(), keys.len()), (14, 14));
    }

    #[test]
    fn every_portfolio_figure_changes_within_minutes_and_has_at_most_two_decimals() {
        for index in 0..WORKLOADS.len() {
            let figures: BTreeSet<_> =
                (0..5).map(|minute| percent(&portfolio(minute)[index]).to_string()).collect();
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
        assert_eq!(rows[0]["processedDateTime"], "2026-11-21T00:00:00+00:00");
        assert_eq!(rows[13]["processedDateTime"], "2026-11-18T00:00:00+00:00");
    }
}
