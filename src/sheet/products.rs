//! The licences of customers by product, with what those cost that nobody uses.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::config::Prices;
use crate::domain::customers::Customers;
use crate::domain::money::{Amount, Currency, Money, Totals};
use crate::domain::products::CustomerProduct;
use crate::domain::row::Rows;

use super::line::{Cell, Column, Line};
use super::names::Names;

pub(super) const COLUMNS: &[Column] = &[
    Column::new("customer_name", "Name"),
    Column::new("customer", "Customer"),
    Column::new("product", "Product"),
    Column::new("channel", "Channel"),
    Column::new("unused", "Unused at most"),
    Column::new("active", "Active"),
    Column::new("qualified", "Qualified"),
    Column::new("price_per_month", "Price a month"),
    Column::new("cost_per_month", "Unused cost a month"),
    Column::new("currency", "Currency"),
    Column::new("processed_at", "Data of"),
];

/// The licences of one product that a customer has.
#[derive(Clone, Copy, Debug)]
pub struct ProductRow<'a> {
    /// The customer's name, if it is known.
    pub name: Option<&'a str>,
    /// The row itself.
    pub row: &'a CustomerProduct,
    /// What a licence costs a month, if that is configured.
    pub price: Option<&'a Money>,
}

/// What rows have together.
#[derive(Debug, Default)]
pub struct ProductSummary<'a> {
    /// What the unused licences cost a month.
    pub costs: Totals,
    /// The products that have no price.
    pub without_price: BTreeSet<&'a str>,
}

impl<'a> ProductRow<'a> {
    /// All products of a collection, in the order of their labels.
    pub fn all(customers: &'a Customers, prices: &'a Prices) -> impl Iterator<Item = Self> + 'a {
        Self::these(customers.products().map_or(&[][..], Rows::rows), customers, prices)
    }

    /// The product at a place in that order.
    pub fn at(place: usize, customers: &'a Customers, prices: &'a Prices) -> Option<Self> {
        Self::these(customers.products()?.rows().get(place..=place)?, customers, prices).next()
    }

    /// The products of one customer, likewise.
    pub fn of_customer(
        customer: &str,
        customers: &'a Customers,
        prices: &'a Prices,
    ) -> impl Iterator<Item = Self> + 'a {
        let rows = customers.products().map_or(&[][..], Rows::rows);
        let start = rows.partition_point(|row| *row.customer < *customer);
        let number = rows[start..].partition_point(|row| *row.customer == *customer);
        Self::these(&rows[start..start + number], customers, prices)
    }

    fn these(
        rows: &'a [CustomerProduct],
        customers: &'a Customers,
        prices: &'a Prices,
    ) -> impl Iterator<Item = Self> + 'a {
        let mut names = Names::new(customers);
        // Rows share the names of products.
        let mut known: HashMap<usize, Option<&'a Money>, RandomState> = HashMap::default();
        rows.iter().map(move |row| {
            let price = *known.entry(address(row)).or_insert_with(|| prices.of(&row.product));
            Self { name: names.of(&row.customer), row, price }
        })
    }

    /// What the licences that nobody uses cost a month, at most.
    pub fn cost(&self) -> Option<Money> {
        self.price.map(|price| price.times(self.row.unused()))
    }

    /// The order in which rows need attention: for each currency those that cost the most first, and in the end those
    /// without a price, with the most unused licences first.
    pub fn rank(&self) -> (bool, Option<Currency>, Reverse<Amount>, Reverse<u64>) {
        let cost = self.cost();
        let amount = cost.map(|cost| cost.amount).unwrap_or_default();
        (cost.is_none(), cost.map(|cost| cost.currency), Reverse(amount), Reverse(self.row.unused()))
    }

    /// The same as a line.
    pub fn line(&self) -> Line<'a> {
        let Self { name, row, price } = *self;
        let amount = |money: Option<Money>| money.map_or(Cell::Missing, |money| Cell::Amount(money.amount));
        let cells = vec![
            name.map_or(Cell::Missing, Cell::Text),
            Cell::Text(&row.customer),
            Cell::Text(&row.product),
            Cell::Text(&row.channel),
            Cell::Count(row.unused()),
            Cell::Count(row.licenses.active),
            Cell::Count(row.licenses.qualified),
            amount(price.copied()),
            amount(self.cost()),
            price.map_or(Cell::Missing, |price| Cell::Currency(price.currency)),
            Cell::Time(row.processed_at),
        ];
        Line { cells, is_low: false }
    }
}

impl<'a> ProductSummary<'a> {
    /// The summary of these rows.
    pub fn of(rows: impl IntoIterator<Item = ProductRow<'a>>) -> Self {
        let mut summary = Self::default();
        // Rows share the names of products, so that few of them have to be compared.
        let mut known: HashSet<usize, RandomState> = HashSet::default();
        for row in rows {
            match row.cost() {
                Some(cost) => summary.costs.add(cost),
                None if known.insert(address(row.row)) => {
                    summary.without_price.insert(&row.row.product);
                }
                None => {}
            }
        }
        summary
    }
}

fn address(row: &CustomerProduct) -> usize {
    Arc::as_ptr(&row.product).addr()
}
