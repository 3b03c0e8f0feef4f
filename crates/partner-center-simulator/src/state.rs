//! What the simulator keeps between requests: the scenario, how many calls it applied to, issued tokens and codes,
//! and the request log.
//!
//! It knows nothing of HTTP beyond the `Authorization` header.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::http::HeaderValue;

use crate::authorization_codes::AuthorizationCodes;
use crate::device_codes::DeviceCodes;
use crate::log::{Endpoint, RequestLog};
use crate::scenario::{Behaviour, CollectionBehaviour, Scenario, TenantSettings, TokenAnswer};
use crate::tokens::{Caller, TokenStore};

/// The state that all requests share.
#[derive(Default)]
pub(crate) struct SimulatorState {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) log: RequestLog,
    pub(crate) tokens: TokenStore,
    pub(crate) device_codes: DeviceCodes,
    pub(crate) authorization_codes: AuthorizationCodes,
    /// The claim `jti` of every accepted assertion, each of which is valid only once.
    pub(crate) used_assertions: HashSet<String>,
    /// The calls under this scenario, where its behaviour depends on their number.
    calls: HashMap<(Endpoint, String), u32>,
}

/// Partner Center's verdict on the `Authorization` header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Authorization {
    Valid(Caller),
    Expired(Caller),
    WrongAudience(Caller),
    NoSecondFactor(Caller),
    Unknown,
    Missing,
}

impl SimulatorState {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let mut state = Self::default();
        state.replace_scenario(scenario);
        state
    }

    /// Replaces the scenario and resets its counts of calls; issued tokens stay valid.
    pub(crate) fn replace_scenario(&mut self, scenario: Scenario) {
        self.tokens.add_initial_tokens(&scenario);
        self.scenario = Arc::new(scenario);
        self.calls.clear();
    }

    /// Counts a call of the token endpoint and returns the behaviour that applies to it.
    pub(crate) fn next_token_behaviour(&mut self, tenant: &str) -> Behaviour<TokenAnswer> {
        let behaviour = self.scenario.for_tenant(tenant).token.clone();
        self.apply(Endpoint::Token, tenant, behaviour)
    }

    /// Counts a call of one of Partner Center's endpoints and returns the behaviour that applies to it.
    pub(crate) fn next_collection_behaviour(
        &mut self,
        endpoint: Endpoint,
        tenant: &str,
    ) -> CollectionBehaviour {
        let behaviour = collection(&self.scenario.for_tenant(tenant), endpoint).clone();
        self.apply(endpoint, tenant, behaviour)
    }

    fn apply<A: Default, R: Default>(
        &mut self,
        endpoint: Endpoint,
        tenant: &str,
        behaviour: Behaviour<A, R>,
    ) -> Behaviour<A, R> {
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

    /// Judges an `Authorization` header; `origin` is the origin that the request was sent to, where it is known.
    pub(crate) fn authorize(&self, header: Option<&HeaderValue>, origin: Option<&str>) -> Authorization {
        let Some(token) = header.and_then(bearer_token) else { return Authorization::Missing };
        let Some((caller, valid)) = self.tokens.caller(token) else { return Authorization::Unknown };
        let caller = caller.clone();
        if !valid {
            Authorization::Expired(caller)
        } else if origin.is_some_and(|origin| !has_host(&caller.audience, origin)) {
            Authorization::WrongAudience(caller)
        } else if !caller.mfa && self.scenario.for_tenant(&caller.tenant).enforce_mfa {
            Authorization::NoSecondFactor(caller)
        } else {
            Authorization::Valid(caller)
        }
    }
}

/// The behaviour of one of Partner Center's endpoints.
pub(crate) fn collection<'a>(settings: &TenantSettings<'a>, endpoint: Endpoint) -> &'a CollectionBehaviour {
    match endpoint {
        Endpoint::Deployment => settings.deployment,
        Endpoint::CommercialUsage => settings.commercial_usage,
        Endpoint::CommercialDeployment => settings.commercial_deployment,
        _ => settings.usage,
    }
}

/// Whether a resource has the host and port of an origin; schemes may differ, as a proxy in front may add TLS.
fn has_host(resource: &str, origin: &str) -> bool {
    resource.split('/').skip(1).take(2).eq(origin.split('/').skip(1))
}

impl Authorization {
    /// The identity that the access token was issued to, if the token is known.
    pub(crate) fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Valid(caller)
            | Self::Expired(caller)
            | Self::WrongAudience(caller)
            | Self::NoSecondFactor(caller) => Some(caller),
            Self::Unknown | Self::Missing => None,
        }
    }

    pub(crate) fn as_str(&self) -> &'static str {
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
