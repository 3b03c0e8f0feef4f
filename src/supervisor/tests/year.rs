//! A year of sign-ins with real sockets, files and restarts; only the clock is simulated.

use std::fmt::Debug;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::*;
use crate::domain::failure::FailureReason;
use crate::domain::status::{Code, Endpoint};
use crate::partner::Progress;
use crate::partner::{PartnerCenter, TokenStore, TrustAnchors};
use crate::polling::Render as _;
use partner_center_simulator::{Behaviour, Certificate, Rotation, TokenAnswer, UsageAnswer};

const DAY: Duration = Duration::from_hours(24);

/// How the application authenticates, and where its first refresh token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A client secret in a file, and a configured refresh token.
    Secret,
    /// A certificate in a file, and a refresh token from `login`.
    Certificate,
}

/// Why the exporter does not sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    /// The exporter does not run.
    Stopped,
    /// The exporter runs, and Microsoft cannot be reached.
    Unreachable,
}

/// One exporter, a simulated Microsoft, and their clock.
struct World {
    bed: TestBed,
    kind: Kind,
    rotation: Rotation,
    clock: Clock,
    log: Log,
    running: Option<Running>,
    days: u32,
}

impl World {
    async fn new(rotation: Rotation, kind: Kind) -> Self {
        // The certificates of the tests are not valid earlier.
        let clock = Clock::from_tokio(NOW + DAY);
        let simulator = Simulator::new(Scenario::default(), {
            let clock = clock.clone();
            move || clock.now()
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, simulator.router()).into_future());
        let own = Arc::new(OwnMetrics::new(false, &clock));
        let bed = TestBed { directory: tempfile::tempdir().unwrap(), address, simulator, own };
        let world = Self { bed, kind, rotation, clock, log: Log::default(), running: None, days: 0 };
        let (directory, client) = (world.bed.directory.path().display(), world.client_file());
        let credential = match kind {
            Kind::Secret => format!(
                "client_secret_file: {}, refresh_token_file: {directory}/refresh-token",
                client.display()
            ),
            Kind::Certificate => format!("client_certificate_file: {}", client.display()),
        };
        let config = format!(
            "poll_interval: 20h\nstate_directory: {directory}/state\naccounts: [{{tenant_id: contoso.example, \
             client_id: {CLIENT_ID}, {credential}, cloud: custom, api_base_url: \"http://{address}\", \
             login_base_url: \"http://{address}\"}}]"
        );
        fs::write(world.bed.path(), config).unwrap();
        write_secret(&world.bed.directory.path().join("refresh-token"), REFRESH_TOKEN);
        world.use_credential(0);
        world
    }

    fn client_file(&self) -> PathBuf {
        self.bed.directory.path().join("client")
    }

    /// Replaces the application's credential, in its file and in the simulator.
    fn use_credential(&self, number: usize) {
        let mut scenario = Scenario { rotation: self.rotation, client_secret: None, ..Scenario::default() };
        let content = match self.kind {
            Kind::Secret => {
                let secret = ["a-client-secret", "another-client-secret"][number].to_owned();
                scenario.client_secret = Some(secret.clone());
                secret
            }
            Kind::Certificate => {
                let name = ["rsa.pem", "ec.pem"][number];
                let fixtures =
                    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/client-certificates");
                let pem = fs::read_to_string(fixtures.join(name)).unwrap();
                let begin = "-----BEGIN CERTIFICATE-----";
                let certificate = [begin, pem.split_once(begin).unwrap().1].concat();
                scenario.client_certificate = Some(Certificate::try_from(certificate).unwrap());
                pem
            }
        };
        write_secret(&self.client_file(), &content);
        self.bed.simulator.set_scenario(scenario);
    }

    fn start(&mut self) {
        let (source, config) = self.bed.load();
        let (supervisor, reloader) = Supervisor::start(
            source,
            config,
            Shard::default(),
            Arc::clone(&self.bed.own),
            self.clock.clone(),
        )
        .unwrap();
        let (accounts, stop) = (supervisor.accounts(), CancellationToken::new());
        let task = tokio::spawn(supervisor.run(no_environment, || (), stop.clone()));
        self.running = Some(Running { accounts, reloader, stop, task });
    }

    async fn stop(&mut self) {
        self.running.take().unwrap().stop().await;
    }

    fn ledger(&self) -> Ledger {
        self.running.as_ref().unwrap().account(0)
    }

    /// Waits for the first poll of an account that is polled at once.
    async fn first_poll(&self) -> AccountStatus {
        wait_for(&self.ledger(), |status| status.usage().polls == 1).await
    }

    /// Advances the clock by a time in which the account is polled once.
    async fn poll_after(&self, time: Duration) -> AccountStatus {
        let ledger = self.ledger();
        let polls = ledger.read().usage().polls;
        pass(time).await;
        wait_for(&ledger, |status| status.usage().polls > polls).await
    }

    /// An ordinary day: one poll, one sign-in, all rows, a new refresh token.
    async fn day(&mut self) {
        let before = self.ledger().read();
        let status = self.poll_after(DAY).await;
        self.days += 1;
        let day = self.days;
        // The number of all sign-ins, and of the successful ones.
        let sign_ins = |status: &AccountStatus| {
            let of_token =
                status.traffic.requests.iter().filter(|((endpoint, _), _)| *endpoint == Endpoint::Token);
            of_token.fold((0, 0), |(all, successful), ((_, code), count)| {
                (all + count, successful + if *code == Code::Status(200) { *count } else { 0 })
            })
        };
        let failure = status.usage().failure().map(|failure| &failure.text);
        assert!(
            status.usage().up() && status.usage().polls == before.usage().polls + 1,
            "day {day}: {failure:?}"
        );
        assert_eq!(status.usage().last_good.as_ref().unwrap().report.usage().len(), 5, "day {day}");
        let (all, successful) = sign_ins(&before);
        let expected = (all + 1, successful + 1);
        assert_eq!(sign_ins(&status), expected, "day {day}: one sign-in, and a successful one");
        let issued = status.credentials.refresh_token_issued_at.unwrap();
        let age = self.clock.now().duration_since(issued).as_secs();
        assert!((0..60).contains(&age), "day {day}: the refresh token is {age} s old");
        assert!(Some(issued) > before.credentials.refresh_token_issued_at, "day {day}");
    }

    /// Signs in as `login` does; the simulator accepts the code at once.
    async fn login(&self) {
        let (_, config) = self.bed.load();
        let account = &config.accounts[0];
        let store = TokenStore::open(&config.state_directory, account).unwrap();
        let ledger = Ledger::new(None, Arc::default());
        let (limit, anchors) = (config.poll_timeout, TrustAnchors::default());
        let center = PartnerCenter::new(account, store, &ledger, &self.clock, limit, &anchors).unwrap();
        let sign_in = center.sign_in();
        let mut code = sign_in.device_code().await.unwrap();
        let signed_in = loop {
            pass(code.interval).await;
            if let Progress::Done(signed_in) = sign_in.ask(&mut code).await.unwrap() {
                break signed_in;
            }
        };
        sign_in.store(*signed_in, &CancellationToken::new()).await.unwrap();
    }

    /// Makes Microsoft unreachable.
    fn unplug(&self) {
        let mut scenario = self.bed.simulator.scenario();
        // Without `Retry-After`, each poll would send three requests with pauses between them.
        scenario.token =
            Behaviour { answer: TokenAnswer::ServerError, retry_after: Some(3600), ..Behaviour::default() };
        scenario.usage =
            Behaviour { answer: UsageAnswer::ServerError, retry_after: Some(3600), ..Behaviour::default() };
        self.bed.simulator.set_scenario(scenario);
    }

    fn plug_in(&self) {
        let scenario = Scenario {
            token: Behaviour::default(),
            usage: Behaviour::default(),
            ..self.bed.simulator.scenario()
        };
        self.bed.simulator.set_scenario(scenario);
    }

    /// Lets days pass without a sign-in, and returns the status after the next poll.
    async fn outage(&mut self, outage: Outage, days: u32) -> AccountStatus {
        self.days += days;
        match outage {
            Outage::Stopped => {
                self.stop().await;
                pass(DAY * days).await;
                self.start();
                self.first_poll().await
            }
            Outage::Unreachable => {
                self.unplug();
                for day in 1..days {
                    let status = self.poll_after(DAY).await;
                    assert_eq!(reason(&status), Some(FailureReason::Server), "day {day} of the outage");
                }
                self.plug_in();
                self.poll_after(DAY).await
            }
        }
    }

    /// The account's metrics in the text format.
    fn metrics(&self) -> String {
        let accounts = Arc::clone(&self.running.as_ref().unwrap().accounts.borrow());
        accounts.render(self.clock.now()).text(Format::Classic)
    }

    fn metric(&self, series: &str) -> String {
        let metrics = self.metrics();
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{series} in\n{metrics}")).to_owned()
    }

    /// The days until the refresh token in use expires.
    fn days_left(&self) -> f64 {
        let expiry: f64 =
            self.metric("partner_license_refresh_token_expiry_timestamp_seconds").parse().unwrap();
        (expiry - crate::domain::clock::unix_seconds(self.clock.now())) / 86400.0
    }
}

fn reason(status: &AccountStatus) -> Option<FailureReason> {
    status.usage().failure().map(|failure| failure.reason)
}

fn write_secret(path: &Path, content: &str) {
    let new = path.with_extension("new");
    let mut options = fs::File::options();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&new).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    fs::rename(new, path).unwrap();
}

/// Advances the clock. No request may be in progress.
pub(super) async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// The events logged by this thread at info and above: level, message, reason and remedy.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl Log {
    pub(super) fn listen(&self) -> tracing::subscriber::DefaultGuard {
        crate::testkit::listen(self.clone())
    }

    /// The events since the last call.
    pub(super) fn take(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn warnings_and_errors(&self) -> Vec<(Level, String)> {
        self.take().into_iter().filter(|(level, _)| *level <= Level::WARN).collect()
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        let ours = event.metadata().target().starts_with(env!("CARGO_CRATE_NAME"));
        if ours && level <= Level::INFO {
            let mut text = Text::default();
            event.record(&mut text);
            self.0.lock().unwrap().push((level, text.0));
        }
    }
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.0 = format!("{value:?}{}", self.0),
            "reason" | "remedy" | "was" => self.0 += &format!(" {}={value:?}", field.name()),
            _ => {}
        }
    }
}

/// A year of daily polls and weekly restarts, with a new client credential on day 180 and an outage from day 240.
async fn a_year(rotation: Rotation, kind: Kind, outage: Outage) {
    let mut world = World::new(rotation, kind).await;
    let _listening = world.log.listen();
    if kind == Kind::Certificate {
        world.login().await;
    }
    world.start();
    assert!(world.first_poll().await.usage().up());
    while world.days < 365 {
        match world.days {
            180 => world.use_credential(1),
            240 => {
                assert_eq!(world.log.warnings_and_errors(), [], "until day {}", world.days);
                let status = world.outage(outage, 80).await;
                assert!(status.usage().up(), "{:?}", status.usage().failure());
                let logged = world.log.warnings_and_errors();
                match outage {
                    Outage::Stopped => assert_eq!(logged, []),
                    Outage::Unreachable => {
                        let [(Level::WARN, line)] = &logged[..] else { panic!("{logged:?}") };
                        assert!(line.starts_with("Polling failed reason=\"server\""), "{line}");
                    }
                }
            }
            _ => {}
        }
        world.day().await;
        if world.days.is_multiple_of(7) {
            world.stop().await;
            world.start();
            let restored =
                world.ledger().read().usage().last_good.clone().map(|good| good.report.usage().len());
            assert_eq!(restored, Some(5), "day {}: the rows are restored after the restart", world.days);
        }
    }
    world.day().await;
    assert_eq!(world.log.warnings_and_errors(), [], "until the end of the year");
    assert!((world.days_left() - 90.0).abs() < 0.01, "{}", world.days_left());
    world.stop().await;
}

#[tokio::test]
async fn a_year_with_a_client_secret_passes_without_a_manual_step() {
    a_year(Rotation::Lenient, Kind::Secret, Outage::Stopped).await;
}

#[tokio::test]
async fn a_year_with_a_client_secret_passes_under_strict_rotation_too() {
    a_year(Rotation::Strict, Kind::Secret, Outage::Unreachable).await;
}

#[tokio::test]
async fn a_year_with_a_client_secret_passes_where_token_families_are_revoked_too() {
    a_year(Rotation::Family, Kind::Secret, Outage::Stopped).await;
}

#[tokio::test]
async fn a_year_with_a_certificate_passes_without_a_manual_step() {
    a_year(Rotation::Lenient, Kind::Certificate, Outage::Unreachable).await;
}

#[tokio::test]
async fn a_year_with_a_certificate_passes_under_strict_rotation_too() {
    a_year(Rotation::Strict, Kind::Certificate, Outage::Stopped).await;
}

#[tokio::test]
async fn a_year_with_a_certificate_passes_where_token_families_are_revoked_too() {
    a_year(Rotation::Family, Kind::Certificate, Outage::Unreachable).await;
}

#[tokio::test]
async fn daily_polls_for_ninety_one_days_all_succeed() {
    let mut world = World::new(Rotation::Lenient, Kind::Secret).await;
    let _listening = world.log.listen();
    world.start();
    assert!(world.first_poll().await.usage().up());
    for _ in 0..91 {
        world.day().await;
    }
    assert_eq!(world.metric("partner_license_scrapes_total{collection=\"usage\"}"), "92");
    assert!(
        world.metrics().lines().all(|line| {
            !line.starts_with("partner_license_scrape_failures_total") || line.ends_with(" 0")
        })
    );
    // The configured token alone has expired by now.
    world.stop().await;
    fs::remove_dir_all(world.bed.directory.path().join("state")).unwrap();
    world.start();
    assert_eq!(reason(&world.first_poll().await), Some(FailureReason::Credentials));
    world.stop().await;
}

/// An outage of a hundred days ends in one error, and `login` alone ends that.
async fn a_hundred_days(rotation: Rotation, kind: Kind, outage: Outage) {
    let mut world = World::new(rotation, kind).await;
    let _listening = world.log.listen();
    if kind == Kind::Certificate {
        world.login().await;
    }
    world.start();
    assert!(world.first_poll().await.usage().up());
    world.day().await;
    assert_eq!(world.log.warnings_and_errors(), []);
    let status = world.outage(outage, 100).await;
    let failure = status.usage().failure().unwrap();
    assert_eq!(failure.reason, FailureReason::Credentials, "{}", failure.text);
    assert!(failure.remedy.contains("partner-license-exporter login"), "{}", failure.remedy);
    for _ in 0..3 {
        assert_eq!(reason(&world.poll_after(DAY).await), Some(FailureReason::Credentials));
    }
    let logged = world.log.warnings_and_errors();
    let errors: Vec<_> = logged.iter().filter(|(level, _)| *level == Level::ERROR).collect();
    let [(_, line)] = errors[..] else { panic!("{logged:?}") };
    assert!(line.starts_with("Polling failed reason=\"credentials\" remedy="), "{line}");
    let warnings = usize::from(outage == Outage::Unreachable);
    assert_eq!(logged.len() - 1, warnings, "{logged:?}");
    assert_eq!(world.metric("partner_license_up{collection=\"usage\"}"), "0");
    assert_eq!(
        world.metric("partner_license_scrape_failures_total{collection=\"usage\",reason=\"credentials\"}"),
        "4"
    );
    assert!(world.days_left() < 0.0, "{}", world.days_left());

    world.login().await;
    let status = world.poll_after(Duration::from_secs(6)).await;
    assert!(status.usage().up(), "{:?}", status.usage().failure());
    let info = world.log.take();
    let expected = ["The credentials have changed; polling now", "Polling works again was=\"credentials\""];
    assert_eq!(info, expected.map(|line| (Level::INFO, line.to_owned())));
    for _ in 0..3 {
        assert!(world.poll_after(DAY).await.usage().up());
    }
    world.stop().await;
    world.start();
    assert!(world.poll_after(DAY).await.usage().up(), "the sign-in is kept over a restart");
    assert_eq!(world.log.warnings_and_errors(), []);
    world.stop().await;
}

#[tokio::test]
async fn a_hundred_days_without_the_exporter_end_in_one_error_that_a_login_ends() {
    for rotation in [Rotation::Lenient, Rotation::Strict, Rotation::Family] {
        a_hundred_days(rotation, Kind::Secret, Outage::Stopped).await;
        a_hundred_days(rotation, Kind::Certificate, Outage::Stopped).await;
    }
}

#[tokio::test]
async fn a_hundred_days_without_microsoft_end_in_one_error_that_a_login_ends() {
    a_hundred_days(Rotation::Lenient, Kind::Secret, Outage::Unreachable).await;
    a_hundred_days(Rotation::Strict, Kind::Certificate, Outage::Unreachable).await;
}
