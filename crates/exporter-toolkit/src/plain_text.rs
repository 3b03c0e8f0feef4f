//! Checks that a text is what a person meant to enter, and names what is not, without quoting it.
//!
//! A secret of OAuth consists of printable ASCII characters only (RFC 6749, appendices A.2 and A.17).

/// Decodes the bytes of a file, without its byte order mark.
///
/// # Errors
/// What is wrong with the encoding, and what to do.
pub fn decode(bytes: &[u8]) -> Result<&str, String> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err("is UTF-16; save it as UTF-8".to_owned());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
        format!("is not UTF-8 on line {line}; save it as UTF-8")
    })?;
    Ok(text.trim_start_matches('\u{feff}'))
}

/// Removes what editors and shells add to a value: surrounding white space and a byte order mark.
pub fn trim(text: &str) -> &str {
    text.trim_start_matches('\u{feff}').trim()
}

/// Returns what is between typographic quotation marks, which word processors put in place of `"` and `'`.
pub fn within_typographic_quotes(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix(is_typographic_quote)?;
    inner.strip_suffix(|c| is_typographic_quote(c) || matches!(c, '"' | '\''))
}

/// Whether a character is a quotation mark of word processors.
pub fn is_typographic_quote(character: char) -> bool {
    matches!(character, '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}')
}

/// Checks a trimmed secret.
///
/// # Errors
/// What is wrong with it, and what to do; nothing of it is quoted but the code point of a character that cannot belong
/// to a secret.
pub fn check_secret(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    let is_within = |start: char, end: char| text.len() > 1 && text.starts_with(start) && text.ends_with(end);
    if (is_within('{', '}') || is_within('[', ']')) && text.contains('"') {
        return Err("is JSON; store only the value itself, without its name and without quotes".to_owned());
    }
    if is_within('"', '"') || is_within('\'', '\'') || is_within('`', '`') {
        return Err("is in quotes; remove the quotes".to_owned());
    }
    match unprintable(text) {
        Some(flaw) => Err(format!("{flaw}; a secret has printable ASCII characters only: copy it again")),
        None => Ok(()),
    }
}

/// Returns the first character that is not printable ASCII and its position, such as
/// `contains a line break (U+000A) at line 1, column 9`.
pub fn unprintable(text: &str) -> Option<String> {
    first(text, |c| !matches!(c, ' '..='~'))
}

/// Returns the first control character of a text of several lines, and its position.
pub fn control_character(text: &str) -> Option<String> {
    first(text, |c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

fn first(text: &str, is_wrong: impl Fn(char) -> bool) -> Option<String> {
    let (offset, found) = text.char_indices().find(|(_, c)| is_wrong(*c))?;
    let (before, _) = text.split_at(offset);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let (name, code) = (name(found), u32::from(found));
    Some(format!("contains {name} (U+{code:04X}) at line {line}, column {column}"))
}

/// Returns what a character is, in words.
fn name(character: char) -> &'static str {
    match character {
        '\0' => "a NUL",
        '\t' => "a tab",
        '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => "a line break",
        '\u{a0}' | '\u{202f}' => "a non-breaking space",
        '\u{ad}' => "a soft hyphen",
        '\u{200b}' => "a zero-width space",
        '\u{feff}' => "a byte order mark",
        '\u{200c}' | '\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}' => {
            "an invisible character"
        }
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            "an invisible mark of writing direction"
        }
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "a typographic dash",
        c if is_typographic_quote(c) => "a typographic quotation mark",
        '\u{fffd}' => "a replacement character",
        c if c.is_control() => "a control character",
        c if c.is_whitespace() => "a space that is not ASCII",
        _ => "a character that is not ASCII",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_printable_ascii_is_accepted() {
        for secret in ["x", "the secret", "~!\"#$%&'()*+,-./:;<=>?@[]^_`{|}", "{abc}", "a'b", "0.AXwA-_~"] {
            assert_eq!(check_secret(secret), Ok(()), "{secret}");
        }
    }

    #[test]
    fn a_secret_that_cannot_be_right_is_refused_with_the_kind_of_character_and_its_place() {
        let copy = "; a secret has printable ASCII characters only: copy it again";
        for (secret, expected) in [
            ("", "is empty"),
            ("\"canary\"", "is in quotes; remove the quotes"),
            ("'canary'", "is in quotes; remove the quotes"),
            (
                "{\"refresh_token\": \"canary\"}",
                "is JSON; store only the value itself, without its name and without quotes",
            ),
            ("canary\ncanary", "contains a line break (U+000A) at line 1, column 7"),
            ("canary\r\ncanary", "contains a line break (U+000D) at line 1, column 7"),
            ("canary\0", "contains a NUL (U+0000) at line 1, column 7"),
            ("can\tary", "contains a tab (U+0009) at line 1, column 4"),
            ("canary\u{1b}[0m", "contains a control character (U+001B) at line 1, column 7"),
            ("canary\u{7f}", "contains a control character (U+007F) at line 1, column 7"),
            ("\u{200b}canary", "contains a zero-width space (U+200B) at line 1, column 1"),
            ("canary\u{feff}", "contains a byte order mark (U+FEFF) at line 1, column 7"),
            ("can\u{a0}ary", "contains a non-breaking space (U+00A0) at line 1, column 4"),
            ("can\u{2013}ary", "contains a typographic dash (U+2013) at line 1, column 4"),
            ("\u{201c}canary\u{201d}", "contains a typographic quotation mark (U+201C) at line 1, column 1"),
            ("canarü", "contains a character that is not ASCII (U+00FC) at line 1, column 6"),
        ] {
            let expected = if expected.starts_with("contains") {
                format!("{expected}{copy}")
            } else {
                expected.to_owned()
            };
            let error = check_secret(secret).unwrap_err();
            assert_eq!(error, expected, "{secret:?}");
            assert!(!error.contains("canary"));
        }
    }

    #[test]
    fn a_text_is_in_typographic_quotes_if_one_opens_and_any_quote_closes() {
        for text in
            ["\u{201c}a\u{201d}", "\u{201e}a\u{201c}", " \u{2018}a\u{2019} ", "\u{ab}a\u{bb}", "\u{201c}a\""]
        {
            assert_eq!(within_typographic_quotes(text), Some("a"), "{text}");
        }
        for text in ["a", "'a'", "\u{201c}", "\u{201c}a\u{201d} b", "a\u{2019}", ""] {
            assert_eq!(within_typographic_quotes(text), None, "{text}");
        }
    }

    #[test]
    fn a_file_in_another_encoding_says_how_to_save_it() {
        assert_eq!(decode(b"\xff\xfea\0").unwrap_err(), "is UTF-16; save it as UTF-8");
        assert_eq!(decode(b"\xfe\xff\0a").unwrap_err(), "is UTF-16; save it as UTF-8");
        assert_eq!(decode(b"a\nb\xe9").unwrap_err(), "is not UTF-8 on line 2; save it as UTF-8");
        assert_eq!(decode(b"\xef\xbb\xbfa"), Ok("a"));
    }
}
