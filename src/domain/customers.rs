//! The customers collection: how many licences each customer has and uses, by service, workload and channel.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::figures::Percent;
use super::products::CustomerProduct;
use super::row::{Row, RowError, Rows, Source};
use super::usage::Qualified;

/// How many of the licences that qualify for a workload one customer uses.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomerUsage {
    /// `customerTenantId`, which is a GUID unless the source has something else.
    pub customer: Arc<str>,
    /// `serviceCode` or `serviceName`, such as `o365`.
    pub service: Arc<str>,
    /// `workloadName`, such as `Exchange`.
    pub workload: Arc<str>,
    /// `channel`, such as `reseller`.
    pub channel: Arc<str>,
    /// The sums over all products.
    pub licenses: Qualified,
    /// `processedDateTime`: the oldest one of the sum.
    pub processed_at: Timestamp,
}

/// How many of the licences of a service that one customer bought are assigned.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomerDeployment {
    /// `customerTenantId`, as in [`CustomerUsage`].
    pub customer: Arc<str>,
    /// `serviceCode` or `serviceName`, such as `o365`.
    pub service: Arc<str>,
    /// `channel`, such as `reseller`.
    pub channel: Arc<str>,
    /// The sum of `licensesSold`.
    pub sold: u64,
    /// The sum of `licensesDeployed`; may exceed `sold`.
    pub deployed: u64,
    /// `processedDateTime`: the oldest one of the sum.
    pub processed_at: Timestamp,
}

/// The names of customers by their ids.
pub type Names = BTreeMap<Arc<str>, Arc<str>>;

/// The rows of a customers collection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Customers {
    usage: Rows<CustomerUsage>,
    deployment: Rows<CustomerDeployment>,
    /// The same licences by product, where these are wanted.
    products: Option<Rows<CustomerProduct>>,
    names: Names,
    rejected: BTreeMap<RowError, u64>,
    /// The number of customers.
    count: usize,
    /// The earliest time at which Microsoft processed a usage row of each service.
    processed: BTreeMap<Arc<str>, Timestamp>,
}

/// How much of a customers collection is published, and what may raise an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most usage rows that are published.
    pub series: usize,
    /// A row with fewer qualified licences has no threshold.
    pub min_licenses: u64,
}

/// How a usage row compares with its threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// The share of qualified licences that are active, on the scale 0–100; `None` if none is qualified.
    pub share: Option<f64>,
    /// The threshold, on the scale 0–100; `None` if the row is muted or has too few licences.
    pub threshold: Option<f64>,
    /// Whether the share is below the threshold.
    pub is_low: bool,
}

/// The rows that are published.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// The places of usage rows among all of them, in ascending order, each with its threshold on the scale 0–100.
    pub rows: Vec<(usize, Option<f64>)>,
    /// The places of the deployment rows of the same customers.
    pub deployment: Vec<usize>,
    /// These customers, in ascending order.
    pub customers: Vec<Arc<str>>,
    /// The number of usage rows that are withheld.
    pub withheld: usize,
    /// The number of all usage rows that are below their threshold.
    pub low: usize,
    /// The places of the worst row of each of the ten customers who have the worst ones, the worst first. Rows without
    /// an unused licence are not bad.
    pub worst: Vec<usize>,
}

/// The order in which rows need attention: low or not, and the number of unused licences; then the place of the row.
type Rank = (Reverse<(bool, u64)>, usize);

/// How many customers are called the worst.
const WORST: usize = 10;

impl Row for CustomerUsage {
    fn labels(&self) -> impl Iterator<Item = &Arc<str>> {
        [&self.customer, &self.service, &self.workload, &self.channel].into_iter()
    }

    fn processed_at(&self) -> Timestamp {
        self.processed_at
    }
}

impl CustomerUsage {
    /// A row of o365 and of resellers, processed when the epoch began.
    #[cfg(test)]
    pub(crate) fn of(customer: &str, workload: &str, active: u64, qualified: u64) -> Self {
        Self {
            customer: customer.into(),
            service: "o365".into(),
            workload: workload.into(),
            channel: "reseller".into(),
            licenses: Qualified { active, qualified },
            processed_at: Timestamp::UNIX_EPOCH,
        }
    }

    /// The number of licences that are not used.
    pub fn unused(&self) -> u64 {
        self.licenses.qualified.saturating_sub(self.licenses.active)
    }
}

impl Row for CustomerDeployment {
    fn labels(&self) -> impl Iterator<Item = &Arc<str>> {
        [&self.customer, &self.service, &self.channel].into_iter()
    }

    fn processed_at(&self) -> Timestamp {
        self.processed_at
    }
}

impl Limits {
    /// How many of this many usage rows are not published.
    pub fn withheld(self, rows: usize) -> usize {
        rows.saturating_sub(self.series)
    }

    /// Compares a row with the threshold that `threshold` returns.
    pub fn judge(self, row: &CustomerUsage, threshold: impl Fn(&CustomerUsage) -> Option<f64>) -> Judgement {
        let Qualified { active, qualified } = row.licenses;
        let share = Percent::of(active, qualified).ok().map(Percent::get);
        let is_judged = share.is_some() && qualified >= self.min_licenses;
        let threshold = is_judged.then(|| threshold(row)).flatten();
        let is_low = share.zip(threshold).is_some_and(|(share, threshold)| share < threshold);
        Judgement { share, threshold, is_low }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { series: 500, min_licenses: 25 }
    }
}

impl Customers {
    /// The customers of these rows. Names of others are dropped.
    pub fn new(usage: Rows<CustomerUsage>, deployment: Rows<CustomerDeployment>, mut names: Names) -> Self {
        let of_deployment = deployment.rows().iter().map(|row| &row.customer);
        let ids: BTreeSet<_> = usage.rows().iter().map(|row| &row.customer).chain(of_deployment).collect();
        names.retain(|id, _| ids.contains(id));
        let count = ids.len();
        let mut rejected = usage.rejected().clone();
        for (error, number) in deployment.rejected() {
            *rejected.entry(*error).or_insert(0) += number;
        }
        let mut processed: BTreeMap<Arc<str>, Timestamp> = BTreeMap::new();
        for row in usage.rows() {
            match processed.get_mut(&row.service) {
                Some(oldest) => *oldest = row.processed_at.min(*oldest),
                None => drop(processed.insert(Arc::clone(&row.service), row.processed_at)),
            }
        }
        Self { usage, deployment, products: None, names, rejected, count, processed }
    }

    /// The same with their licences by product.
    #[must_use]
    pub fn with_products(self, products: Option<Rows<CustomerProduct>>) -> Self {
        Self { products, ..self }
    }

    /// The usage rows, sorted by their labels; the collection is as large as their number.
    pub fn rows(&self) -> &[CustomerUsage] {
        self.usage.rows()
    }

    /// The deployment rows, sorted by their labels.
    pub fn deployment(&self) -> &[CustomerDeployment] {
        self.deployment.rows()
    }

    /// The licences by product, sorted by their labels, if they are kept.
    pub fn products(&self) -> Option<&Rows<CustomerProduct>> {
        self.products.as_ref()
    }

    /// The names that are known, none if they are not wanted.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The number of customers.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The number of dropped rows of usage and deployment, by error.
    pub fn rejected(&self) -> &BTreeMap<RowError, u64> {
        &self.rejected
    }

    /// Where the rows come from.
    pub fn source(&self) -> Source {
        self.usage.source()
    }

    /// The length of all labels and names together, in bytes.
    pub fn label_bytes(&self) -> usize {
        let names: usize = self.names.values().map(|name| name.len()).sum();
        self.usage.label_bytes() + self.deployment.label_bytes() + names
    }

    /// The earliest and the latest time at which Microsoft processed a usage row.
    pub fn processed(&self) -> Option<(Timestamp, Timestamp)> {
        self.usage.processed()
    }

    /// The earliest time at which Microsoft processed a usage row of each service.
    pub fn processed_by_service(&self) -> &BTreeMap<Arc<str>, Timestamp> {
        &self.processed
    }

    /// The same without any name.
    #[must_use]
    pub fn without_names(&self) -> Self {
        Self { names: Names::new(), ..self.clone() }
    }

    /// The rows and names that have `most` bytes at most, if these are not all of them.
    pub fn with_labels_up_to(&self, most: usize) -> Option<Self> {
        let (usage, deployment) =
            (self.usage.with_labels_up_to(most), self.deployment.with_labels_up_to(most));
        let products = self.products.as_ref().and_then(|products| products.with_labels_up_to(most));
        let fits = |name: &Arc<str>| name.len() <= most;
        if usage.is_none() && deployment.is_none() && products.is_none() && self.names.values().all(fits) {
            return None;
        }
        let mut names = self.names.clone();
        names.retain(|_, name| fits(name));
        let usage = usage.unwrap_or_else(|| self.usage.clone());
        let deployment = deployment.unwrap_or_else(|| self.deployment.clone());
        let products = products.or_else(|| self.products.clone());
        Some(Self::new(usage, deployment, names).with_products(products))
    }

    /// Chooses the rows that are published: first those below the threshold that `threshold` returns, and of these and of
    /// the others the ones with the most unused licences. Of equal rows, the first by their labels are chosen.
    pub fn choose(&self, limits: Limits, threshold: impl Fn(&CustomerUsage) -> Option<f64>) -> Choice {
        let mut low = 0;
        let mut order = Vec::with_capacity(self.rows().len());
        let mut worst: Vec<Rank> = Vec::new();
        for (at, row) in self.rows().iter().enumerate() {
            let Judgement { threshold, is_low, .. } = limits.judge(row, &threshold);
            low += usize::from(is_low);
            let rank = (Reverse((is_low, row.unused())), at);
            order.push((rank, threshold));
            if row.unused() == 0 {
                continue;
            }
            match worst.last_mut() {
                // The rows of a customer follow each other.
                Some(known) if self.rows()[known.1].customer == row.customer => *known = rank.min(*known),
                _ => worst.push(rank),
            }
        }
        worst.sort_unstable();
        let worst = worst.into_iter().take(WORST).map(|(_, at)| at).collect();
        let withheld = limits.withheld(order.len());
        if withheld > 0 && limits.series > 0 {
            order.select_nth_unstable_by_key(limits.series - 1, |(rank, _)| *rank);
        }
        order.truncate(limits.series);
        let mut rows: Vec<_> = order.into_iter().map(|((_, at), threshold)| (at, threshold)).collect();
        rows.sort_unstable_by_key(|(at, _)| *at);
        let mut customers: Vec<_> =
            rows.iter().map(|(at, _)| Arc::clone(&self.rows()[*at].customer)).collect();
        customers.dedup();
        let of_deployment = self.deployment().iter().enumerate();
        let is_chosen = |row: &CustomerDeployment| customers.binary_search(&row.customer).is_ok();
        let deployment = of_deployment.filter(|(_, row)| is_chosen(row)).map(|(at, _)| at).collect();
        Choice { rows, deployment, customers, withheld, low, worst }
    }
}

/// Checks for property tests and fuzz targets, see fuzz/README.md.
#[cfg(any(test, fuzzing))]
impl Customers {
    /// Panics unless the rows are as documented.
    pub(crate) fn assert_sound(&self) {
        self.usage.assert_sound();
        self.deployment.assert_sound();
        self.products.iter().for_each(Rows::assert_sound);
        assert!(self.names.len() <= self.count, "only customers have names");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customers(rows: Vec<CustomerUsage>) -> Customers {
        let usage = Rows::collect_from(Source::Commercial, rows.into_iter().map(Ok));
        Customers::new(usage, Rows::default(), Names::new())
    }

    /// The customers and workloads that are chosen.
    fn chosen(customers: &Customers, limits: Limits) -> Vec<(String, Option<f64>)> {
        let choice = customers.choose(limits, |row| (&*row.workload != "muted").then_some(40.0));
        assert_eq!(choice.rows.len() + choice.withheld, customers.rows().len());
        let name = |at: usize| {
            let row = &customers.rows()[at];
            format!("{} {}", row.customer, row.workload)
        };
        choice.rows.into_iter().map(|(at, threshold)| (name(at), threshold)).collect()
    }

    #[test]
    fn rows_below_their_threshold_with_the_most_unused_licences_are_chosen_first() {
        let rows = vec![
            CustomerUsage::of("a", "Exchange", 500, 1000),
            CustomerUsage::of("b", "Exchange", 10, 100),
            CustomerUsage::of("c", "Exchange", 20, 300),
            CustomerUsage::of("d", "muted", 0, 9000),
            CustomerUsage::of("e", "Exchange", 0, 24),
            CustomerUsage::of("f", "Exchange", 7, 0),
        ];
        let customers = customers(rows);
        let limits = |series| Limits { series, min_licenses: 25 };
        let name = |name: &str, threshold| (name.to_owned(), threshold);
        assert_eq!(chosen(&customers, limits(0)), []);
        assert_eq!(chosen(&customers, limits(1)), [name("c Exchange", Some(40.0))]);
        let two = [name("b Exchange", Some(40.0)), name("c Exchange", Some(40.0))];
        assert_eq!(chosen(&customers, limits(2)), two);
        let [b, c] = two;
        assert_eq!(chosen(&customers, limits(3)), [b, c, name("d muted", None)]);
        let all = chosen(&customers, limits(6));
        assert_eq!(all[0], name("a Exchange", Some(40.0)));
        assert_eq!(
            all[4..],
            [name("e Exchange", None), name("f Exchange", None)],
            "they have too few licences"
        );
        assert_eq!(customers.choose(limits(0), |_| Some(40.0)).low, 3);
    }

    #[test]
    fn the_worst_customers_are_ten_at_most_each_with_its_worst_row() {
        let many = (0..20).map(|n| CustomerUsage::of(&format!("many {n:02}"), "Exchange", 100 + n, 200));
        let rows = [
            CustomerUsage::of("a", "Exchange", 500, 1000),
            CustomerUsage::of("a", "Teams", 600, 1000),
            CustomerUsage::of("b", "Exchange", 10, 100),
            CustomerUsage::of("b", "Teams", 5, 100),
        ];
        let customers = customers(rows.into_iter().chain(many).collect());
        let choice = customers.choose(Limits { series: 0, min_licenses: 25 }, |_| Some(40.0));
        let worst: Vec<_> = choice.worst.iter().map(|at| &customers.rows()[*at]).collect();
        let shown: Vec<_> = worst.iter().map(|row| format!("{} {}", row.customer, row.workload)).collect();
        assert_eq!(shown[..3], ["b Teams", "a Exchange", "many 00 Exchange"]);
        assert_eq!((shown.len(), &*shown[9]), (10, "many 07 Exchange"));
    }

    #[test]
    fn of_equal_rows_the_same_ones_are_chosen_whatever_their_order() {
        let rows: Vec<_> =
            (0..100).map(|n| CustomerUsage::of(&format!("{n:03}"), "Exchange", 1, 100)).collect();
        let limits = Limits { series: 10, ..Limits::default() };
        let first = chosen(&customers(rows.clone()), limits);
        let expected: Vec<_> = (0..10).map(|n| (format!("{n:03} Exchange"), Some(40.0))).collect();
        assert_eq!(first, expected);
        assert_eq!(chosen(&customers(rows.into_iter().rev().collect()), limits), expected);
    }

    #[test]
    fn customers_are_counted_once_whichever_rows_they_have() {
        let deployment = |customer: &str| CustomerDeployment {
            customer: customer.into(),
            service: "o365".into(),
            channel: "reseller".into(),
            sold: 5,
            deployed: 6,
            processed_at: Timestamp::UNIX_EPOCH,
        };
        let usage = [
            Ok(CustomerUsage::of("a", "Exchange", 1, 2)),
            Ok(CustomerUsage::of("b", "Teams", 1, 2)),
            Err(RowError::MissingLabel),
        ];
        let usage = Rows::collect_from(Source::Commercial, usage);
        let rows = [Ok(deployment("b")), Ok(deployment("c")), Err(RowError::MissingLabel)];
        let rows = Rows::collect_from(Source::Commercial, rows);
        let names = ["a", "d"].map(|id| (Arc::from(id), Arc::from("Contoso")));
        let customers = Customers::new(usage, rows, names.into());
        assert_eq!((customers.rows().len(), customers.count()), (2, 3));
        assert_eq!(customers.rejected()[&RowError::MissingLabel], 2);
        assert_eq!(customers.names().keys().map(|id| &**id).collect::<Vec<_>>(), ["a"]);
        assert_eq!(customers.without_names().names().len(), 0);
    }
}
