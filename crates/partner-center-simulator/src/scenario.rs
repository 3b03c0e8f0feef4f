//! What the simulator is told to do: the scenario file, its defaults and its parser.
//!
//! It knows nothing of HTTP, and it does not know how an answer is written on the wire.
//!
//! ```yaml
//! access_token_lifetime: 5m
//! rotation: strict
//! rows: portfolio
//! usage: { answer: throttled, retry_after: 57, times: 3 }
//! tenants:
//!   contoso.example: { token: { answer: consent_revoked } }
//! ```

use std::{collections::BTreeMap, time::Duration};

use axum::http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    certificate::Certificate,
    notation::{base64_text, headers, human_duration, status_code},
};

/// The application id that a scenario accepts unless it names another.
pub const CLIENT_ID: &str = "00000000-0000-0000-0000-00000000c11e";
/// The client secret that a scenario accepts unless it names another.
pub const CLIENT_SECRET: &str = "simulated-client-secret";
/// The first refresh token that a scenario accepts unless it names another.
pub const REFRESH_TOKEN: &str = "simulated-refresh-token";

/// Which tokens of another issuer the application may present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederatedCredential {
    /// With whose key the issuer signs them.
    pub certificate: Certificate,
    /// Their claim `iss`.
    pub issuer: String,
    /// Their claim `sub`.
    pub subject: String,
    /// Their claim `aud`.
    #[serde(default = "exchange")]
    pub audience: String,
}

/// The audience that Entra ID recommends.
fn exchange() -> String {
    "api://AzureADTokenExchange".to_owned()
}

/// Everything that decides how the simulator answers. Every key is optional in the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// The only application that the token endpoint knows.
    pub client_id: String,
    /// The secret of that application, if it has one.
    pub client_secret: Option<String>,
    /// The certificate of that application, with whose key it may sign assertions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<Certificate>,
    /// Another issuer whose tokens the application may present as its assertion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub federated_credential: Option<FederatedCredential>,
    /// Whether the application has no credential and must not send one, whatever the keys above say.
    #[serde(skip_serializing_if = "is_default")]
    pub public_client: bool,
    /// The refresh token to begin with; those issued later are accepted too.
    pub refresh_token: String,
    /// How long a refresh token is accepted from its issue. The first one counts as issued when a
    /// scenario first named it.
    #[serde(with = "human_duration")]
    pub refresh_token_lifetime: Duration,
    /// How long an access token is accepted, such as `1h` or `90s`.
    #[serde(with = "human_duration")]
    pub access_token_lifetime: Duration,
    /// What becomes of a refresh token once it was used.
    pub rotation: Rotation,
    /// Whether people sign in with a second factor; what they sign in for inherits it.
    pub mfa: bool,
    /// Whether the usage endpoint refuses who has signed in without one.
    pub enforce_mfa: bool,
    /// What becomes of a sign-in with a device code.
    pub device: Device,
    /// What becomes of a sign-in in the browser.
    pub authorize: Authorize,
    /// The rows of a usage report.
    pub rows: Rows,
    /// The report comes in pages of so many rows, linked as Partner Center links them; 0 = in one.
    #[serde(skip_serializing_if = "is_default")]
    pub page_size: usize,
    /// How the token endpoint answers.
    pub token: Behaviour<TokenAnswer>,
    /// How the usage endpoint answers a caller with a valid access token.
    pub usage: Behaviour<UsageAnswer>,
    /// What differs for a tenant; the key is the tenant in the token endpoint's path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<String, TenantScenario>,
}

/// What one tenant does differently. An absent key means: as in the scenario itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantScenario {
    /// The refresh token to begin with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// Whether people sign in with a second factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mfa: Option<bool>,
    /// Whether the usage endpoint refuses who has signed in without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce_mfa: Option<bool>,
    /// What becomes of a sign-in with a device code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// What becomes of a sign-in in the browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorize: Option<Authorize>,
    /// The rows of a usage report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<Rows>,
    /// The rows of one page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_size: Option<usize>,
    /// How the token endpoint answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Behaviour<TokenAnswer>>,
    /// How the usage endpoint answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Behaviour<UsageAnswer>>,
}

/// What becomes of a refresh token once it was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// It stays valid beside its successor, as Entra ID documents.
    #[default]
    Lenient,
    /// It is refused as soon as its successor was issued.
    Strict,
    /// Whoever uses it again is taken for a thief: refused, and with it every token of the same sign-in.
    Family,
}

/// What becomes of a sign-in with a device code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Device {
    /// What the person does who got the code.
    pub answer: DeviceAnswer,
    /// So many polls are answered with "pending" before.
    pub polls: u32,
    /// How long a client has to wait between two polls.
    #[serde(with = "human_duration")]
    pub interval: Duration,
    /// How long the codes are good.
    #[serde(with = "human_duration")]
    pub expires_in: Duration,
}

/// What a person does with a device code. A decision at `/simulator/device` comes before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceAnswer {
    /// Signs in and consents.
    #[default]
    Approve,
    /// Declines.
    Decline,
    /// Nothing.
    Pending,
    /// Signs in, but conditional access forbids device codes.
    Blocked,
}

/// What becomes of a sign-in in the browser.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authorize {
    /// What the person does who sees the page.
    pub answer: AuthorizeAnswer,
}

/// What a person does with the sign-in page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorizeAnswer {
    /// Signs in and consents, at once and without a page.
    #[default]
    Approve,
    /// Declines, at once and without a page.
    Decline,
    /// There is a page, with a button for either.
    Page,
}

/// How one endpoint answers. What is given besides `answer` takes the place of what the answer has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, bound(deserialize = "A: Deserialize<'de> + Default"))]
pub struct Behaviour<A> {
    /// The kind of answer.
    pub answer: A,
    /// How long the caller waits for it.
    #[serde(with = "human_duration", skip_serializing_if = "Duration::is_zero")]
    pub delay: Duration,
    /// The `Retry-After` header in seconds. A throttled answer says 57 when this is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// A status in place of the one that belongs to the answer.
    #[serde(with = "status_code", skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusCode>,
    /// Headers to set, or to leave out where there is no value. Not those that the connection is made of.
    #[serde(with = "headers", skip_serializing_if = "is_default")]
    pub headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// Another body; its `Content-Type` is a matter of `headers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Another body that is no text, in Base64.
    #[serde(with = "base64_text", skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<Vec<u8>>,
    /// What is different in a body that is a JSON object; a null takes its member out.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub merge: Map<String, Value>,
    /// Whether the body is compressed, and the header says so.
    #[serde(skip_serializing_if = "is_default")]
    pub gzip: bool,
    /// So many calls of each tenant are answered normally before.
    #[serde(skip_serializing_if = "is_default")]
    pub skip: u32,
    /// Applies to so many calls of each tenant; the calls after them are answered normally.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// The kinds of answer of the token endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenAnswer {
    /// Checks the request and issues tokens or says what is wrong with it.
    #[default]
    Ok,
    /// 400 `invalid_grant`, AADSTS700082: unused for 90 days.
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
    /// 400 `invalid_grant`, AADSTS50173: a new password, or an administrator ended all sessions.
    RefreshTokenRevoked,
    /// 400 `invalid_grant` with suberror `basic_action`, AADSTS50078: the second factor was too long ago.
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
    /// 200 with a body that ends in the middle of the JSON.
    Malformed,
}

/// The kinds of answer of the usage endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageAnswer {
    /// 200 with the scenario's rows behind a byte order mark.
    #[default]
    Ok,
    /// 200 with the scenario's rows and no byte order mark.
    NoBom,
    /// 200 without a single row.
    Empty,
    /// 429 as the gateway writes it, with `Retry-After`.
    Throttled,
    /// 500 with code 800003.
    ServerError,
    /// 401 although the access token is valid.
    Unauthorized,
    /// 401 with code 900421: the sign-in had no second factor.
    MfaRequired,
    /// 401 with code 900420: the token is for another API.
    WrongAudience,
    /// 403 with code 900150: the role lacks the right.
    Forbidden,
    /// 403 with code 900329: an application without a user.
    AppOnly,
    /// 403 with code 900309: conditional access.
    ConditionalAccess,
    /// 404 with no body.
    NotFound,
    /// 200 with a body that ends in the middle of the JSON, and a matching length.
    Malformed,
    /// 200 with the page of a proxy.
    Html,
    /// 200 whose connection ends before the announced length.
    Truncated,
    /// 204.
    NoContent,
    /// 400 with the `Authorization` header of the request in its text.
    Echo,
}

/// The rows of a usage report.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Rows {
    /// The five rows of Microsoft's documentation.
    #[default]
    Documented,
    /// A made-up partner whose figures drift with the time.
    Portfolio,
    /// These.
    Listed(Vec<Row>),
}

/// One row of a usage report. An absent key leaves the property out of the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Row {
    /// `serviceName`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `workloadName`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// `channel`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// `proratedLicensesUsagePercent`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// `processedDateTime`, passed on as it is written here
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processed: Option<String>,
}

/// A scenario that cannot be used. Its text is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScenarioError(String);

impl Scenario {
    /// Reads a scenario from YAML or JSON.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            ScenarioError(error.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
        })
    }

    /// Every refresh token that some tenant may begin with.
    pub(super) fn first_tokens(&self) -> impl Iterator<Item = &str> {
        let own = self.tenants.values().filter_map(|tenant| tenant.refresh_token.as_deref());
        std::iter::once(&*self.refresh_token).chain(own)
    }

    pub(super) fn refresh_token_of(&self, tenant: &str) -> &str {
        self.of_tenant(tenant, |tenant| tenant.refresh_token.as_deref(), &self.refresh_token)
    }

    pub(super) fn mfa_of(&self, tenant: &str) -> bool {
        *self.of_tenant(tenant, |tenant| tenant.mfa.as_ref(), &self.mfa)
    }

    pub(super) fn enforce_mfa_of(&self, tenant: &str) -> bool {
        *self.of_tenant(tenant, |tenant| tenant.enforce_mfa.as_ref(), &self.enforce_mfa)
    }

    pub(super) fn device_of(&self, tenant: &str) -> &Device {
        self.of_tenant(tenant, |tenant| tenant.device.as_ref(), &self.device)
    }

    pub(super) fn authorize_of(&self, tenant: &str) -> &Authorize {
        self.of_tenant(tenant, |tenant| tenant.authorize.as_ref(), &self.authorize)
    }

    pub(super) fn rows_of(&self, tenant: &str) -> &Rows {
        self.of_tenant(tenant, |tenant| tenant.rows.as_ref(), &self.rows)
    }

    pub(super) fn page_size_of(&self, tenant: &str) -> usize {
        *self.of_tenant(tenant, |tenant| tenant.page_size.as_ref(), &self.page_size)
    }

    pub(super) fn token_of(&self, tenant: &str) -> &Behaviour<TokenAnswer> {
        self.of_tenant(tenant, |tenant| tenant.token.as_ref(), &self.token)
    }

    pub(super) fn usage_of(&self, tenant: &str) -> &Behaviour<UsageAnswer> {
        self.of_tenant(tenant, |tenant| tenant.usage.as_ref(), &self.usage)
    }

    fn of_tenant<'a, T: ?Sized>(
        &'a self,
        tenant: &str,
        own: impl FnOnce(&'a TenantScenario) -> Option<&'a T>,
        common: &'a T,
    ) -> &'a T {
        self.tenants.get(tenant).and_then(own).unwrap_or(common)
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
            rows: Rows::default(),
            page_size: 0,
            token: Behaviour::default(),
            usage: Behaviour::default(),
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
