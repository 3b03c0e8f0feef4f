//! Real accounts poll the simulator, and reloads read a real file.

use std::fs;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use jiff::Timestamp;
use rustix::fs::inotify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::ServiceExt;

use super::*;
use crate::config::ConfigError;
use crate::domain::collection::Collection;
use crate::domain::status::{AccountStatus, Code, Endpoint, Ledger};
use crate::partner::StoreError;
use exporter_toolkit::negotiation::Format;
use partner_center_simulator::{CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, Scenario, Simulator};

mod sources;
mod year;

const NOW: Timestamp = Timestamp::constant(1_795_410_800, 0);
const SOON: Duration = Duration::from_secs(30);

fn no_environment(_: &str) -> Option<String> {
    None
}

/// A configuration file and the simulator that its accounts poll.
struct TestBed {
    directory: tempfile::TempDir,
    address: SocketAddr,
    simulator: Simulator,
    own: Arc<OwnMetrics>,
}

impl TestBed {
    async fn new(scenario: &str) -> Self {
        let simulator = Simulator::new(Scenario::parse(scenario).unwrap(), || NOW);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, simulator.router()).into_future());
        let own = Arc::new(OwnMetrics::new(false, &Clock::fixed(NOW)));
        Self { directory: tempfile::tempdir().unwrap(), address, simulator, own }
    }

    /// The number of sign-ins that the simulator has received.
    async fn sign_ins(&self) -> u64 {
        let request = Request::get("/simulator/requests").body(Body::empty()).unwrap();
        let response = self.simulator.router().oneshot(request).await.unwrap();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let log: serde_json::Value = serde_json::from_slice(&body).unwrap();
        log["totals"]["token"].as_u64().unwrap()
    }

    /// Waits until the simulator has received this many sign-ins.
    async fn wait_for_sign_ins(&self, count: u64) {
        let arrived = async {
            while self.sign_ins().await < count {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, arrived).await.expect("the sign-ins arrive");
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("config.yml")
    }

    /// Writes a configuration with these accounts, each with a tenant named after it.
    fn write(&self, names: &[&str], more: &str) {
        let (state, address) = (self.directory.path().join("state"), self.address);
        let mut text = format!("{more}\nstate_directory: {}\naccounts:\n", state.display());
        for name in names {
            text += &format!(
                "  - {{name: {name}, tenant_id: {name}.example, client_id: {CLIENT_ID}, \
                 client_secret: {CLIENT_SECRET}, refresh_token: {REFRESH_TOKEN}, cloud: custom, \
                 api_base_url: \"http://{address}\", login_base_url: \"http://{address}\"}}\n"
            );
        }
        fs::write(self.path(), text).unwrap();
    }

    fn load(&self) -> (ConfigSource, Config) {
        let source = ConfigSource::File(self.path());
        let config = source.load(&no_environment).unwrap();
        (source, config)
    }

    fn prepare(&self, shard: Shard) -> (Supervisor, Reloader) {
        let (source, config) = self.load();
        Supervisor::start(source, config, shard, Arc::clone(&self.own), Clock::fixed(NOW)).unwrap()
    }

    fn start(&self) -> Running {
        self.start_shard(Shard::default())
    }

    fn start_shard(&self, shard: Shard) -> Running {
        let (supervisor, reloader) = self.prepare(shard);
        let (accounts, stop) = (supervisor.accounts(), CancellationToken::new());
        let task = tokio::spawn(supervisor.run(no_environment, || (), stop.clone()));
        Running { accounts, reloader, stop, task }
    }

    fn last_reload(&self) -> char {
        let text = self.own.text(Format::Classic);
        let name = "\npartner_license_exporter_config_last_reload_successful ";
        text.split_once(name).unwrap().1.chars().next().unwrap()
    }
}

struct Running {
    accounts: watch::Receiver<Arc<Accounts>>,
    reloader: Reloader,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn account(&self, n: usize) -> Ledger {
        self.accounts.borrow().ledgers[n].clone()
    }

    fn names(&self) -> Vec<String> {
        let accounts = Arc::clone(&self.accounts.borrow());
        accounts.ledgers.iter().map(|ledger| ledger.read().name.unwrap().to_string()).collect()
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(SOON, self.task).await.expect("the supervisor stops").unwrap();
    }
}

async fn wait_for(ledger: &Ledger, condition: impl FnMut(&AccountStatus) -> bool) -> AccountStatus {
    let mut changes = ledger.subscribe();
    timeout(SOON, changes.wait_for(condition)).await.expect("the condition is met").unwrap().clone()
}

#[tokio::test]
async fn every_account_is_polled_at_the_start() {
    let bed = TestBed::new("").await;
    bed.write(&["contoso", "fabrikam"], "");
    let running = bed.start();
    for n in 0..2 {
        assert!(wait_for(&running.account(n), |status| status.usage().polls == 1).await.usage().up());
    }
    running.stop().await;
}

#[tokio::test]
async fn shards_divide_the_accounts_and_a_reload_divides_them_in_the_same_way() {
    let bed = TestBed::new("").await;
    bed.write(&["contoso", "a", "fabrikam", "b"], "");
    let shards = [0, 1].map(|number| bed.start_shard(Shard::new(number, 2).unwrap()));
    let names = || shards.each_ref().map(Running::names);
    assert_eq!(names(), [vec!["contoso", "fabrikam"], vec!["a", "b"]]);
    // A shard without an account is one as well.
    bed.write(&["b"], "");
    for shard in &shards {
        shard.reloader.reload().await.unwrap().unwrap();
    }
    assert_eq!(names(), [vec![], vec!["b"]]);
    bed.write(&["b", "contoso"], "");
    shards[0].reloader.reload().await.unwrap().unwrap();
    assert_eq!(names(), [vec!["contoso"], vec!["b"]]);
    assert!(shards[0].account(0).read().added_by_reload, "the shard does not become unready");
    for shard in shards {
        shard.stop().await;
    }
}

#[tokio::test]
async fn a_reload_replaces_the_accounts_and_one_that_stays_keeps_its_counters() {
    let bed = TestBed::new("").await;
    bed.write(&["contoso", "leaving"], "");
    let mut running = bed.start();
    let contoso = running.account(0);
    wait_for(&contoso, |status| status.usage().polls == 1).await;
    bed.write(&["new", "contoso"], "poll_interval: 3h\nthresholds: {default_percent: 7}");
    running.reloader.reload().await.unwrap().unwrap();
    assert!(running.accounts.has_changed().unwrap());
    assert_eq!(running.names(), ["new", "contoso"]);
    assert_eq!(
        running.accounts.borrow_and_update().ledgers[0].read().usage().poll_interval,
        Duration::from_hours(3)
    );
    // The reload polls a second time; the first poll is still counted.
    let status = wait_for(&running.account(1), |status| status.usage().polls == 2).await;
    assert!(status.usage().last_good.is_some());
    assert_eq!(contoso.read().usage().polls, 2, "it is the same ledger");
    wait_for(&running.account(0), |status| status.usage().polls == 1).await;
    assert_eq!(bed.last_reload(), '1');
    running.stop().await;
}

#[tokio::test]
async fn a_reload_with_other_prices_lets_every_account_go_on() {
    let bed = TestBed::new("").await;
    bed.write(&["contoso"], "");
    let running = bed.start();
    let contoso = running.account(0);
    wait_for(&contoso, |status| status.usage().polls == 1).await;
    assert!(!contoso.read().keeps_products);
    for amount in ["36.00", "38.50"] {
        bed.write(&["contoso"], &format!("prices: [{{product: E3, per_month: {amount}, currency: EUR}}]"));
        running.reloader.reload().await.unwrap().unwrap();
        assert!(contoso.read().keeps_products);
        let price = running.accounts.borrow().prices.of("E3").unwrap().to_string();
        assert_eq!(price, format!("{amount} EUR"));
    }
    bed.write(&["contoso"], "");
    running.reloader.reload().await.unwrap().unwrap();
    assert!(!contoso.read().keeps_products);
    assert_eq!((bed.sign_ins().await, contoso.read().usage().polls), (1, 1), "no poll has begun anew");
    running.stop().await;
}

#[tokio::test]
async fn a_reload_lets_an_account_that_has_not_changed_go_on_and_replaces_one_that_has() {
    let bed = TestBed::new("").await;
    bed.write(&["contoso", "fabrikam"], "");
    let running = bed.start();
    for n in 0..2 {
        wait_for(&running.account(n), |status| status.usage().polls == 1).await;
    }
    let text = fs::read_to_string(bed.path()).unwrap();
    let changed = text.replace("tenant_id: fabrikam.example", "tenant_id: fabrikam.example, locale: de-DE");
    for text in [&text, &changed, &changed] {
        fs::write(bed.path(), text).unwrap();
        running.reloader.reload().await.unwrap().unwrap();
    }
    assert!(wait_for(&running.account(1), |status| status.usage().polls == 2).await.usage().up());
    // Asked for a poll, an account waits for a minute after the last one.
    let soon = Some(NOW + Duration::from_mins(1));
    let status = wait_for(&running.account(0), |status| status.usage().next_poll_at <= soon).await;
    assert_eq!(status.usage().polls, 1);
    let sign_ins = |n: usize| {
        let status = running.account(n).read();
        status.traffic.requests[&(Endpoint::Token, Code::Status(200))]
    };
    assert_eq!([sign_ins(0), sign_ins(1)], [1, 2]);
    running.stop().await;
}

#[tokio::test]
async fn a_reload_that_changes_only_how_many_customers_are_published_interrupts_no_poll() {
    let bed = TestBed::new("{rows: portfolio, commercial_deployment: {delay: 2s}}").await;
    let with = |series: u32| format!("collections: {{customers: {{enabled: true, series: {series}}}}}");
    bed.write(&["contoso"], &with(500));
    let running = bed.start();
    let contoso = running.account(0);
    let of_usage = (Endpoint::CommercialUsage, Code::Status(200));
    wait_for(&contoso, |status| status.traffic.requests.get(&of_usage) == Some(&1)).await;
    bed.write(&["contoso"], &with(7));
    running.reloader.reload().await.unwrap().unwrap();
    assert_eq!(contoso.read().customers.series, 7);
    let polled = |status: &AccountStatus| status.of(Collection::Customers).is_some_and(|it| it.polls == 1);
    let status = wait_for(&contoso, polled).await;
    assert_eq!(status.traffic.requests[&of_usage], 1, "the poll went on");
    running.stop().await;
}

#[tokio::test]
async fn hundred_reloads_poll_an_account_once() {
    let bed = TestBed::new("usage: {delay: 1h}").await;
    bed.write(&["contoso"], "");
    let running = bed.start();
    bed.wait_for_sign_ins(1).await;
    for _ in 0..100 {
        running.reloader.reload().await.unwrap().unwrap();
    }
    assert_eq!(bed.sign_ins().await, 1, "the poll in progress goes on");
    running.stop().await;
}

#[tokio::test]
async fn a_secret_file_that_has_changed_makes_a_reload_poll_at_once() {
    let bed = TestBed::new("").await;
    bed.write(&["contoso"], "");
    let (secret, text) = (bed.directory.path().join("secret"), fs::read_to_string(bed.path()).unwrap());
    fs::write(&secret, CLIENT_SECRET).unwrap();
    let inline = format!("client_secret: {CLIENT_SECRET}");
    let text = text.replace(&inline, &format!("client_secret_file: {}", secret.display()));
    fs::write(bed.path(), text).unwrap();
    let running = bed.start();
    wait_for(&running.account(0), |status| status.usage().polls == 1).await;
    fs::write(&secret, format!("{CLIENT_SECRET}\n")).unwrap();
    running.reloader.reload().await.unwrap().unwrap();
    assert!(wait_for(&running.account(0), |status| status.usage().polls == 2).await.usage().up());
    running.stop().await;
}

#[tokio::test]
async fn a_reload_that_hangs_fails_after_its_limit_and_a_stop_does_not_wait_for_it() {
    static RELEASED: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
    /// Stands for a file system that hangs.
    fn hangs(_: &str) -> Option<String> {
        let (released, changes) = &RELEASED;
        let minute = Duration::from_mins(1);
        drop(changes.wait_timeout_while(released.lock().unwrap(), minute, |released| !*released));
        None
    }
    let bed = TestBed::new("").await;
    bed.write(&["contoso"], "");
    let (_, config) = bed.load();
    let (own, clock) = (Arc::clone(&bed.own), Clock::fixed(NOW));
    let (supervisor, reloader) =
        Supervisor::start(ConfigSource::Environment, config, Shard::default(), own, clock).unwrap();
    let (accounts, stop) = (supervisor.accounts(), CancellationToken::new());
    let task = tokio::spawn(supervisor.run(hangs, || (), stop.clone()));
    let running = Running { accounts, reloader, stop, task };
    wait_for(&running.account(0), |status| status.usage().polls == 1).await;
    tokio::time::pause();
    let (reloader, again) = (running.reloader.clone(), running.reloader.clone());
    let mut reload = pin!(reloader.reload());
    let outcome = loop {
        tokio::select! { biased;
            outcome = &mut reload => break outcome,
            () = tokio::time::advance(Duration::from_secs(1)) => {}
        }
    };
    let error = outcome.unwrap().unwrap_err();
    assert!(matches!(&*error, StartError::TooSlow), "{error}");
    assert_eq!((running.names(), bed.last_reload()), (vec!["contoso".to_owned()], '0'));
    let again = tokio::spawn(async move { again.reload().await });
    tokio::task::yield_now().await;
    running.stop().await;
    assert!(again.await.unwrap().is_none(), "the program stops");
    *RELEASED.0.lock().unwrap() = true;
    RELEASED.1.notify_all();
}

#[tokio::test]
async fn an_account_removed_and_added_again_waits_for_its_sign_in_in_progress() {
    // Strict rotation refuses a second sign-in with the same refresh token.
    let bed =
        TestBed::new("{rotation: strict, tenants: {contoso.example: {token: {delay: 300ms, times: 1}}}}")
            .await;
    bed.write(&["contoso", "fabrikam"], "");
    let running = bed.start();
    bed.wait_for_sign_ins(2).await;
    bed.write(&["fabrikam"], "");
    running.reloader.reload().await.unwrap().unwrap();
    bed.write(&["fabrikam", "contoso"], "");
    running.reloader.reload().await.unwrap().unwrap();
    let status = wait_for(&running.account(1), |status| status.usage().polls == 1).await;
    assert!(status.usage().up(), "{:?}", status.usage().failure());
    running.stop().await;
}

#[tokio::test]
async fn a_reload_does_not_poll_before_the_server_allows_it() {
    let bed = TestBed::new("usage: {answer: throttled, retry_after: 600}").await;
    bed.write(&["contoso"], "");
    let running = bed.start();
    let ledger = running.account(0);
    let held =
        wait_for(&ledger, |status| status.usage().polls == 1 && status.usage().next_poll_at > Some(NOW))
            .await
            .hold_until;
    running.reloader.reload().await.unwrap().unwrap();
    // The new task publishes the time of its first poll before it waits.
    let status =
        wait_for(&ledger, |status| status.usage().next_poll_at > Some(NOW + Duration::from_secs(590))).await;
    assert_eq!((status.usage().polls, status.hold_until), (1, held));
    running.stop().await;
    assert_eq!(ledger.read().usage().polls, 1);
}

#[tokio::test]
async fn an_account_removed_and_added_again_still_honours_its_retry_after() {
    let bed = TestBed::new("usage: {answer: throttled, retry_after: 600}").await;
    bed.write(&["contoso"], "");
    let running = bed.start();
    let held = wait_for(&running.account(0), |status| status.usage().polls == 1).await.hold_until;
    assert!(held.is_some());
    for accounts in [&["fabrikam"][..], &["fabrikam", "contoso"]] {
        bed.write(accounts, "");
        running.reloader.reload().await.unwrap().unwrap();
    }
    let status = wait_for(&running.account(1), |status| status.usage().next_poll_at.is_some()).await;
    assert_eq!((status.usage().polls, status.hold_until), (0, held));
    running.stop().await;
}

#[tokio::test]
async fn an_invalid_file_changes_nothing_and_is_reported() {
    let bed = TestBed::new("").await;
    bed.write(&["contoso"], "");
    let running = bed.start();
    let ledger = running.account(0);
    wait_for(&ledger, |status| status.usage().polls == 1).await;
    assert_eq!(bed.last_reload(), '1');
    bed.write(&["contoso"], "colour: blue");
    let error = running.reloader.reload().await.unwrap().unwrap_err();
    assert!(
        matches!(&*error, StartError::Config(ConfigError::Invalid { problems, .. }) if problems.len() == 1)
    );
    assert_eq!((running.names(), bed.last_reload()), (vec!["contoso".to_owned()], '0'));
    assert!(!running.accounts.has_changed().unwrap(), "the accounts are unchanged");
    // The account is still running: a valid reload makes it poll again.
    bed.write(&["contoso"], "poll_interval: 5h");
    running.reloader.reload().await.unwrap().unwrap();
    wait_for(&ledger, |status| status.usage().polls == 2).await;
    assert_eq!(bed.last_reload(), '1');
    running.stop().await;
}

#[tokio::test]
async fn an_unusable_state_directory_fails_the_start_and_a_reload_but_no_running_account() {
    let bed = TestBed::new("").await;
    bed.write(&["contoso"], "");
    let (source, config) = bed.load();
    let state_directory = bed.path().join("below a file");
    let config = Config { state_directory, ..config };
    let started =
        Supervisor::start(source, config, Shard::default(), Arc::clone(&bed.own), Clock::fixed(NOW));
    assert!(matches!(started, Err(StartError::Store(_))));

    let running = bed.start();
    let text = fs::read_to_string(bed.path()).unwrap();
    let broken = text.replace("/state\n", "/config.yml/state\n");
    assert_ne!(text, broken);
    fs::write(bed.path(), broken).unwrap();
    let error = running.reloader.reload().await.unwrap().unwrap_err();
    assert!(matches!(&*error, StartError::Store(_)), "{error}");
    wait_for(&running.account(0), |status| status.usage().polls == 1).await;
    running.stop().await;
}

#[tokio::test]
async fn the_error_of_a_ca_file_without_a_certificate_names_the_account() {
    let bed = TestBed::new("").await;
    bed.write(&["contoso"], "");
    let (source, mut config) = bed.load();
    config.accounts[0].ca_file = Some(bed.path());
    config.accounts[0].cloud.api_base_url = "https://partner.example".to_owned();
    let error = Supervisor::start(source, config, Shard::default(), Arc::clone(&bed.own), Clock::fixed(NOW))
        .unwrap_err();
    let StartError::Client { account, source } = error else { panic!("{error}") };
    let text = "ca_file: the file is not a PEM file: it has no line that starts with -----BEGIN";
    assert_eq!((account.as_str(), source.to_string().as_str()), ("contoso", text));
}

#[tokio::test]
async fn a_stop_ends_every_account_and_refuses_reloads() {
    let bed = TestBed::new("usage: {delay: 1h}").await;
    bed.write(&["contoso", "fabrikam"], "");
    let running = bed.start();
    let (ledger, reloader) = (running.account(0), running.reloader.clone());
    wait_for(&ledger, |status| status.credentials.access_token_expires_at.is_some()).await;
    running.stop().await;
    assert_eq!(ledger.read().usage().next_poll_at, None);
    assert!(reloader.reload().await.is_none());
}

#[tokio::test]
async fn a_task_that_panics_ends_the_supervisor_even_after_another_has_ended() {
    let bed = TestBed::new("").await;
    bed.write(&["contoso"], "");
    let (mut supervisor, _reloader) = bed.prepare(Shard::default());
    let (ended, has_ended) = tokio::sync::oneshot::channel::<()>();
    supervisor.tasks.spawn(async { drop(ended) });
    supervisor.tasks.spawn(async {
        has_ended.await.unwrap_err();
        // The supervisor sees the end of the other task first.
        tokio::task::yield_now().await;
        panic!("this panic is part of the test");
    });
    let stop = CancellationToken::new();
    timeout(SOON, supervisor.run(no_environment, || (), stop)).await.expect("the supervisor returns");
}

/// The file of contoso's rows in the state directory.
fn snapshot_of(bed: &TestBed) -> PathBuf {
    bed.directory.path().join(format!("state/usage-contoso.example-{CLIENT_ID}.json"))
}

#[tokio::test]
async fn a_restart_restores_rows_before_the_first_poll_and_polls_an_account_without_rows_at_once() {
    let bed = TestBed::new("").await;
    bed.write(&["contoso"], "");
    let running = bed.start();
    let before = wait_for(&running.account(0), |status| status.usage().polls == 1)
        .await
        .usage()
        .last_good
        .clone()
        .unwrap();
    running.stop().await;
    assert!(snapshot_of(&bed).exists(), "a stop waits for the last write");

    bed.write(&["contoso", "fabrikam"], "");
    let running = bed.start();
    let ledger = running.account(0);
    let good = ledger.read().usage().last_good.clone().expect("restored rows");
    assert_eq!((good.report, good.at), (before.report, before.at));
    assert!(!ledger.read().usage().up() && ledger.read().is_ready());
    wait_for(&running.account(1), |status| status.usage().polls == 1).await;
    let status = wait_for(&ledger, |status| status.usage().next_poll_at.is_some()).await;
    assert_eq!(
        status.usage().next_poll_at,
        Some(NOW + Duration::from_mins(15)),
        "the rows have just been polled"
    );
    assert_eq!(status.usage().polls, 0);
    // A reload polls nevertheless.
    running.reloader.reload().await.unwrap().unwrap();
    assert!(wait_for(&running.account(0), |status| status.usage().polls == 1).await.usage().up());
    running.stop().await;
}

#[tokio::test]
async fn a_restart_does_not_bring_the_daily_poll_of_customers_forward() {
    let bed = TestBed::new("rows: portfolio").await;
    bed.write(&["contoso"], "collections: {customers: {enabled: true}}");
    let of = |status: &AccountStatus| status.of(Collection::Customers).cloned().unwrap_or_default();
    let running = bed.start();
    wait_for(&running.account(0), |status| of(status).polls == 1).await;
    running.stop().await;

    let running = bed.start();
    let status = wait_for(&running.account(0), |status| of(status).next_poll_at.is_some()).await;
    assert!(of(&status).last_good.is_some() && of(&status).polls == 0);
    // A day, varied by 5 %.
    assert!(
        of(&status).next_poll_at.unwrap() > NOW + Duration::from_hours(22),
        "{:?}",
        of(&status).next_poll_at
    );
    running.stop().await;
}

#[tokio::test]
async fn a_start_after_a_failed_poll_polls_at_once_even_if_its_rows_are_fresh() {
    let bed = TestBed::new("").await;
    bed.write(&["contoso"], "");
    let running = bed.start();
    wait_for(&running.account(0), |status| status.usage().polls == 1).await;
    bed.simulator.set_scenario(Scenario::parse("usage: {answer: forbidden}").unwrap());
    bed.write(&["contoso"], "poll_interval: 5h");
    running.reloader.reload().await.unwrap().unwrap();
    wait_for(&running.account(0), |status| status.usage().polls == 2).await;
    running.stop().await;
    let again = bed.start();
    assert!(again.account(0).read().usage().last_good.is_some());
    wait_for(&again.account(0), |status| status.usage().polls == 1).await;
    again.stop().await;
}

#[tokio::test]
async fn an_account_added_by_a_reload_has_its_rows_restored_and_is_polled_at_once() {
    let bed = TestBed::new("").await;
    bed.write(&["contoso", "fabrikam"], "");
    let running = bed.start();
    wait_for(&running.account(0), |status| status.usage().polls == 1).await;
    bed.write(&["fabrikam"], "");
    running.reloader.reload().await.unwrap().unwrap();
    let written = async {
        while !snapshot_of(&bed).exists() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, written).await.expect("the task saves the rows");
    bed.write(&["fabrikam", "contoso"], "");
    running.reloader.reload().await.unwrap().unwrap();
    let ledger = running.account(1);
    assert!(ledger.read().usage().last_good.is_some());
    let added = [0, 1].map(|n| running.account(n).read().added_by_reload);
    assert_eq!(added, [false, true], "readiness does not wait for contoso");
    assert!(wait_for(&ledger, |status| status.usage().polls == 1).await.usage().up());
    running.stop().await;
}

#[tokio::test]
async fn a_reload_loses_no_refresh_token_whose_file_has_vanished() {
    let bed = TestBed::new("rotation: strict").await;
    bed.write(&["contoso"], "");
    let running = bed.start();
    assert!(wait_for(&running.account(0), |status| status.usage().polls == 1).await.usage().up());
    let name = format!("refresh-token-contoso.example-{CLIENT_ID}.json");
    fs::remove_file(bed.directory.path().join("state").join(name)).unwrap();
    // The task of the changed account has neither the file nor its own memory of the token.
    bed.write(&["contoso"], "poll_interval: 5h");
    running.reloader.reload().await.unwrap().unwrap();
    assert!(wait_for(&running.account(0), |status| status.usage().polls == 2).await.usage().up());
    running.stop().await;
}

/// How often the directory is opened or listed during `work`.
fn opens_of(directory: &Path, work: impl FnOnce()) -> usize {
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, directory, inotify::WatchFlags::OPEN).unwrap();
    work();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let mut opens = 0;
    while let Ok(event) = events.next() {
        opens += usize::from(event.events().contains(inotify::ReadFlags::ISDIR));
    }
    opens
}

#[tokio::test]
async fn the_state_directory_is_examined_once_for_all_accounts() {
    let bed = TestBed::new("").await;
    let names = ["a", "b", "c"];
    bed.write(&names, "");
    let running = bed.start();
    for n in 0..names.len() {
        wait_for(&running.account(n), |status| status.usage().last_good.is_some()).await;
    }
    running.stop().await;
    let directory = bed.directory.path().join("state");
    let start = |names: &[&str]| {
        bed.write(names, "");
        opens_of(&directory, || drop(bed.prepare(Shard::default())))
    };
    let opens = start(&names[..1]);
    assert!(opens > 0);
    assert_eq!(start(&names), opens);
}

#[test]
fn only_a_missing_permission_is_answered_with_write_access() {
    let error = |errno: rustix::io::Errno| {
        StartError::Store(StoreError::Directory("/state".into(), errno.into())).to_string()
    };
    for errno in [rustix::io::Errno::ACCESS, rustix::io::Errno::PERM] {
        let text = error(errno);
        assert!(
            text.ends_with("there: give the exporter's user write access, or set state_directory"),
            "{text}"
        );
    }
    for errno in [rustix::io::Errno::ROFS, rustix::io::Errno::NOSPC, rustix::io::Errno::STALE] {
        let text = error(errno);
        assert!(text.ends_with("; refresh tokens are stored there"), "{text}");
    }
}
