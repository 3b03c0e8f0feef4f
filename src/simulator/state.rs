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
    applied: HashMap<(Endpoint, String), u32>,
    /// By tenant and token: whether a successor was issued. The first token is in it once used.
    refresh_tokens: HashMap<(String, String), bool>,
    /// An expired one is kept, to tell it from one that was never issued.
    access_tokens: HashMap<String, AccessToken>,
}

struct AccessToken {
    tenant: String,
    issued: Instant,
    lifetime: Duration,
}

/// What the usage endpoint makes of the `Authorization` header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Authorization {
    /// Holds the tenant that the token was issued to.
    Valid(String),
    Expired(String),
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
        self.applied.clear();
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
        let Some(times) = behaviour.times else { return behaviour };
        let applied = self.applied.entry((endpoint, tenant.to_owned())).or_default();
        if *applied >= times {
            return Behaviour::default();
        }
        *applied += 1;
        behaviour
    }

    pub(super) fn accepts_refresh_token(&self, tenant: &str, token: &str) -> bool {
        match self.refresh_tokens.get(&(tenant.to_owned(), token.to_owned())) {
            Some(&superseded) => !superseded || self.scenario.rotation == Rotation::Lenient,
            None => self.scenario.refresh_token_of(tenant) == token,
        }
    }

    pub(super) fn issue_refresh_token(&mut self, tenant: &str, used: &str) -> String {
        let token = format!("simulated-refresh-token-{}", Uuid::new_v4().simple());
        self.refresh_tokens.insert((tenant.to_owned(), used.to_owned()), true);
        self.refresh_tokens.insert((tenant.to_owned(), token.clone()), false);
        token
    }

    pub(super) fn issue_access_token(&mut self, tenant: &str) -> String {
        let token = format!("simulated-access-token-{}", Uuid::new_v4().simple());
        let lifetime = self.scenario.access_token_lifetime;
        let issued = AccessToken { tenant: tenant.to_owned(), issued: Instant::now(), lifetime };
        self.access_tokens.insert(token.clone(), issued);
        token
    }

    pub(super) fn authorize(&self, header: Option<&HeaderValue>) -> Authorization {
        let Some(token) = header.and_then(bearer_token) else { return Authorization::Missing };
        let Some(AccessToken { tenant, issued, lifetime }) = self.access_tokens.get(token) else {
            return Authorization::Unknown;
        };
        if issued.elapsed() < *lifetime {
            Authorization::Valid(tenant.clone())
        } else {
            Authorization::Expired(tenant.clone())
        }
    }
}

impl Authorization {
    pub(super) fn tenant(&self) -> Option<&str> {
        match self {
            Self::Valid(tenant) | Self::Expired(tenant) => Some(tenant),
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
