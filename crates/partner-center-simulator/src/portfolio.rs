//! A fictitious partner: its customers, their products and licences, and how the counts change over time.
//!
//! The counts of the customers and the totals of the partner are one model: a total is known without visiting the
//! customers, and the customers' counts always add up to it. It does not know how an endpoint writes the counts.

use std::borrow::Cow;
use std::f64::consts::TAU;

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::{Builder, fmt::Hyphenated};

/// How many customers the fictitious partner has, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Customers {
    /// The number of customers.
    #[serde(deserialize_with = "up_to::<1_000_000, _>")]
    pub count: u32,
    /// The number of products per service that each customer has.
    #[serde(deserialize_with = "up_to::<1000, _>")]
    pub products: u32,
    /// The number of the portfolio's workloads, counted once per service and channel, that each customer has.
    #[serde(deserialize_with = "up_to::<ALL_WORKLOADS, _>")]
    pub workloads: u32,
    /// What the ids, names and sizes of the customers are derived from.
    pub seed: u64,
}

fn up_to<'de, const MAX: u32, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = u32::deserialize(deserializer)?;
    let expected = format!("a number from 1 to {MAX}");
    let wrong = || D::Error::invalid_value(Unexpected::Unsigned(number.into()), &&*expected);
    (1..=MAX).contains(&number).then_some(number).ok_or_else(wrong)
}

impl Default for Customers {
    fn default() -> Self {
        Self { count: 40, products: 2, workloads: ALL_WORKLOADS, seed: 7 }
    }
}

/// Licences of which a percentage, which oscillates around a mean, is used.
pub(crate) struct Curve {
    pub(crate) service: &'static str,
    pub(crate) channel: &'static str,
    /// The workload; empty where the licences are those of the whole service.
    pub(crate) workload: &'static str,
    mean: f64,
    amplitude: f64,
    /// In minutes for the current counts, and in days for those of the past.
    period: f64,
    /// The average number of licences of a customer.
    licenses: u32,
}

const fn curve(
    names: (&'static str, &'static str, &'static str),
    (mean, amplitude, period): (f64, f64, f64),
    licenses: u32,
) -> Curve {
    let (service, channel, workload) = names;
    Curve { service, channel, workload, mean, amplitude, period, licenses }
}

const ALL_WORKLOADS: u32 = 14;

/// One row falls below 40 for a part of every five minutes, one stays far below 40, and one stays above 100.
pub(crate) const WORKLOADS: [Curve; ALL_WORKLOADS as usize] = [
    curve(("o365", "reseller", "Exchange"), (91.5, 2.4, 17.0), 150),
    curve(("o365", "reseller", "SharePoint"), (68.0, 5.5, 13.0), 144),
    curve(("o365", "reseller", "OneDrive"), (74.2, 4.1, 19.0), 144),
    curve(("o365", "reseller", "Teams"), (82.7, 6.3, 11.0), 147),
    curve(("o365", "reseller", "Skype For Business"), (9.4, 2.2, 23.0), 60),
    curve(("o365", "reseller", "Yammer"), (106.8, 3.9, 15.0), 90),
    curve(("o365", "reseller", "Viva Insights"), (48.0, 14.0, 5.0), 75),
    curve(("o365", "direct", "Exchange"), (88.1, 1.8, 21.0), 50),
    curve(("o365", "direct", "SharePoint"), (59.3, 4.7, 9.0), 46),
    curve(("o365", "direct", "OneDrive"), (63.9, 3.2, 16.0), 46),
    curve(("o365", "direct", "Teams"), (77.6, 7.5, 14.0), 48),
    curve(("crm", "reseller", "Microsoft Dynamics CRM"), (57.4, 6.8, 18.0), 40),
    curve(("crm", "reseller", "SharePoint"), (51.2, 3.6, 12.0), 36),
    curve(("crm", "direct", "Microsoft Dynamics CRM"), (65.5, 5.0, 20.0), 24),
];

/// The licences that were sold and deployed, which are more than qualify for any single workload.
pub(crate) const SERVICES: [Curve; 4] = [
    curve(("o365", "reseller", ""), (92.4, 1.1, 16.0), 165),
    curve(("o365", "direct", ""), (94.1, 0.9, 19.0), 54),
    curve(("crm", "reseller", ""), (93.0, 1.6, 11.0), 45),
    curve(("crm", "direct", ""), (95.2, 1.2, 14.0), 26),
];

/// How many licences there are, and how many of them are used or deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) total: u32,
    pub(crate) used: u32,
}

impl Counts {
    /// The percentage that is used, with two decimals.
    pub(crate) fn percent(self) -> f64 {
        (f64::from(self.used) * 10_000.0 / f64::from(self.total)).round() / 100.0
    }
}

/// The fictitious partner at one time.
#[derive(Clone, Copy)]
pub(crate) struct Portfolio {
    customers: Customers,
    now: Timestamp,
    /// The day in the past that is asked for, instead of the latest counts.
    day: Option<Date>,
    /// The latest days that were processed, for Dynamics and for Office.
    latest: [Date; 2],
}

/// The licences of one curve, and whose they are.
pub(crate) struct Holding<'a> {
    portfolio: &'a Portfolio,
    pub(crate) curve: &'static Curve,
    /// The customer and its product; absent for the total of the partner.
    product: Option<(u32, u32)>,
    pub(crate) counts: Counts,
}

/// A part of a whole that is cut at a position; the end of a scale is `end`.
#[derive(Clone, Copy)]
struct Cut {
    at: u128,
    end: u128,
}

/// What a number is drawn for, so that different draws are independent.
const SIZE: u64 = 1;
const PRODUCT: u64 = 2;
const EXCHANGE: u64 = 3;
const NAME: u64 = 4;
const CUSTOMER_ID: u64 = 5;
const PRODUCT_ID: u64 = 6;

impl Portfolio {
    pub(crate) fn new(customers: Customers, now: Timestamp, day: Option<Date>) -> Self {
        let days_ago =
            |days: i64| (now - SignedDuration::from_hours(24 * days)).to_zoned(TimeZone::UTC).date();
        Self { customers, now, day, latest: [5, 2].map(days_ago) }
    }

    /// The curves that had been processed at this time.
    pub(crate) fn processed(&self, curves: &'static [Curve]) -> Vec<&'static Curve> {
        let workloads = WORKLOADS.iter().take(self.customers.workloads as usize);
        let is_sold = |curve: &&Curve| workloads.clone().any(|workload| workload.is_part_of(curve));
        let is_there = |curve: &&Curve| self.day.is_none_or(|day| day <= self.latest_day(curve));
        curves.iter().filter(is_sold).filter(is_there).collect()
    }

    /// The day of the curve's counts.
    pub(crate) fn day(&self, curve: &Curve) -> Date {
        self.day.unwrap_or_else(|| self.latest_day(curve))
    }

    fn latest_day(&self, curve: &Curve) -> Date {
        let [crm, other] = self.latest;
        if curve.service == "crm" { crm } else { other }
    }

    /// How many days before today the day is that is asked for.
    pub(crate) fn age_in_days(&self) -> i64 {
        let seconds =
            |day: Date| day.to_zoned(TimeZone::UTC).map_or(0, |midnight| midnight.timestamp().as_second());
        self.day.map_or(0, |day| (self.now.as_second() - seconds(day)) / 86_400)
    }

    /// The counts of the whole partner.
    pub(crate) fn total(&self, curve: &'static Curve) -> Holding<'_> {
        Holding { portfolio: self, curve, product: None, counts: self.total_counts(curve) }
    }

    /// The number of rows of the customers.
    pub(crate) fn rows(&self, curves: &[&Curve]) -> u64 {
        let Customers { count, products, .. } = self.customers;
        u64::from(count) * u64::from(products) * curves.len() as u64
    }

    /// The row at a position, in the order of customers, products and curves.
    pub(crate) fn row(&self, curves: &[&'static Curve], position: u64) -> Holding<'_> {
        let (width, products) = (curves.len() as u64, u64::from(self.customers.products));
        let narrow = |number: u64| u32::try_from(number).expect("a position has a customer and a product");
        let (customer, product) = (narrow(position / width / products), narrow(position / width % products));
        let curve = curves[usize::try_from(position % width).expect("a remainder of a length is an index")];
        let counts = self.product_counts(curve, customer, product);
        Holding { portfolio: self, curve, product: Some((customer, product)), counts }
    }

    fn total_counts(&self, curve: &Curve) -> Counts {
        let time = match self.day {
            None => self.now.as_duration().as_secs_f64() / 60.0,
            Some(day) => f64::from((day - Date::constant(1970, 1, 1)).get_days()),
        };
        let percent = curve.mean + curve.amplitude * ((time / curve.period).fract() * TAU).sin();
        let total = self.customers.count * curve.licenses;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "far below 2^32, and positive"
        )]
        let used = (f64::from(total) * percent / 100.0).round() as u32;
        Counts { total, used }
    }

    /// The counts of a customer.
    ///
    /// Customers are taken in pairs, of which one uses more than the average and the other less, so that the sum of the
    /// customers before a pair needs no loop.
    fn customer_counts(&self, curve: &Curve, customer: u32) -> Counts {
        let Counts { total, used } = self.total_counts(curve);
        let first = customer & !1;
        let [start, middle, end] = [0, 1, 2].map(|step| self.customers_before(first + step).of(total));
        let used_of_pair = share(used, end, total) - share(used, start, total);
        // Where more is used than there is, no customer is far above that average.
        let limit = |licenses: u32| licenses.max(share(licenses, used, total).saturating_mul(11) / 10);
        let most = if end == middle { used_of_pair } else { used_of_pair.min(limit(middle - start)) };
        let least = used_of_pair.saturating_sub(limit(end - middle)).min(most);
        let drawn = self.draw(EXCHANGE, curve.mean.to_bits(), first.into());
        let used_of_first = least + share(most - least, drawn.into(), 1 << 16);
        if customer == first {
            Counts { total: middle - start, used: used_of_first }
        } else {
            Counts { total: end - middle, used: used_of_pair - used_of_first }
        }
    }

    fn product_counts(&self, curve: &Curve, customer: u32, product: u32) -> Counts {
        let Counts { total, used } = self.customer_counts(curve, customer);
        let [start, end] = [0, 1].map(|step| self.products_before(customer, product + step).of(total));
        Counts { total: end - start, used: share(used, end, total) - share(used, start, total) }
    }

    /// Where the licences of a customer start; the first customers are the largest.
    fn customers_before(&self, customer: u32) -> Cut {
        let Cut { at, end } = self.cut(SIZE, 0, customer, self.customers.count);
        Cut { at: end * end - (end - at) * (end - at), end: end * end }
    }

    fn products_before(&self, customer: u32, product: u32) -> Cut {
        self.cut(PRODUCT, customer.into(), product, self.customers.products)
    }

    /// Where one of several parts of random size starts.
    fn cut(&self, purpose: u64, of: u64, part: u32, parts: u32) -> Cut {
        let part = part.min(parts);
        let moved = if part == 0 || part == parts { 0 } else { self.draw(purpose, of, part.into()) };
        Cut { at: u128::from(part) << 16 | u128::from(moved), end: u128::from(parts) << 16 }
    }

    fn draw(&self, purpose: u64, of: u64, number: u64) -> u16 {
        let [.., high, low] = self.random(purpose, of, number).to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    /// A number that looks random and depends on nothing but the seed and the arguments.
    fn random(&self, purpose: u64, of: u64, number: u64) -> u64 {
        [purpose, of, number].into_iter().fold(mixed(self.customers.seed), |hash, part| mixed(hash ^ part))
    }

    fn guid(&self, purpose: u64, of: u64, number: u64) -> String {
        let halves = [0, 1].map(|half| self.random(purpose, of, number << 1 | half).to_be_bytes());
        let bytes = halves.concat().try_into().expect("two halves of eight bytes are sixteen");
        let mut text = [0; Hyphenated::LENGTH];
        // As in Microsoft's samples.
        Builder::from_random_bytes(bytes).into_uuid().hyphenated().encode_upper(&mut text).to_owned()
    }

    fn customer_name(&self, customer: u32) -> String {
        const FIRST: [&str; 8] = ["Bra", "Dro", "Flo", "Gri", "Klu", "Pla", "Sno", "Tra"];
        const SECOND: [&str; 8] = ["bin", "dol", "fex", "gur", "lop", "mim", "tok", "zap"];
        const TRADES: [&str; 8] =
            ["Bakery", "Brewery", "Foundry", "Logistics", "Nursery", "Optics", "Pottery", "Sawmill"];
        let bytes = self.random(NAME, 0, customer.into()).to_be_bytes();
        let [first, second, trade] = [(FIRST, bytes[0]), (SECOND, bytes[1]), (TRADES, bytes[2])]
            .map(|(words, byte)| words[usize::from(byte % 8)]);
        format!("Fictitious {first}{second} {trade} {}", customer + 1)
    }
}

impl Holding<'_> {
    /// The property of the row with this name on the wire, if it is a text that the row has.
    pub(crate) fn text(&self, property: &str) -> Option<Cow<'static, str>> {
        let Curve { service, channel, workload, .. } = *self.curve;
        Some(match property {
            "processedDateTime" => format!("{}T00:00:00", self.portfolio.day(self.curve)).into(),
            "workloadCode" if !workload.is_empty() => workload_code(workload).into(),
            "workloadName" if !workload.is_empty() => workload.into(),
            "serviceCode" => service.into(),
            "serviceName" => {
                if service == "crm" { "Microsoft Dynamics" } else { "Microsoft Office 365" }.into()
            }
            "channel" => channel.into(),
            "customerTenantId" => self.portfolio.guid(CUSTOMER_ID, 0, self.product?.0.into()).into(),
            "customerName" => self.portfolio.customer_name(self.product?.0).into(),
            "productId" => {
                self.portfolio.guid(PRODUCT_ID, u64::from(service == "crm"), self.product?.1.into()).into()
            }
            "productName" => product_name(service, self.product?.1).into(),
            _ => return None,
        })
    }
}

impl Curve {
    /// Whether this is the same curve, or one of its service and channel.
    fn is_part_of(&self, other: &Self) -> bool {
        (self.service, self.channel) == (other.service, other.channel)
            && [self.workload, ""].contains(&other.workload)
    }
}

impl Cut {
    fn of(self, whole: u32) -> u32 {
        u32::try_from(u128::from(whole) * self.at / self.end).expect("a part is not more than the whole")
    }
}

/// `count × part ÷ whole`, where `part` is at most a few times `whole`; nothing of nothing is nothing.
fn share(count: u32, part: u32, whole: u32) -> u32 {
    let share = u64::from(count) * u64::from(part) / u64::from(whole.max(1));
    u32::try_from(share).expect("counts are far below 2^32")
}

/// The finaliser of the generator `SplitMix64`.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

fn workload_code(workload: &str) -> &'static str {
    match workload {
        "Exchange" => "EXO",
        "SharePoint" => "SPO",
        "OneDrive" => "ODB",
        "Teams" => "TEAMS",
        "Skype For Business" => "SFB",
        "Yammer" => "YAM",
        "Viva Insights" => "VIVA",
        _ => "CRM",
    }
}

fn product_name(service: &str, product: u32) -> String {
    let edition = product + 1;
    if service == "crm" {
        format!("DYNAMICS 365 PLAN {edition}")
    } else {
        format!("OFFICE 365 PLAN E{edition}")
    }
}

#[cfg(test)]
mod tests;
