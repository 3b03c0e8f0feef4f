//! How a scenario writes durations, status codes, headers and binary bodies, as modules for `#[serde(with = "…")]`.
//!
//! It does not know what a value is used for.

pub(crate) mod human_duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format!("`{text}` is not a duration: {error}")))
    }
}

pub(crate) mod status_code {
    use axum::http::StatusCode;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde sets the signature")]
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
        // A 1xx status is not final: the server would never complete the exchange.
        let status = StatusCode::from_u16(number).ok().filter(|_| (200..600).contains(&number));
        let wrong = || D::Error::custom(format!("`{number}` is not a status from 200 to 599"));
        status.map(Some).ok_or_else(wrong)
    }
}

pub(crate) mod headers {
    use std::collections::BTreeMap;

    use axum::http::{HeaderName, HeaderValue, header};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    type Headers = Vec<(HeaderName, Option<HeaderValue>)>;

    /// The headers that only the server itself can set without breaking the response.
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
            let wrong = || D::Error::custom(format!("`{name}` is not a header that can be set"));
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

pub(crate) mod base64_text {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "serde sets the signature")]
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
        STANDARD.decode(text).map(Some).map_err(|error| D::Error::custom(format!("not Base64: {error}")))
    }
}
