//! The errors of the token endpoint, as Entra ID words them.
//!
//! It does not know which request gets which error. Where Microsoft documents neither the status nor the `error` of a
//! code, they are those of similar codes.

use std::time::Duration;

use axum::{http::StatusCode, response::Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::{authorization_codes::AuthorizationCodeError, device_codes::DeviceCodeError, wire};

/// The application id of the Partner Center API.
const PARTNER_CENTER: &str = "fa3d9a0c-3fb0-42cc-9193-47c7ecd2edbd";

/// An error of the token endpoint, without its time and its ids.
pub(super) struct EntraError {
    status: StatusCode,
    error: &'static str,
    code: u32,
    text: String,
    suberror: Option<&'static str>,
    claims: Option<String>,
}

impl EntraError {
    pub(super) fn new(status: StatusCode, error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self { status, error, code, text: text.into(), suberror: None, claims: None }
    }

    pub(super) fn bad_request(error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, code, text)
    }

    pub(super) fn invalid_grant(code: u32, text: impl Into<String>) -> Self {
        Self::bad_request("invalid_grant", code, text)
    }

    pub(super) fn invalid_client(code: u32, text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", code, text)
    }

    pub(super) fn malformed() -> Self {
        Self::bad_request("invalid_request", 9_002_313, "Invalid request. Request is malformed or invalid.")
    }

    pub(super) fn missing(parameter: &str) -> Self {
        let text = format!("The request body must contain the following parameter: '{parameter}'.");
        Self::bad_request("invalid_request", 900_144, text)
    }

    pub(super) fn unknown_application(client_id: &str, tenant: &str) -> Self {
        let text =
            format!("Application with identifier '{client_id}' was not found in the directory '{tenant}'.");
        Self::bad_request("unauthorized_client", 700_016, text)
    }

    pub(super) fn unknown_tenant(tenant: &str) -> Self {
        let text = format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into \
             the correct cloud. Check with your subscription administrator, this may happen if there are no \
             active subscriptions for the tenant."
        );
        Self::bad_request("invalid_request", 90_002, text)
    }

    pub(super) fn bad_client_secret() -> Self {
        Self::invalid_client(7_000_215, "Invalid client secret is provided.")
    }

    pub(super) fn expired_client_secret(client_id: &str) -> Self {
        let text = format!(
            "The provided client secret keys for app '{client_id}' are expired. Visit the Azure portal to \
             create new keys for your app."
        );
        Self::invalid_client(7_000_222, text)
    }

    /// `reason` must be a sentence.
    pub(super) fn bad_assertion(reason: &str) -> Self {
        let text = format!("Client assertion failed signature validation. [Reason - {reason}]");
        Self::invalid_client(700_027, text)
    }

    pub(super) fn invalid_scope(scope: &str) -> Self {
        let text = format!(
            "The provided value for the input parameter 'scope' isn't valid. The scope {scope} isn't valid."
        );
        Self::bad_request("invalid_scope", 70_011, text)
    }

    pub(super) fn malformed_refresh_token() -> Self {
        Self::invalid_grant(70_000, "Provided grant is invalid or malformed.")
    }

    pub(super) fn expired_refresh_token(issued: Timestamp, lifetime: Duration) -> Self {
        let seconds = lifetime.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        Self::invalid_grant(
            700_082,
            format!(
                "The refresh token has expired due to inactivity. The token was issued on {issued} and was \
                 inactive for {days}.{hours:02}:{minutes:02}:{:02}.",
                seconds % 60
            ),
        )
    }

    pub(super) fn revoked_refresh_token(issued: Timestamp, now: Timestamp) -> Self {
        Self::invalid_grant(
            50_173,
            format!(
                "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user \
                 might have changed or reset their password. The grant was issued on '{issued}' and the \
                 TokensValidFrom date (before which tokens are not valid) for this user is '{now}'."
            ),
        )
    }

    pub(super) fn consent_revoked(client_id: &str) -> Self {
        let text = format!(
            "The user or administrator has not consented to use the application with ID '{client_id}'. Send an \
             interactive authorization request for this user and resource."
        );
        Self { suberror: Some("consent_required"), ..Self::invalid_grant(65_001, text) }
    }

    pub(super) fn no_service_principal(tenant: &str) -> Self {
        let text = format!(
            "The app is trying to access a service '{PARTNER_CENTER}'(Microsoft Partner Center) that your \
             organization '{tenant}' lacks a service principal for. Contact your IT Admin to review the \
             configuration of your service subscriptions or consent to the application in order to create the \
             required service principal."
        );
        Self { suberror: Some("consent_required"), ..Self::invalid_grant(650_052, text) }
    }

    pub(super) fn mfa_required() -> Self {
        let text = format!(
            "Due to a configuration change made by your administrator, or because you moved to a new location, \
             you must use multi-factor authentication to access '{PARTNER_CENTER}'."
        );
        Self {
            suberror: Some("basic_action"),
            claims: Some(claims_challenge()),
            ..Self::invalid_grant(50_076, text)
        }
    }

    pub(super) fn mfa_expired() -> Self {
        let text = format!(
            "Presented multi-factor authentication has expired due to policies configured by your \
             administrator, you must refresh your multi-factor authentication to access '{PARTNER_CENTER}'."
        );
        Self { suberror: Some("basic_action"), ..Self::invalid_grant(50_078, text) }
    }

    pub(super) fn conditional_access() -> Self {
        let text = "Access has been blocked by Conditional Access policies. The access policy does not allow \
                    token issuance.";
        Self { suberror: Some("message_only"), ..Self::invalid_grant(53_003, text) }
    }

    pub(super) fn throttled() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "temporarily_unavailable",
            90_055,
            "The request was throttled because there are too many incoming requests.",
        )
    }

    pub(super) fn transient() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            90_033,
            "A transient error has occurred. Please try again.",
        )
    }

    /// Makes the response, with the time and new ids.
    pub(super) fn response(self, now: Timestamp) -> Response {
        let Self { status, error, code, text, suberror, claims } = self;
        let timestamp = now.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let (trace_id, correlation_id) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let error_description = format!(
            "AADSTS{code}: {text}\r\nTrace ID: {trace_id}\r\nCorrelation ID: {correlation_id}\r\n\
             Timestamp: {timestamp}"
        );
        let error_uri = format!("https://login.microsoftonline.com/error?code={code}");
        wire::json(
            status,
            &ErrorBody {
                error,
                error_description,
                error_codes: [code],
                timestamp,
                trace_id,
                correlation_id,
                error_uri,
                suberror,
                claims,
            },
        )
    }
}

impl From<DeviceCodeError> for EntraError {
    fn from(error: DeviceCodeError) -> Self {
        // Microsoft documents no code of its own for `slow_down` and `authorization_declined`.
        let (error, code, text) = match error {
            DeviceCodeError::Unknown => (
                "bad_verification_code",
                70_018,
                "The provided value for the input parameter 'device_code' is not valid.",
            ),
            DeviceCodeError::Expired => (
                "expired_token",
                70_020,
                "The provided value for the input parameter 'device_code' is not valid. This device code has \
                 expired.",
            ),
            DeviceCodeError::PolledTooFast => {
                ("slow_down", 70_016, "OAuth 2.0 device flow error. The client polls too fast.")
            }
            DeviceCodeError::Pending => (
                "authorization_pending",
                70_016,
                "OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
            ),
            DeviceCodeError::Declined => {
                ("authorization_declined", 70_017, "The end user denied the authorization request.")
            }
            DeviceCodeError::Blocked => return Self::conditional_access(),
        };
        Self::bad_request(error, code, text)
    }
}

impl From<AuthorizationCodeError> for EntraError {
    fn from(error: AuthorizationCodeError) -> Self {
        let (code, text) = match error {
            AuthorizationCodeError::Unknown => {
                (70_000, "The provided value for the 'code' parameter is not valid.")
            }
            AuthorizationCodeError::AlreadyRedeemed => (
                54_005,
                "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an \
                 existing refresh token.",
            ),
            AuthorizationCodeError::Expired => (
                70_008,
                "The provided authorization code or refresh token has expired due to inactivity. Send a new \
                 interactive authorization request for this user and resource.",
            ),
            AuthorizationCodeError::WrongRedirectUri { expected, presented } => {
                let text = format!(
                    "The reply address '{presented}' does not match the reply address '{expected}' provided when \
                     requesting Authorization code."
                );
                return Self::invalid_grant(500_112, text);
            }
            AuthorizationCodeError::WrongVerifier => (
                501_481,
                "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
            ),
        };
        Self::invalid_grant(code, text)
    }
}

/// The time `age` before `now`, by the clock that dates responses; tokens themselves age by Tokio's clock.
pub(super) fn before(now: Timestamp, age: Duration) -> Timestamp {
    now.saturating_sub(age).unwrap_or(Timestamp::MIN)
}

fn claims_challenge() -> String {
    let policy = Uuid::new_v4().to_string();
    json!({"access_token": {"capolids": {"essential": true, "values": [policy]}}}).to_string()
}

#[derive(Serialize)]
struct ErrorBody {
    error: &'static str,
    error_description: String,
    error_codes: [u32; 1],
    timestamp: String,
    trace_id: String,
    correlation_id: String,
    error_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    suberror: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<String>,
}
