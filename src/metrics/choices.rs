//! Which rows of customers are published, chosen once for each collection that a poll brings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::config::Thresholds;
use crate::domain::collection::Collected;
use crate::domain::customers::{Choice, Limits};

/// The choices that were made with the same thresholds, as long as their rows are kept. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Choices(Arc<Mutex<HashMap<usize, Chosen>>>);

#[derive(Debug)]
struct Chosen {
    /// Keeps the address of the rows from being used for others.
    of: Weak<Collected>,
    limits: Limits,
    choice: Arc<Choice>,
}

impl Choices {
    /// The choice from a collection, an empty one unless it is of customers. Many rows take milliseconds, once.
    pub fn of(&self, report: &Arc<Collected>, limits: Limits, thresholds: &Thresholds) -> Arc<Choice> {
        let Some(customers) = report.customers() else { return Arc::default() };
        let address = Arc::as_ptr(report).addr();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&address).filter(|known| known.limits == limits) {
            return Arc::clone(&known.choice);
        }
        all.retain(|_, known| known.of.strong_count() > 0);
        let choice = Arc::new(customers.choose(limits, |row| thresholds.applying_to_customer(row)));
        let of = Arc::downgrade(report);
        all.insert(address, Chosen { of, limits, choice: Arc::clone(&choice) });
        choice
    }
}
