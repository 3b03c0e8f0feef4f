//! One load at a time: requests that arrive during a load share the next one.
//!
//! So the outcome is never older than the request, and a file that does not answer occupies one thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

/// The loads of one value.
pub(super) struct SingleFlight<T> {
    /// The number of loads that have started.
    started: AtomicU64,
    last: Arc<Mutex<Load<T>>>,
}

/// The outcome of a load, which is `None` if it failed.
struct Load<T> {
    number: u64,
    value: Option<Arc<T>>,
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self { started: AtomicU64::new(0), last: Arc::new(Mutex::new(Load { number: 0, value: None })) }
    }
}

impl<T: Send + Sync + 'static> SingleFlight<T> {
    /// Returns the outcome of a load that starts after the call. `load` runs on a thread that may block.
    pub(super) async fn load(
        &self,
        load: impl FnOnce() -> Option<Arc<T>> + Send + 'static,
    ) -> Option<Arc<T>> {
        let next = self.started.load(Ordering::SeqCst) + 1;
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if last.number >= next {
            return last.value.clone();
        }
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
        let (flight, loads) = (Arc::new(SingleFlight::default()), Arc::new(AtomicUsize::new(0)));
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
        let flight = Arc::new(SingleFlight::default());
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
        let flight = SingleFlight::default();
        assert_eq!(flight.load(|| Some(Arc::new(1))).await, Some(Arc::new(1)));
        assert_eq!(flight.load(|| panic!("on purpose")).await, None);
        assert_eq!(flight.load(|| Some(Arc::new(2))).await, Some(Arc::new(2)));
    }
}
