//! Handles signals, the orderly stop and its deadline.
//!
//! SIGTERM or SIGINT asks all tasks to end. A second signal, or the deadline, ends the process at once. A task that ends
//! unasked stops the program, with an error in the log and in the exit status.
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
}

impl Lifecycle {
    /// Handles SIGTERM and SIGINT from now on.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed, or their thread cannot be started.
    pub(super) fn new() -> io::Result<Self> {
        let (stop, asked) = (CancellationToken::new(), Arc::<AtomicBool>::default());
        let (started, start) = mpsc::channel();
        let (stopping, asking) = (stop.clone(), Arc::clone(&asked));
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            runtime.block_on(async move {
                match Signals::new() {
                    Ok(signals) => {
                        started.send(Ok(())).ok();
                        signals.stop(&stopping, &asking).await;
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
        })?;
        start.recv().unwrap_or_else(|error| Err(io::Error::other(error)))?;
        Ok(Self { stop, asked, tasks: TaskTracker::new() })
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

    /// Waits for the stop and then for all tasks.
    pub(super) async fn run(self) -> ExitCode {
        self.stop.cancelled().await;
        let asked = self.asked.load(Ordering::Acquire);
        if !asked {
            tracing::error!("A task ended unexpectedly, stopping");
        }
        self.tasks.close();
        self.tasks.wait().await;
        tracing::info!("Stopped");
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
    async fn stop(mut self, stop: &CancellationToken, asked: &AtomicBool) {
        tokio::select! {
            name = self.next() => {
                tracing::info!(signal = name, "Stopping");
                asked.store(true, Ordering::Release);
                stop.cancel();
            }
            () = stop.cancelled() => {}
        }
        tokio::select! {
            name = self.next() => tracing::warn!(signal = name, "Stopped immediately"),
            () = tokio::time::sleep(STOP_DEADLINE) => tracing::warn!("Stopped before all tasks had ended"),
        }
        logging::flush();
        std::process::exit(status(asked.load(Ordering::Acquire)).into());
    }
}
