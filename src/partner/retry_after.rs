//! Parses `Retry-After`, the time for which a server asks clients to wait (RFC 9110, section 10.2.3). Pure.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};

/// The wait that a response received at `now` asks for. Of several headers the longest counts; a value that is neither
/// a number of seconds nor an HTTP date is ignored. The schedule bounds the wait.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    // A date refers to the server's clock, which the response may state and which may differ from the local one.
    let sent = headers.get(DATE).and_then(text).and_then(date).unwrap_or_else(|| SystemTime::from(now));
    headers.get_all(RETRY_AFTER).iter().filter_map(|value| wait(text(value)?, sent)).max()
}

fn wait(text: &str, sent: SystemTime) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    date(text).map(|date| date.duration_since(sent).unwrap_or(Duration::ZERO))
}

/// Parses an HTTP date in any of its three forms.
fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::partner::invariants;

    /// 1994-11-06 08:48:40 UTC, 57 seconds before the date in the examples of RFC 9110.
    const NOW: Timestamp = Timestamp::constant(784_111_720, 0);

    fn seconds(values: &[&str]) -> Option<u64> {
        at(None, values)
    }

    fn at(date: Option<&str>, values: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(RETRY_AFTER, value.parse().unwrap());
        }
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        retry_after(&headers, NOW).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_all_three_forms_of_a_date_are_parsed() {
        let forms = [
            "57",
            " 57 ",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ];
        for form in forms {
            assert_eq!(seconds(&[form]), Some(57), "{form}");
        }
    }

    #[test]
    fn a_date_is_relative_to_the_date_of_the_response_if_it_has_one() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(at(Some("Sun, 06 Nov 1994 08:49:30 GMT"), &[date]), Some(7));
        assert_eq!(at(Some("some day"), &[date]), Some(57));
        assert_eq!(at(Some("Mon, 07 Nov 1994 08:49:30 GMT"), &[date]), Some(0), "it is in the past");
    }

    #[test]
    fn the_longest_of_several_waits_counts_and_an_invalid_one_is_ignored() {
        assert_eq!(seconds(&["5", "57", "soon"]), Some(57));
        for none in [&[][..], &[""], &["soon"], &["-1"], &["1.5"], &["٥٧"]] {
            assert_eq!(seconds(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_number_beyond_u64_is_the_longest_wait() {
        assert_eq!(seconds(&["99999999999999999999999"]), Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn any_wait_is_the_same_in_every_form(now in 200_000i64..2_500_000_000, seconds in 0u64..3_000_000_000) {
            invariants::every_form_means(seconds, Timestamp::from_second(now).unwrap());
        }

        #[test]
        fn any_headers_ask_for_a_bounded_wait_or_none(
            lines in "((Date|Retry-After): ?([0-9]{1,30}|[A-Z][a-z]{2}, [0-3][0-9] Nov 2026 [0-9]{2}:00:00 GMT|.{0,40})\n){0,4}",
        ) {
            invariants::retry_after(lines.as_bytes());
        }
    }
}
