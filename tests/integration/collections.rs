//! Several collections of one account, and the two sources of a collection.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use crate::support::exposition::Exposition;
use crate::support::{Exporter, Simulator, account, agent, eventually, get, run, write_config};

const TENANT: &str = "contoso.example";
const USAGE: &str = "partner_license_usage_percent";

/// A configuration of one account that is polled every second, with these collections.
fn config(simulator: &Simulator, collections: &str) -> String {
    let more = format!(", collections: {{ {collections} }}");
    format!("poll_interval: 1s\naccounts:\n{}", account(None, TENANT, &simulator.url, &simulator.url, &more))
}

/// The label sets of the usage percentages.
fn keys(metrics: &Exposition) -> BTreeSet<Vec<(String, String)>> {
    let labels = metrics.named(USAGE).map(|(labels, _)| labels.clone().into_iter().collect());
    labels.collect()
}

fn source(metrics: &Exposition) -> Vec<String> {
    let sources = metrics.named("partner_license_usage_source_info");
    sources.map(|(labels, _)| labels["source"].clone()).collect()
}

#[test]
fn when_the_source_changes_and_changes_back_the_series_of_usage_stay_the_same() {
    let simulator = Simulator::start("rows: portfolio");
    let exporter = Exporter::start(&config(&simulator, ""), &[]);
    exporter.wait_for("the old source", |metrics| (source(metrics) == ["licenses"]).then_some(()));
    let before = exporter.metrics();
    assert_eq!(keys(&before).len(), 14);
    assert_eq!(
        before.named("partner_license_usage_active_licenses").count(),
        0,
        "the old source has no numbers"
    );
    for (scenario, expected, numbers) in [
        ("{rows: portfolio, usage: {answer: not_found}}", "commercial", 14),
        ("{rows: portfolio}", "licenses", 0),
        ("{rows: portfolio, usage: {answer: empty}}", "commercial", 14),
        ("{rows: portfolio}", "licenses", 0),
    ] {
        simulator.scenario(scenario);
        let changed = exporter.wait_for("the other source", |metrics| {
            assert_eq!(keys(metrics), keys(&before), "no series comes, goes or is doubled");
            assert_eq!(metrics.of_usage("partner_license_up", &[]), Some(1.0));
            (source(metrics) == [expected]).then(|| exporter.metrics())
        });
        assert_eq!(changed.named("partner_license_usage_qualified_licenses").count(), numbers, "{scenario}");
    }
    let changes = || exporter.process.stderr.text().matches("The rows come from another source").count();
    eventually("four lines", || (changes() >= 4).then_some(()));
    assert_eq!(changes(), 4, "one line for each change:\n{}", exporter.process.stderr.text());
    assert!(get(&exporter.url).contains("Rows fetched"));
}

#[test]
fn a_collection_that_fails_leaves_the_others_alone() {
    let simulator = Simulator::start("{rows: portfolio, deployment: {answer: server_error, retry_after: 1}}");
    let exporter = Exporter::start(&config(&simulator, "deployment: { enabled: true }"), &[]);
    exporter.wait_for("usage that works and deployment that fails", |metrics| {
        let up = |collection| metrics.value("partner_license_up", &[("collection", collection)]);
        let failures = [("collection", "deployment"), ("reason", "server")];
        let failed = metrics.value("partner_license_scrape_failures_total", &failures)?;
        (up("usage") == Some(1.0) && up("deployment") == Some(0.0) && failed > 0.0).then_some(())
    });
    assert_eq!(keys(&exporter.metrics()).len(), 14);
    let page = get(&exporter.url);
    for text in ["<h3>Usage</h3>", "<h3>Deployment</h3>", "failing"] {
        assert!(page.contains(text), "{text} is missing in {page}");
    }
    simulator.scenario("rows: portfolio");
    exporter.wait_for("deployment", |metrics| {
        let sold = metrics.named("partner_license_deployment_sold_licenses").count();
        let percent = metrics.named("partner_license_deployment_percent").count();
        ((sold, percent) == (4, 4)).then_some(())
    });
}

#[test]
fn a_collection_that_a_reload_turns_on_or_off_costs_the_others_nothing() {
    const DEPLOYMENT: &str = "deployment: { enabled: true }";
    const CUSTOMERS: &str = "customers: { enabled: true, poll_interval: 1s, series: 1000 }";
    let simulator = Simulator::start("rows: portfolio");
    let both = format!("{DEPLOYMENT}, {CUSTOMERS}");
    let exporter = Exporter::start(&config(&simulator, ""), &[]);
    let polls = |metrics: &Exposition, collection: &str| {
        metrics.value("partner_license_scrapes_total", &[("collection", collection)])
    };
    let rows = |metrics: &Exposition| {
        let count = |name| metrics.named(name).count();
        let of_customers = count("partner_license_customer_qualified_licenses");
        [
            ("usage", keys(metrics).len()),
            ("deployment", count("partner_license_deployment_percent")),
            ("customers", of_customers),
        ]
    };
    let mut before = exporter
        .wait_for("three polls", |metrics| (polls(metrics, "usage") >= Some(3.0)).then(|| metrics.clone()));
    for (collections, expected) in [
        (DEPLOYMENT, [14, 4, 0]),
        (&*both, [14, 4, 560]),
        (CUSTOMERS, [14, 0, 560]),
        ("", [14, 0, 0]),
        (&*both, [14, 4, 560]),
        (DEPLOYMENT, [14, 4, 0]),
    ] {
        let stays = |name: &str, expected: usize| expected > 0 && polls(&before, name).is_some();
        write_config(exporter.directory.path(), &config(&simulator, collections));
        assert_eq!(exporter.reload(), 200);
        let after = exporter.wait_for("the collections that are on", |metrics| {
            for ((name, rows), expected) in rows(metrics).into_iter().zip(expected) {
                if stays(name, expected) {
                    assert_eq!(rows, expected, "the rows of {name} stay");
                    assert!(polls(metrics, name) >= polls(&before, name), "the counters of {name} go on");
                }
            }
            let is_as_expected = |((name, rows), expected): ((&str, usize), usize)| {
                rows == expected && polls(metrics, name).is_some() == (expected > 0)
            };
            rows(metrics).into_iter().zip(expected).all(is_as_expected).then(|| metrics.clone())
        });
        before = after;
    }
}

/// The names of all customers of the simulator's portfolio begin with this.
const NAME: &str = "Fictitious ";

/// Everything that the program shows and writes, except its log.
fn shown(exporter: &Exporter) -> Vec<(String, String)> {
    let by_product = ["/customers?by=product", "/customers.csv?by=product"];
    let paths = ["/metrics", "/", "/customers", "/customers.csv"].into_iter().chain(by_product);
    let pages = paths.map(|path| {
        let url = format!("{}{path}", exporter.url);
        let mut answer = agent().get(&url).header("Accept", "*/*").call().unwrap();
        (path.to_owned(), answer.body_mut().read_to_string().unwrap())
    });
    let state = exporter.directory.path().join("state");
    // A file that is being written gets its name in the end.
    let files = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_none_or(|end| end != "new")).map(|path| {
        let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), content)
    });
    pages.into_iter().chain(files).collect()
}

/// Where a customer's name is shown.
fn with_names(exporter: &Exporter) -> Vec<String> {
    let has_name = |(_, text): &(String, String)| text.contains(NAME);
    shown(exporter).into_iter().filter(has_name).map(|(place, _)| place).collect()
}

#[test]
fn names_of_customers_that_are_not_wanted_are_nowhere_even_if_an_earlier_configuration_read_them() {
    let simulator = Simulator::start("rows: portfolio");
    let of = |names: bool| {
        // Customers are polled once, so that what was read before stays.
        let config = config(&simulator, &format!("customers: {{ enabled: true, names: {names} }}"));
        format!("prices: [{{ product: OFFICE 365 PLAN E1, per_month: 9.40, currency: EUR }}]\n{config}")
    };
    let log_level = ["--log.level", "debug"];
    let no_name_in_log = |exporter: &Exporter| {
        let (out, log) = (exporter.process.stdout.text(), exporter.process.stderr.text());
        let line = log.lines().chain(out.lines()).find(|line| line.contains(NAME));
        assert_eq!(line, None, "no log contains a name, whether names are wanted or not");
    };
    let exporter = Exporter::start(&of(true), &log_level);
    let file = eventually("names in the metrics and in the file of the rows", || {
        let places = with_names(&exporter);
        let is_in = |start: &str| places.iter().find(|place| place.starts_with(start)).cloned();
        // The pages by product are among what has names.
        let all = ["/metrics", "/", "/customers?by=product", "/customers.csv?by=product"];
        all.into_iter().try_for_each(|place| is_in(place).map(drop)).and(is_in("customers-"))
    });
    let file = exporter.directory.path().join("state").join(file);
    let saved = fs::read(&file).unwrap();
    write_config(exporter.directory.path(), &of(false));
    assert_eq!(exporter.reload(), 200);
    let count = |metrics: &Exposition| metrics.named("partner_license_customer_qualified_licenses").count();
    assert_eq!(count(&exporter.metrics()), 500, "the rows stay");
    eventually("no name anywhere", || with_names(&exporter).is_empty().then_some(()));
    let products = get(&format!("{}/customers?by=product", exporter.url));
    assert!(products.contains("OFFICE 365 PLAN E1"), "names of products stay: {products}");
    no_name_in_log(&exporter);
    let file_of_config = exporter.directory.path().join("config.yml");
    for by in ["workload", "product"] {
        for format in ["table", "csv", "json"] {
            let flags = ["fetch", "customers", "--by", by, "--format", format, "--config.file"];
            let (code, out, said) = run(&[&flags[..], &[file_of_config.to_str().unwrap()]].concat());
            assert_eq!((code, out.contains(NAME)), (0, false), "{by} {format}: {out}");
            assert!(if format == "csv" { !said.contains(NAME) } else { said.is_empty() }, "{said}");
        }
    }

    // The file with names may come back, for instance from a backup.
    let directory = Arc::clone(&exporter.directory);
    exporter.process.kill();
    fs::write(&file, &saved).unwrap();
    // An earlier start may have set it aside.
    fs::write(file.with_extension("json.set-aside"), &saved).unwrap();
    simulator.scenario("commercial_usage: { answer: server_error, retry_after: 3600 }");
    let again = Exporter::start_in(directory, &of(false), &log_level);
    assert_eq!(count(&again.metrics()), 500, "the rows are restored");
    eventually("no name anywhere after a start", || with_names(&again).is_empty().then_some(()));
    no_name_in_log(&again);

    // Also if customers are no longer polled at all.
    let off = config(&simulator, "customers: { names: false }");
    write_config(again.directory.path(), &off);
    fs::write(&file, &saved).unwrap();
    assert_eq!(again.reload(), 200);
    eventually("no name anywhere without the collection", || with_names(&again).is_empty().then_some(()));
}

/// The published rows of customers: customer and active licences.
fn published(metrics: &Exposition) -> BTreeSet<(String, u64)> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of licences")]
    let row = |(labels, value): (&BTreeMap<String, String>, f64)| (labels["customer"].clone(), value as u64);
    metrics.named("partner_license_customer_active_licenses").map(row).collect()
}

#[test]
fn the_same_customers_are_published_every_day_those_with_most_unused_licences_below_the_threshold_first() {
    const SERIES: usize = 12;
    // Customers with equal numbers are among them, some at the edge of what is published. Others are large and use half
    // of their licences, or have very few.
    let small = (0..40_u64).map(|n| (format!("customer {n:02}"), n % 7 * 5, 20 + n % 5 * 40));
    let large = (0..3).map(|n| (format!("large {n}"), 500, 1000));
    let customers: Vec<(String, u64, u64)> = small.chain(large).collect();
    let mut expected = customers.clone();
    expected.sort_by_key(|(id, active, qualified)| {
        let is_low = *qualified >= 25 && active * 100 < qualified * 40;
        (Reverse(is_low), Reverse(qualified.saturating_sub(*active)), id.clone())
    });
    let unused = |(_, active, qualified): &(String, u64, u64)| qualified.saturating_sub(*active);
    assert_eq!(unused(&expected[SERIES - 1]), unused(&expected[SERIES]), "the edge is between equals");
    let expected: BTreeSet<_> =
        expected.into_iter().take(SERIES).map(|(id, active, _)| (id, active)).collect();
    let scenario = |rows: &[(String, u64, u64)]| {
        let row = |(id, active, qualified): &(String, u64, u64)| {
            format!(
                "{{ customerTenantId: {id}, serviceCode: o365, workloadName: Exchange, channel: reseller, \
                 processedDateTime: '2026-11-20', licensesActive: {active}, licensesQualified: {qualified} }}"
            )
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        format!(
            "{{ page_size: 7, commercial_usage: {{ rows: [{}] }}, commercial_deployment: {{ answer: not_found }} }}",
            rows.join(", ")
        )
    };
    let simulator = Simulator::start(&scenario(&customers));
    let config =
        config(&simulator, &format!("customers: {{ enabled: true, poll_interval: 1s, series: {SERIES} }}"));
    let mut exporter = Exporter::start(&config, &[]);
    let polls =
        |metrics: &Exposition| metrics.value("partner_license_scrapes_total", &[("collection", "customers")]);
    for day in 0..5 {
        let mut order = customers.clone();
        fastrand::shuffle(&mut order);
        simulator.scenario(&scenario(&order));
        let before = polls(&exporter.metrics()).unwrap_or_default();
        // One poll may have begun before the order changed.
        let metrics = exporter
            .wait_for("two polls", |metrics| (polls(metrics) >= Some(before + 2.0)).then(|| metrics.clone()));
        assert_eq!(published(&metrics), expected, "day {day}");
        let withheld = metrics.value("partner_license_customer_rows", &[("state", "withheld")]);
        assert_eq!(withheld, Some(31.0), "day {day}");
        if day == 2 {
            let directory = Arc::clone(&exporter.directory);
            exporter.process.kill();
            exporter = Exporter::start_in(directory, &config, &[]);
            assert_eq!(published(&exporter.metrics()), expected, "after a restart");
        }
    }
}

#[test]
fn the_rows_of_every_collection_are_restored_after_a_restart() {
    let simulator = Simulator::start("{rows: portfolio, usage: {answer: not_found}}");
    let config = config(&simulator, "deployment: { enabled: true }, customers: { enabled: true }");
    let exporter = Exporter::start(&config, &[]);
    let complete = |metrics: &Exposition| {
        let rows = metrics.named("partner_license_deployment_percent").count();
        let of_customers = published(metrics).len();
        (rows == 4 && keys(metrics).len() == 14 && of_customers > 0).then_some(())
    };
    exporter.wait_for("every collection", complete);
    let directory = Arc::clone(&exporter.directory);
    exporter.wait_for_stored_rows(&["usage", "deployment", "customers"]);
    exporter.process.kill();
    simulator.kill();
    let again = Exporter::start_in(directory, &config, &[]);
    let metrics = again.metrics();
    assert_eq!(complete(&metrics), Some(()), "restored before the first scrape");
    assert_eq!(source(&metrics), ["commercial"]);
    assert_eq!(metrics.named("partner_license_usage_active_licenses").count(), 14);
}
