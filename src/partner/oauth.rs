//! The OAuth 2.0 error codes of the sign-in service (RFC 6749 section 5.2, RFC 8628 section 3.5, Entra ID).

use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};

/// The `error` member of an error response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OAuthError {
    AccessDenied,
    AuthorizationDeclined,
    AuthorizationPending,
    BadVerificationCode,
    ConsentRequired,
    ExpiredToken,
    InteractionRequired,
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    /// The API is unknown in the tenant (Entra ID), or not acceptable (RFC 8707).
    #[serde(alias = "invalid_target")]
    InvalidResource,
    InvalidScope,
    LoginRequired,
    ServerError,
    SlowDown,
    TemporarilyUnavailable,
    UnauthorizedClient,
    UnsupportedGrantType,
    /// A code on which nothing depends.
    #[serde(other)]
    Other,
}

impl OAuthError {
    /// Parses a code; an empty text is none.
    pub(super) fn parse(code: &str) -> Option<Self> {
        let parsed = Self::deserialize(StrDeserializer::<Error>::new(code)).unwrap_or(Self::Other);
        (!code.is_empty()).then_some(parsed)
    }

    /// Whether the refresh token itself was refused, and not, for instance, the client credential.
    pub(super) fn refuses_refresh_token(self) -> bool {
        matches!(
            self,
            Self::InvalidGrant | Self::InteractionRequired | Self::InvalidRequest | Self::LoginRequired
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_four_codes_refuse_the_refresh_token_itself() {
        let refusing = ["invalid_grant", "interaction_required", "invalid_request", "login_required"];
        let others = [
            "invalid_client",
            "unauthorized_client",
            "consent_required",
            "invalid_resource",
            "invalid_scope",
            "server_error",
            "temporarily_unavailable",
            "authorization_pending",
            "a_code_of_tomorrow",
        ];
        for (code, expected) in
            refusing.map(|code| (code, true)).into_iter().chain(others.map(|code| (code, false)))
        {
            let parsed = OAuthError::parse(code).unwrap();
            assert_eq!(parsed.refuses_refresh_token(), expected, "{code}");
        }
        assert_eq!(OAuthError::parse(""), None);
    }
}
