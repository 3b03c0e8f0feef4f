//! Why a fetch failed: the reason under which it is counted, a remedy, and one line of text for people.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;

use crate::domain::failure::{Failure, FailureReason};
use crate::domain::row::RowError;

use super::oauth::OAuthError;
use super::remedy;

/// A fetch or sign-in that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct FetchError {
    pub(super) reason: FailureReason,
    pub(super) needs_operator: bool,
    pub(super) retry_after: Option<Duration>,
    /// The number of rows that were dropped, by reason.
    pub(super) rejected: BTreeMap<RowError, u64>,
    /// What a person can do about it; backticks enclose commands.
    pub(super) remedy: Cow<'static, str>,
    /// The OAuth 2.0 error code of the sign-in service, if its response had one.
    pub(super) oauth_error: Option<OAuthError>,
    /// The status of the API's answer, if it refused the request.
    pub(super) status: Option<StatusCode>,
    pub(super) text: String,
}

impl FetchError {
    /// `text` must be one line without secrets.
    pub(super) fn new(reason: FailureReason, text: impl Into<String>) -> Self {
        Self {
            reason,
            needs_operator: reason.needs_operator(),
            retry_after: None,
            rejected: BTreeMap::new(),
            remedy: reason.remedy().into(),
            oauth_error: None,
            status: None,
            text: text.into(),
        }
    }

    /// The error of a success of the sign-in service that cannot be used.
    pub(super) fn sign_in_payload(text: impl Into<String>) -> Self {
        let remedy = "check cloud, or login_base_url if the cloud is custom, and proxies: the answer did not come from Entra ID";
        Self::new(FailureReason::Payload, text).with_remedy(remedy)
    }

    /// The error of a poll that took longer than `limit`.
    pub fn deadline(limit: Duration) -> Self {
        let limit = humantime::format_duration(limit);
        Self::new(FailureReason::Timeout, format!("the poll took longer than poll_timeout ({limit})"))
    }

    /// The error of a request that was not sent, because the server asked for a pause until later.
    pub fn paused(until: Timestamp, now: Timestamp) -> Self {
        let retry_after = Duration::try_from(until.duration_since(now)).ok();
        let until = until.strftime("%Y-%m-%d %H:%M:%S UTC");
        let text = format!("the server asked the exporter for a pause until {until}");
        Self { retry_after, ..Self::new(FailureReason::Throttled, text) }
    }

    /// An error for tests of its handling.
    #[cfg(test)]
    pub(crate) fn scripted(reason: FailureReason, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..Self::new(reason, "as the script says") }
    }

    /// The reason under which this failure is counted.
    pub fn reason(&self) -> FailureReason {
        self.reason
    }

    /// How long the server asked the client to wait, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The status of the response that led to the failure, where that matters.
    pub fn status(&self) -> Option<u16> {
        self.status.map(|status| status.as_u16())
    }

    /// What a person can do about the failure.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// Whether the failure may end without intervention while a person signs in.
    pub fn is_transient(&self) -> bool {
        use FailureReason::{Network, Server, Throttled, Timeout};
        matches!(self.reason, Network | Server | Throttled | Timeout) && !self.needs_operator
    }

    /// Replaces the remedy of the reason by a better one, if there is one.
    pub(super) fn with_remedy(self, remedy: impl Into<Option<&'static str>>) -> Self {
        Self { remedy: remedy.into().map_or(self.remedy, Cow::Borrowed), ..self }
    }

    /// Makes the commands in the remedy ready to paste.
    pub(super) fn with_command_flags(self, flags: &str) -> Self {
        Self { remedy: remedy::with_flags(&self.remedy, flags).into(), ..self }
    }

    /// Appends ids such as `MS-RequestId …`, by which Microsoft's support finds the call.
    pub(super) fn with_ids(mut self, ids: &[String]) -> Self {
        if !ids.is_empty() {
            self.text += &format!(" ({})", ids.join(", "));
        }
        self
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        let FetchError {
            reason,
            needs_operator,
            retry_after,
            rejected,
            remedy,
            text,
            oauth_error: _,
            status: _,
        } = error;
        Self { reason, needs_operator, retry_after, rejected, remedy, text }
    }
}
