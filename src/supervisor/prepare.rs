//! Prepares the accounts of a configuration, without changing any that runs.
//!
//! Everything here may wait for files, so it runs outside the runtime's workers.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::config::{Account, Config, ConfigError, Polled, exposure};
use crate::domain::clock::Clock;
use crate::domain::collection::Collection;
use crate::domain::customers::Limits;
use crate::domain::schedule::Schedule;
use crate::domain::shard::Shard;
use crate::domain::status::Ledger;
use crate::partner::{ClientError, PartnerCenter, StoreError, TokenStore, TrustAnchors};
use crate::polling::{Plan, Shared};
use crate::state::snapshot::SnapshotStore;

use super::account::{Ready, ReadyCollection, Running, Settings};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The HTTP client of an account cannot be created.
    #[error("account {account}")]
    Client {
        /// The account's name.
        account: String,
        /// The cause.
        #[source]
        source: ClientError,
    },
    /// The state directory cannot be used.
    #[error("{_0}; refresh tokens are stored there{}", advice(_0))]
    Store(StoreError),
    /// The configuration and the files that it names could not be read in time.
    #[error(
        "the configuration and the files that it names were not read within {} s: a file system hangs or is slow",
        TIMEOUT.as_secs()
    )]
    TooSlow,
}

fn advice(error: &StoreError) -> &'static str {
    if error.lacks_permission() {
        ": give the exporter's user write access, or set state_directory"
    } else {
        ""
    }
}

/// The limit of preparing a configuration at a reload.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// What preparation needs to know of the accounts that run.
pub(super) struct Preparation {
    /// Which accounts belong to this process.
    pub(super) shard: Shard,
    pub(super) clock: Clock,
    pub(super) changed: Arc<Notify>,
    pub(super) running: Vec<Running>,
    /// Stopped accounts whose task has not ended or whose `Retry-After` has not passed.
    pub(super) stopping: Vec<Running>,
}

/// A configuration with all that its accounts need.
pub(super) struct Prepared {
    pub(super) config: Config,
    pub(super) accounts: Vec<PreparedAccount>,
    pub(super) warnings: Vec<String>,
}

pub(super) struct PreparedAccount {
    pub(super) work: Work,
    pub(super) certificate_expires_at: Option<Timestamp>,
    /// How much of its customers is published.
    pub(super) limits: Limits,
}

/// What is to be done with an account.
pub(super) enum Work {
    /// Nothing about it has changed: the one at this position of those that run goes on.
    Keep(usize),
    /// It is started. Boxed, since it is large.
    Start(Box<Ready>),
}

impl Preparation {
    /// # Errors
    /// [`StartError`] if the configuration cannot be used.
    pub(super) fn prepare(&self, config: Config) -> Result<Prepared, StartError> {
        TokenStore::prepare(&config.state_directory).map_err(StartError::Store)?;
        let own = config.accounts.iter().filter(|account| self.shard.has(&account.shard_key()));
        let own: Vec<&Account> = own.collect();
        let (anchors, count) = (TrustAnchors::default(), u32::try_from(own.len()).unwrap_or(u32::MAX));
        let accounts = (0..).zip(own.iter().copied());
        let prepared = accounts.map(|(position, account)| {
            let stagger = Schedule::new(config.poll_interval).stagger(position, count);
            let work = self.prepare_account(account, &config, stagger, &anchors)?;
            let certificate_expires_at = account.client_credential.certificate_expires_at();
            let limits = account.collections.customers.limits;
            Ok(PreparedAccount { work, certificate_expires_at, limits })
        });
        let mut accounts = prepared.collect::<Result<Vec<_>, StartError>>()?;
        // From here on nothing can fail.
        for account in &mut accounts {
            let Work::Start(ready) = &mut account.work else { continue };
            for collection in &mut ready.collections {
                let restored = collection.restore(self.clock.now(), config.stale_after);
                // A reload polls every account at once, including those it adds.
                collection.plan.resumes = restored.filter(|_| self.running.is_empty());
            }
            let Settings { account, collections, .. } = &ready.settings;
            if !account.collections.customers.names {
                let is_polled = collections.iter().any(|it| it.collection == Collection::Customers);
                let store = SnapshotStore::new(&config.state_directory, account, Collection::Customers);
                store.remove_names(is_polled);
            }
            if ready.is_new {
                ready.center.announce();
                ready.resume_pause(self.clock.now());
            }
        }
        let mut warnings = config.warnings(self.clock.now());
        for account in own {
            let store = TokenStore::read_only(&config.state_directory, account);
            warnings.extend(exposure::warning(store.path()));
            let misplaced = store.misplaced(&config.accounts);
            warnings.extend(misplaced.map(|text| format!("account {}: {text}", account.display_name())));
        }
        Ok(Prepared { config, accounts, warnings })
    }

    fn prepare_account(
        &self,
        account: &Account,
        config: &Config,
        stagger: Duration,
        anchors: &TrustAnchors,
    ) -> Result<Work, StartError> {
        let of_account = |source| StartError::Client { account: account.display_name().to_owned(), source };
        let opened = TokenStore::open_prepared(&config.state_directory, account);
        let mut store = opened.map_err(StartError::Store)?;
        let settings = Settings {
            account: account.clone(),
            state_directory: config.state_directory.clone(),
            collections: config.polled(account),
            tls: anchors.of(account).map_err(|error| of_account(error.into()))?,
        };
        let known = self.running.iter().position(|it| it.account().identity() == account.identity());
        if let Some(position) = known.filter(|position| *self.running[*position].settings == settings) {
            return Ok(Work::Keep(position));
        }
        // An account that was renamed, or removed and added again, has a new ledger but the same refresh token.
        let before = self.running.iter().chain(&self.stopping);
        let before: Vec<_> = before.filter(|it| it.account().shares_token_with(account)).collect();
        let predecessor = before.iter().find(|it| !it.ended.is_cancelled()).or(before.first());
        let ledger = known.map_or_else(
            || {
                let ledger = Ledger::new(account.name.clone(), Arc::clone(&self.changed));
                // A `Retry-After` outlives a renaming, and a removal of the account.
                let until = before.iter().filter_map(|it| it.ledger.read().hold_until).max();
                ledger.write(|status| status.hold_until = until);
                ledger
            },
            |position| self.running[position].ledger.clone(),
        );
        if let Some(predecessor) = predecessor {
            store = store.continuing(&predecessor.store);
        }
        let center =
            PartnerCenter::new(account, store.clone(), &ledger, &self.clock, config.poll_timeout, anchors)
                .map_err(of_account)?;
        let (shared, before) = (Shared::default(), ledger.read());
        let collections = settings.collections.iter().map(|&Polled { collection, interval, timeout }| {
            let schedule = Schedule::new(interval);
            let plan = Plan {
                account: account.display_name().to_owned(),
                collection,
                schedule: if collection.is_large() { schedule.despite_restarts() } else { schedule },
                timeout,
                resumes: None,
                stagger,
                asked: Arc::default(),
                shared: shared.clone(),
                clock: self.clock.clone(),
                jitter: fastrand::f64,
            };
            let snapshots = SnapshotStore::new(&config.state_directory, account, collection);
            ReadyCollection { plan, snapshots, is_new: before.of(collection).is_none(), restored: None }
        });
        let collections = collections.collect();
        Ok(Work::Start(Box::new(Ready {
            settings,
            ledger,
            store,
            center,
            collections,
            is_new: known.is_none(),
            predecessor: predecessor.map(|running| running.ended.clone()),
        })))
    }
}
