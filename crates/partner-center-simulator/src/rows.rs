//! The rows of a collection as a scenario writes them: a name or a list.
//!
//! It does not know which rows stand behind a name.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, SeqAccess, Unexpected, Visitor, value::SeqAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// The rows of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rows<R> {
    /// The rows of Microsoft's documentation.
    #[default]
    Documented,
    /// A fictitious partner whose figures change over time.
    Portfolio,
    /// The rows that the scenario lists.
    Listed(Vec<R>),
}

/// The rows of a usage report.
pub type ReportRows = Rows<ReportRow>;

/// The properties of a row, exactly as they are sent.
pub type Properties = Map<String, Value>;

/// The rows of the token endpoint: none, and a scenario cannot list any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NoRows;

impl<'de> Deserialize<'de> for NoRows {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("a token endpoint has no rows"))
    }
}

/// One row of a usage report, in which an absent key leaves the property out of the response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportRow {
    /// The property `serviceName`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The property `workloadName`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The property `channel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The property `proratedLicensesUsagePercent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// The property `processedDateTime`, sent exactly as the scenario writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processed: Option<String>,
}

impl<R: Serialize> Serialize for Rows<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Documented => serializer.serialize_str("documented"),
            Self::Portfolio => serializer.serialize_str("portfolio"),
            Self::Listed(rows) => rows.serialize(serializer),
        }
    }
}

impl<'de, R: Deserialize<'de>> Deserialize<'de> for Rows<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RowsVisitor(PhantomData))
    }
}

/// Reads [`Rows`]; an untagged enum would not say which key of which row is wrong.
struct RowsVisitor<R>(PhantomData<R>);

impl<'de, R: Deserialize<'de>> Visitor<'de> for RowsVisitor<R> {
    type Value = Rows<R>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("`documented`, `portfolio` or a list of rows")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Rows<R>, E> {
        match name {
            "documented" => Ok(Rows::Documented),
            "portfolio" => Ok(Rows::Portfolio),
            _ => Err(E::invalid_value(Unexpected::Str(name), &self)),
        }
    }

    fn visit_seq<S: SeqAccess<'de>>(self, rows: S) -> Result<Rows<R>, S::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(rows)).map(Rows::Listed)
    }
}
