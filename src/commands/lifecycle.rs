//! Handles signals, the orderly stop and its deadline.
//!
//! SIGTERM or SIGINT asks all tasks to end. A second signal, or the deadline, ends the process at once. A task that ends
//! unasked stops the program, with an error in the log and in the exit status.

use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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
    tasks: TaskTracker,
    terminate: Signal,
    interrupt: Signal,
}

impl Lifecycle {
    /// Handles SIGTERM and SIGINT from now on.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
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

    /// Waits for a signal and then for all tasks.
    pub(super) async fn run(mut self) -> ExitCode {
        let asked = tokio::select! {
            name = Self::signal(&mut self.terminate, &mut self.interrupt) => {
                tracing::info!(signal = name, "Stopping");
                true
            }
            () = self.stop.cancelled() => {
                tracing::error!("A task ended unexpectedly, stopping");
                false
            }
        };
        self.stop.cancel();
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => tracing::info!("Stopped"),
            () = tokio::time::sleep(STOP_DEADLINE) => tracing::warn!("Stopped before all tasks had ended"),
            name = Self::signal(&mut self.terminate, &mut self.interrupt) => {
                tracing::warn!(signal = name, "Stopped immediately");
            }
        }
        if asked { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) }
    }

    async fn signal(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    }
}
