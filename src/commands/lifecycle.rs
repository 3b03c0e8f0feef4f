//! Handles signals, the orderly stop and its deadline.
//!
//! SIGTERM or SIGINT asks all tasks to end. A second signal, or the deadline, ends the process at once. A task that ends
//! unasked stops the program, with an error in the log and in the exit status. The service manager is told of start and
//! stop.
//!
//! Signals and the deadline have a thread of their own, so that nothing that blocks the other threads keeps the process
//! from ending.

use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::commands::logging;
use crate::commands::service_manager::ServiceManager;

/// The exit status of a program that ran and failed.
pub(super) const EXIT_FAILED: u8 = 1;
/// The exit status of a program that could not start: flags, configuration, addresses.
pub(super) const EXIT_CANNOT_START: u8 = 2;

/// How long a stop may take; below the 5 s that the documentation promises.
const STOP_DEADLINE: Duration = Duration::from_millis(4500);

/// The tasks of the program and the signals that stop it.
#[derive(Debug)]
pub(super) struct Lifecycle {
    stop: CancellationToken,
    /// Whether a signal has asked for the stop.
    asked: Arc<AtomicBool>,
    tasks: TaskTracker,
    service: ServiceManager,
}

impl Lifecycle {
    /// Handles SIGTERM and SIGINT, and notifies the service manager, from now on.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed, or a thread cannot be started.
    pub(super) fn new() -> io::Result<Self> {
        let (stop, asked) = (CancellationToken::new(), Arc::<AtomicBool>::default());
        let service = ServiceManager::from_environment()?;
        let (started, start) = mpsc::channel();
        let (stopping, asking, told) = (stop.clone(), Arc::clone(&asked), service.clone());
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            runtime.block_on(async move {
                match Signals::new() {
                    Ok(signals) => {
                        started.send(Ok(())).ok();
                        signals.stop(&stopping, &asking, &told).await;
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
        })?;
        start.recv().unwrap_or_else(|error| Err(io::Error::other(error)))?;
        Ok(Self { stop, asked, tasks: TaskTracker::new(), service })
    }

    /// Returns the service manager.
    pub(super) fn service(&self) -> ServiceManager {
        self.service.clone()
    }

    /// Returns the token that is cancelled when the program stops.
    pub(super) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task. When it returns or panics, the program stops.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let guard = self.stop.clone().drop_guard();
        self.tasks.spawn(async move {
            task.await;
            drop(guard);
        });
    }

    /// Says that the program has started, and waits for the stop and then for all tasks.
    pub(super) async fn run(self) -> ExitCode {
        self.service.ready();
        self.stop.cancelled().await;
        let asked = self.asked.load(Ordering::Acquire);
        if !asked {
            tracing::error!("A task ended unexpectedly, stopping");
        }
        self.tasks.close();
        self.tasks.wait().await;
        tracing::info!("Stopped");
        self.service.flush();
        ExitCode::from(status(asked))
    }
}

/// The exit status of a program that has stopped.
fn status(asked: bool) -> u8 {
    if asked { 0 } else { EXIT_FAILED }
}

/// The signals that stop the program.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Begins the stop at a signal, and ends the process if it has not ended by the deadline, or at a second signal.
    #[expect(clippy::disallowed_methods, reason = "the destructors may be what hangs")]
    async fn stop(mut self, stop: &CancellationToken, asked: &AtomicBool, service: &ServiceManager) {
        tokio::select! {
            name = self.next() => {
                tracing::info!(signal = name, "Stopping");
                asked.store(true, Ordering::Release);
                stop.cancel();
            }
            () = stop.cancelled() => {}
        }
        service.stopping();
        tokio::select! {
            name = self.next() => tracing::warn!(signal = name, "Stopped immediately"),
            () = tokio::time::sleep(STOP_DEADLINE) => tracing::warn!("Stopped before all tasks had ended"),
        }
        logging::flush();
        std::process::exit(status(asked.load(Ordering::Acquire)).into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, ChildStderr, Command, Stdio};

    use rustix::process::{Pid, kill_process};
    use tokio::time::Instant;

    use super::*;
    use crate::commands::block_on;
    use crate::commands::cli::LogFlags;
    use crate::commands::logging::{LogFormat, LogLevel};

    /// A process that runs one of the ignored tests below, which stand for commands.
    struct Process {
        child: Child,
        log: BufReader<ChildStderr>,
    }

    impl Process {
        fn start(test: &str) -> Self {
            let test = format!("commands::lifecycle::tests::{test}");
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", &test, "--ignored", "--nocapture"]);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let log = BufReader::new(child.stderr.take().unwrap());
            Self { child, log }
        }

        /// Waits for a line of the log that has this text.
        fn wait_for(&mut self, text: &str) {
            let mut lines = (&mut self.log).lines().map(Result::unwrap);
            assert!(lines.any(|line| line.contains(text)), "no {text} in the log");
        }

        fn signal(&self, signal: rustix::process::Signal) {
            kill_process(Pid::from_child(&self.child), signal).unwrap();
        }

        /// Waits for the end of the process, and returns its exit status and the rest of its log.
        fn end(mut self) -> (Option<i32>, String) {
            let rest = io::read_to_string(&mut self.log).unwrap();
            (self.child.wait().unwrap().code(), rest)
        }
    }

    const LOG: LogFlags = LogFlags { level: LogLevel::Info, format: LogFormat::Logfmt };

    #[test]
    #[ignore = "is the process of other tests"]
    fn process_whose_workers_are_all_blocked() {
        let blocked = async {
            let lifecycle = Lifecycle::new()?;
            lifecycle.spawn(async {
                tracing::info!("All workers are blocked");
                loop {
                    thread::park();
                }
            });
            Ok(lifecycle.run().await)
        };
        block_on(LOG, blocked).unwrap();
    }

    #[test]
    fn a_second_signal_ends_a_process_whose_workers_are_all_blocked_at_once() {
        for second in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
            let mut process = Process::start("process_whose_workers_are_all_blocked");
            process.wait_for("All workers are blocked");
            process.signal(rustix::process::Signal::TERM);
            process.wait_for("msg=Stopping");
            let signalled = Instant::now();
            process.signal(second);
            let (status, log) = process.end();
            let took = signalled.elapsed();
            assert!(log.contains("Stopped immediately"), "{log}");
            assert_eq!(status, Some(0));
            assert!(took < STOP_DEADLINE, "it took {took:?}");
        }
    }

    #[test]
    fn one_signal_ends_a_process_whose_workers_are_all_blocked_within_five_seconds() {
        let mut process = Process::start("process_whose_workers_are_all_blocked");
        process.wait_for("All workers are blocked");
        let signalled = Instant::now();
        process.signal(rustix::process::Signal::INT);
        let (status, log) = process.end();
        let took = signalled.elapsed();
        assert!(log.contains("Stopped before all tasks had ended"), "{log}");
        assert_eq!(status, Some(0));
        // Without the deadline it would not end.
        assert!(took < 2 * STOP_DEADLINE, "it took {took:?}");
    }

    #[test]
    #[ignore = "is the process of another test"]
    #[expect(clippy::disallowed_methods, reason = "the harness would replace the exit status")]
    fn process_with_a_task_that_panics() {
        let code = block_on(LOG, async {
            let lifecycle = Lifecycle::new()?;
            lifecycle.spawn(async { panic!("on\npurpose") });
            Ok(lifecycle.run().await)
        });
        std::process::exit((code.unwrap() == ExitCode::from(EXIT_FAILED)).into());
    }

    #[test]
    fn a_panic_is_one_line_of_the_log_and_stops_the_program_with_an_error() {
        let (status, log) = Process::start("process_with_a_task_that_panics").end();
        assert_eq!(status, Some(1), "{log}");
        let lines: Vec<_> = log.lines().filter(|line| line.contains("level=")).collect();
        let [panicked, ended, stopped] = lines[..] else { panic!("not three lines: {log}") };
        assert!(panicked.contains("level=ERROR") && panicked.contains("msg=Panicked"), "{panicked}");
        assert!(panicked.contains(r"on\npurpose"), "{panicked}");
        assert!(ended.contains("level=ERROR") && ended.contains("A task ended unexpectedly"), "{ended}");
        assert!(stopped.contains("msg=Stopped"), "{stopped}");
        assert!(!log.contains("thread '"), "{log}");
    }
}
