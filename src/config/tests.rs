use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::environment::DEFAULT_STATE_DIRECTORY;
use super::*;

mod collections;
mod credentials;
mod environment;
mod problems;
mod secrets;
mod thresholds;
mod values;

const TENANT: &str = "3f5f9a6e-0c1d-4a59-8a3b-6f0d5f1c2b3a";
const CLIENT: &str = "8a1c2b3d-4e5f-4061-9283-a4b5c6d7e8f9";

fn no_environment(_: &str) -> Option<String> {
    None
}

/// The shortest valid file of one account with changes: a line replaces the one of its key or is added, and `-key`
/// removes a line.
fn file_of(changes: &[&str]) -> String {
    let usual = [
        format!("tenant_id: {TENANT}"),
        format!("client_id: {CLIENT}"),
        "client_secret: s".to_owned(),
        "refresh_token: r".to_owned(),
    ];
    let key = |line: &str| line.trim_start_matches('-').split(':').next().unwrap_or_default().to_owned();
    let kept = usual.into_iter().filter(|line| !changes.iter().any(|change| key(change) == key(line)));
    let added = changes.iter().filter(|change| !change.starts_with('-')).map(|line| (*line).to_owned());
    let lines: Vec<String> = kept.chain(added).collect();
    format!("accounts:\n  - {}\n", lines.join("\n    "))
}

fn valid(text: &str) -> Config {
    Config::parse(text, &no_environment).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
}

fn exposed_secret(account: &Account) -> String {
    match &account.client_credential {
        ClientCredential::Secret(secret) => exposed(secret),
        other => panic!("{other:?}"),
    }
}

fn exposed_token(account: &Account) -> String {
    exposed(account.refresh_token.as_ref().unwrap())
}

/// The path of a client certificate for tests.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/client-certificates").join(name)
}

/// The problems of a file, as text.
fn problems_of(text: &str) -> Vec<String> {
    let problems = Config::parse(text, &no_environment).expect_err(text);
    problems.iter().map(ToString::to_string).collect()
}

fn exposed(secret: &Secret) -> String {
    secret.read().unwrap().expose_secret().to_owned()
}
