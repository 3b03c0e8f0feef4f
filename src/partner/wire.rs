//! The rows of Partner Center's old collections, `/v1/analytics/licenses`, in their documented JSON.
//!
//! A row that cannot be used is counted and dropped. A collection without a usable row among its rows is an error.

use std::collections::BTreeMap;

use crate::domain::deployment::LicenseDeployment;
use crate::domain::row::{Incoming, Row, RowError, Rows, Source, listing};
use crate::domain::usage::LicenseUsage;

use super::fields::{Field, Fields, count, percent};
use super::page::{Envelope, Item, Next, PageError, read_page};

/// Why a body is not a page of a collection, or why the pages together are not usable.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The body is not a page of a collection.
    #[error(transparent)]
    Page(#[from] PageError),
    /// Every row was dropped, so the format of rows must have changed.
    #[error("none of the rows can be used: {}", listing(.0))]
    NothingUsable(BTreeMap<RowError, u64>),
    /// There are more rows than services, workloads and channels could produce.
    #[error("there are more than {0} rows")]
    TooManyRows(usize),
}

/// The maximum number of rows of all pages together.
pub(super) const MAX_ROWS: usize = 100_000;

/// What reads the pages of a collection, one after the other.
pub(super) trait Decode: Send + Sized + 'static {
    /// What the pages bring together.
    type Output;

    /// Whether the pages can be continued after any number of rows.
    const CAN_SKIP: bool;

    /// Reads a page, and returns what follows it.
    fn read(&mut self, json: &[u8]) -> Result<Next, WireError>;

    /// The number of rows so far.
    fn received(&self) -> usize;

    /// Makes use of the time in which the next page is on its way.
    fn settle(&mut self) {}

    /// What all pages bring.
    fn finish(self) -> Result<Self::Output, WireError>;
}

/// Parses the members of a row.
pub(super) type Parse<R, const N: usize> = fn(&mut Fields, [Field<'_>; N]) -> Result<R, RowError>;

/// The rows of the pages so far, of which only those that may be published are kept.
pub(super) struct Licenses<R, const N: usize> {
    pub(super) incoming: Incoming<R>,
    fields: Fields,
    names: [&'static str; N],
    parse: Parse<R, N>,
    received: usize,
}

/// The usage collection. Labels longer than `max_label_bytes` are refused.
pub(super) fn usage(max_label_bytes: usize) -> Licenses<LicenseUsage, 5> {
    let names =
        ["serviceName", "workloadName", "channel", "proratedLicensesUsagePercent", "processedDateTime"];
    let parse = |fields: &mut Fields, [service, workload, channel, value, processed_at]: [Field<'_>; 5]| {
        let percent = percent(&value)?;
        let processed_at = fields.date(processed_at)?;
        let (service, workload, channel) =
            (fields.label(service)?, fields.label(workload)?, fields.label(channel)?);
        Ok(LicenseUsage { service, workload, channel, percent, licenses: None, processed_at })
    };
    Licenses::new(names, parse, max_label_bytes)
}

/// The deployment collection. Labels longer than `max_label_bytes` are refused.
pub(super) fn deployment(max_label_bytes: usize) -> Licenses<LicenseDeployment, 5> {
    let names = ["serviceName", "channel", "proratedDeploymentPercent", "licensesSold", "processedDateTime"];
    let parse = |fields: &mut Fields, [service, channel, value, sold, processed_at]: [Field<'_>; 5]| {
        let percent = percent(&value)?;
        // A row without it still has a percentage.
        let sold = count(&sold)
            .map(Some)
            .or_else(|error| if error == RowError::MissingValue { Ok(None) } else { Err(error) })?;
        let processed_at = fields.date(processed_at)?;
        let (service, channel) = (fields.label(service)?, fields.label(channel)?);
        Ok(LicenseDeployment { service, channel, percent, sold, deployed: None, processed_at })
    };
    Licenses::new(names, parse, max_label_bytes)
}

impl<R: Row, const N: usize> Licenses<R, N> {
    fn new(names: [&'static str; N], parse: Parse<R, N>, max_label_bytes: usize) -> Self {
        Self {
            incoming: Incoming::default(),
            fields: Fields::new(max_label_bytes),
            names,
            parse,
            received: 0,
        }
    }

    /// Calls `each` for every row of a page, and returns what follows the page.
    pub(super) fn read_page(
        &mut self,
        json: &[u8],
        mut each: impl FnMut(&mut Incoming<R>, Result<R, RowError>),
    ) -> Result<Next, PageError> {
        let Self { incoming, fields, names, parse, .. } = self;
        let page = read_page(Envelope::LICENSES, json, *names, |item| {
            let row = match item {
                Item::Members(members) => parse(fields, members),
                Item::NotAnObject => Err(RowError::NotAnObject),
                Item::Unreadable => Err(RowError::Unreadable),
            };
            each(incoming, row);
        })?;
        Ok(page.next)
    }

    /// The rows of all pages.
    pub(super) fn rows(self) -> Result<Rows<R>, WireError> {
        let rows = self.incoming.into_rows(Source::Licenses);
        if rows.rows().is_empty() && self.received > 0 {
            return Err(WireError::NothingUsable(rows.rejected().clone()));
        }
        Ok(rows)
    }
}

impl<R: Row + Send + 'static, const N: usize> Decode for Licenses<R, N> {
    type Output = Rows<R>;

    const CAN_SKIP: bool = false;

    fn read(&mut self, json: &[u8]) -> Result<Next, WireError> {
        let mut received = self.received;
        let next = self.read_page(json, |incoming, row| {
            received += 1;
            // The body is read to its end, but no further row is kept.
            if received <= MAX_ROWS {
                incoming.add(row);
            }
        });
        self.received = received;
        let next = next?;
        if received > MAX_ROWS { Err(WireError::TooManyRows(MAX_ROWS)) } else { Ok(next) }
    }

    fn received(&self) -> usize {
        self.received
    }

    fn settle(&mut self) {
        self.incoming.settle();
    }

    fn finish(self) -> Result<Rows<R>, WireError> {
        self.rows()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::Value;

    use super::*;
    use crate::domain::row::MAX_LABEL_BYTES;
    use crate::domain::usage::UsageReport;
    use crate::partner::invariants;
    use crate::partner::page::PageLink;

    const DOCUMENTED: &[u8] = include_bytes!("../../tests/fixtures/usage-documented-wire-bytes.json");

    fn usage_report(json: &[u8]) -> Result<UsageReport, WireError> {
        let mut collection = usage(MAX_LABEL_BYTES);
        collection.read(json)?;
        collection.rows()
    }

    /// A page of `rows` rows whose workloads start with `page`, filled up to the longest label.
    fn page_of(page: usize, rows: usize) -> String {
        let row = |n| {
            let workload = format!("{:x<MAX_LABEL_BYTES$}", format!("{page}-{n}-"));
            format!(
                r#"{{"serviceName":"s","workloadName":"{workload}","channel":"c","proratedLicensesUsagePercent":1,"processedDateTime":"2026-01-01"}}"#
            )
        };
        format!(r#"{{"items":[{}]}}"#, (0..rows).map(row).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn rows_that_are_dropped_are_not_kept_until_the_last_page() {
        let mut collection = usage(MAX_LABEL_BYTES);
        let (rows, unusable) = (page_of(0, 100), format!(r#"{{"items":[{}0]}}"#, "{},".repeat(99)));
        for _ in 0..50 {
            for page in [&rows, &unusable] {
                collection.read(page.as_bytes()).unwrap();
            }
            collection.settle();
            assert_eq!(collection.incoming.len(), 100);
        }
        assert_eq!(collection.received, 10_000);
        let report = collection.rows().unwrap();
        assert_eq!((report.rows().len(), report.rejected()[&RowError::Duplicate]), (100, 4_900));
        assert_eq!(report.rejected()[&RowError::MissingValue], 4_950);
    }

    #[test]
    fn a_collection_of_too_many_rows_is_refused_and_no_row_beyond_the_limit_is_kept() {
        let page = format!(r#"{{"items":[{}0]}}"#, "0,".repeat(MAX_ROWS - 1));
        let mut collection = usage(MAX_LABEL_BYTES);
        collection.read(page.as_bytes()).unwrap();
        let one_more = collection.read(page_of(0, 1).as_bytes());
        assert!(matches!(one_more, Err(WireError::TooManyRows(_))), "{one_more:?}");
        assert_eq!(collection.incoming.len(), 0);
    }

    #[test]
    fn a_label_longer_than_the_limit_is_counted_as_invalid() {
        let mut collection = usage(1_022);
        collection.read(page_of(0, 3).as_bytes()).unwrap();
        let Err(WireError::NothingUsable(rejected)) = collection.rows() else { panic!("it is usable") };
        assert_eq!(rejected[&RowError::InvalidLabel], 3);
        let mut collection = usage(1_023);
        collection.read(page_of(0, 3).as_bytes()).unwrap();
        assert_eq!(collection.rows().unwrap().rows().len(), 3);
    }

    #[test]
    fn equal_dates_mean_the_same_and_an_invalid_one_is_not_the_one_before_it() {
        let row = |n: usize, date: &str| {
            format!(
                r#"{{"serviceName":"s","workloadName":"{n}","channel":"c","proratedLicensesUsagePercent":1,"processedDateTime":"{date}"}}"#
            )
        };
        let dates = ["", "2026-01-01", "soon", "2026-01-01", "2026-01-02", "", "2026-01-02", "2026-01-01"];
        let items: Vec<_> = dates.iter().enumerate().map(|(n, date)| row(n, date)).collect();
        let report = report_of(&items.join(","));
        let days: Vec<_> = report.rows().iter().map(|row| row.processed_at.to_string()).collect();
        let day = |day: u32| format!("2026-01-{day:02}T00:00:00Z");
        assert_eq!(days, [1, 1, 2, 2, 1].map(day));
        assert_eq!(report.rejected()[&RowError::InvalidDate], 3);
    }

    #[test]
    fn equal_labels_are_kept_once() {
        let row = |service: &str, workload: &str| {
            format!(
                r#"{{"serviceName":"{service}","workloadName":"{workload}","channel":"a","proratedLicensesUsagePercent":1,"processedDateTime":"2026-01-01"}}"#
            )
        };
        let report = report_of(&[row("a", "b"), row("b", "b")].join(","));
        let [first, second] = report.rows() else { panic!("there are two rows") };
        assert!(Arc::ptr_eq(&first.workload, &second.workload));
        assert!(Arc::ptr_eq(&first.service, &first.channel));
        assert!(Arc::ptr_eq(&first.workload, &second.service));
    }

    fn next_of(page: &str) -> Result<Option<PageLink>, WireError> {
        let next = usage(MAX_LABEL_BYTES).read(page.as_bytes())?;
        Ok(if let Next::Link(link) = next { Some(link) } else { None })
    }

    fn report_of(items: &str) -> UsageReport {
        usage_report(format!("{{\"items\":[{items}]}}").as_bytes()).unwrap()
    }

    #[test]
    fn the_documented_response_is_parsed() {
        let report = usage_report(&DOCUMENTED[3..]).unwrap();
        let rows: Vec<_> = report
            .rows()
            .iter()
            .map(|row| (row.key(), row.percent.get(), row.processed_at.to_string()))
            .collect();
        let day = |day: u32| format!("2017-03-{day:02}T00:00:00Z");
        assert_eq!(
            rows,
            [
                (("crm", "Microsoft Dynamics CRM", "reseller"), 0.0, day(10)),
                (("crm", "SharePoint", "reseller"), 0.0, day(10)),
                (("o365", "Exchange", "reseller"), 0.0, day(9)),
                (("o365", "SharePoint", "reseller"), 0.0, day(9)),
                (("o365", "Skype For Business", "reseller"), 0.0, day(9)),
            ]
        );
        assert!(report.rejected().is_empty());
    }

    #[test]
    fn a_row_that_cannot_be_used_is_counted_and_the_rest_is_kept() {
        let good = r#"{"proratedLicensesUsagePercent":104.5,"workloadName":"Teams","processedDateTime":"2026-01-01T00:00:00","serviceName":"o365","channel":"reseller","new":{}}"#;
        let report = report_of(&format!(
            "7, {{}}, {good}, {}, {}, {}, {}, {}",
            good.replace("104.5", "null"),
            good.replace("104.5", "\"12\""),
            good.replace("104.5", "-1"),
            good.replace("\"Teams\"", "\"\""),
            good.replace("2026-01-01T00:00:00", "soon"),
        ));
        assert_eq!(report.rows().len(), 1);
        assert!((report.rows()[0].percent.get() - 104.5).abs() < f64::EPSILON);
        let rejected: Vec<_> = report.rejected().iter().map(|(e, n)| (e.as_str(), *n)).collect();
        let expected = [
            ("missing_value", 2),
            ("missing_label", 1),
            ("invalid_number", 2),
            ("invalid_date", 1),
            ("not_an_object", 1),
        ];
        assert_eq!(rejected, expected);
    }

    #[test]
    fn a_body_that_is_not_a_collection_is_an_error_and_an_empty_collection_is_not() {
        assert_eq!(report_of("").rows().len(), 0);
        for body in [
            "",
            "[]",
            "[[]]",
            "{}",
            "{\"items\":null}",
            "{\"items\":{}}",
            "<html>",
            "{\"items\":[",
            "null",
            "7",
        ] {
            assert!(usage_report(body.as_bytes()).is_err(), "{body:?} was accepted");
        }
    }

    #[test]
    fn the_link_to_the_next_page_is_parsed_and_an_invalid_one_is_not_the_end() {
        let links = include_str!("../../tests/fixtures/collection-with-next-link.json");
        let next = next_of(links).unwrap().expect("a link");
        assert!(next.uri.contains("seekOperation=Next"), "{}", next.uri);
        assert_eq!(next.method.as_deref(), Some("GET"));
        assert_eq!(
            (next.headers[0].key.as_str(), next.headers[0].value.as_str()),
            ("MS-ContinuationToken", "AQAAAA==")
        );
        for end in ["null", "{}", "[]", r#"{"self":{"uri":"/x"}}"#, r#"{"next":null}"#] {
            let next = next_of(&format!(r#"{{"links":{end},"items":[]}}"#)).unwrap();
            assert!(next.is_none(), "{end}");
        }
        for wrong in
            ["7", r#""/x""#, "{}", r#"["/x","GET",[]]"#, r#"{"uri":7}"#, r#"{"uri":"/x","headers":{}}"#]
        {
            let json = format!(r#"{{"items":[],"links":{{"next":{wrong}}}}}"#);
            assert!(matches!(next_of(&json), Err(WireError::Page(PageError::NotALink))), "{wrong}");
        }
    }

    #[test]
    fn invalid_utf_8_damages_a_name_and_not_the_collection() {
        let row = r#"{"proratedLicensesUsagePercent":1,"workloadName":"?","processedDateTime":"2026-01-01T00:00:00","serviceName":"s","channel":"c"}"#;
        let json: Vec<u8> = format!(r#"{{"items":[{row}]}}"#)
            .bytes()
            .map(|byte| if byte == b'?' { 0xE9 } else { byte })
            .collect();
        assert_eq!(usage_report(&json).unwrap().rows()[0].workload.as_ref(), "\u{fffd}");
    }

    fn any_value() -> impl Strategy<Value = String> {
        const VALUES: &str = r#"null true 0 -0.0 104.5 1e2 1e400 "" "o365" "reseller" [] [[]] {"a":1}
            "2026-01-01T00:00:00" "2026-01-01T00:00:00.1234567+02:00" "9999-12-31T23:59:59Z""#;
        prop_oneof![
            select(VALUES.split_whitespace().collect::<Vec<_>>()).prop_map(str::to_owned),
            any::<String>().prop_map(|text| Value::from(text).to_string()),
            any::<f64>().prop_map(|number| Value::from(number).to_string()),
        ]
    }

    /// An item with mostly valid fields, so that some items are valid as a whole.
    fn any_item() -> impl Strategy<Value = String> {
        let field = |name: &'static str, good: &'static str| {
            let value = prop_oneof![3 => Just(good.to_owned()), 1 => any_value()];
            value.prop_map(move |value| format!("\"{name}\":{value}"))
        };
        let fields = [
            field("serviceName", "\"o365\""),
            field("workloadName", "\"Teams\""),
            field("channel", "\"reseller\""),
            field("proratedLicensesUsagePercent", "38.25"),
            field("processedDateTime", "\"2026-01-01\""),
        ];
        prop_oneof![5 => fields.prop_map(|fields| format!("{{{}}}", fields.join(","))), 1 => any_value()]
    }

    proptest! {
        #[test]
        fn every_item_is_kept_or_counted(
            items in vec(any_item(), 0..20), next in any_value(), uri in any_value(),
        ) {
            let items = items.join(",");
            for links in [next, format!(r#"{{"next":{{"uri":{uri}}}}}"#)] {
                invariants::payload(format!(r#"{{"items":[{items}],"links":{links}}}"#).as_bytes());
            }
        }

        #[test]
        fn any_bytes_are_a_page_or_an_error(bytes in vec(any::<u8>(), 0..500)) {
            invariants::payload(&bytes);
        }
    }
}
