//! `basic_auth_users`: the users with their password hashes, and which hashes a login is checked with.
//!
//! A refusal must not tell which users exist. The work of bcrypt doubles with each step of its cost. So a refused login
//! always costs as much as one check with the highest cost in the file: the rest is spent on decoys, which are hashes
//! that no password has. Costs above [`HIGHEST_COST`] are an exception, since anybody could keep the processor busy.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use bcrypt::HashParts;
use secrecy::SecretString;

use crate::yaml::{self, Entry, Problem};

/// The length of the shortest bcrypt hash.
const MIN_HASH_LENGTH: usize = 59;
/// The highest cost of a decoy: a check takes about a second.
const HIGHEST_COST: u32 = 14;
/// The cost where no user has a hash that can be used.
const DEFAULT_COST: u32 = 10;

/// The users of a file.
#[derive(Default)]
pub(super) struct Users {
    /// The hash of each user, with its cost; `None` if it cannot be used.
    hashes: HashMap<String, Option<(u32, SecretString)>>,
    /// A decoy for each cost from the lowest to the highest in the file, or to [`HIGHEST_COST`].
    decoys: BTreeMap<u32, SecretString>,
    /// The hashes that cannot be used, which lock out their own users only.
    pub(super) problems: Vec<Problem>,
}

/// The hashes with which a login is checked.
pub(super) struct LoginHashes {
    /// The hash of the user, if there is one.
    pub(super) own: Option<SecretString>,
    /// The hashes that are checked as well if the password is wrong.
    pub(super) decoys: Vec<SecretString>,
}

impl Users {
    /// Reads the section and checks every hash.
    pub(super) fn read(entries: Vec<Entry>) -> Self {
        let mut users = Self::default();
        for Entry { path, name, text } in entries {
            let cost = HashParts::from_str(&text).map(|parts| parts.get_cost());
            let cost = cost.ok().filter(|cost| (4..=31).contains(cost));
            let problem = if text.len() < MIN_HASH_LENGTH {
                Some(
                    "crypto/bcrypt: hashedSecret too short to be a bcrypted password; write the bcrypt hash of \
                     the password",
                )
            } else if cost.is_none() {
                Some("is no bcrypt hash; it has 60 characters and begins like $2y$12$")
            } else {
                None
            };
            let hash = cost.filter(|_| problem.is_none()).map(|cost| (cost, SecretString::from(text)));
            users.problems.extend(problem.map(|text| Problem { path, text: text.to_owned() }));
            users.hashes.insert(name, hash);
        }
        let costs = || users.hashes.values().flatten().map(|(cost, _)| *cost);
        let [lowest, highest] =
            [costs().min(), costs().max()].map(|cost| cost.unwrap_or(DEFAULT_COST).min(HIGHEST_COST));
        users.decoys = (lowest..=highest).map(|cost| (cost, decoy(cost))).collect();
        users
    }

    /// Returns what is accepted but may not do what its author expects.
    pub(super) fn warnings(&self) -> Vec<Problem> {
        let mut names: Vec<_> =
            self.hashes.iter().filter_map(|(name, hash)| Some((name, hash.as_ref()?))).collect();
        names.retain(|(_, (cost, _))| *cost > HIGHEST_COST);
        names.sort_by_key(|(name, _)| *name);
        let warning = |(name, (cost, _)): (&String, &(u32, SecretString))| Problem {
            path: format!("basic_auth_users.{}", yaml::shorten(name, "name")),
            text: format!(
                "has a hash of cost {cost}, whose check takes {} s or more, which tells that the user exists; use a \
                 cost of at most {HIGHEST_COST}, as in htpasswd -nBC 12",
                1_u64 << (cost - HIGHEST_COST)
            ),
        };
        names.into_iter().map(warning).collect()
    }

    /// Returns whether no password is needed.
    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Returns the hashes with which a login of `user` is checked.
    pub(super) fn login_hashes(&self, user: &[u8]) -> LoginHashes {
        let known = std::str::from_utf8(user).ok().and_then(|user| self.hashes.get(user)?.as_ref());
        match known {
            // 2^c + (2^c + 2^(c+1) + … + 2^(h-1)) = 2^h, where c is the cost and h the highest.
            Some((cost, hash)) => {
                let highest = self.decoys.keys().next_back().map_or(*cost, |highest| (*highest).max(*cost));
                let decoys = self.decoys.range(cost..&highest).map(|(_, decoy)| decoy.clone()).collect();
                LoginHashes { own: Some(hash.clone()), decoys }
            }
            None => LoginHashes {
                own: None,
                decoys: self.decoys.values().next_back().cloned().into_iter().collect(),
            },
        }
    }
}

/// Makes up a bcrypt hash, which takes no time.
fn decoy(cost: u32) -> SecretString {
    let (mut salt, mut digest) = ([0; 16], [0; 23]);
    for bytes in [&mut salt[..], &mut digest] {
        SystemRandom::new().fill(bytes).expect("the system has random bytes");
    }
    let encoding = GeneralPurpose::new(&base64::alphabet::BCRYPT, NO_PAD);
    SecretString::from(format!("$2y${cost:02}${}{}", encoding.encode(salt), encoding.encode(digest)))
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.hashes.len())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn users(hashes: &[(&str, String)]) -> Users {
        let entry = |(name, text): &(&str, String)| Entry {
            path: format!("basic_auth_users.{name}"),
            name: (*name).to_owned(),
            text: text.clone(),
        };
        Users::read(hashes.iter().map(entry).collect())
    }

    fn of_cost(cost: u32) -> String {
        decoy(cost).expose_secret().to_owned()
    }

    /// Returns the work of a refusal, in units of bcrypt's lowest cost.
    fn work(users: &Users, user: &str) -> u64 {
        let LoginHashes { own, decoys } = users.login_hashes(user.as_bytes());
        let cost = |hash: SecretString| hash.expose_secret().parse::<HashParts>().unwrap().get_cost();
        own.into_iter().chain(decoys).map(|hash| 1 << cost(hash)).sum()
    }

    #[test]
    fn every_refusal_costs_as_much_as_a_check_of_the_highest_cost() {
        for costs in [&[12, 5][..], &[5], &[10, 11, 12], &[14], &[4, 4, 9]] {
            let named: Vec<_> = costs.iter().map(|cost| (format!("user-{cost}"), of_cost(*cost))).collect();
            let named: Vec<_> = named.iter().map(|(name, hash)| (name.as_str(), hash.clone())).collect();
            let users = users(&named);
            let highest = 1 << costs.iter().max().unwrap();
            for user in named.iter().map(|(name, _)| *name).chain(["nobody", ""]) {
                assert_eq!(work(&users, user), highest, "{costs:?}, {user}");
            }
        }
    }

    #[test]
    fn a_user_whose_hash_cannot_be_used_is_refused_like_one_who_does_not_exist() {
        let found = users(&[("alice", of_cost(11)), ("bob", "x".repeat(60)), ("eve", "short".to_owned())]);
        assert_eq!(found.problems.len(), 2);
        for user in ["bob", "eve", "nobody"] {
            assert!(found.login_hashes(user.as_bytes()).own.is_none(), "{user}");
            assert_eq!(work(&found, user), 1 << 11, "{user}");
        }
        let locked = users(&[("bob", "x".repeat(60))]);
        assert!(!locked.is_empty(), "a password is needed");
        assert_eq!(work(&locked, "bob"), 1 << DEFAULT_COST);
    }

    #[test]
    fn a_cost_beyond_14_is_warned_about_and_not_that_of_a_decoy() {
        let found = users(&[("alice", of_cost(18)), ("bob", of_cost(14)), ("carol", of_cost(15))]);
        assert_eq!(
            ["alice", "bob", "carol", "nobody"].map(|user| work(&found, user)),
            [1 << 18, 1 << 14, 1 << 15, 1 << 14]
        );
        let warnings: Vec<_> = found.warnings().iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), 2);
        assert!(
            warnings[0]
                .starts_with("basic_auth_users.alice: has a hash of cost 18, whose check takes 16 s or more"),
            "{warnings:?}"
        );
        assert_eq!(users(&[("alice", of_cost(18))]).decoys.len(), 1);
    }

    #[test]
    fn a_decoy_is_a_valid_hash_that_bcrypt_works_on() {
        let decoy = decoy(4);
        assert_eq!(decoy.expose_secret().len(), 60);
        assert!(!bcrypt::verify("a password", decoy.expose_secret()).unwrap());
        assert_ne!(of_cost(4), of_cost(4));
    }
}
