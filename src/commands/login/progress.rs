//! Shows how much time is left for the sign-in.

use std::io::{self, IsTerminal as _, Write as _};
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::commands::output;

/// The line `Waiting for the sign-in, 14:32 left`. A terminal shows it in one line that is overwritten every second, and
/// a dropped value ends that line. Elsewhere it is printed once a minute.
pub(super) struct ProgressLine {
    end: Instant,
    is_terminal: bool,
    /// When the line was last written, unless it was ended since.
    shown: Option<Instant>,
}

impl ProgressLine {
    pub(super) fn new(end: Instant) -> Self {
        Self { end, is_terminal: io::stdout().is_terminal(), shown: None }
    }

    /// Shows the line every second until `work` is done.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> io::Result<T> {
        let mut work = pin!(work);
        let mut second = interval(Duration::from_secs(1));
        loop {
            tokio::select! { biased;
                outcome = &mut work => return Ok(outcome),
                _ = second.tick() => self.show()?,
            }
        }
    }

    fn show(&mut self) -> io::Result<()> {
        const MINUTE: Duration = Duration::from_mins(1);
        if !self.is_terminal && self.shown.is_some_and(|shown| shown.elapsed() < MINUTE) {
            return Ok(());
        }
        self.shown = Some(Instant::now());
        let left = self.end.saturating_duration_since(Instant::now()).as_secs();
        let text = format!("Waiting for the sign-in, {}:{:02} left", left / 60, left % 60);
        if !self.is_terminal {
            return output::print(&text);
        }
        let mut out = io::stdout().lock();
        // The space overwrites the last character of a longer text.
        write!(out, "\r{text} ")?;
        out.flush()
    }

    /// Prints another text, in lines of its own.
    pub(super) fn interrupt(&mut self, text: &str) -> io::Result<()> {
        self.finish();
        output::print(text)
    }

    fn finish(&mut self) {
        if self.is_terminal && self.shown.take().is_some() {
            // A terminal that is gone needs no end of the line.
            drop(output::print(""));
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.finish();
    }
}
