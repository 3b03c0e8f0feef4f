//! Ninety days in which the old source goes and comes back: both sources have the same figures, and the series stay the
//! same.

use std::collections::BTreeMap;

use super::year::{Log, pass};
use super::*;
use crate::polling::Render as _;

/// A day and some time, since some figures of the portfolio are the same at the same time of each day.
const DAY: Duration = Duration::from_secs(86_400 + 107);

/// How the old source can be gone.
const GONE: [&str; 5] = [
    "{answer: not_found}",
    "{status: 410, body: ''}",
    "{answer: empty}",
    "{answer: no_content}",
    "{rows: [{serviceName: o365}]}",
];

/// An exporter of two accounts with the same portfolio: `reference` asks the old source alone, which it always has, and
/// `switching` asks whichever has rows.
struct World {
    bed: TestBed,
    /// The time at the simulator, which stands still while the accounts are polled.
    time: Arc<Mutex<Timestamp>>,
    clock: Clock,
    running: Running,
}

/// The series of one family and account: the other labels, and the value.
type Series = BTreeMap<String, f64>;

impl World {
    async fn new() -> Self {
        let time = Arc::new(Mutex::new(NOW));
        let simulator = Simulator::new(Scenario::parse("rows: portfolio").unwrap(), {
            let time = Arc::clone(&time);
            move || *time.lock().unwrap()
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, simulator.router()).into_future());
        let clock = Clock::from_tokio(NOW);
        let own = Arc::new(OwnMetrics::new(false, &clock));
        let bed = TestBed { directory: tempfile::tempdir().unwrap(), address, simulator, own };
        let account = |name: &str, collections: &str| {
            format!(
                "  - {{name: {name}, tenant_id: {name}.example, client_id: {CLIENT_ID}, client_secret: {CLIENT_SECRET}, \
                 refresh_token: {REFRESH_TOKEN}, cloud: custom, api_base_url: \"http://{address}\", \
                 login_base_url: \"http://{address}\", collections: {{{collections}}}}}\n"
            )
        };
        let config = format!(
            "poll_interval: 20h\nstate_directory: {}\ncollections: {{deployment: {{enabled: true}}}}\naccounts:\n{}{}",
            bed.directory.path().join("state").display(),
            account("reference", "usage: {source: licenses}"),
            account("switching", "customers: {enabled: true, poll_interval: 20h, series: 1000}"),
        );
        fs::write(bed.path(), config).unwrap();
        let running = start(&bed, &clock);
        let world = Self { bed, time, clock, running };
        world.wait_for_polls(&[BTreeMap::new(), BTreeMap::new()]).await;
        world
    }

    /// The number of polls of each collection of both accounts.
    fn polls(&self) -> [BTreeMap<&'static str, u64>; 2] {
        [0, 1].map(|n| {
            let status = self.running.account(n).read();
            status.collections.iter().map(|(name, status)| (name.as_str(), status.polls)).collect()
        })
    }

    /// Waits until each collection has been polled after `before`.
    async fn wait_for_polls(&self, before: &[BTreeMap<&'static str, u64>; 2]) {
        for (n, before) in before.iter().enumerate() {
            let is_polled = |status: &AccountStatus| {
                let polls = |name| before.get(name).copied().unwrap_or_default();
                status.collections.iter().all(|(name, status)| status.polls > polls(name.as_str()))
            };
            wait_for(&self.running.account(n), is_polled).await;
        }
    }

    /// Lets a day pass, from which on the old source of `switching` behaves in this way.
    async fn day(&self, old: &str) {
        let before = self.polls();
        *self.time.lock().unwrap() += DAY;
        let scenario = format!(
            "{{rows: portfolio, tenants: {{switching.example: {{usage: {old}, deployment: {old}}}}}}}"
        );
        self.bed.simulator.set_scenario(Scenario::parse(&scenario).unwrap());
        pass(DAY).await;
        self.wait_for_polls(&before).await;
    }

    async fn restart(self) -> Self {
        let Self { bed, time, clock, running } = self;
        running.stop().await;
        let running = start(&bed, &clock);
        Self { bed, time, clock, running }
    }

    fn metrics(&self) -> Metrics {
        let accounts = Arc::clone(&self.running.accounts.borrow());
        Metrics(accounts.render(self.clock.now()).text(Format::Classic))
    }
}

fn start(bed: &TestBed, clock: &Clock) -> Running {
    let (source, config) = bed.load();
    let (supervisor, reloader) =
        Supervisor::start(source, config, Shard::default(), Arc::clone(&bed.own), clock.clone()).unwrap();
    let (accounts, stop) = (supervisor.accounts(), CancellationToken::new());
    let task = tokio::spawn(supervisor.run(no_environment, || (), stop.clone()));
    Running { accounts, reloader, stop, task }
}

/// All series, in the text format.
struct Metrics(String);

impl Metrics {
    fn of(&self, account: &str, family: &str) -> Series {
        let start = format!("partner_license_{family}{{account=\"{account}\",");
        let series = self.0.lines().filter_map(|line| line.strip_prefix(&start)?.rsplit_once("} "));
        series.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
    }

    /// 100 × the sum of one family of customers ÷ the sum of another, by the labels besides the customer.
    fn shares_of_customers(&self, part: &str, whole: &str) -> Series {
        let sums = |family: &str| {
            let mut sums = Series::new();
            for (labels, value) in self.of("switching", &format!("customer_{family}_licenses")) {
                let (_, labels) = labels.split_once(',').expect("the first label is the customer");
                *sums.entry(labels.to_owned()).or_default() += value;
            }
            sums
        };
        let wholes = sums(whole);
        sums(part)
            .into_iter()
            .map(|(labels, part)| (labels.clone(), 100.0 * part / wholes[&labels]))
            .collect()
    }

    /// Checks what the account has whose source changes, beside the one that has the old source.
    fn check(&self, day: u32, source: &str) {
        let found = self.of("switching", "usage_source_info");
        assert_eq!(found, Series::from([(format!("source=\"{source}\""), 1.0)]), "day {day}");
        let ratio = |part: &str, whole: &str| {
            let wholes = self.of("switching", whole);
            let share = |(labels, part): (String, f64)| (labels.clone(), 100.0 * part / wholes[&labels]);
            self.of("switching", part).into_iter().map(share).collect::<Series>()
        };
        let usage = self.of("reference", "usage_percent");
        let deployment = self.of("reference", "deployment_percent");
        assert_eq!((usage.len(), deployment.len()), (14, 4), "day {day}");
        agree(day, &usage, &self.of("switching", "usage_percent"));
        agree(day, &deployment, &self.of("switching", "deployment_percent"));
        agree(day, &usage, &self.shares_of_customers("active", "qualified"));
        agree(day, &deployment, &self.shares_of_customers("deployed", "sold"));
        let sold = "deployment_sold_licenses";
        assert_eq!(self.of("switching", sold), self.of("reference", sold), "day {day}");
        let (counted, deployed) = (
            ratio("usage_active_licenses", "usage_qualified_licenses"),
            ratio("deployment_deployed_licenses", sold),
        );
        if source == "commercial" {
            agree(day, &usage, &counted);
            agree(day, &deployment, &deployed);
        } else {
            assert_eq!(
                (counted, deployed),
                (Series::new(), Series::new()),
                "day {day}: only the successor counts"
            );
        }
    }
}

/// Asserts that two families have the same series, and the same values to a hundredth of a point.
fn agree(day: u32, expected: &Series, found: &Series) {
    assert!(expected.keys().eq(found.keys()), "day {day}: {expected:?} and {found:?}");
    for (labels, expected) in expected {
        let found = found[labels];
        assert!((expected - found).abs() <= 0.01, "day {day}: {labels}: {expected} and {found}");
    }
}

#[tokio::test]
async fn usage_is_the_same_from_both_sources_on_ninety_days_and_so_are_its_series() {
    let mut world = World::new().await;
    let log = Log::default();
    let _listening = log.listen();
    let keys =
        |metrics: &Metrics| -> Vec<String> { metrics.of("switching", "usage_percent").into_keys().collect() };
    let first = world.metrics();
    first.check(0, "licenses");
    let (mut changes, mut before, mut values) = (0, "licenses", first.of("switching", "usage_percent"));
    for day in 1..=90 {
        // Five days with the old source, and five without it.
        let phase = day / 5;
        let (old, source) = match phase % 2 {
            0 => ("{}", "licenses"),
            _ => (GONE[phase as usize / 2 % GONE.len()], "commercial"),
        };
        world.day(old).await;
        let metrics = world.metrics();
        metrics.check(day, source);
        assert_eq!(keys(&metrics), keys(&first), "day {day}: no series comes or goes");
        let new = metrics.of("switching", "usage_percent");
        assert_ne!(new, values, "day {day} has figures of its own");
        changes += u32::from(source != before);
        (before, values) = (source, new);
        if day % 15 == 2 {
            world = world.restart().await;
            let restored = world.metrics();
            assert_eq!(restored.of("switching", "usage_percent"), values, "day {day}: restored");
            restored.check(day, source);
        }
    }
    assert_eq!(changes, 18, "the source changes in both directions");
    let failures = world.metrics().0;
    let failed = failures
        .lines()
        .find(|line| line.starts_with("partner_license_scrape_failures_total") && !line.ends_with(" 0"));
    assert_eq!(failed, None);
    let told =
        log.take().into_iter().filter(|(_, text)| text.starts_with("The rows come from another source"));
    assert_eq!(told.count(), 2 * 18, "one line for each change of usage and of deployment");
    world.running.stop().await;
}
