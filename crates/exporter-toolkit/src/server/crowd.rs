//! All connections together: how many there are, and which of them goes when there are too many.
//!
//! Whoever comes is let in, and whoever has waited longest for nothing goes. So those who ask are answered,
//! however many others there are who do not. The same holds for answers on their way, of which there may be
//! `--web.max-requests`: the one that nobody takes gives way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::connection::Connection;
use super::limits::Limits;

/// How often those who wait look whether somebody can be spared by now.
const LOOK: Duration = Duration::from_millis(50);

/// The connections of the program, whatever they came in by.
#[derive(Debug)]
pub(super) struct Crowd {
    limits: Limits,
    places: Arc<Semaphore>,
    /// For answers; none if there may be any number.
    turns: Option<Arc<Semaphore>>,
    /// Requests that wait for a turn.
    waiting: AtomicUsize,
    members: Mutex<Members>,
}

#[derive(Debug)]
struct Members {
    connections: BTreeMap<u64, Arc<Connection>>,
    next: u64,
    /// When answers were last looked through.
    looked: Instant,
}

impl Crowd {
    pub(super) fn new(limits: Limits) -> Self {
        let turns = Some(limits.answers).filter(|most| *most != 0);
        let connections = BTreeMap::new();
        Self {
            places: Arc::new(Semaphore::new(limits.connections)),
            turns: turns.map(|most| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))),
            waiting: AtomicUsize::new(0),
            members: Mutex::new(Members { connections, next: 0, looked: Instant::now() }),
            limits,
        }
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a new connection, and asks another one to go if need be.
    pub(super) async fn admit(self: &Arc<Self>) -> Member {
        let place = loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                break place;
            }
            self.spare_one();
            let place = Arc::clone(&self.places).acquire_owned();
            if let Ok(place) = tokio::time::timeout(LOOK, place).await {
                break place.expect("it is never closed");
            }
        };
        let connection = Arc::new(Connection::new(self.limits));
        let mut members = self.members();
        let number = members.next;
        members.next += 1;
        members.connections.insert(number, Arc::clone(&connection));
        Member { crowd: Arc::clone(self), number, connection, _place: place }
    }

    /// Asks the connection to go that has waited longest to be asked, or else whose answer has waited longest to be
    /// taken. Those that are being answered are left alone. Is there one?
    pub(super) fn spare_one(&self) -> bool {
        let members = self.members();
        let (now, all) = (Instant::now(), || members.connections.values());
        let waiting = all().filter_map(|one| Some((one.waiting(now)?, one))).min_by_key(|(since, _)| *since);
        let stuck = || all().filter_map(|one| Some((one.stuck(now)?, one))).min_by_key(|(since, _)| *since);
        let spared = waiting.or_else(stuck);
        if let Some((_, connection)) = spared {
            connection.spare();
        }
        spared.is_some()
    }

    /// Waits for a request's turn among the answers that may be under way, though not for long. Without one, it is
    /// up to the routes how to answer.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let turns = self.turns.as_ref()?;
        if let Ok(turn) = Arc::clone(turns).try_acquire_owned() {
            return Some(turn);
        }
        let _waiting = Waiting::new(&self.waiting);
        let turn = async {
            // Whoever waits stays in the line while looking.
            let mut turn = std::pin::pin!(Arc::clone(turns).acquire_owned());
            loop {
                self.spare_stuck();
                if let Ok(turn) = tokio::time::timeout(LOOK, turn.as_mut()).await {
                    return turn.ok();
                }
            }
        };
        tokio::time::timeout(self.limits.turn, turn).await.ok().flatten()
    }

    /// Asks as many connections to go as there are requests waiting, of those whose answers are not taken.
    fn spare_stuck(&self) {
        let now = Instant::now();
        let mut members = self.members();
        if now < members.looked + LOOK {
            return;
        }
        members.looked = now;
        let all = members.connections.values();
        let mut stuck: Vec<_> = all.filter_map(|one| Some((one.stuck(now)?, one))).collect();
        stuck.sort_by_key(|(since, _)| *since);
        for (_, connection) in stuck.into_iter().take(self.waiting.load(Ordering::Relaxed)) {
            connection.spare();
        }
    }
}

/// A connection's place, until the value is gone.
#[derive(Debug)]
pub(super) struct Member {
    crowd: Arc<Crowd>,
    number: u64,
    /// What it is doing.
    pub(super) connection: Arc<Connection>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.crowd.members().connections.remove(&self.number);
    }
}

/// Counts those who wait.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
