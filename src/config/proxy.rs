//! Checks the URLs of proxies. The HTTP client ignores a variable that it cannot use, and would connect directly.

use reqwest::Url;

use exporter_toolkit::plain_text;
use exporter_toolkit::yaml::Problems;

use super::environment::Environment;

/// The variables from which the HTTP client takes the proxy for https, and of which the first that is set applies.
const VARIABLES: [[&str; 2]; 2] = [["HTTPS_PROXY", "https_proxy"], ["ALL_PROXY", "all_proxy"]];

/// Reports each variable with a proxy that the HTTP client would ignore.
pub(super) fn check_environment(environment: Environment<'_>, problems: &mut Problems) {
    for names in VARIABLES {
        let Some((name, text)) = names.into_iter().find_map(|name| Some((name, environment(name)?))) else {
            continue;
        };
        if text != text.trim() {
            problems.add(name, "has white space or a line break around the URL; remove it");
        } else if let Err(what) = check(&text, true) {
            problems.add(name, what);
        }
    }
}

/// Checks the URL of a proxy, which may lack its scheme if `bare`; the URL is not quoted, since it may contain a
/// password.
///
/// # Errors
/// What is wrong and what to do.
pub(super) fn check(text: &str, bare: bool) -> Result<(), String> {
    const FORM: &str = "is not a proxy URL; write it as http://proxy.example:3128";
    if let Some(flaw) = plain_text::unprintable(text) {
        return Err(format!("{flaw}; write it as http://proxy.example:3128"));
    }
    // `proxy.example:3128` is usual in the environment, and a word without a port is not an address.
    let is_bare = !text.contains("://");
    let is_address = |text: &str| text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let url = if is_bare && bare && is_address(text) { format!("http://{text}") } else { text.to_owned() };
    let url = Url::parse(&url).map_err(|error| match error {
        // The error of the URL library, whose type is not exported.
        error if error.to_string().contains("port") => {
            "has an invalid port; write it as http://proxy.example:3128".to_owned()
        }
        error if error.to_string().contains("host") => {
            "has no host; write it as http://proxy.example:3128".to_owned()
        }
        _ => FORM.to_owned(),
    })?;
    if is_bare && !(bare && is_address(text)) {
        return Err(FORM.to_owned());
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err("has a scheme that is not supported; write it as http://proxy.example:3128".to_owned());
    }
    let has_no_rest = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if url.has_host() && has_no_rest && url.port() != Some(0) { Ok(()) } else { Err(FORM.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(variables: &[(&str, &str)]) -> Vec<String> {
        let mut problems = Problems::default();
        let value =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        check_environment(&value, &mut problems);
        problems.into_vec().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_proxy_of_the_environment_that_would_be_ignored_is_a_problem_without_its_password() {
        let form = "write it as http://proxy.example:3128";
        for (value, expected) in [
            (
                "http://u:canary@proxy.example:3128\n",
                "has white space or a line break around the URL; remove it",
            ),
            (" http://proxy.example", "has white space or a line break around the URL; remove it"),
            ("socks4://u:canary@proxy.example", "has a scheme that is not supported; FORM"),
            ("socks5://proxy.example:1080", "has a scheme that is not supported; FORM"),
            ("htp://proxy.example", "has a scheme that is not supported; FORM"),
            ("proxy", "is not a proxy URL; FORM"),
            ("http://", "has no host; FORM"),
            ("http://u:canary@proxy.example:99999", "has an invalid port; FORM"),
            ("http://proxy.example:port", "has an invalid port; FORM"),
            ("http://proxy.example:0", "is not a proxy URL; FORM"),
            ("http://proxy.example/path", "is not a proxy URL; FORM"),
            (
                "http://proxy\u{200b}.example",
                "contains a zero-width space (U+200B) at line 1, column 13; FORM",
            ),
        ] {
            for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
                let expected = format!("{name}: {}", expected.replace("FORM", form));
                assert_eq!(problems_of(&[(name, value)]), [expected], "{value:?}");
            }
        }
    }

    #[test]
    fn a_usable_proxy_of_the_environment_is_accepted() {
        for value in [
            "http://proxy.example",
            "https://u:p@proxy.example:3128/",
            "proxy.example:3128",
            "http://[::1]:3128",
        ] {
            assert_eq!(problems_of(&[("HTTPS_PROXY", value)]), [""; 0], "{value}");
        }
        let both = [("HTTPS_PROXY", "http://proxy.example"), ("https_proxy", "unused")];
        assert_eq!(problems_of(&both), [""; 0], "the first that is set applies");
    }
}
