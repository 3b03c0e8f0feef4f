//! The control endpoints: the scenario, the request log and an overview of all endpoints.
//!
//! It knows nothing of the two simulated services.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::{guard, log::RequestLog, scenario::Scenario, simulator::Simulator, wire};

/// The largest scenario that is accepted, in bytes.
const LARGEST_SCENARIO: usize = 256 * 1024;

const OVERVIEW: &str = "\
A simulator of Entra ID's sign-in and of Partner Center's licence usage and deployment.
Nothing here is real: no tenant, no secret, no figure.

POST   /{tenant}/oauth2/v2.0/token      exchanges a refresh token, a device code or an authorization code
POST   /{tenant}/oauth2/v2.0/devicecode issues a device code
GET    /simulator/device                shows the page where a person enters a user code
GET    /{tenant}/oauth2/v2.0/authorize  signs in with a browser
GET    /v1/analytics/licenses/usage     returns the licence usage report
GET    /v1/analytics/licenses/deployment
                                        returns the licence deployment report
GET    /v1/analytics/commercial/usage/license
GET    /v1/analytics/commercial/deployment/license
                                        return the usage and deployment of each customer, also below /partner/v1
GET    /simulator/scenario              shows the scenario, as JSON
PUT    /simulator/scenario              replaces the scenario, by YAML or JSON
GET    /simulator/requests              shows the latest requests and how many there were
DELETE /simulator/requests              clears the request log
";

/// The routes of the control endpoints.
pub(crate) fn router() -> Router<Simulator> {
    Router::new()
        .route("/", get(OVERVIEW))
        .route(
            "/simulator/scenario",
            get(show_scenario).put(replace_scenario).layer(DefaultBodyLimit::max(LARGEST_SCENARIO)),
        )
        .route("/simulator/requests", get(show_requests).delete(clear_requests))
        .route_layer(from_fn(guard::refuse_strangers))
}

/// `GET /simulator/scenario`
async fn show_scenario(State(simulator): State<Simulator>) -> Response {
    wire::json(StatusCode::OK, &*simulator.state().scenario)
}

/// `PUT /simulator/scenario`
async fn replace_scenario(State(simulator): State<Simulator>, text: String) -> Response {
    match Scenario::parse(&text) {
        Ok(scenario) => {
            simulator.set_scenario(scenario);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => wire::text(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", format!("{error}\n")),
    }
}

/// `GET /simulator/requests`
async fn show_requests(State(simulator): State<Simulator>) -> Response {
    wire::json(StatusCode::OK, &simulator.state().log)
}

/// `DELETE /simulator/requests`
async fn clear_requests(State(simulator): State<Simulator>) -> StatusCode {
    simulator.state().log = RequestLog::default();
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests;
