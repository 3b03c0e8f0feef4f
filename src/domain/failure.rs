//! The closed list of reasons for which a poll fails.
//!
//! The same word stands in the metric label, in the log field and in the documentation. Whoever adds a
//! reason adds it here, and the compiler names every place that has to answer for it.

/// Why a poll failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The sign-in service wants consent, or the application is unknown to the tenant.
    Consent,
    /// Refresh token, client credential or access token was refused.
    Credentials,
    /// Sign-in or API demands multi-factor authentication or fails conditional access.
    Mfa,
    /// The API answered 403: role, app-only token, conditional access.
    Forbidden,
    /// The API or the sign-in service answered 429.
    Throttled,
    /// 5xx, redirects, and those 4xx that are nobody's credentials.
    Server,
    /// A request's or the poll's time was up.
    Timeout,
    /// Name resolution, connection, reset, a body that ended early.
    Network,
    /// Certificate or TLS handshake.
    Tls,
    /// A 2xx answer whose body is no usable collection, or too large.
    Payload,
}

impl Reason {
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

    /// Whether only a person can mend it: such a poll is repeated rarely, and logged as an error.
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
                "supply a new refresh token, and check the client id and the client credential"
            }
            Self::Mfa => "sign in again with multi-factor authentication and supply the new refresh token",
            Self::Forbidden => {
                "give the signed-in user a Partner Center role that may read analytics, then reload the exporter"
            }
            Self::Throttled => "wait; the exporter asks again when the server wants it to",
            Self::Server => "wait; the exporter retries, and the log has the server's answer",
            Self::Timeout => "check latency and proxies, or raise poll_timeout",
            Self::Network => "check name resolution, routes, firewalls and proxy_url",
            Self::Tls => "check the clock and the certificate chain; a private CA belongs into ca_file",
            Self::Payload => "check api_base_url and proxies: the answer is not Partner Center's",
        }
    }
}
