//! Makes text from outside fit for a message: one line of bounded length, without the secrets that were sent.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use crate::domain::text::changes_direction;

/// Removes the secrets of one request from text that may quote the request.
#[derive(Default)]
pub(super) struct Redactor {
    secrets: Vec<SecretString>,
    /// The hashes of all parts of the secrets by their length, computed when they are first needed.
    parts: OnceLock<BTreeMap<usize, HashSet<u64>>>,
    /// The hash function, which differs from process to process.
    hasher: RandomState,
}

/// The longest text from outside in a message, in characters.
const MAX_TEXT: usize = 300;
/// The length in bytes from which on a part of a secret is removed too.
const PART: usize = 24;
/// The length from which on the base64 form of a secret is removed, because shorter texts occur by chance.
const SHORTEST_BASE64: usize = 4;

impl Redactor {
    pub(super) fn new(secrets: Vec<SecretString>) -> Self {
        Self { secrets, ..Self::default() }
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
        let parts = self.parts(text);
        let (mut redacted, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(next) = rest.chars().next() {
            let at = text.len() - rest.len();
            let secrets = self.secrets.iter().map(ExposeSecret::expose_secret);
            // The longest match counts, because one secret may begin with another.
            let whole = secrets.filter_map(|secret| length_of(secret, rest)).max();
            let part = parts.iter().find(|part| part.contains(&at)).map(|part| part.end - at);
            let longest = whole.max(part).unwrap_or_default();
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

    /// The places of parts of secrets in `text`, in order and without overlap: runs of [`PART`] bytes or more of a
    /// secret or of its base64 form, and a whole base64 form that is shorter.
    fn parts(&self, text: &str) -> Vec<Range<usize>> {
        let known = self.parts.get_or_init(|| {
            let mut known = BTreeMap::<usize, HashSet<u64>>::new();
            for secret in self.secrets.iter().map(ExposeSecret::expose_secret) {
                // A shorter secret is only looked for as a whole.
                let raw = Some(secret.as_bytes().to_vec()).filter(|raw| raw.len() >= PART);
                let forms = [secret.as_bytes(), percent_encoded(secret).as_bytes()].map(base64_forms);
                let forms = forms.into_iter().flatten().filter(|form| form.len() >= SHORTEST_BASE64);
                for form in forms.chain(raw) {
                    let (size, form) =
                        (form.len().min(PART), form.into_iter().map(unified).collect::<Vec<_>>());
                    let hashes = form.windows(size).map(|part| self.hasher.hash_one(part));
                    known.entry(size).or_default().extend(hashes);
                }
            }
            known
        });
        if known.is_empty() {
            return Vec::new();
        }
        // As it is, and percent-decoded: a secret may have a percent sign of its own.
        let raw = text.bytes().enumerate().map(|(at, byte)| (byte, at..at + 1)).collect();
        let mut found = Vec::new();
        for view in [raw, decoded(text)] {
            let (bytes, places): (Vec<u8>, Vec<Range<usize>>) =
                view.into_iter().map(|(byte, place)| (unified(byte), place)).unzip();
            for (size, hashes) in known {
                let windows = bytes.windows(*size).zip(places.windows(*size));
                let windows = windows.filter(|(window, _)| hashes.contains(&self.hasher.hash_one(window)));
                found.extend(windows.map(|(_, places)| {
                    let (start, end) = (places[0].start, places[size - 1].end);
                    text.floor_char_boundary(start)..text.ceil_char_boundary(end)
                }));
            }
        }
        found.sort_by_key(|part| part.start);
        let mut parts: Vec<Range<usize>> = Vec::new();
        for part in found {
            match parts.last_mut() {
                Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
                _ => parts.push(part),
            }
        }
        parts
    }
}

/// The base64 forms of `bytes` within a longer text, which depend on how many bytes come before: the characters that
/// have bits of `bytes` alone.
fn base64_forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let forms = [(0, 0), (1, 2), (2, 3)].map(|(before, mixed)| {
        let encoded = STANDARD_NO_PAD.encode([&[0; 2][..before], bytes].concat());
        let end = (before + bytes.len()) * 8 / 6;
        encoded.into_bytes().into_iter().take(end).skip(mixed).collect()
    });
    forms.into()
}

/// `text` as a form encodes it, except that a space is not `+`.
fn percent_encoded(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b'*' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    encoded.collect()
}

/// A byte that is the same in both alphabets of base64 and in both spellings of a space.
fn unified(byte: u8) -> u8 {
    match byte {
        b'-' | b' ' => b'+',
        b'_' => b'/',
        byte => byte,
    }
}

/// The bytes that `text` stands for, percent-encoded ones decoded, each with its place in `text`.
fn decoded(text: &str) -> Vec<(u8, Range<usize>)> {
    let (mut bytes, mut at) = (Vec::with_capacity(text.len()), 0);
    while let [first, rest @ ..] = text.as_bytes().get(at..).unwrap_or_default() {
        let (byte, length) = match rest {
            [high, low, ..] if *first == b'%' => hex(*high, *low).map_or((*first, 1), |byte| (byte, 3)),
            _ => (*first, 1),
        };
        bytes.push((byte, at..at + length));
        at += length;
    }
    bytes
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let value = char::from(high).to_digit(16)? * 16 + char::from(low).to_digit(16)?;
    u8::try_from(value).ok()
}

/// The length of `secret` as `text` begins with it: verbatim, or with any of its bytes percent-encoded, because a
/// quoting server may use `%2f`, `%2F` or `/`. The length ends at a character boundary.
fn length_of(secret: &str, text: &str) -> Option<usize> {
    if text.starts_with(secret) {
        return Some(secret.len());
    }
    let mut length = 0;
    for byte in secret.bytes() {
        length += match text.as_bytes().get(length..)? {
            [b'%', high, low, ..] if hex(*high, *low) == Some(byte) => 3,
            [b'+', ..] if byte == b' ' => 1,
            [same, ..] if *same == byte => 1,
            _ => return None,
        };
    }
    Some(length)
}

/// Whether a character is a control character, begins a new line, or changes the direction of writing.
fn breaks_a_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || changes_direction(c)
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "the secrets are ASCII")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONG: &str = "0.AXoA9f-Qx7~kLm2_pR4sT6uV8wY.zB1c3D5e7G9hJkLmNpQrS";

    #[test]
    fn a_part_of_24_characters_is_removed_and_a_shorter_one_is_not() {
        let redactor = Redactor::new(vec![LONG.into()]);
        for (text, line) in [
            (format!("token {}…", &LONG[..24]), "token (secret)…"),
            (format!("token …{}", &LONG[10..40]), "token …(secret)"),
            (format!("{} and {}", &LONG[..30], &LONG[20..]), "(secret) and (secret)"),
            (format!("all {LONG}."), "all (secret)."),
            (format!("encoded {}", LONG[5..40].replace('~', "%7E").replace('_', "%5f")), "encoded (secret)"),
            (format!("ü{}ü", &LONG[3..30]), "ü(secret)ü"),
        ] {
            assert_eq!(redactor.one_line(&text), line);
        }
        let short = format!("short {}", &LONG[..23]);
        assert_eq!(redactor.one_line(&short), short);
    }

    #[test]
    fn the_base64_form_of_a_secret_is_removed_in_either_alphabet_with_and_without_padding() {
        use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
        let redactor = Redactor::new(vec!["??>~ s3cret".into(), LONG.into()]);
        for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
            for secret in ["??>~ s3cret", "%3F%3F%3E%7E%20s3cret", LONG] {
                for before in ["", "i", "id", "id:"] {
                    let encoded = engine.encode(format!("{before}{secret}"));
                    for text in [encoded.clone(), encoded.replace('+', "%2B").replace('/', "%2f")] {
                        let line = redactor.one_line(&format!("Authorization: Basic {text}"));
                        // What is left has bits of the bytes around the secret, and less than one of its bytes.
                        let left = line.replace("(secret)", "");
                        let rest =
                            left.strip_prefix("Authorization: Basic").unwrap().trim().trim_end_matches("%3D");
                        assert!(line.contains("(secret)") && rest.trim_end_matches('=').len() <= 6, "{line}");
                    }
                }
            }
        }
        let text = STANDARD.encode("nothing of it");
        assert_eq!(redactor.one_line(&text), text);
    }

    proptest! {
        #[test]
        fn no_part_of_24_characters_of_a_base64_form_survives_in_any_text(
            secret in "[!-~]{6,80}", before in ".{0,9}", after in ".{0,9}", url_safe: bool,
        ) {
            use base64::engine::general_purpose::URL_SAFE_NO_PAD;
            let engine = if url_safe { &URL_SAFE_NO_PAD } else { &STANDARD_NO_PAD };
            let encoded = engine.encode(format!("{before}{secret}{after}"));
            let own = (before.len() * 8).div_ceil(6)..(before.len() + secret.len()) * 8 / 6;
            let own = &encoded[own];
            let line = Redactor::new(vec![secret.into()]).redacted(&format!("{before} {encoded} {after}"));
            for part in own.as_bytes().windows(own.len().min(PART)) {
                prop_assert!(!line.as_bytes().windows(part.len()).any(|window| window == part), "{line}");
            }
        }

        #[test]
        fn no_part_of_24_characters_of_a_secret_survives_in_any_text(
            secret in "[!-~]{24,80}", before in ".{0,40}", after in ".{0,40}",
            start in 0usize..60, length in 24usize..80,
        ) {
            let end = (start + length).min(secret.len());
            prop_assume!(start < end && end - start >= PART);
            let text = format!("{before}{}{after}", &secret[start..end]);
            let line = Redactor::new(vec![secret.clone().into()]).redacted(&text);
            for part in secret.as_bytes().windows(PART) {
                prop_assert!(!line.as_bytes().windows(PART).any(|window| window == part), "{line}");
            }
        }
    }

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
