//! Writes log lines to stderr on a thread of its own, so that a reader that does not read stops nothing else.
//!
//! A line that cannot be written, or finds the queue full, is dropped and counted.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

/// The number of lines that wait to be written.
const QUEUE: usize = 1024;
/// How long the end of the process waits for lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(200);

/// The writer of this process.
static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// A queue of lines and the thread that writes them. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct LogWriter {
    queue: SyncSender<Message>,
    dropped: Counter,
    /// The dropped lines that no line has reported.
    unreported: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(String),
    /// Answers when all lines before it have been written.
    Flush(SyncSender<()>),
}

/// The number of lines that this process has dropped.
pub(super) fn dropped() -> Counter {
    WRITER.get().map(|writer| writer.dropped.clone()).unwrap_or_default()
}

/// Waits until all lines have been written, for at most 200 ms.
pub(super) fn flush() {
    if let Some(writer) = WRITER.get() {
        writer.flush();
    }
}

impl LogWriter {
    /// Writes to stderr from now on.
    pub(super) fn to_stderr() -> io::Result<Self> {
        // Not through `io::stderr`, whose lock a write that hangs would keep.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let writer = Self::new(stderr, |lines| {
            tracing::warn!(lines, "Log lines were dropped, because they could not be written");
        })?;
        Ok(WRITER.get_or_init(|| writer).clone())
    }

    /// Writes to `output`, and calls `report` with the number of dropped lines when lines can be written again.
    fn new(output: impl Write + Send + 'static, report: impl Fn(u64) + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = mpsc::sync_channel(QUEUE);
        let writer = Self { queue, dropped: Counter::default(), unreported: Arc::default() };
        let (dropped, unreported) = (writer.dropped.clone(), Arc::clone(&writer.unreported));
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write(output, &lines, &dropped, &unreported, report))?;
        Ok(writer)
    }

    /// Queues a line, or drops it if the queue is full.
    pub(super) fn line(&self, line: String) {
        if self.queue.try_send(Message::Line(line)).is_err() {
            self.dropped.inc();
            self.unreported.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {
        let (written, wait) = mpsc::sync_channel(1);
        if self.queue.try_send(Message::Flush(written)).is_ok() {
            wait.recv_timeout(FLUSH_TIMEOUT).ok();
        }
    }
}

fn write(
    mut output: impl Write,
    queue: &Receiver<Message>,
    dropped: &Counter,
    unreported: &AtomicU64,
    report: impl Fn(u64),
) {
    let mut works = true;
    loop {
        let message = match queue.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                let lines = if works { unreported.swap(0, Ordering::Relaxed) } else { 0 };
                if lines > 0 {
                    report(lines);
                }
                let Ok(message) = queue.recv() else { return };
                message
            }
        };
        match message {
            Message::Line(line) => {
                works = output.write_all(line.as_bytes()).and_then(|()| output.flush()).is_ok();
                if !works {
                    dropped.inc();
                    unreported.fetch_add(1, Ordering::Relaxed);
                }
            }
            Message::Flush(written) => drop(written.send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::*;

    /// An output that can be blocked, or made to fail.
    #[derive(Clone, Default)]
    struct Output {
        text: Arc<Mutex<String>>,
        full: Arc<Mutex<()>>,
        broken: Arc<Mutex<bool>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.full.lock().unwrap());
            if *self.broken.lock().unwrap() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.text.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Waits for the thread that writes, as `flush` does for 200 ms at most.
    fn wait_until(condition: impl Fn() -> bool) {
        let began = Instant::now();
        while !condition() {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "the thread that writes has not come this far"
            );
            thread::yield_now();
        }
    }

    #[test]
    fn lines_that_find_the_queue_full_are_dropped_and_counted_and_the_caller_does_not_wait() {
        let output = Output::default();
        let writer = LogWriter::new(output.clone(), |_| {}).unwrap();
        let full = output.full.lock().unwrap();
        let sent = QUEUE as u64 + 100;
        for n in 0..sent {
            writer.line(format!("{n}\n"));
        }
        // One line may have left the queue for the output, which does not take it.
        assert!((99..=100).contains(&writer.dropped.get()), "{}", writer.dropped.get());
        drop(full);
        let written = sent - writer.dropped.get();
        wait_until(|| output.text.lock().unwrap().lines().count() as u64 == written);
        writer.line("after\n".to_owned());
        wait_until(|| output.text.lock().unwrap().ends_with("\nafter\n"));
        let text = output.text.lock().unwrap();
        assert!(text.starts_with("0\n1\n2\n"), "{text}");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_reported_once_it_goes_on() {
        let output = Output::default();
        let (sender, reports) = mpsc::channel();
        let writer = LogWriter::new(output.clone(), move |lines| sender.send(lines).unwrap()).unwrap();
        *output.broken.lock().unwrap() = true;
        writer.line("lost\n".to_owned());
        writer.line("lost too\n".to_owned());
        writer.flush();
        wait_until(|| writer.dropped.get() == 2);
        assert_eq!(reports.try_recv(), Err(TryRecvError::Empty));
        *output.broken.lock().unwrap() = false;
        writer.line("written\n".to_owned());
        writer.flush();
        wait_until(|| *output.text.lock().unwrap() == "written\n");
        assert_eq!(writer.dropped.get(), 2);
        assert_eq!(reports.recv(), Ok(2));
    }
}
