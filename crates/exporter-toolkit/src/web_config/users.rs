//! Users and their passwords: who is let in, at a cost that tells nothing.
//!
//! A check with bcrypt is slow by design, so its result is remembered, under a key that only this process can
//! compute from the password. Knows neither the file nor what is served.

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

/// What the password of an unknown user is compared with, so that the time taken does not tell who exists.
const NOBODY: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
/// How many results are remembered.
const MOST_RESULTS: usize = 100;
/// How many make room when there are so many.
const EVICTED: usize = MOST_RESULTS / 10 + 1;
/// Shorter than this is no hash of bcrypt's.
const SHORTEST_HASH: usize = 59;

/// Names with their password hashes.
#[derive(Default)]
pub(super) struct Users {
    hashes: HashMap<String, SecretString>,
    /// The hashes that nobody can get in with. They are no reason to keep out the other users.
    pub(super) problems: Vec<Problem>,
}

impl Users {
    /// Takes what the file has, after a look at every hash.
    pub(super) fn read(entries: Vec<Entry>) -> Self {
        let mut users = Self::default();
        for Entry { path, name, text } in entries {
            let cost = HashParts::from_str(&text).map(|parts| parts.get_cost());
            let problem = if text.len() < SHORTEST_HASH {
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

/// What a request presents itself with.
struct Credentials {
    user: Vec<u8>,
    password: SecretSlice<u8>,
}

impl Credentials {
    fn of(headers: &HeaderMap) -> Option<Self> {
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

/// Checks passwords, one at a time, and remembers the results.
pub(super) struct Passwords {
    key: hmac::Key,
    results: Mutex<HashMap<Vec<u8>, bool>>,
    turn: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the system has random bytes");
        Self { key, results: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }

    /// May a request with these headers pass?
    pub(super) async fn admit(&self, users: &Users, headers: &HeaderMap) -> bool {
        if users.hashes.is_empty() {
            return true;
        }
        let Some(Credentials { user, password }) = Credentials::of(headers) else { return false };
        let known = std::str::from_utf8(&user).ok().and_then(|user| users.hashes.get(user)).cloned();
        let is_known = known.is_some();
        let hash = known.unwrap_or_else(|| SecretString::from(NOBODY));
        self.matches(&user, hash, password).await && is_known
    }

    /// Is this the password of the hash?
    async fn matches(&self, user: &[u8], hash: SecretString, password: SecretSlice<u8>) -> bool {
        let name = self.name(user, &hash, &password);
        if let Some(result) = self.result(&name) {
            return result;
        }
        let turn = Arc::clone(&self.turn).acquire_owned().await.expect("it is never closed");
        // Whoever had the turn before may have asked the same.
        if let Some(result) = self.result(&name) {
            return result;
        }
        let check = tokio::task::spawn_blocking(move || {
            // A request that is given up does not give its turn to the next before the work is done.
            let _turn = turn;
            bcrypt::verify(password.expose_secret(), hash.expose_secret()).unwrap_or(false)
        });
        let Ok(result) = check.await else { return false };
        self.remember(name, result);
        result
    }

    /// What a result is remembered under. The user is part of it: if all who are unknown shared their results,
    /// one of them would be answered sooner than a user who exists.
    fn name(&self, user: &[u8], hash: &SecretString, password: &SecretSlice<u8>) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [user, hash.expose_secret().as_bytes(), password.expose_secret()] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }

    fn result(&self, name: &[u8]) -> Option<bool> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    fn remember(&self, name: Vec<u8>, result: bool) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        if results.len() >= MOST_RESULTS {
            // Whoever tries many passwords should not push out those who know theirs. Among equals the accident
            // of hashing picks: nobody can choose whose result goes.
            let mut names: Vec<_> = results.iter().map(|(name, result)| (*result, name.clone())).collect();
            names.sort_by_key(|(result, _)| *result);
            for (_, name) in names.iter().take(EVICTED) {
                results.remove(name);
            }
        }
        results.insert(name, result);
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
    async fn only_a_known_user_with_the_right_password_is_let_in_first_and_later() {
        let (users, passwords) = (users(&[("alice", "wonder:land"), ("bob", "")]), Passwords::new());
        for round in ["first", "remembered"] {
            for (credentials, admitted) in [
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
                let is = passwords.admit(&users, &basic(credentials)).await;
                assert_eq!(is, admitted, "{round}: {}", String::from_utf8_lossy(credentials));
            }
        }
    }

    #[tokio::test]
    async fn the_scheme_is_basic_in_any_case_and_nothing_else() {
        let (users, passwords) = (users(&[("a", "b")]), Passwords::new());
        for (value, admitted) in [
            ("Basic YTpi", true),
            ("basic YTpi", true),
            ("BASIC YTpi", true),
            ("Bearer YTpi", false),
            ("BasicYTpi", false),
            ("Basic", false),
            ("Basic !!!!", false),
            ("YTpi", false),
        ] {
            assert_eq!(passwords.admit(&users, &authorization(value)).await, admitted, "{value}");
        }
        assert!(!passwords.admit(&users, &HeaderMap::new()).await);
        assert!(passwords.admit(&Users::default(), &HeaderMap::new()).await, "no users, no passwords");
    }

    #[tokio::test]
    async fn an_unknown_user_is_refused_even_with_the_password_of_the_hash_that_stands_in() {
        let passwords = Passwords::new();
        let eve = Users { hashes: [("eve".to_owned(), NOBODY.into())].into(), problems: Vec::new() };
        assert!(passwords.admit(&eve, &basic(b"eve:fakepassword")).await, "the hash is sound");
        assert!(!passwords.admit(&eve, &basic(b"mallory:fakepassword")).await);
    }

    #[tokio::test]
    async fn a_new_hash_asks_for_a_new_check() {
        let passwords = Passwords::new();
        assert!(passwords.admit(&users(&[("eve", "x")]), &basic(b"eve:x")).await);
        assert!(!passwords.admit(&users(&[("eve", "y")]), &basic(b"eve:x")).await);
    }

    #[tokio::test]
    async fn many_at_once_get_each_their_own_answer_for_one_check_of_each_password() {
        let (users, passwords) = (Arc::new(users(&[("alice", "right")])), Arc::new(Passwords::new()));
        let mut all = tokio::task::JoinSet::new();
        for n in 0..300 {
            let (users, passwords) = (Arc::clone(&users), Arc::clone(&passwords));
            let credentials = if n % 2 == 0 { basic(b"alice:right") } else { basic(b"alice:wrong") };
            all.spawn(async move { passwords.admit(&users, &credentials).await == (n % 2 == 0) });
        }
        assert!(all.join_all().await.into_iter().all(|as_expected| as_expected));
        assert_eq!(passwords.results.lock().unwrap().len(), 2);
    }

    #[test]
    fn no_more_than_a_hundred_results_are_remembered_and_those_who_know_their_password_stay() {
        let passwords = Passwords::new();
        for n in 0..100_u32 {
            passwords.remember(n.to_be_bytes().to_vec(), n % 2 == 0);
        }
        assert_eq!(passwords.results.lock().unwrap().len(), 100);
        passwords.remember(b"one more".to_vec(), true);
        assert_eq!(passwords.results.lock().unwrap().len(), 90);
        assert_eq!(passwords.result(b"one more"), Some(true));
        for n in (0..100_u32).filter(|n| n % 2 == 0) {
            assert_eq!(passwords.result(&n.to_be_bytes()), Some(true));
        }
        for n in 100..200_u32 {
            passwords.remember(n.to_be_bytes().to_vec(), true);
        }
        assert!(passwords.results.lock().unwrap().len() <= 100, "also if all of them know theirs");
    }

    #[tokio::test]
    async fn an_unknown_user_is_never_answered_from_what_is_known_of_another() {
        let (users, passwords) = (users(&[("alice", "x")]), Passwords::new());
        for user in ["mallory", "trudy"] {
            let before = passwords.results.lock().unwrap().len();
            assert!(!passwords.admit(&users, &basic(format!("{user}:same").as_bytes())).await);
            assert_eq!(passwords.results.lock().unwrap().len(), before + 1, "{user} cost a check");
        }
    }

    #[tokio::test]
    async fn a_crafted_name_or_password_does_not_hit_upon_the_result_of_others() {
        let passwords = Passwords::new();
        let (alice, hash) = (users(&[("alice", "right")]), "$2y$10$");
        assert!(passwords.admit(&alice, &basic(b"alice:right")).await);
        let stored = alice.hashes["alice"].expose_secret();
        for crafted in [
            format!("alice{stored}:right"),
            format!("alice:{stored}right"),
            format!("{stored}:right"),
            format!("alice:{hash}right"),
            "ali:ceright".to_owned(),
            "alic:eright".to_owned(),
        ] {
            assert!(!passwords.admit(&alice, &basic(crafted.as_bytes())).await, "{crafted}");
            assert!(!passwords.admit(&alice, &basic(crafted.as_bytes())).await, "{crafted}, again");
        }
        assert!(passwords.admit(&alice, &basic(b"alice:right")).await);
    }

    #[test]
    fn user_hash_and_password_cannot_be_shifted_against_each_other() {
        let passwords = Passwords::new();
        let name = |user: &str, hash: &str, password: &str| {
            passwords.name(user.as_bytes(), &hash.into(), &SecretSlice::from(password.as_bytes().to_vec()))
        };
        assert_ne!(name("", "ab", "c"), name("", "a", "bc"));
        assert_ne!(name("a", "b", "c"), name("ab", "", "c"));
        assert_eq!(name("a", "b", "c"), name("a", "b", "c"));
        let other = Passwords::new().name(b"a", &"b".into(), &SecretSlice::from(b"c".to_vec()));
        assert_ne!(name("a", "b", "c"), other, "another process remembers under other names");
    }
}
