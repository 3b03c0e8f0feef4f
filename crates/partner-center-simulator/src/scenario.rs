//! The scenario, which determines what the simulator does: its keys, its defaults and its parser.
//!
//! It does not know how a response is written on the wire.
//!
//! ```yaml
//! access_token_lifetime: 5m
//! rotation: strict
//! rows: portfolio
//! usage: { answer: throttled, retry_after: 57, times: 3 }
//! commercial_usage: { rows: [{ workloadName: Exchange, licensesActive: -1 }] }
//! tenants:
//!   contoso.example: { token: { answer: consent_revoked } }
//! ```

use std::{collections::BTreeMap, time::Duration};

use axum::http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::certificate::Certificate;
use crate::commercial::Commercial;
use crate::notation::{base64_text, headers, human_duration, status_code};
use crate::portfolio::Customers;
use crate::rows::{NoRows, Properties, ReportRows, Rows};

/// The application id that a scenario accepts by default.
pub const CLIENT_ID: &str = "00000000-0000-0000-0000-00000000c11e";
/// The client secret that a scenario accepts by default.
pub const CLIENT_SECRET: &str = "simulated-client-secret";
/// The initial refresh token that a scenario accepts by default.
pub const REFRESH_TOKEN: &str = "simulated-refresh-token";

/// Everything that determines how the simulator responds; every key is optional in the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// The id of the only application that is registered.
    pub client_id: String,
    /// The application's secret, if it has one.
    pub client_secret: Option<String>,
    /// The certificate that verifies the application's assertions, if it may sign any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<Certificate>,
    /// An issuer whose tokens the application may present as its assertion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub federated_credential: Option<FederatedCredential>,
    /// Whether the application must not send a credential, whatever the keys above say.
    #[serde(skip_serializing_if = "is_default")]
    pub public_client: bool,
    /// The initial refresh token; tokens issued later are accepted too.
    pub refresh_token: String,
    /// How long a refresh token is accepted after its issue; an initial token counts as issued when a scenario
    /// first names it.
    #[serde(with = "human_duration")]
    pub refresh_token_lifetime: Duration,
    /// How long an access token is accepted after its issue.
    #[serde(with = "human_duration")]
    pub access_token_lifetime: Duration,
    /// What happens to a refresh token once it has been used.
    pub rotation: Rotation,
    /// Whether people sign in with a second factor; it applies to all tokens of the sign-in.
    pub mfa: bool,
    /// Whether Partner Center refuses tokens of a sign-in without a second factor.
    pub enforce_mfa: bool,
    /// How a sign-in with a device code ends.
    pub device: Device,
    /// How a sign-in in the browser ends.
    pub authorize: Authorize,
    /// The rows of every collection, or the list of those of the usage report.
    pub rows: ReportRows,
    /// The largest number of rows on one page of a collection, or 0 for no such limit.
    #[serde(skip_serializing_if = "is_default")]
    pub page_size: usize,
    /// The customers of the portfolio.
    #[serde(skip_serializing_if = "is_default")]
    pub customers: Customers,
    /// What the two commercial endpoints have in common.
    #[serde(skip_serializing_if = "is_default")]
    pub commercial: Commercial,
    /// How the token endpoint responds.
    pub token: Behaviour<TokenAnswer>,
    /// How the usage endpoint responds to a valid access token.
    pub usage: CollectionBehaviour,
    /// How the deployment endpoint responds to a valid access token.
    #[serde(skip_serializing_if = "is_default")]
    pub deployment: CollectionBehaviour,
    /// How the commercial usage endpoint responds to a valid access token.
    #[serde(skip_serializing_if = "is_default")]
    pub commercial_usage: CollectionBehaviour,
    /// How the commercial deployment endpoint responds to a valid access token.
    #[serde(skip_serializing_if = "is_default")]
    pub commercial_deployment: CollectionBehaviour,
    /// What differs for a tenant, keyed by the tenant in the token endpoint's path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<String, TenantScenario>,
}

/// What differs for one tenant; an absent key takes the scenario's own value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantScenario {
    /// The initial refresh token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// Whether people sign in with a second factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mfa: Option<bool>,
    /// Whether Partner Center refuses tokens of a sign-in without a second factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce_mfa: Option<bool>,
    /// How a sign-in with a device code ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// How a sign-in in the browser ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorize: Option<Authorize>,
    /// The rows of every collection, or the list of those of the usage report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<ReportRows>,
    /// The largest number of rows on one page of a collection, or 0 for no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_size: Option<usize>,
    /// The customers of the portfolio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customers: Option<Customers>,
    /// What the two commercial endpoints have in common.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commercial: Option<Commercial>,
    /// How the token endpoint responds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Behaviour<TokenAnswer>>,
    /// How the usage endpoint responds to a valid access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<CollectionBehaviour>,
    /// How the deployment endpoint responds to a valid access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<CollectionBehaviour>,
    /// How the commercial usage endpoint responds to a valid access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commercial_usage: Option<CollectionBehaviour>,
    /// How the commercial deployment endpoint responds to a valid access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commercial_deployment: Option<CollectionBehaviour>,
}

/// The settings that apply to one tenant: its own values, or else the scenario's.
pub(crate) struct TenantSettings<'a> {
    pub(crate) refresh_token: &'a str,
    pub(crate) mfa: bool,
    pub(crate) enforce_mfa: bool,
    pub(crate) device: &'a Device,
    pub(crate) authorize: &'a Authorize,
    pub(crate) rows: &'a ReportRows,
    pub(crate) page_size: usize,
    pub(crate) customers: Customers,
    pub(crate) commercial: Commercial,
    pub(crate) token: &'a Behaviour<TokenAnswer>,
    pub(crate) usage: &'a CollectionBehaviour,
    pub(crate) deployment: &'a CollectionBehaviour,
    pub(crate) commercial_usage: &'a CollectionBehaviour,
    pub(crate) commercial_deployment: &'a CollectionBehaviour,
}

/// An issuer whose tokens the application may present as its assertion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederatedCredential {
    /// The certificate that verifies the issuer's signatures.
    pub certificate: Certificate,
    /// The expected claim `iss`.
    pub issuer: String,
    /// The expected claim `sub`.
    pub subject: String,
    /// The expected claim `aud`.
    #[serde(default = "recommended_audience")]
    pub audience: String,
}

/// The audience that Microsoft recommends for federated credentials.
fn recommended_audience() -> String {
    "api://AzureADTokenExchange".to_owned()
}

/// What happens to a refresh token once it has been used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// It stays valid alongside its successor, as Entra ID documents.
    #[default]
    Lenient,
    /// It is refused as soon as its successor has been issued.
    Strict,
    /// Its reuse counts as theft: it is refused, and so is every refresh token of the same sign-in.
    Family,
}

/// How a sign-in with a device code ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Device {
    /// What the person who received the user code does.
    pub answer: DeviceAnswer,
    /// How many polls are answered with "pending" before that.
    pub polls: u32,
    /// How long a client must wait between two polls.
    #[serde(with = "human_duration")]
    pub interval: Duration,
    /// How long the codes are valid.
    #[serde(with = "human_duration")]
    pub expires_in: Duration,
}

/// What a person does with a device code; a decision made at `/simulator/device` takes precedence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceAnswer {
    /// Signs in and consents.
    #[default]
    Approve,
    /// Declines.
    Decline,
    /// Does nothing.
    Pending,
    /// Signs in, but conditional access forbids device codes.
    Blocked,
}

/// How a sign-in in the browser ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authorize {
    /// What the person who is sent to the sign-in page does.
    pub answer: AuthorizeAnswer,
}

/// What a person does on the sign-in page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorizeAnswer {
    /// Signs in and consents at once, without seeing a page.
    #[default]
    Approve,
    /// Declines at once, without seeing a page.
    Decline,
    /// Sees a page with one button to approve and one to decline.
    Page,
}

/// How one endpoint responds: the kind of response, what overrides its parts, and which calls it applies to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    bound(
        serialize = "A: Serialize, R: Serialize + Default + PartialEq",
        deserialize = "A: Deserialize<'de> + Default, R: Deserialize<'de> + Default"
    )
)]
pub struct Behaviour<A, R = NoRows> {
    /// The rows, which are the same for all calls.
    #[serde(skip_serializing_if = "is_default")]
    pub rows: R,
    /// The kind of response.
    pub answer: A,
    /// How long the response is delayed.
    #[serde(with = "human_duration", skip_serializing_if = "Duration::is_zero")]
    pub delay: Duration,
    /// The header `Retry-After` in seconds; a 429 response has one by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The status.
    #[serde(with = "status_code", skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusCode>,
    /// The headers to set, or to remove where the value is absent; headers of the connection are not allowed.
    #[serde(with = "headers", skip_serializing_if = "is_default")]
    pub headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// The body as text; it leaves the header `Content-Type` as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body as bytes, in Base64.
    #[serde(with = "base64_text", skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<Vec<u8>>,
    /// The members to set in a body that is a JSON object, or to remove where the value is null.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub merge: Map<String, Value>,
    /// Whether the body is compressed, with the matching `Content-Encoding`.
    #[serde(skip_serializing_if = "is_default")]
    pub gzip: bool,
    /// How many calls of each tenant get the default response first.
    #[serde(skip_serializing_if = "is_default")]
    pub skip: u32,
    /// How many calls of each tenant this behaviour applies to; later calls get the default response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// How an endpoint of Partner Center responds.
///
/// Without rows of its own, it has those that the scenario's `rows` name; if that lists rows, they are those of the usage
/// report, and the other endpoints have none.
pub type CollectionBehaviour = Behaviour<UsageAnswer, Option<Rows<Properties>>>;

/// The kinds of response of the token endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenAnswer {
    /// 200 with tokens for a valid request, otherwise the error that fits the request.
    #[default]
    Ok,
    /// 400 `invalid_grant`, AADSTS700082: the token was unused for 90 days.
    RefreshTokenExpired,
    /// 400 `invalid_grant` with suberror `consent_required`, AADSTS65001.
    ConsentRevoked,
    /// 401 `invalid_client`, AADSTS7000215.
    BadClientSecret,
    /// 400 `invalid_grant` with suberror `basic_action` and a claims challenge, AADSTS50076.
    MfaRequired,
    /// 401 `invalid_client`, AADSTS7000222.
    SecretExpired,
    /// 400 `unauthorized_client`, AADSTS700016.
    UnknownApplication,
    /// 400 `invalid_grant`, AADSTS50173: the password changed, or an administrator ended all sessions.
    RefreshTokenRevoked,
    /// 400 `invalid_grant` with suberror `basic_action`, AADSTS50078: the second factor has expired.
    MfaExpired,
    /// 400 `invalid_grant` with suberror `message_only`, AADSTS53003.
    ConditionalAccess,
    /// 400 `invalid_grant` with suberror `consent_required`, AADSTS650052: the tenant has no Partner Center.
    ConsentMissingPrincipal,
    /// 401 `invalid_client`, AADSTS700027.
    AssertionRefused,
    /// 400 `invalid_request`, AADSTS90002.
    WrongTenant,
    /// 400 `invalid_scope`, AADSTS70011.
    InvalidScope,
    /// 429 `temporarily_unavailable`, AADSTS90055, with `Retry-After`.
    Throttled,
    /// 503 `temporarily_unavailable`, AADSTS90033.
    ServerError,
    /// 200 with a body that is incomplete JSON.
    Malformed,
}

/// The kinds of response of Partner Center's collections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageAnswer {
    /// 200 with the scenario's rows after a byte order mark.
    #[default]
    Ok,
    /// 200 with the scenario's rows and no byte order mark.
    NoBom,
    /// 200 with no rows.
    Empty,
    /// 429 as Microsoft's gateway words it, with `Retry-After`.
    Throttled,
    /// 500 with code 800003.
    ServerError,
    /// 401 as for an unknown access token.
    Unauthorized,
    /// 401 with code 900421: the sign-in had no second factor.
    MfaRequired,
    /// 401 with code 900420: the token is for another API.
    WrongAudience,
    /// 403 with code 900150: the caller's role lacks the permission.
    Forbidden,
    /// 403 with code 900329: the token was issued to an application without a user.
    AppOnly,
    /// 403 with code 900309: conditional access blocks the caller.
    ConditionalAccess,
    /// 404 with no body.
    NotFound,
    /// 200 with a body that is incomplete JSON of the announced length.
    Malformed,
    /// 200 with the HTML page of a proxy.
    Html,
    /// 200 with a connection that closes before the announced length is sent.
    Truncated,
    /// 204 with no body.
    NoContent,
    /// 400 with a text that quotes the request's header `Authorization`.
    Echo,
}

/// The reason, in one line, why a scenario is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScenarioError(String);

impl Scenario {
    /// Parses a scenario from YAML or JSON.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            ScenarioError(error.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
        })
    }

    /// The initial refresh tokens of all tenants.
    pub(crate) fn initial_refresh_tokens(&self) -> impl Iterator<Item = &str> {
        let own = self.tenants.values().filter_map(|tenant| tenant.refresh_token.as_deref());
        std::iter::once(&*self.refresh_token).chain(own)
    }

    /// The settings that apply to a tenant.
    pub(crate) fn for_tenant(&self, tenant: &str) -> TenantSettings<'_> {
        let own = self.tenants.get(tenant);
        TenantSettings {
            refresh_token: own.and_then(|own| own.refresh_token.as_ref()).unwrap_or(&self.refresh_token),
            mfa: own.and_then(|own| own.mfa).unwrap_or(self.mfa),
            enforce_mfa: own.and_then(|own| own.enforce_mfa).unwrap_or(self.enforce_mfa),
            device: own.and_then(|own| own.device.as_ref()).unwrap_or(&self.device),
            authorize: own.and_then(|own| own.authorize.as_ref()).unwrap_or(&self.authorize),
            rows: own.and_then(|own| own.rows.as_ref()).unwrap_or(&self.rows),
            page_size: own.and_then(|own| own.page_size).unwrap_or(self.page_size),
            customers: own.and_then(|own| own.customers).unwrap_or(self.customers),
            commercial: own.and_then(|own| own.commercial).unwrap_or(self.commercial),
            token: own.and_then(|own| own.token.as_ref()).unwrap_or(&self.token),
            usage: own.and_then(|own| own.usage.as_ref()).unwrap_or(&self.usage),
            deployment: own.and_then(|own| own.deployment.as_ref()).unwrap_or(&self.deployment),
            commercial_usage: own
                .and_then(|own| own.commercial_usage.as_ref())
                .unwrap_or(&self.commercial_usage),
            commercial_deployment: own
                .and_then(|own| own.commercial_deployment.as_ref())
                .unwrap_or(&self.commercial_deployment),
        }
    }
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            client_id: CLIENT_ID.to_owned(),
            client_secret: Some(CLIENT_SECRET.to_owned()),
            client_certificate: None,
            federated_credential: None,
            public_client: false,
            refresh_token: REFRESH_TOKEN.to_owned(),
            refresh_token_lifetime: Duration::from_hours(90 * 24),
            access_token_lifetime: Duration::from_hours(1),
            rotation: Rotation::default(),
            mfa: true,
            enforce_mfa: false,
            device: Device::default(),
            authorize: Authorize::default(),
            rows: ReportRows::default(),
            page_size: 0,
            customers: Customers::default(),
            commercial: Commercial::default(),
            token: Behaviour::default(),
            usage: Behaviour::default(),
            deployment: Behaviour::default(),
            commercial_usage: Behaviour::default(),
            commercial_deployment: Behaviour::default(),
            tenants: BTreeMap::new(),
        }
    }
}

impl Default for Device {
    fn default() -> Self {
        Self {
            answer: DeviceAnswer::default(),
            polls: 1,
            interval: Duration::from_secs(5),
            expires_in: Duration::from_mins(15),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
