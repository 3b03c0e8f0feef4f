//! The routes of the two services and of the control endpoints.

use axum::{
    Router,
    routing::{get, post},
};

use crate::{control, entra, partner_center, simulator::Simulator};

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
            .route("/v1/analytics/licenses/usage", get(partner_center::usage))
            .merge(control::router())
            .fallback(partner_center::not_found)
            .method_not_allowed_fallback(partner_center::not_found)
            .with_state(self.clone())
    }
}
