//! What holds for whatever Microsoft, or a proxy on the way, may answer. Held against it by the tests, by the
//! seeds and by the fuzz targets, see fuzz/README.md; no part of the program.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::failure::Failure;
use crate::domain::reason::Reason;
use crate::domain::schedule::{LastPoll, Schedule};
use crate::domain::usage::{LicenseUsage, MAX_LABEL_BYTES};

use super::error::{FetchError, Secrets};
use super::http::Reply;
use super::paging::{LinkError, Pages};
use super::wire::{self, Link, Page, WireError};

// === The body of a success ===

/// The body of an answer that is a success: a page whose every item is kept or counted, or a failure that says why.
pub fn payload(body: &[u8]) {
    const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
    const GOOD: &str = r#"{"serviceName":"s","workloadName":"the good one","channel":"c","proratedLicensesUsagePercent":1,"processedDateTime":"2026-01-01T00:00:00Z"}"#;
    let read = |body: &[u8]| wire::page(reply(StatusCode::OK, body).json());
    // Nothing that stands beside a good row takes it away.
    if let Ok(any) = serde_json::from_slice::<&RawValue>(body) {
        let page = read(format!(r#"{{"items":[{any},{GOOD},{any}]}}"#).as_bytes()).expect("a page");
        let report = wire::report(page.rows).expect("it has a row");
        assert!(report.rows().iter().any(|row| row.workload == "the good one"), "it is lost beside {any}");
    }
    let page = match read(body) {
        Ok(page) => page,
        Err(error) => return fit_for_a_message(&error.to_string()),
    };
    kept_or_counted(&page);
    if let Some(link) = &page.next {
        leads_nowhere_else(link);
    }
    if !body.starts_with(BYTE_ORDER_MARK) {
        let marked = read(&[BYTE_ORDER_MARK, body].concat()).expect("the mark makes no difference");
        assert_eq!(format!("{marked:?}"), format!("{page:?}"));
    }
    // As another reader sees it, if it can: a number beyond all bounds or a row without end is too much for it.
    if let Ok(value) = serde_json::from_slice::<Value>(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)) {
        let items = value["items"].as_array().expect("only a list named items makes a page");
        assert_eq!(items.len(), page.rows.len(), "each item is kept or counted");
        for (item, row) in items.iter().zip(&page.rows) {
            if let Ok(row) = row {
                is_what_it_says(item, row);
            }
        }
        assert_eq!(page.next.is_some(), value["links"]["next"].is_object(), "it goes on if it says so");
    }
}

/// The rows of a page, alone and as two pages of the same collection.
fn kept_or_counted(page: &Page) {
    let mut both = page.rows.clone();
    wire::append(&mut both, page.rows.clone()).expect("they are few");
    match (wire::report(page.rows.clone()), wire::report(both)) {
        (Ok(once), Ok(twice)) => {
            once.assert_sound();
            assert_eq!(once.rows().len() + once.dropped(), page.rows.len());
            assert_eq!(once.rows().is_empty(), page.rows.is_empty());
            assert_eq!(twice.rows(), once.rows(), "the same rows once more make no difference");
        }
        (Err(WireError::NothingUsable(rejected)), Err(WireError::NothingUsable(_))) => {
            assert_eq!(rejected.values().sum::<u64>(), page.rows.len() as u64);
            assert!(page.rows.iter().all(Result::is_err), "there was one that can be used");
        }
        (once, twice) => panic!("{once:?}, and as two pages {twice:?}"),
    }
}

fn is_what_it_says(item: &Value, row: &LicenseUsage) {
    for (name, label) in
        [("serviceName", &row.service), ("workloadName", &row.workload), ("channel", &row.channel)]
    {
        assert_eq!(item[name].as_str(), Some(label.as_str()), "{name}");
        assert!(!label.is_empty() && label.len() <= MAX_LABEL_BYTES, "{name}");
    }
    assert_eq!(item["proratedLicensesUsagePercent"].as_f64(), Some(row.percent.get()));
    assert!(item["processedDateTime"].is_string());
}

/// A link is followed within the API it came from, with headers of its own only, and once.
pub(super) fn leads_nowhere_else(link: &Link) {
    for base in ["https://api.example", "http://127.0.0.1:8080", "https://proxy.example/partner"] {
        let mut pages = Pages::begin(base, "usage");
        if let Err(error) = pages.follow(link) {
            fit_for_a_message(&error.to_string());
            continue;
        }
        let next = pages.current();
        assert!(next.url.as_str().starts_with(&format!("{base}/v1/")), "{}", next.url);
        assert_eq!(next.url.fragment(), None);
        for name in next.headers.keys() {
            assert!(name.as_str().starts_with("ms-"), "{name} is ours to set");
        }
        assert_eq!(pages.follow(link), Err(LinkError::Circle));
    }
}

// === The body of a failure ===

/// What was sent with the request, in characters that look different once they are encoded.
pub(super) const SECRETS: [&str; 2] = ["s3cret/+~", "0.AX\"kÄ-t0ken"];

/// The body of an answer that is no success: the status decides as documented, and whatever the body says ends up
/// in one line without secrets.
pub fn error_body(body: &[u8]) {
    let secrets = Secrets(SECRETS.map(Into::into).into());
    for status in [302, 400, 401, 403, 408, 429, 503] {
        let mut reply = reply(StatusCode::from_u16(status).expect("a status"), body);
        reply.retry_after = Some(Duration::from_secs(57));
        // An id is text from outside as well.
        if let Ok(id) = HeaderValue::from_bytes(body.split(|byte| *byte == b'\n').next().unwrap_or_default())
        {
            reply.headers.insert("MS-CV", id);
        }
        for (error, possible) in [
            (FetchError::api(&reply, &secrets), of_the_api(status)),
            (FetchError::token(&reply, &secrets), of_the_sign_in_service(status)),
            (FetchError::payload(&String::from_utf8_lossy(body), &reply, &secrets), &[Reason::Payload][..]),
        ] {
            assert!(possible.contains(&error.reason()), "{status} is no matter of {:?}", error.reason());
            assert_eq!(error.retry_after(), reply.retry_after);
            fit_for_a_message(&error.to_string());
        }
    }
}

fn of_the_api(status: u16) -> &'static [Reason] {
    match status {
        401 => &[Reason::Credentials, Reason::Mfa],
        403 => &[Reason::Forbidden],
        408 => &[Reason::Timeout],
        429 => &[Reason::Throttled],
        _ => &[Reason::Server],
    }
}

fn of_the_sign_in_service(status: u16) -> &'static [Reason] {
    match status {
        408 => &[Reason::Timeout],
        429 => &[Reason::Throttled],
        500.. => &[Reason::Server],
        // The word in the body decides.
        _ => &[Reason::Consent, Reason::Credentials, Reason::Mfa, Reason::Server],
    }
}

/// One line, of bounded length, without a secret in any spelling.
pub(super) fn fit_for_a_message(text: &str) {
    assert!(!text.is_empty() && text.trim() == text, "there is something to read, and no gap: {text:?}");
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!text.contains(breaks), "one line, from left to right: {text:?}");
    assert!(text.chars().count() < 1_500, "not too long: {text:?}");
    // `+` means a space in a form, and itself elsewhere.
    let spellings = [text.to_owned(), decoded(text), decoded(&text.replace('+', " "))];
    for secret in SECRETS {
        assert!(!spellings.iter().any(|text| text.contains(secret)), "{secret} is in {text:?}");
    }
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => bytes.extend([&[byte], &part.as_bytes()[2..]].concat()),
            None => bytes.extend([b"%", part.as_bytes()].concat()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

// === Retry-After ===

/// The headers of an answer, one per line: what they wish for is bounded, and the same in every spelling.
pub fn retry_after(headers: &[u8]) {
    const NOW: Timestamp = Timestamp::constant(1_795_410_800, 0);
    let headers = header_map(headers);
    let wish = super::retry_after::retry_after(&headers, NOW);
    for value in headers.get_all(RETRY_AFTER).iter().filter_map(|value| value.to_str().ok()) {
        if let Some(seconds) = seconds(value.trim()) {
            assert!(wish >= Some(Duration::from_secs(seconds)), "{wish:?} is less than {value}");
        }
    }
    let Some(wish) = wish else { return };
    for dice in [0.0, 0.5, 1.0 - f64::EPSILON] {
        let failure = Failure { retry_after: Some(wish), ..Failure::of(Reason::Throttled) };
        let last = LastPoll::Failed { failure, in_a_row: 1 };
        let wait = Schedule::new(Duration::from_hours(6)).next(&last, dice);
        let (least, most) = (Duration::from_secs(1), Duration::from_hours(24).mul_f64(1.1));
        assert!(least <= wait && wait <= most, "{wait:?} after {wish:?}");
    }
    every_spelling_means(wish.as_secs(), NOW);
}

/// A wait of `seconds`, as a number, and as a date in each of its forms, with and without the date of the answer.
pub(super) fn every_spelling_means(seconds: u64, now: Timestamp) {
    let wish = |date: Option<String>, value: String| {
        let date = date.map(|date| format!("Date: {date}\n")).unwrap_or_default();
        super::retry_after::retry_after(&header_map(format!("{date}Retry-After: {value}").as_bytes()), now)
    };
    let expected = Some(Duration::from_secs(seconds));
    assert_eq!(wish(None, seconds.to_string()), expected);
    let Ok(end) = now.checked_add(Duration::from_secs(seconds)) else { return };
    let earlier = Duration::from_hours(30);
    for (form, last_year) in [
        ("%a, %d %b %Y %H:%M:%S GMT", 9999),
        // Of two digits, up to 69 mean this century.
        ("%A, %d-%b-%y %H:%M:%S GMT", 2069),
        ("%a %b %e %H:%M:%S %Y", 9999),
    ] {
        let date = |time: Timestamp| time.to_zoned(TimeZone::UTC).strftime(form).to_string();
        if end.to_zoned(TimeZone::UTC).year() <= last_year {
            assert_eq!(wish(None, date(end)), expected, "{form}");
            // With a clock that is not ours.
            assert_eq!(wish(Some(date(now - earlier)), date(end - earlier)), expected, "{form}");
        }
    }
}

/// A number of seconds, if it is one, as arithmetic would have it.
fn seconds(text: &str) -> Option<u64> {
    let digit = |c: char| c.is_ascii_digit().then(|| u64::from(c) - u64::from('0'));
    let add = |sum: u64, digit: Option<u64>| digit.map(|digit| sum.saturating_mul(10).saturating_add(digit));
    text.chars().map(digit).try_fold(0, add).filter(|_| !text.is_empty())
}

// === Answers ===

fn reply(status: StatusCode, body: &[u8]) -> Reply {
    Reply { status, headers: HeaderMap::new(), body: body.to_vec(), retry_after: None }
}

/// Lines of `name: value`; what is no header is left out.
fn header_map(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':').map(<[u8]>::trim_ascii);
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use crate::seeds::replay;

    #[test]
    fn every_body_of_a_success_among_the_seeds_is_read_as_it_should() {
        replay("payload", super::payload);
    }

    #[test]
    fn every_body_of_a_failure_among_the_seeds_ends_up_as_one_line_without_secrets() {
        replay("error_body", super::error_body);
    }

    #[test]
    fn every_retry_after_among_the_seeds_has_its_bounds() {
        replay("retry_after", super::retry_after);
    }
}
