//! Properties that hold for any response of Microsoft or of a proxy. Property tests, seeds and fuzz targets check them;
//! see fuzz/README.md.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::fmt::Debug;
use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::failure::{Failure, FailureReason};
use crate::domain::row::{MAX_LABEL_BYTES, Row, RowError, Rows};
use crate::domain::schedule::{LastPoll, Schedule};
use crate::domain::usage::{LicenseUsage, UsageReport};

use super::commercial::{self, Sums};
use super::page::{Next, PageError, PageLink};
use super::paging::{LinkError, Pages};
use super::redaction::Redactor;
use super::refusal;
use super::response::HttpResponse;
use super::wire::{Decode as _, WireError, usage};

/// A row, or why it was dropped.
type ParsedRow = Result<LicenseUsage, RowError>;

// === The body of a success ===

/// A success is a page, each item of which is kept or counted, or an error with a message.
pub fn payload(body: &[u8]) {
    const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
    const GOOD: &str = r#"{"serviceName":"s","workloadName":"the good one","channel":"c","proratedLicensesUsagePercent":1,"processedDateTime":"2026-01-01T00:00:00Z"}"#;
    // A good row is kept whatever stands beside it.
    if let Ok(any) = serde_json::from_slice::<&RawValue>(body) {
        let page = format!(r#"{{"items":[{any},{GOOD},{any}]}}"#);
        let report = report(&[page.as_bytes()]).expect("it has a good row");
        assert!(report.rows().iter().any(|row| &*row.workload == "the good one"), "it is lost beside {any}");
    }
    let (rows, next) = match parse(body) {
        Ok(page) => page,
        Err(error) => return fit_for_a_message(&error.to_string()),
    };
    kept_or_counted(body, &rows);
    if let Some(link) = &next {
        stays_within_the_api(link);
    }
    if !body.starts_with(BYTE_ORDER_MARK) {
        let marked = parse(&[BYTE_ORDER_MARK, body].concat()).expect("the mark is ignored");
        assert_eq!(format!("{marked:?}"), format!("{:?}", (&rows, &next)));
    }
    // A generic parser agrees, unless a number out of range or too deep a nesting is an error for it.
    if let Ok(value) = serde_json::from_slice::<Value>(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)) {
        let items = value["items"].as_array().expect("only a list named items makes a page");
        assert_eq!(items.len(), rows.len(), "each item is kept or counted");
        for (item, row) in items.iter().zip(&rows) {
            match row {
                Ok(row) => matches_its_item(item, row),
                Err(error) => assert!(has_the_flaw(item, *error), "{error:?} is not the flaw of {item}"),
            }
        }
        assert_eq!(
            next.is_some(),
            value["links"]["next"].is_object(),
            "there is a next page if the body has a link"
        );
    }
}

/// The rows of a page, and the link to the next one.
fn parse(body: &[u8]) -> Result<(Vec<ParsedRow>, Option<PageLink>), PageError> {
    let mut rows = Vec::new();
    let next =
        usage(MAX_LABEL_BYTES).read_page(response(StatusCode::OK, body).json(), |_, row| rows.push(row))?;
    Ok((rows, if let Next::Link(link) = next { Some(link) } else { None }))
}

fn report(pages: &[&[u8]]) -> Result<UsageReport, WireError> {
    let mut collection = usage(MAX_LABEL_BYTES);
    for page in pages {
        collection.read(response(StatusCode::OK, page).json())?;
    }
    collection.finish()
}

/// Checks the rows of a page, alone and as two equal pages of a collection.
fn kept_or_counted(body: &[u8], rows: &[ParsedRow]) {
    match (report(&[body]), report(&[body, body])) {
        (Ok(once), Ok(twice)) => {
            once.assert_sound();
            assert_eq!(once.rows().len() + once.dropped(), rows.len());
            assert_eq!(once.rows().is_empty(), rows.is_empty());
            assert_eq!(twice.rows(), once.rows(), "repeated rows change nothing");
        }
        (Err(WireError::NothingUsable(rejected)), Err(WireError::NothingUsable(_))) => {
            assert_eq!(rejected.values().sum::<u64>(), rows.len() as u64);
            assert!(rows.iter().all(Result::is_err), "there was a usable row");
        }
        (once, twice) => panic!("{once:?}, and as two pages {twice:?}"),
    }
}

fn matches_its_item(item: &Value, row: &LicenseUsage) {
    for (name, label) in
        [("serviceName", &row.service), ("workloadName", &row.workload), ("channel", &row.channel)]
    {
        assert_eq!(item[name].as_str(), Some(&**label), "{name}");
        assert!(!label.is_empty() && label.len() <= MAX_LABEL_BYTES, "{name}");
    }
    assert_eq!(item["proratedLicensesUsagePercent"].as_f64(), Some(row.percent.get()));
    assert!(item["processedDateTime"].is_string());
}

/// Whether a generic parser finds the same flaw in an item.
fn has_the_flaw(item: &Value, error: RowError) -> bool {
    let labels = ["serviceName", "workloadName", "channel"].map(|name| &item[name]);
    let (percent, date) = (&item["proratedLicensesUsagePercent"], &item["processedDateTime"]);
    match error {
        RowError::NotAnObject => !item.is_object(),
        RowError::MissingValue => percent.is_null(),
        RowError::InvalidNumber => !percent.is_null() && percent.as_f64().is_none_or(|value| value < 0.0),
        RowError::MissingDate => date.is_null(),
        RowError::InvalidDate => !date.is_null(),
        RowError::MissingLabel => labels.iter().any(|label| label.is_null() || *label == ""),
        RowError::InvalidLabel => labels
            .iter()
            .any(|label| !label.is_null() && label.as_str().is_none_or(|text| text.len() > MAX_LABEL_BYTES)),
        RowError::Unreadable | RowError::Duplicate | RowError::NoLicenses => false,
    }
}

/// A link is followed once, within the API that it came from, and with headers of Partner Center only.
pub(super) fn stays_within_the_api(link: &PageLink) {
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
            assert!(name.as_str().starts_with("ms-"), "{name} is set by the client");
        }
        assert_eq!(pages.follow(link), Err(LinkError::Loop));
    }
}

// === The body of a success of the successor ===

/// A success is a page of each collection, whose rows are summed or counted, or an error with a message.
pub fn commercial(body: &[u8]) {
    of_sums(body, commercial::usage, "licensesActive", "licensesQualified");
    of_sums(body, commercial::deployment, "licensesDeployed", "licensesSold");
    of_sums(body, commercial::customer_usage, "licensesActive", "licensesQualified");
    of_sums(
        body,
        |limit| commercial::customer_usage(limit).with_products(),
        "licensesActive",
        "licensesQualified",
    );
    of_sums(body, commercial::customer_deployment, "licensesDeployed", "licensesSold");
}

fn of_sums<R: Row + Clone + Debug + PartialEq + Send + 'static, const N: usize>(
    body: &[u8],
    new: fn(usize) -> Sums<R, N>,
    part: &str,
    whole: &str,
) {
    let read = |pages: &[&[u8]]| -> Result<(Rows<R>, Vec<Next>), WireError> {
        let mut sums = new(MAX_LABEL_BYTES).with_names();
        let page = |page: &&[u8]| sums.read(response(StatusCode::OK, page).json());
        let next = pages.iter().map(page).collect::<Result<_, _>>()?;
        let names = sums.take_names();
        assert!(names.values().all(|name| !name.is_empty() && name.len() <= MAX_LABEL_BYTES), "{names:?}");
        Ok((sums.finish()?, next))
    };
    let good = format!(
        r#"{{"serviceCode":"s","workloadName":"the good one","channel":"the good one","customerTenantId":"id","{part}":3,"{whole}":4,"processedDateTime":"2026-01-01T00:00:00Z"}}"#
    );
    let page = |items: &str| format!(r#"{{"Value":[{items}]}}"#);
    // A good row is kept whatever stands beside it.
    if let Ok(any) = serde_json::from_slice::<&RawValue>(body) {
        let alone = read(&[page(&good).as_bytes()]).expect("it is good").0;
        let beside = read(&[page(&format!("{any},{good},{any}")).as_bytes()]).expect("it has a good row").0;
        assert!(alone.rows().iter().all(|row| beside.rows().contains(row)), "it is lost beside {any}");
    }
    let (once, next) = match read(&[body]) {
        Ok(found) => found,
        Err(error) => return fit_for_a_message(&error.to_string()),
    };
    once.assert_sound();
    for next in &next {
        match next {
            Next::Link(link) => stays_within_the_api(link),
            Next::Skip(rows) => assert!(*rows > 0, "the same page again"),
            Next::End => {}
        }
    }
    let (twice, next) = read(&[body, body]).expect("the first page was read");
    assert_eq!(twice.rows(), once.rows(), "repeated rows change nothing");
    assert!(twice.dropped() >= once.dropped());
    let is_asked_again = matches!(next[1], Next::Skip(_));
    assert!(once.rows().is_empty() || !is_asked_again, "a server that repeats a page is asked for no more");
}

// === The body of a failure ===

/// Secrets that were sent with the request, with characters that differ once they are encoded.
pub(super) const SECRETS: [&str; 2] = ["s3cret/+~", "0.AX\"kÄ-t0ken"];

/// A failure has a reason that its status permits, and becomes one line without secrets, whatever its body.
pub fn error_body(body: &[u8]) {
    let redactor = Redactor::new(SECRETS.map(Into::into).into());
    for status in [302, 400, 401, 403, 408, 429, 503] {
        let mut response = response(StatusCode::from_u16(status).expect("a status"), body);
        response.retry_after = Some(Duration::from_secs(57));
        // An id in a header is text from outside as well.
        if let Ok(id) = HeaderValue::from_bytes(body.split(|byte| *byte == b'\n').next().unwrap_or_default())
        {
            response.headers.insert("MS-CV", id);
        }
        for (error, possible) in [
            (refusal::by_api(&response, &redactor), reasons_of_the_api(status)),
            (refusal::by_sign_in(&response, &redactor), reasons_of_the_sign_in_service(status)),
            (
                refusal::unusable(&String::from_utf8_lossy(body), &response, &redactor),
                &[FailureReason::Payload][..],
            ),
        ] {
            assert!(possible.contains(&error.reason()), "{status} is not a case of {:?}", error.reason());
            assert_eq!(error.retry_after(), response.retry_after);
            fit_for_a_message(&error.to_string());
        }
    }
}

fn reasons_of_the_api(status: u16) -> &'static [FailureReason] {
    match status {
        401 => &[FailureReason::Credentials, FailureReason::Mfa],
        403 => &[FailureReason::Forbidden],
        408 => &[FailureReason::Timeout],
        429 => &[FailureReason::Throttled],
        _ => &[FailureReason::Server],
    }
}

fn reasons_of_the_sign_in_service(status: u16) -> &'static [FailureReason] {
    match status {
        408 => &[FailureReason::Timeout],
        429 => &[FailureReason::Throttled],
        500.. => &[FailureReason::Server],
        // The OAuth 2.0 error code in the body decides.
        _ => &[FailureReason::Consent, FailureReason::Credentials, FailureReason::Mfa, FailureReason::Server],
    }
}

/// A message is one line of bounded length without a secret in any spelling.
pub(super) fn fit_for_a_message(text: &str) {
    assert!(!text.is_empty() && text.trim() == text, "neither empty nor padded: {text:?}");
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!text.contains(breaks), "one line, from left to right: {text:?}");
    assert!(text.chars().count() < 1_500, "of bounded length: {text:?}");
    // `+` means a space in a form, and itself elsewhere.
    let spellings = [text.to_owned(), decoded(text), decoded(&text.replace('+', " "))];
    for secret in SECRETS {
        assert!(!spellings.iter().any(|text| text.contains(secret)), "{secret} is in {text:?}");
        for encoded in [STANDARD_NO_PAD.encode(secret), URL_SAFE_NO_PAD.encode(secret)] {
            assert!(!spellings.iter().any(|text| text.contains(&encoded)), "{encoded} is in {text:?}");
        }
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

/// The wait that headers, one per line, ask for leads to a bounded pause, and is the same in every form.
pub fn retry_after(headers: &[u8]) {
    const NOW: Timestamp = Timestamp::constant(1_795_410_800, 0);
    let headers = header_map(headers);
    let wait = super::retry_after::retry_after(&headers, NOW);
    for value in headers.get_all(RETRY_AFTER).iter().filter_map(|value| value.to_str().ok()) {
        if let Some(seconds) = seconds(value.trim()) {
            assert!(wait >= Some(Duration::from_secs(seconds)), "{wait:?} is less than {value}");
        }
    }
    let Some(wait) = wait else { return };
    for jitter in [0.0, 0.5, 1.0 - f64::EPSILON] {
        let failure = Failure { retry_after: Some(wait), ..Failure::of(FailureReason::Throttled) };
        let last = LastPoll::Failed { failure, in_a_row: 1 };
        let pause = Schedule::new(Duration::from_hours(6)).next(&last, jitter);
        let (least, most) = (Duration::from_secs(1), Duration::from_hours(24).mul_f64(1.1));
        assert!(least <= pause && pause <= most, "{pause:?} after {wait:?}");
    }
    every_form_means(wait.as_secs(), NOW);
}

/// A wait of `seconds` is the same as a number and as a date in each form, with and without the date of the response.
pub(super) fn every_form_means(seconds: u64, now: Timestamp) {
    let wait = |date: Option<String>, value: String| {
        let date = date.map(|date| format!("Date: {date}\n")).unwrap_or_default();
        super::retry_after::retry_after(&header_map(format!("{date}Retry-After: {value}").as_bytes()), now)
    };
    let expected = Some(Duration::from_secs(seconds));
    assert_eq!(wait(None, seconds.to_string()), expected);
    let Ok(end) = now.checked_add(Duration::from_secs(seconds)) else { return };
    let earlier = Duration::from_hours(30);
    for (form, last_year) in [
        ("%a, %d %b %Y %H:%M:%S GMT", 9999),
        // A year of two digits up to 69 is in this century.
        ("%A, %d-%b-%y %H:%M:%S GMT", 2069),
        ("%a %b %e %H:%M:%S %Y", 9999),
    ] {
        let date = |time: Timestamp| time.to_zoned(TimeZone::UTC).strftime(form).to_string();
        if end.to_zoned(TimeZone::UTC).year() <= last_year {
            assert_eq!(wait(None, date(end)), expected, "{form}");
            // The server's clock may differ from the local one.
            assert_eq!(wait(Some(date(now - earlier)), date(end - earlier)), expected, "{form}");
        }
    }
}

/// A number of seconds, if `text` is one; a second implementation to compare with.
fn seconds(text: &str) -> Option<u64> {
    let digit = |c: char| c.is_ascii_digit().then(|| u64::from(c) - u64::from('0'));
    let add = |sum: u64, digit: Option<u64>| digit.map(|digit| sum.saturating_mul(10).saturating_add(digit));
    text.chars().map(digit).try_fold(0, add).filter(|_| !text.is_empty())
}

// === Responses ===

fn response(status: StatusCode, body: &[u8]) -> HttpResponse {
    HttpResponse { status, headers: HeaderMap::new(), body: body.to_vec(), retry_after: None }
}

/// Parses lines of `name: value`; other lines are ignored.
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
    fn every_success_among_the_seeds_is_parsed_correctly() {
        replay("payload", super::payload);
    }

    #[test]
    fn every_success_of_the_successor_among_the_seeds_is_summed_or_refused() {
        replay("commercial", super::commercial);
    }

    #[test]
    fn every_failure_among_the_seeds_becomes_one_line_without_secrets() {
        replay("error_body", super::error_body);
    }

    #[test]
    fn every_retry_after_among_the_seeds_leads_to_a_bounded_pause() {
        replay("retry_after", super::retry_after);
    }
}
