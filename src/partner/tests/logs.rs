//! Tests of what is logged about the refresh tokens: each change once, and nothing as long as all is well.

use std::fmt::Debug;
use std::sync::Mutex;

use axum::routing::{get, post};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::*;

/// The name of the only account here.
const ACCOUNT: &str = "\"default\"";

/// The messages logged by this thread at info and above, with the field `refused`, and with the account if it is another one.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn listen(&self) -> DefaultGuard {
        crate::testkit::listen(self.clone())
    }

    /// The messages since the last call.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let ours = event.metadata().target().starts_with(env!("CARGO_CRATE_NAME"));
        if ours && *event.metadata().level() <= Level::INFO {
            let mut text = Text::default();
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
    }
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.0 = format!("{value:?}{}", self.0),
            "account" if format!("{value:?}") != ACCOUNT => self.0 += &format!(" account={value:?}"),
            "refused" => self.0 += &format!(" refused={value:?}"),
            _ => {}
        }
    }
}

async fn renew_in_an_hour(client: &PartnerCenter) {
    advance(Duration::from_hours(1)).await;
    client.usage().await.unwrap();
}

#[tokio::test]
async fn renewals_that_succeed_log_nothing() {
    let (bed, log) = (TestBed::new("rotation: strict").await, Log::default());
    let _listening = log.listen();
    let client = bed.client();
    client.usage().await.unwrap();
    renew_in_an_hour(&client).await;
    assert_eq!(bed.log().await["totals"]["token"], 2);
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test]
async fn a_malformed_refresh_token_is_logged_and_a_missing_one_is_not() {
    const MALFORMED: &str =
        "The new refresh token is malformed; the old one works until 90 days after its issue";
    for (field, expected) in [(r#","refresh_token":"two words""#, &[MALFORMED][..]), ("", &[])] {
        let token = format!(r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"a"{field}}}"#);
        let routes = Router::new()
            .route(&format!("/{TENANT}/oauth2/v2.0/token"), post(move || async { token }))
            .route(USAGE, get(async || r#"{"items":[]}"#));
        let (bed, log) = (TestBed::with(routes).await, Log::default());
        let _listening = log.listen();
        bed.client().usage().await.unwrap();
        assert_eq!(log.take(), expected, "{field}");
    }
}

#[tokio::test]
async fn a_refused_token_is_logged_with_the_one_that_is_used_instead() {
    const WARNING: &str = "The sign-in service refused a refresh token, using the";
    let (bed, log) = (TestBed::new("rotation: strict").await, Log::default());
    let _listening = log.listen();
    bed.client().usage().await.unwrap();
    assert_eq!(log.take(), [""; 0]);
    // An old configuration is restored.
    bed.client_with_token("an-old-token").usage().await.unwrap();
    assert_eq!(log.take(), [format!("{WARNING} stored one refused=\"configured\"")]);
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_logged_once_and_so_is_its_recovery() {
    let (bed, log) = (TestBed::new("").await, Log::default());
    let _listening = log.listen();
    let client = bed.client();
    // A directory with a file cannot be replaced by a file.
    let obstacle = bed.token_file();
    fs::create_dir_all(obstacle.join("x")).unwrap();
    client.usage().await.unwrap();
    renew_in_an_hour(&client).await;
    let logged = log.take();
    let about_storing: Vec<_> = logged.iter().filter(|line| line.contains("Cannot store")).collect();
    assert_eq!(
        about_storing,
        ["Cannot store the new refresh token; the old one works until 90 days after its issue"]
    );
    fs::remove_dir_all(obstacle).unwrap();
    renew_in_an_hour(&client).await;
    assert!(log.take().contains(&"New refresh tokens are stored again".to_owned()));
    renew_in_an_hour(&client).await;
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test]
async fn the_use_of_a_token_that_is_not_stored_is_logged_once_until_one_is_stored() {
    const WARNING: &str = "The sign-in service refused a refresh token, using the not yet stored one";
    let (bed, log) = (TestBed::new("rotation: strict").await, Log::default());
    let client = bed.client();
    let _listening = log.listen();
    for _ in 0..2 {
        fs::remove_file(bed.token_file()).ok();
        fs::create_dir_all(bed.token_file().join("x")).unwrap();
        renew_in_an_hour(&client).await;
        log.take();
        for expected in [1, 0, 0] {
            renew_in_an_hour(&client).await;
            let logged = log.take();
            assert_eq!(
                logged.iter().filter(|line| line.starts_with(WARNING)).count(),
                expected,
                "{logged:?}"
            );
        }
        fs::remove_dir_all(bed.token_file()).unwrap();
        renew_in_an_hour(&client).await;
        log.take();
    }
}

#[tokio::test]
async fn a_stored_token_that_cannot_be_read_is_logged_once_and_so_is_its_recovery() {
    const WARNING: &str = "Cannot use the stored refresh token, trying the newest one known";
    let (bed, log) = (TestBed::new("").await, Log::default());
    let client = bed.client();
    client.usage().await.unwrap();
    let (file, elsewhere) = (bed.token_file(), bed.state_directory().join("elsewhere"));
    fs::rename(&file, &elsewhere).unwrap();
    fs::create_dir_all(file.join("x")).unwrap();
    let _listening = log.listen();
    renew_in_an_hour(&client).await;
    assert!(log.take().contains(&WARNING.to_owned()));
    renew_in_an_hour(&client).await;
    assert!(!log.take().contains(&WARNING.to_owned()), "it is logged once");
    fs::remove_dir_all(&file).unwrap();
    fs::rename(elsewhere, &file).unwrap();
    renew_in_an_hour(&client).await;
    assert!(log.take().contains(&"The stored refresh token can be read again".to_owned()));
    renew_in_an_hour(&client).await;
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test]
async fn every_unusable_file_that_is_set_aside_is_logged() {
    let (bed, log) = (TestBed::new("").await, Log::default());
    let _listening = log.listen();
    let client = bed.client();
    for _ in 0..2 {
        fs::write(bed.token_file(), "x").unwrap();
        advance(Duration::from_hours(1)).await;
        client.usage().await.unwrap();
        assert_eq!(log.take(), ["Cannot use the stored refresh token, trying the newest one known"]);
    }
}

#[tokio::test]
async fn a_token_that_is_taken_back_is_logged_once() {
    let (bed, log) = (TestBed::new("").await, Log::default());
    bed.client().usage().await.unwrap();
    fs::rename(bed.token_file(), bed.token_file().with_extension("json.set-aside")).unwrap();
    let _listening = log.listen();
    let client = bed.client();
    client.usage().await.unwrap();
    assert_eq!(log.take(), ["Took back a file that had been set aside"]);
    renew_in_an_hour(&client).await;
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test]
async fn a_renewal_that_fails_repeatedly_is_logged_once_while_the_current_access_token_is_valid() {
    let (bed, log) = (TestBed::new("access_token_lifetime: 1h").await, Log::default());
    let _listening = log.listen();
    let client = bed.client();
    client.usage().await.unwrap();
    bed.scenario("token: {answer: bad_client_secret}");
    advance(Duration::from_mins(56)).await;
    client.usage().await.unwrap();
    assert_eq!(log.take(), ["Cannot renew the access token, using the current one until it expires"]);
    advance(Duration::from_secs(61)).await;
    client.usage().await.unwrap();
    assert_eq!(bed.log().await["totals"]["token"], 3);
    assert_eq!(log.take(), [""; 0]);
}

const NO_LOCK: &str = "Cannot lock the stored refresh token: no other exporter may use this state directory";

/// Puts a directory in the place of the lock file, which not even root can open for writing.
fn make_unlockable(bed: &TestBed) {
    let lock = bed.token_file().with_extension("lock");
    drop(fs::remove_file(&lock));
    fs::create_dir_all(lock).unwrap();
}

#[tokio::test]
async fn a_lock_that_has_become_impossible_is_logged_once_reloads_included() {
    let (bed, log) = (TestBed::new("").await, Log::default());
    let account = bed.account(REFRESH_TOKEN, "http");
    let before = TokenStore::open(&bed.state_directory(), &account).unwrap();
    let after = TokenStore::open(&bed.state_directory(), &account).unwrap().continuing(&before);
    let _listening = log.listen();
    make_unlockable(&bed);
    for (store, expected) in [(before, &[NO_LOCK][..]), (after, &[])] {
        let (limit, anchors) = (Duration::from_mins(1), TrustAnchors::default());
        let client = PartnerCenter::new(&account, store, &bed.ledger, &bed.clock, limit, &anchors).unwrap();
        client.usage().await.unwrap();
        assert_eq!(log.take(), expected);
        renew_in_an_hour(&client).await;
        assert_eq!(log.take(), [""; 0]);
    }
}

#[tokio::test]
async fn the_lock_of_a_missing_directory_or_of_a_reader_is_not_missed() {
    let (bed, log) = (TestBed::new("").await, Log::default());
    let account = bed.account(REFRESH_TOKEN, "http");
    let client = bed.client();
    let _listening = log.listen();
    fs::remove_dir_all(bed.state_directory()).unwrap();
    client.usage().await.unwrap();
    assert_eq!(log.take(), [""; 0], "no other process uses a missing directory");
    make_unlockable(&bed);
    let reader = TokenStore::read_only(&bed.state_directory(), &account);
    let (limit, anchors) = (Duration::from_mins(1), TrustAnchors::default());
    let client = PartnerCenter::new(&account, reader, &bed.ledger, &bed.clock, limit, &anchors).unwrap();
    client.without_rotation().usage().await.unwrap();
    assert_eq!(log.take(), [""; 0], "a reader replaces no token");
}

#[tokio::test]
async fn why_the_second_source_cannot_be_used_is_logged_once_until_it_works() {
    let fails = "{usage: {answer: empty}, commercial_usage: {answer: forbidden}}";
    let (bed, log) = (TestBed::new(fails).await, Log::default());
    let client = bed.client_of(&bed.account_with(REFRESH_TOKEN, "http", "auto"), Duration::from_mins(1));
    let _listening = log.listen();
    let told = ["The second source cannot be used"];
    for expected in [&told[..], &[]] {
        assert_eq!(client.usage().await.unwrap().rows().len(), 0);
        assert_eq!(log.take(), expected);
    }
    bed.scenario("{rows: portfolio, usage: {answer: empty}}");
    assert_eq!(client.usage().await.unwrap().rows().len(), 14);
    bed.scenario(fails);
    client.usage().await.unwrap();
    assert_eq!(log.take(), told);
}

#[tokio::test]
async fn a_number_of_rows_that_is_not_the_announced_one_is_logged_once() {
    let wrong = "{rows: portfolio, commercial_usage: {merge: {TotalCount: 15}}}";
    let (bed, log) = (TestBed::new(wrong).await, Log::default());
    let client =
        bed.client_of(&bed.account_with(REFRESH_TOKEN, "http", "commercial"), Duration::from_mins(1));
    let _listening = log.listen();
    let told = ["The number of rows is not the announced one; a page may have left some out"];
    for expected in [&told[..], &[]] {
        assert_eq!(client.usage().await.unwrap().rows().len(), 14);
        assert_eq!(log.take(), expected);
    }
}
