//! What the simulator remembers between two requests: the scenario, how often it was applied, the
//! tokens it issued and the requests it saw.
//!
//! It knows nothing of HTTP beyond the `Authorization` header.

use std::{collections::HashMap, time::Duration};

use axum::http::HeaderValue;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    log::{Endpoint, RequestLog},
    scenario::{Behaviour, Rotation, Scenario, TokenAnswer, UsageAnswer},
};

#[derive(Default)]
pub(super) struct State {
    pub(super) scenario: Scenario,
    pub(super) log: RequestLog,
    /// Calls under this scenario, as far as its behaviour depends on them.
    calls: HashMap<(Endpoint, String), u32>,
    sign_ins: u64,
    /// By tenant and token: whether a successor was issued. The first token is in it once used.
    refresh_tokens: HashMap<(String, String), bool>,
    /// An expired one is kept, to tell it from one that was never issued.
    access_tokens: HashMap<String, AccessToken>,
}

struct AccessToken {
    caller: Caller,
    issued: Instant,
    lifetime: Duration,
}

/// To whom an access token was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) tenant: String,
    /// The number of the sign-in, which its refresh token's name has too.
    pub(super) sign_in: u64,
}

/// What the usage endpoint makes of the `Authorization` header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Authorization {
    Valid(Caller),
    Expired(Caller),
    Unknown,
    Missing,
}

impl State {
    pub(super) fn new(scenario: Scenario) -> Self {
        Self { scenario, ..Self::default() }
    }

    /// Issued tokens stay valid: a new scenario is a change of the weather, not a new server.
    pub(super) fn replace_scenario(&mut self, scenario: Scenario) {
        self.scenario = scenario;
        self.calls.clear();
    }

    pub(super) fn next_token_behaviour(&mut self, tenant: &str) -> Behaviour<TokenAnswer> {
        let behaviour = self.scenario.token_of(tenant).clone();
        self.apply(Endpoint::Token, tenant, behaviour)
    }

    pub(super) fn next_usage_behaviour(&mut self, tenant: &str) -> Behaviour<UsageAnswer> {
        let behaviour = self.scenario.usage_of(tenant).clone();
        self.apply(Endpoint::Usage, tenant, behaviour)
    }

    fn apply<A: Default>(
        &mut self,
        endpoint: Endpoint,
        tenant: &str,
        behaviour: Behaviour<A>,
    ) -> Behaviour<A> {
        if behaviour.skip == 0 && behaviour.times.is_none() {
            return behaviour;
        }
        let call = self.calls.entry((endpoint, tenant.to_owned())).or_default();
        let first = behaviour.skip;
        let end = behaviour.times.map_or(u32::MAX, |times| first.saturating_add(times));
        let applies = (first..end).contains(call);
        *call = call.saturating_add(1);
        if applies { behaviour } else { Behaviour::default() }
    }

    pub(super) fn accepts_refresh_token(&self, tenant: &str, token: &str) -> bool {
        match self.refresh_tokens.get(&(tenant.to_owned(), token.to_owned())) {
            Some(&superseded) => !superseded || self.scenario.rotation == Rotation::Lenient,
            None => self.scenario.refresh_token_of(tenant) == token,
        }
    }

    /// Issues an access token and, if it is asked for, a successor of the refresh token that was `used`.
    pub(super) fn sign_in(&mut self, tenant: &str, used: &str, offline: bool) -> (String, Option<String>) {
        self.sign_ins += 1;
        let sign_in = self.sign_ins;
        let name = |kind: &str| format!("simulated-{kind}-token-{sign_in}-{}", Uuid::new_v4().simple());
        let (access, refresh) = (name("access"), offline.then(|| name("refresh")));
        let caller = Caller { tenant: tenant.to_owned(), sign_in };
        let lifetime = self.scenario.access_token_lifetime;
        self.access_tokens.insert(access.clone(), AccessToken { caller, issued: Instant::now(), lifetime });
        if let Some(refresh) = &refresh {
            self.refresh_tokens.insert((tenant.to_owned(), used.to_owned()), true);
            self.refresh_tokens.insert((tenant.to_owned(), refresh.clone()), false);
        }
        (access, refresh)
    }

    pub(super) fn authorize(&self, header: Option<&HeaderValue>) -> Authorization {
        let Some(token) = header.and_then(bearer_token) else { return Authorization::Missing };
        let Some(AccessToken { caller, issued, lifetime }) = self.access_tokens.get(token) else {
            return Authorization::Unknown;
        };
        if issued.elapsed() < *lifetime {
            Authorization::Valid(caller.clone())
        } else {
            Authorization::Expired(caller.clone())
        }
    }
}

impl Authorization {
    pub(super) fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Valid(caller) | Self::Expired(caller) => Some(caller),
            Self::Unknown | Self::Missing => None,
        }
    }

    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Valid(_) => "valid",
            Self::Expired(_) => "expired",
            Self::Unknown => "unknown",
            Self::Missing => "missing",
        }
    }
}

fn bearer_token(header: &HeaderValue) -> Option<&str> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}
