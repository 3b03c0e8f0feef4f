//! Reads the members of rows. What consecutive rows have in common is parsed and kept once.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::{Timestamp, civil, tz::TimeZone};
use uuid::Uuid;

use crate::domain::figures::{Percent, licenses};
use crate::domain::row::{LabelPool, RowError};

use super::json_members::Scalar;

/// A member of a row, if it is there.
pub(super) type Field<'a> = Option<Scalar<'a>>;

/// Reads the members of rows.
pub(super) struct Fields {
    labels: LabelPool,
    max_label_bytes: usize,
    /// The date that was parsed last, and its text.
    date: Option<(String, Timestamp)>,
}

impl Fields {
    /// Refuses labels longer than `max_label_bytes`.
    pub(super) fn new(max_label_bytes: usize) -> Self {
        Self { labels: LabelPool::default(), max_label_bytes, date: None }
    }

    /// A label.
    ///
    /// # Errors
    /// If it is missing, is no text or is too long.
    pub(super) fn label(&mut self, field: Field<'_>) -> Result<Arc<str>, RowError> {
        let text = text(field).ok_or(RowError::InvalidLabel)?.ok_or(RowError::MissingLabel)?;
        if text.len() <= self.max_label_bytes {
            Ok(self.labels.share(&text))
        } else {
            Err(RowError::InvalidLabel)
        }
    }

    /// A label that is the id of a customer. A GUID is written in lower case, since its case may vary between collections.
    ///
    /// # Errors
    /// As for [`Fields::label`].
    pub(super) fn id(&mut self, field: Field<'_>) -> Result<Arc<str>, RowError> {
        let id = self.label(field)?;
        Ok(if let Cow::Owned(folded) = folded(&id) { self.labels.share(&folded) } else { id })
    }

    /// A name for people, if there is one. What exceeds the longest label is cut off.
    pub(super) fn name(&mut self, field: Field<'_>) -> Option<Arc<str>> {
        let text = text(field)??;
        let (name, _) = text.split_at(text.floor_char_boundary(self.max_label_bytes));
        Some(self.labels.share(name))
    }

    /// The time at which Microsoft processed the row.
    ///
    /// # Errors
    /// If it is missing or is no date.
    pub(super) fn date(&mut self, field: Field<'_>) -> Result<Timestamp, RowError> {
        let text = match field {
            None | Some(Scalar::Null) => return Err(RowError::MissingDate),
            Some(Scalar::Text(text)) => text,
            Some(_) => return Err(RowError::InvalidDate),
        };
        if let Some((_, date)) = self.date.as_ref().filter(|(known, _)| *known == text) {
            return Ok(*date);
        }
        let date = parse_date(&text).ok_or(RowError::InvalidDate)?;
        self.date = Some((text.into_owned(), date));
        Ok(date)
    }
}

/// An id, in lower case if it is a GUID.
pub(super) fn folded(id: &str) -> Cow<'_, str> {
    let varies = id.bytes().any(|byte| byte.is_ascii_uppercase()) && Uuid::try_parse(id).is_ok();
    if varies { id.to_ascii_lowercase().into() } else { id.into() }
}

/// A text; `Some(None)` if there is none or it is empty, and `None` if the member is something else.
#[expect(clippy::option_option, reason = "the three cases have three errors")]
fn text(field: Field<'_>) -> Option<Option<Cow<'_, str>>> {
    match field {
        None | Some(Scalar::Null) => Some(None),
        Some(Scalar::Text(text)) => Some(Some(text).filter(|text| !text.is_empty())),
        Some(_) => None,
    }
}

/// A percentage.
///
/// # Errors
/// If it is missing or is no finite number from 0.
pub(super) fn percent(field: &Field<'_>) -> Result<Percent, RowError> {
    match field {
        None | Some(Scalar::Null) => Err(RowError::MissingValue),
        Some(Scalar::Number(value)) => Percent::new(*value),
        Some(_) => Err(RowError::InvalidNumber),
    }
}

/// A number of licences, which grouped answers of Partner Center write as a text.
///
/// # Errors
/// If it is missing or is no number of licences.
pub(super) fn count(field: &Field<'_>) -> Result<u64, RowError> {
    match field {
        None | Some(Scalar::Null) => Err(RowError::MissingValue),
        Some(Scalar::Number(value)) => licenses(*value),
        Some(Scalar::Text(text)) => licenses(text.trim().parse().map_err(|_| RowError::InvalidNumber)?),
        Some(Scalar::Other) => Err(RowError::InvalidNumber),
    }
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
    use super::*;

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
    fn a_number_of_licences_may_be_a_number_or_a_text() {
        let text = |text: &'static str| Some(Scalar::Text(text.into()));
        assert_eq!(count(&text("405")), Ok(405));
        assert_eq!(count(&Some(Scalar::Number(206.0))), Ok(206));
        for missing in [None, Some(Scalar::Null)] {
            assert_eq!(count(&missing), Err(RowError::MissingValue));
        }
        for wrong in [text(""), text("many"), text("-1"), text("1e400"), text("NaN"), Some(Scalar::Other)] {
            assert_eq!(count(&wrong), Err(RowError::InvalidNumber), "{wrong:?}");
        }
    }
}
