//! The errors of the token endpoint, as Entra ID words them.
//!
//! It does not know which request gets which error. Where Microsoft documents neither the status nor the `error` of a
//! code, they are those of similar codes.

use std::time::Duration;

use axum::{
    http::{HeaderName, StatusCode},
    response::Response,
};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use crate::{authorization_codes::AuthorizationCodeError, device_codes::DeviceCodeError, wire};

/// An error of the token endpoint, without its time and its ids.
#[derive(Debug, thiserror::Error)]
pub(super) enum EntraError {
    #[error("Invalid request. Request is malformed or invalid.")]
    Malformed,
    #[error("The request body must contain the following parameter: '{0}'.")]
    MissingParameter(&'static str),
    #[error("The app requested an unsupported grant type '{0}'.")]
    UnsupportedGrantType(String),
    #[error("The provided value for the input parameter 'scope' isn't valid. The scope {0} isn't valid.")]
    InvalidScope(String),
    #[error("Application with identifier '{client_id}' was not found in the directory '{tenant}'.")]
    UnknownApplication { client_id: String, tenant: String },
    #[error(
        "Tenant '{0}' not found. Check to make sure you have the correct tenant ID and are signing into the correct \
         cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for \
         the tenant."
    )]
    UnknownTenant(String),

    #[error("The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")]
    MissingCredential,
    #[error("Client is public so neither 'client_assertion' nor 'client_secret' should be presented.")]
    PublicClient,
    #[error("Invalid client secret is provided.")]
    BadClientSecret,
    #[error(
        "The provided client secret keys for app '{0}' are expired. Visit the Azure portal to create new keys for \
         your app."
    )]
    ExpiredClientSecret(String),
    /// The reason is a sentence.
    #[error("Client assertion failed signature validation. [Reason - {0}]")]
    BadAssertion(String),
    /// The part of a federated token that does not match the scenario's credential.
    #[error("No matching federated identity record found for presented assertion {part}.")]
    FederatedMismatch { code: u32, part: &'static str },
    #[error("{0}")]
    UnreadableFederatedToken(String),

    #[error("Provided grant is invalid or malformed.")]
    MalformedRefreshToken,
    #[error(
        "The refresh token has expired due to inactivity. The token was issued on {issued} and was inactive for {}.",
        days_and_time(*.lifetime)
    )]
    ExpiredRefreshToken { issued: Timestamp, lifetime: Duration },
    #[error(
        "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have \
         changed or reset their password. The grant was issued on '{issued}' and the TokensValidFrom date (before \
         which tokens are not valid) for this user is '{now}'."
    )]
    RevokedRefreshToken { issued: Timestamp, now: Timestamp },
    #[error(
        "The user or administrator has not consented to use the application with ID '{0}'. Send an interactive \
         authorization request for this user and resource."
    )]
    ConsentRevoked(String),
    #[error(
        "The app is trying to access a service '{PARTNER_CENTER}'(Microsoft Partner Center) that your organization \
         '{0}' lacks a service principal for. Contact your IT Admin to review the configuration of your service \
         subscriptions or consent to the application in order to create the required service principal."
    )]
    NoServicePrincipal(String),
    #[error(
        "Due to a configuration change made by your administrator, or because you moved to a new location, you must \
         use multi-factor authentication to access '{PARTNER_CENTER}'."
    )]
    MfaRequired,
    #[error(
        "Presented multi-factor authentication has expired due to policies configured by your administrator, you must \
         refresh your multi-factor authentication to access '{PARTNER_CENTER}'."
    )]
    MfaExpired,
    #[error("{}", DeviceCodeError::Blocked)]
    ConditionalAccess,
    #[error(transparent)]
    DeviceCode(#[from] DeviceCodeError),
    #[error(transparent)]
    AuthorizationCode(#[from] AuthorizationCodeError),

    #[error("The request was throttled because there are too many incoming requests.")]
    Throttled,
    #[error("A transient error has occurred. Please try again.")]
    Transient,
}

/// The header with the id of a request, which is the trace id of an error.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
/// The application id of the Partner Center API.
const PARTNER_CENTER: &str = "fa3d9a0c-3fb0-42cc-9193-47c7ecd2edbd";

impl EntraError {
    /// The OAuth `error` and the AADSTS code.
    fn codes(&self) -> (&'static str, u32) {
        use AuthorizationCodeError as Code;
        use DeviceCodeError as Device;
        match self {
            Self::Malformed => ("invalid_request", 9_002_313),
            Self::MissingParameter(_) => ("invalid_request", 900_144),
            Self::UnsupportedGrantType(_) => ("unsupported_grant_type", 70_003),
            Self::InvalidScope(_) => ("invalid_scope", 70_011),
            Self::UnknownApplication { .. } => ("unauthorized_client", 700_016),
            Self::UnknownTenant(_) => ("invalid_request", 90_002),
            Self::MissingCredential => ("invalid_client", 7_000_218),
            Self::PublicClient => ("invalid_client", 700_025),
            Self::BadClientSecret => ("invalid_client", 7_000_215),
            Self::ExpiredClientSecret(_) => ("invalid_client", 7_000_222),
            Self::BadAssertion(_) => ("invalid_client", 700_027),
            Self::FederatedMismatch { code, .. } => ("invalid_client", *code),
            Self::UnreadableFederatedToken(_) => ("invalid_client", 70_021),
            Self::MalformedRefreshToken | Self::AuthorizationCode(Code::Unknown) => ("invalid_grant", 70_000),
            Self::ExpiredRefreshToken { .. } => ("invalid_grant", 700_082),
            Self::RevokedRefreshToken { .. } => ("invalid_grant", 50_173),
            Self::ConsentRevoked(_) => ("invalid_grant", 65_001),
            Self::NoServicePrincipal(_) => ("invalid_grant", 650_052),
            Self::MfaRequired => ("invalid_grant", 50_076),
            Self::MfaExpired => ("invalid_grant", 50_078),
            Self::ConditionalAccess | Self::DeviceCode(Device::Blocked) => ("invalid_grant", 53_003),
            // Microsoft documents no separate code for `slow_down` and `authorization_declined`.
            Self::DeviceCode(Device::Unknown) => ("bad_verification_code", 70_018),
            Self::DeviceCode(Device::Expired) => ("expired_token", 70_020),
            Self::DeviceCode(Device::PolledTooFast) => ("slow_down", 70_016),
            Self::DeviceCode(Device::Pending) => ("authorization_pending", 70_016),
            Self::DeviceCode(Device::Declined) => ("authorization_declined", 70_017),
            Self::AuthorizationCode(Code::AlreadyRedeemed) => ("invalid_grant", 54_005),
            Self::AuthorizationCode(Code::Expired) => ("invalid_grant", 70_008),
            Self::AuthorizationCode(Code::WrongRedirectUri { .. }) => ("invalid_grant", 500_112),
            Self::AuthorizationCode(Code::WrongVerifier) => ("invalid_grant", 501_481),
            Self::Throttled => ("temporarily_unavailable", 90_055),
            Self::Transient => ("temporarily_unavailable", 90_033),
        }
    }

    fn suberror(&self) -> Option<&'static str> {
        match self {
            Self::ConsentRevoked(_) | Self::NoServicePrincipal(_) => Some("consent_required"),
            Self::MfaRequired | Self::MfaExpired => Some("basic_action"),
            Self::ConditionalAccess | Self::DeviceCode(DeviceCodeError::Blocked) => Some("message_only"),
            _ => None,
        }
    }

    /// Makes the response, with the time and new ids.
    pub(super) fn response(self, now: Timestamp) -> Response {
        let (error, code) = self.codes();
        let status = match (&self, error) {
            (Self::Throttled, _) => StatusCode::TOO_MANY_REQUESTS,
            (Self::Transient, _) => StatusCode::SERVICE_UNAVAILABLE,
            (_, "invalid_client") => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        let timestamp = now.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let (trace_id, correlation_id) = (Uuid::new_v4(), Uuid::new_v4());
        let mut body = json!({
            "error": error,
            "error_description": format!(
                "AADSTS{code}: {self}\r\nTrace ID: {trace_id}\r\nCorrelation ID: {correlation_id}\r\n\
                 Timestamp: {timestamp}"
            ),
            "error_codes": [code],
            "timestamp": timestamp,
            "trace_id": trace_id.to_string(),
            "correlation_id": correlation_id.to_string(),
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        });
        if let Some(suberror) = self.suberror() {
            body["suberror"] = suberror.into();
        }
        if matches!(self, Self::MfaRequired) {
            let policies = json!({"essential": true, "values": [Uuid::new_v4().to_string()]});
            body["claims"] = json!({"access_token": {"capolids": policies}}).to_string().into();
        }
        let mut response = wire::json(status, &body);
        wire::set(&mut response, REQUEST_ID, &trace_id.to_string());
        response
    }
}

/// The time `age` before `now`, by the clock that dates responses; tokens themselves age by Tokio's clock.
pub(super) fn before(now: Timestamp, age: Duration) -> Timestamp {
    now.saturating_sub(age).unwrap_or(Timestamp::MIN)
}

/// A duration as Entra ID writes it, such as `90.00:00:00`.
fn days_and_time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("{days}.{hours:02}:{minutes:02}:{:02}", seconds % 60)
}
