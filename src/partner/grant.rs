//! What it takes to ask Entra ID for tokens: the application's credential, the refresh token to use, and the
//! care for its successors.
//!
//! A new refresh token is on the disk before anything else is done with it. Processes that share a state
//! directory take turns.

use std::fmt;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{Account, ClientCredential, Secret, SecretError};
use crate::domain::clock::Clock;
use crate::domain::reason::Reason;
use crate::domain::status::{Endpoint, Ledger};
use crate::state::file::Stamp;

use super::credential::Proof;
use super::error::{FetchError, Secrets};
use super::hints::LOGIN;
use super::http::{Http, Reply};
use super::store::{Descent, StoreError, Stored, TokenStore, fingerprint};
use super::wire::Object;

/// One application of one tenant, and its refresh token.
pub(super) struct Grant {
    account: String,
    pub(super) http: Arc<Http>,
    store: TokenStore,
    ledger: Ledger,
    clock: Clock,
    authority: String,
    resource: String,
    pub(super) client_id: String,
    client_credential: ClientCredential,
    first_token: Option<Secret>,
    secret_files: Vec<PathBuf>,
    turn_timeout: Duration,
    memory: Mutex<Memory>,
}

/// What one renewal leaves to the next.
#[derive(Default)]
struct Memory {
    /// [`fingerprint`] of a configured token that was refused where the stored one was not.
    refused: Option<String>,
    /// What was used for the last renewal, as it was then.
    seen: Seen,
    /// The last token could not be loaded, not even set aside.
    unreadable: bool,
    /// The last token could not be saved.
    unwritable: bool,
    /// That token.
    unsaved: Option<Stored>,
}

/// The files of secrets, and where the stored token came from.
type Seen = (Vec<Option<Stamp>>, Option<Descent>);

/// Whether a successor of the refresh token is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotation {
    /// Yes: from then on the successor is used.
    Wanted,
    /// No: somebody else uses this refresh token, and goes on with it.
    Unwanted,
}

/// An answer of the token endpoint, and when it was asked.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) access: SecretString,
    /// How long the access token lives, from `sent` on.
    pub(super) lifetime: Duration,
    pub(super) sent: Instant,
    pub(super) sent_at: Timestamp,
    pub(super) refresh: Option<SecretString>,
}

/// A refresh token that may be used now, and where it comes from.
struct Candidate {
    token: SecretString,
    /// Unknown for one that only the configuration knows.
    issued_at: Option<Timestamp>,
    /// What its successors will descend from.
    descent: Descent,
    from: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Store,
    Configuration,
    /// The disk did not take it.
    Memory,
}

impl Candidate {
    fn stored(stored: Stored, from: Origin) -> Self {
        let Stored { token, issued_at, descent } = stored;
        Self { token, issued_at: Some(issued_at), descent, from }
    }
}

/// What is assumed when the answer does not say how long the token lives.
const ASSUMED_LIFETIME: Duration = Duration::from_hours(1);
const STUCK: &str = "find the process that holds the lock, with `fuser` for instance, and end it";
/// A turn that takes longer than this is worth a word.
const LONG_WAIT: Duration = Duration::from_secs(10);
/// How long somebody else may be at a renewal, with all its attempts.
const LONGEST_RENEWAL: Duration = Duration::from_mins(5);

impl Grant {
    pub(super) fn new(
        account: &Account,
        store: TokenStore,
        http: Arc<Http>,
        ledger: Ledger,
        clock: Clock,
        turn_timeout: Duration,
    ) -> Self {
        let cloud = &account.cloud;
        Self {
            account: account.display_name().to_owned(),
            http,
            store,
            ledger,
            clock,
            authority: format!("{}/{}/oauth2/v2.0", cloud.login_base_url, account.tenant_id),
            resource: cloud.api_base_url.clone(),
            client_id: account.client_id.clone(),
            client_credential: account.client_credential.clone(),
            first_token: account.refresh_token.clone(),
            secret_files: account.secret_files().map(Path::to_owned).collect(),
            turn_timeout,
            memory: Mutex::default(),
        }
    }

    pub(super) fn account(&self) -> &str {
        &self.account
    }

    /// An address of the tenant's sign-in service, such as that of `token`.
    pub(super) fn endpoint(&self, name: &str) -> String {
        format!("{}/{name}", self.authority)
    }

    /// The permission asked for. `offline_access` is what makes Entra ID answer with a new refresh token.
    pub(super) fn scope(&self, rotation: Rotation) -> String {
        let offline = if rotation == Rotation::Wanted { " offline_access" } else { "" };
        format!("{}/user_impersonation{offline}", self.resource)
    }

    /// Exchanges the refresh token for an access token. No further attempt is made once `abandoned`.
    pub(super) async fn renew(
        &self,
        rotation: Rotation,
        abandoned: &CancellationToken,
    ) -> Result<Tokens, FetchError> {
        // Secrets as they were before: one that is replaced while the old one is being refused is news. The store
        // as it was after: what this renewal put there is not.
        let secrets = self.secret_stamps();
        let outcome = self.renew_when_it_is_our_turn(rotation, abandoned).await;
        self.memory().seen = (secrets, self.store.descent());
        outcome
    }

    async fn renew_when_it_is_our_turn(
        &self,
        rotation: Rotation,
        abandoned: &CancellationToken,
    ) -> Result<Tokens, FetchError> {
        let busy = |busy: StoreError| FetchError::new(Reason::Timeout, busy.to_string()).with_remedy(STUCK);
        // Whoever comes second finds the successor of the token that the first one used.
        let turn = async {
            let mut turn = std::pin::pin!(self.store.turn(&self.account, self.turn_timeout));
            if let Ok(turn) = tokio::time::timeout(LONG_WAIT, turn.as_mut()).await {
                return turn;
            }
            let (account, file) = (&self.account, self.store.lock_path());
            tracing::warn!(account, file = %file.display(), "Another process keeps the refresh token locked");
            turn.await
        };
        let _turn = tokio::select! {
            turn = turn => turn.map_err(busy)?,
            () = abandoned.cancelled() => return Err(FetchError::new(Reason::Timeout, "nobody waits any more")),
        };
        self.renew_in_turn(rotation, abandoned).await
    }

    /// Waits until other credentials are there than those that were used last, such as those of a new sign-in.
    pub(super) async fn changed(&self) {
        const LOOK_AGAIN: Duration = Duration::from_secs(5);
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let now = (self.secret_stamps(), self.store.descent());
            if mem::replace(&mut self.memory().seen, now.clone()) != now {
                return;
            }
        }
    }

    fn secret_stamps(&self) -> Vec<Option<Stamp>> {
        self.secret_files.iter().map(|path| Stamp::of(path)).collect()
    }

    async fn renew_in_turn(
        &self,
        rotation: Rotation,
        abandoned: &CancellationToken,
    ) -> Result<Tokens, FetchError> {
        let mut refusal: Option<(Origin, FetchError)> = None;
        for candidate in self.candidates()? {
            match (self.renew_with(&candidate, rotation, abandoned).await, &refusal) {
                (Ok(tokens), None) => return Ok(tokens),
                (Ok(tokens), Some((refused, error))) => {
                    self.goes_on_with(&candidate, *refused, error);
                    return Ok(tokens);
                }
                // The token itself is refused, and not, for instance, a client secret.
                (Err(error), _)
                    if matches!(
                        error.word(),
                        "invalid_grant" | "interaction_required" | "invalid_request"
                    ) =>
                {
                    // If none is good, the first is what somebody waits for.
                    refusal.get_or_insert((candidate.from, error));
                }
                // It may be good all the same.
                (Err(error), _) => return Err(error),
            }
        }
        let (_, error) = refusal.expect("there is a candidate, and none was taken");
        Err(error)
    }

    /// Says which token is used now, and not that of `refused`.
    fn goes_on_with(&self, candidate: &Candidate, refused: Origin, error: &FetchError) {
        let name = |origin| match origin {
            Origin::Store => "stored",
            Origin::Configuration => "configured",
            Origin::Memory => "not yet stored",
        };
        tracing::warn!(
            account = self.account,
            err = %error,
            refused = name(refused),
            "A refresh token is refused, going on with the {} one",
            name(candidate.from)
        );
        if refused == Origin::Configuration {
            let configured = self.first_token.as_ref().and_then(|token| token.read().ok());
            self.memory().refused = configured.map(|token| fingerprint(&token));
        }
    }

    async fn renew_with(
        &self,
        candidate: &Candidate,
        rotation: Rotation,
        abandoned: &CancellationToken,
    ) -> Result<Tokens, FetchError> {
        let token = &candidate.token;
        self.note_refresh_token(candidate.issued_at);
        let scope = self.scope(rotation);
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose_secret()),
            ("scope", scope.as_str()),
        ];
        let tokens =
            self.exchange(&form, vec![token.clone()], abandoned, Some(candidate.descent.clone())).await?;
        let expires_at = tokens.sent_at.saturating_add(tokens.lifetime).unwrap_or(Timestamp::MAX);
        self.ledger.write(|status| status.credentials.access_token_expires_at = Some(expires_at));
        Ok(tokens)
    }

    /// Asks the token endpoint as this application. Refresh tokens that come with the answer are stored as
    /// of that `descent`, if there is one, before anything else is done with them.
    pub(super) async fn exchange(
        &self,
        form: &[(&str, &str)],
        mut secrets: Vec<SecretString>,
        abandoned: &CancellationToken,
        descent: Option<Descent>,
    ) -> Result<Tokens, FetchError> {
        let url = self.endpoint("token");
        let proof = Proof::load(&self.client_credential, &self.client_id, &url)?;
        // None as well: before a reload there may have been a certificate.
        let expires_at = proof.certificate_expires_at();
        self.ledger.write(|status| status.credentials.client_certificate_expires_at = expires_at);
        let (sent, sent_at) = (Instant::now(), self.clock.now());
        let request = |client: &Client| {
            let proof = proof.fields(self.clock.now());
            let proof = proof.iter().map(|(name, secret)| (*name, secret.expose_secret()));
            let form = form.iter().copied().chain([("client_id", self.client_id.as_str())]).chain(proof);
            client.post(&url).form(&form.collect::<Vec<_>>())
        };
        let reply = self.http.send(Endpoint::Token, request, abandoned).await?;
        if !reply.status.is_success() {
            secrets.extend(proof.sent());
            return Err(FetchError::token(&reply, &Secrets(secrets)));
        }
        let answer = Answer::read(&reply)?;
        let refresh = answer.refresh_token.clone().filter(is_token);
        if answer.refresh_token.is_some() && refresh.is_none() {
            let account = &self.account;
            tracing::warn!(
                account,
                "The new refresh token is no token; the old one works until 90 days after its issue"
            );
        }
        // First of all, whatever the rest of the answer is worth: the old one may have ended with it.
        if let (Some(next), Some(descent)) = (&refresh, descent) {
            self.keep(Stored { token: next.clone(), issued_at: sent_at, descent }).await;
        }
        let lifetime = answer.lifetime();
        let Some(access) = answer.access_token.filter(is_token) else {
            let text = "the sign-in service answered with no usable access token";
            return Err(FetchError::new(Reason::Payload, text));
        };
        Ok(Tokens { access, lifetime, sent, sent_at, refresh })
    }

    /// Stores the refresh token of a new sign-in in the place of any other, in turn, unless the wait for it is
    /// `abandoned`. Says where.
    pub(super) async fn begin_anew(
        &self,
        token: SecretString,
        issued_at: Timestamp,
        abandoned: &CancellationToken,
    ) -> Result<PathBuf, StoreError> {
        // Descends from what is configured now, so that it wins over it.
        let ancestor = match self.first_token.as_ref().map(Secret::read) {
            Some(Ok(first)) => fingerprint(&first),
            Some(Err(_)) => Descent::UNSEEN.to_owned(),
            None => Descent::NONE.to_owned(),
        };
        let descent = Descent { ancestor, signed_in_at: Some(issued_at) };
        // A renewal takes no longer than this. The person must not have signed in for nothing.
        let _turn = tokio::select! {
            turn = self.store.turn(&self.account, LONGEST_RENEWAL) => turn.ok().flatten(),
            () = abandoned.cancelled() => None,
        };
        self.store.save(Stored { token, issued_at, descent }).await?;
        Ok(self.store.path().to_owned())
    }

    /// The file whose lock is the turn.
    pub(super) fn lock_path(&self) -> PathBuf {
        self.store.lock_path()
    }

    /// The refresh tokens that may be used, at least one: the stored one, unless the operator has supplied another
    /// first token since. The other one follows in case the first is refused, but for a configured one that the
    /// stored one descends from, or that was refused already.
    fn candidates(&self) -> Result<Vec<Candidate>, FetchError> {
        let stored = self.load().map(|stored| Candidate::stored(stored, Origin::Store));
        let first = self.first_token.as_ref().ok_or_else(no_token);
        let first = first.and_then(|token| token.read().map_err(|error| unreadable_token(&error)));
        let mut candidates = match (stored, first) {
            // The first token has done its work once there is a successor: nobody misses it.
            (Some(stored), Err(_)) => vec![stored],
            (None, Err(error)) => return Err(error),
            (stored, Ok(token)) => {
                let fingerprint = fingerprint(&token);
                let refused = self.memory().refused.as_ref() == Some(&fingerprint);
                let descent = Descent { ancestor: fingerprint, signed_in_at: None };
                match stored {
                    Some(stored) if refused || stored.descent.ancestor == descent.ancestor => vec![stored],
                    // A person signed in without a look at it: that is the newer one, until another is configured.
                    Some(mut stored) if stored.descent.is_blind() => {
                        stored.descent.ancestor.clone_from(&descent.ancestor);
                        vec![
                            stored,
                            Candidate { token, issued_at: None, descent, from: Origin::Configuration },
                        ]
                    }
                    stored => {
                        let first =
                            Candidate { token, issued_at: None, descent, from: Origin::Configuration };
                        std::iter::once(first).chain(stored).collect()
                    }
                }
            }
        };
        // Where a token ends with its first use, the successor that the disk did not take is all there is.
        let unsaved = self.memory().unsaved.clone();
        let known = |unsaved: &Stored| candidates.iter().any(|known| known.descent == unsaved.descent);
        let unsaved = unsaved.filter(known).map(|unsaved| Candidate::stored(unsaved, Origin::Memory));
        candidates.extend(unsaved);
        Ok(candidates)
    }

    /// Says of the refresh token that will be used what is known without using it.
    pub(super) fn announce(&self) {
        if let Ok([candidate, ..]) = self.candidates().as_deref() {
            self.note_refresh_token(candidate.issued_at);
        }
    }

    /// The newest token that is in the store, or was.
    fn load(&self) -> Option<Stored> {
        let (mut memory, account) = (self.memory(), &self.account);
        match self.store.load() {
            Ok(stored) => {
                if mem::take(&mut memory.unreadable) {
                    tracing::info!(account, "The stored refresh token can be read again");
                }
                stored
            }
            Err(error) => {
                // What was set aside is an event; what cannot be read stays like that.
                let lasting = !matches!(error, StoreError::SetAside(_));
                if mem::replace(&mut memory.unreadable, lasting) && lasting {
                    tracing::debug!(account, err = %error, "Still cannot use the stored refresh token");
                } else {
                    tracing::warn!(
                        account,
                        err = %error,
                        "Cannot use the stored refresh token, trying the newest one known"
                    );
                }
                self.store.newest()
            }
        }
    }

    /// Keeps a successor. One that cannot be kept is not used while another is good: the one on disk, or the first,
    /// still is the truth.
    async fn keep(&self, successor: Stored) {
        let (issued_at, account) = (successor.issued_at, &self.account);
        let saved = self.store.save(successor.clone()).await;
        let mut memory = self.memory();
        match saved {
            Ok(()) => {
                self.note_refresh_token(Some(issued_at));
                memory.unsaved = None;
                if mem::take(&mut memory.unwritable) {
                    tracing::info!(account, "New refresh tokens are stored again");
                }
            }
            Err(error) => {
                memory.unsaved = Some(successor);
                if mem::replace(&mut memory.unwritable, true) {
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
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_refresh_token(&self, issued_at: Option<Timestamp>) {
        self.ledger.write(|status| status.credentials.refresh_token_issued_at = issued_at);
    }
}

fn unreadable_token(error: &SecretError) -> FetchError {
    FetchError::new(Reason::Credentials, format!("refresh token: {error}"))
}

fn no_token() -> FetchError {
    let text = "there is no refresh token, neither in the configuration nor in state_directory; \
                partner-license-exporter login gets one";
    FetchError::new(Reason::Credentials, text).with_remedy(LOGIN)
}

/// Whether it can be one: printable ASCII without spaces, and not empty.
fn is_token(text: &SecretString) -> bool {
    let bytes = text.expose_secret().as_bytes();
    !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic)
}

/// Entra ID's answer, as documented for v2 (v1 writes numbers as strings).
#[derive(Deserialize)]
struct Answer {
    access_token: Option<SecretString>,
    expires_in: Option<Value>,
    refresh_token: Option<SecretString>,
}

impl Answer {
    /// The parser's message is left out: it may quote the answer, and the answer is made of secrets.
    fn read(reply: &Reply) -> Result<Self, FetchError> {
        serde_json::from_slice(reply.json()).map(|Object(answer)| answer).map_err(|_| {
            FetchError::new(Reason::Payload, "the sign-in service answered with no token document")
        })
    }

    fn lifetime(&self) -> Duration {
        /// Longer than Entra ID grants; keeps a nonsensical answer from overflowing a clock.
        const MOST: u64 = 24 * 3600;
        let seconds = match &self.expires_in {
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        seconds.map_or(ASSUMED_LIFETIME, |seconds| Duration::from_secs(seconds.min(MOST)))
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("authority", &self.authority).finish_non_exhaustive()
    }
}
