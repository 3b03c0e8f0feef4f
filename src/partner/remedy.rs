//! Makes a remedy fit the place where a person reads it, and its commands ready to paste.

use std::time::Duration;

use crate::domain::failure::Failure;

use super::hints::OTHER_FLOW;

/// Adds `flags` to the commands of this program in a remedy, which are enclosed in backticks. Commands that have them
/// stay as they are.
pub fn with_flags(remedy: &str, flags: &str) -> String {
    let parts = remedy.split('`').enumerate().map(|(n, part)| {
        let is_command = n % 2 == 1 && part.starts_with("partner-license-exporter ");
        if is_command && !part.ends_with(flags) { format!("{part} {flags}") } else { part.to_owned() }
    });
    parts.collect::<Vec<_>>().join("`")
}

/// A remedy for a person who has run `login`, in a browser or not: nobody needs to be told to run it, and no exporter
/// tries again.
pub fn within_login(remedy: &str, browser: bool, flags: &str) -> String {
    let remedy = remedy.replace(" with `partner-license-exporter login`", "");
    let remedy = if browser {
        remedy.replace(OTHER_FLOW, "").replace(" with `partner-license-exporter login --browser`", "")
    } else {
        remedy
    };
    of_one_attempt(&remedy, flags)
}

/// A remedy for a person who has run a command: there may be no exporter, and none tries again.
pub fn of_one_attempt(remedy: &str, flags: &str) -> String {
    if remedy.starts_with("wait; the exporter retries") {
        return "wait, then run the command again".to_owned();
    }
    with_flags(&remedy.replace(", then reload the exporter", ", then run the command again"), flags)
}

/// The remedy of a failure for a person who has run a command, with the time that the server asked for.
pub fn of_failed_attempt(failure: &Failure, flags: &str) -> String {
    match failure.retry_after {
        Some(wait) => {
            let wait = Duration::from_secs(wait.as_secs());
            format!("wait {}, then run the command again", humantime::format_duration(wait))
        }
        None => of_one_attempt(&failure.remedy, flags),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::config::SecretError;
    use crate::domain::failure::FailureReason;
    use crate::partner::hints::{self, LOGIN};
    use crate::partner::oauth::OAuthError;
    use crate::partner::{client_authentication, refusal, sign_in};

    const FLAGS: &str = "--config.file=/etc/x.yml --account fabrikam";

    const OAUTH_ERRORS: [&str; 13] = [
        "access_denied",
        "consent_required",
        "interaction_required",
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_resource",
        "invalid_scope",
        "login_required",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "a_word_of_tomorrow",
    ];

    fn remedies() -> impl Iterator<Item = &'static str> {
        let hints = hints::SIGN_IN.iter().chain(hints::API).map(|hint| hint.remedy);
        let oauth = OAUTH_ERRORS.map(|word| hints::for_oauth_error(OAuthError::parse(word).unwrap()));
        let unreadable = [io::ErrorKind::TimedOut, io::ErrorKind::NotFound]
            .map(|kind| SecretError::Unreadable { path: "/secret".into(), cause: kind.into() });
        let files = unreadable.map(|error| client_authentication::remedy(Some(&error)));
        let others = [
            client_authentication::remedy(None),
            refusal::FRESH_TOKEN_REFUSED,
            refusal::MORE_CLAIMS,
            refusal::MORE_SCOPE,
            refusal::PAGE_INSTEAD_OF_API,
            refusal::PAGE_INSTEAD_OF_SIGN_IN,
            refusal::REFUSED_REQUEST,
            sign_in::NO_REFRESH_TOKEN,
        ];
        let reasons = FailureReason::ALL.into_iter().map(FailureReason::remedy);
        reasons.chain(hints).chain(oauth).chain(files).chain(others)
    }

    #[test]
    fn commands_get_the_flags_once_and_other_code_stays() {
        let expected = "sign in again with `partner-license-exporter login --config.file=/etc/x.yml --account \
                        fabrikam`, using multi-factor authentication";
        assert_eq!(with_flags(LOGIN, FLAGS), expected);
        assert_eq!(with_flags(expected, FLAGS), expected);
        assert_eq!(with_flags(LOGIN, ""), LOGIN);
        let other = "run `az ad sp create`, not partner-license-exporter login";
        assert_eq!(with_flags(other, FLAGS), other);
    }

    #[test]
    fn every_command_of_this_program_in_a_remedy_can_be_pasted() {
        for remedy in remedies() {
            let pasted = with_flags(remedy, FLAGS);
            assert_eq!(
                pasted.matches(FLAGS).count(),
                remedy.matches("partner-license-exporter ").count(),
                "{remedy}"
            );
            assert!(!remedy.contains("`login") && !remedy.contains("`doctor"), "{remedy}");
        }
    }

    #[test]
    fn a_command_speaks_of_no_exporter_and_says_how_long_the_server_wants_to_be_left_alone() {
        for remedy in remedies() {
            let once = of_one_attempt(remedy, FLAGS);
            assert!(
                !once.contains("the exporter retries") && !once.contains("reload the exporter"),
                "{once}"
            );
        }
        let wait = Some(Duration::from_millis(600_400));
        let failure = Failure { retry_after: wait, ..Failure::of(FailureReason::Throttled) };
        assert_eq!(of_failed_attempt(&failure, FLAGS), "wait 10m, then run the command again");
    }

    #[test]
    fn login_never_says_to_run_login_and_promises_no_retry() {
        for remedy in remedies() {
            for browser in [false, true] {
                let within = within_login(remedy, browser, FLAGS);
                assert!(!within.contains(&format!("login {FLAGS}")), "{within}");
                assert!(!within.contains("exporter retries") && !within.contains("reload"), "{within}");
                assert_eq!(
                    within.contains("login --browser"),
                    !browser && remedy.contains("--browser"),
                    "{within}"
                );
            }
        }
    }
}
