//! The table of open connections, and which of them are evicted when there are too many.
//!
//! A new connection is always accepted. If there is no slot for it, the connection that has waited longest for its peer
//! is evicted, so that idle or slow peers keep nobody from being served. In the same way a stalled response is evicted
//! for a request that waits for its permit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::connection::{Connection, ResponsePermit};
use super::limits::Limits;

/// The time between two attempts to evict a connection.
const EVICTION_INTERVAL: Duration = Duration::from_millis(50);

/// The open connections of all listeners.
#[derive(Debug)]
pub(super) struct Connections {
    limits: Limits,
    slots: Arc<Semaphore>,
    permits: Arc<Semaphore>,
    /// The number of requests that wait for a permit.
    queued: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    connections: BTreeMap<u64, Arc<Connection>>,
    next: u64,
    /// The last time at which stalled responses were evicted.
    evicted_at: Instant,
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Self {
        let permits = if limits.requests == 0 { usize::MAX } else { limits.requests };
        let table = Table { connections: BTreeMap::new(), next: 0, evicted_at: Instant::now() };
        Self {
            slots: Arc::new(Semaphore::new(limits.connections)),
            permits: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            queued: AtomicUsize::new(0),
            table: Mutex::new(table),
            limits,
        }
    }

    /// Returns the number of requests that are served at a time; 0 means no limit.
    pub(super) fn max_requests(&self) -> usize {
        self.limits.requests
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, and evicts another one if there is no slot.
    pub(super) async fn admit(self: &Arc<Self>) -> Slot {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
                break permit;
            }
            self.evict_one();
            let permit = Arc::clone(&self.slots).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(EVICTION_INTERVAL, permit).await {
                break permit.expect("it is never closed");
            }
        };
        let connection = Arc::new(Connection::new(self.limits));
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        table.connections.insert(number, Arc::clone(&connection));
        Slot { connections: Arc::clone(self), number, connection, _permit: permit }
    }

    /// Evicts the connection that has waited longest for a request, or else the one with the oldest stalled response;
    /// returns whether there is one.
    pub(super) fn evict_one(&self) -> bool {
        let (now, table) = (Instant::now(), self.table());
        let oldest = |since: fn(&Connection, Instant) -> Option<Instant>| {
            let candidates = table.connections.values().filter_map(|one| Some((since(one, now)?, one)));
            candidates.min_by_key(|(since, _)| *since)
        };
        let evicted = oldest(Connection::evictable_since).or_else(|| oldest(Connection::stalled_since));
        if let Some((_, connection)) = evicted {
            connection.evict();
        }
        evicted.is_some()
    }

    /// Waits for the permission to serve a request, and evicts stalled responses meanwhile; `None` if it takes too long.
    pub(super) async fn response_permit(&self) -> Option<ResponsePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(Arc::new(permit));
        }
        let _queued = Queued::new(&self.queued);
        let permit = async {
            // The request keeps its place in the queue between two attempts.
            let mut permit = std::pin::pin!(Arc::clone(&self.permits).acquire_owned());
            loop {
                self.evict_stalled();
                if let Ok(permit) = tokio::time::timeout(EVICTION_INTERVAL, permit.as_mut()).await {
                    return permit.ok().map(Arc::new);
                }
            }
        };
        tokio::time::timeout(self.limits.queue_timeout, permit).await.ok().flatten()
    }

    /// Evicts as many stalled responses as there are queued requests, the oldest ones first.
    fn evict_stalled(&self) {
        let now = Instant::now();
        let mut table = self.table();
        if now < table.evicted_at + EVICTION_INTERVAL {
            return;
        }
        table.evicted_at = now;
        let all = table.connections.values();
        let mut stalled: Vec<_> = all.filter_map(|one| Some((one.stalled_since(now)?, one))).collect();
        stalled.sort_by_key(|(since, _)| *since);
        for (_, connection) in stalled.into_iter().take(self.queued.load(Ordering::Relaxed)) {
            connection.evict();
        }
    }
}

/// The place of a connection in the table, until the value is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    connections: Arc<Connections>,
    number: u64,
    pub(super) connection: Arc<Connection>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.table().connections.remove(&self.number);
    }
}

/// Counts a queued request until it is dropped.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
