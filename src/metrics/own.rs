//! The series of the process itself: what it was built from, reloads, scrapes, and what the system says of it.

use std::fmt;
use std::sync::{Arc, Mutex};

use exporter_toolkit::negotiation::Format;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::domain::clock::{Clock, unix_seconds};

use super::family::{self, Collect, Families, Selection};
use super::process::Process;
use super::table::{BUILD, BUILD_INFO, HANDLED, IN_FLIGHT, RELOAD_OK, RELOAD_TIME};

/// The series of the process itself, encoded for each scrape.
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

    /// Encodes the selected families, without the exposition's end.
    pub fn encode(self: &Arc<Self>, format: Format, selection: &Selection) -> Vec<u8> {
        family::encode(format, selection, self)
    }

    /// A text, without its end.
    #[cfg(test)]
    pub(crate) fn text(self: &Arc<Self>, format: Format) -> String {
        String::from_utf8(self.encode(format, &Selection::everything())).unwrap()
    }
}

impl Collect for OwnMetrics {
    fn collect(&self, out: &mut Families<'_>) -> fmt::Result {
        let reloads = *self.reloads.lock().expect("nobody panics while holding it");
        out.add(&BUILD_INFO, [(BUILD, true)])?;
        out.add_one(&RELOAD_OK, || Some(reloads.last_ok))?;
        out.add_one(&RELOAD_TIME, || Some(unix_seconds(reloads.last_success)))?;
        let Some(process) = &self.process else { return Ok(()) };
        let handled = HANDLED_CODES.iter().zip(&self.handled);
        out.add(&HANDLED, handled.map(|(code, count)| ([(HANDLED.labels[0], *code)], count.get())))?;
        out.add_one(&IN_FLIGHT, || u64::try_from(self.in_flight.get()).ok())?;
        process.collect(out)
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
