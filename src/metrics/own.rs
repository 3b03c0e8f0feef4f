//! The metrics of the process itself: build, reloads, scrapes and resource usage.

use std::fmt;
use std::sync::{Arc, Mutex};

use exporter_toolkit::negotiation::Format;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::domain::clock::{Clock, unix_seconds};

use super::family::{self, Collect, Families, Selection};
use super::process::Process;
use super::table::{BUILD, BUILD_INFO, HANDLED, IN_FLIGHT, LOG_LINES_DROPPED, RELOAD_OK, RELOAD_TIME};

/// The metrics of the process itself, which are encoded for each scrape.
#[derive(Debug)]
pub struct OwnMetrics {
    /// The process whose metrics are exported; `None` disables `process_*` and `promhttp_*`.
    process: Option<Process>,
    reloads: Mutex<Reloads>,
    handled: [Counter; HANDLED_CODES.len()],
    in_flight: Gauge,
    log_lines_dropped: Counter,
}

#[derive(Clone, Debug)]
struct Reloads {
    last_success: Timestamp,
    /// The last reload, if it failed.
    failed: Option<FailedReload>,
}

/// A reload that failed, so that the configuration before it is still in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedReload {
    /// When it failed.
    pub at: Timestamp,
    /// Every problem, without secrets, one per line.
    pub text: String,
}

/// The statuses of the responses to scrapes.
const HANDLED_CODES: [u16; 3] = [200, 500, 503];

impl OwnMetrics {
    /// Creates the metrics after a successful load of the configuration; `with_process` enables `process_*` and
    /// `promhttp_*`.
    pub fn new(with_process: bool, clock: &Clock) -> Self {
        let reloads = Reloads { last_success: clock.now(), failed: None };
        Self {
            process: with_process.then(Process::myself),
            reloads: reloads.into(),
            handled: Default::default(),
            in_flight: Gauge::default(),
            log_lines_dropped: Counter::default(),
        }
    }

    /// Exports the number of log lines that could not be written from `counter`.
    #[must_use]
    pub fn with_log_lines_dropped(self, counter: Counter) -> Self {
        Self { log_lines_dropped: counter, ..self }
    }

    /// Records a reload: its problems, without secrets, if it failed.
    pub fn reloaded(&self, problems: Option<String>, at: Timestamp) {
        let mut reloads = self.reloads.lock().expect("nobody panics while holding it");
        match problems {
            None => *reloads = Reloads { last_success: at, failed: None },
            Some(text) => reloads.failed = Some(FailedReload { at, text }),
        }
    }

    /// The last reload, if it failed.
    pub fn failed_reload(&self) -> Option<FailedReload> {
        self.reloads.lock().expect("nobody panics while holding it").failed.clone()
    }

    /// Counts a scrape as in flight until the guard is dropped.
    pub fn scrape_begins(self: &Arc<Self>) -> InFlight {
        self.in_flight.inc();
        InFlight(Arc::clone(self))
    }

    /// Counts a response to a scrape by its status.
    pub fn answered(&self, code: u16) {
        if let Some(n) = HANDLED_CODES.iter().position(|known| *known == code) {
            self.handled[n].inc();
        }
    }

    /// Encodes the selected families, without the trailer.
    pub fn encode(self: &Arc<Self>, format: Format, selection: &Selection) -> Vec<u8> {
        family::encode(format, selection, self)
    }

    /// Returns the text of all families, without the trailer.
    #[cfg(test)]
    pub(crate) fn text(self: &Arc<Self>, format: Format) -> String {
        String::from_utf8(self.encode(format, &Selection::everything())).unwrap()
    }
}

impl Collect for OwnMetrics {
    fn collect(&self, out: &mut Families<'_>) -> fmt::Result {
        let (last_ok, last_success) = {
            let reloads = self.reloads.lock().expect("nobody panics while holding it");
            (reloads.failed.is_none(), reloads.last_success)
        };
        out.add(&BUILD_INFO, [(BUILD, true)])?;
        out.add_one(&RELOAD_OK, || Some(last_ok))?;
        out.add_one(&RELOAD_TIME, || Some(unix_seconds(last_success)))?;
        out.add_one(&LOG_LINES_DROPPED, || Some(self.log_lines_dropped.get()))?;
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
