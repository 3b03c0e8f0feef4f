//! The rows of a usage report as a scenario writes them: a name or a list.
//!
//! It does not know which rows stand behind a name.

use std::fmt;

use serde::de::{Error, SeqAccess, Unexpected, Visitor, value::SeqAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The rows of a usage report.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ReportRows {
    /// The five rows of Microsoft's documentation.
    #[default]
    Documented,
    /// A fictitious partner whose figures change over time.
    Portfolio,
    /// The rows that the scenario lists.
    Listed(Vec<ReportRow>),
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

impl Serialize for ReportRows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Documented => serializer.serialize_str("documented"),
            Self::Portfolio => serializer.serialize_str("portfolio"),
            Self::Listed(rows) => rows.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ReportRows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RowsVisitor)
    }
}

/// Reads [`ReportRows`]; an untagged enum would not say which key of which row is wrong.
struct RowsVisitor;

impl<'de> Visitor<'de> for RowsVisitor {
    type Value = ReportRows;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("`documented`, `portfolio` or a list of rows")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<ReportRows, E> {
        match name {
            "documented" => Ok(ReportRows::Documented),
            "portfolio" => Ok(ReportRows::Portfolio),
            _ => Err(E::invalid_value(Unexpected::Str(name), &self)),
        }
    }

    fn visit_seq<S: SeqAccess<'de>>(self, rows: S) -> Result<ReportRows, S::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(rows)).map(ReportRows::Listed)
    }
}
