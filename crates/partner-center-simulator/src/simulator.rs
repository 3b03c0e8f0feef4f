//! The handle to a simulator: its state and its clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::{scenario::Scenario, state::SimulatorState};

/// A handle to a simulated Entra ID and Partner Center; its clones share one state.
#[derive(Clone)]
pub struct Simulator {
    state: Arc<Mutex<SimulatorState>>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Simulator {
    /// Creates a simulator that has issued no tokens yet.
    ///
    /// The clock dates responses and moves the figures of the portfolio. Lifetimes of tokens and delays follow
    /// Tokio's clock, so that a test can pause them.
    pub fn new(scenario: Scenario, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { state: Arc::new(Mutex::new(SimulatorState::new(scenario))), clock: Arc::new(clock) }
    }

    /// Replaces the scenario and resets its counts of calls; issued tokens stay valid.
    pub fn set_scenario(&self, scenario: Scenario) {
        self.state().replace_scenario(scenario);
    }

    /// Returns a copy of the current scenario.
    pub fn scenario(&self) -> Scenario {
        Scenario::clone(&self.state().scenario)
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, SimulatorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
