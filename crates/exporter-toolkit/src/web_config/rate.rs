//! `rate_limit`: how many requests are answered, all clients and listeners together.
//!
//! A bucket of `burst` tokens, full at first, into which one falls every `interval`; a request takes one. With
//! an interval and no burst the bucket holds nothing and every request is refused, as the format has it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::yaml::{Problem, Problems, Section};

/// The limit, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) interval: Duration,
    pub(super) burst: u32,
}

impl Rate {
    /// `None` where there is no limit. What is accepted but hardly meant is a warning.
    pub(super) fn read(
        mut section: Section,
        problems: &mut Problems,
        warnings: &mut Vec<Problem>,
    ) -> Option<Self> {
        let mut warn = |path: String, text: &str| warnings.push(Problem { path, text: text.to_owned() });
        let mut interval = None;
        if let Some(text) = section.words("interval", problems) {
            let path = section.path("interval");
            interval = duration(&text).filter(|duration| *duration <= LONGEST);
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

/// A duration as Go writes it, such as `1m30s` or `1.5h`; a number alone counts nanoseconds.
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

/// As long as durations in Go can be.
const LONGEST: Duration = Duration::from_nanos(i64::MAX.unsigned_abs());

/// Those that others begin with come after them.
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

/// The bucket.
pub(super) struct Limiter {
    rate: Rate,
    /// When it would be full, if nobody took anything.
    full: Mutex<Option<Instant>>,
}

impl Limiter {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, full: Mutex::new(None) }
    }

    /// Takes a token, if there is one.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let Rate { interval, burst } = self.rate;
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let lacking = full.map_or(Duration::ZERO, |full| full.saturating_duration_since(now));
        // All tokens but one may be lacking.
        let is_there = burst.checked_sub(1).is_some_and(|others| lacking <= interval.saturating_mul(others));
        let then = now.checked_add(lacking.saturating_add(interval)).filter(|_| is_there);
        *full = then.or(*full);
        then.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
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
    async fn as_many_as_the_burst_at_once_and_then_one_for_each_interval() {
        let limiter = Limiter::new(Rate { interval: Duration::from_secs(10), burst: 3 });
        let take = |times: usize| (0..times).filter(|_| limiter.admits(Instant::now())).count();
        assert_eq!(take(5), 3);
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert_eq!(take(5), 0, "the next is a moment away");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(take(5), 1);
        tokio::time::advance(Duration::from_secs(25)).await;
        assert_eq!(take(5), 2, "half of a third");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(take(5), 1, "its other half was not lost");
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(take(5), 3, "no more than the bucket holds");
    }

    #[tokio::test(start_paused = true)]
    async fn with_an_interval_and_no_burst_every_request_is_refused() {
        let limiter = Limiter::new(Rate { interval: Duration::from_secs(1), burst: 0 });
        for _ in 0..3 {
            assert!(!limiter.admits(Instant::now()));
            tokio::time::advance(Duration::from_hours(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_interval_and_the_largest_bucket_overflow_nothing_and_let_no_more_in() {
        let admitted = |interval, burst| {
            let limiter = Limiter::new(Rate { interval, burst });
            (0..5).filter(|_| limiter.admits(Instant::now())).count()
        };
        assert_eq!(admitted(LONGEST, 2), 2);
        assert_eq!(admitted(LONGEST, u32::MAX), 5);
        assert_eq!(admitted(Duration::from_nanos(1), u32::MAX), 5);
        assert_eq!(admitted(Duration::MAX, 1), 0);
    }
}
