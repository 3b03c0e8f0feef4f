//! From a configuration to running accounts, and from one configuration to the next.
//!
//! A reload is all or nothing: the new configuration is loaded and everything it needs is prepared before any
//! running account is touched. An account whose identity stays keeps its rows and counters, and its
//! `Retry-After`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{Account, Config, ConfigError, Source, exposure};
use crate::domain::clock::Clock;
use crate::domain::schedule::Schedule;
use crate::domain::status::Ledger;
use crate::metrics::{Fleet, OwnMetrics};
use crate::partner::{ClientError, PartnerCenter, StoreError, TokenStore};
use crate::polling::{self, Plan};
use crate::state::snapshot::SnapshotStore;

/// Why a configuration cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No HTTP client can be made for an account.
    #[error("account {account}")]
    Client {
        /// Which.
        account: String,
        /// Why not.
        #[source]
        source: ClientError,
    },
    /// The state directory cannot be used.
    #[error(
        "{0}; refresh tokens are kept there: let the exporter's user write to it, or set state_directory"
    )]
    Store(StoreError),
}

/// A request to reload, answered with the outcome.
type Request = oneshot::Sender<Result<(), Arc<StartError>>>;

/// Asks the supervisor to reload. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reloader(mpsc::Sender<Request>);

/// Runs the accounts of a configuration.
#[derive(Debug)]
pub struct Supervisor {
    source: Source,
    clock: Clock,
    own: Arc<OwnMetrics>,
    bell: Arc<Notify>,
    fleet: watch::Sender<Arc<Fleet>>,
    requests: mpsc::Receiver<Request>,
    running: Vec<Running>,
    /// Told to stop, and perhaps still at it, or ended with a server that wants to be left alone.
    stopping: Vec<Running>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Running {
    account: Account,
    ledger: Ledger,
    store: TokenStore,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Running {
    fn is_held(&self) -> bool {
        self.ledger.read().hold_until.is_some_and(|until| until > Instant::now())
    }
}

/// An account that has all it needs to be polled.
struct Ready {
    account: Account,
    ledger: Ledger,
    store: TokenStore,
    center: PartnerCenter,
    plan: Plan,
    snapshots: SnapshotStore,
    /// Whether the ledger is a new one, whose rows may be on the disk.
    is_new: bool,
    /// Cancelled when the task that used the same refresh token has ended.
    predecessor: Option<CancellationToken>,
}

impl Reloader {
    /// Loads the configuration anew and puts it to work. The outer error: the program is stopping.
    ///
    /// # Errors
    /// [`StartError`] if the new configuration cannot be used; the old one is still at work.
    pub async fn reload(&self) -> Option<Result<(), Arc<StartError>>> {
        let (reply, answer) = oneshot::channel();
        self.0.send(reply).await.ok()?;
        answer.await.ok()
    }
}

impl Supervisor {
    /// Starts polling the accounts of `config`, which came from `source`.
    ///
    /// # Errors
    /// [`StartError`] if it cannot be put to work.
    pub fn start(
        source: Source,
        config: Config,
        own: Arc<OwnMetrics>,
        clock: Clock,
    ) -> Result<(Self, Reloader), StartError> {
        let (sender, requests) = mpsc::channel(1);
        let fleet = Fleet {
            accounts: Vec::new(),
            poll_interval: config.poll_interval,
            stale_after: config.stale_after,
            thresholds: config.thresholds.clone(),
        };
        let mut supervisor = Self {
            source,
            clock,
            own,
            bell: Arc::default(),
            fleet: watch::Sender::new(Arc::new(fleet)),
            requests,
            running: Vec::new(),
            stopping: Vec::new(),
            tasks: JoinSet::new(),
        };
        supervisor.apply(config)?;
        Ok((supervisor, Reloader(sender)))
    }

    /// The accounts, as they are now and as reloads change them.
    pub fn fleet(&self) -> watch::Receiver<Arc<Fleet>> {
        self.fleet.subscribe()
    }

    /// Rings when an account has something new to show.
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    /// Serves reloads until `stop`, then stops the accounts and waits for them. Returns early if an account's
    /// task dies, which is a bug.
    pub async fn run(mut self, environment: fn(&str) -> Option<String>, stop: CancellationToken) {
        loop {
            tokio::select! { biased;
                () = stop.cancelled() => break,
                Some(request) = self.requests.recv() => {
                    let outcome = self.reload(environment);
                    // Whoever asked may have gone.
                    drop(request.send(outcome));
                }
                // Not `Some(Err(…))`: a task that ended well, as a reload has it, would put an end to watching.
                Some(ended) = self.tasks.join_next() => {
                    if let Err(died) = ended {
                        tracing::error!(err = %died, "The task of an account died");
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
        let outcome = loaded.and_then(|config| self.apply(config)).map_err(Arc::new);
        self.own.reloaded(outcome.is_ok(), self.clock.now());
        match &outcome {
            Ok(()) => tracing::info!(config = %self.source, "Configuration reloaded"),
            Err(error) => {
                let text = format!("{:#}", anyhow::Error::new(Arc::clone(error))).replace("\n  ", "; ");
                tracing::error!(config = %self.source, err = text, "Configuration not reloaded, the old one stays");
            }
        }
        outcome
    }

    fn apply(&mut self, config: Config) -> Result<(), StartError> {
        let ready = config
            .accounts
            .iter()
            .map(|account| self.prepare(account, &config))
            .collect::<Result<Vec<_>, StartError>>()?;
        // From here on nothing can fail.
        let stored = ready.iter().filter_map(|ready| exposure::warning(ready.store.path()));
        for warning in config.warnings(self.clock.now()).into_iter().chain(stored) {
            tracing::warn!("{warning}");
        }
        let is_start = self.running.is_empty();
        self.stopping.retain(|stopping| !stopping.ended.is_cancelled() || stopping.is_held());
        self.stopping.extend(self.running.drain(..).inspect(|running| running.stop.cancel()));
        let accounts = u32::try_from(ready.len()).unwrap_or(u32::MAX);
        let launch = |(position, mut ready): (u32, Ready)| {
            let restored = ready.restore(self.clock.now(), config.stale_after);
            if ready.is_new && !is_start {
                ready.ledger.write(|status| status.added_by_reload = true);
            }
            // A reload polls at once, also an account that it adds.
            ready.plan.resumes = restored.filter(|_| is_start);
            let expires_at = ready.account.client_credential.certificate_expires_at();
            ready.ledger.write(|status| status.credentials.client_certificate_expires_at = expires_at);
            if ready.is_new {
                ready.center.announce();
            }
            ready.plan.stagger = ready.plan.schedule.stagger(position, accounts);
            launch(&mut self.tasks, ready)
        };
        self.running = (0..).zip(ready).map(launch).collect();
        self.fleet.send_replace(Arc::new(Fleet {
            accounts: self.running.iter().map(|running| running.ledger.clone()).collect(),
            poll_interval: config.poll_interval,
            stale_after: config.stale_after,
            thresholds: config.thresholds,
        }));
        Ok(())
    }

    fn prepare(&self, account: &Account, config: &Config) -> Result<Ready, StartError> {
        let known = self.running.iter().find(|running| running.account.identity() == account.identity());
        let ledger = known.map_or_else(
            || {
                let ledger = Ledger::new(account.name.clone(), Arc::clone(&self.bell));
                // Another name, or an account that returns, is no reason to be impatient.
                let held = self
                    .running
                    .iter()
                    .chain(&self.stopping)
                    .filter(|it| it.account.shares_token_with(account));
                let until = held.filter_map(|it| it.ledger.read().hold_until).max();
                ledger.write(|status| status.hold_until = until);
                ledger
            },
            |running| running.ledger.clone(),
        );
        // Not the same as above: an account that was renamed, or removed and added again, has a new ledger and
        // still the old token.
        let before = self.running.iter().chain(&self.stopping);
        let mut before = before.filter(|it| it.account.shares_token_with(account));
        let rival = before.clone().find(|it| !it.ended.is_cancelled()).or_else(|| before.next());
        let predecessor = rival.map(|running| running.ended.clone());
        let mut store = TokenStore::open(&config.state_directory, account).map_err(StartError::Store)?;
        if let Some(rival) = rival {
            store = store.continuing(&rival.store);
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
            dice: fastrand::f64,
        };
        let snapshots = SnapshotStore::new(&config.state_directory, account);
        let is_new = known.is_none();
        Ok(Ready { account: account.clone(), ledger, store, center, plan, snapshots, is_new, predecessor })
    }
}

impl Ready {
    /// Puts the rows on the disk into a new ledger. Says when their poll ended, if none has failed since.
    fn restore(&self, now: Timestamp, stale_after: Option<Duration>) -> Option<Timestamp> {
        if !self.is_new {
            return None;
        }
        let account = self.account.display_name();
        match self.snapshots.restore(now, stale_after) {
            Ok(good) => {
                let good = good?;
                let (at, rows, failed_since) = (good.at, good.report.rows().len(), good.failed_since);
                tracing::info!(account, rows, polled_at = %at, "Restored the last good rows");
                self.ledger.write(|status| status.good = Some(good));
                // Whoever restarts an exporter that fails wants to see whether that helped.
                (!failed_since).then_some(at)
            }
            Err(error) => {
                tracing::warn!(account, err = %error, "Cannot restore the last good rows");
                None
            }
        }
    }
}

/// Starts the account's task, which waits for its predecessor: the two would race for one refresh token.
fn launch(tasks: &mut JoinSet<()>, ready: Ready) -> Running {
    let Ready { account, ledger, store, center, plan, snapshots, is_new: _, predecessor } = ready;
    let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
    let guard = ended.clone().drop_guard();
    tasks.spawn({
        let (ledger, stop) = (ledger.clone(), stop.clone());
        async move {
            if let Some(ended) = predecessor {
                ended.cancelled().await;
            }
            let (name, polled) = (plan.account.clone(), CancellationToken::new());
            let polling = async {
                polling::run(center, plan, ledger.clone(), stop).await;
                polled.cancel();
            };
            // The keeper first: it has to know what is in the ledger before the polling changes it.
            tokio::join!(polling::keep(snapshots, &name, &ledger, polled.clone()), polling);
            drop(guard);
        }
    });
    Running { account, ledger, store, stop, ended }
}

#[cfg(test)]
mod tests;
