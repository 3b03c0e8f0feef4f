//! The simulator's own endpoints: its scenario, the requests it saw and a page that explains it.
//!
//! It knows nothing of the two services that are simulated.

use axum::{
    Router,
    extract::{DefaultBodyLimit, State as Shared},
    http::StatusCode,
    response::Response,
    routing::get,
};

use super::{Simulator, log::RequestLog, scenario::Scenario, wire};

const LARGEST_SCENARIO: usize = 256 * 1024;

const PAGE: &str = "\
A simulator of Entra ID's sign-in and of Partner Center's licence usage report.
Nothing here is real: no tenant, no secret, no figure.

POST   /{tenant}/oauth2/v2.0/token      exchanges a refresh token, a device code or an authorization code
POST   /{tenant}/oauth2/v2.0/devicecode gives out a device code
GET    /simulator/device                where a person enters its user code
GET    /{tenant}/oauth2/v2.0/authorize  signs in with a browser
GET    /v1/analytics/licenses/usage     the licence usage report
GET    /simulator/scenario              what the simulator is told to do, as JSON
PUT    /simulator/scenario              tells it something else, in YAML or JSON
GET    /simulator/requests              the latest requests and how many there were
DELETE /simulator/requests              forgets them
";

pub(super) fn router() -> Router<Simulator> {
    Router::new()
        .route("/", get(PAGE))
        .route(
            "/simulator/scenario",
            get(|Shared(simulator): Shared<Simulator>| async move {
                wire::json(StatusCode::OK, &simulator.state().scenario)
            })
            .put(|Shared(simulator): Shared<Simulator>, text: String| async move {
                replace(&simulator, &text)
            })
            .layer(DefaultBodyLimit::max(LARGEST_SCENARIO)),
        )
        .route(
            "/simulator/requests",
            get(|Shared(simulator): Shared<Simulator>| async move {
                wire::json(StatusCode::OK, &simulator.state().log)
            })
            .delete(|Shared(simulator): Shared<Simulator>| async move {
                simulator.state().log = RequestLog::default();
                StatusCode::NO_CONTENT
            }),
        )
}

fn replace(simulator: &Simulator, text: &str) -> Response {
    match Scenario::parse(text) {
        Ok(scenario) => {
            simulator.set_scenario(scenario);
            wire::empty(StatusCode::NO_CONTENT)
        }
        Err(error) => wire::text(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", format!("{error}\n")),
    }
}

#[cfg(test)]
mod tests;
