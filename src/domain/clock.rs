//! The wall clock, as a value that is passed down.
//!
//! Everything that needs "now" takes a [`Clock`], so that tests decide what time it is. Lengths of time
//! are measured with `tokio::time::Instant`, which tests can pause.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

/// A source of wall-clock time. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that starts at `start` and moves with tokio's clock, so that it stands still while that
    /// one is paused.
    pub fn from_tokio(start: Timestamp) -> Self {
        let origin = tokio::time::Instant::now();
        Self(Arc::new(move || start + origin.elapsed()))
    }

    /// A clock that stands still.
    #[cfg(test)]
    pub(crate) fn fixed(at: Timestamp) -> Self {
        Self(Arc::new(move || at))
    }

    /// The time of day, now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Seconds since 1970-01-01 UTC, as Prometheus writes times: a float, here to the millisecond.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 fit a float's 53 bits for 285,000 years"
)]
pub fn unix_seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}
