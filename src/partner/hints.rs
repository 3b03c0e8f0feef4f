//! The known numeric codes of refusals, each with its meaning and a remedy.
//!
//! Microsoft warns that its codes change, so only texts for people depend on them. The meanings are those of the error
//! references of Entra ID and Partner Center.

use super::oauth::OAuthError;

/// A known code.
#[derive(Clone, Copy, Debug)]
pub struct Hint {
    /// The number, which Entra ID's texts prefix with `AADSTS`.
    pub code: u32,
    /// The cause of the refusal.
    pub meaning: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// The remedy for a sign-in that has ended.
pub const LOGIN: &str =
    "sign in again with `partner-license-exporter login`, using multi-factor authentication";
const CONSENT: &str =
    "have an administrator of the partner tenant consent to the application, then reload the exporter";
const WAIT: &str = "wait; the exporter retries later";
const SCOPE: &str = "check cloud, or api_base_url if the cloud is custom";
const IDS: &str =
    "check client_id, tenant_id and cloud, or sign in again with `partner-license-exporter login`";
const SIGN_IN_POLICY: &str = "change the policy to allow this user, application and network; if it blocks the device code flow, use `login --browser`";
const DEVICE_POLICY: &str =
    "exempt this user and application from the policy, or sign in from such a device with `login --browser`";
const FEDERATED: &str =
    "compare audience, issuer and subject with the federated credential of the app registration";
const ROLE: &str = "give the signed-in user a Partner Center role that may read analytics, such as Admin agent or Sales agent";

/// The code with which Entra ID refuses a new certificate for some minutes after its upload.
pub(super) const CERTIFICATE_NOT_KNOWN_YET: u32 = 700_027;

const fn hint(code: u32, meaning: &'static str, remedy: &'static str) -> Hint {
    Hint { code, meaning, remedy }
}

/// The codes of Entra ID.
pub const SIGN_IN: &[Hint] = &[
    hint(700_082, "the refresh token was not used for 90 days", LOGIN),
    hint(70_008, "the refresh token has expired", LOGIN),
    hint(
        700_084,
        "the refresh token of a single-page application has reached the end of its fixed lifetime",
        LOGIN,
    ),
    hint(50_173, "the refresh token was revoked, for instance by a password reset", LOGIN),
    hint(50_132, "the session was revoked, for instance by a password change", LOGIN),
    hint(50_133, "the session was revoked, for instance by a password change", LOGIN),
    hint(70_000, "the refresh token is malformed or no longer valid", LOGIN),
    hint(
        9_002_313,
        "the request or the refresh token is malformed",
        "check that the refresh token was copied completely, or sign in again with `partner-license-exporter login`",
    ),
    hint(
        700_007,
        "the refresh token was issued to another application",
        "check client_id, or sign in again with `partner-license-exporter login`",
    ),
    hint(
        70_043,
        "a Conditional Access policy on sign-in frequency ended the session",
        "exempt this user from the policy, then sign in again with `partner-license-exporter login`",
    ),
    hint(
        50_078,
        "the multi-factor authentication is older than a policy of the tenant allows",
        "exempt this user from the limit on remembered multi-factor authentication, then sign in again with `partner-license-exporter login`",
    ),
    hint(50_072, "the user has yet to register for multi-factor authentication", LOGIN),
    hint(50_074, "multi-factor authentication is required", LOGIN),
    hint(50_076, "multi-factor authentication is required", LOGIN),
    hint(50_079, "the user has yet to register for multi-factor authentication", LOGIN),
    hint(53_003, "a Conditional Access policy blocks the sign-in", SIGN_IN_POLICY),
    hint(530_032, "a Conditional Access policy blocks the sign-in", SIGN_IN_POLICY),
    hint(50_005, "a Conditional Access policy requires a device that the tenant knows", DEVICE_POLICY),
    hint(50_097, "a Conditional Access policy requires a device that the tenant knows", DEVICE_POLICY),
    hint(53_000, "a Conditional Access policy requires a compliant device", DEVICE_POLICY),
    hint(53_001, "a Conditional Access policy requires a device that is joined to the domain", DEVICE_POLICY),
    hint(53_002, "a Conditional Access policy requires an approved application", SIGN_IN_POLICY),
    hint(50_131, "a Conditional Access policy blocks the sign-in", SIGN_IN_POLICY),
    hint(
        53_004,
        "the user must register for multi-factor authentication, which the risk of the sign-in prevents",
        LOGIN,
    ),
    hint(50_158, "a policy requires a second factor of another provider", SIGN_IN_POLICY),
    hint(
        500_011,
        "the tenant has no service principal for the API",
        "have an administrator run `az ad sp create --id fa3d9a0c-3fb0-42cc-9193-47c7ecd2edbd`, or check cloud and api_base_url",
    ),
    hint(
        7_000_112,
        "the application is disabled in the tenant",
        "have an administrator enable the application: Enterprise applications, Properties, Enabled for users to sign in",
    ),
    hint(
        50_105,
        "the user is not assigned to the application",
        "have an administrator assign the user: Enterprise applications, Users and groups",
    ),
    hint(
        50_020,
        "the user belongs to another tenant",
        "sign in as a user of the partner tenant, or have an administrator invite this user to it; check tenant_id",
    ),
    hint(
        50_034,
        "the user does not exist in the tenant",
        "check tenant_id, and sign in as a user of the partner tenant",
    ),
    hint(50_057, "the user is disabled", "have an administrator enable the user, or sign in as another one"),
    hint(
        50_053,
        "the user is locked after too many attempts to sign in",
        "have an administrator unlock the user, or wait",
    ),
    hint(65_001, "neither the user nor an administrator has consented to the application", CONSENT),
    hint(
        65_004,
        "the user declined to consent",
        "run the command again and accept, or have an administrator of the partner tenant consent to the application",
    ),
    hint(
        650_052,
        "the tenant has no service principal for the API",
        "have an administrator add the API Microsoft Partner Center to the tenant by consenting to the application",
    ),
    hint(
        650_057,
        "the application does not request the API's permission",
        "add the delegated permission user_impersonation of Microsoft Partner Center to the application, and consent to it",
    ),
    hint(
        700_016,
        "the application is unknown in the tenant",
        "check client_id and tenant_id, then have an administrator consent to the application",
    ),
    hint(90_002, "the tenant does not exist", "check tenant_id and cloud"),
    hint(7_000_215, "the client secret is wrong", "use the secret's value, not its id"),
    hint(
        7_000_222,
        "the client secret has expired",
        "create a new client secret and replace the old one; no restart is needed",
    ),
    hint(
        7_000_218,
        "the application must authenticate and did not",
        "configure a client credential, or allow public client flows in the app registration and list its redirect URI under Mobile and desktop applications",
    ),
    hint(
        700_025,
        "the application is a public client and sent a credential",
        "remove the client credential from the configuration, or disallow public client flows in the app registration and list its redirect URI under Web",
    ),
    hint(
        CERTIFICATE_NOT_KNOWN_YET,
        "the certificate or its signature was refused",
        "upload this certificate to the app registration; Entra ID accepts a new certificate after some minutes",
    ),
    hint(700_212, "no federated credential of the application matches the token's audience", FEDERATED),
    hint(700_211, "no federated credential of the application matches the token's issuer", FEDERATED),
    hint(700_213, "no federated credential of the application matches the token's subject", FEDERATED),
    hint(70_021, "no federated credential of the application matches the token", FEDERATED),
    hint(70_011, "the scope is not valid", SCOPE),
    hint(90_013, "the request is not valid", IDS),
    hint(
        700_024,
        "the assertion is used outside its validity period",
        "correct this machine's clock; an assertion is valid for five minutes",
    ),
    hint(90_055, "the sign-in service received too many requests", WAIT),
    hint(
        50_196,
        "the sign-in service received the same request too often",
        "wait, and check that no other program signs in with this application in a loop",
    ),
    hint(50_033, "the sign-in service has a temporary failure", WAIT),
    hint(90_024, "the sign-in service has a temporary failure", WAIT),
    hint(90_033, "the sign-in service has a temporary failure", WAIT),
];

/// The codes of the Partner Center API.
pub const API: &[Hint] = &[
    hint(
        900_420,
        "the token's audience is not accepted",
        "check cloud, or api_base_url if the cloud is custom, and sign in again with `partner-license-exporter login`",
    ),
    hint(
        900_421,
        "the user signed in without multi-factor authentication, and renewing the token does not add it",
        LOGIN,
    ),
    hint(900_150, "the user's role does not permit the request", ROLE),
    hint(900_308, "the user's role does not permit the request", ROLE),
    hint(
        900_309,
        "a Conditional Access policy blocks access",
        "change the policy to allow this user, application and network",
    ),
    hint(
        900_329,
        "the token belongs to the application, not to a user",
        "sign in as a user with `partner-license-exporter login`: the API accepts no application-only tokens",
    ),
    hint(
        800_001,
        "the API found no partner's token in the request",
        "sign in as a user of the partner tenant with `partner-license-exporter login`",
    ),
];

/// Whether a code means that the sign-in does not meet a policy: "You must use multi-factor authentication" and the
/// families of Conditional Access, which v2 reports as `invalid_grant`.
pub(super) fn asks_for_more(code: u64) -> bool {
    matches!(code, 50_005 | 50_072 | 50_074 | 50_076 | 50_079 | 50_097 | 50_131 | 50_158) || is_policy(code)
}

/// Whether a code belongs to a family of Conditional Access, whose codes are not all published.
fn is_policy(code: u64) -> bool {
    matches!(code, 53_000..=53_011 | 530_000..=530_099)
}

/// The remedy for a refusal of Entra ID, by the first code that is known or belongs to a known family.
pub(super) fn for_sign_in(codes: &[u64]) -> Option<&'static str> {
    codes.iter().find_map(|code| find(SIGN_IN, *code).or_else(|| is_policy(*code).then_some(SIGN_IN_POLICY)))
}

/// The remedy for a refusal of Entra ID without a known code.
pub(super) fn for_oauth_error(error: OAuthError) -> Option<&'static str> {
    Some(match error {
        OAuthError::InvalidGrant => LOGIN,
        OAuthError::InvalidClient => {
            "check client_id and the client credential: it may have expired or belong to another application"
        }
        OAuthError::InvalidScope | OAuthError::InvalidResource => SCOPE,
        OAuthError::InvalidRequest => IDS,
        _ => return None,
    })
}

/// The remedy for a refusal of Entra ID, by the code in a text such as `AADSTS65001: …`, which is all that a browser's
/// redirect has.
pub(super) fn for_sign_in_text(text: &str) -> Option<&'static str> {
    let digits = text.split_once("AADSTS")?.1.split(|c: char| !c.is_ascii_digit()).next()?;
    find(SIGN_IN, digits.parse().ok()?)
}

/// The remedy for a refusal of the API, by its code.
pub(super) fn for_api(code: &str) -> Option<&'static str> {
    find(API, code.parse().ok()?)
}

fn find(hints: &[Hint], code: u64) -> Option<&'static str> {
    hints.iter().find(|hint| u64::from(hint.code) == code).map(|hint| hint.remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_of_conditional_access_has_a_remedy_that_names_the_policy() {
        for code in (53_000..=53_011).chain(530_000..=530_099).filter(|code| *code != 53_004) {
            let remedy = for_sign_in(&[code]).unwrap();
            assert!(asks_for_more(code) && remedy.contains("policy"), "{code}: {remedy}");
        }
        for code in [52_999, 53_012, 529_999, 530_100] {
            assert!(!asks_for_more(code) && for_sign_in(&[code]).is_none(), "{code}");
        }
    }
}
