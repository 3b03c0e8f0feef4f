//! Parses the documented JSON of the usage collection.
//!
//! A row that cannot be used is counted and dropped, and unknown fields are ignored. A body that is not a collection, or
//! a collection without a usable row among its rows, is an error. Rows are parsed one by one, and nothing else of
//! the body is kept, so that memory use is bounded by the rows that are kept.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{Timestamp, civil, tz::TimeZone};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::usage::{LicenseUsage, MAX_LABEL_BYTES, Percent, RowError, UsageReport, listing};

use super::json_members::{Scalar, members};
use super::json_object::JsonObject;

/// Why a body is not a page of a usage collection, or why the pages together are not usable.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The body is not JSON, or is JSON of another shape. Only the position is reported, because the parser's message
    /// may quote the body.
    #[error("the body is not a collection with a list named items, see line {} column {}", .0.line(), .0.column())]
    NotACollection(serde_json::Error),
    /// There is a further page, but its link is not one of Partner Center's collections.
    #[error("links.next is not a link")]
    NotALink,
    /// Every row was dropped, so the format of rows must have changed.
    #[error("none of the rows can be used: {}", listing(.0))]
    NothingUsable(BTreeMap<RowError, u64>),
    /// There are more rows than services, workloads and channels could produce.
    #[error("there are more than {MAX_ROWS} rows")]
    TooManyRows,
}

/// One page of the collection.
#[derive(Debug)]
pub(super) struct CollectionPage {
    pub(super) rows: Vec<ParsedRow>,
    /// The link to the next page, if there is one.
    pub(super) next: Option<PageLink>,
}

/// A row, or why it was dropped.
pub(super) type ParsedRow = Result<LicenseUsage, RowError>;

/// A link to another page, in the format of all Partner Center collections.
#[derive(Debug, serde::Deserialize)]
pub(super) struct PageLink {
    pub(super) uri: String,
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) headers: Vec<LinkHeader>,
}

/// A header that a request for the linked page must have.
#[derive(Debug, serde::Deserialize)]
pub(super) struct LinkHeader {
    pub(super) key: String,
    pub(super) value: String,
}

/// The body of a page.
#[derive(serde::Deserialize)]
struct PageBody<'a> {
    items: Items,
    #[serde(borrow)]
    links: Option<&'a RawValue>,
}

struct Items(Vec<ParsedRow>);

/// The maximum number of rows of all pages together.
const MAX_ROWS: usize = 100_000;

/// Parses the body of a page, without its byte order mark. Invalid UTF-8 becomes U+FFFD, so that it damages one name
/// and not the collection.
pub(super) fn parse_page(json: &[u8]) -> Result<CollectionPage, WireError> {
    // `totalCount` is ignored, because Microsoft's own SDK computes it from the items.
    let json = String::from_utf8_lossy(json);
    let JsonObject(PageBody { items: Items(rows), links }) =
        serde_json::from_str(&json).map_err(WireError::NotACollection)?;
    let next = links.map(parse_next).transpose().map_err(|_| WireError::NotALink)?;
    Ok(CollectionPage { rows, next: next.flatten() })
}

/// Returns the link to the next page among the links of a page, if there is one.
fn parse_next(links: &RawValue) -> serde_json::Result<Option<PageLink>> {
    let next = members::<&RawValue, 1>(links, ["next"])?.and_then(|[next]| next);
    let next = next.filter(|next| next.get() != "null");
    next.map(|next| serde_json::from_str(next.get()).map(|JsonObject(link)| link)).transpose()
}

/// The rows of the pages so far, of which only those that may be published are kept.
pub(super) struct Collection {
    report: UsageReport,
    received: usize,
    max_label_bytes: usize,
}

impl Collection {
    /// An empty collection, which refuses labels longer than `max_label_bytes`.
    pub(super) fn new(max_label_bytes: usize) -> Self {
        Self { report: UsageReport::default(), received: 0, max_label_bytes }
    }

    /// Adds the rows of a page to those of the pages before it.
    pub(super) fn append(&mut self, page: Vec<ParsedRow>) -> Result<(), WireError> {
        self.received += page.len();
        if self.received > MAX_ROWS {
            return Err(WireError::TooManyRows);
        }
        let most = self.max_label_bytes;
        let fits =
            |row: &LicenseUsage| [&row.service, &row.workload, &row.channel].iter().all(|l| l.len() <= most);
        let checked = |row: LicenseUsage| if fits(&row) { Ok(row) } else { Err(RowError::InvalidLabel) };
        self.report.extend(page.into_iter().map(|row| row.and_then(checked)));
        Ok(())
    }

    /// Returns the report of all pages.
    pub(super) fn report(self) -> Result<UsageReport, WireError> {
        if self.report.rows().is_empty() && self.received > 0 {
            return Err(WireError::NothingUsable(self.report.rejected().clone()));
        }
        Ok(self.report)
    }
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items, A::Error> {
        let mut rows = Vec::new();
        // Each item is parsed by itself, so that a number out of range or too deep a nesting costs one row only.
        while let Some(item) = list.next_element::<&RawValue>()? {
            if rows.len() > MAX_ROWS {
                continue; // the body is read to its end, but no further row is kept
            }
            rows.push(parse_row(item));
        }
        Ok(Items(rows))
    }
}

fn parse_row(item: &RawValue) -> ParsedRow {
    let names =
        ["serviceName", "workloadName", "channel", "proratedLicensesUsagePercent", "processedDateTime"];
    let fields = members(item, names).map_err(|_| RowError::Unreadable)?.ok_or(RowError::NotAnObject)?;
    let [service, workload, channel, percent, processed_at] = fields;
    let label = |field| match field {
        None | Some(Scalar::Null) => Err(RowError::MissingLabel),
        Some(Scalar::Text(text)) if text.is_empty() => Err(RowError::MissingLabel),
        Some(Scalar::Text(text)) if text.len() <= MAX_LABEL_BYTES => Ok(text.into_owned()),
        Some(_) => Err(RowError::InvalidLabel),
    };
    let percent = match percent {
        None | Some(Scalar::Null) => Err(RowError::MissingValue),
        Some(Scalar::Number(value)) => Percent::new(value),
        Some(_) => Err(RowError::InvalidNumber),
    }?;
    let processed_at = match processed_at {
        None | Some(Scalar::Null) => Err(RowError::MissingDate),
        Some(Scalar::Text(text)) => parse_date(&text).ok_or(RowError::InvalidDate),
        Some(_) => Err(RowError::InvalidDate),
    }?;
    Ok(LicenseUsage {
        service: label(service)?,
        workload: label(workload)?,
        channel: label(channel)?,
        percent,
        processed_at,
    })
}

/// Parses `2017-03-10T00:00:00+00:00`, the same with `Z`, with up to seven fraction digits, or without a zone, which
/// means UTC.
fn parse_date(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let local: civil::DateTime = text.parse().ok()?;
    local.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::Value;

    use super::*;
    use crate::partner::invariants;

    const DOCUMENTED: &[u8] = include_bytes!("../../tests/fixtures/usage-documented-wire-bytes.json");

    fn usage_report(json: &[u8]) -> Result<UsageReport, WireError> {
        let page = parse_page(json)?;
        let mut collection = Collection::new(MAX_LABEL_BYTES);
        collection.append(page.rows)?;
        collection.report()
    }

    /// A page of `rows` rows whose workloads start with `page`, filled up to the longest label.
    fn page_of(page: usize, rows: usize) -> Vec<ParsedRow> {
        let row = |n| {
            Ok(LicenseUsage {
                service: "s".to_owned(),
                workload: format!("{:x<MAX_LABEL_BYTES$}", format!("{page}-{n}-")),
                channel: "c".to_owned(),
                percent: Percent::new(1.0)?,
                processed_at: Timestamp::UNIX_EPOCH,
            })
        };
        (0..rows).map(row).collect()
    }

    #[test]
    fn rows_that_are_dropped_are_not_kept_until_the_last_page() {
        let mut collection = Collection::new(MAX_LABEL_BYTES);
        for _ in 0..50 {
            collection.append(page_of(0, 100)).unwrap();
            collection.append(vec![Err(RowError::MissingValue); 100]).unwrap();
        }
        assert_eq!((collection.report.rows().len(), collection.received), (100, 10_000));
        assert_eq!(collection.report.rejected()[&RowError::Duplicate], 4_900);
    }

    #[test]
    fn a_label_longer_than_the_limit_is_counted_as_invalid() {
        let mut collection = Collection::new(1_022);
        collection.append(page_of(0, 3)).unwrap();
        let Err(WireError::NothingUsable(rejected)) = collection.report() else { panic!("it is usable") };
        assert_eq!(rejected[&RowError::InvalidLabel], 3);
        let mut collection = Collection::new(1_023);
        collection.append(page_of(0, 3)).unwrap();
        assert_eq!(collection.report().unwrap().rows().len(), 3);
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
    fn every_date_format_of_the_api_is_parsed() {
        for text in [
            "2017-03-14T03:25:16.36+00:00",
            "2017-03-14T03:25:16.36Z",
            "2017-03-14T03:25:16.3600000",
            "2017-03-14T05:25:16.36+02:00",
        ] {
            assert_eq!(parse_date(text).unwrap().as_millisecond(), 1_489_461_916_360, "{text}");
        }
        assert_eq!(parse_date("yesterday"), None);
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
        let next = parse_page(links.as_bytes()).unwrap().next.expect("a link");
        assert!(next.uri.contains("seekOperation=Next"), "{}", next.uri);
        assert_eq!(next.method.as_deref(), Some("GET"));
        assert_eq!(
            (next.headers[0].key.as_str(), next.headers[0].value.as_str()),
            ("MS-ContinuationToken", "AQAAAA==")
        );
        for end in ["null", "{}", "[]", r#"{"self":{"uri":"/x"}}"#, r#"{"next":null}"#] {
            let page = parse_page(format!(r#"{{"links":{end},"items":[]}}"#).as_bytes()).unwrap();
            assert!(page.next.is_none(), "{end}");
        }
        for wrong in
            ["7", r#""/x""#, "{}", r#"["/x","GET",[]]"#, r#"{"uri":7}"#, r#"{"uri":"/x","headers":{}}"#]
        {
            let json = format!(r#"{{"items":[],"links":{{"next":{wrong}}}}}"#);
            assert!(matches!(parse_page(json.as_bytes()), Err(WireError::NotALink)), "{wrong}");
        }
    }

    #[test]
    fn invalid_utf_8_damages_a_name_and_not_the_collection() {
        let row = r#"{"proratedLicensesUsagePercent":1,"workloadName":"?","processedDateTime":"2026-01-01T00:00:00","serviceName":"s","channel":"c"}"#;
        let json: Vec<u8> = format!(r#"{{"items":[{row}]}}"#)
            .bytes()
            .map(|byte| if byte == b'?' { 0xE9 } else { byte })
            .collect();
        assert_eq!(usage_report(&json).unwrap().rows()[0].workload, "\u{fffd}");
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
