//! The licences of each customer's product: the highest numbers among its workloads.
//!
//! A licence of a product qualifies for several workloads, so that adding up workloads would count it several times.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use jiff::Timestamp;

use crate::domain::products::CustomerProduct;
use crate::domain::row::{Incoming, RowError, Rows, Source};
use crate::domain::usage::Qualified;
use crate::large_buffer;

/// The products that occur in the rows of a collection.
#[derive(Default)]
pub(super) struct ByProduct {
    /// The place of each customer, product and channel.
    places: HashMap<[Arc<str>; 3], u32, RandomState>,
    /// The newest name of each product that has one besides its id.
    names: HashMap<Arc<str>, (Option<Timestamp>, Arc<str>), RandomState>,
}

/// A row of one workload: the place of its product, its figures and its date.
pub(super) type OfWorkload = (u32, [u64; 2], Option<Timestamp>);

impl ByProduct {
    /// The place of rows without a product.
    pub(super) const NONE: u32 = u32::MAX;

    /// The number of places.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The place of a customer's product in a channel. The product is identified by its id, or by its name without one.
    pub(super) fn place(
        &mut self,
        [customer, channel]: [&Arc<str>; 2],
        (id, name): (Option<Arc<str>>, Option<Arc<str>>),
        date: Option<Timestamp>,
    ) -> u32 {
        let Some(product) = id.or_else(|| name.clone()) else { return Self::NONE };
        if let Some(name) = name {
            // A name may change between two pages.
            let newest = self.names.entry(Arc::clone(&product)).or_insert_with(|| (date, Arc::clone(&name)));
            if date >= newest.0 {
                *newest = (date, name);
            }
        }
        let next = u32::try_from(self.places.len()).expect("there are fewer products than rows");
        let key = [Arc::clone(customer), product, Arc::clone(channel)];
        *self.places.entry(key).or_insert(next)
    }

    /// The products of these rows. Products with the same name are one.
    pub(super) fn rows(self, rows: impl Iterator<Item = OfWorkload>) -> Rows<CustomerProduct> {
        let mut incoming = Incoming::default();
        let mut highest = vec![([0_u64; 2], None::<Timestamp>); self.places.len()];
        for (place, figures, date) in rows {
            let Some((known, oldest)) = highest.get_mut(place as usize) else {
                incoming.reject(RowError::MissingLabel);
                continue;
            };
            for (known, figure) in known.iter_mut().zip(figures) {
                *known = figure.max(*known);
            }
            *oldest = [*oldest, date].into_iter().flatten().min();
        }
        let mut found: Vec<CustomerProduct> = Vec::new();
        large_buffer::reserve(&mut found, self.places.len());
        for ([customer, id, channel], place) in self.places {
            let product = self.names.get(&id).map_or(id, |(_, name)| Arc::clone(name));
            let ([active, qualified], Some(processed_at)) = highest[place as usize] else {
                incoming.reject(RowError::MissingDate);
                continue;
            };
            let licenses = Qualified { active, qualified };
            found.push(CustomerProduct { customer, product, channel, licenses, processed_at });
        }
        // Equal labels of one poll are shared.
        let key = |row: &CustomerProduct| {
            [&row.customer, &row.product, &row.channel].map(|label| label.as_ptr().addr())
        };
        found.sort_unstable_by_key(key);
        found.dedup_by(|next, sum| {
            let is_same = key(next) == key(sum);
            if is_same {
                sum.licenses.active = sum.licenses.active.saturating_add(next.licenses.active);
                sum.licenses.qualified = sum.licenses.qualified.saturating_add(next.licenses.qualified);
                sum.processed_at = sum.processed_at.min(next.processed_at);
            }
            is_same
        });
        for row in found {
            incoming.add(Ok(row));
        }
        incoming.into_rows(Source::Commercial)
    }
}
