//! A bar on a terminal, with what is left.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::Duration;

use tokio::time::Instant;

use crate::commands::output;

/// The characters between the brackets.
const WIDTH: usize = 30;
/// The characters of a line, enough for any time that is left.
const LINE: usize = 75;

/// How far a run has come. On anything but a terminal it writes nothing.
pub(super) struct Bar {
    all: usize,
    /// The days that an earlier run had fetched.
    before: usize,
    began: Instant,
    is_shown: bool,
}

impl Bar {
    pub(super) fn new(all: usize, before: usize) -> Self {
        Self { all, before, began: Instant::now(), is_shown: stderr().is_terminal() }
    }

    /// Shows that some days are done.
    pub(super) fn show(&self, done: usize) {
        if self.is_shown {
            let text = text(self.all, done, done.saturating_sub(self.before), self.began.elapsed());
            write!(stderr(), "\r{text:LINE$}").ok();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        erase();
    }
}

/// Prints a line in place of the bar, which is shown below it the next time.
pub(super) fn notice(text: impl Display) {
    erase();
    output::print_notice(text);
}

/// Erases the line of the bar.
fn erase() {
    if stderr().is_terminal() {
        write!(stderr(), "\r{:LINE$}\r", "").ok();
    }
}

/// The bar when `done` of `all` days are done, of which `now` took `elapsed`.
fn text(all: usize, done: usize, now: usize, elapsed: Duration) -> String {
    let filled = WIDTH * done / all.max(1);
    let bar = "#".repeat(filled) + &"-".repeat(WIDTH - filled);
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let left = elapsed.checked_div(narrow(now)).map(|each| each.saturating_mul(narrow(all - done)));
    let left = left.map_or_else(String::new, |left| {
        format!(", {} left", humantime::format_duration(Duration::from_secs(left.as_secs())))
    });
    format!("[{bar}] {done} of {all} days{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_follows_from_the_days_of_this_run() {
        let bar = "#".repeat(15) + &"-".repeat(15);
        let found = text(400, 200, 100, Duration::from_secs(200));
        assert_eq!(found, format!("[{bar}] 200 of 400 days, 6m 40s left"));
        assert_eq!(text(400, 200, 0, Duration::ZERO), format!("[{bar}] 200 of 400 days"));
    }
}
