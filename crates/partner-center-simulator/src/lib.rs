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
mod partner_center;
mod entra;
mod control;
mod router;

#[cfg(test)]
mod testkit;

pub use certificate::Certificate;
pub use rows::{ReportRow, ReportRows};
pub use scenario::{
    Authorize, AuthorizeAnswer, Behaviour, CLIENT_ID, CLIENT_SECRET, Device, DeviceAnswer,
    FederatedCredential, REFRESH_TOKEN, Rotation, Scenario, ScenarioError, TenantScenario, TokenAnswer,
    UsageAnswer,
};
pub use simulator::Simulator;
