//! Several processes that divide the accounts, beside one that has them all.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use serde_json::Value;

use crate::support::exposition::Series;
use crate::support::real::{Prometheus, root, with_short_waits};
use crate::support::{Exporter, Simulator, account, eventually};

/// The accounts, and the shards that they belong to if there are two.
const ACCOUNTS: [(&str, usize); 6] =
    [("contoso", 0), ("a", 1), ("fabrikam", 0), ("b", 1), ("new", 0), ("leaving", 1)];
/// The families of rows, whose values are the same in every process.
const ROWS: [&str; 4] = [
    "partner_license_usage_percent",
    "partner_license_usage_threshold_percent",
    "partner_license_deployment_sold_licenses",
    "partner_license_customer_qualified_licenses",
];

/// Checks that two shards with two replicas each serve what one process does, that rules and dashboards make the same of
/// both, and that accounts which move to a third shard find their tokens.
pub(crate) fn are_as_one_process(suite: &'static str) {
    let simulator = Simulator::start("");
    let collections = ", collections: { deployment: { enabled: true }, customers: { enabled: true } }";
    let accounts: String = ACCOUNTS
        .iter()
        .map(|(name, _)| {
            account(Some(name), &format!("{name}.example"), &simulator.url, &simulator.url, collections)
        })
        .collect();
    let config = format!("accounts:\n{accounts}");
    let whole = Exporter::start(&config, &[]);
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let start = |number: usize, total: usize, config: &str| {
        let flags = [format!("--shard={number}"), format!("--total-shards={total}")];
        Exporter::start_in(Arc::clone(&directory), config, &flags.each_ref().map(String::as_str))
    };
    let shards: Vec<(usize, Exporter)> =
        [0, 1, 0, 1].map(|number| (number, start(number, 2, &config))).into();
    for (_, exporter) in &shards {
        // One that has found the rows of another replica would not poll at once.
        assert_eq!(exporter.reload(), 200);
    }

    let all = rows(&whole);
    assert_eq!(accounts_of(&all), ACCOUNTS.map(|(name, _)| name.to_owned()).into());
    for (number, exporter) in &shards {
        let of_shard = |series: &Series| ACCOUNTS.contains(&(series.1["account"].as_str(), *number));
        let expected: BTreeMap<_, _> =
            all.clone().into_iter().filter(|(series, _)| of_shard(series)).collect();
        let found = rows(exporter);
        let missing = expected.iter().find(|(series, value)| found.get(*series) != Some(*value));
        assert_eq!((found.len(), missing), (expected.len(), None), "rows of shard {number}");
        // Every other series of its accounts is there as well.
        let names = |exporter: &Exporter| -> BTreeSet<Series> {
            let series = exporter.metrics().0.into_keys().filter(|it| it.1.contains_key("account"));
            let is_traffic = |it: &Series| it.0.contains("_api_");
            series.filter(|it| of_shard(it) && !is_traffic(it)).collect()
        };
        assert_eq!(names(exporter), names(&whole), "shard {number}");
    }

    let replicas: Vec<&Exporter> = shards.iter().map(|(_, exporter)| exporter).collect();
    let (divided, one) = (scrape(suite, &replicas), scrape(suite, &[&whole]));
    let queries = queries();
    eventually("the rules have recorded every row", || {
        let recorded = |it: &Prometheus| it.query("row:partner_license_usage_percent:headroom").len();
        let expected = all.keys().filter(|it| it.0 == ROWS[1]).count();
        (recorded(&divided) == expected && recorded(&one) == expected).then_some(())
    });
    let mut with_data = 0;
    for query in &queries {
        let mut last = None;
        eventually(&format!("the same result of {query}"), || {
            last = Some((divided.query(query), one.query(query)));
            last.as_ref().is_some_and(|(divided, one)| divided == one).then_some(())
        });
        with_data += usize::from(last.is_some_and(|(result, _)| !result.is_empty()));
    }
    assert!(with_data > 20, "only {with_data} of {} queries have a result", queries.len());

    // With a third shard accounts move. They find their tokens in the state directory, and no first token is needed.
    drop((divided, one));
    drop(shards);
    let token = format!(" refresh_token: {},", partner_center_simulator::REFRESH_TOKEN);
    let without_token = config.replace(&token, "");
    assert_ne!(without_token, config);
    let before = simulator.count("usage");
    let shards = [0, 1, 2].map(|number| start(number, 3, &without_token));
    let mut found = BTreeSet::new();
    for exporter in &shards {
        assert_eq!(exporter.reload(), 200);
        let polled = exporter.wait_for("a poll of each account", |metrics| {
            let up = |name: &&str| metrics.of_usage("partner_license_up", &[("account", name)]);
            let of_shard: Vec<_> =
                ACCOUNTS.iter().map(|(name, _)| *name).filter(|name| up(name).is_some()).collect();
            of_shard.iter().all(|name| up(name) == Some(1.0)).then_some(of_shard)
        });
        for name in polled {
            assert!(found.insert(name), "{name} is in two shards");
        }
    }
    assert_eq!(found.len(), ACCOUNTS.len());
    assert!(accounts_of(&rows(&shards[2])).len() < ACCOUNTS.len());
    eventually("polls with the stored tokens", || {
        (simulator.count("usage") >= before + ACCOUNTS.len() as u64).then_some(())
    });
}

/// The rows of an exporter that has polled all collections of its accounts.
fn rows(exporter: &Exporter) -> BTreeMap<Series, f64> {
    exporter.wait_for("polls of all collections", |metrics| {
        let polls: Vec<_> = metrics.named("partner_license_scrapes_total").map(|(_, value)| value).collect();
        (!polls.is_empty() && polls.iter().all(|value| *value >= 1.0)).then_some(())
    });
    let metrics = exporter.metrics();
    metrics.0.into_iter().filter(|((name, _), _)| ROWS.contains(&name.as_str())).collect()
}

fn accounts_of(rows: &BTreeMap<Series, f64>) -> BTreeSet<String> {
    rows.keys().map(|(_, labels)| labels["account"].clone()).collect()
}

/// Starts Prometheus with the shipped rules, which it evaluates every second, on these exporters.
fn scrape(suite: &str, exporters: &[&Exporter]) -> Prometheus {
    let shipped = fs::read_to_string(root().join("alerts/partner-license.rules.yml")).unwrap();
    let rules = exporters[0].directory.path().join("rules.yml");
    fs::write(&rules, with_short_waits(&shipped, &["interval"])).unwrap();
    let targets: Vec<&str> =
        exporters.iter().map(|exporter| exporter.url.trim_start_matches("http://")).collect();
    let config = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [ {} ]\n\
         scrape_configs: [{{ job_name: any, honor_labels: true, static_configs: [{{ targets: {targets:?} }}] }}]\n",
        rules.display(),
    );
    Prometheus::start(suite, &config)
}

/// What the rules record and what the dashboards for people who look after licences ask for, unless it depends on the
/// time of the query or of a poll.
fn queries() -> Vec<String> {
    let mut found = vec![r#"{__name__=~"row:.+",__name__!~".*:age"}"#.to_owned(), "sum(ALERTS)".to_owned()];
    for name in ["overview", "detail", "customers"] {
        let file = root().join(format!("dashboards/partner-license-{name}.json"));
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        collect(&dashboard["panels"], &mut found);
    }
    let variables = ["account", "service", "workload", "channel", "customer_name", "customer"];
    let mut queries: Vec<String> = found
        .into_iter()
        .map(|query| {
            let query = query.replace("$__range", "10m").replace("$__rate_interval", "10m");
            variables.iter().fold(query, |query, name| query.replace(&format!("${name}"), ".*"))
        })
        .filter(|query| {
            !["time()", "timestamp(", "ALERTS_FOR_STATE", "$", "_over_time", "1000 * topk"]
                .iter()
                .any(|it| query.contains(it))
        })
        .collect();
    queries.sort();
    queries.dedup();
    queries
}

/// Collects the queries of panels and of the panels in their rows.
fn collect(panels: &Value, queries: &mut Vec<String>) {
    for panel in panels.as_array().into_iter().flatten() {
        let targets = panel["targets"].as_array().into_iter().flatten();
        queries.extend(targets.filter_map(|target| Some(target["expr"].as_str()?.to_owned())));
        collect(&panel["panels"], queries);
    }
}
