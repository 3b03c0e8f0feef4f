//! From the first task to the exit status: signals, an orderly stop, and its deadline.
//!
//! SIGTERM or SIGINT asks all tasks to end; a second one, or the deadline, ends the process at once. A task
//! that ends without being asked takes the program down with it, visibly.

use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// It ran, and failed.
pub const EXIT_FAILED: u8 = 1;
/// It could not start: flags, configuration, addresses.
pub const EXIT_CANNOT_START: u8 = 2;

/// Below the 5 s that users may count on.
const STOP_DEADLINE: Duration = Duration::from_millis(4500);

/// The tasks of the program and the signals it obeys.
#[derive(Debug)]
pub struct Lifecycle {
    stop: CancellationToken,
    tasks: TaskTracker,
    terminate: Signal,
    interrupt: Signal,
}

impl Lifecycle {
    /// Starts listening to signals, so that none is missed from here on.
    ///
    /// # Errors
    /// If the operating system does not let us.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancelled when the program is to stop.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs `task` as long as the program runs. When it ends, by itself or by panic, the program stops.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let guard = self.stop.clone().drop_guard();
        self.tasks.spawn(async move {
            task.await;
            drop(guard);
        });
    }

    /// Waits for a signal and then for the tasks.
    pub async fn run(mut self) -> ExitCode {
        let asked = tokio::select! {
            name = Self::signal(&mut self.terminate, &mut self.interrupt) => {
                tracing::info!(signal = name, "Stopping");
                true
            }
            () = self.stop.cancelled() => {
                tracing::error!("A task ended by itself, stopping");
                false
            }
        };
        self.stop.cancel();
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => tracing::info!("Stopped"),
            () = tokio::time::sleep(STOP_DEADLINE) => tracing::warn!("Stopped without waiting any longer"),
            name = Self::signal(&mut self.terminate, &mut self.interrupt) => {
                tracing::warn!(signal = name, "Stopped at once");
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
