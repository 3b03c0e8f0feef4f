//! `basic_auth_users`: authentication in a time that does not reveal which users exist.
//!
//! bcrypt is slow by design, so results are cached, under a key that only this process can compute from the password.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bcrypt::HashParts;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use tokio::sync::Semaphore;

use crate::yaml::{Entry, Problem};

/// The hash for unknown users, whose check takes as long as that of an existing user.
const UNKNOWN_USER_HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
/// The size of the cache.
const MAX_RESULTS: usize = 100;
/// The number of results that are evicted when the cache is full.
const EVICTED: usize = MAX_RESULTS / 10 + 1;
/// The length of the shortest bcrypt hash.
const MIN_HASH_LENGTH: usize = 59;

/// The names of the users with their password hashes.
#[derive(Default)]
pub(super) struct Users {
    hashes: HashMap<String, SecretString>,
    /// The hashes that cannot be used, which lock out their own users only.
    pub(super) problems: Vec<Problem>,
}

impl Users {
    /// Reads the section and checks every hash.
    pub(super) fn read(entries: Vec<Entry>) -> Self {
        let mut users = Self::default();
        for Entry { path, name, text } in entries {
            let cost = HashParts::from_str(&text).map(|parts| parts.get_cost());
            let problem = if text.len() < MIN_HASH_LENGTH {
                Some(
                    "crypto/bcrypt: hashedSecret too short to be a bcrypted password; write the bcrypt hash of \
                     the password",
                )
            } else if cost.is_ok_and(|cost| (4..=31).contains(&cost)) {
                None
            } else {
                Some("is no bcrypt hash; it has 60 characters and begins like $2y$12$")
            };
            users.problems.extend(problem.map(|text| Problem { path, text: text.to_owned() }));
            users.hashes.insert(name, SecretString::from(text));
        }
        users
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.hashes.len())
    }
}

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

/// Checks passwords one at a time and caches the results.
pub(super) struct Authenticator {
    key: hmac::Key,
    results: Mutex<HashMap<Vec<u8>, bool>>,
    checking: Arc<Semaphore>,
}

impl Authenticator {
    pub(super) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the system has random bytes");
        Self { key, results: Mutex::default(), checking: Arc::new(Semaphore::new(1)) }
    }

    /// Returns whether the headers have the name and the password of a user, or there are no users.
    pub(super) async fn authenticate(&self, users: &Users, headers: &HeaderMap) -> bool {
        if users.hashes.is_empty() {
            return true;
        }
        let Some(Credentials { user, password }) = Credentials::from_headers(headers) else { return false };
        let known = std::str::from_utf8(&user).ok().and_then(|user| users.hashes.get(user)).cloned();
        let is_known = known.is_some();
        let hash = known.unwrap_or_else(|| SecretString::from(UNKNOWN_USER_HASH));
        self.matches(&user, hash, password).await && is_known
    }

    /// Returns whether the hash is that of the password.
    async fn matches(&self, user: &[u8], hash: SecretString, password: SecretSlice<u8>) -> bool {
        let key = self.cache_key(user, &hash, &password);
        if let Some(result) = self.cached(&key) {
            return result;
        }
        let permit = Arc::clone(&self.checking).acquire_owned().await.expect("it is never closed");
        // The check before this one may have been the same.
        if let Some(result) = self.cached(&key) {
            return result;
        }
        let check = tokio::task::spawn_blocking(move || {
            // A cancelled request keeps its permit until the check ends.
            let _permit = permit;
            bcrypt::verify(password.expose_secret(), hash.expose_secret()).unwrap_or(false)
        });
        let Ok(result) = check.await else { return false };
        self.cache(key, result);
        result
    }

    /// Returns the key of a result. The user is part of it: with a shared result, a second unknown user would be
    /// refused sooner than one who exists.
    fn cache_key(&self, user: &[u8], hash: &SecretString, password: &SecretSlice<u8>) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [user, hash.expose_secret().as_bytes(), password.expose_secret()] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }

    fn cached(&self, key: &[u8]) -> Option<bool> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    fn cache(&self, key: Vec<u8>, result: bool) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
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
    use super::*;

    fn users(pairs: &[(&str, &str)]) -> Users {
        let hash = |password: &str| bcrypt::hash(password, 4).unwrap().into();
        let hashes = pairs.iter().map(|(user, password)| ((*user).to_owned(), hash(password))).collect();
        Users { hashes, problems: Vec::new() }
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
                let found = authenticator.authenticate(&users, &basic(credentials)).await;
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
            assert_eq!(authenticator.authenticate(&users, &authorization(value)).await, expected, "{value}");
        }
        assert!(!authenticator.authenticate(&users, &HeaderMap::new()).await);
        assert!(
            authenticator.authenticate(&Users::default(), &HeaderMap::new()).await,
            "without users no password is needed"
        );
    }

    #[tokio::test]
    async fn an_unknown_user_is_refused_even_with_the_password_of_the_hash_for_unknown_users() {
        let authenticator = Authenticator::new();
        let eve =
            Users { hashes: [("eve".to_owned(), UNKNOWN_USER_HASH.into())].into(), problems: Vec::new() };
        assert!(authenticator.authenticate(&eve, &basic(b"eve:fakepassword")).await, "the hash is valid");
        assert!(!authenticator.authenticate(&eve, &basic(b"mallory:fakepassword")).await);
    }

    #[tokio::test]
    async fn a_new_hash_causes_a_new_check() {
        let authenticator = Authenticator::new();
        assert!(authenticator.authenticate(&users(&[("eve", "x")]), &basic(b"eve:x")).await);
        assert!(!authenticator.authenticate(&users(&[("eve", "y")]), &basic(b"eve:x")).await);
    }

    #[tokio::test]
    async fn concurrent_requests_share_one_check_per_password() {
        let (users, authenticator) = (Arc::new(users(&[("alice", "right")])), Arc::new(Authenticator::new()));
        let mut all = tokio::task::JoinSet::new();
        for n in 0..300 {
            let (users, authenticator) = (Arc::clone(&users), Arc::clone(&authenticator));
            let credentials = if n % 2 == 0 { basic(b"alice:right") } else { basic(b"alice:wrong") };
            all.spawn(async move { authenticator.authenticate(&users, &credentials).await == (n % 2 == 0) });
        }
        assert!(all.join_all().await.into_iter().all(|is_correct| is_correct));
        assert_eq!(authenticator.results.lock().unwrap().len(), 2);
    }

    #[test]
    fn the_cache_has_at_most_a_hundred_results_and_evicts_failures_first() {
        let authenticator = Authenticator::new();
        for n in 0..100_u32 {
            authenticator.cache(n.to_be_bytes().to_vec(), n % 2 == 0);
        }
        assert_eq!(authenticator.results.lock().unwrap().len(), 100);
        authenticator.cache(b"one more".to_vec(), true);
        assert_eq!(authenticator.results.lock().unwrap().len(), 90);
        assert_eq!(authenticator.cached(b"one more"), Some(true));
        for n in (0..100_u32).filter(|n| n % 2 == 0) {
            assert_eq!(authenticator.cached(&n.to_be_bytes()), Some(true));
        }
        for n in 100..200_u32 {
            authenticator.cache(n.to_be_bytes().to_vec(), true);
        }
        assert!(authenticator.results.lock().unwrap().len() <= 100, "also if all of them are successes");
    }

    #[tokio::test]
    async fn unknown_users_do_not_share_cached_results() {
        let (users, authenticator) = (users(&[("alice", "x")]), Authenticator::new());
        for user in ["mallory", "trudy"] {
            let before = authenticator.results.lock().unwrap().len();
            assert!(!authenticator.authenticate(&users, &basic(format!("{user}:same").as_bytes())).await);
            assert_eq!(authenticator.results.lock().unwrap().len(), before + 1, "{user} cost a check");
        }
    }

    #[tokio::test]
    async fn a_crafted_name_or_password_does_not_match_the_cached_result_of_another_user() {
        let authenticator = Authenticator::new();
        let (alice, hash) = (users(&[("alice", "right")]), "$2y$10$");
        assert!(authenticator.authenticate(&alice, &basic(b"alice:right")).await);
        let stored = alice.hashes["alice"].expose_secret();
        for crafted in [
            format!("alice{stored}:right"),
            format!("alice:{stored}right"),
            format!("{stored}:right"),
            format!("alice:{hash}right"),
            "ali:ceright".to_owned(),
            "alic:eright".to_owned(),
        ] {
            assert!(!authenticator.authenticate(&alice, &basic(crafted.as_bytes())).await, "{crafted}");
            assert!(
                !authenticator.authenticate(&alice, &basic(crafted.as_bytes())).await,
                "{crafted}, again"
            );
        }
        assert!(authenticator.authenticate(&alice, &basic(b"alice:right")).await);
    }

    #[test]
    fn user_hash_and_password_have_separate_places_in_the_key() {
        let authenticator = Authenticator::new();
        let key = |user: &str, hash: &str, password: &str| {
            authenticator.cache_key(
                user.as_bytes(),
                &hash.into(),
                &SecretSlice::from(password.as_bytes().to_vec()),
            )
        };
        assert_ne!(key("", "ab", "c"), key("", "a", "bc"));
        assert_ne!(key("a", "b", "c"), key("ab", "", "c"));
        assert_eq!(key("a", "b", "c"), key("a", "b", "c"));
        let other = Authenticator::new().cache_key(b"a", &"b".into(), &SecretSlice::from(b"c".to_vec()));
        assert_ne!(key("a", "b", "c"), other, "another process has other keys");
    }
}
