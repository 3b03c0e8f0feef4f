//! Simulates the sign-in of Entra ID and the Partner Center API, as a router that responds as a [`Scenario`] says.
//!
//! It shares no type with the exporter's client: if both were built on one wrong assumption about the wire format, they
//! would agree and no test would notice. It binds no port; the caller serves the router.
//!
//! The modules stand in order of dependency: a module names only modules above it.
//!
//! ```
//! use partner_center_simulator::{Scenario, Simulator};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let simulator = Simulator::new(Scenario::parse("rows: portfolio")?, || jiff::Timestamp::UNIX_EPOCH);
//! let router = simulator.router();
//! simulator.set_scenario(Scenario::parse("usage: { answer: throttled, times: 3 }")?);
//! # Ok(())
//! # }
//! ```

// What the simulator does.
mod certificate;
mod notation;
mod rows;
mod commercial;
mod portfolio;
mod scenario;

// What it keeps between requests.
mod log;
mod scope;
mod authorization_codes;
mod device_codes;
mod tokens;
mod state;
mod simulator;

// The two services and the control endpoints.
mod wire;
mod report;
mod query;
mod envelope;
mod partner_center;
mod entra;
mod guard;
mod control;

#[cfg(test)]
mod testkit;

use axum::Router;
use axum::routing::{get, post};

pub use certificate::Certificate;
pub use commercial::{ActiveProperty, BetweenPages, Commercial, Grouping, NextLink, Paths, TotalCount};
pub use portfolio::Customers;
pub use rows::{NoRows, Properties, ReportRow, ReportRows, Rows};
pub use scenario::{
    Authorize, AuthorizeAnswer, Behaviour, CLIENT_ID, CLIENT_SECRET, CollectionBehaviour, Device,
    DeviceAnswer, FederatedCredential, REFRESH_TOKEN, Rotation, Scenario, ScenarioError, TenantScenario,
    TokenAnswer, UsageAnswer,
};
pub use simulator::Simulator;

impl Simulator {
    /// Returns a router with both services and the control endpoints.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/{tenant}/oauth2/v2.0/token", post(entra::token::issue))
            .route("/{tenant}/oauth2/v2.0/devicecode", post(entra::device::issue))
            .route(
                "/{tenant}/oauth2/v2.0/authorize",
                get(entra::authorize::authorize).post(entra::authorize::decide),
            )
            .route("/simulator/device", get(entra::device::page).post(entra::device::decide))
            .merge(partner_center::router())
            .merge(control::router())
            .fallback(partner_center::not_found)
            .method_not_allowed_fallback(partner_center::not_found)
            .with_state(self.clone())
    }
}
