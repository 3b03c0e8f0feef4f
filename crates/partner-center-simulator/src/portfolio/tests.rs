//! Tests that the counts of the customers and the totals of the partner are one model.

use std::collections::BTreeSet;

use super::*;

const NOW: Timestamp = Timestamp::constant(1_795_410_800, 0);

fn customers(count: u32, products: u32) -> Customers {
    Customers { count, products, ..Customers::default() }
}

fn all_rows<'a>(portfolio: &'a Portfolio, curves: &[&'static Curve]) -> Vec<Holding<'a>> {
    (0..portfolio.rows(curves)).map(|position| portfolio.row(curves, position)).collect()
}

fn sum<'a>(rows: impl IntoIterator<Item = &'a Holding<'a>>) -> Counts {
    let mut sum = Counts { total: 0, used: 0 };
    for Holding { counts, .. } in rows {
        sum = Counts { total: sum.total + counts.total, used: sum.used + counts.used };
    }
    sum
}

#[test]
fn the_rows_of_the_customers_add_up_to_the_total_of_every_curve() {
    for (count, products) in [(1, 1), (2, 1), (3, 7), (40, 2), (41, 3), (1000, 1)] {
        for seed in [0, 7, u64::MAX] {
            for curves in [&WORKLOADS[..], &SERVICES[..]] {
                for curve in curves {
                    let customers = Customers { seed, ..customers(count, products) };
                    for day in [None, Some(Date::constant(2026, 9, 1))] {
                        let portfolio = Portfolio::new(customers, NOW, day);
                        let total = portfolio.total(curve).counts;
                        assert_eq!(sum(&all_rows(&portfolio, &[curve])), total, "{customers:?}, {day:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn no_customer_uses_much_more_than_it_has_unless_the_average_does() {
    let portfolio = Portfolio::new(customers(500, 1), NOW, None);
    for curve in WORKLOADS.iter().chain(&SERVICES) {
        let total = portfolio.total(curve).counts;
        let limit = f64::max(1.0, 1.1 * f64::from(total.used) / f64::from(total.total));
        for row in all_rows(&portfolio, &[curve]) {
            let Counts { total, used } = row.counts;
            assert!(
                f64::from(used) <= f64::from(total) * limit + 2.0,
                "{used} of {total}, {}",
                curve.workload
            );
        }
    }
}

#[test]
fn the_licences_that_a_customer_bought_are_enough_for_each_of_its_workloads() {
    let portfolio = Portfolio::new(customers(100, 3), NOW, None);
    for service in &SERVICES {
        let sold = all_rows(&portfolio, &[service]);
        let deployed = portfolio.total(service).counts.used;
        for workload in WORKLOADS.iter().filter(|workload| workload.is_part_of(service)) {
            assert!(portfolio.total(workload).counts.total <= deployed, "{}", workload.workload);
            for (sold, qualified) in sold.iter().zip(all_rows(&portfolio, &[workload])) {
                assert!(qualified.counts.total <= sold.counts.total + 1);
            }
        }
    }
}

#[test]
fn customers_differ_in_size_and_in_how_much_they_use() {
    let portfolio = Portfolio::new(customers(40, 1), NOW, None);
    let rows = all_rows(&portfolio, &[&WORKLOADS[1]]);
    let sizes: BTreeSet<_> = rows.iter().map(|row| row.counts.total).collect();
    assert!(sizes.len() > 20 && sizes.first() < Some(&25) && sizes.last() > Some(&200), "{sizes:?}");
    let [low, high] = [|percent| percent < 50.0, |percent| percent > 80.0]
        .map(|is: fn(f64) -> bool| rows.iter().filter(|row| is(row.counts.percent())).count());
    assert!(low > 3 && high > 3, "{low} low, {high} high");
}

#[test]
fn every_customer_and_product_has_its_own_id_and_name_that_the_seed_determines() {
    let texts = |seed, property| -> Vec<String> {
        let portfolio = Portfolio::new(Customers { seed, ..customers(300, 2) }, NOW, None);
        let rows = all_rows(&portfolio, &[&WORKLOADS[0], &WORKLOADS[11]]);
        rows.iter().map(|row| row.text(property).unwrap().into_owned()).collect()
    };
    for (property, different) in
        [("customerTenantId", 300), ("customerName", 300), ("productId", 4), ("productName", 4)]
    {
        let distinct: BTreeSet<_> = texts(7, property).into_iter().collect();
        assert_eq!(distinct.len(), different, "{property}");
        assert_eq!(texts(7, property), texts(7, property));
        assert_eq!(texts(7, property) == texts(8, property), property == "productName");
    }
    assert!(texts(7, "customerName").iter().all(|name| name.starts_with("Fictitious ")));
    for id in texts(7, "customerTenantId") {
        assert!(id.parse::<uuid::Uuid>().is_ok() && id == id.to_uppercase(), "{id}");
    }
}

#[test]
fn a_day_in_the_past_has_the_same_counts_whenever_it_is_asked_for() {
    let day = Some(Date::constant(2026, 11, 1));
    let later = NOW + SignedDuration::from_hours(75);
    for curve in &WORKLOADS {
        let [one, other] = [NOW, later].map(|now| {
            let portfolio = Portfolio::new(customers(40, 2), now, day);
            all_rows(&portfolio, &[curve]).iter().map(|row| row.counts).collect::<Vec<_>>()
        });
        assert_eq!(one, other);
    }
}

#[test]
fn the_past_changes_from_day_to_day_without_jumps() {
    for curve in &WORKLOADS {
        let percents: Vec<f64> = (1..=60)
            .map(|day| Date::constant(2026, 8, 31) + jiff::Span::new().days(day))
            .map(|day| Portfolio::new(customers(40, 2), NOW, Some(day)).total(curve).counts.percent())
            .collect();
        let distinct: BTreeSet<_> = percents.iter().map(|percent| percent.to_bits()).collect();
        assert!(distinct.len() >= 5, "{percents:?}");
        let step = curve.amplitude * TAU / curve.period + 0.2;
        assert!(percents.windows(2).all(|pair| (pair[1] - pair[0]).abs() < step), "{percents:?}");
    }
}

#[test]
fn a_service_whose_day_is_not_yet_processed_has_no_curves() {
    let processed = |day: &str| {
        let day = Some(day.parse().unwrap());
        let portfolio = Portfolio::new(customers(40, 2), NOW, day);
        (portfolio.processed(&WORKLOADS).len(), portfolio.processed(&SERVICES).len())
    };
    assert_eq!(processed("2026-11-18"), (14, 4));
    assert_eq!(processed("2026-11-19"), (11, 2));
    assert_eq!(processed("2026-11-21"), (11, 2));
    assert_eq!(processed("2026-11-22"), (0, 0));
}

#[test]
fn fewer_workloads_are_the_first_ones_and_the_services_that_they_belong_to() {
    let portfolio = Portfolio::new(Customers { workloads: 10, ..customers(10_000, 10) }, NOW, None);
    let curves = portfolio.processed(&WORKLOADS);
    assert_eq!((curves.len(), portfolio.processed(&SERVICES).len()), (10, 2));
    assert_eq!(portfolio.rows(&curves), 1_000_000);
    let last = portfolio.row(&curves, 999_999);
    assert_eq!(
        (last.product, last.curve.channel, last.curve.workload),
        (Some((9999, 9)), "direct", "OneDrive")
    );
}

#[test]
fn the_largest_partner_has_counts_that_are_in_range() {
    let customers = Customers { count: 1_000_000, products: 1000, workloads: 14, seed: 0 };
    let portfolio = Portfolio::new(customers, NOW, None);
    let curves = portfolio.processed(&WORKLOADS);
    let last = portfolio.rows(&curves) - 1;
    assert_eq!(last + 1, 14_000_000_000);
    for position in [0, last / 2, last] {
        let row = portfolio.row(&curves, position);
        assert!(row.counts.total < 1000 && row.text("customerTenantId").is_some());
    }
}
