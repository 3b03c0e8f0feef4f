//! The rows of Partner Center's commercial collections, the successors of `/v1/analytics/licenses`, in their documented
//! JSON, and their sums.
//!
//! A row is about one customer and product, unless the server has grouped the rows. Nothing documents how the server
//! links its pages: its links are followed, and where there is none the rows are counted.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::sync::Arc;

use foldhash::{fast, quality};
use jiff::Timestamp;

use crate::domain::customers::{CustomerDeployment, CustomerUsage, Names};
use crate::domain::deployment::LicenseDeployment;
use crate::domain::figures::Percent;
use crate::domain::products::CustomerProduct;
use crate::domain::row::{Incoming, Row, RowError, Rows, Source};
use crate::domain::usage::{LicenseUsage, Qualified};
use crate::large_buffer;

use super::by_product::ByProduct;
use super::fields::{Field, Fields, count, folded};
use super::json_members::Scalar;
use super::page::{Envelope, Item, Next, PageError, read_page};
use super::wire::{self, Decode, WireError};

/// The most rows of a page, which is also the server's default.
pub(super) const PAGE_ROWS: usize = 10_000;
/// A server that sends fewer rows at a time sends a multiple of this number.
const LIKELY_LIMITS: usize = 100;
/// The maximum number of rows of all pages together.
const MAX_ROWS: usize = 2_000_000;

/// The maximum number of customers' sums, five times those of 10,000 customers with ten workloads each.
const MAX_CUSTOMER_SUMS: usize = 500_000;

/// The members of rows that are read, in the documented order.
const NAMES: [&str; 15] = [
    "workloadCode",
    "workloadName",
    "serviceCode",
    "serviceName",
    "channel",
    "customerTenantId",
    "customerName",
    "productId",
    "productName",
    "licensesActive",
    // The spelling of Microsoft's sample.
    "licenseActive",
    "licensesQualified",
    "licensesDeployed",
    "licensesSold",
    "processedDateTime",
];

/// How many of these identify a row by themselves.
const LABELS: usize = 5;
/// Where the customer's and the product's ids are, which identify a row too. Each is followed by a name, which may change
/// between two pages and is a substitute for a missing id only.
const IDS: [usize; 2] = [5, 7];

/// The sums of a collection's rows by some of their labels.
pub(super) struct Sums<R, const N: usize> {
    kind: Kind<R, N>,
    fields: Fields,
    keys: HashMap<[Arc<str>; N], u32, fast::RandomState>,
    dates: Vec<Timestamp>,
    /// The place of each date.
    places: HashMap<Timestamp, u32, fast::RandomState>,
    entries: Vec<Entry>,
    /// What was dropped so far, and in the end the rows of the sums.
    incoming: Incoming<R>,
    /// Good enough that no two of a million rows have the same hash by chance.
    hasher: quality::RandomState,
    received: usize,
    total: Option<u64>,
    /// The number of rows of the first page.
    page_rows: usize,
    /// The identities of the last page's rows, together.
    last_page: u64,
    /// When the rows were processed that have no date themselves.
    processed_at: Option<Timestamp>,
    /// The names of the customers, if these are wanted.
    names: Option<HashMap<Arc<str>, Dated<Arc<str>>, fast::RandomState>>,
    /// The customers' products, if these are wanted.
    products: Option<ByProduct>,
}

/// What a row says, and when it was processed if it says that too.
type Dated<T> = (Option<Timestamp>, T);

/// The labels by which rows are summed, and two figures: a part, and the whole.
type Labelled<const N: usize> = ([Arc<str>; N], [u64; 2]);

/// What differs between the collections.
struct Kind<R, const N: usize> {
    /// Reads the labels and the two figures of a row: a part, and the whole.
    read: fn(&mut Fields, Members<'_>) -> Result<Labelled<N>, RowError>,
    /// The row of a sum.
    row: fn(Labelled<N>, Timestamp) -> Result<R, RowError>,
    /// The maximum number of sums.
    max_sums: usize,
}

/// The members of a row, of which a collection has some.
struct Members<'a> {
    customer: Field<'a>,
    service: Field<'a>,
    workload: Field<'a>,
    channel: Field<'a>,
    active: Field<'a>,
    qualified: Field<'a>,
    deployed: Field<'a>,
    sold: Field<'a>,
}

/// A row, until all of them are known: a page may repeat rows of another.
#[derive(Clone, Copy)]
struct Entry {
    /// A hash of all its labels.
    identity: u64,
    key: u32,
    /// The place of its product, if products are wanted.
    product: u32,
    /// Its place among the dates, if it has one.
    date: Option<u32>,
    figures: [u64; 2],
}

/// The usage collection. Labels longer than `max_label_bytes` are refused.
pub(super) fn usage(max_label_bytes: usize) -> Sums<LicenseUsage, 3> {
    let kind = Kind {
        read: |fields, members| {
            let figures = [count(&members.active)?, count(&members.qualified)?];
            let labels = [members.service, members.workload, members.channel];
            let [service, workload, channel] = labels.map(|label| fields.label(label));
            Ok(([service?, workload?, channel?], figures))
        },
        row: |([service, workload, channel], [active, qualified]), processed_at| {
            let percent = Percent::of(active, qualified)?;
            let licenses = Some(Qualified { active, qualified });
            Ok(LicenseUsage { service, workload, channel, percent, licenses, processed_at })
        },
        max_sums: wire::MAX_ROWS,
    };
    Sums::new(kind, max_label_bytes)
}

/// The deployment collection. Labels longer than `max_label_bytes` are refused.
pub(super) fn deployment(max_label_bytes: usize) -> Sums<LicenseDeployment, 2> {
    let kind = Kind {
        read: |fields, members| {
            let figures = [count(&members.deployed)?, count(&members.sold)?];
            let [service, channel] = [members.service, members.channel].map(|label| fields.label(label));
            Ok(([service?, channel?], figures))
        },
        row: |([service, channel], [deployed, sold]), processed_at| {
            let percent = Percent::of(deployed, sold)?;
            let (sold, deployed) = (Some(sold), Some(deployed));
            Ok(LicenseDeployment { service, channel, percent, sold, deployed, processed_at })
        },
        max_sums: wire::MAX_ROWS,
    };
    Sums::new(kind, max_label_bytes)
}

/// The usage of each customer. Labels longer than `max_label_bytes` are refused.
pub(super) fn customer_usage(max_label_bytes: usize) -> Sums<CustomerUsage, 4> {
    let kind = Kind {
        read: |fields, members| {
            let figures = [count(&members.active)?, count(&members.qualified)?];
            let customer = fields.id(members.customer);
            let labels = [members.service, members.workload, members.channel];
            let [service, workload, channel] = labels.map(|label| fields.label(label));
            Ok(([customer?, service?, workload?, channel?], figures))
        },
        row: |([customer, service, workload, channel], [active, qualified]), processed_at| {
            let licenses = Qualified { active, qualified };
            Ok(CustomerUsage { customer, service, workload, channel, licenses, processed_at })
        },
        max_sums: MAX_CUSTOMER_SUMS,
    };
    Sums::new(kind, max_label_bytes)
}

/// The deployment of each customer. Labels longer than `max_label_bytes` are refused.
pub(super) fn customer_deployment(max_label_bytes: usize) -> Sums<CustomerDeployment, 3> {
    let kind = Kind {
        read: |fields, members| {
            let figures = [count(&members.deployed)?, count(&members.sold)?];
            let customer = fields.id(members.customer);
            let [service, channel] = [members.service, members.channel].map(|label| fields.label(label));
            Ok(([customer?, service?, channel?], figures))
        },
        row: |([customer, service, channel], [deployed, sold]), processed_at| {
            Ok(CustomerDeployment { customer, service, channel, sold, deployed, processed_at })
        },
        max_sums: MAX_CUSTOMER_SUMS,
    };
    Sums::new(kind, max_label_bytes)
}

/// The date of the first row of a page that has one.
pub(super) fn first_date(json: &[u8]) -> Result<Option<Timestamp>, PageError> {
    let (mut fields, mut found) = (Fields::new(usize::MAX), None);
    read_page(Envelope::COMMERCIAL, json, ["processedDateTime"], |item| {
        if let Item::Members([date]) = item {
            found = found.or_else(|| fields.date(date).ok());
        }
    })?;
    Ok(found)
}

/// The first of two members, or the second if the first is missing or empty.
fn first<'a>(one: Field<'a>, other: Field<'a>) -> Field<'a> {
    if is_absent(&one) { other } else { one }
}

fn is_absent(field: &Field<'_>) -> bool {
    match field {
        None | Some(Scalar::Null) => true,
        Some(Scalar::Text(text)) => text.is_empty(),
        Some(_) => false,
    }
}

impl<R: Row, const N: usize> Sums<R, N> {
    fn new(kind: Kind<R, N>, max_label_bytes: usize) -> Self {
        Self {
            kind,
            fields: Fields::new(max_label_bytes),
            keys: HashMap::default(),
            dates: Vec::new(),
            places: HashMap::default(),
            entries: Vec::new(),
            incoming: Incoming::default(),
            hasher: quality::RandomState::default(),
            received: 0,
            total: None,
            page_rows: 0,
            last_page: 0,
            processed_at: None,
            names: None,
            products: None,
        }
    }

    /// Reads the names of the customers as well. The first label must be the customer's id.
    pub(super) fn with_names(self) -> Self {
        Self { names: Some(HashMap::default()), ..self }
    }

    /// Keeps the customers' products as well. The first label must be the customer's id, and the last one the channel.
    pub(super) fn with_products(self) -> Self {
        Self { products: Some(ByProduct::default()), ..self }
    }

    /// The names of the customers, as far as there are any.
    pub(super) fn take_names(&mut self) -> Names {
        self.names.take().into_iter().flatten().map(|(id, (_, name))| (id, name)).collect()
    }

    /// Whether a row has no date: the server leaves it out where it groups rows.
    pub(super) fn lacks_dates(&self) -> bool {
        self.entries.iter().any(|entry| entry.date.is_none())
    }

    /// Says when the rows were processed that have no date themselves.
    pub(super) fn set_date(&mut self, at: Option<Timestamp>) {
        self.processed_at = at;
    }

    /// The number of rows that were received, and that the server announced, if they differ.
    pub(super) fn discrepancy(&self) -> Option<(usize, u64)> {
        self.total.filter(|total| *total != self.received as u64).map(|total| (self.received, total))
    }

    fn add(&mut self, members: [Field<'_>; NAMES.len()]) -> Result<(), RowError> {
        let mut identity = self.hasher.build_hasher();
        let ids = IDS.map(|id| &members[if is_absent(&members[id]) { id + 1 } else { id }]);
        for (at, field) in members[..LABELS].iter().chain(ids).enumerate() {
            match field {
                Some(Scalar::Text(text)) if at < LABELS => text.hash(&mut identity),
                Some(Scalar::Text(text)) => folded(text).hash(&mut identity),
                Some(Scalar::Number(number)) => identity.write_u64(number.to_bits()),
                _ => identity.write_u8(0),
            }
        }
        let identity = identity.finish();
        let [
            _,
            workload,
            code,
            name,
            channel,
            customer,
            customer_name,
            product_id,
            product_name,
            active,
            active_in_sample,
            qualified,
            deployed,
            sold,
            date,
        ] = members;
        let date = match self.fields.date(date) {
            Err(RowError::MissingDate) => None,
            date => Some(date?),
        };
        let members = Members {
            customer,
            service: first(code, name),
            workload,
            channel,
            active: first(active, active_in_sample),
            qualified,
            deployed,
            sold,
        };
        let (labels, figures) = (self.kind.read)(&mut self.fields, members)?;
        if let (Some(names), Some(name)) = (&mut self.names, self.fields.name(customer_name)) {
            // Of the names of a customer the newest counts, and on a tie the last.
            match names.get_mut(&labels[0]) {
                Some((known, _)) if *known > date => {}
                Some(known) => *known = (date, name),
                None => drop(names.insert(Arc::clone(&labels[0]), (date, name))),
            }
        }
        let product = self.products.as_mut().map_or(ByProduct::NONE, |products| {
            let product = (self.fields.id(product_id).ok(), self.fields.name(product_name));
            products.place([&labels[0], &labels[N - 1]], product, date)
        });
        let next = u32::try_from(self.keys.len()).expect("there are fewer keys than rows");
        let key = *self.keys.entry(labels).or_insert(next);
        let date = date.map(|date| self.place_of(date));
        large_buffer::reserve(&mut self.entries, 1);
        self.entries.push(Entry { identity, key, product, date, figures });
        Ok(())
    }

    /// The place of a date among all that occur, often only one.
    fn place_of(&mut self, date: Timestamp) -> u32 {
        let next = u32::try_from(self.dates.len()).expect("there are fewer dates than rows");
        let place = *self.places.entry(date).or_insert(next);
        if place == next {
            self.dates.push(date);
        }
        place
    }

    /// Drops rows that occur more than once.
    fn deduplicate(&mut self) {
        let dates = &self.dates;
        let date_of = |entry: &Entry| entry.date.map(|place| dates[place as usize]);
        // The sort is stable, so of equal rows of the same date the last of the collection stays last.
        self.entries.sort_by_key(|entry| (entry.identity, date_of(entry)));
        let received = self.entries.len();
        self.entries.dedup_by(|next, kept| {
            let same = next.identity == kept.identity;
            if same {
                std::mem::swap(next, kept);
            }
            same
        });
        for _ in self.entries.len()..received {
            self.incoming.reject(RowError::Duplicate);
        }
    }

    /// The rows, and with them the customers' products where these are wanted.
    pub(super) fn rows_and_products(mut self) -> Result<(Rows<R>, Option<Rows<CustomerProduct>>), WireError> {
        self.deduplicate();
        let products = self.products.take().map(|products| {
            let date_of = |entry: &Entry| entry.date.map(|place| self.dates[place as usize]);
            products.rows(self.entries.iter().map(|entry| (entry.product, entry.figures, date_of(entry))))
        });
        Ok((self.rows()?, products))
    }

    /// The sums of the rows.
    fn rows(mut self) -> Result<Rows<R>, WireError> {
        self.deduplicate();
        let Self { mut incoming, dates, .. } = self;
        let date_of = |entry: &Entry| entry.date.map(|place| dates[place as usize]);
        let mut sums = vec![([0_u64; 2], None::<Timestamp>); self.keys.len()];
        for entry in &self.entries {
            let (figures, oldest) = &mut sums[entry.key as usize];
            for (sum, figure) in figures.iter_mut().zip(entry.figures) {
                *sum = sum.saturating_add(figure);
            }
            *oldest = [*oldest, date_of(entry)].into_iter().flatten().min();
        }
        for (labels, key) in self.keys {
            let (figures, oldest) = sums[key as usize];
            let date = oldest.or(self.processed_at);
            incoming
                .add(date.ok_or(RowError::MissingDate).and_then(|at| (self.kind.row)((labels, figures), at)));
        }
        let rows = incoming.into_rows(Source::Commercial);
        // Rows without licences are as they should be.
        let is_fault = |error: &RowError| !matches!(error, RowError::NoLicenses | RowError::Duplicate);
        if rows.rows().is_empty() && rows.rejected().keys().any(is_fault) {
            return Err(WireError::NothingUsable(rows.rejected().clone()));
        }
        Ok(rows)
    }
}

impl<R: Row + Send + 'static, const N: usize> Decode for Sums<R, N> {
    type Output = Rows<R>;

    const CAN_SKIP: bool = true;

    fn read(&mut self, json: &[u8]) -> Result<Next, WireError> {
        let (before, kept) = (self.received, self.entries.len());
        let rejected = self.incoming.rejected().clone();
        let page = read_page(Envelope::COMMERCIAL, json, NAMES, |item| {
            self.received += 1;
            let added = match item {
                // The body is read to its end, but no further row is kept.
                _ if self.received > MAX_ROWS => return,
                Item::Members(members) => self.add(members),
                Item::NotAnObject => Err(RowError::NotAnObject),
                Item::Unreadable => Err(RowError::Unreadable),
            };
            if let Err(error) = added {
                self.incoming.reject(error);
            }
        });
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                // The page may be asked for again.
                self.received = before;
                self.entries.truncate(kept);
                self.incoming.set_rejected(rejected);
                return Err(error.into());
            }
        };
        if self.received > MAX_ROWS {
            return Err(WireError::TooManyRows(MAX_ROWS));
        }
        let products = self.products.as_ref().map_or(0, ByProduct::len);
        if self.keys.len().max(products) > self.kind.max_sums {
            return Err(WireError::TooManyRows(self.kind.max_sums));
        }
        self.total = page.total;
        let of_page = self.received - before;
        if before == 0 {
            self.page_rows = of_page;
        }
        // The total may be that of the page. A page that is shorter than the first is the last one, and so is a first page
        // of which no server would have cut off the rest.
        let (received, is_full) = (self.received as u64, of_page == self.page_rows);
        let identities =
            self.entries[kept..].iter().fold(0, |all: u64, entry| all.wrapping_add(entry.identity));
        // A server that does not skip rows sends the first page again and again.
        let is_same = std::mem::replace(&mut self.last_page, identities) == identities;
        let is_repeated = is_same && before > 0 && self.entries.len() > kept;
        let is_last = match page.total {
            _ if is_repeated => true,
            Some(total) if total > received => of_page == 0,
            Some(total) if total == received && before == 0 => {
                !of_page.is_multiple_of(LIKELY_LIMITS) || of_page == 0
            }
            _ => of_page == 0 || !is_full,
        };
        Ok(match page.next {
            Next::End if !is_last => Next::Skip(self.received),
            next => next,
        })
    }

    fn received(&self) -> usize {
        self.received
    }

    fn finish(self) -> Result<Rows<R>, WireError> {
        self.rows()
    }
}
