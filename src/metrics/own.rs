//! The series of the process itself: what it was built from, reloads, scrapes, and what the system says of it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::domain::clock::{Clock, unix_seconds};
use crate::exposition::{Exposition, Labels, Value};

use super::process::Process;
use super::{BUILD, BUILD_INFO, HANDLED, IN_FLIGHT, RELOAD_OK, RELOAD_TIME, flag, label};

/// The series of the process itself, made anew for each scrape.
#[derive(Debug)]
pub struct OwnMetrics {
    /// Whose `process_*` are exported, and `promhttp_*` with them.
    process: Option<Process>,
    reloads: Mutex<Reloads>,
    handled: [Counter; HANDLED_CODES.len()],
    in_flight: Gauge,
}

#[derive(Clone, Copy, Debug)]
struct Reloads {
    last_ok: bool,
    last_success: Timestamp,
}

/// The statuses with which `/metrics` answers.
const HANDLED_CODES: [u16; 3] = [200, 500, 503];

impl OwnMetrics {
    /// Those of a program that has just loaded its configuration; `with_process` says whether `promhttp_*` and
    /// `process_*` are exported too.
    pub fn new(with_process: bool, clock: &Clock) -> Self {
        let reloads = Reloads { last_ok: true, last_success: clock.now() };
        Self {
            process: with_process.then(Process::myself),
            reloads: reloads.into(),
            handled: Default::default(),
            in_flight: Gauge::default(),
        }
    }

    /// Takes note of a reload.
    pub fn reloaded(&self, ok: bool, at: Timestamp) {
        let mut reloads = self.reloads.lock().expect("nobody panics while holding it");
        reloads.last_ok = ok;
        if ok {
            reloads.last_success = at;
        }
    }

    /// Takes note of a scrape that begins; the guard's end is the scrape's.
    pub fn scrape_begins(self: &Arc<Self>) -> InFlight {
        self.in_flight.inc();
        InFlight(Arc::clone(self))
    }

    /// Takes note of the status a scrape is answered with.
    pub fn answered(&self, code: u16) {
        if let Some(n) = HANDLED_CODES.iter().position(|known| *known == code) {
            self.handled[n].inc();
        }
    }

    /// Writes the families in their order.
    pub fn write(&self, out: &mut Exposition<'_>) {
        let reloads = *self.reloads.lock().expect("nobody panics while holding it");
        let build = || -> Labels<'_> { BUILD.map(|(name, value)| (name, Cow::from(value))).into() };
        out.add(&BUILD_INFO, || vec![(build(), Value::Gauge(1.0))]);
        out.add(&RELOAD_OK, || vec![(Labels::new(), flag(reloads.last_ok))]);
        out.add(&RELOAD_TIME, || vec![(Labels::new(), Value::Gauge(unix_seconds(reloads.last_success)))]);
        let Some(process) = &self.process else { return };
        out.add(&HANDLED, || {
            let count = |n: usize| Value::Count(self.handled[n].get());
            let handled = HANDLED_CODES.iter().enumerate();
            handled.map(|(n, code)| (label("code", code.to_string()), count(n))).collect()
        });
        #[expect(clippy::cast_precision_loss, reason = "a number of requests in flight is small")]
        out.add(&IN_FLIGHT, || vec![(Labels::new(), Value::Gauge(self.in_flight.get() as f64))]);
        process.write(out);
    }
}

#[cfg(test)]
impl OwnMetrics {
    /// A text, without its end.
    pub(crate) fn text(&self, format: crate::exposition::Format) -> String {
        let selection = crate::exposition::Selection::everything();
        let mut out = Exposition::new(format, &selection);
        self.write(&mut out);
        String::from_utf8(out.into_bytes()).unwrap()
    }
}

/// A scrape being served.
#[derive(Debug)]
pub struct InFlight(Arc<OwnMetrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}
