//! The known numeric codes of refusals, each with its reason, its meaning and a remedy.
//!
//! The meanings are those of the error references of Entra ID and Partner Center. Microsoft warns that its codes change:
//! of a code that is not known here, the OAuth 2.0 error code decides.

use crate::domain::failure::FailureReason::{self, Consent, Credentials, Forbidden, Mfa, Server};

use super::oauth::OAuthError;

/// A known code.
#[derive(Clone, Copy, Debug)]
pub struct Hint {
    /// The number, which Entra ID's texts prefix with `AADSTS`.
    pub code: u32,
    /// The reason of a poll that fails with it.
    pub reason: FailureReason,
    /// The cause of the refusal.
    pub meaning: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// Whether the refusal may end without intervention.
    pub passes: bool,
}

/// The remedy for a sign-in that has ended.
pub const LOGIN: &str =
    "sign in again with `partner-license-exporter login`, using multi-factor authentication";
/// The end of a remedy against a policy, for those who sign in with a device code.
pub(super) const OTHER_FLOW: &str =
    "; if it blocks the device code flow, use `partner-license-exporter login --browser`";
const CONSENT: &str =
    "have an administrator of the partner tenant consent to the application, then reload the exporter";
const WAIT: &str = "wait; the exporter retries later";
const SCOPE: &str = "check cloud, or api_base_url if the cloud is custom";
const IDS: &str =
    "check client_id, tenant_id and cloud, or sign in again with `partner-license-exporter login`";
const SIGN_IN_POLICY: &str = "change the policy to allow this user, application and network; if it blocks the device code flow, use `partner-license-exporter login --browser`";
const DEVICE_POLICY: &str = "exempt this user and application from the policy, or sign in from such a device with `partner-license-exporter login --browser`";
const TENANT_POLICY: &str = "have the proxy or policy that restricts tenants allow the partner tenant from this network; check tenant_id";
const CROSS_TENANT_POLICY: &str = "sign in as a user of the partner tenant with `partner-license-exporter login`, or have the cross-tenant access settings allow this user";
const GUEST: &str = "sign in as a user of the partner tenant with `partner-license-exporter login`, or have an administrator invite this user to it; check tenant_id";
const PASSWORD: &str =
    "set a new password for the user, then sign in again with `partner-license-exporter login`";
const SERVICE_PRINCIPAL: &str = "have an administrator run `az ad sp create --id fa3d9a0c-3fb0-42cc-9193-47c7ecd2edbd`, or check cloud and api_base_url";
const PERMISSION: &str = "add the delegated permission user_impersonation of Microsoft Partner Center to the application, and consent to it";
const APPLICATION: &str =
    "check client_id and tenant_id, then have an administrator consent to the application";
const ENABLE: &str = "have an administrator enable the application: Enterprise applications, Properties, Enabled for users to sign in";
const OWN_APPLICATION: &str =
    "register an application in the partner tenant that signs users in, and use its client_id";
const REDIRECT: &str = "add http://localhost to the redirect URIs of the app registration, under Mobile and desktop applications or under Web";
const CERTIFICATE: &str =
    "upload this certificate to the app registration, and check client_id and tenant_id";
const CLOCK: &str = "correct this machine's clock; an assertion is valid for five minutes";
const FEDERATED: &str =
    "compare audience, issuer and subject with the federated credential of the app registration";
const TENANT: &str = "set tenant_id to the GUID of the partner tenant";
const OTHER_CLOUD: &str = "set cloud to the national cloud to which the tenant belongs";
const PROVIDER: &str =
    "have the administrator of the identity provider with which the tenant is federated examine the sign-in";
const SUPPORT: &str = "open a support request at Microsoft with the ids of the answer";
const ROLE: &str = "give the signed-in user a Partner Center role that may read analytics, such as Admin agent or Sales agent";

const fn hint(code: u32, reason: FailureReason, meaning: &'static str, remedy: &'static str) -> Hint {
    Hint { code, reason, meaning, remedy, passes: false }
}

/// A refusal that nobody needs to mend.
const fn passing(code: u32, meaning: &'static str, remedy: &'static str) -> Hint {
    Hint { passes: true, ..hint(code, Server, meaning, remedy) }
}

/// The codes of Entra ID. If an answer has several, the first one of this list applies: the least specific stand last.
pub const SIGN_IN: &[Hint] = &[
    hint(700_082, Credentials, "the refresh token was not used for 90 days", LOGIN),
    hint(70_008, Credentials, "the refresh token has expired", LOGIN),
    hint(
        700_084,
        Credentials,
        "the refresh token of a single-page application has reached the end of its fixed lifetime",
        LOGIN,
    ),
    hint(50_173, Credentials, "the refresh token was revoked, for instance by a password reset", LOGIN),
    hint(50_132, Credentials, "the session was revoked, for instance by a password change", LOGIN),
    hint(50_133, Credentials, "the session was revoked, for instance by a password change", LOGIN),
    hint(50_089, Credentials, "the sign-in has expired or was revoked", LOGIN),
    hint(50_085, Credentials, "the refresh token depends on a sign-in at another identity provider", LOGIN),
    hint(50_139, Credentials, "the session depends on a sign-in at another identity provider", LOGIN),
    hint(50_143, Credentials, "the session belongs to another tenant", LOGIN),
    hint(70_000, Credentials, "the refresh token is malformed or no longer valid", LOGIN),
    hint(
        9_002_313,
        Credentials,
        "the request or the refresh token is malformed",
        "check that the refresh token was copied completely, or sign in again with `partner-license-exporter login`",
    ),
    hint(
        700_007,
        Credentials,
        "the refresh token was issued to another application",
        "check client_id, or sign in again with `partner-license-exporter login`",
    ),
    hint(
        700_005,
        Credentials,
        "the authorization code was issued by another tenant",
        "check tenant_id, then sign in again with `partner-license-exporter login`",
    ),
    hint(
        54_005,
        Credentials,
        "the authorization code was used before",
        "sign in again with `partner-license-exporter login`",
    ),
    hint(
        501_481,
        Credentials,
        "the authorization code belongs to another sign-in",
        "sign in again with `partner-license-exporter login`",
    ),
    hint(
        70_043,
        Credentials,
        "a Conditional Access policy on sign-in frequency ended the session",
        "exempt this user from the policy, then sign in again with `partner-license-exporter login`",
    ),
    hint(
        50_078,
        Mfa,
        "the multi-factor authentication is older than a policy of the tenant allows",
        "exempt this user from the limit on remembered multi-factor authentication, then sign in again with `partner-license-exporter login`",
    ),
    hint(50_072, Mfa, "the user has yet to register for multi-factor authentication", LOGIN),
    hint(50_074, Mfa, "multi-factor authentication is required", LOGIN),
    hint(50_076, Mfa, "multi-factor authentication is required", LOGIN),
    hint(50_079, Mfa, "the user has yet to register for multi-factor authentication", LOGIN),
    hint(700_020, Mfa, "the sign-in service demands that the user sign in again", LOGIN),
    hint(50_158, Mfa, "a policy requires a second factor of another provider", SIGN_IN_POLICY),
    hint(
        50_161,
        Mfa,
        "the provider of the second factor did not confirm what a policy requires",
        "have an administrator correct the custom control or external authentication method of the policy",
    ),
    hint(
        50_170,
        Mfa,
        "a policy requires a second factor of a provider that is not set up",
        "have an administrator correct the custom control or external authentication method of the policy",
    ),
    hint(
        50_177,
        Mfa,
        "a policy requires a second factor of another provider, which a user of another tenant cannot give",
        GUEST,
    ),
    hint(
        50_178,
        Mfa,
        "a policy controls the session, which is impossible for a user of another tenant",
        GUEST,
    ),
    hint(53_003, Mfa, "a Conditional Access policy blocks the sign-in", SIGN_IN_POLICY),
    hint(530_032, Mfa, "a Conditional Access policy blocks the sign-in", SIGN_IN_POLICY),
    hint(530_035, Mfa, "the security defaults of the tenant block the sign-in", LOGIN),
    hint(
        53_011,
        Mfa,
        "the user is blocked because of a risk in the home tenant",
        "have an administrator remediate the risk of the user, then sign in again with `partner-license-exporter login`",
    ),
    hint(
        530_034,
        Mfa,
        "the delegated administrator is blocked because of a risk in the home tenant",
        "have an administrator remediate the risk of the user, then sign in again with `partner-license-exporter login`",
    ),
    hint(50_005, Mfa, "a Conditional Access policy requires a device that the tenant knows", DEVICE_POLICY),
    hint(50_097, Mfa, "a Conditional Access policy requires a device that the tenant knows", DEVICE_POLICY),
    hint(50_127, Mfa, "a policy requires a broker application on the device", DEVICE_POLICY),
    hint(50_129, Mfa, "a policy requires a device that is registered in the tenant", DEVICE_POLICY),
    hint(50_155, Mfa, "the device could not be authenticated", DEVICE_POLICY),
    hint(50_187, Mfa, "the sign-in has no information about the device", DEVICE_POLICY),
    hint(135_011, Mfa, "the device is disabled in the tenant", DEVICE_POLICY),
    hint(53_000, Mfa, "a Conditional Access policy requires a compliant device", DEVICE_POLICY),
    hint(
        53_001,
        Mfa,
        "a Conditional Access policy requires a device that is joined to the domain",
        DEVICE_POLICY,
    ),
    hint(53_002, Mfa, "a Conditional Access policy requires an approved application", SIGN_IN_POLICY),
    hint(50_131, Mfa, "a Conditional Access policy blocks the sign-in", SIGN_IN_POLICY),
    hint(
        53_004,
        Mfa,
        "the user must register for multi-factor authentication, which the risk of the sign-in prevents",
        LOGIN,
    ),
    hint(
        53_010,
        Mfa,
        "a policy allows the registration for multi-factor authentication only at certain places or on certain devices",
        "register the user for multi-factor authentication from there, then sign in again with `partner-license-exporter login`",
    ),
    hint(50_002, Mfa, "a proxy restricts the tenants to which this network may sign in", TENANT_POLICY),
    hint(50_021, Mfa, "a proxy restricts the tenants to which this network may sign in", TENANT_POLICY),
    hint(50_022, Mfa, "a proxy restricts the tenants to which this network may sign in", TENANT_POLICY),
    hint(500_021, Mfa, "a proxy restricts the tenants to which this network may sign in", TENANT_POLICY),
    hint(500_022, Mfa, "a proxy restricts the tenants to which this network may sign in", TENANT_POLICY),
    hint(
        500_212,
        Mfa,
        "the user's own tenant does not allow access to the partner tenant",
        CROSS_TENANT_POLICY,
    ),
    hint(
        500_213,
        Mfa,
        "the partner tenant does not allow access by users of that tenant",
        CROSS_TENANT_POLICY,
    ),
    hint(
        50_105,
        Credentials,
        "the user is not assigned to the application",
        "have an administrator assign the user: Enterprise applications, Users and groups",
    ),
    hint(50_020, Credentials, "the user belongs to another tenant", GUEST),
    hint(16_000, Credentials, "the user does not exist in the tenant", GUEST),
    hint(16_003, Credentials, "the user was not added to the tenant", GUEST),
    hint(50_014, Credentials, "the guest has not accepted the invitation to the tenant", GUEST),
    hint(51_004, Credentials, "the user does not exist in the tenant", GUEST),
    hint(
        90_072,
        Credentials,
        "the user is no guest of the tenant, and cannot meet its demand for multi-factor authentication",
        GUEST,
    ),
    hint(500_208, Credentials, "the tenant does not accept accounts of this kind", GUEST),
    hint(
        90_084,
        Credentials,
        "the tenant does not accept guests",
        "sign in as a user of the partner tenant with `partner-license-exporter login`",
    ),
    hint(
        50_034,
        Credentials,
        "the user does not exist in the tenant",
        "check tenant_id, and sign in as a user of the partner tenant with `partner-license-exporter login`",
    ),
    hint(50_197, Credentials, "the user was not found", LOGIN),
    hint(
        50_057,
        Credentials,
        "the user is disabled",
        "have an administrator enable the user, or sign in as another one with `partner-license-exporter login`",
    ),
    hint(
        50_053,
        Credentials,
        "the user is locked after too many attempts to sign in",
        "have an administrator unlock the user, or wait",
    ),
    hint(50_055, Credentials, "the user's password has expired", PASSWORD),
    hint(50_144, Credentials, "the user's password in Active Directory has expired", PASSWORD),
    hint(50_135, Credentials, "the user must change the password because of a risk", PASSWORD),
    hint(50_125, Credentials, "the user must change the password or register for its reset", PASSWORD),
    hint(50_056, Credentials, "the user has no password in the tenant", PASSWORD),
    hint(50_126, Credentials, "user name or password is wrong", LOGIN),
    hint(50_064, Credentials, "user name or password is wrong", LOGIN),
    hint(90_123, Credentials, "the identity provider of the user denied the sign-in", PROVIDER),
    hint(20_001, Credentials, "the federated identity provider failed", PROVIDER),
    hint(20_012, Credentials, "the federated identity provider failed", PROVIDER),
    hint(20_033, Credentials, "the federated identity provider failed", PROVIDER),
    hint(40_008, Credentials, "the federated identity provider failed", PROVIDER),
    hint(40_009, Credentials, "the federated identity provider refused to renew the sign-in", PROVIDER),
    hint(40_015, Credentials, "the federated identity provider failed", PROVIDER),
    hint(500_011, Consent, "the tenant has no service principal for the API", SERVICE_PRINCIPAL),
    hint(50_001, Consent, "the API is disabled in the tenant or does not exist there", SERVICE_PRINCIPAL),
    hint(
        650_054,
        Consent,
        "the application asks for an API that the tenant no longer has",
        SERVICE_PRINCIPAL,
    ),
    hint(
        650_052,
        Consent,
        "the tenant has no service principal for the API",
        "have an administrator add the API Microsoft Partner Center to the tenant by consenting to the application",
    ),
    hint(7_000_112, Consent, "the application is disabled in the tenant", ENABLE),
    hint(70_001, Consent, "the application is disabled or unknown in the tenant", ENABLE),
    hint(1_000_031, Consent, "the application cannot be used at this time", ENABLE),
    hint(65_001, Consent, "neither the user nor an administrator has consented to the application", CONSENT),
    hint(90_008, Consent, "neither the user nor an administrator has consented to the application", CONSENT),
    hint(90_093, Consent, "the user may not consent to the application", CONSENT),
    hint(90_094, Consent, "only an administrator may consent to the application", CONSENT),
    hint(
        90_095,
        Consent,
        "only an administrator may consent to the application, and has been asked to",
        CONSENT,
    ),
    hint(90_099, Consent, "the application is not authorised in the tenant", CONSENT),
    hint(
        65_004,
        Consent,
        "the user declined to consent",
        "run the command again and accept, or have an administrator of the partner tenant consent to the application",
    ),
    hint(
        65_002,
        Consent,
        "the application is Microsoft's own and not authorised for the API",
        OWN_APPLICATION,
    ),
    hint(7_000_114, Consent, "the application may not act on behalf of users", OWN_APPLICATION),
    hint(650_057, Consent, "the application does not request the API's permission", PERMISSION),
    hint(
        650_056,
        Consent,
        "the application does not request the API's permission, or nobody has consented to it",
        PERMISSION,
    ),
    hint(700_016, Consent, "the application is unknown in the tenant", APPLICATION),
    hint(700_011, Consent, "the application is unknown in the tenant", APPLICATION),
    hint(7_000_215, Credentials, "the client secret is wrong", "use the secret's value, not its id"),
    hint(
        7_000_222,
        Credentials,
        "the client secret has expired",
        "create a new client secret and replace the old one; no restart is needed",
    ),
    hint(
        7_000_218,
        Credentials,
        "the application must authenticate and did not",
        "configure a client credential, or allow public client flows in the app registration and list its redirect URI under Mobile and desktop applications",
    ),
    hint(
        700_025,
        Credentials,
        "the application is a public client and sent a credential",
        "remove the client credential from the configuration, or disallow public client flows in the app registration and list its redirect URI under Web",
    ),
    Hint {
        passes: true,
        ..hint(
            700_027,
            Credentials,
            "the certificate or its signature was refused",
            "upload this certificate to the app registration; Entra ID accepts a new certificate after some minutes",
        )
    },
    hint(
        700_030,
        Credentials,
        "the subject of the certificate is not allowed for the application",
        CERTIFICATE,
    ),
    hint(50_012, Credentials, "the certificate or the signature of the assertion was refused", CERTIFICATE),
    hint(50_017, Credentials, "the certificate was refused", CERTIFICATE),
    hint(50_013, Credentials, "the assertion was refused", CERTIFICATE),
    hint(50_027, Credentials, "the assertion was refused", CERTIFICATE),
    hint(900_384, Credentials, "the signature of the assertion was refused", CERTIFICATE),
    hint(
        700_212,
        Credentials,
        "no federated credential of the application matches the token's audience",
        FEDERATED,
    ),
    hint(
        700_211,
        Credentials,
        "no federated credential of the application matches the token's issuer",
        FEDERATED,
    ),
    hint(
        700_213,
        Credentials,
        "no federated credential of the application matches the token's subject",
        FEDERATED,
    ),
    hint(70_021, Credentials, "no federated credential of the application matches the token", FEDERATED),
    hint(50_048, Credentials, "issuer and subject of the assertion do not fit each other", FEDERATED),
    hint(
        700_229,
        Credentials,
        "the federated token is a user's",
        "have federated_token_file contain a token of an application or a managed identity",
    ),
    hint(700_024, Credentials, "the assertion is used outside its validity period", CLOCK),
    hint(500_133, Credentials, "the assertion is used outside its validity period", CLOCK),
    hint(90_002, Server, "the tenant does not exist", "check tenant_id and cloud"),
    hint(50_059, Server, "the request does not name the tenant", "check tenant_id and cloud"),
    hint(90_019, Server, "the request does not name the tenant", "check tenant_id and cloud"),
    hint(50_194, Server, "the application is for one tenant, and the request does not name it", TENANT),
    hint(9_001_023, Server, "the sign-in is possible only at the address of a tenant", TENANT),
    hint(50_128, Server, "the domain belongs to no tenant", "check tenant_id and cloud"),
    hint(90_038, Server, "the tenant belongs to another national cloud", OTHER_CLOUD),
    hint(90_051, Server, "the tenant belongs to another national cloud", OTHER_CLOUD),
    hint(900_382, Server, "the application belongs to another national cloud", OTHER_CLOUD),
    hint(900_432, Server, "the application belongs to another national cloud", OTHER_CLOUD),
    hint(1_000_104, Server, "the user's tenant does not allow access to this national cloud", OTHER_CLOUD),
    hint(50_011, Server, "the application does not have this redirect URI", REDIRECT),
    hint(500_112, Server, "the application does not have this redirect URI", REDIRECT),
    hint(900_971, Server, "the application has no redirect URI", REDIRECT),
    hint(70_011, Server, "the scope is not valid", SCOPE),
    hint(28_002, Server, "the scope is not valid", SCOPE),
    hint(28_003, Server, "the scope is empty", SCOPE),
    hint(700_022, Server, "the scope names several APIs", SCOPE),
    hint(700_023, Server, "the scope names no API", SCOPE),
    hint(90_013, Server, "the request is not valid", IDS),
    hint(50_000, Server, "the sign-in service could not issue a token", SUPPORT),
    hint(50_086, Server, "the sign-in service failed at the second factor", SUPPORT),
    hint(90_036, Server, "the directory of the sign-in service failed", SUPPORT),
    hint(90_092, Server, "the directory of the sign-in service failed", SUPPORT),
    passing(90_055, "the sign-in service received too many requests", WAIT),
    passing(
        50_196,
        "the sign-in service received the same request too often",
        "wait, and check that no other program signs in with this application in a loop",
    ),
    passing(50_088, "too many calls and text messages for multi-factor authentication were requested", WAIT),
    passing(50_033, "the sign-in service has a temporary failure", WAIT),
    passing(50_087, "the second factor has a temporary failure", WAIT),
    passing(50_166, "the provider of the second factor cannot be reached", WAIT),
    passing(40_010, "the federated identity provider has a temporary failure", WAIT),
    passing(70_012, "the sign-in service for personal accounts has a temporary failure", WAIT),
    passing(90_006, "the sign-in service is temporarily unavailable", WAIT),
    passing(90_012, "the request timed out at the sign-in service", WAIT),
    passing(90_024, "the sign-in service has a temporary failure", WAIT),
    passing(90_033, "the sign-in service has a temporary failure", WAIT),
    passing(90_090, "the directory of the sign-in service is temporarily unavailable", WAIT),
    passing(90_091, "the directory of the sign-in service is temporarily unavailable", WAIT),
    hint(65_005, Consent, "the application or its permissions are not set up for the API", PERMISSION),
    hint(
        70_002,
        Credentials,
        "the client secret or another credential is wrong",
        "check client_id and the client credential",
    ),
];

/// The codes of the Partner Center API.
pub const API: &[Hint] = &[
    hint(
        900_420,
        Credentials,
        "the token's audience is not accepted",
        "check cloud, or api_base_url if the cloud is custom, and sign in again with `partner-license-exporter login`",
    ),
    hint(
        900_421,
        Mfa,
        "the user signed in without multi-factor authentication, and renewing the token does not add it",
        LOGIN,
    ),
    hint(900_150, Forbidden, "the user's role does not permit the request", ROLE),
    hint(900_308, Forbidden, "the user's role does not permit the request", ROLE),
    hint(
        900_309,
        Forbidden,
        "a Conditional Access policy blocks access",
        "change the policy to allow this user, application and network",
    ),
    hint(
        900_329,
        Forbidden,
        "the token belongs to the application, not to a user",
        "sign in as a user with `partner-license-exporter login`: the API accepts no application-only tokens",
    ),
    hint(
        800_001,
        Credentials,
        "the API found no partner's token in the request",
        "sign in as a user of the partner tenant with `partner-license-exporter login`",
    ),
];

/// What a code of Conditional Access means of which Microsoft publishes no meaning.
const UNLISTED_POLICY: Hint = hint(0, Mfa, "a Conditional Access policy blocks the sign-in", SIGN_IN_POLICY);

/// Whether a code belongs to a family of Conditional Access, whose codes are not all published.
fn is_policy(code: u64) -> bool {
    matches!(code, 53_000..=53_011 | 530_000..=530_099)
}

/// What is known about a refusal of Entra ID with these codes.
pub(super) fn for_sign_in(codes: &[u64]) -> Option<&'static Hint> {
    let known = SIGN_IN.iter().find(|hint| codes.contains(&hint.code.into()));
    known.or_else(|| codes.iter().any(|code| is_policy(*code)).then_some(&UNLISTED_POLICY))
}

/// The remedy for a refusal of Entra ID without a known code.
pub(super) fn for_oauth_error(error: OAuthError) -> &'static str {
    match error {
        OAuthError::InvalidGrant | OAuthError::InteractionRequired | OAuthError::LoginRequired => LOGIN,
        OAuthError::InvalidClient => {
            "check client_id and the client credential: it may have expired or belong to another application"
        }
        OAuthError::InvalidResource => SERVICE_PRINCIPAL,
        OAuthError::InvalidScope => SCOPE,
        OAuthError::InvalidRequest => IDS,
        OAuthError::ConsentRequired | OAuthError::UnauthorizedClient => CONSENT,
        OAuthError::TemporarilyUnavailable | OAuthError::ServerError => WAIT,
        _ => {
            "look the answer up at https://login.microsoftonline.com/error: waiting is unlikely to change it"
        }
    }
}

/// The codes in a text such as `AADSTS65001: …`, which is all that a browser's redirect has.
pub(super) fn codes_in(text: &str) -> Vec<u64> {
    let parts = text.split("AADSTS").skip(1);
    parts.filter_map(|part| part.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()).collect()
}

/// What is known about a refusal of the API with this code.
pub(super) fn for_api(code: &str) -> Option<&'static Hint> {
    let code: u32 = code.parse().ok()?;
    API.iter().find(|hint| hint.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_is_listed_twice() {
        for hints in [SIGN_IN, API] {
            for (n, hint) in hints.iter().enumerate() {
                assert!(hints.iter().skip(n + 1).all(|other| other.code != hint.code), "{}", hint.code);
            }
        }
    }

    #[test]
    fn each_code_of_conditional_access_has_a_remedy_and_the_reason_mfa() {
        for code in (53_000..=53_011).chain(530_000..=530_099) {
            let hint = for_sign_in(&[code]).unwrap();
            assert_eq!(hint.reason, Mfa, "{code}");
            let listed = SIGN_IN.iter().any(|hint| u64::from(hint.code) == code);
            assert!(listed || hint.remedy.contains("policy"), "{code}: {}", hint.remedy);
        }
        for code in [52_999, 53_012, 529_999, 530_100] {
            assert!(for_sign_in(&[code]).is_none(), "{code}");
        }
    }

    #[test]
    fn the_most_specific_of_several_codes_applies_in_any_order() {
        for codes in [[70_002, 50_126], [50_126, 70_002]] {
            assert_eq!(for_sign_in(&codes).unwrap().code, 50_126);
        }
        assert_eq!(for_sign_in(&[1, 530_099]).unwrap().reason, Mfa);
    }

    #[test]
    fn codes_with_the_same_cause_have_the_same_reason_and_remedy() {
        for (code, sibling) in [
            (50_177, 90_072),
            (50_178, 90_072),
            (50_021, 500_021),
            (50_022, 500_022),
            (50_064, 50_126),
            (50_017, 50_012),
            (90_019, 50_059),
            (9_001_023, 50_194),
        ] {
            let [hint, sibling] = [code, sibling].map(|code| for_sign_in(&[code]).unwrap());
            assert_eq!(hint.remedy, sibling.remedy, "{code}");
            let is_policy = [50_177, 50_178].contains(&code);
            assert_eq!(hint.reason, if is_policy { Mfa } else { sibling.reason }, "{code}");
        }
        assert!(for_sign_in(&[50_194]).unwrap().remedy.starts_with("set tenant_id"));
    }

    #[test]
    fn codes_are_found_in_the_text_of_a_redirect() {
        assert_eq!(
            codes_in("AADSTS65004: no. AADSTS: x AADSTS50126, AADSTS99999999999999999999"),
            [65_004, 50_126]
        );
        assert_eq!(codes_in("denied"), [0; 0]);
    }
}
