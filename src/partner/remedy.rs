//! Makes a remedy fit the place where a person reads it, and its commands ready to paste.

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
    let remedy = remedy
        .replace(" with `partner-license-exporter login`", "")
        .replace(", then reload the exporter", ", then run the command again");
    let remedy = if browser {
        remedy.replace(OTHER_FLOW, "").replace(" with `partner-license-exporter login --browser`", "")
    } else {
        remedy
    };
    if remedy.starts_with("wait; the exporter retries") {
        return "wait, then run the command again".to_owned();
    }
    with_flags(&remedy, flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::FailureReason;
    use crate::partner::hints::{self, LOGIN};

    const FLAGS: &str = "--config.file=/etc/x.yml --account fabrikam";

    fn remedies() -> impl Iterator<Item = &'static str> {
        let hints = hints::SIGN_IN.iter().chain(hints::API).map(|hint| hint.remedy);
        FailureReason::ALL.into_iter().map(FailureReason::remedy).chain(hints)
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
