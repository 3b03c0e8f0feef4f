//! What the simulator remembers between two requests: the scenario, how often it was applied, the
//! tokens it issued, the sign-ins under way and the requests it saw.
//!
//! It knows nothing of HTTP beyond the `Authorization` header.

use std::collections::{HashMap, HashSet};

use axum::http::HeaderValue;

use super::{
    entra::{authorize::Codes, device::Devices},
    log::{Endpoint, RequestLog},
    scenario::{Behaviour, Scenario, TokenAnswer, UsageAnswer},
    tokens::{Caller, Tokens},
};

#[derive(Default)]
pub(super) struct State {
    pub(super) scenario: Scenario,
    pub(super) log: RequestLog,
    pub(super) tokens: Tokens,
    pub(super) devices: Devices,
    pub(super) codes: Codes,
    /// The ids of assertions that were accepted: each is good once.
    pub(super) assertions: HashSet<String>,
    /// Calls under this scenario, as far as its behaviour depends on them.
    calls: HashMap<(Endpoint, String), u32>,
}

/// What the usage endpoint makes of the `Authorization` header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Authorization {
    Valid(Caller),
    Expired(Caller),
    WrongAudience(Caller),
    NoSecondFactor(Caller),
    Unknown,
    Missing,
}

impl State {
    pub(super) fn new(scenario: Scenario) -> Self {
        let mut state = Self::default();
        state.replace_scenario(scenario);
        state
    }

    /// Issued tokens stay valid: a new scenario is a change of the weather, not a new server.
    pub(super) fn replace_scenario(&mut self, scenario: Scenario) {
        self.tokens.name_first(&scenario);
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

    /// `origin` is the address that the request came to, if it says so.
    pub(super) fn authorize(&self, header: Option<&HeaderValue>, origin: Option<&str>) -> Authorization {
        let Some(token) = header.and_then(bearer_token) else { return Authorization::Missing };
        let Some((caller, alive)) = self.tokens.caller(token) else { return Authorization::Unknown };
        let caller = caller.clone();
        if !alive {
            Authorization::Expired(caller)
        } else if origin.is_some_and(|origin| !is_of(&caller.audience, origin)) {
            Authorization::WrongAudience(caller)
        } else if !caller.mfa && self.scenario.enforce_mfa_of(&caller.tenant) {
            Authorization::NoSecondFactor(caller)
        } else {
            Authorization::Valid(caller)
        }
    }
}

/// Whether a resource has this origin, whatever its path. Whether there is TLS in front is not known here.
fn is_of(resource: &str, origin: &str) -> bool {
    resource.split('/').skip(1).take(2).eq(origin.split('/').skip(1))
}

impl Authorization {
    pub(super) fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Valid(caller)
            | Self::Expired(caller)
            | Self::WrongAudience(caller)
            | Self::NoSecondFactor(caller) => Some(caller),
            Self::Unknown | Self::Missing => None,
        }
    }

    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Valid(_) => "valid",
            Self::Expired(_) => "expired",
            Self::WrongAudience(_) => "wrong_audience",
            Self::NoSecondFactor(_) => "no_second_factor",
            Self::Unknown => "unknown",
            Self::Missing => "missing",
        }
    }
}

fn bearer_token(header: &HeaderValue) -> Option<&str> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}
