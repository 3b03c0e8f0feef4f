//! How much a client has received, for those who wait for a long poll.

use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The pages of collections that a client has received so far, and their rows.
#[derive(Debug, Default)]
pub struct Received {
    pages: AtomicUsize,
    rows: AtomicUsize,
}

impl Received {
    /// Counts a page with these rows.
    pub(super) fn add_page(&self, rows: usize) {
        self.pages.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

impl Display for Received {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (pages, rows) = (self.pages.load(Ordering::Relaxed), self.rows.load(Ordering::Relaxed));
        let s = |number| if number == 1 { "" } else { "s" };
        write!(f, "{pages} page{}, {rows} row{} so far", s(pages), s(rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_rows_are_counted() {
        let received = Received::default();
        assert_eq!(received.to_string(), "0 pages, 0 rows so far");
        received.add_page(1);
        assert_eq!(received.to_string(), "1 page, 1 row so far");
        received.add_page(10_000);
        assert_eq!(received.to_string(), "2 pages, 10001 rows so far");
    }
}
