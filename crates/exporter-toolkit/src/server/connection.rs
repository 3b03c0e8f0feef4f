//! What one connection is doing, and since when: so that it can be ended when that takes too long, and so that
//! it is known which of many can best be spared. Knows neither sockets nor HTTP.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use super::limits::{self, Limits};

/// Why a connection was ended from this side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reason {
    /// No request came, or not all of it.
    NotAsking,
    /// There was none for a long time.
    Resting,
    /// The answer was not taken.
    NotReading,
    /// Others needed the place.
    Spared,
    /// It asks and asks and does not want to know.
    GivingUp,
    /// The program stops.
    Leaving,
}

/// One connection, as those see it who decide about it.
#[derive(Debug)]
pub(super) struct Connection {
    limits: Limits,
    state: Mutex<State>,
    /// Rung when the end may have become another.
    changed: Notify,
    /// Was it ended in the middle of an answer?
    cut: AtomicBool,
}

/// What a connection without a request does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pause {
    /// Nothing has come yet, and has to come soon.
    Silent,
    /// It has begun, and has to go on soon.
    Asking,
    /// It may come again.
    Resting,
}

#[derive(Debug)]
struct State {
    /// What it does between requests,
    pause: Pause,
    /// and since when.
    since: Instant,
    /// The requests that have arrived, and since when their answers are on their way.
    answers: BTreeMap<u64, Option<Instant>>,
    /// The number of the next request.
    next: u64,
    /// When the peer last took some of an answer.
    taken: Instant,
    /// Does everything that arrives belong to a request?
    only_requests: bool,
    /// How many of the latest requests were given up before there was an answer.
    given_up: u32,
    spared: bool,
    leaving: bool,
}

impl State {
    /// Since when the oldest answer is on its way.
    fn sending(&self) -> Option<Instant> {
        self.answers.values().flatten().min().copied()
    }

    /// Since when it does nothing but wait for its peer to ask.
    fn waiting(&self) -> Option<Instant> {
        self.answers.is_empty().then_some(self.since)
    }

    /// When and why it has to end, as things are.
    fn end(&self, limits: &Limits) -> Option<(Instant, Reason)> {
        if self.spared {
            return Some((self.since, Reason::Spared));
        }
        if self.given_up > limits::GIVEN_UP {
            return Some((self.since, Reason::GivingUp));
        }
        let Some(since) = self.waiting() else {
            return self.sending().map(|since| (since + limits.send, Reason::NotReading));
        };
        Some(match self.pause {
            _ if self.leaving => (since + limits.farewell, Reason::Leaving),
            Pause::Silent | Pause::Asking => (since + limits.ask, Reason::NotAsking),
            Pause::Resting => (since + limits.rest, Reason::Resting),
        })
    }
}

impl Connection {
    /// A connection that was just made.
    pub(super) fn new(limits: Limits) -> Self {
        let now = Instant::now();
        let state = State {
            pause: Pause::Silent,
            since: now,
            answers: BTreeMap::new(),
            next: 0,
            taken: now,
            only_requests: true,
            given_up: 0,
            spared: false,
            leaving: false,
        };
        Self { limits, state: Mutex::new(state), changed: Notify::new(), cut: AtomicBool::new(false) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something other than requests may arrive from now on, as with HTTP/2.
    pub(super) fn speaks_of_other_things(&self) {
        self.state().only_requests = false;
    }

    /// Bytes have arrived.
    pub(super) fn arrived(&self) {
        let mut state = self.state();
        match state.pause {
            Pause::Silent => state.pause = Pause::Asking,
            Pause::Resting if state.only_requests && state.answers.is_empty() => {
                (state.pause, state.since) = (Pause::Asking, Instant::now());
                self.changed.notify_one();
            }
            Pause::Asking | Pause::Resting => {}
        }
    }

    /// A request has arrived. It is answered when the value is gone.
    pub(super) fn asked(self: &Arc<Self>) -> Answer {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        // If it is to go because it only waited, this comes just in time.
        state.spared &= !state.answers.is_empty();
        state.answers.insert(number, None);
        self.changed.notify_one();
        Answer { connection: Arc::clone(self), number, turn: None }
    }

    /// Others need the place.
    pub(super) fn spare(&self) {
        self.state().spared = true;
        self.changed.notify_one();
    }

    /// The program stops: what is under way may be finished.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        (state.leaving, state.since) = (true, Instant::now());
        self.changed.notify_one();
    }

    /// Returns when the connection has to end.
    pub(super) async fn ended(&self) -> Reason {
        loop {
            let end = self.state().end(&self.limits);
            let timer = async {
                match end {
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
                    self.cut.store(!self.state().answers.is_empty(), Ordering::Relaxed);
                    return reason;
                }
            }
        }
    }

    /// Does it have to end at once, for others?
    pub(super) fn is_spared(&self) -> bool {
        self.state().spared
    }

    /// Was it ended in the middle of an answer?
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// If it does nothing but wait for its peer to ask, and not only just: since when.
    pub(super) fn waiting(&self, now: Instant) -> Option<Instant> {
        let state = self.state();
        let grace = match state.pause {
            Pause::Silent | Pause::Resting => self.limits.grace,
            Pause::Asking => self.limits.asking_grace,
        };
        state.waiting().filter(|since| !state.spared && now >= *since + grace)
    }

    /// If its peer takes nothing of an answer: since when that is on its way.
    pub(super) fn stuck(&self, now: Instant) -> Option<Instant> {
        let state = self.state();
        let since = state.sending().filter(|_| !state.spared)?;
        (now >= since.max(state.taken) + self.limits.stuck).then_some(since)
    }
}

/// A request from its arrival until the last byte of its answer was handed to the system.
#[derive(Debug)]
pub(super) struct Answer {
    connection: Arc<Connection>,
    number: u64,
    turn: Option<Turn>,
}

/// The right to be under way. It ends when the last copy is gone.
pub(super) type Turn = Arc<OwnedSemaphorePermit>;

impl Answer {
    /// The peer, or the system on its behalf, has taken some of it.
    pub(super) fn took(&self) {
        let mut state = self.connection.state();
        state.taken = Instant::now();
        // If it is to go because it took nothing, this comes just in time.
        state.spared = false;
    }

    /// The answer is ready: from now on it is up to the peer. It keeps its turn for as long as that takes.
    pub(super) fn is_ready(&mut self, turn: Option<Turn>) {
        self.turn = turn;
        let mut state = self.connection.state();
        state.answers.insert(self.number, Some(Instant::now()));
        state.given_up = 0;
        drop(state);
        self.connection.changed.notify_one();
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let mut state = self.connection.state();
        if let Some(None) = state.answers.remove(&self.number) {
            state.given_up += 1;
        }
        if state.answers.is_empty() {
            (state.pause, state.since) = (Pause::Resting, Instant::now());
        }
        drop(state);
        self.connection.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn connection() -> (Arc<Connection>, Instant) {
        (Arc::new(Connection::new(Limits::new(1))), Instant::now())
    }

    /// Why it ends if nothing else happens, and after how many seconds from `start`.
    async fn end(connection: &Connection, start: Instant) -> (Reason, u64) {
        let reason = connection.ended().await;
        (reason, start.elapsed().as_secs())
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_request_has_to_come_within_10_seconds_whatever_arrives() {
        let (connection, start) = connection();
        pass(9).await;
        connection.arrived();
        assert_eq!(end(&connection, start).await, (Reason::NotAsking, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_answer_there_are_5_minutes_for_the_next_request_to_begin_and_10_seconds_for_it_to_end()
    {
        let (connection, start) = connection();
        drop(connection.asked());
        pass(299).await;
        connection.arrived();
        pass(9).await;
        connection.arrived();
        assert_eq!(end(&connection, start).await, (Reason::NotAsking, 309));
    }

    #[tokio::test(start_paused = true)]
    async fn what_arrives_with_http2_need_not_be_a_request() {
        let (connection, start) = connection();
        connection.speaks_of_other_things();
        drop(connection.asked());
        connection.arrived();
        assert_eq!(end(&connection, start).await, (Reason::Resting, 300));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_has_30_seconds_from_when_it_is_ready_and_others_give_it_no_more() {
        let (connection, start) = connection();
        let mut first = connection.asked();
        pass(1000).await;
        first.is_ready(None);
        pass(20).await;
        let mut second = connection.asked();
        second.is_ready(None);
        second.took();
        assert_eq!(end(&connection, start).await, (Reason::NotReading, 1030));
        drop(first);
        assert_eq!(end(&connection, start).await, (Reason::NotReading, 1050));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_stuck_while_nothing_of_an_answer_is_taken() {
        let (connection, _) = connection();
        let mut answer = connection.asked();
        pass(1).await;
        assert_eq!(connection.stuck(Instant::now()), None, "there is no answer yet");
        answer.is_ready(None);
        let ready = Instant::now();
        assert_eq!(connection.stuck(ready), None);
        pass(1).await;
        assert_eq!(connection.stuck(Instant::now()), Some(ready));
        connection.spare();
        answer.took();
        assert!(!connection.is_spared());
        assert_eq!(connection.stuck(Instant::now()), None);
        pass(1).await;
        drop(answer);
        assert_eq!(connection.stuck(Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_can_be_spared_while_it_waits_and_only_once() {
        let (connection, start) = connection();
        assert_eq!(connection.waiting(Instant::now()), None, "it has only just come");
        tokio::time::advance(connection.limits.grace).await;
        assert_eq!(connection.waiting(Instant::now()), Some(start));
        connection.arrived();
        assert_eq!(connection.waiting(Instant::now()), None, "it has begun to speak");
        pass(1).await;
        assert_eq!(connection.waiting(Instant::now()), Some(start));
        let answer = connection.asked();
        assert_eq!(connection.waiting(Instant::now()), None);
        drop(answer);
        assert_eq!(connection.waiting(Instant::now()), None);
        pass(1).await;
        assert_eq!(connection.waiting(Instant::now()), Some(Instant::now() - Duration::from_secs(1)));
        connection.spare();
        assert_eq!(connection.waiting(Instant::now()), None);
        assert_eq!(end(&connection, start).await, (Reason::Spared, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_spares_it_from_being_spared_but_not_behind_one_whose_answer_is_stuck() {
        let (connection, _) = connection();
        connection.spare();
        assert!(connection.is_spared());
        let mut answer = connection.asked();
        assert!(!connection.is_spared());
        answer.is_ready(None);
        connection.spare();
        drop(connection.asked());
        assert!(connection.is_spared());
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_requests_in_a_row_may_be_given_up() {
        let (connection, start) = connection();
        for _ in 0..2 {
            (0..100).for_each(|_| drop(connection.asked()));
            connection.asked().is_ready(None);
        }
        pass(1).await;
        (0..100).for_each(|_| drop(connection.asked()));
        assert_eq!(
            connection.state().end(&connection.limits).map(|(_, reason)| reason),
            Some(Reason::Resting)
        );
        drop(connection.asked());
        assert_eq!(end(&connection, start).await, (Reason::GivingUp, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_program_stops_it_has_half_a_second_beyond_its_last_answer() {
        let (connection, start) = connection();
        let answer = connection.asked();
        connection.leave();
        pass(7).await;
        drop(answer);
        let reason = connection.ended().await;
        assert_eq!((reason, start.elapsed()), (Reason::Leaving, Duration::from_millis(7500)));
    }
}
