//! Authenticates requests with the passwords of the users.
//!
//! bcrypt is slow by design, so results are remembered, under a key that only this process can compute from the password.
//! Who is remembered never waits for the checks of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret as _, SecretSlice};
use tokio::sync::OnceCell;

use crate::peer::Peer;

use super::check_queue::{CheckQueue, Origin};
use super::users::{LoginHashes, Users};

/// The number of results that are remembered.
const MAX_RESULTS: usize = 100;
/// The number of results that are evicted when there are too many.
const EVICTED: usize = MAX_RESULTS / 10 + 1;
/// The time for which a request waits for its turn, which is shorter than the usual scrape timeout.
const MAX_WAIT: Duration = Duration::from_secs(8);

/// The credentials of a request.
struct Credentials {
    user: Vec<u8>,
    password: SecretSlice<u8>,
}

impl Credentials {
    fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = SecretSlice::from(BASE64_STANDARD.decode(encoded).ok()?);
        let decoded = decoded.expose_secret();
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let (user, password) = (decoded.get(..colon)?, decoded.get(colon + 1..)?);
        Some(Self { user: user.to_vec(), password: SecretSlice::from(password.to_vec()) })
    }
}

/// Whether a request is authenticated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Authentication {
    /// It has the name and the password of a user, or no password is needed.
    Accepted,
    /// It has not.
    Refused,
    /// Too many passwords are being checked, or the client has hung up.
    Unchecked,
}

/// The key of a result.
type Key = Vec<u8>;
/// Returns whether a hash is that of a password.
type Verify = dyn Fn(&[u8], &str) -> bool + Send + Sync;
/// The result of a check that several requests wait for.
type Check = OnceCell<bool>;

/// Checks passwords one at a time and remembers the results.
pub(super) struct Authenticator {
    key: hmac::Key,
    results: Arc<Results>,
    /// The checks that requests wait for.
    checks: Mutex<HashMap<Key, Weak<Check>>>,
    queue: Arc<CheckQueue>,
    verify: Arc<Verify>,
}

impl Authenticator {
    pub(super) fn new() -> Self {
        Self::with_verify(|password, hash| bcrypt::verify(password, hash).unwrap_or(false))
    }

    fn with_verify(verify: impl Fn(&[u8], &str) -> bool + Send + Sync + 'static) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the system has random bytes");
        Self {
            key,
            results: Arc::default(),
            checks: Mutex::default(),
            queue: Arc::default(),
            verify: Arc::new(verify),
        }
    }

    /// Authenticates a request of `peer` by its headers.
    pub(super) async fn authenticate(
        &self,
        users: &Users,
        headers: &HeaderMap,
        peer: Option<&Peer>,
    ) -> Authentication {
        if users.is_empty() {
            return Authentication::Accepted;
        }
        let Some(Credentials { user, password }) = Credentials::from_headers(headers) else {
            return Authentication::Refused;
        };
        let hashes = users.login_hashes(&user);
        let key = self.result_key(&user, &hashes, &password);
        let result = match self.results.get(&key) {
            Some(result) => Some(result),
            None => self.wait_for_check(key, hashes, password, peer).await,
        };
        match result {
            Some(true) => Authentication::Accepted,
            Some(false) => Authentication::Refused,
            None => Authentication::Unchecked,
        }
    }

    /// Returns whether the password is right; `None` if there is no check in time.
    async fn wait_for_check(
        &self,
        key: Key,
        hashes: LoginHashes,
        password: SecretSlice<u8>,
        peer: Option<&Peer>,
    ) -> Option<bool> {
        let shared = self.shared_check(&key);
        let check = shared.get_or_try_init(|| self.check(key, hashes, password, peer));
        check.await.ok().copied()
    }

    /// Returns the check that all requests with the same credentials share.
    fn shared_check(&self, key: &Key) -> Arc<Check> {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(check) = checks.get(key).and_then(Weak::upgrade) {
            return check;
        }
        checks.retain(|_, check| check.strong_count() > 0);
        let check = Arc::default();
        checks.insert(key.clone(), Arc::downgrade(&check));
        check
    }

    /// Waits for a turn and checks a password; fails if that takes too long, if too many others wait, or if the client
    /// hangs up before.
    async fn check(
        &self,
        key: Key,
        hashes: LoginHashes,
        password: SecretSlice<u8>,
        peer: Option<&Peer>,
    ) -> Result<bool, NoTurn> {
        let origin = peer.map(|peer| Origin::from(peer.address())).unwrap_or_default();
        let hung_up = async {
            match peer {
                Some(peer) => peer.hung_up().await,
                None => std::future::pending().await,
            }
        };
        let turn = tokio::select! {
            biased;
            turn = tokio::time::timeout(MAX_WAIT, self.queue.turn(origin)) => turn.ok().flatten(),
            () = hung_up => None,
        };
        let turn = turn.ok_or(NoTurn)?;
        // The check before this one may have been the same.
        if let Some(result) = self.results.get(&key) {
            return Ok(result);
        }
        let (results, verify) = (Arc::clone(&self.results), Arc::clone(&self.verify));
        let check = tokio::task::spawn_blocking(move || {
            // A request that is dropped keeps its turn until its check ends.
            let _turn = turn;
            let LoginHashes { own, decoys } = hashes;
            let verify = |hash: &str| verify(password.expose_secret(), hash);
            let result = own.is_some_and(|own| verify(own.expose_secret()));
            if !result {
                for decoy in &decoys {
                    verify(decoy.expose_secret());
                }
            }
            results.insert(key, result);
            result
        });
        // A check that panics is no success.
        Ok(check.await.unwrap_or(false))
    }

    /// Returns the key of a result. The user is part of it: with a shared result, a second unknown user would be
    /// refused sooner than one who exists.
    fn result_key(&self, user: &[u8], hashes: &LoginHashes, password: &SecretSlice<u8>) -> Key {
        let mut context = hmac::Context::with_key(&self.key);
        let hash = hashes.own.as_ref().or(hashes.decoys.last());
        let hash = hash.map_or("", |hash| hash.expose_secret());
        for part in [user, hash.as_bytes(), password.expose_secret()] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }
}

/// Other checks kept a request from having its turn in time.
struct NoTurn;

/// The latest results.
#[derive(Default)]
struct Results(Mutex<HashMap<Key, bool>>);

impl Results {
    fn get(&self, key: &[u8]) -> Option<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    fn insert(&self, key: Key, result: bool) {
        let mut results = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if results.len() >= MAX_RESULTS {
            // Failures go first, so that a client that tries many passwords does not evict the successes of others.
            // Which of them go is up to the random order of the map, so that no client can choose.
            let mut keys: Vec<_> = results.iter().map(|(key, result)| (*result, key.clone())).collect();
            keys.sort_by_key(|(result, _)| *result);
            for (_, key) in keys.iter().take(EVICTED) {
                results.remove(key);
            }
        }
        results.insert(key, result);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::{Context, Poll, Waker};

    use tokio::task::JoinSet;

    use super::*;
    use crate::web_config::check_queue::MAX_WAITING;
    use crate::yaml::Entry;

    /// Users with hashes of the lowest cost.
    fn users(pairs: &[(&str, &str)]) -> Users {
        with_hashes(pairs.iter().map(|(user, password)| (*user, bcrypt::hash(password, 4).unwrap())))
    }

    fn with_hashes<'a>(pairs: impl Iterator<Item = (&'a str, String)>) -> Users {
        let entry = |(name, text): (&str, String)| Entry { path: String::new(), name: name.to_owned(), text };
        Users::read(pairs.map(entry).collect())
    }

    async fn accepts(authenticator: &Authenticator, users: &Users, headers: &HeaderMap) -> bool {
        match authenticator.authenticate(users, headers, None).await {
            Authentication::Accepted => true,
            Authentication::Refused => false,
            Authentication::Unchecked => panic!("there was no check in time"),
        }
    }

    fn authorization(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    fn basic(credentials: &[u8]) -> HeaderMap {
        authorization(&format!("Basic {}", BASE64_STANDARD.encode(credentials)))
    }

    #[tokio::test]
    async fn only_a_known_user_with_the_right_password_is_authenticated_also_from_the_cache() {
        let (users, authenticator) = (users(&[("alice", "wonder:land"), ("bob", "")]), Authenticator::new());
        for round in ["first", "cached"] {
            for (credentials, expected) in [
                (&b"alice:wonder:land"[..], true),
                (b"bob:", true),
                (b"alice:wonder", false),
                (b"alice:", false),
                (b"bob:wonder:land", false),
                (b"Alice:wonder:land", false),
                (b"nobody:wonder:land", false),
                (b"nobody:", false),
                (b"alice", false),
                (b":", false),
                (b"", false),
                (b"\xff:wonder:land", false),
                (b"alice:\xff", false),
            ] {
                let found = accepts(&authenticator, &users, &basic(credentials)).await;
                assert_eq!(found, expected, "{round}: {}", String::from_utf8_lossy(credentials));
            }
        }
    }

    #[tokio::test]
    async fn the_scheme_is_basic_in_any_case_and_nothing_else() {
        let (users, authenticator) = (users(&[("a", "b")]), Authenticator::new());
        for (value, expected) in [
            ("Basic YTpi", true),
            ("basic YTpi", true),
            ("BASIC YTpi", true),
            ("Bearer YTpi", false),
            ("BasicYTpi", false),
            ("Basic", false),
            ("Basic !!!!", false),
            ("YTpi", false),
        ] {
            assert_eq!(accepts(&authenticator, &users, &authorization(value)).await, expected, "{value}");
        }
        assert!(!accepts(&authenticator, &users, &HeaderMap::new()).await);
        assert!(
            accepts(&authenticator, &Users::default(), &HeaderMap::new()).await,
            "without users no password is needed"
        );
    }

    #[tokio::test]
    async fn an_unknown_user_is_refused_even_if_the_password_matches_a_decoy() {
        let authenticator = Authenticator::with_verify(|_, _| true);
        let eve = users(&[("eve", "x")]);
        assert!(accepts(&authenticator, &eve, &basic(b"eve:y")).await);
        assert!(!accepts(&authenticator, &eve, &basic(b"mallory:y")).await);
    }

    #[tokio::test]
    async fn a_wrong_password_costs_as_much_for_every_user() {
        let costs = Arc::<Mutex<Vec<u32>>>::default();
        let log = Arc::clone(&costs);
        let authenticator = Authenticator::with_verify(move |password, hash| {
            log.lock().unwrap().push(hash.parse::<bcrypt::HashParts>().unwrap().get_cost());
            password == b"right"
        });
        let hash = |cost: u32| format!("$2y${cost:02}${}", ".".repeat(53));
        let users = with_hashes([("alice", hash(12)), ("bob", hash(10))].into_iter());
        for (credentials, accepted, expected) in [
            ("alice:wrong", false, &[12][..]),
            ("bob:wrong", false, &[10, 10, 11]),
            ("nobody:wrong", false, &[12]),
            ("nobody:right", false, &[12]),
            ("bob:right", true, &[10]),
            ("alice:right", true, &[12]),
        ] {
            assert_eq!(accepts(&authenticator, &users, &basic(credentials.as_bytes())).await, accepted);
            assert_eq!(std::mem::take(&mut *costs.lock().unwrap()), expected, "{credentials}");
        }
    }

    #[tokio::test]
    async fn a_new_hash_causes_a_new_check() {
        let authenticator = Authenticator::new();
        assert!(accepts(&authenticator, &users(&[("eve", "x")]), &basic(b"eve:x")).await);
        assert!(!accepts(&authenticator, &users(&[("eve", "y")]), &basic(b"eve:x")).await);
    }

    #[tokio::test]
    async fn concurrent_requests_share_one_check_per_password() {
        let (users, authenticator) = (Arc::new(users(&[("alice", "right")])), Arc::new(Authenticator::new()));
        let mut all = JoinSet::new();
        for n in 0..300 {
            let (users, authenticator) = (Arc::clone(&users), Arc::clone(&authenticator));
            let credentials = if n % 2 == 0 { basic(b"alice:right") } else { basic(b"alice:wrong") };
            all.spawn(async move { accepts(&authenticator, &users, &credentials).await == (n % 2 == 0) });
        }
        assert!(all.join_all().await.into_iter().all(|is_correct| is_correct));
        assert_eq!(authenticator.results.0.lock().unwrap().len(), 2);
    }

    #[test]
    fn the_cache_has_at_most_a_hundred_results_and_evicts_failures_first() {
        let authenticator = Authenticator::new();
        for n in 0..100_u32 {
            authenticator.results.insert(n.to_be_bytes().to_vec(), n % 2 == 0);
        }
        assert_eq!(authenticator.results.0.lock().unwrap().len(), 100);
        authenticator.results.insert(b"one more".to_vec(), true);
        assert_eq!(authenticator.results.0.lock().unwrap().len(), 90);
        assert_eq!(authenticator.results.get(b"one more"), Some(true));
        for n in (0..100_u32).filter(|n| n % 2 == 0) {
            assert_eq!(authenticator.results.get(&n.to_be_bytes()), Some(true));
        }
        for n in 100..200_u32 {
            authenticator.results.insert(n.to_be_bytes().to_vec(), true);
        }
        assert!(authenticator.results.0.lock().unwrap().len() <= 100, "also if all of them are successes");
    }

    #[tokio::test]
    async fn unknown_users_do_not_share_cached_results() {
        let (users, authenticator) = (users(&[("alice", "x")]), Authenticator::new());
        for user in ["mallory", "trudy"] {
            let before = authenticator.results.0.lock().unwrap().len();
            assert!(!accepts(&authenticator, &users, &basic(format!("{user}:same").as_bytes())).await);
            assert_eq!(authenticator.results.0.lock().unwrap().len(), before + 1, "{user} cost a check");
        }
    }

    #[tokio::test]
    async fn a_crafted_name_or_password_does_not_match_the_cached_result_of_another_user() {
        let authenticator = Authenticator::new();
        let (stored, hash) = (bcrypt::hash("right", 4).unwrap(), "$2y$10$");
        let alice = with_hashes([("alice", stored.clone())].into_iter());
        assert!(accepts(&authenticator, &alice, &basic(b"alice:right")).await);
        for crafted in [
            format!("alice{stored}:right"),
            format!("alice:{stored}right"),
            format!("{stored}:right"),
            format!("alice:{hash}right"),
            "ali:ceright".to_owned(),
            "alic:eright".to_owned(),
        ] {
            assert!(!accepts(&authenticator, &alice, &basic(crafted.as_bytes())).await, "{crafted}");
            assert!(!accepts(&authenticator, &alice, &basic(crafted.as_bytes())).await, "{crafted}, again");
        }
        assert!(accepts(&authenticator, &alice, &basic(b"alice:right")).await);
    }

    #[test]
    fn user_hash_and_password_have_separate_places_in_the_key() {
        let key_of = |authenticator: &Authenticator, user: &str, hash: &str, password: &str| {
            let hashes = LoginHashes { own: Some(hash.into()), decoys: Vec::new() };
            authenticator.result_key(user.as_bytes(), &hashes, &password.as_bytes().to_vec().into())
        };
        let authenticator = Authenticator::new();
        let key = |user: &str, hash: &str, password: &str| key_of(&authenticator, user, hash, password);
        assert_ne!(key("", "ab", "c"), key("", "a", "bc"));
        assert_ne!(key("a", "b", "c"), key("ab", "", "c"));
        assert_eq!(key("a", "b", "c"), key("a", "b", "c"));
        let other = key_of(&Authenticator::new(), "a", "b", "c");
        assert_ne!(key("a", "b", "c"), other, "another process has other keys");
    }

    /// An authenticator that remembers alice, whose checks of other passwords last until the sender is dropped, and the
    /// number of checks that have started.
    async fn remembering_alice() -> (Arc<Authenticator>, Arc<Users>, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (release, wait) = mpsc::channel::<()>();
        let (wait, started) = (Mutex::new(wait), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&started);
        let authenticator = Authenticator::with_verify(move |password, _| {
            if password != b"right" {
                count.fetch_add(1, Ordering::SeqCst);
                wait.lock().unwrap().recv().ok();
            }
            password == b"right"
        });
        let users = users(&[("alice", "right")]);
        assert!(accepts(&authenticator, &users, &basic(b"alice:right")).await);
        (Arc::new(authenticator), Arc::new(users), release, started)
    }

    /// Starts logins of alice with passwords that nobody has tried before, and waits until the queue is full.
    async fn flood(
        authenticator: &Arc<Authenticator>,
        users: &Arc<Users>,
        started: &AtomicUsize,
        count: usize,
    ) -> JoinSet<Authentication> {
        let mut logins = JoinSet::new();
        for n in 0..count {
            let (authenticator, users) = (Arc::clone(authenticator), Arc::clone(users));
            let headers = basic(format!("alice:wrong {n}").as_bytes());
            logins.spawn(async move { authenticator.authenticate(&users, &headers, None).await });
        }
        let waiting = MAX_WAITING.min(count - 1);
        while started.load(Ordering::SeqCst) == 0 || authenticator.queue.waiting() < waiting {
            tokio::task::yield_now().await;
        }
        logins
    }

    #[tokio::test]
    async fn a_remembered_user_does_not_wait_for_the_checks_of_others() {
        let (authenticator, users, release, started) = remembering_alice().await;
        let logins = flood(&authenticator, &users, &started, MAX_WAITING + 1).await;
        let headers = basic(b"alice:right");
        // It is ready at once: a single poll, without a wait for anything.
        let login = std::pin::pin!(authenticator.authenticate(&users, &headers, None));
        let answer = login.poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(answer, Poll::Ready(Authentication::Accepted));
        drop((release, logins));
    }

    #[tokio::test]
    async fn logins_beyond_the_queue_are_not_checked_and_cost_nothing() {
        let (authenticator, users, release, started) = remembering_alice().await;
        let mut logins = flood(&authenticator, &users, &started, 200).await;
        for _ in 0..200 - MAX_WAITING - 1 {
            assert_eq!(logins.join_next().await.unwrap().unwrap(), Authentication::Unchecked);
        }
        assert_eq!(started.load(Ordering::SeqCst), 1);
        drop(release);
        assert_eq!(logins.join_all().await, [Authentication::Refused; MAX_WAITING + 1]);
        assert_eq!(started.load(Ordering::SeqCst), MAX_WAITING + 1);
        assert!(authenticator.checks.lock().unwrap().len() < 20, "the others are forgotten");
    }

    #[tokio::test]
    async fn checks_of_requests_that_are_dropped_are_not_made() {
        let (authenticator, users, release, started) = remembering_alice().await;
        let mut logins = flood(&authenticator, &users, &started, MAX_WAITING + 1).await;
        logins.shutdown().await;
        drop(release);
        assert!(!accepts(&authenticator, &users, &basic(b"alice:wrong again")).await);
        assert_eq!(started.load(Ordering::SeqCst), 2, "the one that had started, and the last one");
    }

    #[tokio::test]
    async fn a_client_that_has_hung_up_is_checked_only_if_it_need_not_wait() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        drop(tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        let (stream, address) = listener.accept().await.unwrap();
        let stream = Arc::new(stream);
        let peer = Peer::new(address, &stream);
        let (authenticator, users, release, started) = remembering_alice().await;
        let login = async |password: &str| {
            let headers = basic(format!("alice:{password}").as_bytes());
            authenticator.authenticate(&users, &headers, Some(&peer)).await
        };
        let first = flood(&authenticator, &users, &started, 1).await;
        assert_eq!(login("wrong").await, Authentication::Unchecked);
        assert_eq!(authenticator.queue.waiting(), 0);
        drop(release);
        assert_eq!(first.join_all().await, [Authentication::Refused]);
        // It may still read the response.
        assert_eq!(login("wrong").await, Authentication::Refused);
        assert_eq!(login("right").await, Authentication::Accepted);
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_waits_for_its_turn_for_8_seconds_at_most() {
        let (authenticator, users, release, started) = remembering_alice().await;
        let _first = flood(&authenticator, &users, &started, MAX_WAITING).await;
        let began = tokio::time::Instant::now();
        let headers = basic(b"alice:late");
        let login = authenticator.authenticate(&users, &headers, None);
        // A paused clock stands still while a blocking thread is at work.
        let login = async { tokio::join!(login, tokio::time::advance(MAX_WAIT)).0 };
        assert_eq!(login.await, Authentication::Unchecked);
        assert_eq!(began.elapsed(), MAX_WAIT);
        drop(release);
    }
}
