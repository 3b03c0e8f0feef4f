//! What `WWW-Authenticate` says about a refused access token (RFC 6750 section 3, and Entra ID's claims challenge).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use serde_json::Value;

/// The parameters of a challenge that say why an access token was refused. Those that are absent are empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Challenge {
    /// The error code, such as `invalid_token`.
    pub(super) error: String,
    /// The description of the error for people.
    pub(super) description: String,
    /// The claims that a token needs, as JSON if they can be decoded.
    pub(super) claims: String,
}

impl Challenge {
    /// Reads all headers of that name. Of a parameter that is repeated, the first counts.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut challenge = Self::default();
        let headers = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        for (name, value) in headers.flat_map(parameters) {
            let (field, value) = match name.to_ascii_lowercase().as_str() {
                "error" => (&mut challenge.error, value),
                "error_description" => (&mut challenge.description, value),
                "claims" => (&mut challenge.claims, decoded(&value).unwrap_or(value)),
                _ => continue,
            };
            if field.is_empty() {
                *field = value;
            }
        }
        challenge
    }

    /// Whether it demands claims that the token does not have.
    pub(super) fn demands_claims(&self) -> bool {
        self.error == "insufficient_claims" || !self.claims.is_empty()
    }
}

/// The `name=value` pairs of a header, whose values may be quoted.
fn parameters(header: &str) -> Vec<(&str, String)> {
    let (mut found, mut rest) = (Vec::new(), header);
    while let Some((before, after)) = rest.split_once('=') {
        let name = before.trim_end().rsplit([' ', ',', '\t']).next().unwrap_or_default();
        let mut value = String::new();
        if let Some(quoted) = after.trim_start().strip_prefix('"') {
            let mut chars = quoted.chars();
            while let Some(c) = chars.next().filter(|c| *c != '"') {
                value.extend(if c == '\\' { chars.next() } else { Some(c) });
            }
            rest = chars.as_str();
        } else {
            let end = after.find([' ', ',', '\t']).unwrap_or(after.len());
            let (token, others) = after.split_at(end);
            token.clone_into(&mut value);
            rest = others;
        }
        found.push((name, value));
    }
    found
}

/// The JSON that `claims` encode in base64, of either alphabet, padded or not.
fn decoded(claims: &str) -> Option<String> {
    let standard = claims.trim_end_matches('=').replace('-', "+").replace('_', "/");
    let json: Value = serde_json::from_slice(&STANDARD_NO_PAD.decode(standard).ok()?).ok()?;
    Some(json.to_string())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    fn challenge(values: &[&str]) -> Challenge {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        Challenge::of(&headers)
    }

    #[test]
    fn a_claims_challenge_has_its_claims_as_json_in_either_alphabet() {
        let json = r#"{"access_token":{"nbf":{"essential":true,"value":"1604106651?>~"}}}"#;
        for claims in [STANDARD.encode(json), URL_SAFE_NO_PAD.encode(json)] {
            let found = challenge(&[&format!(
                r#"Bearer realm="", authorization_uri="https://login.example/common/oauth2/authorize", client_id="a=b", error="insufficient_claims", claims="{claims}""#
            )]);
            assert!(found.demands_claims());
            assert_eq!((&*found.error, &*found.claims), ("insufficient_claims", json));
        }
    }

    #[test]
    fn parameters_may_be_quoted_or_not_and_in_any_of_several_headers() {
        let found = challenge(&[
            "Negotiate YWJj==",
            r#"Basic realm="error=\"x\", error=y", Bearer ERROR = "invalid_token" , error_description="a \"b\", c""#,
            "Bearer error=another",
        ]);
        let expected = Challenge {
            error: "invalid_token".into(),
            description: "a \"b\", c".into(),
            claims: String::new(),
        };
        assert_eq!(found, expected);
        assert!(!found.demands_claims());
        assert_eq!(challenge(&["Bearer error=invalid_token,claims=x"]).claims, "x");
        for value in ["", "Bearer", "=", "=\"", "Bearer error=\"", "Bearer error=\"\\"] {
            assert_eq!(challenge(&[value]), Challenge::default(), "{value:?}");
        }
    }
}
