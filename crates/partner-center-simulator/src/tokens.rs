//! The tokens that were issued: their claims, the sign-in that each descends from and whether they are still valid.
//!
//! It knows nothing of HTTP and does not decide who gets a token.

use std::{collections::HashMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::scenario::{Rotation, Scenario};

/// Every token that was issued.
#[derive(Default)]
pub(crate) struct TokenStore {
    /// How many token responses were issued.
    responses: u64,
    families: Vec<Family>,
    /// By tenant and token; an initial token is added on its first use.
    refresh: HashMap<(String, String), RefreshToken>,
    /// Expired tokens stay, to tell them from tokens that were never issued.
    access: HashMap<String, AccessToken>,
    /// When a scenario first named each initial token.
    initial: HashMap<String, Instant>,
}

/// Identifies the family of tokens that descend from one sign-in, by its index.
#[derive(Clone, Copy)]
pub(crate) struct FamilyId(usize);

struct Family {
    mfa: bool,
    revoked: bool,
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

/// The identity that an access token was issued to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) tenant: String,
    /// The number of the token response, which is part of the names of its tokens.
    pub(crate) response: u64,
    pub(crate) audience: String,
    pub(crate) mfa: bool,
}

/// Why a refresh token is refused, with the instant of its issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshTokenError {
    Unknown,
    Revoked(Instant),
    Expired(Instant),
}

/// What tokens are issued for.
pub(crate) struct IssueRequest<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) family: FamilyId,
    pub(crate) audience: &'a str,
    /// The refresh token that was redeemed, which a new refresh token supersedes.
    pub(crate) redeemed: Option<&'a str>,
    /// Whether the scope asks for a refresh token.
    pub(crate) offline: bool,
    pub(crate) now: Timestamp,
}

impl TokenStore {
    /// Starts the lifetime of the initial tokens that no earlier scenario named.
    pub(crate) fn add_initial_tokens(&mut self, scenario: &Scenario) {
        for token in scenario.initial_refresh_tokens() {
            self.initial.entry(token.to_owned()).or_insert_with(Instant::now);
        }
    }

    /// Starts the family of a new sign-in.
    pub(crate) fn start_family(&mut self, mfa: bool) -> FamilyId {
        self.families.push(Family { mfa, revoked: false });
        FamilyId(self.families.len() - 1)
    }

    /// Redeems a refresh token and returns its family.
    pub(crate) fn redeem(
        &mut self,
        scenario: &Scenario,
        tenant: &str,
        token: &str,
    ) -> Result<FamilyId, RefreshTokenError> {
        let key = (tenant.to_owned(), token.to_owned());
        let known = match self.refresh.get(&key) {
            Some(known) => *known,
            None if scenario.for_tenant(tenant).refresh_token == token => {
                let issued = self.initial.get(token).copied().unwrap_or_else(Instant::now);
                let family = self.start_family(scenario.for_tenant(tenant).mfa);
                let known = RefreshToken { family, issued, superseded: false };
                self.refresh.insert(key, known);
                known
            }
            None => return Err(RefreshTokenError::Unknown),
        };
        let family = &mut self.families[known.family.0];
        match scenario.rotation {
            Rotation::Strict if known.superseded => return Err(RefreshTokenError::Unknown),
            Rotation::Family if known.superseded => family.revoked = true,
            _ => {}
        }
        if family.revoked {
            Err(RefreshTokenError::Revoked(known.issued))
        } else if known.issued.elapsed() >= scenario.refresh_token_lifetime {
            Err(RefreshTokenError::Expired(known.issued))
        } else {
            Ok(known.family)
        }
    }

    /// Issues an access token, and a refresh token if one was redeemed or requested.
    pub(crate) fn issue(
        &mut self,
        scenario: &Scenario,
        request: &IssueRequest<'_>,
    ) -> (String, Option<String>) {
        self.responses += 1;
        let &IssueRequest { tenant, family, audience, redeemed, offline, now } = request;
        let caller = Caller {
            tenant: tenant.to_owned(),
            response: self.responses,
            audience: audience.to_owned(),
            mfa: self.families[family.0].mfa,
        };
        let (issued, lifetime) = (Instant::now(), scenario.access_token_lifetime);
        let name =
            |kind: &str| format!("simulated-{kind}-token-{}-{}", caller.response, Uuid::new_v4().simple());
        let header = json!({"typ": "JWT", "alg": "RS256"});
        let claims = claims(&caller, &scenario.client_id, now, lifetime);
        let access = format!("{}.{}.{}", encoded(&header), encoded(&claims), name("access"));
        // Entra ID sends a new refresh token for each one that is redeemed, also if the scope does not ask for one.
        let refresh = (offline || redeemed.is_some()).then(|| name("refresh"));
        self.access.insert(access.clone(), AccessToken { caller, issued, lifetime });
        if let Some(refresh) = &refresh {
            // A client that did not ask for the successor may ignore it.
            let predecessor = redeemed.filter(|_| offline).map(|token| (tenant.to_owned(), token.to_owned()));
            if let Some(predecessor) = predecessor.and_then(|key| self.refresh.get_mut(&key)) {
                predecessor.superseded = true;
            }
            let token = RefreshToken { family, issued, superseded: false };
            self.refresh.insert((tenant.to_owned(), refresh.clone()), token);
        }
        (access, refresh)
    }

    /// The identity that an access token was issued to, and whether the token is still valid.
    pub(crate) fn caller(&self, access_token: &str) -> Option<(&Caller, bool)> {
        let AccessToken { caller, issued, lifetime } = self.access.get(access_token)?;
        Some((caller, issued.elapsed() < *lifetime))
    }
}

/// The claims of a v1.0 access token, the version that Partner Center accepts.
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

fn encoded(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}
