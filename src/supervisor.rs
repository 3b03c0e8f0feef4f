//! Runs the accounts of a configuration, and replaces them when it is reloaded.
//!
//! A reload is all or nothing: the new configuration is loaded and everything it needs is prepared before any
//! running account is changed. An account that has not changed goes on. One that has changed but keeps its identity
//! keeps its rows, its counters and its `Retry-After`.

mod account;
mod prepare;

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigSource};
use crate::domain::clock::Clock;
use crate::domain::shard::Shard;
use crate::metrics::{Accounts, Choices, OwnMetrics};
use crate::partner::off_workers;
use account::Running;
use prepare::{Preparation, Prepared, PreparedAccount, TIMEOUT, Work};

pub use prepare::StartError;

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
    shard: Shard,
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
    /// Starts polling the accounts of `config` that belong to `shard`. It was loaded from `source`.
    ///
    /// # Errors
    /// [`StartError`] if the configuration cannot be used.
    pub fn start(
        source: ConfigSource,
        config: Config,
        shard: Shard,
        own: Arc<OwnMetrics>,
        clock: Clock,
    ) -> Result<(Self, Reloader), StartError> {
        let (sender, requests) = mpsc::channel(1);
        let mut supervisor = Self {
            source,
            shard,
            clock,
            own,
            changed: Arc::default(),
            accounts: watch::Sender::new(Arc::new(accounts_of(&config, &[]))),
            requests,
            running: Vec::new(),
            stopping: Vec::new(),
            tasks: JoinSet::new(),
        };
        supervisor.apply(supervisor.preparation().prepare(config)?, true);
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
                    let Some(outcome) = stop.run_until_cancelled(self.reload(environment)).await else { break };
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

    async fn reload(&mut self, environment: fn(&str) -> Option<String>) -> Result<(), Arc<StartError>> {
        let (source, preparation) = (self.source.clone(), self.preparation());
        let preparing = off_workers(move || preparation.prepare(source.load(&environment)?));
        let prepared = timeout(TIMEOUT, preparing).await.unwrap_or(Err(StartError::TooSlow));
        let outcome = prepared.map(|prepared| self.apply(prepared, false)).map_err(Arc::new);
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

    fn preparation(&self) -> Preparation {
        Preparation {
            shard: self.shard,
            clock: self.clock.clone(),
            changed: Arc::clone(&self.changed),
            running: self.running.clone(),
            stopping: self.stopping.clone(),
        }
    }

    /// Puts a configuration into use. Accounts that have not changed go on, and are asked for a poll.
    fn apply(&mut self, prepared: Prepared, is_start: bool) {
        let Prepared { config, accounts, warnings } = prepared;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let keeps_products = !config.prices.is_empty();
        let mut before: Vec<_> = self.running.drain(..).map(Some).collect();
        let accounts: Vec<_> = accounts
            .into_iter()
            .map(|PreparedAccount { work, certificate_expires_at, limits }| match work {
                Work::Keep(position) => {
                    let kept = before[position].take().expect("no two accounts have the same identity");
                    kept.ledger.write(|status| {
                        status.customers = limits;
                        status.keeps_products = keeps_products;
                    });
                    kept.asked.iter().for_each(|asked| asked.notify_one());
                    (Ok(kept), certificate_expires_at)
                }
                Work::Start(ready) => (Err(ready), certificate_expires_at),
            })
            .collect();
        self.stopping.retain(|stopping| !stopping.ended.is_cancelled() || stopping.is_held());
        self.stopping.extend(before.into_iter().flatten().inspect(|running| running.stop.cancel()));
        for (account, expires_at) in accounts {
            let running = account.unwrap_or_else(|ready| {
                ready.ledger.write(|status| {
                    status.added_by_reload |= ready.is_new && !is_start;
                    status.keeps_products = keeps_products;
                });
                ready.launch(self.clock.clone(), &mut self.tasks)
            });
            running.ledger.write(|status| status.credentials.client_certificate_expires_at = expires_at);
            self.running.push(running);
        }
        if self.shard != Shard::default() {
            let (count, all) = (self.running.len(), config.accounts.len());
            tracing::info!(shard = %self.shard, "Polling {count} of {all} accounts");
        }
        self.accounts.send_replace(Arc::new(accounts_of(&config, &self.running)));
    }
}

/// What metrics and pages show of `config` and its accounts.
fn accounts_of(config: &Config, running: &[Running]) -> Accounts {
    Accounts {
        ledgers: running.iter().map(|running| running.ledger.clone()).collect(),
        stale_after: config.stale_after,
        thresholds: config.thresholds.clone(),
        prices: config.prices.clone(),
        choices: Choices::default(),
    }
}

#[cfg(test)]
mod tests;
