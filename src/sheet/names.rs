//! The names of customers, for rows that are in the order of their ids.

use std::sync::Arc;

use crate::domain::customers::Customers;

/// Looks up names; of a customer with many rows once.
pub(super) struct Names<'a> {
    customers: &'a Customers,
    last: Option<(&'a Arc<str>, Option<&'a str>)>,
}

impl<'a> Names<'a> {
    pub(super) fn new(customers: &'a Customers) -> Self {
        Self { customers, last: None }
    }

    /// The name of a customer, if it is known.
    pub(super) fn of(&mut self, customer: &'a Arc<str>) -> Option<&'a str> {
        if let Some((_, name)) = self.last.filter(|(last, _)| Arc::ptr_eq(last, customer)) {
            return name;
        }
        let name = self.customers.names().get(customer).map(|name| &**name);
        self.last = Some((customer, name));
        name
    }
}
