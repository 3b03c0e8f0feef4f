//! Examines the claims of an access token: audience, user, multi-factor authentication and expiry.

use crate::config::Account;
use crate::partner::Claims;
use crate::partner::hints::LOGIN;

use super::report::{Outcome, failed, ok, skipped};

/// Examines all claims, each in a step of its own.
pub(super) fn examine(claims: Option<&Claims>, account: &Account) -> Vec<(&'static str, Outcome)> {
    let Some(claims) = claims else {
        return vec![("claims", skipped("the access token cannot be read"))];
    };
    vec![
        ("audience", audience(claims, account)),
        ("user", user(claims)),
        ("mfa_claim", mfa(claims)),
        ("access_token", expiry(claims)),
    ]
}

fn audience(claims: &Claims, account: &Account) -> Outcome {
    let audience = claims.audience.as_deref().unwrap_or("not said");
    if claims.is_for(&account.cloud) {
        return ok(format!("the token is for {audience}"));
    }
    failed(
        format!("the token is for {audience}, not for {}", account.cloud.api_base_url),
        "check cloud, or api_base_url if the cloud is custom",
    )
}

fn user(claims: &Claims) -> Outcome {
    if claims.is_delegated() {
        let user = claims.user.as_deref().unwrap_or("not said");
        let tenant = claims.tenant.as_deref().unwrap_or("not said");
        return ok(format!("{user} of tenant {tenant}, with {}", claims.scopes.join(" ")));
    }
    let roles = claims.roles.join(" ");
    failed(
        format!("the token is the application's own, not a user's (roles: {roles})"),
        "sign in as a user with `partner-license-exporter login`",
    )
}

fn mfa(claims: &Claims) -> Outcome {
    match (claims.has_mfa(), &claims.methods) {
        (Some(true), Some(methods)) => ok(format!("the user signed in with {}", methods.join(" "))),
        (_, Some(methods)) => failed(format!("the user signed in with {} only", methods.join(" ")), LOGIN),
        (_, None) => skipped("the token does not say how the user signed in"),
    }
}

fn expiry(claims: &Claims) -> Outcome {
    match claims.expires_at {
        Some(end) => ok(format!("expires at {end}")),
        None => skipped("the token does not say when it expires"),
    }
}
