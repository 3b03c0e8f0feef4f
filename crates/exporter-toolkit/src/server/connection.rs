//! The state of one connection: whether it must be closed, and whether it may be evicted for another one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::limits::{self, Limits};

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CloseReason {
    /// The peer did not send a whole request in time.
    RequestTimeout,
    /// The peer sent no further request in time.
    IdleTimeout,
    /// The peer did not take a response in time.
    ResponseTimeout,
    /// Another connection or request needed the place.
    Evicted,
    /// The peer cancelled too many requests.
    TooManyCancelled,
    /// The server stops.
    Stopping,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    limits: Limits,
    state: Mutex<State>,
    /// Notified when the time to close the connection may have changed.
    changed: Notify,
    /// Whether it was closed before a response had been sent.
    aborted: AtomicBool,
    /// Cancelled when no further request is to be served.
    ending: CancellationToken,
}

/// What a connection without an admitted request is waiting for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// The first byte of the handshake or of the first request.
    New,
    /// The rest of a request.
    Receiving,
    /// The first byte of a further request.
    Idle,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// Its body is incomplete.
    Receiving,
    /// It is complete, and its sender is not authenticated yet.
    Received,
    /// It is being answered.
    Admitted,
    /// Its response is being sent since then.
    Sending(Instant),
}

impl Stage {
    /// Returns whether the request protects its connection from eviction.
    fn is_admitted(self) -> bool {
        matches!(self, Self::Admitted | Self::Sending(_))
    }
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// The start of the phase.
    since: Instant,
    /// The requests without a complete response.
    pending: BTreeMap<u64, Stage>,
    /// The number of the next request.
    next: u64,
    /// The last time at which a response made progress.
    progressed: Instant,
    is_http2: bool,
    /// The number of consecutive requests that the peer has cancelled.
    cancelled: u32,
    evicted: bool,
    draining: bool,
}

impl State {
    /// Returns the start of the oldest response that is being sent.
    fn sending_since(&self) -> Option<Instant> {
        let sending = self.pending.values().filter_map(|stage| match stage {
            Stage::Sending(since) => Some(*since),
            Stage::Receiving | Stage::Received | Stage::Admitted => None,
        });
        sending.min()
    }

    /// Returns whether a request is being answered.
    fn is_answering(&self) -> bool {
        self.pending.values().any(|stage| stage.is_admitted())
    }

    /// Returns since when no request is being answered.
    fn waiting_since(&self) -> Option<Instant> {
        (!self.is_answering()).then_some(self.since)
    }

    /// Begins a phase.
    fn wait_for(&mut self, phase: Phase) {
        (self.phase, self.since) = (phase, Instant::now());
    }

    /// Returns when and why the connection must be closed unless the state changes.
    fn deadline(&self, limits: &Limits) -> Option<(Instant, CloseReason)> {
        if self.evicted {
            return Some((self.since, CloseReason::Evicted));
        }
        if self.cancelled > limits::MAX_CANCELLED {
            return Some((self.since, CloseReason::TooManyCancelled));
        }
        let Some(since) = self.waiting_since() else {
            let since = self.sending_since()?;
            return Some((since + limits.response_timeout, CloseReason::ResponseTimeout));
        };
        // The time for the check of a password is limited elsewhere.
        let is_received = self.pending.values().any(|stage| *stage == Stage::Received);
        Some(match self.phase {
            _ if is_received => return None,
            _ if self.draining => (since + limits.drain_timeout, CloseReason::Stopping),
            // A body has as much time as the head, and then the exchange answers 408. This is the end of a peer that
            // cancels its requests before that.
            Phase::New | Phase::Receiving if !self.pending.is_empty() => {
                (since + 2 * limits.request_timeout, CloseReason::RequestTimeout)
            }
            Phase::New | Phase::Receiving => (since + limits.request_timeout, CloseReason::RequestTimeout),
            Phase::Idle => (since + limits.idle_timeout, CloseReason::IdleTimeout),
        })
    }
}

impl Connection {
    pub(super) fn new(limits: Limits) -> Self {
        let now = Instant::now();
        let state = State {
            phase: Phase::New,
            since: now,
            pending: BTreeMap::new(),
            next: 0,
            progressed: now,
            is_http2: false,
            cancelled: 0,
            evicted: false,
            draining: false,
        };
        Self {
            limits,
            state: Mutex::new(state),
            changed: Notify::new(),
            aborted: AtomicBool::new(false),
            ending: CancellationToken::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Switches to HTTP/2, where incoming bytes need not belong to a request.
    pub(super) fn set_http2(&self) {
        self.state().is_http2 = true;
    }

    /// Records that bytes have arrived.
    pub(super) fn bytes_received(&self) {
        let mut state = self.state();
        match state.phase {
            Phase::New => state.phase = Phase::Receiving,
            Phase::Idle if !state.is_http2 && state.pending.is_empty() => {
                state.wait_for(Phase::Receiving);
                self.changed.notify_one();
            }
            Phase::Receiving | Phase::Idle => {}
        }
    }

    /// Records that the head of a request has arrived, which is pending until the returned value is dropped.
    pub(super) fn head_received(self: &Arc<Self>) -> PendingResponse {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        if state.phase == Phase::Idle && !state.is_answering() {
            state.wait_for(Phase::Receiving);
        }
        state.pending.insert(number, Stage::Receiving);
        drop(state);
        self.changed.notify_one();
        PendingResponse { request: PendingRequest { connection: Arc::clone(self), number }, permit: None }
    }

    /// Asks the connection to serve no further request, and to close after the pending responses.
    pub(super) fn end(&self) {
        self.ending.cancel();
    }

    /// Waits until no further request is to be served.
    pub(super) async fn is_ending(&self) {
        self.ending.cancelled().await;
    }

    /// Asks the connection to close for another one.
    pub(super) fn evict(&self) {
        self.state().evicted = true;
        self.changed.notify_one();
    }

    /// Asks the connection to close after the pending responses.
    pub(super) fn drain(&self) {
        let mut state = self.state();
        (state.draining, state.since) = (true, Instant::now());
        self.changed.notify_one();
    }

    /// Waits until the connection must be closed.
    pub(super) async fn must_close(&self) -> CloseReason {
        loop {
            let deadline = self.state().deadline(&self.limits);
            let timer = async {
                match deadline {
                    Some((when, reason)) => {
                        tokio::time::sleep_until(when).await;
                        reason
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                reason = timer => {
                    self.aborted.store(self.state().is_answering(), Ordering::Relaxed);
                    return reason;
                }
            }
        }
    }

    /// Returns whether it has been asked to close for another one.
    pub(super) fn is_evicted(&self) -> bool {
        self.state().evicted
    }

    /// Returns whether it was closed before a response had been sent.
    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Relaxed)
    }

    /// Returns since when no request has been answered, if that is long enough to evict the connection.
    pub(super) fn evictable_since(&self, now: Instant) -> Option<Instant> {
        let state = self.state();
        state.waiting_since().filter(|since| !state.evicted && now >= *since + self.limits.eviction_grace)
    }

    /// Returns the start of a response that makes no progress.
    pub(super) fn stalled_since(&self, now: Instant) -> Option<Instant> {
        let state = self.state();
        let since = state.sending_since().filter(|_| !state.evicted)?;
        (now >= since.max(state.progressed) + self.limits.stall_timeout).then_some(since)
    }
}

/// A request whose response has not been handed to the system completely.
#[derive(Debug)]
pub(super) struct PendingResponse {
    request: PendingRequest,
    permit: Option<ResponsePermit>,
}

/// The request of a [`PendingResponse`].
#[derive(Clone, Debug)]
pub(super) struct PendingRequest {
    connection: Arc<Connection>,
    number: u64,
}

/// The permission to serve a request, which ends with the last copy.
pub(super) type ResponsePermit = Arc<OwnedSemaphorePermit>;

impl PendingRequest {
    /// Records that the request may be answered. From now on it protects its connection from eviction.
    pub(super) fn admit(&self) {
        self.advance(Stage::Admitted);
    }

    /// Records that the request has come to a stage, if it is still pending.
    fn advance(&self, next: Stage) {
        let mut state = self.connection.state();
        let was_answering = state.is_answering();
        let Some(stage) = state.pending.get_mut(&self.number) else { return };
        *stage = next;
        // An eviction for waiting is revoked, but not one for a stalled response.
        state.evicted &= was_answering;
        if next == Stage::Received && !was_answering {
            state.wait_for(Phase::Receiving);
        }
        drop(state);
        self.connection.changed.notify_one();
    }
}

impl PendingResponse {
    /// Records that the request is complete.
    pub(super) fn received(&self) -> PendingRequest {
        self.request.advance(Stage::Received);
        self.request.clone()
    }

    /// Records that the system has taken a part of the response.
    pub(super) fn progressed(&self) {
        let mut state = self.request.connection.state();
        state.progressed = Instant::now();
        // An eviction for a stalled response is revoked.
        state.evicted = false;
    }

    /// Records the start of the response, and keeps the permit until its end.
    pub(super) fn started(&mut self, permit: Option<ResponsePermit>) {
        self.permit = permit;
        let PendingRequest { connection, number } = &self.request;
        let mut state = connection.state();
        state.pending.insert(*number, Stage::Sending(Instant::now()));
        state.cancelled = 0;
        drop(state);
        connection.changed.notify_one();
    }
}

impl Drop for PendingResponse {
    fn drop(&mut self) {
        let PendingRequest { connection, number } = &self.request;
        let mut state = connection.state();
        let stage = state.pending.remove(number);
        if !matches!(stage, Some(Stage::Sending(_))) {
            state.cancelled += 1;
        }
        // A request that never was complete does not prolong the wait for one.
        if stage != Some(Stage::Receiving) && !state.is_answering() {
            let phase = if state.pending.is_empty() { Phase::Idle } else { Phase::Receiving };
            state.wait_for(phase);
        }
        drop(state);
        connection.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn connection() -> (Arc<Connection>, Instant) {
        (Arc::new(Connection::new(Limits::new(1))), Instant::now())
    }

    /// Receives a whole request, which is being answered.
    fn admitted(connection: &Arc<Connection>) -> PendingResponse {
        let response = connection.head_received();
        response.received().admit();
        response
    }

    /// Returns why the connection is closed, and after how many seconds.
    async fn closed(connection: &Connection, start: Instant) -> (CloseReason, u64) {
        let reason = connection.must_close().await;
        (reason, start.elapsed().as_secs())
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_has_10_seconds_whatever_bytes_arrive() {
        let (connection, start) = connection();
        pass(9).await;
        connection.bytes_received();
        assert_eq!(closed(&connection, start).await, (CloseReason::RequestTimeout, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_further_request_has_5_minutes_to_begin_and_10_seconds_to_end() {
        let (connection, start) = connection();
        drop(admitted(&connection));
        pass(299).await;
        connection.bytes_received();
        pass(9).await;
        connection.bytes_received();
        assert_eq!(closed(&connection, start).await, (CloseReason::RequestTimeout, 309));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_of_http2_need_not_belong_to_a_request() {
        let (connection, start) = connection();
        connection.set_http2();
        drop(admitted(&connection));
        connection.bytes_received();
        assert_eq!(closed(&connection, start).await, (CloseReason::IdleTimeout, 300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_has_30_seconds_from_its_start_whatever_others_do() {
        let (connection, start) = connection();
        let mut first = admitted(&connection);
        pass(1000).await;
        first.started(None);
        pass(20).await;
        let mut second = admitted(&connection);
        second.started(None);
        second.progressed();
        assert_eq!(closed(&connection, start).await, (CloseReason::ResponseTimeout, 1030));
        drop(first);
        assert_eq!(closed(&connection, start).await, (CloseReason::ResponseTimeout, 1050));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_is_stalled_while_nothing_of_it_is_taken() {
        let (connection, _) = connection();
        let mut response = admitted(&connection);
        pass(1).await;
        assert_eq!(connection.stalled_since(Instant::now()), None, "there is no response yet");
        response.started(None);
        let started = Instant::now();
        assert_eq!(connection.stalled_since(started), None);
        pass(1).await;
        assert_eq!(connection.stalled_since(Instant::now()), Some(started));
        connection.evict();
        response.progressed();
        assert!(!connection.is_evicted());
        assert_eq!(connection.stalled_since(Instant::now()), None);
        pass(1).await;
        drop(response);
        assert_eq!(connection.stalled_since(Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_connection_can_be_evicted_once() {
        let (connection, start) = connection();
        assert_eq!(connection.evictable_since(Instant::now()), None, "it is new");
        tokio::time::advance(connection.limits.eviction_grace).await;
        assert_eq!(connection.evictable_since(Instant::now()), Some(start));
        connection.bytes_received();
        assert_eq!(connection.evictable_since(Instant::now()), Some(start), "a request has begun");
        pass(1).await;
        let response = admitted(&connection);
        assert_eq!(connection.evictable_since(Instant::now()), None);
        drop(response);
        assert_eq!(connection.evictable_since(Instant::now()), None);
        pass(1).await;
        assert_eq!(connection.evictable_since(Instant::now()), Some(Instant::now() - Duration::from_secs(1)));
        connection.evict();
        assert_eq!(connection.evictable_since(Instant::now()), None);
        assert_eq!(closed(&connection, start).await, (CloseReason::Evicted, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_protects_its_connection_only_when_it_is_complete_and_authenticated() {
        let (connection, start) = connection();
        connection.bytes_received();
        pass(2).await;
        let response = connection.head_received();
        assert_eq!(connection.evictable_since(Instant::now()), Some(start), "its body is incomplete");
        let request = response.received();
        let received = Instant::now();
        assert_eq!(connection.evictable_since(received), None, "it has just been received");
        pass(1).await;
        assert_eq!(connection.evictable_since(Instant::now()), Some(received), "it is not authenticated");
        request.admit();
        assert_eq!(connection.evictable_since(Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_arrives_in_time_revokes_an_eviction_only_when_it_is_complete() {
        let (connection, _) = connection();
        connection.evict();
        let response = connection.head_received();
        assert!(connection.is_evicted());
        response.received();
        assert!(!connection.is_evicted());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_are_cancelled_before_they_are_complete_do_not_prolong_the_wait() {
        let (connection, start) = connection();
        connection.set_http2();
        drop(admitted(&connection));
        pass(100).await;
        let mut incomplete = connection.head_received();
        for _ in 0..3 {
            pass(6).await;
            // There is always one of them.
            incomplete = std::mem::replace(&mut incomplete, connection.head_received());
        }
        assert_eq!(closed(&connection, start).await, (CloseReason::RequestTimeout, 120));
        drop(incomplete);
    }

    #[tokio::test(start_paused = true)]
    async fn an_incomplete_request_does_not_delay_a_stop() {
        let (connection, start) = connection();
        let _incomplete = connection.head_received();
        connection.drain();
        let reason = connection.must_close().await;
        assert_eq!((reason, start.elapsed()), (CloseReason::Stopping, Duration::from_millis(500)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_revokes_an_eviction_unless_a_response_before_it_is_stalled() {
        let (connection, _) = connection();
        connection.evict();
        assert!(connection.is_evicted());
        let mut response = admitted(&connection);
        assert!(!connection.is_evicted());
        response.started(None);
        connection.evict();
        drop(admitted(&connection));
        assert!(connection.is_evicted());
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_consecutive_requests_may_be_cancelled() {
        let (connection, start) = connection();
        for _ in 0..2 {
            (0..100).for_each(|_| drop(admitted(&connection)));
            admitted(&connection).started(None);
        }
        pass(1).await;
        (0..100).for_each(|_| drop(admitted(&connection)));
        assert_eq!(
            connection.state().deadline(&connection.limits).map(|(_, reason)| reason),
            Some(CloseReason::IdleTimeout)
        );
        drop(admitted(&connection));
        assert_eq!(closed(&connection, start).await, (CloseReason::TooManyCancelled, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_draining_connection_has_half_a_second_after_its_last_response() {
        let (connection, start) = connection();
        let response = admitted(&connection);
        connection.drain();
        pass(7).await;
        drop(response);
        let reason = connection.must_close().await;
        assert_eq!((reason, start.elapsed()), (CloseReason::Stopping, Duration::from_millis(7500)));
    }
}
