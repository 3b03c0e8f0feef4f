//! How a scenario's values are written: rows by name or as a list, durations for people, statuses as
//! numbers.
//!
//! It does not know what a value is for.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Unexpected, Visitor, value::SeqAccessDeserializer},
};

use super::scenario::Rows;

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Documented => serializer.serialize_str("documented"),
            Self::Portfolio => serializer.serialize_str("portfolio"),
            Self::Listed(rows) => rows.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RowsVisitor)
    }
}

/// Written by hand because an untagged enum cannot say which key of which row is wrong.
struct RowsVisitor;

impl<'de> Visitor<'de> for RowsVisitor {
    type Value = Rows;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("`documented`, `portfolio` or a list of rows")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Rows, E> {
        match name {
            "documented" => Ok(Rows::Documented),
            "portfolio" => Ok(Rows::Portfolio),
            _ => Err(E::invalid_value(Unexpected::Str(name), &self)),
        }
    }

    fn visit_seq<S: SeqAccess<'de>>(self, rows: S) -> Result<Rows, S::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(rows)).map(Rows::Listed)
    }
}

pub(super) mod human_duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|error| serde::de::Error::custom(format!("`{text}` is not a duration: {error}")))
    }
}

pub(super) mod status_code {
    use axum::http::StatusCode;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(crate) fn serialize<S: Serializer>(
        value: &Option<StatusCode>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(|status| status.as_u16()).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<StatusCode>, D::Error> {
        let Some(number) = Option::<u16>::deserialize(deserializer)? else { return Ok(None) };
        // A 1xx is no final answer: the server would never finish the exchange.
        StatusCode::from_u16(number)
            .ok()
            .filter(|_| (200..600).contains(&number))
            .map(Some)
            .ok_or_else(|| serde::de::Error::custom(format!("`{number}` is not a status from 200 to 599")))
    }
}

pub(super) mod headers {
    use std::collections::BTreeMap;

    use axum::http::{HeaderName, HeaderValue, header};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    type Headers = Vec<(HeaderName, Option<HeaderValue>)>;

    /// What the server itself has to get right, or there is no answer at all.
    const OF_THE_CONNECTION: [HeaderName; 3] =
        [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];

    pub(crate) fn serialize<S: Serializer>(value: &Headers, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let map: BTreeMap<_, _> =
            value.iter().map(|(name, value)| (name.as_str(), value.as_ref().map(text))).collect();
        map.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Headers, D::Error> {
        let map = BTreeMap::<String, Option<String>>::deserialize(deserializer)?;
        let header = |(name, value): (String, Option<String>)| {
            let wrong = || D::Error::custom(format!("`{name}` is no header that can be set"));
            let parsed: HeaderName = name.parse().map_err(|_| wrong())?;
            if OF_THE_CONNECTION.contains(&parsed) {
                return Err(wrong());
            }
            let value = value.map(|text| HeaderValue::from_bytes(text.as_bytes()).map_err(|_| wrong()));
            Ok((parsed, value.transpose()?))
        };
        map.into_iter().map(header).collect()
    }
}

pub(super) mod base64_text {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(|bytes| STANDARD.encode(bytes)).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        STANDARD.decode(text).map(Some).map_err(|error| D::Error::custom(format!("no Base64: {error}")))
    }
}
