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
    std::fs::write(file.path(), "\n first one \r\n").unwrap();
    assert_eq!(exposed(&secret), "first one");
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
    assert_eq!(error(&secret), format!("{path} is UTF-16; save it as UTF-8"));
    std::fs::write(file.path(), "canary\ncanary\n").unwrap();
    let copy = "a secret has printable ASCII characters only: copy it again";
    assert_eq!(error(&secret), format!("{path} contains a line break (U+000A) at line 1, column 7; {copy}"));
    let missing = Secret::File("/nowhere/at/all".into());
    assert_eq!(error(&missing), "cannot read /nowhere/at/all: No such file or directory (os error 2)");
}

#[test]
fn the_error_of_an_unreadable_file_has_its_path_and_its_cause() {
    let error = ConfigSource::File("/nowhere/config.yml".into()).load(&no_environment).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nowhere/config.yml: No such file or directory (os error 2)");
}

#[test]
fn a_value_that_cannot_be_a_secret_is_a_problem_of_its_key() {
    let copy = "a secret has printable ASCII characters only: copy it again";
    for key in ["client_secret", "refresh_token"] {
        for (value, expected) in [
            (
                "\"canary\\u200b\"",
                format!("contains a zero-width space (U+200B) at line 1, column 7; {copy}"),
            ),
            ("\"canary\\0\"", format!("contains a NUL (U+0000) at line 1, column 7; {copy}")),
            ("'\"canary\"'", "is in quotes; remove the quotes".to_owned()),
        ] {
            let found = problems_of(&file_of(&[&format!("{key}: {value}")]));
            assert_eq!(found, [format!("accounts[0].{key}: {expected}")]);
        }
    }
}

#[test]
fn an_id_is_trimmed_and_an_invisible_character_in_it_is_named() {
    let config = valid(&file_of(&[
        &format!("tenant_id: \" {TENANT}\\n\""),
        &format!("client_id: \"\\uFEFF{CLIENT} \""),
    ]));
    assert_eq!(
        (config.accounts[0].tenant_id.as_str(), config.accounts[0].client_id.as_str()),
        (TENANT, CLIENT)
    );
    let found = problems_of(&file_of(&[&format!("client_id: \"\\u200b{CLIENT}\"")]));
    let flaw = "contains a zero-width space (U+200B) at line 1, column 1; copy it again";
    assert_eq!(found, [format!("accounts[0].client_id: {flaw}")]);
}

#[test]
fn a_configuration_in_utf_16_says_how_to_save_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"\xff\xfea\0").unwrap();
    let error = ConfigSource::File(file.path().to_owned()).load(&no_environment).unwrap_err();
    let path = file.path().display();
    assert_eq!(error.to_string(), format!("cannot read {path}: the file is UTF-16; save it as UTF-8"));
}

#[test]
fn a_ca_file_that_is_no_pem_says_what_it_is_and_how_to_convert_it() {
    let directory = tempfile::tempdir().unwrap();
    let (file, converted) = (directory.path().join("the ca.der"), directory.path().join("the ca.pem"));
    let (path, target) = (file.display(), converted.display());
    let key = std::fs::read(fixture("rsa.pem")).unwrap();
    for (content, expected) in [
        (
            &b"\x30\x82\x01\x00\x30\x82"[..],
            format!("the file is DER; PEM is needed: openssl x509 -inform der -in '{path}' -out '{target}'"),
        ),
        (
            b"\x30\x82\x01\x00\x02\x01\x03",
            format!("the file is PKCS#12; PEM is needed: openssl pkcs12 -in '{path}' -nodes -out '{target}'"),
        ),
        (b"\xff\xfe-\0", "the file is UTF-16; save it as UTF-8".to_owned()),
        (b"", "the file is empty".to_owned()),
        (
            &key,
            "the file contains a private key; it must contain certificates only, so remove the key"
                .to_owned(),
        ),
    ] {
        std::fs::write(&file, content).unwrap();
        let found = problems_of(&file_of(&[&format!("ca_file: {path}")]));
        assert_eq!(found, [format!("accounts[0].ca_file: {expected}")]);
    }
}
