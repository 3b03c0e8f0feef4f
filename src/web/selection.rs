//! Which rows of customers a request selects, in which order.

use std::cmp::Ordering;

use jiff::Timestamp;

use crate::domain::collection::Collection;
use crate::domain::customers::{Customers, Limits};
use crate::domain::polled::LastGood;
use crate::domain::row::Row as _;
use crate::domain::status::Ledger;
use crate::metrics::Accounts;
use crate::sheet::CustomerRow;

/// The customers of one account that may be served.
pub(super) struct OfAccount {
    pub(super) account: Option<String>,
    pub(super) limits: Limits,
    pub(super) good: LastGood,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// A part of a customer's id or name.
    pub(super) customer: String,
    pub(super) account: String,
    pub(super) service: String,
    pub(super) workload: String,
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
    /// Rows below their threshold, with the most unused licences.
    Rank,
    Unused,
    Active,
    Qualified,
    /// The lowest share.
    Percent,
    Name,
    Workload,
    Service,
    Channel,
}

/// A selected row.
pub(super) struct Found<'a> {
    pub(super) account: Option<&'a str>,
    pub(super) row: CustomerRow<'a>,
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

impl Sort {
    pub(super) const ALL: [(Self, &'static str); 9] = [
        (Self::Rank, "rank"),
        (Self::Unused, "unused"),
        (Self::Active, "active"),
        (Self::Qualified, "qualified"),
        (Self::Percent, "percent"),
        (Self::Name, "name"),
        (Self::Workload, "workload"),
        (Self::Service, "service"),
        (Self::Channel, "channel"),
    ];

    pub(super) fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(sort, _)| *sort == self).map_or("", |(_, word)| word)
    }

    /// Of equal rows, those with the smaller labels come first.
    fn compare(self, a: &CustomerRow<'_>, b: &CustomerRow<'_>) -> Ordering {
        let share = |row: &CustomerRow<'_>| row.judgement.share.unwrap_or(f64::INFINITY);
        let order = match self {
            Self::Rank => a.rank().cmp(&b.rank()),
            Self::Unused => b.row.unused().cmp(&a.row.unused()),
            Self::Active => b.row.licenses.active.cmp(&a.row.licenses.active),
            Self::Qualified => b.row.licenses.qualified.cmp(&a.row.licenses.qualified),
            Self::Percent => share(a).total_cmp(&share(b)),
            Self::Name => a.name.cmp(&b.name),
            Self::Workload => a.row.workload.cmp(&b.row.workload),
            Self::Service => a.row.service.cmp(&b.row.service),
            Self::Channel => a.row.channel.cmp(&b.row.channel),
        };
        order.then_with(|| a.row.labels().cmp(b.row.labels()))
    }
}

impl Selection {
    /// The selection of a query's names and values.
    ///
    /// # Errors
    /// What is wrong, and what is possible.
    pub(super) fn parse(query: Vec<(String, String)>) -> Result<Self, String> {
        let mut selection = Self {
            customer: String::new(),
            account: String::new(),
            service: String::new(),
            workload: String::new(),
            channel: String::new(),
            low: false,
            sort: Sort::Rank,
            page: 1,
        };
        for (name, value) in query {
            match &*name {
                "customer" => selection.customer = value,
                "account" => selection.account = value,
                "service" => selection.service = value,
                "workload" => selection.workload = value,
                "channel" => selection.channel = value,
                "low" => selection.low = !matches!(&*value, "" | "0" | "false"),
                "sort" => {
                    let found = Sort::ALL.into_iter().find(|(_, word)| *word == value);
                    let words = || Sort::ALL.map(|(_, word)| word).join(", ");
                    selection.sort = found.ok_or_else(|| format!("sort must be one of {}", words()))?.0;
                }
                "page" => {
                    let page = value.parse().ok().filter(|page| *page > 0);
                    selection.page = page.ok_or("page must be a number from 1")?;
                }
                _ => {
                    let known = "customer, account, service, workload, channel, low, sort, page";
                    return Err(format!("unknown parameter; known: {known}"));
                }
            }
        }
        Ok(selection)
    }

    /// The query with other values of `sort` and `page`, beginning with `?` unless it is empty.
    pub(super) fn query(&self, sort: Sort, page: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("customer", &self.customer),
            ("account", &self.account),
            ("service", &self.service),
            ("workload", &self.workload),
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
            query.append_pair("sort", sort.as_str());
        }
        if page > 1 {
            query.append_pair("page", &page.to_string());
        }
        let query = query.finish();
        if query.is_empty() { query } else { format!("?{query}") }
    }

    /// The rows that are selected, in no particular order.
    pub(super) fn rows<'a>(&self, all: &'a [OfAccount], accounts: &'a Accounts) -> Vec<Found<'a>> {
        let wanted = self.customer.to_lowercase();
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        let of_account = all.iter().filter(|of| is(&self.account, of.account.as_deref().unwrap_or("")));
        of_account
            .flat_map(|of| {
                let rows = CustomerRow::all(of.customers(), of.limits, &accounts.thresholds);
                rows.map(|row| Found { account: of.account.as_deref(), row })
            })
            .filter(|Found { row, .. }| {
                let has = |text: &str| text.to_lowercase().contains(&wanted);
                is(&self.service, &row.row.service)
                    && is(&self.workload, &row.row.workload)
                    && is(&self.channel, &row.row.channel)
                    && (!self.low || row.judgement.is_low)
                    && (wanted.is_empty() || has(&row.row.customer) || row.name.is_some_and(has))
            })
            .collect()
    }

    /// Puts the first `most` rows in order, and drops the others.
    pub(super) fn sort(&self, rows: &mut Vec<Found<'_>>, most: usize) {
        let compare = |a: &Found<'_>, b: &Found<'_>| {
            self.sort.compare(&a.row, &b.row).then_with(|| a.account.cmp(&b.account))
        };
        if rows.len() > most {
            rows.select_nth_unstable_by(most, compare);
            rows.truncate(most);
        }
        rows.sort_unstable_by(compare);
    }
}
