use std::collections::BTreeMap;

use super::*;

const COMPLETE: [(&str, &str); 4] = [
    ("AZURE_TENANT_ID", TENANT),
    ("AZURE_CLIENT_ID", CLIENT),
    ("AZURE_CLIENT_SECRET", "the secret"),
    ("PARTNER_CENTER_REFRESH_TOKEN", "the token"),
];

/// Loads the complete environment with changes, each of which sets or removes a variable.
fn load(changes: &[(&str, Option<&str>)]) -> Result<Config, ConfigError> {
    let mut variables = BTreeMap::from(COMPLETE.map(|(name, value)| (name, Some(value))));
    variables.extend(changes.iter().copied());
    ConfigSource::Environment.load(&|name| variables.get(name).copied().flatten().map(str::to_owned))
}

fn shown(outcome: Result<Config, ConfigError>) -> String {
    outcome.unwrap_err().to_string()
}

#[test]
fn one_unnamed_account_can_come_from_the_environment_alone() {
    let config = load(&[]).unwrap();
    assert_eq!(config.poll_interval, Duration::from_hours(6));
    assert_eq!(config.poll_timeout, Duration::from_mins(2));
    assert_eq!(config.stale_after, Some(Duration::from_hours(48)));
    assert_eq!(config.thresholds, Thresholds::default());
    let [account] = &config.accounts[..] else { panic!("{:?}", config.accounts) };
    assert_eq!(account.name, None);
    assert_eq!((account.tenant_id.as_str(), account.client_id.as_str()), (TENANT, CLIENT));
    assert_eq!(exposed_secret(account), "the secret");
    assert_eq!(exposed_token(account), "the token");
    assert_eq!(account.cloud.login_base_url, "https://login.microsoftonline.com");
    assert_eq!(account.locale, "en-US");
}

#[test]
fn the_state_directory_of_systemd_is_used_with_the_environment_too() {
    let config = load(&[("STATE_DIRECTORY", Some("/var/lib/mine"))]).unwrap();
    assert_eq!(config.state_directory, Path::new("/var/lib/mine"));
    assert_eq!(load(&[]).unwrap().state_directory, Path::new(DEFAULT_STATE_DIRECTORY));
}

#[test]
fn the_refresh_token_can_be_in_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "from a file\n").unwrap();
    let changes =
        [("PARTNER_CENTER_REFRESH_TOKEN", None), ("PARTNER_CENTER_REFRESH_TOKEN_FILE", file.path().to_str())];
    assert_eq!(exposed_token(&load(&changes).unwrap().accounts[0]), "from a file");
}

#[test]
fn the_authority_host_chooses_the_cloud() {
    for (host, login) in [
        ("https://login.microsoftonline.com/", "https://login.microsoftonline.com"),
        ("login.microsoftonline.com", "https://login.microsoftonline.com"),
        ("https://login.microsoftonline.us", "https://login.microsoftonline.us"),
        ("https://login.partner.microsoftonline.cn/", "https://login.partner.microsoftonline.cn"),
        ("https://login.chinacloudapi.cn/", "https://login.partner.microsoftonline.cn"),
    ] {
        let config = load(&[("AZURE_AUTHORITY_HOST", Some(host))]).unwrap();
        assert_eq!(config.accounts[0].cloud.login_base_url, login, "{host}");
    }
}

#[test]
fn every_missing_variable_is_named_at_once() {
    let nothing: Vec<_> = COMPLETE.iter().map(|(name, _)| (*name, None)).collect();
    assert_eq!(
        shown(load(&nothing)),
        "environment: 2 problems
  AZURE_TENANT_ID: is not set; set it, or name a configuration file with --config.file
  AZURE_CLIENT_ID: is not set; set it, or name a configuration file with --config.file"
    );
}

#[test]
fn every_variable_that_cannot_be_used_is_named_at_once() {
    let changes = [
        ("AZURE_TENANT_ID", Some("contoso")),
        ("AZURE_CLIENT_ID", Some("my-app")),
        ("AZURE_AUTHORITY_HOST", Some("https://login.example")),
        ("PARTNER_CENTER_REFRESH_TOKEN_FILE", Some("/nowhere")),
    ];
    assert_eq!(
        shown(load(&changes)),
        "environment: 4 problems
  AZURE_TENANT_ID: is neither a GUID nor a domain name such as contoso.onmicrosoft.com
  AZURE_CLIENT_ID: is not a GUID; set it to the application (client) ID of the app registration
  PARTNER_CENTER_REFRESH_TOKEN: set this or PARTNER_CENTER_REFRESH_TOKEN_FILE, not both
  AZURE_AUTHORITY_HOST: is not a known sign-in host; use a configuration file with cloud: custom"
    );
}

#[test]
fn of_several_credentials_the_one_that_azures_libraries_prefer_is_used() {
    const SECRET: &str = "AZURE_CLIENT_SECRET";
    const CERTIFICATE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
    const TOKEN: &str = "AZURE_FEDERATED_TOKEN_FILE";
    let certificate = fixture("rsa.pem");
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "header.claims.signature\n").unwrap();
    let (certificate, token) = (certificate.to_str().unwrap(), token.path().to_str().unwrap());
    for (set, expected) in [
        (&[(SECRET, "s"), (CERTIFICATE, "/nowhere"), (TOKEN, "/nowhere")][..], "client secret"),
        (&[(SECRET, "s"), (TOKEN, "/nowhere")], "client secret"),
        (&[(CERTIFICATE, certificate), (TOKEN, "/nowhere")], "client certificate"),
        (&[(CERTIFICATE, certificate)], "client certificate"),
        (&[(TOKEN, token)], "federated token"),
        (&[], "client credential"),
    ] {
        let mut changes = vec![(SECRET, None)];
        changes.extend(set.iter().map(|(name, value)| (*name, Some(*value))));
        assert_eq!(load(&changes).unwrap().accounts[0].client_credential.kind(), expected, "{set:?}");
    }
    for name in [CERTIFICATE, TOKEN] {
        let text = shown(load(&[(SECRET, None), (name, Some("/nowhere"))]));
        let line = format!("{name}: cannot read /nowhere: No such file or directory (os error 2)");
        assert_eq!(text, format!("environment: 1 problem\n  {line}"));
    }
}

#[test]
fn the_refresh_token_may_be_absent() {
    let config = load(&[("PARTNER_CENTER_REFRESH_TOKEN", None)]).unwrap();
    assert!(config.accounts[0].refresh_token.is_none());
}
