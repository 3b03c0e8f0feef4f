//! Why polls fail: the closed list of reasons, and what is known about one failed poll.
//!
//! A reason has one word for the metric label, the log field and the documentation.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::row::RowError;

/// Why a poll failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureReason {
    /// The sign-in service requires consent, or the application is unknown to the tenant.
    Consent,
    /// The refresh token, the client credential or the access token was refused.
    Credentials,
    /// The sign-in service or the API requires multi-factor authentication, or conditional access blocked the sign-in.
    Mfa,
    /// The API answered 403: role, app-only token, conditional access.
    Forbidden,
    /// The API or the sign-in service answered 429.
    Throttled,
    /// The answer was a 5xx, a redirect, or a 4xx that is not about credentials.
    Server,
    /// A request or the whole poll timed out.
    Timeout,
    /// Name resolution or the connection failed, or the body ended early.
    Network,
    /// The certificate or the TLS handshake failed.
    Tls,
    /// A 2xx answer has a body that is not a usable collection, or is too large.
    Payload,
}

impl FailureReason {
    /// Every reason, in the order in which they are exported.
    pub const ALL: [Self; 10] = [
        Self::Consent,
        Self::Credentials,
        Self::Mfa,
        Self::Forbidden,
        Self::Throttled,
        Self::Server,
        Self::Timeout,
        Self::Network,
        Self::Tls,
        Self::Payload,
    ];

    /// The word used in labels, logs and documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::Credentials => "credentials",
            Self::Mfa => "mfa",
            Self::Forbidden => "forbidden",
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::Timeout => "timeout",
            Self::Network => "network",
            Self::Tls => "tls",
            Self::Payload => "payload",
        }
    }

    /// Whether only an operator can fix it: such a poll is retried rarely and logged as an error.
    pub const fn needs_operator(self) -> bool {
        match self {
            Self::Consent | Self::Credentials | Self::Mfa | Self::Forbidden => true,
            Self::Throttled | Self::Server | Self::Timeout | Self::Network | Self::Tls | Self::Payload => {
                false
            }
        }
    }

    /// What an operator can do about it, in one sentence.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Consent => {
                "have an administrator of the partner tenant consent to the application, then reload the exporter"
            }
            Self::Credentials => {
                "sign in again with `partner-license-exporter login`, and check client_id and the client credential"
            }
            Self::Mfa => {
                "sign in again with `partner-license-exporter login`, using multi-factor authentication"
            }
            Self::Forbidden => {
                "give the signed-in user a Partner Center role that may read analytics, then reload the exporter"
            }
            Self::Throttled => "wait; the exporter retries when the server allows it",
            Self::Server => "wait; the exporter retries, and the log has the server's answer",
            Self::Timeout => "check latency and proxies, or raise poll_timeout",
            Self::Network => "check name resolution, routes, firewalls and proxy_url",
            Self::Tls => "check the clock and the certificate chain; a private CA belongs in ca_file",
            Self::Payload => "check api_base_url and proxies: the answer did not come from Partner Center",
        }
    }
}

/// A failed poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason under which it is counted.
    pub reason: FailureReason,
    /// Whether only an operator can fix it; usually [`FailureReason::needs_operator`].
    pub needs_operator: bool,
    /// How long the server asked to be left alone, if it did.
    pub retry_after: Option<Duration>,
    /// The number of rows that the poll dropped, by error.
    pub rejected: BTreeMap<RowError, u64>,
    /// What to do about it; backticks enclose commands.
    pub remedy: Cow<'static, str>,
    /// What happened, in one line without secrets.
    pub text: String,
}

impl Failure {
    /// Whether the server asked for fewer requests, with or without saying for how long.
    pub fn asks_to_slow_down(&self) -> bool {
        self.reason == FailureReason::Throttled || self.retry_after.is_some()
    }

    /// A failure with what its reason says of it and an empty text.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of(reason: FailureReason) -> Self {
        Self {
            reason,
            needs_operator: reason.needs_operator(),
            retry_after: None,
            rejected: BTreeMap::new(),
            remedy: reason.remedy().into(),
            text: String::new(),
        }
    }
}
