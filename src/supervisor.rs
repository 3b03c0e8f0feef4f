//! Runs the accounts of a configuration, and replaces them when it is reloaded.
//!
//! A reload is all or nothing: the new configuration is loaded and everything it needs is prepared before any
//! running account is changed. An account whose identity stays the same keeps its rows, its counters and its
//! `Retry-After`.

mod account;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Account, Config, ConfigError, ConfigSource, exposure};
use crate::domain::clock::Clock;
use crate::domain::schedule::Schedule;
use crate::domain::status::Ledger;
use crate::metrics::{Accounts, OwnMetrics};
use crate::partner::{ClientError, PartnerCenter, StoreError, TokenStore};
use crate::polling::Plan;
use crate::state::snapshot::SnapshotStore;
use account::{Ready, Running};

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
    #[error(
        "{0}; refresh tokens are stored there: give the exporter's user write access, or set state_directory"
    )]
    Store(StoreError),
}

/// A request to reload, answered with the outcome.
type Request = oneshot::Sender<Result<(), Arc<StartError>>>;

/// Sends reload requests to the supervisor. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reloader(mpsc::Sender<Request>);

impl Reloader {
    /// Loads the configuration and applies it. Returns `None` if the program is stopping.
    ///
    /// # Errors
    /// [`StartError`] if the new configuration cannot be used; the previous one remains in use.
    pub async fn reload(&self) -> Option<Result<(), Arc<StartError>>> {
        let (reply, answer) = oneshot::channel();
        self.0.send(reply).await.ok()?;
        answer.await.ok()
    }
}

/// Runs the accounts of a configuration.
#[derive(Debug)]
pub struct Supervisor {
    source: ConfigSource,
    clock: Clock,
    own: Arc<OwnMetrics>,
    changed: Arc<Notify>,
    accounts: watch::Sender<Arc<Accounts>>,
    requests: mpsc::Receiver<Request>,
    running: Vec<Running>,
    /// Stopped accounts whose task has not ended or whose `Retry-After` has not passed.
    stopping: Vec<Running>,
    tasks: JoinSet<()>,
}

impl Supervisor {
    /// Starts polling the accounts of `config`, which was loaded from `source`.
    ///
    /// # Errors
    /// [`StartError`] if the configuration cannot be used.
    pub fn start(
        source: ConfigSource,
        config: &Config,
        own: Arc<OwnMetrics>,
        clock: Clock,
    ) -> Result<(Self, Reloader), StartError> {
        let (sender, requests) = mpsc::channel(1);
        let mut supervisor = Self {
            source,
            clock,
            own,
            changed: Arc::default(),
            accounts: watch::Sender::new(Arc::new(accounts_of(config, &[]))),
            requests,
            running: Vec::new(),
            stopping: Vec::new(),
            tasks: JoinSet::new(),
        };
        supervisor.apply(config)?;
        Ok((supervisor, Reloader(sender)))
    }

    /// The current accounts, updated by reloads.
    pub fn accounts(&self) -> watch::Receiver<Arc<Accounts>> {
        self.accounts.subscribe()
    }

    /// Notified when the status of an account changes.
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Serves reload requests until `stop`, then stops the accounts and waits for them. Returns early if an
    /// account's task panics. What `reloading` returns is dropped at the end of the reload.
    pub async fn run<R>(
        mut self,
        environment: fn(&str) -> Option<String>,
        reloading: impl Fn() -> R,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! { biased;
                () = stop.cancelled() => break,
                Some(request) = self.requests.recv() => {
                    let reloading = reloading();
                    let outcome = self.reload(environment);
                    drop(reloading);
                    // The requester may have gone.
                    drop(request.send(outcome));
                }
                // Not `Some(Err(…))`: a task that ends normally, as after a reload, would disable this branch.
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(err = %error, "The task of an account ended unexpectedly");
                        return;
                    }
                }
            }
        }
        for running in &self.running {
            running.stop.cancel();
        }
        while self.tasks.join_next().await.is_some() {}
    }

    fn reload(&mut self, environment: fn(&str) -> Option<String>) -> Result<(), Arc<StartError>> {
        let loaded = self.source.load(&environment).map_err(StartError::from);
        let outcome = loaded.and_then(|config| self.apply(&config)).map_err(Arc::new);
        let problems =
            outcome.as_ref().err().map(|error| format!("{:#}", anyhow::Error::new(Arc::clone(error))));
        self.own.reloaded(problems.clone(), self.clock.now());
        match problems {
            None => tracing::info!(config = %self.source, "Configuration reloaded"),
            Some(problems) => {
                let text = problems.replace("\n  ", "; ");
                tracing::error!(
                    config = %self.source,
                    err = text,
                    "Configuration not reloaded; the previous one remains in use"
                );
            }
        }
        outcome
    }

    fn apply(&mut self, config: &Config) -> Result<(), StartError> {
        let accounts = config.accounts.iter().map(|account| self.prepare(account, config));
        let ready = accounts.collect::<Result<Vec<_>, StartError>>()?;
        // From here on nothing can fail.
        let stored = ready.iter().filter_map(|ready| exposure::warning(ready.store.path()));
        for warning in config.warnings(self.clock.now()).into_iter().chain(stored) {
            tracing::warn!("{warning}");
        }
        let is_start = self.running.is_empty();
        self.stopping.retain(|stopping| !stopping.ended.is_cancelled() || stopping.is_held());
        self.stopping.extend(self.running.drain(..).inspect(|running| running.stop.cancel()));
        let accounts = u32::try_from(ready.len()).unwrap_or(u32::MAX);
        for (position, mut ready) in (0..).zip(ready) {
            let restored = ready.restore(self.clock.now(), config.stale_after);
            // A reload polls every account at once, including those it adds.
            ready.plan.resumes = restored.filter(|_| is_start);
            ready.plan.stagger = ready.plan.schedule.stagger(position, accounts);
            let expires_at = ready.account.client_credential.certificate_expires_at();
            ready.ledger.write(|status| {
                status.added_by_reload |= ready.is_new && !is_start;
                status.credentials.client_certificate_expires_at = expires_at;
            });
            if ready.is_new {
                ready.center.announce();
            }
            self.running.push(ready.launch(&mut self.tasks));
        }
        self.accounts.send_replace(Arc::new(accounts_of(config, &self.running)));
        Ok(())
    }

    fn prepare(&self, account: &Account, config: &Config) -> Result<Ready, StartError> {
        // An account that was renamed, or removed and added again, has a new ledger but the same refresh token.
        let before = self.running.iter().chain(&self.stopping);
        let before: Vec<_> = before.filter(|it| it.account.shares_token_with(account)).collect();
        let predecessor = before.iter().find(|it| !it.ended.is_cancelled()).or(before.first());
        let known = self.running.iter().find(|running| running.account.identity() == account.identity());
        let ledger = known.map_or_else(
            || {
                let ledger = Ledger::new(account.name.clone(), Arc::clone(&self.changed));
                // A `Retry-After` outlives a renaming, and a removal of the account.
                let until = before.iter().filter_map(|it| it.ledger.read().hold_until).max();
                ledger.write(|status| status.hold_until = until);
                ledger
            },
            |running| running.ledger.clone(),
        );
        let mut store = TokenStore::open(&config.state_directory, account).map_err(StartError::Store)?;
        if let Some(predecessor) = predecessor {
            store = store.continuing(&predecessor.store);
        }
        let center = PartnerCenter::new(account, store.clone(), &ledger, &self.clock, config.poll_timeout)
            .map_err(|source| StartError::Client { account: account.display_name().to_owned(), source })?;
        let plan = Plan {
            account: account.display_name().to_owned(),
            schedule: Schedule::new(config.poll_interval),
            timeout: config.poll_timeout,
            resumes: None,
            stagger: Duration::ZERO,
            clock: self.clock.clone(),
            jitter: fastrand::f64,
        };
        Ok(Ready {
            account: account.clone(),
            ledger,
            store,
            center,
            plan,
            snapshots: SnapshotStore::new(&config.state_directory, account),
            is_new: known.is_none(),
            predecessor: predecessor.map(|running| running.ended.clone()),
        })
    }
}

/// What metrics and pages show of `config` and its accounts.
fn accounts_of(config: &Config, running: &[Running]) -> Accounts {
    Accounts {
        ledgers: running.iter().map(|running| running.ledger.clone()).collect(),
        poll_interval: config.poll_interval,
        stale_after: config.stale_after,
        thresholds: config.thresholds.clone(),
    }
}

#[cfg(test)]
mod tests;
