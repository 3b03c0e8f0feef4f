//! One load at a time: requests that arrive during a load share the next one, and a load may serve later requests for a
//! while.
//!
//! So the outcome is older than the request by that while at most, and a file that does not answer occupies one thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// The loads of one value.
pub(super) struct SingleFlight<T> {
    /// How long after its start a load serves requests.
    serves_for: Duration,
    /// The number of loads that have started.
    started: AtomicU64,
    last: Arc<Mutex<Load<T>>>,
}

/// The outcome of a load, which is `None` if it failed.
struct Load<T> {
    number: u64,
    start: Option<Instant>,
    value: Option<Arc<T>>,
}

impl<T: Send + Sync + 'static> SingleFlight<T> {
    /// Creates the loads, of which each serves the requests of that time after its start.
    pub(super) fn serving_for(serves_for: Duration) -> Self {
        let last = Load { number: 0, start: None, value: None };
        Self { serves_for, started: AtomicU64::new(0), last: Arc::new(Mutex::new(last)) }
    }

    /// Returns the outcome of a load that starts after the call, or still serves requests. `load` runs on a thread that
    /// may block.
    pub(super) async fn load(
        &self,
        load: impl FnOnce() -> Option<Arc<T>> + Send + 'static,
    ) -> Option<Arc<T>> {
        let next = self.started.load(Ordering::SeqCst) + 1;
        let mut last = Arc::clone(&self.last).lock_owned().await;
        let now = Instant::now();
        let serves = last.start.is_some_and(|start| now.duration_since(start) < self.serves_for);
        if last.number >= next || serves {
            return last.value.clone();
        }
        last.start = Some(now);
        last.number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        // After a panic there is no value.
        last.value = None;
        // The thread keeps the lock, so that a request that is dropped meanwhile causes no second load.
        let loaded = spawn_blocking(move || {
            last.value = load();
            last.value.clone()
        });
        loaded.await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn requests_during_a_load_share_the_next_one() {
        let (flight, loads) =
            (Arc::new(SingleFlight::serving_for(Duration::ZERO)), Arc::new(AtomicUsize::new(0)));
        let (release, wait) = mpsc::channel::<()>();
        let (started, mut start) = tokio::sync::oneshot::channel();
        let first = {
            let flight = Arc::clone(&flight);
            tokio::spawn(async move {
                let load = move || {
                    started.send(()).unwrap();
                    wait.recv().ok();
                    Some(Arc::new(0))
                };
                flight.load(load).await
            })
        };
        (&mut start).await.unwrap();
        let mut others = JoinSet::new();
        let calls = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let (flight, loads, calls) = (Arc::clone(&flight), Arc::clone(&loads), Arc::clone(&calls));
            others.spawn(async move {
                calls.fetch_add(1, Ordering::SeqCst);
                let load = move || Some(Arc::new(1 + loads.fetch_add(1, Ordering::SeqCst)));
                flight.load(load).await
            });
        }
        while calls.load(Ordering::SeqCst) < 100 {
            tokio::task::yield_now().await;
        }
        drop(release);
        assert_eq!(first.await.unwrap(), Some(Arc::new(0)));
        assert!(others.join_all().await.iter().all(|value| *value == Some(Arc::new(1))));
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_during_its_load_causes_no_second_one() {
        let flight = Arc::new(SingleFlight::serving_for(Duration::ZERO));
        let (release, wait) = mpsc::channel::<()>();
        let (started, start) = tokio::sync::oneshot::channel();
        let waiting = Arc::clone(&flight);
        let first = tokio::spawn(async move {
            let load = move || {
                started.send(()).unwrap();
                wait.recv().ok();
                None::<Arc<u8>>
            };
            waiting.load(load).await
        });
        start.await.unwrap();
        first.abort();
        first.await.unwrap_err();
        assert!(flight.last.try_lock().is_err(), "the load goes on");
        drop(release);
        assert_eq!(flight.load(|| Some(Arc::new(1))).await, Some(Arc::new(1)));
    }

    #[tokio::test]
    async fn a_load_that_panics_has_no_value() {
        let flight = SingleFlight::serving_for(Duration::ZERO);
        assert_eq!(flight.load(|| Some(Arc::new(1))).await, Some(Arc::new(1)));
        assert_eq!(flight.load(|| panic!("on purpose")).await, None);
        assert_eq!(flight.load(|| Some(Arc::new(2))).await, Some(Arc::new(2)));
    }
    #[tokio::test(start_paused = true)]
    async fn a_load_serves_requests_until_its_time_is_up() {
        let flight = SingleFlight::serving_for(Duration::from_secs(1));
        for (request, (pause, load)) in [(0, 0), (999, 0), (1, 2), (500, 2), (500, 4)].into_iter().enumerate()
        {
            tokio::time::advance(Duration::from_millis(pause)).await;
            assert_eq!(flight.load(move || Some(Arc::new(request))).await, Some(Arc::new(load)), "{request}");
        }
    }
}
