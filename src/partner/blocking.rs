//! Runs work outside the runtime's workers, which long computations and file systems that hang would block.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use tokio::sync::oneshot;
use tracing::dispatcher;

/// Runs `work` on a thread for blocking work, and returns its outcome. What `work` logs goes to the caller's subscriber.
pub async fn off_workers<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let subscriber = dispatcher::get_default(Clone::clone);
    match tokio::task::spawn_blocking(move || dispatcher::with_default(&subscriber, work)).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends, and with it the caller.
            Err(_) => pending().await,
        },
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// The queue of the thread for work that takes much memory; `None` if the system has no thread for it.
static QUEUE: LazyLock<Option<Sender<Work>>> = LazyLock::new(|| {
    let (queue, works) = channel::<Work>();
    let thread = thread::Builder::new().name("parser".to_owned());
    thread.spawn(move || works.iter().for_each(|work| work())).ok().map(|_| queue)
});

/// Runs `work` as [`off_workers`] does, but always on the same thread, one after the other. The allocator keeps memory
/// for each thread, so that the same work on many threads would keep it many times.
pub(super) async fn on_one_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let Some(queue) = &*QUEUE else { return off_workers(work).await };
    let subscriber = dispatcher::get_default(Clone::clone);
    let (sender, outcome) = oneshot::channel();
    let work = move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| dispatcher::with_default(&subscriber, work)));
        // Nobody waits for it if the runtime ends.
        sender.send(outcome).ok();
    };
    queue.send(Box::new(work)).expect("the thread never ends");
    let outcome = outcome.await.expect("the work has an outcome");
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_on_one_thread_even_after_a_panic() {
        let thread = || on_one_thread(|| thread::current().id());
        let first = thread().await;
        let panics = tokio::spawn(on_one_thread(|| panic!("on purpose")));
        let panic = panics.await.unwrap_err().into_panic();
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
        let (second, third) = tokio::join!(thread(), thread());
        assert_eq!([second, third], [first, first]);
        assert_ne!(first, thread::current().id());
    }
}
