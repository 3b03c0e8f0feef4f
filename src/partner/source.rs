//! The interface between polling and the client.

use std::future::Future;

use crate::domain::usage::UsageReport;

use super::error::FetchError;

/// A source of the usage collection.
pub trait UsageSource: Send + Sync + 'static {
    /// Fetches the whole collection once. The future may be dropped at any time.
    fn fetch(&self) -> impl Future<Output = Result<UsageReport, FetchError>> + Send;

    /// Whether the credentials differ from those used or compared last, so that a fetch that failed may succeed.
    fn credentials_changed(&self) -> impl Future<Output = bool> + Send;

    /// Waits until work that must not be cancelled is done, such as storing a refresh token just received.
    fn drain(&self) -> impl Future<Output = ()> + Send;
}
