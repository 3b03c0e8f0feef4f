//! The series that this program exports: the table of families, and where their samples come from.
//!
//! A [`MetricsSnapshot`] holds the series of all accounts. It is encoded when a scrape first asks for a format, and
//! later scrapes send the same bytes. [`OwnMetrics`] are the few families of the process itself, encoded for each
//! scrape.
//!
//! The modules stand in order of dependency.

mod value;
mod family;
mod table;
mod process;
mod own;
mod choices;
mod snapshot;

pub use choices::Choices;
pub use family::{Family, Kind, Selection, trailer};
pub use own::{FailedReload, InFlight, OwnMetrics};
pub use snapshot::{Accounts, MetricsSnapshot};
pub use table::{BUILD, FAMILIES};

#[cfg(test)]
mod tests;
