//! The wall clock, as a value that is passed down.
//!
//! Everything that needs the current time takes a [`Clock`], so that tests decide what time it is. Durations are
//! measured with `tokio::time::Instant`, which tests can pause.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

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
        let origin = tokio::time::Instant::now();
        Self(Arc::new(move || start + origin.elapsed()))
    }

    /// A clock that stands still.
    #[cfg(test)]
    pub(crate) fn fixed(at: Timestamp) -> Self {
        Self(Arc::new(move || at))
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
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
