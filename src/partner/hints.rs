//! What the codes of refusals mean, and what to do about each: hints for people.
//!
//! Microsoft warns that its codes change, so nothing but a text depends on them. Meanings are those of Entra
//! ID's and Partner Center's error references.

/// A code that is known.
#[derive(Clone, Copy, Debug)]
pub struct Hint {
    /// The number; in Entra ID's texts `AADSTS` stands before it.
    pub code: u32,
    /// What happened.
    pub meaning: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

pub(super) const LOGIN: &str =
    "sign in again with `partner-license-exporter login`, with multi-factor authentication";
const CONSENT: &str =
    "have an administrator of the partner tenant consent to the application, then reload the exporter";
const WAIT: &str = "wait; the exporter asks again later";

/// A new certificate is refused like that for some minutes after its upload.
pub(super) const CERTIFICATE_NOT_KNOWN_YET: u32 = 700_027;

const fn hint(code: u32, meaning: &'static str, remedy: &'static str) -> Hint {
    Hint { code, meaning, remedy }
}

/// Refusals of Entra ID.
pub const SIGN_IN: &[Hint] = &[
    hint(700_082, "the refresh token was not used for 90 days", LOGIN),
    hint(70_008, "the refresh token has expired", LOGIN),
    hint(
        700_084,
        "the refresh token has reached its fixed end, as those of single-page applications do",
        LOGIN,
    ),
    hint(50_173, "the refresh token was revoked, for instance by a password reset", LOGIN),
    hint(50_132, "the session was revoked, for instance by a changed password", LOGIN),
    hint(50_133, "the session was revoked, for instance by a changed password", LOGIN),
    hint(70_000, "the refresh token is malformed or not valid any more", LOGIN),
    hint(
        9_002_313,
        "the request or the refresh token is malformed",
        "check that the refresh token was copied whole, or sign in again with `partner-license-exporter login`",
    ),
    hint(
        700_007,
        "the refresh token was issued to another application",
        "check client_id, or sign in again with `partner-license-exporter login`",
    ),
    hint(
        70_043,
        "a Conditional Access policy on the sign-in frequency ended the session",
        "exempt this user from the policy, then sign in again with `partner-license-exporter login`",
    ),
    hint(
        50_078,
        "the multi-factor authentication is too old for a policy of the tenant",
        "exempt this user from remembering it for some days only, then sign in again with `partner-license-exporter login`",
    ),
    hint(50_072, "the user has yet to register for multi-factor authentication", LOGIN),
    hint(50_074, "multi-factor authentication is required", LOGIN),
    hint(50_076, "multi-factor authentication is required", LOGIN),
    hint(50_079, "the user has yet to register for multi-factor authentication", LOGIN),
    hint(
        53_003,
        "a Conditional Access policy blocks the sign-in",
        "have the policy allow this user, application and network; if it blocks the device-code flow, use `login --browser`",
    ),
    hint(
        530_032,
        "a Conditional Access policy blocks the sign-in",
        "have the policy allow this user, application and network; if it blocks the device-code flow, use `login --browser`",
    ),
    hint(65_001, "nobody has consented to the application", CONSENT),
    hint(
        65_004,
        "the user declined to consent",
        "run the command again and accept, or have an administrator of the partner tenant consent to the application",
    ),
    hint(
        650_052,
        "the tenant has no service principal of the API",
        "have an administrator add the API Microsoft Partner Center to the tenant by consenting to the application",
    ),
    hint(
        650_057,
        "the application does not ask for the API's permission",
        "give the application the delegated permission user_impersonation of Microsoft Partner Center, and consent to it",
    ),
    hint(
        700_016,
        "the tenant does not know the application",
        "check client_id and tenant_id, then have an administrator consent to the application",
    ),
    hint(90_002, "there is no such tenant", "check tenant_id and cloud"),
    hint(7_000_215, "the client secret is wrong", "use the secret's value, not its id"),
    hint(
        7_000_222,
        "the client secret has expired",
        "create a new client secret and replace the old one; no restart is needed",
    ),
    hint(
        7_000_218,
        "the application has to prove itself and did not",
        "configure a client credential, or let the app registration allow public client flows and have its redirect URI under Mobile and desktop applications",
    ),
    hint(
        700_025,
        "the application is a public client and sent a credential",
        "remove the client credential from the configuration, or let the app registration allow no public client flows and have its redirect URI under Web",
    ),
    hint(
        CERTIFICATE_NOT_KNOWN_YET,
        "the certificate or its signature was refused",
        "upload this certificate to the app registration; a new one takes some minutes to be known",
    ),
    hint(
        700_212,
        "no federated credential of the application has the token's audience",
        "compare audience, issuer and subject with the federated credential of the app registration",
    ),
    hint(
        700_211,
        "no federated credential of the application has the token's issuer",
        "compare audience, issuer and subject with the federated credential of the app registration",
    ),
    hint(
        700_213,
        "no federated credential of the application has the token's subject",
        "compare audience, issuer and subject with the federated credential of the app registration",
    ),
    hint(
        70_021,
        "no federated credential of the application matches the token",
        "compare audience, issuer and subject with the federated credential of the app registration",
    ),
    hint(70_011, "the scope is not valid", "check cloud, or api_base_url if the cloud is custom"),
    hint(
        90_013,
        "the request is not valid",
        "check client_id, tenant_id and cloud, or sign in again with `partner-license-exporter login`",
    ),
    hint(
        700_024,
        "the assertion is outside the time for which it is valid",
        "set this machine's clock right; assertions are good for five minutes",
    ),
    hint(90_055, "there are too many requests", WAIT),
    hint(
        50_196,
        "the same request came again and again",
        "wait; and see that no other program signs in with this application in a loop",
    ),
    hint(50_033, "the sign-in service fails for a while", WAIT),
    hint(90_024, "the sign-in service fails for a while", WAIT),
    hint(90_033, "the sign-in service fails for a while", WAIT),
];

/// Refusals of the Partner Center API.
pub const API: &[Hint] = &[
    hint(
        900_420,
        "the token's audience is not accepted",
        "check cloud, or api_base_url if the cloud is custom, and sign in again with `partner-license-exporter login`",
    ),
    hint(900_421, "the sign-in had no multi-factor authentication, which refreshing cannot repair", LOGIN),
    hint(
        900_150,
        "the user's role lacks the right",
        "give the signed-in user a Partner Center role that may read analytics, such as Admin agent or Sales agent",
    ),
    hint(
        900_308,
        "the user's role lacks the right",
        "give the signed-in user a Partner Center role that may read analytics, such as Admin agent or Sales agent",
    ),
    hint(
        900_309,
        "a Conditional Access policy blocks the access",
        "have the policy allow this user, application and network",
    ),
    hint(
        900_329,
        "the token is the application's own, not a user's",
        "sign in as a user with `partner-license-exporter login`: the API accepts no application-only tokens",
    ),
    hint(
        800_001,
        "the API did not find a partner's token in the request",
        "sign in as a user of the partner tenant with `partner-license-exporter login`",
    ),
];

/// The remedy for a refusal of Entra ID, by the first of its codes that is known.
pub(super) fn for_sign_in(codes: &[u64]) -> Option<&'static str> {
    codes.iter().find_map(|code| find(SIGN_IN, *code))
}

/// The remedy for a refusal of which only the OAuth 2.0 error says anything.
pub(super) fn for_word(word: &str) -> Option<&'static str> {
    Some(match word {
        "invalid_grant" => LOGIN,
        "invalid_client" => {
            "check client_id and the client credential: whether it has ended, and belongs to this application"
        }
        "invalid_scope" => "check cloud, or api_base_url if the cloud is custom",
        "invalid_request" => {
            "check client_id, tenant_id and cloud, or sign in again with `partner-license-exporter login`"
        }
        _ => return None,
    })
}

/// As [`for_sign_in`], by the code in a text such as `AADSTS65001: …`, which is all that a browser's redirect brings.
pub(super) fn for_sign_in_text(text: &str) -> Option<&'static str> {
    let digits = text.split_once("AADSTS")?.1.split(|c: char| !c.is_ascii_digit()).next()?;
    find(SIGN_IN, digits.parse().ok()?)
}

/// The remedy for a refusal of the API, whose code is a number or a text.
pub(super) fn for_api(code: &str) -> Option<&'static str> {
    find(API, code.parse().ok()?)
}

fn find(hints: &[Hint], code: u64) -> Option<&'static str> {
    hints.iter().find(|hint| u64::from(hint.code) == code).map(|hint| hint.remedy)
}
