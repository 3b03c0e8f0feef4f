//! The tokens that the simulator issued: what they say, from which sign-in they descend and what became of
//! them.
//!
//! It knows nothing of HTTP, and it does not ask who may have a token.

use std::{collections::HashMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::scenario::{Rotation, Scenario};

#[derive(Default)]
pub(super) struct Tokens {
    sign_ins: u64,
    families: Vec<Family>,
    /// By tenant and token. A first token is in it once used.
    refresh: HashMap<(String, String), RefreshToken>,
    /// An expired one is kept, to tell it from one that was never issued.
    access: HashMap<String, AccessToken>,
    /// When a scenario first named a first token.
    named: HashMap<String, Instant>,
}

/// All that descends from one sign-in of a person, by its place in the list.
#[derive(Clone, Copy)]
pub(super) struct FamilyId(usize);

struct Family {
    mfa: bool,
    ended: bool,
}

#[derive(Clone, Copy)]
struct RefreshToken {
    family: FamilyId,
    issued: Instant,
    superseded: bool,
}

struct AccessToken {
    caller: Caller,
    issued: Instant,
    lifetime: Duration,
}

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) tenant: String,
    /// The number of the answer that had the token; its refresh token's name has it too.
    pub(super) sign_in: u64,
    pub(super) audience: String,
    pub(super) mfa: bool,
}

/// What is wrong with a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Unknown,
    Revoked(Instant),
    Expired(Instant),
}

/// Who gets tokens for what.
pub(super) struct Order<'a> {
    pub(super) tenant: &'a str,
    pub(super) family: FamilyId,
    pub(super) audience: &'a str,
    /// The refresh token that gets a successor, if there is to be one.
    pub(super) used: Option<&'a str>,
    pub(super) offline: bool,
    pub(super) now: Timestamp,
}

impl Tokens {
    /// Lets the life of first tokens begin that are new in this scenario.
    pub(super) fn name_first(&mut self, scenario: &Scenario) {
        for token in scenario.first_tokens() {
            self.named.entry(token.to_owned()).or_insert_with(Instant::now);
        }
    }

    /// A person has signed in.
    pub(super) fn begin(&mut self, mfa: bool) -> FamilyId {
        self.families.push(Family { mfa, ended: false });
        FamilyId(self.families.len() - 1)
    }

    /// The sign-in that a refresh token descends from.
    pub(super) fn redeem(
        &mut self,
        scenario: &Scenario,
        tenant: &str,
        token: &str,
    ) -> Result<FamilyId, Refusal> {
        let key = (tenant.to_owned(), token.to_owned());
        let known = match self.refresh.get(&key) {
            Some(known) => *known,
            None if scenario.refresh_token_of(tenant) == token => {
                let issued = self.named.get(token).copied().unwrap_or_else(Instant::now);
                let family = self.begin(scenario.mfa_of(tenant));
                let known = RefreshToken { family, issued, superseded: false };
                self.refresh.insert(key, known);
                known
            }
            None => return Err(Refusal::Unknown),
        };
        let family = &mut self.families[known.family.0];
        match scenario.rotation {
            Rotation::Strict if known.superseded => return Err(Refusal::Unknown),
            Rotation::Family if known.superseded => family.ended = true,
            _ => {}
        }
        if family.ended {
            Err(Refusal::Revoked(known.issued))
        } else if known.issued.elapsed() >= scenario.refresh_token_lifetime {
            Err(Refusal::Expired(known.issued))
        } else {
            Ok(known.family)
        }
    }

    /// Issues an access token and, if it is asked for, a refresh token.
    pub(super) fn issue(&mut self, scenario: &Scenario, order: &Order<'_>) -> (String, Option<String>) {
        self.sign_ins += 1;
        let &Order { tenant, family, audience, used, offline, now } = order;
        let caller = Caller {
            tenant: tenant.to_owned(),
            sign_in: self.sign_ins,
            audience: audience.to_owned(),
            mfa: self.families[family.0].mfa,
        };
        let (issued, lifetime) = (Instant::now(), scenario.access_token_lifetime);
        let name =
            |kind: &str| format!("simulated-{kind}-token-{}-{}", caller.sign_in, Uuid::new_v4().simple());
        let header = json!({"typ": "JWT", "alg": "RS256"});
        let claims = claims(&caller, &scenario.client_id, now, lifetime);
        let access = format!("{}.{}.{}", part(&header), part(&claims), name("access"));
        let refresh = offline.then(|| name("refresh"));
        self.access.insert(access.clone(), AccessToken { caller, issued, lifetime });
        if let Some(refresh) = &refresh {
            let superseded = used.and_then(|used| self.refresh.get_mut(&(tenant.into(), used.into())));
            if let Some(superseded) = superseded {
                superseded.superseded = true;
            }
            let token = RefreshToken { family, issued, superseded: false };
            self.refresh.insert((tenant.to_owned(), refresh.clone()), token);
        }
        (access, refresh)
    }

    /// To whom an access token was issued, and whether it is still good.
    pub(super) fn caller(&self, access_token: &str) -> Option<(&Caller, bool)> {
        let AccessToken { caller, issued, lifetime } = self.access.get(access_token)?;
        Some((caller, issued.elapsed() < *lifetime))
    }
}

/// As Entra ID writes them into a v1.0 token, which is what Partner Center takes.
fn claims(caller: &Caller, client_id: &str, now: Timestamp, lifetime: Duration) -> Value {
    let methods: &[&str] = if caller.mfa { &["pwd", "mfa"] } else { &["pwd"] };
    let issued = now.as_second();
    json!({
        "aud": caller.audience,
        "iss": format!("https://sts.windows.net/{}/", caller.tenant),
        "iat": issued,
        "nbf": issued,
        "exp": issued.saturating_add_unsigned(lifetime.as_secs()),
        "amr": methods,
        "appid": client_id,
        "oid": "00000000-0000-0000-0000-00000000a9e0",
        "scp": "user_impersonation",
        "tid": caller.tenant,
        "upn": "agent@simulated.example",
        "ver": "1.0",
    })
}

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}
