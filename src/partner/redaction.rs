//! Makes text from outside fit for a message: one line of bounded length, without the secrets that were sent.

use secrecy::{ExposeSecret, SecretString};

/// Removes the secrets of one request from text that may quote the request.
#[derive(Default)]
pub(super) struct Redactor(Vec<SecretString>);

/// The longest text from outside in a message, in characters.
const MAX_TEXT: usize = 300;

impl Redactor {
    pub(super) fn new(secrets: Vec<SecretString>) -> Self {
        Self(secrets)
    }

    /// `prefix` and `text` on one line, or nothing if `text` is blank.
    pub(super) fn quote(&self, prefix: &str, text: &str) -> String {
        let line = self.one_line(text);
        if line.is_empty() { line } else { format!("{prefix}{line}") }
    }

    /// `text` without secrets, control characters and surplus length.
    pub(super) fn one_line(&self, text: &str) -> String {
        let text = self.redacted(text);
        let mut line: String =
            text.chars().take(MAX_TEXT).map(|c| if breaks_a_line(c) { ' ' } else { c }).collect();
        if text.chars().nth(MAX_TEXT).is_some() {
            line.push('…');
        }
        line.trim().to_owned()
    }

    fn redacted(&self, text: &str) -> String {
        let (mut redacted, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(next) = rest.chars().next() {
            let secrets = self.0.iter().map(ExposeSecret::expose_secret);
            // The longest match counts, because one secret may begin with another.
            let longest = secrets.filter_map(|secret| length_of(secret, rest)).max().unwrap_or_default();
            let length = if longest > 0 {
                redacted.push_str("(secret)");
                longest
            } else {
                redacted.push(next);
                next.len_utf8()
            };
            rest = rest.split_at(length).1;
        }
        redacted
    }
}

/// The length of `secret` as `text` begins with it: verbatim, or with any of its bytes percent-encoded, because a
/// quoting server may use `%2f`, `%2F` or `/`. The length ends at a character boundary.
fn length_of(secret: &str, text: &str) -> Option<usize> {
    if text.starts_with(secret) {
        return Some(secret.len());
    }
    let hex = |high: u8, low: u8| Some(char::from(high).to_digit(16)? * 16 + char::from(low).to_digit(16)?);
    let mut length = 0;
    for byte in secret.bytes() {
        length += match text.as_bytes().get(length..)? {
            [b'%', high, low, ..] if hex(*high, *low) == Some(byte.into()) => 3,
            [b'+', ..] if byte == b' ' => 1,
            [same, ..] if *same == byte => 1,
            _ => return None,
        };
    }
    Some(length)
}

/// Whether a character is a control character, begins a new line, or changes the direction of writing.
fn breaks_a_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_break_a_log_line() {
        let none = Redactor::default();
        assert_eq!(none.one_line("a\r\nlevel=ERROR\u{1b}[31m"), "a  level=ERROR [31m");
        assert_eq!(none.one_line("a\u{2028}b\u{202e}c\u{2069}"), "a b c");
        assert_eq!(none.one_line(&"x".repeat(400)).chars().count(), MAX_TEXT + 1);
    }

    #[test]
    fn a_quoted_secret_is_removed_in_every_spelling() {
        let redactor = Redactor::new(vec!["s3cret/+~".into(), "s3cret/+~2".into(), "0.ü token".into()]);
        for (text, line) in [
            ("raw=s3cret/+~ and", "raw=(secret) and"),
            ("of two the longer: s3cret/+~2", "of two the longer: (secret)"),
            ("client_secret=s3cret%2F%2B%7E&token=0.%C3%BC+token&", "client_secret=(secret)&token=(secret)&"),
            ("s3cret%2f+~0%2e%c3%BC%20token", "(secret)(secret)"),
            ("100 % of s3cret%2F%2", "100 % of s3cret%2F%2"),
            (&format!("{}s3cret/+~", "x".repeat(MAX_TEXT - 1)), &format!("{}(…", "x".repeat(MAX_TEXT - 1))),
        ] {
            assert_eq!(redactor.one_line(text), line);
        }
        let blank = Redactor::new(vec!["".into()]);
        assert_eq!(blank.one_line("an empty secret matches nothing"), "an empty secret matches nothing");
    }
}
