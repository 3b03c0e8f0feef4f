//! The turns in which the collections of one account send requests, so that one request is in flight.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::sleep;

/// The turns of one account. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Mutex<()>>);

/// The right to send requests, which ends when it is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for a turn; those who wait get it in order.
    pub async fn take(&self) -> Turn {
        Turn { turns: self.clone(), held: Some(Arc::clone(&self.0).lock_owned().await) }
    }
}

impl Turn {
    /// Lets those who wait send their requests first, for instance between two pages.
    pub async fn pass(&mut self) {
        self.rest(Duration::ZERO).await;
    }

    /// Lets others send requests for this time at least.
    pub async fn rest(&mut self, time: Duration) {
        self.held = None;
        if !time.is_zero() {
            sleep(time).await;
        }
        self.held = Some(Arc::clone(&self.turns.0).lock_owned().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_turn_comes_before_who_passes_it_on() {
        let turns = Turns::default();
        let mut first = turns.take().await;
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let waiting = async {
            let _turn = turns.take().await;
            order.lock().unwrap().push("waiting");
        };
        let passing = async {
            first.pass().await;
            order.lock().unwrap().push("passing");
        };
        tokio::join!(waiting, passing);
        assert_eq!(*order.lock().unwrap(), ["waiting", "passing"]);
    }
}
