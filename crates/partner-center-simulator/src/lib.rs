//! A fake of Entra ID's sign-in and of the Partner Center API, as one router that does what
//! a [`Scenario`] says.
//!
//! It shares no type with the exporter's client: were both built on one wrong idea of the wire, they
//! would agree and no test could tell. It binds no port either; the caller serves the router.
//!
//! ```
//! use partner_license_exporter::simulator::{Scenario, Simulator};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let simulator = Simulator::new(Scenario::parse("rows: portfolio")?, || jiff::Timestamp::UNIX_EPOCH);
//! let router = simulator.router();
//! simulator.set_scenario(Scenario::parse("usage: { answer: throttled, times: 3 }")?);
//! # Ok(())
//! # }
//! ```

mod certificate;
mod control;
mod entra;
mod log;
mod notation;
mod partner_center;
mod portfolio;
mod scenario;
mod state;
mod tokens;
mod wire;

#[cfg(test)]
mod testkit;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Router,
    routing::{get, post},
};
use jiff::Timestamp;

pub use certificate::Certificate;
pub use scenario::{
    Authorize, AuthorizeAnswer, Behaviour, CLIENT_ID, CLIENT_SECRET, Device, DeviceAnswer,
    FederatedCredential, REFRESH_TOKEN, Rotation, Row, Rows, Scenario, ScenarioError, TenantScenario,
    TokenAnswer, UsageAnswer,
};
use state::State;

/// The two services and what they remember. A clone is a handle to the same simulator.
#[derive(Clone)]
pub struct Simulator {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Simulator {
    /// A simulator that has issued no token yet.
    ///
    /// The clock dates answers and moves the portfolio. The life of tokens and the delays follow
    /// Tokio's clock, so that a test can pause them.
    pub fn new(scenario: Scenario, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(scenario))), clock: Arc::new(clock) }
    }

    /// Both services and the control endpoints below `/simulator`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/{tenant}/oauth2/v2.0/token", post(entra::token))
            .route("/{tenant}/oauth2/v2.0/devicecode", post(entra::device::codes))
            .route(
                "/{tenant}/oauth2/v2.0/authorize",
                get(entra::authorize::authorize).post(entra::authorize::decide),
            )
            .route("/simulator/device", get(entra::device::page).post(entra::device::decide))
            .route("/v1/analytics/licenses/usage", get(partner_center::usage))
            .merge(control::router())
            .fallback(partner_center::not_found)
            .method_not_allowed_fallback(partner_center::not_found)
            .with_state(self.clone())
    }

    /// Replaces the scenario and begins to count its `times` anew. Issued tokens stay valid.
    pub fn set_scenario(&self, scenario: Scenario) {
        self.state().replace_scenario(scenario);
    }

    /// The scenario as it is now.
    pub fn scenario(&self) -> Scenario {
        self.state().scenario.clone()
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
