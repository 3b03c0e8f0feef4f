//! One account: prepared from the configuration, then running as a task.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{Account, Polled};
use crate::domain::clock::Clock;
use crate::domain::customers::Limits;
use crate::domain::polled::LastGood;
use crate::domain::status::Ledger;
use crate::partner::{PartnerCenter, Tls, TokenStore};
use crate::polling::{self, Plan};
use crate::state::pause::PauseFile;
use crate::state::snapshot::SnapshotStore;

/// What the task of an account depends on. While it stays the same, a reload lets the task go on.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) account: Account,
    pub(super) state_directory: PathBuf,
    pub(super) collections: Vec<Polled>,
    pub(super) tls: Option<Tls>,
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        let Self { account, state_directory, collections, tls } = self;
        let same_tls = match (tls, &other.tls) {
            (Some(one), Some(other)) => one.is_same_as(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        // What is published has no influence on the task.
        let polled = |account: &Account| {
            let mut account = account.clone();
            account.collections.customers.limits = Limits::default();
            account
        };
        same_tls
            && polled(account) == polled(&other.account)
            && (state_directory, collections) == (&other.state_directory, &other.collections)
    }
}

/// An account whose task was started. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) settings: Arc<Settings>,
    pub(super) ledger: Ledger,
    pub(super) store: TokenStore,
    /// Each asks for a poll of a collection now.
    pub(super) asked: Vec<Arc<Notify>>,
    /// Stops the task.
    pub(super) stop: CancellationToken,
    /// Cancelled when the task has ended.
    pub(super) ended: CancellationToken,
}

impl Running {
    pub(super) fn account(&self) -> &Account {
        &self.settings.account
    }

    /// Whether the server's `Retry-After` has not passed yet.
    pub(super) fn is_held(&self) -> bool {
        self.ledger.read().hold_until.is_some_and(|until| until > Instant::now())
    }
}

/// An account that has everything it needs to be polled.
pub(super) struct Ready {
    pub(super) settings: Settings,
    pub(super) ledger: Ledger,
    pub(super) store: TokenStore,
    pub(super) center: PartnerCenter,
    pub(super) collections: Vec<ReadyCollection>,
    /// Whether the ledger is new.
    pub(super) is_new: bool,
    /// Cancelled when the task that used the same refresh token has ended.
    pub(super) predecessor: Option<CancellationToken>,
}

/// A collection that has everything it needs to be polled.
pub(super) struct ReadyCollection {
    pub(super) plan: Plan,
    pub(super) snapshots: SnapshotStore,
    /// Whether the ledger did not know it, so that its rows may be on disk.
    pub(super) is_new: bool,
    /// The rows that were on disk.
    pub(super) restored: Option<LastGood>,
}

impl ReadyCollection {
    /// Reads the rows on disk of a collection that the ledger does not know. Returns when their poll ended, unless a
    /// later poll failed.
    pub(super) fn restore(&mut self, now: Timestamp, stale_after: Option<Duration>) -> Option<Timestamp> {
        if !self.is_new {
            return None;
        }
        let (account, collection) = (&self.plan.account, self.plan.collection);
        match self.snapshots.restore(now, stale_after) {
            Ok(good) => {
                let good = good?;
                let (at, rows, failed_since) = (good.at, good.report.len(), good.failed_since);
                let name = collection.as_str();
                tracing::info!(account, collection = name, rows, polled_at = %at, "Restored the last good rows");
                self.restored = Some(good);
                // An operator who restarts a failing exporter wants to see whether that helped.
                (!failed_since).then_some(at)
            }
            Err(error) => {
                let collection = collection.as_str();
                tracing::warn!(account, collection, err = %error, "Cannot restore the last good rows");
                None
            }
        }
    }

    /// Polls the collection until `stop`, and saves its rows.
    async fn run(self, center: Arc<PartnerCenter>, ledger: Ledger, stop: CancellationToken) {
        let Self { plan, snapshots, restored, .. } = self;
        let (account, collection, polled) = (plan.account.clone(), plan.collection, CancellationToken::new());
        let polling = async {
            polling::run(center, plan, ledger.clone(), stop).await;
            polled.cancel();
        };
        // First, so that it sees the ledger before polling changes it.
        let persisting =
            polling::persist(snapshots, (&account, collection), &ledger, restored, polled.clone());
        tokio::join!(persisting, polling);
    }
}

impl Ready {
    /// Keeps the pause that the server asked an earlier process for.
    pub(super) fn resume_pause(&self, now: Timestamp) {
        let Settings { account, state_directory, .. } = &self.settings;
        if let Some(until) = PauseFile::new(state_directory, account).resume(&self.ledger, now) {
            let account = account.display_name();
            tracing::info!(account, %until, "Keeping the pause that the server asked for before the start");
        }
    }

    /// Starts the account's task, which first waits for its predecessor: both would use the same refresh token.
    pub(super) fn launch(self, clock: Clock, tasks: &mut JoinSet<()>) -> Running {
        let Self { settings, ledger, store, center, collections, is_new, predecessor } = self;
        let asked = collections.iter().map(|collection| Arc::clone(&collection.plan.asked)).collect();
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let guard = ended.clone().drop_guard();
        ledger.write(|status| {
            for it in &collections {
                if it.restored.is_some() {
                    status.of_mut(it.plan.collection).last_good.clone_from(&it.restored);
                }
            }
            status.customers = settings.account.collections.customers.limits;
            if !settings.account.collections.customers.names {
                status.forget_names();
            }
            status.track(settings.collections.iter().map(|it| (it.collection, it.interval)), !is_new);
            let endpoints = settings.collections.iter().flat_map(|it| center.endpoints(it.collection));
            status.traffic.expect(endpoints);
        });
        let pauses = PauseFile::new(&settings.state_directory, &settings.account);
        let account = settings.account.display_name().to_owned();
        tasks.spawn({
            let (ledger, stop, center) = (ledger.clone(), stop.clone(), Arc::new(center));
            async move {
                if let Some(ended) = predecessor {
                    ended.cancelled().await;
                }
                let run = |it: ReadyCollection| it.run(Arc::clone(&center), ledger.clone(), stop.clone());
                let polling = collections.into_iter().map(run).collect::<JoinSet<()>>().join_all();
                tokio::select! { biased;
                    _ = polling => {}
                    () = polling::persist_pauses(pauses, &account, &ledger, &clock) => {}
                }
                drop(guard);
            }
        });
        Running { settings: Arc::new(settings), ledger, store, asked, stop, ended }
    }
}
