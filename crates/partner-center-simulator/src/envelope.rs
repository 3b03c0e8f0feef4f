//! The JSON of the commercial collections: their rows, selected by a query, in an envelope.
//!
//! It does not know who requests a page, nor the status and headers of the response.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::{Value, json};

use crate::commercial::{BetweenPages, Commercial, Grouping, NextLink, TotalCount};
use crate::portfolio::{Curve, Customers, Holding, Portfolio, SERVICES, WORKLOADS};
use crate::query::{Filter, Query};
use crate::rows::{Properties, Rows};

/// One of the two commercial collections.
#[derive(Clone, Copy)]
pub(crate) struct Collection {
    /// The properties of a row that are texts, in the order of Microsoft's sample, after `processedDateTime`.
    fields: &'static [&'static str],
    curves: &'static [Curve],
    /// The properties for the counts.
    used: &'static str,
    total: &'static str,
    documented: &'static str,
}

const PROCESSED: &str = "processedDateTime";
/// The name in the sample, which the scenario can replace.
const SAMPLE_ACTIVE: &str = "licenseActive";
/// The fields whose values differ between the rows that make up one curve.
const OF_CUSTOMERS: [&str; 4] = ["customerTenantId", "customerName", "productId", "productName"];

pub(crate) const USAGE: Collection = Collection {
    fields: &[
        "workloadCode",
        "workloadName",
        "serviceCode",
        "serviceName",
        "channel",
        "customerTenantId",
        "customerName",
        "productId",
        "productName",
    ],
    curves: &WORKLOADS,
    used: SAMPLE_ACTIVE,
    total: "licensesQualified",
    documented: r#"[
        {"processedDateTime": "2018-10-14T00:00:00", "workloadCode": "SPO", "workloadName": "SharePoint",
         "serviceCode": "o365", "serviceName": "Microsoft Office 365", "channel": "reseller",
         "customerTenantId": "0112A436-B14E-4888-967B-CA4BB2CF1234", "customerName": "TEST COMPANY",
         "productId": "6FD2C87F-B296-42F0-B197-1E91E994B900", "productName": "OFFICE 365 ENTERPRISE E3",
         "licenseActive": 0, "licensesQualified": 1},
        {"processedDateTime": "2018-10-14T00:00:00", "workloadCode": "EXO", "workloadName": "Exchange",
         "serviceCode": "o365", "serviceName": "Microsoft Office 365", "channel": "reseller",
         "customerTenantId": "0112A436-B14E-4888-967B-CA4BB2CF1234", "customerName": "TEST COMPANY",
         "productId": "45A2423B-E884-448D-A831-D9E139C52D2F", "productName": "EXCHANGE ONLINE PROTECTION",
         "licenseActive": 0, "licensesQualified": 1}]"#,
};

pub(crate) const DEPLOYMENT: Collection = Collection {
    fields: &[
        "serviceCode",
        "serviceName",
        "channel",
        "customerTenantId",
        "customerName",
        "productId",
        "productName",
    ],
    curves: &SERVICES,
    used: "licensesDeployed",
    total: "licensesSold",
    documented: r#"[
        {"processedDateTime": "2018-10-14T00:00:00", "serviceCode": "crm", "serviceName": "Microsoft Dynamics",
         "channel": "reseller", "customerTenantId": "0112A436-B14E-4888-967B-CA4BB2CF1234",
         "customerName": "TEST COMPANY", "productId": "54B84594-9C77-4499-8D65-5E0D5F410E78",
         "productName": "DYNAMICS AX TASK", "licensesDeployed": 0, "licensesSold": 9},
        {"processedDateTime": "2018-10-14T00:00:00", "serviceCode": "o365", "serviceName": "Microsoft Office 365",
         "channel": "reseller", "customerTenantId": "0112A436-B14E-4888-967B-CA4BB2CF1234",
         "customerName": "TEST COMPANY", "productId": "D3B4FE1F-9992-4930-8ACB-CA6EC609365E",
         "productName": "DOMESTIC AND INTERNATIONAL CALLING PLAN", "licensesDeployed": 0, "licensesSold": 5}]"#,
};

/// What determines a page, apart from the query.
pub(crate) struct Source<'a> {
    pub(crate) collection: Collection,
    pub(crate) rows: Rows<Properties>,
    pub(crate) commercial: Commercial,
    pub(crate) customers: Customers,
    /// The largest number of rows on a page, if it is less than the caller asks for.
    pub(crate) page_size: usize,
    pub(crate) now: Timestamp,
    /// The origin and the path that the caller addressed.
    pub(crate) origin: Option<&'a str>,
    pub(crate) path: &'a str,
}

#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(rename = "Value")]
    rows: &'a [Row<'a>],
    #[serde(rename = "@nextLink", skip_serializing_if = "Option::is_none")]
    next_link: Option<Value>,
    #[serde(rename = "TotalCount", skip_serializing_if = "Option::is_none")]
    total_count: Option<u64>,
}

impl Source<'_> {
    /// Writes the page that a query asks for, without a byte order mark, or returns `None` if the query is invalid.
    pub(crate) fn page(&self, query: &str) -> Option<String> {
        let mut query = Query::parse(query, self.collection.fields)?;
        match self.commercial.groupby {
            Grouping::Ignored => query.groupby.clear(),
            Grouping::Refused if !query.groupby.is_empty() => return None,
            Grouping::Refused | Grouping::Applied => {}
        }
        let portfolio = Portfolio::new(self.customers, self.now, query.day);
        let mut rows = self.rows(&portfolio, &query);
        let mut filter = query.filter.as_ref();
        if !query.groupby.is_empty() {
            rows = self.grouped(&rows, filter.take(), &query.groupby);
        }

        let shift = match self.commercial.between_pages {
            BetweenPages::Repeats if query.skip > 0 => -1,
            BetweenPages::Skips if query.skip > 0 => 1,
            _ => 0,
        };
        let limit = if self.page_size == 0 { query.top } else { query.top.min(self.page_size as u64) };
        let (page, total) = rows.page(filter, query.skip.saturating_add_signed(shift), limit);
        let end = query.skip.saturating_add(limit);
        let link = (end < total.saturating_add_signed(-shift)).then(|| self.link(&query.of_page(end)));
        Some(self.json(&page, link, total))
    }

    fn json(&self, rows: &[Row<'_>], next: Option<String>, total: u64) -> String {
        let next_link = match self.commercial.next_link {
            NextLink::Absent => None,
            NextLink::Null => Some(Value::Null),
            _ => Some(next.into()),
        };
        let total_count = match self.commercial.total_count {
            TotalCount::Absent => None,
            TotalCount::Wrong => Some(rows.len() as u64 + 1),
            TotalCount::Right => Some(total),
        };
        let envelope = Envelope { rows, next_link, total_count };
        serde_json::to_string(&envelope).expect("text, numbers and properties serialise to JSON")
    }

    fn link(&self, query: &str) -> String {
        let form = self.commercial.next_link;
        let origin = self.origin.filter(|_| form == NextLink::Absolute).unwrap_or_default();
        let versioned = self.path.find("/analytics").filter(|_| form == NextLink::RelativeWithoutVersion);
        let (_, path) = self.path.split_at(versioned.unwrap_or_default());
        format!("{origin}{path}?{query}")
    }

    /// All rows of the day, before the filter.
    fn rows<'a>(&'a self, portfolio: &'a Portfolio, query: &Query) -> Selection<'a> {
        let day = query.day.map(|day| day.to_string());
        let is_of_day = |row: &Properties| {
            let processed = row.get(PROCESSED).and_then(Value::as_str).unwrap_or_default();
            day.as_deref().is_none_or(|day| processed.starts_with(day))
        };
        match &self.rows {
            Rows::Documented => {
                let json = self.collection.documented.replace(SAMPLE_ACTIVE, self.collection.used);
                let mut rows: Vec<_> = serde_json::from_str(&json).expect("the documented rows are JSON");
                rows.retain(is_of_day);
                Selection::Properties(rows.into_iter().map(Cow::Owned).collect())
            }
            Rows::Listed(rows) => {
                let rows = rows.iter().filter(|row| is_of_day(row));
                Selection::Properties(rows.map(Cow::Borrowed).collect())
            }
            Rows::Portfolio => {
                let curves = portfolio.processed(self.collection.curves);
                let limit = self.commercial.history_days;
                if limit.is_some_and(|days| portfolio.age_in_days() > i64::from(days)) {
                    Selection::Properties(Vec::new())
                } else if query.groupby.is_empty() || query.names(&OF_CUSTOMERS) {
                    Selection::Customers(self.collection, portfolio, curves)
                } else {
                    Selection::Totals(self.collection, portfolio, curves)
                }
            }
        }
    }

    /// One row for each combination of the fields' values, with the sums of the counts.
    fn grouped(&self, rows: &Selection<'_>, filter: Option<&Filter>, fields: &[&str]) -> Selection<'static> {
        let (mut positions, mut groups) = (HashMap::new(), Vec::<(Vec<_>, [i64; 2])>::new());
        for row in rows.iter().filter(|row| row.passes(filter)) {
            let key: Vec<_> = fields.iter().map(|field| row.text(field).map(Cow::into_owned)).collect();
            let position = *positions.entry(key.clone()).or_insert(groups.len());
            if position == groups.len() {
                groups.push((key, [0, 0]));
            }
            for (sum, count) in groups[position].1.iter_mut().zip(row.counts(&self.collection)) {
                *sum = sum.saturating_add(count);
            }
        }
        let row = |(key, sums): (Vec<Option<String>>, [i64; 2])| {
            let texts =
                fields.iter().zip(key).filter_map(|(field, text)| Some(((*field).to_owned(), json!(text?))));
            let names = [self.collection.used, self.collection.total];
            let counts = names.into_iter().zip(sums).map(|(name, sum)| {
                let count = if self.commercial.counts_as_text { json!(sum.to_string()) } else { json!(sum) };
                (name.to_owned(), count)
            });
            Cow::Owned(texts.chain(counts).collect())
        };
        Selection::Properties(groups.into_iter().map(row).collect())
    }
}

/// Rows of which a page is taken; those of the portfolio are computed when they are needed.
enum Selection<'a> {
    Properties(Vec<Cow<'a, Properties>>),
    /// One row per curve, for the whole partner.
    Totals(Collection, &'a Portfolio, Vec<&'static Curve>),
    /// The rows of every customer.
    Customers(Collection, &'a Portfolio, Vec<&'static Curve>),
}

impl Selection<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Properties(rows) => rows.len() as u64,
            Self::Totals(_, _, curves) => curves.len() as u64,
            Self::Customers(_, portfolio, curves) => portfolio.rows(curves),
        }
    }

    fn get(&self, position: u64) -> Row<'_> {
        let index = usize::try_from(position).expect("positions of rows in memory are indices");
        match self {
            Self::Properties(rows) => Row::Properties(&rows[index]),
            Self::Totals(collection, portfolio, curves) => {
                Row::Holding(*collection, portfolio.total(curves[index]))
            }
            Self::Customers(collection, portfolio, curves) => {
                Row::Holding(*collection, portfolio.row(curves, position))
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).map(|position| self.get(position))
    }

    /// The rows from a position on that pass the filter, and how many pass it on all pages.
    fn page(&self, filter: Option<&Filter>, start: u64, limit: u64) -> (Vec<Row<'_>>, u64) {
        let end = start.saturating_add(limit);
        if filter.is_none() {
            let total = self.len();
            return ((start..end.min(total)).map(|position| self.get(position)).collect(), total);
        }
        let (mut page, mut total) = (Vec::new(), 0);
        for row in self.iter().filter(|row| row.passes(filter)) {
            if (start..end).contains(&total) {
                page.push(row);
            }
            total += 1;
        }
        (page, total)
    }
}

/// One row of a commercial collection.
enum Row<'a> {
    Properties(&'a Properties),
    Holding(Collection, Holding<'a>),
}

impl Row<'_> {
    fn text(&self, property: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Properties(properties) => properties.get(property)?.as_str().map(Cow::Borrowed),
            Self::Holding(_, holding) => holding.text(property),
        }
    }

    fn passes(&self, filter: Option<&Filter>) -> bool {
        filter.is_none_or(|filter| filter.passes(&|property| self.text(property)))
    }

    /// What is used and the total; in a listed row, whatever is no integer counts as nothing.
    fn counts(&self, collection: &Collection) -> [i64; 2] {
        match self {
            Self::Properties(properties) => {
                // A listed row may have the other spelling.
                let spellings = [collection.used, "licenseActive", "licensesActive"];
                let used = spellings.into_iter().find_map(|name| properties.get(name));
                [used, properties.get(collection.total)].map(|value| {
                    let number =
                        value.and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok()));
                    number.unwrap_or_default()
                })
            }
            Self::Holding(_, holding) => [holding.counts.used, holding.counts.total].map(i64::from),
        }
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (collection, holding) = match self {
            Self::Properties(properties) => return properties.serialize(serializer),
            Self::Holding(collection, holding) => (collection, holding),
        };
        let mut row = serializer.serialize_map(None)?;
        for field in [PROCESSED].iter().chain(collection.fields) {
            if let Some(text) = holding.text(field) {
                row.serialize_entry(field, &text)?;
            }
        }
        row.serialize_entry(collection.used, &holding.counts.used)?;
        row.serialize_entry(collection.total, &holding.counts.total)?;
        row.end()
    }
}

impl Collection {
    /// The collection with another name of the property for what is used.
    pub(crate) fn with_used(self, used: &'static str) -> Self {
        Self { used, ..self }
    }
}
