//! Parses `Accept` and `Accept-Encoding`.
//!
//! Every header can be parsed: malformed items are skipped.

use axum::http::{HeaderMap, HeaderName};

/// One item of such a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Clause<'a> {
    /// The media range or the coding, as it is spelled.
    pub(super) value: &'a str,
    /// The quality in thousandths; 0 means not acceptable.
    pub(super) quality: u16,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Clause<'a> {
    /// Returns the value of a parameter without surrounding quotes.
    pub(super) fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = split(text, ';').map(str::trim);
        let value = parts.next().filter(|value| !value.is_empty())?;
        let pairs = parts.filter_map(|part| part.split_once('='));
        let parameters: Vec<_> =
            pairs.map(|(name, value)| (name.trim_end(), value.trim_start().trim_matches('"'))).collect();
        let mut clause = Self { value, quality: 1000, parameters };
        if let Some(q) = clause.parameter("q") {
            clause.quality = thousandths(q)?;
        }
        Some(clause)
    }
}

/// Joins all headers of a name, which mean the same as one header with commas.
pub(super) fn joined(headers: &HeaderMap, name: HeaderName) -> String {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

/// Returns the well-formed items of a header in their order.
pub(super) fn clauses(header: &str) -> Vec<Clause<'_>> {
    split(header, ',').filter_map(Clause::parse).collect()
}

/// Splits a text at a separator that is not within quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c => return c == separator && !quoted,
        }
        false
    })
}

/// Parses a quality of 0 to 1 into thousandths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0..=1000")]
fn thousandths(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let quality = text.parse::<f64>().ok().filter(|_| digits)?;
    Some((quality.min(1.0) * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_parsed_with_parameters_and_qualities() {
        let list = clauses("text/plain; version=\"0.0.4\" ;Q=0.5, */*;q=0.1,gzip");
        let read: Vec<_> = list.iter().map(|clause| (clause.value, clause.quality)).collect();
        assert_eq!(read, [("text/plain", 500), ("*/*", 100), ("gzip", 1000)]);
        assert_eq!((list[0].parameter("VERSION"), list[0].parameter("charset")), (Some("0.0.4"), None));
    }

    #[test]
    fn separators_within_quotes_do_not_separate() {
        let list = clauses(r#"a;x="1,2;q=0\",3";q=0.3,b;x="never ends, c"#);
        let read: Vec<_> = list.iter().map(|clause| (clause.value, clause.quality)).collect();
        assert_eq!(read, [("a", 300), ("b", 1000)]);
    }

    #[test]
    fn malformed_items_are_skipped() {
        for (header, left) in [
            ("", &[][..]),
            (" , ;q=1,;,=", &["="]),
            ("a;q=x,b", &["b"]),
            ("a;q=,b", &["b"]),
            ("a;q=-1,b;q=inf,c;q=nan,d;q=1e0,e;q=.,f", &["f"]),
            ("a;;;;, b;level", &["a", "b"]),
        ] {
            let list = clauses(header);
            assert_eq!(list.iter().map(|clause| clause.value).collect::<Vec<_>>(), left, "{header}");
        }
    }

    #[test]
    fn a_quality_is_at_most_one() {
        for (text, quality) in [("0", 0), ("0.000", 0), ("1", 1000), ("1.0", 1000), ("7", 1000), (".25", 250)]
        {
            assert_eq!(thousandths(text), Some(quality), "{text}");
        }
    }
}
