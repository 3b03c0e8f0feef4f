//! The queue of password checks: one runs at a time, and a bounded number waits.
//!
//! The addresses of clients take turns, so that a client that tries many passwords delays others by one check. A request
//! that is dropped leaves the queue.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The number of checks that wait.
pub(super) const MAX_WAITING: usize = 16;

/// Who asks for a check: an IPv4 address, or the network of an IPv6 address, since one host has all of that.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Origin(Option<IpAddr>);

impl From<SocketAddr> for Origin {
    fn from(address: SocketAddr) -> Self {
        Self(Some(match address.ip().to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address @ IpAddr::V4(_) => address,
        }))
    }
}

/// The queue.
#[derive(Default)]
pub(super) struct CheckQueue(Mutex<State>);

#[derive(Default)]
struct State {
    is_busy: bool,
    /// In order of arrival.
    waiting: Vec<Waiting>,
    /// The last origin that had its turn after waiting.
    last: Option<Origin>,
    next: u64,
}

struct Waiting {
    number: u64,
    origin: Origin,
    sender: oneshot::Sender<Turn>,
}

/// The permission to check a password, until the value is dropped.
pub(super) struct Turn(Arc<CheckQueue>);

impl CheckQueue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of an origin; `None` if too many others wait.
    pub(super) async fn turn(self: &Arc<Self>, origin: Origin) -> Option<Turn> {
        let (place, receiver) = {
            let mut state = self.state();
            if !state.is_busy {
                state.is_busy = true;
                return Some(Turn(Arc::clone(self)));
            }
            if state.waiting.len() >= MAX_WAITING && !state.make_room(origin) {
                return None;
            }
            let (sender, receiver) = oneshot::channel();
            let number = state.next;
            state.next += 1;
            state.waiting.push(Waiting { number, origin, sender });
            (Place { queue: self, number }, receiver)
        };
        let turn = receiver.await.ok();
        drop(place);
        turn
    }

    /// Returns the number of checks that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }
}

impl State {
    /// Removes the latest check of the origin with the most checks, unless `origin` would have as many then.
    fn make_room(&mut self, origin: Origin) -> bool {
        let mut counts = BTreeMap::<Origin, usize>::new();
        for waiting in &self.waiting {
            *counts.entry(waiting.origin).or_default() += 1;
        }
        let own = counts.get(&origin).copied().unwrap_or_default();
        let Some((most, count)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return false };
        let latest = self.waiting.iter().rposition(|waiting| waiting.origin == most);
        let removed = latest.filter(|_| own + 1 < count);
        removed.map(|at| self.waiting.remove(at)).is_some()
    }

    /// Removes the check whose turn it is: the oldest one of the origin that follows the last one.
    fn pop(&mut self) -> Option<Waiting> {
        let order = |waiting: &Waiting| {
            let had_its_turn = self.last.is_some_and(|last| waiting.origin <= last);
            (had_its_turn, waiting.origin, waiting.number)
        };
        let (at, waiting) = self.waiting.iter().enumerate().min_by_key(|(_, waiting)| order(waiting))?;
        self.last = Some(waiting.origin);
        Some(self.waiting.remove(at))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.state();
        let next = state.pop();
        state.is_busy = next.is_some();
        drop(state);
        if let Some(next) = next {
            // If the request is gone, its turn is dropped, and the one after it follows.
            drop(next.sender.send(Self(Arc::clone(&self.0))));
        }
    }
}

/// The place of a request in the queue, until the value is dropped.
struct Place<'a> {
    queue: &'a CheckQueue,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        let removed = state.waiting.iter().position(|waiting| waiting.number == self.number);
        removed.map(|at| state.waiting.remove(at));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Waiter = Pin<Box<dyn Future<Output = Option<Turn>>>>;

    fn origin(number: u8) -> Origin {
        SocketAddr::from(([10, 0, 0, number], 1)).into()
    }

    /// Asks for a turn, and returns the request and whether it has been answered.
    fn ask(queue: &Arc<CheckQueue>, from: u8) -> (Waiter, Poll<Option<Turn>>) {
        let queue = Arc::clone(queue);
        let mut waiter: Waiter = Box::pin(async move { queue.turn(origin(from)).await });
        let answer = poll(&mut waiter);
        (waiter, answer)
    }

    fn poll(waiter: &mut Waiter) -> Poll<Option<Turn>> {
        waiter.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// A queue in which a check runs.
    fn busy() -> (Arc<CheckQueue>, Turn) {
        let queue = Arc::<CheckQueue>::default();
        let Poll::Ready(Some(turn)) = ask(&queue, 0).1 else { panic!("nothing else runs") };
        (queue, turn)
    }

    /// Lets the checks run one after the other, and returns the numbers of the waiters in the order of their turns.
    fn order(mut turn: Turn, waiters: &mut [(Waiter, Poll<Option<Turn>>)]) -> Vec<usize> {
        let mut order = Vec::new();
        loop {
            drop(turn);
            let ready = waiters.iter_mut().enumerate().filter(|(n, _)| !order.contains(n));
            let next = ready.filter_map(|(n, (waiter, _))| match poll(waiter) {
                Poll::Ready(Some(turn)) => Some((n, turn)),
                _ => None,
            });
            let Some((n, next)) = { next }.next() else { return order };
            order.push(n);
            turn = next;
        }
    }

    #[test]
    fn one_check_runs_at_a_time_and_sixteen_wait() {
        let (queue, turn) = busy();
        let waiting: Vec<_> = (0..MAX_WAITING).map(|_| ask(&queue, 1)).collect();
        assert!(waiting.iter().all(|(_, answer)| answer.is_pending()));
        assert!(matches!(ask(&queue, 1).1, Poll::Ready(None)));
        drop((waiting, turn));
        assert!(matches!(ask(&queue, 1).1, Poll::Ready(Some(_))), "nothing runs and nothing waits");
    }

    #[test]
    fn a_request_that_is_dropped_leaves_the_queue_even_when_it_is_its_turn() {
        let (queue, turn) = busy();
        let mut waiting: Vec<_> = (0..3).map(|_| ask(&queue, 1)).collect();
        drop(waiting.remove(1));
        assert_eq!(queue.waiting(), 2);
        drop(turn);
        // The first one has its turn now, and does not take it.
        drop(waiting.remove(0));
        assert!(matches!(poll(&mut waiting[0].0), Poll::Ready(Some(_))));
        assert_eq!(queue.waiting(), 0);
    }

    #[test]
    fn addresses_take_turns() {
        let (queue, turn) = busy();
        let mut waiting: Vec<_> = [1, 1, 1, 2, 2, 3].map(|from| ask(&queue, from)).into();
        assert_eq!(order(turn, &mut waiting), [0, 3, 5, 1, 4, 2]);
    }

    #[test]
    fn a_full_queue_has_room_for_an_address_with_fewer_checks() {
        let (queue, turn) = busy();
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| ask(&queue, 1)).collect();
        let mut other: Vec<_> = (0..MAX_WAITING).map(|_| ask(&queue, 2)).collect();
        let is_waiting = |(_, answer): &&(Waiter, Poll<Option<Turn>>)| answer.is_pending();
        assert_eq!(other.iter().filter(is_waiting).count(), 8, "half of the queue");
        assert_eq!(queue.waiting(), MAX_WAITING);
        let refused = waiting.iter_mut().skip(8).all(|(waiter, _)| matches!(poll(waiter), Poll::Ready(None)));
        assert!(refused, "the latest ones have made room");
        waiting.truncate(8);
        waiting.push(other.swap_remove(0));
        assert_eq!(order(turn, &mut waiting)[..2], [0, 8], "it waits for two checks");
    }

    #[test]
    fn an_ipv6_network_is_one_origin() {
        let origin = |text: &str| Origin::from(text.parse::<SocketAddr>().unwrap());
        assert_eq!(origin("[2001:db8:1:2::3]:1"), origin("[2001:db8:1:2:4:5:6:7]:8"));
        assert_ne!(origin("[2001:db8:1:2::3]:1"), origin("[2001:db8:1:3::3]:1"));
        assert_eq!(origin("[::ffff:10.0.0.1]:1"), origin("10.0.0.1:2"));
        assert_ne!(origin("10.0.0.1:1"), origin("10.0.0.2:1"));
    }
}
