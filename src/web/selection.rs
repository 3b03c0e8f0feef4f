//! Which rows of customers a request selects, in which order.

use std::cmp::Ordering;
use std::ops::Range;

use jiff::Timestamp;

use crate::domain::collection::Collection;
use crate::domain::customers::{Customers, Limits};
use crate::domain::polled::LastGood;
use crate::domain::status::Ledger;
use crate::large_buffer;
use crate::metrics::Accounts;
use crate::sheet::{CustomerRow, ProductRow};

/// The customers of one account that may be served.
pub(super) struct OfAccount {
    pub(super) account: Option<String>,
    pub(super) limits: Limits,
    pub(super) good: LastGood,
}

/// What a row is about, besides a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The workload of a service.
    Workload,
    Product,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) by: By,
    /// A part of a customer's id or name.
    pub(super) customer: String,
    pub(super) account: String,
    pub(super) service: String,
    pub(super) workload: String,
    pub(super) product: String,
    pub(super) channel: String,
    /// Only rows below their threshold.
    pub(super) low: bool,
    pub(super) sort: Sort,
    /// Counted from 1.
    pub(super) page: usize,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// What needs attention: rows below their threshold with the most unused licences, or those that cost the most.
    Rank,
    Unused,
    Active,
    Qualified,
    /// The lowest share.
    Percent,
    Name,
    Workload,
    Service,
    Product,
    Channel,
}

/// A selected row.
pub(super) struct Found<'a, R> {
    pub(super) account: Option<&'a str>,
    /// Its place among the rows of the selected accounts, which are sorted by account and labels.
    pub(super) at: usize,
    pub(super) row: R,
}

/// A row that can be sorted.
pub(super) trait Sorted {
    /// Says which of two rows comes first.
    fn compare(&self, other: &Self, sort: Sort) -> Ordering;
}

impl OfAccount {
    /// Those of each account that polls customers.
    pub(super) fn all(accounts: &Accounts, now: Timestamp) -> Vec<Self> {
        let of = |ledger: &Ledger| {
            let status = ledger.read();
            let good = status.of(Collection::Customers)?.visible(now, accounts.stale_after)?.clone();
            let account = status.name.as_ref().map(ToString::to_string);
            Some(Self { account, limits: status.customers, good })
        };
        accounts.ledgers.iter().filter_map(of).collect()
    }

    pub(super) fn customers(&self) -> &Customers {
        self.good.report.customers().expect("the rows are those of the customers collection")
    }
}

impl By {
    /// The orders of such rows.
    pub(super) const fn sorts(self) -> &'static [(Sort, &'static str)] {
        match self {
            Self::Workload => &[
                (Sort::Rank, "rank"),
                (Sort::Unused, "unused"),
                (Sort::Active, "active"),
                (Sort::Qualified, "qualified"),
                (Sort::Percent, "percent"),
                (Sort::Name, "name"),
                (Sort::Workload, "workload"),
                (Sort::Service, "service"),
                (Sort::Channel, "channel"),
            ],
            Self::Product => &[
                (Sort::Rank, "cost"),
                (Sort::Unused, "unused"),
                (Sort::Active, "active"),
                (Sort::Qualified, "qualified"),
                (Sort::Name, "name"),
                (Sort::Product, "product"),
                (Sort::Channel, "channel"),
            ],
        }
    }

    /// The parameters of a query about such rows.
    const fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Workload => {
                &["by", "customer", "account", "service", "workload", "channel", "low", "sort", "page"]
            }
            Self::Product => &["by", "customer", "account", "product", "channel", "sort", "page"],
        }
    }

    fn parse(query: &[(String, String)]) -> Result<Self, &'static str> {
        match query.iter().rfind(|(name, _)| name == "by").map(|(_, value)| value.as_str()) {
            None | Some("workload") => Ok(Self::Workload),
            Some("product") => Ok(Self::Product),
            Some(_) => Err("by must be one of workload, product"),
        }
    }
}

/// Compares names whatever their case; customers without a name come last.
fn by_name(a: Option<&str>, b: Option<&str>) -> Ordering {
    let (Some(a), Some(b)) = (a, b) else { return a.is_none().cmp(&b.is_none()) };
    // Most of two names is the same ASCII text, and there are many pairs.
    let same = |(a, b): &(u8, u8)| a.is_ascii() && a.eq_ignore_ascii_case(b);
    let start = a.bytes().zip(b.bytes()).take_while(same).count();
    let [a, b] =
        [a, b].map(|name| name.get(start..).unwrap_or_default().chars().flat_map(char::to_lowercase));
    a.cmp(b)
}

impl Sorted for CustomerRow<'_> {
    fn compare(&self, other: &Self, sort: Sort) -> Ordering {
        let (a, b) = (self, other);
        let share = |row: &CustomerRow<'_>| row.judgement.share.unwrap_or(f64::INFINITY);
        match sort {
            Sort::Rank | Sort::Product => a.rank().cmp(&b.rank()),
            Sort::Unused => b.row.unused().cmp(&a.row.unused()),
            Sort::Active => b.row.licenses.active.cmp(&a.row.licenses.active),
            Sort::Qualified => b.row.licenses.qualified.cmp(&a.row.licenses.qualified),
            Sort::Percent => share(a).total_cmp(&share(b)),
            Sort::Name => by_name(a.name, b.name),
            Sort::Workload => a.row.workload.cmp(&b.row.workload),
            Sort::Service => a.row.service.cmp(&b.row.service),
            Sort::Channel => a.row.channel.cmp(&b.row.channel),
        }
    }
}

impl Sorted for ProductRow<'_> {
    fn compare(&self, other: &Self, sort: Sort) -> Ordering {
        let (a, b) = (self, other);
        match sort {
            Sort::Unused => b.row.unused().cmp(&a.row.unused()),
            Sort::Active => b.row.licenses.active.cmp(&a.row.licenses.active),
            Sort::Qualified => b.row.licenses.qualified.cmp(&a.row.licenses.qualified),
            Sort::Name => by_name(a.name, b.name),
            Sort::Product => a.row.product.cmp(&b.row.product),
            Sort::Channel => a.row.channel.cmp(&b.row.channel),
            Sort::Rank | Sort::Percent | Sort::Workload | Sort::Service => a.rank().cmp(&b.rank()),
        }
    }
}

impl Selection {
    /// The selection of a query's names and values.
    ///
    /// # Errors
    /// What is wrong, and what is possible.
    pub(super) fn parse(query: Vec<(String, String)>) -> Result<Self, String> {
        let by = By::parse(&query)?;
        let mut selection = Self { by, ..Self::of(By::Workload) };
        for (name, value) in query {
            let known = by.parameters();
            if !known.contains(&&*name) {
                return Err(format!("unknown parameter; known: {}", known.join(", ")));
            }
            match &*name {
                "customer" => selection.customer = value,
                "account" => selection.account = value,
                "service" => selection.service = value,
                "workload" => selection.workload = value,
                "product" => selection.product = value,
                "channel" => selection.channel = value,
                "low" => {
                    selection.low = match &*value {
                        "1" | "true" => true,
                        "" | "0" | "false" => false,
                        _ => return Err("low must be one of 1, true, 0, false".to_owned()),
                    }
                }
                "sort" => {
                    let found = by.sorts().iter().find(|(_, word)| *word == value);
                    let words = || by.sorts().iter().map(|(_, word)| *word).collect::<Vec<_>>().join(", ");
                    selection.sort = found.ok_or_else(|| format!("sort must be one of {}", words()))?.0;
                }
                "page" => {
                    let page = value.parse().ok().filter(|page| *page > 0);
                    selection.page = page.ok_or("page must be a number from 1")?;
                }
                _ => {}
            }
        }
        Ok(selection)
    }

    /// All rows in their usual order.
    pub(super) fn of(by: By) -> Self {
        Self {
            by,
            customer: String::new(),
            account: String::new(),
            service: String::new(),
            workload: String::new(),
            product: String::new(),
            channel: String::new(),
            low: false,
            sort: Sort::Rank,
            page: 1,
        }
    }

    /// All rows of a customer of an account.
    pub(super) fn of_customer(by: By, customer: &str, account: Option<&str>) -> Self {
        let (customer, account) = (customer.to_owned(), account.unwrap_or_default().to_owned());
        Self { customer, account, ..Self::of(by) }
    }

    /// The query for the first page in the usual order.
    pub(super) fn first_page(&self) -> String {
        self.query(Sort::Rank, 1)
    }

    /// The query with other values of `sort` and `page`, beginning with `?` unless it is empty.
    pub(super) fn query(&self, sort: Sort, page: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if self.by == By::Product {
            query.append_pair("by", "product");
        }
        for (name, value) in [
            ("customer", &self.customer),
            ("account", &self.account),
            ("service", &self.service),
            ("workload", &self.workload),
            ("product", &self.product),
            ("channel", &self.channel),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if self.low {
            query.append_pair("low", "1");
        }
        if sort != Sort::Rank {
            query.append_pair("sort", self.word(sort));
        }
        if page > 1 {
            query.append_pair("page", &page.to_string());
        }
        let query = query.finish();
        if query.is_empty() { query } else { format!("?{query}") }
    }

    /// The value of `sort` for an order.
    pub(super) fn word(&self, sort: Sort) -> &'static str {
        self.by.sorts().iter().find(|(known, _)| *known == sort).map_or("", |(_, word)| word)
    }

    /// The rows by workload that are selected, in no particular order.
    pub(super) fn rows<'a>(
        &self,
        all: &'a [OfAccount],
        accounts: &'a Accounts,
    ) -> Vec<Found<'a, CustomerRow<'a>>> {
        let mut is_customer = self.customer_filter();
        let found = self
            .of_accounts(all)
            .flat_map(|of| {
                let rows = CustomerRow::all(of.customers(), of.limits, &accounts.thresholds);
                rows.map(|row| (of.account.as_deref(), row))
            })
            .enumerate()
            .map(|(at, (account, row))| Found { account, at, row })
            .filter(|Found { row, .. }| {
                is(&self.service, &row.row.service)
                    && is(&self.workload, &row.row.workload)
                    && is(&self.channel, &row.row.channel)
                    && (!self.low || row.judgement.is_low)
                    && is_customer(&row.row.customer, row.name)
            });
        collected(found, all.iter().map(|of| of.customers().rows().len()).sum())
    }

    /// The rows by product that are selected, in no particular order.
    pub(super) fn products<'a>(
        &self,
        all: &'a [OfAccount],
        accounts: &'a Accounts,
    ) -> Vec<Found<'a, ProductRow<'a>>> {
        let mut is_customer = self.customer_filter();
        let found = self
            .of_accounts(all)
            .flat_map(|of| {
                let rows = ProductRow::all(of.customers(), &accounts.prices);
                rows.map(|row| (of.account.as_deref(), row))
            })
            .enumerate()
            .map(|(at, (account, row))| Found { account, at, row })
            .filter(|Found { row, .. }| {
                is(&self.product, &row.row.product)
                    && is(&self.channel, &row.row.channel)
                    && is_customer(&row.row.customer, row.name)
            });
        let products = |of: &OfAccount| of.customers().products().map_or(0, |products| products.rows().len());
        collected(found, all.iter().map(products).sum())
    }

    /// The selected accounts.
    pub(super) fn of_accounts<'a>(&self, all: &'a [OfAccount]) -> impl Iterator<Item = &'a OfAccount> {
        all.iter().filter(|of| is(&self.account, of.account.as_deref().unwrap_or("")))
    }

    /// Whether a customer with an id and a name is selected. Customers with several rows, which follow each other, are
    /// examined once.
    fn customer_filter<'a>(&self) -> impl FnMut(&'a str, Option<&'a str>) -> bool {
        let (wanted, mut last) = (self.customer.trim().to_lowercase(), None);
        move |id, name| {
            if wanted.is_empty() {
                return true;
            }
            match last {
                Some((known, is_selected)) if std::ptr::eq::<str>(known, id) => is_selected,
                _ => {
                    let has = |text: &str| text.to_lowercase().contains(&wanted);
                    let is_selected = has(id) || name.is_some_and(has);
                    last = Some((id, is_selected));
                    is_selected
                }
            }
        }
    }

    /// The rows of a range, in order; the others are dropped.
    pub(super) fn sort<R: Sorted>(&self, rows: &mut Vec<Found<'_, R>>, Range { start, end }: Range<usize>) {
        let compare = |a: &Found<'_, R>, b: &Found<'_, R>| {
            a.row.compare(&b.row, self.sort).then_with(|| a.at.cmp(&b.at))
        };
        if end < rows.len() {
            rows.select_nth_unstable_by(end, compare);
            rows.truncate(end);
        }
        if 0 < start && start < rows.len() {
            rows.select_nth_unstable_by(start, compare);
        }
        rows.drain(..start.min(rows.len()));
        rows.sort_unstable_by(compare);
    }
}

/// The selected ones of `most` rows.
fn collected<T>(rows: impl Iterator<Item = T>, most: usize) -> Vec<T> {
    let mut all = Vec::new();
    large_buffer::reserve(&mut all, most);
    all.extend(rows);
    all
}

/// Whether a label has the wanted value, if one is wanted.
fn is(wanted: &str, found: &str) -> bool {
    wanted.is_empty() || wanted == found
}
