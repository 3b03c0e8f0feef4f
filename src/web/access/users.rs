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

use crate::yaml::{Entry, Problems};

/// What the password of an unknown user is compared with, so that the time taken does not tell who exists.
const NOBODY: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
/// How many results are remembered.
const MOST_RESULTS: usize = 100;
/// Shorter than this is no hash of bcrypt's.
const SHORTEST_HASH: usize = 59;

/// Names with their password hashes.
#[derive(Default)]
pub(super) struct Users(HashMap<String, SecretString>);

impl Users {
    /// Takes what the file has, after a look at every hash.
    pub(super) fn read(entries: Vec<Entry>, problems: &mut Problems) -> Self {
        let mut users = HashMap::new();
        for Entry { path, name, text } in entries {
            let cost = HashParts::from_str(&text).map(|parts| parts.get_cost());
            if text.len() < SHORTEST_HASH {
                let hint = "write the bcrypt hash of the password";
                problems.add(
                    path,
                    format!("crypto/bcrypt: hashedSecret too short to be a bcrypted password; {hint}"),
                );
            } else if !cost.is_ok_and(|cost| (4..=31).contains(&cost)) {
                problems.add(path, "is no bcrypt hash; it has 60 characters and begins like $2y$12$");
            }
            users.insert(name, SecretString::from(text));
        }
        Self(users)
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.0.len())
    }
}

/// What a request presents itself with.
struct Credentials {
    user: Option<String>,
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
        Some(Self {
            // A name that is not UTF-8 is nobody's.
            user: std::str::from_utf8(user).ok().map(str::to_owned),
            password: SecretSlice::from(password.to_vec()),
        })
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
        if users.0.is_empty() {
            return true;
        }
        let Some(Credentials { user, password }) = Credentials::of(headers) else { return false };
        let known = user.as_ref().and_then(|user| users.0.get(user)).cloned();
        let is_known = known.is_some();
        let hash = known.unwrap_or_else(|| SecretString::from(NOBODY));
        self.matches(hash, password).await && is_known
    }

    /// Is this the password of the hash?
    async fn matches(&self, hash: SecretString, password: SecretSlice<u8>) -> bool {
        let name = self.name(&hash, &password);
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

    /// What a result is remembered under. A hash belongs to one password, whoever the user is.
    fn name(&self, hash: &SecretString, password: &SecretSlice<u8>) -> Vec<u8> {
        let hash = hash.expose_secret().as_bytes();
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&hash.len().to_be_bytes());
        context.update(hash);
        context.update(password.expose_secret());
        context.sign().as_ref().to_vec()
    }

    fn result(&self, name: &[u8]) -> Option<bool> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    fn remember(&self, name: Vec<u8>, result: bool) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        if results.len() >= MOST_RESULTS {
            // A tenth, picked by the accident of hashing: nobody can choose whose result goes.
            let some: Vec<_> = results.keys().take(MOST_RESULTS / 10).cloned().collect();
            results.retain(|name, _| !some.contains(name));
        }
        results.insert(name, result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(pairs: &[(&str, &str)]) -> Users {
        let hash = |password: &str| bcrypt::hash(password, 4).unwrap().into();
        Users(pairs.iter().map(|(user, password)| ((*user).to_owned(), hash(password))).collect())
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
        let eve = Users([("eve".to_owned(), NOBODY.into())].into());
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
    fn no_more_than_a_hundred_results_are_remembered() {
        let passwords = Passwords::new();
        for n in 0..100_u32 {
            passwords.remember(n.to_be_bytes().to_vec(), true);
        }
        assert_eq!(passwords.results.lock().unwrap().len(), 100);
        passwords.remember(b"one more".to_vec(), true);
        assert_eq!(passwords.results.lock().unwrap().len(), 91);
        assert_eq!(passwords.result(b"one more"), Some(true));
    }

    #[test]
    fn hash_and_password_cannot_be_shifted_against_each_other() {
        let passwords = Passwords::new();
        let name = |hash: &str, password: &str| {
            passwords.name(&hash.into(), &SecretSlice::from(password.as_bytes().to_vec()))
        };
        assert_ne!(name("ab", "c"), name("a", "bc"));
        assert_eq!(name("ab", "c"), name("ab", "c"));
        let other = Passwords::new().name(&"ab".into(), &SecretSlice::from(b"c".to_vec()));
        assert_ne!(name("ab", "c"), other, "another process remembers under other names");
    }
}
