//! `rate_limit`: a token bucket for the requests of all clients and listeners together.
//!
//! The bucket holds `burst` tokens and gains one every `interval`; a request takes one. With an interval and no burst
//! every request is refused, as the format prescribes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::yaml::{Problem, Problems, Section};

/// The limit as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RateLimit {
    pub(super) interval: Duration,
    pub(super) burst: u32,
}

impl RateLimit {
    /// Reads the section; `None` if it sets no limit.
    pub(super) fn read(
        mut section: Section,
        problems: &mut Problems,
        warnings: &mut Vec<Problem>,
    ) -> Option<Self> {
        let mut warn = |path: String, text: &str| warnings.push(Problem { path, text: text.to_owned() });
        let mut interval = None;
        if let Some(text) = section.scalar("interval", problems) {
            let path = section.path("interval");
            interval = duration(&text).filter(|duration| *duration <= MAX_INTERVAL);
            if interval.is_none() {
                problems.malformed(path, "is no duration; write it as 100ms, 1s or 1m30s");
            } else if text.parse().is_ok_and(|number: u64| number > 0) {
                warn(path, "has no unit and counts nanoseconds; write it as 100ms, 1s or 1m30s");
            }
        }
        let burst = section.number("burst", problems).unwrap_or_default();
        if burst.fract() != 0.0 {
            problems.malformed(section.path("burst"), "expected a whole number");
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it saturates, and is not negative"
        )]
        let burst = burst as u32;
        let interval = interval.filter(|interval| !interval.is_zero());
        if interval.is_some() && burst == 0 {
            warn(section.path("burst"), "is 0, so every request is refused; write how many may come at once");
        }
        section.finish(problems);
        interval.map(|interval| Self { interval, burst })
    }
}

/// Parses a duration in the syntax of Go, such as `1m30s` or `1.5h`; a plain number counts nanoseconds.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(nanoseconds) = text.parse() {
        return Some(Duration::from_nanos(nanoseconds));
    }
    let mut rest = text;
    let mut seconds = 0.0;
    loop {
        let number = rest.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let after = rest.strip_prefix(number)?;
        let (unit, value) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        seconds += number.parse::<f64>().ok()? * value;
        rest = after.strip_prefix(unit)?;
        if rest.is_empty() {
            return Duration::try_from_secs_f64(seconds).ok();
        }
    }
}

/// The longest duration in Go.
const MAX_INTERVAL: Duration = Duration::from_nanos(i64::MAX.unsigned_abs());

/// A unit comes before those that are a prefix of it.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// The token bucket.
pub(super) struct RateLimiter {
    limit: RateLimit,
    /// The time at which the bucket is full if no more tokens are taken.
    full_at: Mutex<Option<Instant>>,
}

impl RateLimiter {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self { limit, full_at: Mutex::new(None) }
    }

    /// Takes a token if there is one.
    pub(super) fn try_acquire(&self, now: Instant) -> bool {
        let RateLimit { interval, burst } = self.limit;
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = full_at.map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now));
        // There is a token unless all of them are missing.
        let has_token = burst.checked_sub(1).is_some_and(|others| missing <= interval.saturating_mul(others));
        let next = now.checked_add(missing.saturating_add(interval)).filter(|_| has_token);
        *full_at = next.or(*full_at);
        next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_syntax_of_go() {
        let ms = Duration::from_millis;
        for (text, expected) in [
            ("0", Some(Duration::ZERO)),
            ("1s", Some(ms(1000))),
            ("0s", Some(Duration::ZERO)),
            ("1.5h", Some(ms(5_400_000))),
            ("1m30s", Some(ms(90_000))),
            ("100ms", Some(ms(100))),
            ("1h1m1s1ms", Some(ms(3_661_001))),
            ("250us", Some(Duration::from_micros(250))),
            ("250µs", Some(Duration::from_micros(250))),
            (".5s", Some(ms(500))),
            ("1000", Some(Duration::from_micros(1))),
            ("", None),
            ("s", None),
            ("1", Some(Duration::from_nanos(1))),
            ("1d", None),
            ("-1s", None),
            ("1 s", None),
            ("1s ", None),
            ("1.2.3s", None),
            ("99999999999999999999h", None),
            ("tomorrow", None),
        ] {
            assert_eq!(duration(text), expected, "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_admitted_at_once_and_then_one_request_per_interval() {
        let limiter = RateLimiter::new(RateLimit { interval: Duration::from_secs(10), burst: 3 });
        let take = |times: usize| (0..times).filter(|_| limiter.try_acquire(Instant::now())).count();
        assert_eq!(take(5), 3);
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert_eq!(take(5), 0, "the interval has not passed");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(take(5), 1);
        tokio::time::advance(Duration::from_secs(25)).await;
        assert_eq!(take(5), 2, "two and a half intervals have passed");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(take(5), 1, "the half interval is not lost");
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(take(5), 3, "the bucket holds no more");
    }

    #[tokio::test(start_paused = true)]
    async fn with_an_interval_and_no_burst_every_request_is_refused() {
        let limiter = RateLimiter::new(RateLimit { interval: Duration::from_secs(1), burst: 0 });
        for _ in 0..3 {
            assert!(!limiter.try_acquire(Instant::now()));
            tokio::time::advance(Duration::from_hours(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_interval_and_the_largest_burst_do_not_overflow() {
        let admitted = |interval, burst| {
            let limiter = RateLimiter::new(RateLimit { interval, burst });
            (0..5).filter(|_| limiter.try_acquire(Instant::now())).count()
        };
        assert_eq!(admitted(MAX_INTERVAL, 2), 2);
        assert_eq!(admitted(MAX_INTERVAL, u32::MAX), 5);
        assert_eq!(admitted(Duration::from_nanos(1), u32::MAX), 5);
        assert_eq!(admitted(Duration::MAX, 1), 0);
    }
}
