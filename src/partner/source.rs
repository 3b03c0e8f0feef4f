//! The interface between polling and the client.

use std::future::Future;

use crate::domain::collection::{Collected, Collection};

use super::error::FetchError;
use super::turn::Turn;

/// A source of an account's collections.
pub trait Source: Send + Sync + 'static {
    /// Fetches a whole collection once. It may pass the turn between two requests. The future may be dropped at any
    /// time.
    fn fetch(
        &self,
        collection: Collection,
        turn: &mut Turn,
    ) -> impl Future<Output = Result<Collected, FetchError>> + Send;

    /// Whether the credentials differ from those used or compared last, so that a fetch that failed may succeed.
    fn credentials_changed(&self) -> impl Future<Output = bool> + Send;

    /// Waits until work that must not be cancelled is done, such as storing a refresh token just received.
    fn drain(&self) -> impl Future<Output = ()> + Send;
}
