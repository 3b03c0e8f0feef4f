use super::*;

const CANARY: &str = "canary-7c1f";

/// An error with all its causes, and as `Debug` shows it.
fn shown(error: &ConfigError) -> String {
    let chain: Vec<String> =
        std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
            .map(ToString::to_string)
            .collect();
    format!("{} {error:?}", chain.join(": "))
}

fn load(text: &str) -> Result<Config, ConfigError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    ConfigSource::File(file.path().to_owned()).load(&no_environment)
}

#[test]
fn no_problem_text_quotes_a_secret() {
    let secret = |change: &str| file_of(&[&change.replace("SECRET", CANARY)]);
    for text in [
        secret("client_secret: SECRET\n    client_secret_file: /nowhere"),
        secret("client_secret: [SECRET]"),
        secret("client_secret: {SECRET: SECRET}"),
        secret("refresh_token: SECRET\n    refresh_token_file: /nowhere"),
        secret("clientsecret: SECRET"),
        secret("proxy_url: socks5://user:SECRET@proxy.example"),
        secret("proxy_url: http://user:SECRET@proxy.example/path"),
        secret("tenant_id: SECRET"),
        secret("client_id: SECRET"),
        secret("locale: SECRET!"),
        secret("cloud: SECRET"),
        secret(
            "cloud: custom\n    api_base_url: https://user:SECRET@api.example\n    login_base_url: http://SECRET",
        ),
        secret("ca_file: /nowhere/SECRET"),
        format!("accounts: {CANARY}"),
        format!("accounts: [{CANARY}]"),
        format!("thresholds: {CANARY}"),
        CANARY.to_owned(),
    ] {
        let shown = shown(&load(&text).unwrap_err());
        assert!(!shown.contains(CANARY), "{shown}\n{text}");
    }
}

#[test]
fn no_syntax_error_quotes_a_secret() {
    for change in [
        "client_secret: \"SECRET",
        "client_secret: 'SECRET",
        "client_secret: [SECRET",
        "client_secret: {SECRET",
        "client_secret: *SECRET",
        "client_secret: &SECRET &SECRET x",
        "client_secret: !SECRET [",
        "client_secret: \"\\SECRET\"",
        "client_secret: SECRET: SECRET",
        "client_secret: @SECRET",
        "client_secret: %SECRET",
        "client_secret: |9SECRET",
        "client_secret: SECRET\n  SECRET",
        "client_secret: SECRET\n    client_secret: SECRET",
        "\tclient_secret: SECRET",
    ] {
        let text = file_of(&[&change.replace("SECRET", CANARY)]);
        match load(&text) {
            Ok(config) => assert!(!format!("{config:?}").contains(CANARY), "{text}"),
            Err(error) => assert!(!shown(&error).contains(CANARY), "{}\n{text}", shown(&error)),
        }
    }
}

#[test]
fn debug_output_of_a_configuration_shows_no_secret() {
    let config = valid(&file_of(&[
        &format!("client_secret: {CANARY}"),
        &format!("refresh_token: {CANARY}"),
        &format!("proxy_url: http://user:{CANARY}@proxy.example"),
    ]));
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains(CANARY), "{shown}");
    assert!(shown.contains(TENANT), "everything else is shown");
}

#[test]
fn a_secret_file_is_read_at_every_use_and_trimmed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let secret = Secret::File(file.path().to_owned());
    std::fs::write(file.path(), "\n first\tone \r\n").unwrap();
    assert_eq!(exposed(&secret), "first\tone");
    std::fs::write(file.path(), "\u{feff}second").unwrap();
    assert_eq!(exposed(&secret), "second", "a byte order mark is removed");
    assert_eq!(exposed(&Secret::Value("third\n".into())), "third", "as `client_secret: |` yields");
}

#[test]
fn a_secret_file_that_cannot_be_used_says_why() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display();
    let error = |secret: &Secret| secret.read().unwrap_err().to_string();
    let secret = Secret::File(file.path().to_owned());
    assert_eq!(error(&secret), format!("{path} is empty"));
    std::fs::write(file.path(), " \n\t\n").unwrap();
    assert_eq!(error(&secret), format!("{path} is empty"));
    std::fs::write(file.path(), b"\xff\xfe").unwrap();
    assert_eq!(error(&secret), format!("cannot read {path}: stream did not contain valid UTF-8"));
    let missing = Secret::File("/nowhere/at/all".into());
    assert_eq!(error(&missing), "cannot read /nowhere/at/all: No such file or directory (os error 2)");
}

#[test]
fn the_error_of_an_unreadable_file_has_its_path_and_its_cause() {
    let error = ConfigSource::File("/nowhere/config.yml".into()).load(&no_environment).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nowhere/config.yml: No such file or directory (os error 2)");
}
