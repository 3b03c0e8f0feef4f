//! The refresh tokens of one account: those that may be used, and the storage of their successors.
//!
//! A successor is on disk before anything else is done with it. Processes that share a state directory lock the stored
//! token while they replace it.

use std::fs::File;
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::config::{Account, Secret};
use crate::domain::failure::FailureReason;
use crate::domain::status::Ledger;

use super::blocking::off_workers;
use super::client_authentication;
use super::error::FetchError;
use super::store::{StoreError, TokenStore};
use super::stored_token::{Ancestor, Lineage, StoredToken, Successor};
use super::token_choice::{self, Candidate, CandidateSource};

/// The refresh tokens of one account.
pub(super) struct RefreshTokens {
    account: Arc<Account>,
    store: TokenStore,
    ledger: Ledger,
    memory: Mutex<Memory>,
}

/// What one renewal leaves to the next.
#[derive(Default)]
struct Memory {
    /// The ancestor of a configured token that was refused while another token was accepted.
    refused: Option<Ancestor>,
    /// Whether the last token could be neither loaded nor set aside.
    load_failed: bool,
    /// Whether the use of a token that is not stored has been logged since the last one was stored.
    unsaved_logged: bool,
}

/// The refresh tokens that one renewal may use.
pub(super) struct Choice {
    /// At least one, in the order in which they are tried.
    pub(super) candidates: Vec<Candidate>,
    /// The stored token.
    pub(super) stored: Option<StoredToken>,
}

/// A longer wait for the lock is logged.
const LONG_WAIT: Duration = Duration::from_secs(10);
/// The longest time for which another process renews a token, all attempts included.
const LONGEST_RENEWAL: Duration = Duration::from_mins(5);

impl RefreshTokens {
    pub(super) fn new(account: Arc<Account>, store: TokenStore, ledger: Ledger) -> Self {
        Self { account, store, ledger, memory: Mutex::default() }
    }

    /// Waits for the lock of the stored token.
    pub(super) async fn lock(&self, limit: Duration) -> Result<Option<Arc<File>>, StoreError> {
        let mut lock = std::pin::pin!(self.store.lock(self.account.display_name(), limit));
        if let Ok(lock) = tokio::time::timeout(LONG_WAIT, lock.as_mut()).await {
            return lock;
        }
        let (account, file) = (self.account.display_name(), self.store.lock_path());
        tracing::warn!(account, file = %file.display(), "Another process keeps the refresh token locked");
        lock.await
    }

    /// Chooses the refresh tokens that may be used.
    pub(super) fn choose(&self) -> Result<Choice, FetchError> {
        let stored = self.load();
        let configured = match self.read_configured() {
            // The configured token is not needed once it has a successor.
            Err(error) if stored.is_none() => return Err(error),
            configured => configured.ok(),
        };
        let unsaved = self.store.unsaved().map(|unsaved| unsaved.token);
        let refused = self.memory().refused.clone();
        let candidates = token_choice::candidates(stored.clone(), configured, refused.as_ref(), unsaved);
        Ok(Choice { candidates, stored })
    }

    fn read_configured(&self) -> Result<SecretString, FetchError> {
        let Some(configured) = &self.account.refresh_token else {
            let text = "there is no refresh token in the configuration or in state_directory";
            let remedy = "sign in with `partner-license-exporter login`, using multi-factor authentication";
            return Err(FetchError::new(FailureReason::Credentials, text).with_remedy(remedy));
        };
        configured.read().map_err(|error| {
            let remedy = client_authentication::remedy(Some(&error));
            FetchError::new(FailureReason::Credentials, format!("refresh token: {error}")).with_remedy(remedy)
        })
    }

    /// The newest token that is or was in the store.
    fn load(&self) -> Option<StoredToken> {
        let (mut memory, account) = (self.memory(), self.account.display_name());
        match self.store.load() {
            Ok(stored) => {
                if mem::take(&mut memory.load_failed) {
                    tracing::info!(account, "The stored refresh token can be read again");
                }
                stored.or_else(|| self.store.take_back())
            }
            Err(error) => {
                // A file is set aside once; a file that cannot be read remains so.
                let persists = !matches!(error, StoreError::SetAside(..));
                if mem::replace(&mut memory.load_failed, persists) && persists {
                    tracing::debug!(account, err = %error, "Still cannot use the stored refresh token");
                } else {
                    tracing::warn!(
                        account,
                        err = %error,
                        "Cannot use the stored refresh token, trying the newest one known"
                    );
                }
                self.store.newest().or_else(|| self.store.take_back())
            }
        }
    }

    /// Tries again to store a successor that the disk did not accept, unless the token on disk is newer.
    pub(super) async fn save_unsaved(&self) {
        let Some(unsaved) = self.store.unsaved() else { return };
        let store = self.store.clone();
        let stored = off_workers(move || store.read()).await;
        if stored.is_ok_and(|stored| stored.is_none_or(|stored| unsaved.may_replace(&stored))) {
            self.persist(unsaved).await;
        }
    }

    /// Stores a successor, unless the store is only for reading or another process has stored a token meanwhile, and
    /// returns whether it did. As long as the old token is accepted, a successor that is not stored is not used.
    pub(super) async fn persist(&self, successor: Successor) -> bool {
        if self.store.is_read_only() {
            return false;
        }
        let (issued_at, account) = (successor.token.issued_at, self.account.display_name());
        let failed_before = self.store.unsaved().is_some();
        let outcome = self.store.save_successor(successor).await;
        let is_stored = matches!(outcome, Ok(true));
        match outcome {
            Ok(true) => {
                self.note_issue(Some(issued_at));
                self.memory().unsaved_logged = false;
                if failed_before {
                    tracing::info!(account, "New refresh tokens are stored again");
                }
            }
            Ok(false) => {
                tracing::info!(
                    account,
                    "Another process stored a refresh token during the renewal, keeping that one"
                );
            }
            Err(error) => {
                if failed_before {
                    tracing::debug!(account, err = %error, "Still cannot store the new refresh token");
                } else {
                    tracing::error!(
                        account,
                        err = %error,
                        "Cannot store the new refresh token; the old one works until 90 days after its issue"
                    );
                }
            }
        }
        is_stored
    }

    /// Logs that `used` was accepted after `refused`, and remembers a configured token that was refused.
    pub(super) fn note_refusal(&self, refused: &Candidate, error: &FetchError, used: &Candidate) {
        let (account, used) = (self.account.display_name(), used.source);
        // As long as the disk accepts no token, each renewal tries the one that is on it.
        let is_known =
            used == CandidateSource::Memory && mem::replace(&mut self.memory().unsaved_logged, true);
        if is_known {
            tracing::debug!(account, err = %error, "The stored refresh token is still refused");
        } else {
            tracing::warn!(
                account,
                err = %error,
                refused = refused.source.as_str(),
                "The sign-in service refused a refresh token, using the {} one",
                used.as_str()
            );
        }
        if refused.source == CandidateSource::Configuration {
            self.memory().refused = Some(refused.lineage.ancestor.clone());
        }
    }

    /// Replaces the stored token by that of a new sign-in, and returns the path of the file. Waits for the lock until
    /// `abandoned`, and stores the token in any case, so that the sign-in is not lost.
    pub(super) async fn replace(
        &self,
        token: SecretString,
        issued_at: Timestamp,
        abandoned: &CancellationToken,
    ) -> Result<PathBuf, StoreError> {
        // As a descendant of the token that is configured now, it takes precedence over it.
        let ancestor = match self.account.refresh_token.as_ref().map(Secret::read) {
            Some(Ok(configured)) => Ancestor::configured(&configured),
            Some(Err(_)) => Ancestor::Unreadable,
            None => Ancestor::NotConfigured,
        };
        let lineage = Lineage { ancestor, signed_in_at: Some(issued_at) };
        let _lock = tokio::select! {
            lock = self.store.lock(self.account.display_name(), LONGEST_RENEWAL) => lock.ok().flatten(),
            () = abandoned.cancelled() => None,
        };
        self.store.save(StoredToken { token, issued_at, lineage }).await?;
        Ok(self.store.path().to_owned())
    }

    /// Notes in the ledger when the refresh token that will be used was issued.
    pub(super) fn announce(&self) {
        if let Ok(choice) = self.choose() {
            self.note_issue(choice.candidates.first().and_then(|candidate| candidate.issued_at));
        }
    }

    /// Notes in the ledger when the refresh token in use was issued, if that is known.
    pub(super) fn note_issue(&self, issued_at: Option<Timestamp>) {
        self.ledger.write(|status| status.credentials.refresh_token_issued_at = issued_at);
    }

    pub(super) fn lineage(&self) -> Result<Option<Lineage>, StoreError> {
        self.store.lineage()
    }

    pub(super) fn lock_path(&self) -> PathBuf {
        self.store.lock_path()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
