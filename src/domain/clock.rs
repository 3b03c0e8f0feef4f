//! The wall clock, as a value that is passed down, and deadlines by it.
//!
//! Everything that needs the current time takes a [`Clock`], so that tests decide what time it is. Durations are
//! measured with `tokio::time::Instant`, which tests can pause. That clock stands still while the machine is suspended,
//! and the wall clock can be set: what waits for a time of day waits for a [`Deadline`], in steps.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// A source of wall-clock time. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that starts at `start` and advances with tokio's clock, so that it stops while that one is paused.
    pub fn from_tokio(start: Timestamp) -> Self {
        let origin = Instant::now();
        Self(Arc::new(move || start + origin.elapsed()))
    }

    /// A clock that stands still.
    #[cfg(test)]
    pub(crate) fn fixed(at: Timestamp) -> Self {
        Self::from_fn(move || at)
    }

    /// A clock that shows what `time` returns.
    #[cfg(test)]
    pub(crate) fn from_fn(time: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(time))
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }

    /// The end of a wait that begins now.
    pub fn deadline(&self, wait: Duration) -> Deadline {
        Deadline::after((Instant::now(), self.now()), wait)
    }
}

/// The longest sleep of what waits for the wall clock, which may be set meanwhile.
pub const STEP: Duration = Duration::from_secs(5);

/// The end of a wait. It comes with the first of two clocks: the wall clock goes on while the machine is suspended,
/// and the monotonic one also if the wall clock is set back.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    begun: Instant,
    wait: Duration,
    at: Timestamp,
}

impl Deadline {
    /// The end of a wait that began at a moment, which is given by both clocks.
    pub fn after((begun, begun_at): (Instant, Timestamp), wait: Duration) -> Self {
        Self { begun, wait, at: begun_at.saturating_add(wait).unwrap_or(Timestamp::MAX) }
    }

    /// The end of a wait that begins now, whatever the wall clock shows.
    pub fn monotonic(wait: Duration) -> Self {
        Self { begun: Instant::now(), wait, at: Timestamp::MAX }
    }

    /// Whether the wall clock has passed it long before the monotonic one, as after a suspension.
    pub fn was_overtaken(&self, now: Timestamp) -> bool {
        self.at <= now && self.wait.saturating_sub(self.begun.elapsed()) > STEP
    }

    /// Whether it has passed at `now`.
    pub fn has_passed(&self, now: Timestamp) -> bool {
        self.remaining(now).is_zero()
    }

    /// How long to wait from `now` on, which is the wall clock's time; zero if the deadline has passed.
    pub fn remaining(&self, now: Timestamp) -> Duration {
        let by_wall_clock = Duration::try_from(self.at.duration_since(now)).unwrap_or(Duration::ZERO);
        by_wall_clock.min(self.wait.saturating_sub(self.begun.elapsed()))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Seconds since 1970-01-01 UTC to the millisecond, as Prometheus writes times.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 fit in a float's 53 bits for 285,000 years"
)]
pub fn unix_seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_passes_when_the_first_of_the_two_clocks_says_so() {
        let hours = Duration::from_hours;
        // The wall clock's advance in hours while the monotonic clock advances by two, and what remains of six hours.
        for (advance, remaining) in [(2, 4), (0, 4), (-48, 4), (5, 1), (6, 0), (72, 0)] {
            let hour = Arc::new(AtomicI64::new(500_000));
            let shown = Arc::clone(&hour);
            let time = move || Timestamp::from_second(shown.load(Ordering::Relaxed) * 3600).unwrap();
            let clock = Clock(Arc::new(time));
            let deadline = clock.deadline(hours(6));
            assert_eq!(deadline.remaining(clock.now()), hours(6));
            tokio::time::advance(hours(2)).await;
            hour.fetch_add(advance, Ordering::Relaxed);
            assert_eq!(deadline.remaining(clock.now()), hours(remaining), "{advance} h");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_wait_has_no_end() {
        let clock = Clock::system();
        assert!(clock.deadline(Duration::MAX).remaining(clock.now()) > Duration::from_hours(24 * 365 * 1000));
    }
}
