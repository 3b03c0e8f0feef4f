//! The documented JSON of the usage collection, and nothing else.
//!
//! Tolerant by the row: every field is optional, unknown ones are ignored, a bad row is counted and the
//! rest is kept. Strict about the whole: what is no collection, or has rows of which none can be used, is
//! no answer. Rows are read one after the other, so that memory follows what is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use jiff::{Timestamp, civil, tz::TimeZone};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::usage::{LicenseUsage, MAX_LABEL_BYTES, Percent, RowError, UsageReport, listing};

/// Why a body is no page of a usage collection, or the pages make no collection.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// Not JSON, or JSON of another shape. The parser's own message may quote the body, so only its place is told.
    #[error("the body is no collection with a list named items, see line {} column {}", .0.line(), .0.column())]
    NoCollection(serde_json::Error),
    /// It goes on, but where is not said in the way of Partner Center's collections.
    #[error("links.next is no link")]
    NoLink,
    /// There are rows, and each was dropped: the shape of rows must have changed.
    #[error("none of the rows can be used: {}", listing(.0))]
    NothingUsable(BTreeMap<RowError, u64>),
    /// No service, workload and channel could make so many.
    #[error("there are more than {MAX_ROWS} rows")]
    TooManyRows,
}

/// One page of the collection.
#[derive(Debug)]
pub(super) struct Page {
    /// Its rows, each with its own verdict.
    pub(super) rows: Vec<Row>,
    /// Where the next page is, if there is one.
    pub(super) next: Option<Link>,
}

/// A row, or why it was dropped.
pub(super) type Row = Result<LicenseUsage, RowError>;

/// A link of a collection, as every Partner Center collection writes it.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Link {
    pub(super) uri: String,
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) headers: Vec<LinkHeader>,
}

/// A header to send along.
#[derive(Debug, serde::Deserialize)]
pub(super) struct LinkHeader {
    pub(super) key: String,
    pub(super) value: String,
}

#[derive(serde::Deserialize)]
struct Collection {
    items: Items,
    #[serde(default)]
    links: Value,
}

struct Items(Vec<Row>);

/// Of all pages together.
const MAX_ROWS: usize = 100_000;

/// Reads a body without its byte order mark. Bytes that are no UTF-8 become U+FFFD: they spoil a name, not the
/// collection.
pub(super) fn page(json: &[u8]) -> Result<Page, WireError> {
    // `totalCount` is ignored on purpose: Microsoft's own SDK computes it from the items.
    let Object(Collection { items: Items(rows), links }) =
        serde_json::from_str(&String::from_utf8_lossy(json)).map_err(WireError::NoCollection)?;
    let next = links.get("next").filter(|next| !next.is_null());
    let next = next.map(Object::deserialize).transpose().map_err(|_| WireError::NoLink)?;
    Ok(Page { rows, next: next.map(|Object(link)| link) })
}

/// Adds the rows of a page to those of the pages before it.
pub(super) fn append(rows: &mut Vec<Row>, page: Vec<Row>) -> Result<(), WireError> {
    rows.extend(page);
    if rows.len() > MAX_ROWS { Err(WireError::TooManyRows) } else { Ok(()) }
}

/// Makes a report of the rows of all pages.
pub(super) fn report(rows: Vec<Row>) -> Result<UsageReport, WireError> {
    let empty = rows.is_empty();
    let report = UsageReport::collect(rows);
    if report.rows().is_empty() && !empty {
        return Err(WireError::NothingUsable(report.rejected().clone()));
    }
    Ok(report)
}

/// Something that is read from an object, and from nothing else: a derived reader takes a list of its fields too.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
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
        // Raw at first: a number beyond all bounds or a nesting without end spoils its own row only.
        while let Some(item) = list.next_element::<&RawValue>()? {
            if rows.len() > MAX_ROWS {
                continue; // read to the end, kept no longer
            }
            let item: Result<Value, _> = serde_json::from_str(item.get());
            rows.push(item.map_err(|_| RowError::Unreadable).and_then(|item| row(&item)));
        }
        Ok(Items(rows))
    }
}

fn row(item: &Value) -> Result<LicenseUsage, RowError> {
    let item = item.as_object().ok_or(RowError::NotAnObject)?;
    let field = |name: &str| item.get(name).filter(|value| !value.is_null());
    let label = |name: &str| match field(name) {
        None => Err(RowError::MissingLabel),
        Some(Value::String(text)) if text.is_empty() => Err(RowError::MissingLabel),
        Some(Value::String(text)) if text.len() <= MAX_LABEL_BYTES => Ok(text.clone()),
        Some(_) => Err(RowError::InvalidLabel),
    };
    let percent = match field("proratedLicensesUsagePercent") {
        None => Err(RowError::MissingValue),
        Some(value) => value.as_f64().ok_or(RowError::InvalidNumber).and_then(Percent::new),
    }?;
    let processed_at = match field("processedDateTime") {
        None => Err(RowError::MissingDate),
        Some(value) => value.as_str().and_then(date).ok_or(RowError::InvalidDate),
    }?;
    Ok(LicenseUsage {
        service: label("serviceName")?,
        workload: label("workloadName")?,
        channel: label("channel")?,
        percent,
        processed_at,
    })
}

/// `2017-03-10T00:00:00+00:00`, the same with `Z`, with up to seven fraction digits, or with no zone at all,
/// which means UTC.
fn date(text: &str) -> Option<Timestamp> {
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

    use super::*;
    use crate::partner::invariants;

    const DOCUMENTED: &[u8] = include_bytes!("../../tests/fixtures/usage-documented-wire-bytes.json");

    fn usage_report(json: &[u8]) -> Result<UsageReport, WireError> {
        page(json).and_then(|page| report(page.rows))
    }

    fn report_of(items: &str) -> UsageReport {
        usage_report(format!("{{\"items\":[{items}]}}").as_bytes()).unwrap()
    }

    #[test]
    fn the_documented_answer_is_read() {
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
    fn every_date_form_of_the_api_is_the_same_moment() {
        for text in [
            "2017-03-14T03:25:16.36+00:00",
            "2017-03-14T03:25:16.36Z",
            "2017-03-14T03:25:16.3600000",
            "2017-03-14T05:25:16.36+02:00",
        ] {
            assert_eq!(date(text).unwrap().as_millisecond(), 1_489_461_916_360, "{text}");
        }
        assert_eq!(date("yesterday"), None);
    }

    #[test]
    fn a_bad_row_is_counted_and_the_rest_is_kept() {
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
    fn what_is_no_collection_is_refused_and_an_empty_one_is_not() {
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
            assert!(usage_report(body.as_bytes()).is_err(), "{body:?} was taken for a collection");
        }
    }

    #[test]
    fn the_link_to_the_next_page_is_read_and_what_is_no_link_is_not_taken_for_an_end() {
        let links = include_str!("../../tests/fixtures/collection-with-next-link.json");
        let next = page(links.as_bytes()).unwrap().next.expect("a link");
        assert!(next.uri.contains("seekOperation=Next"), "{}", next.uri);
        assert_eq!(next.method.as_deref(), Some("GET"));
        assert_eq!(
            (next.headers[0].key.as_str(), next.headers[0].value.as_str()),
            ("MS-ContinuationToken", "AQAAAA==")
        );
        for end in ["null", "{}", "[]", r#"{"self":{"uri":"/x"}}"#, r#"{"next":null}"#] {
            let page = page(format!(r#"{{"links":{end},"items":[]}}"#).as_bytes()).unwrap();
            assert!(page.next.is_none(), "{end}");
        }
        for wrong in
            ["7", r#""/x""#, "{}", r#"["/x","GET",[]]"#, r#"{"uri":7}"#, r#"{"uri":"/x","headers":{}}"#]
        {
            let json = format!(r#"{{"items":[],"links":{{"next":{wrong}}}}}"#);
            assert!(matches!(page(json.as_bytes()), Err(WireError::NoLink)), "{wrong}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_spoil_a_name_and_not_the_collection() {
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

    /// Of fields most of which are good, so that the whole is good now and then.
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
        fn of_any_items_each_is_kept_or_counted(
            items in vec(any_item(), 0..20), next in any_value(), uri in any_value(),
        ) {
            let items = items.join(",");
            for links in [next, format!(r#"{{"next":{{"uri":{uri}}}}}"#)] {
                invariants::payload(format!(r#"{{"items":[{items}],"links":{links}}}"#).as_bytes());
            }
        }

        #[test]
        fn any_bytes_are_refused_or_a_page(bytes in vec(any::<u8>(), 0..500)) {
            invariants::payload(&bytes);
        }
    }
}
