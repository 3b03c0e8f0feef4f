use proptest::prelude::*;

use super::*;

#[test]
fn every_key_of_a_complete_file_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (secret, token) = (path("client-secret", "the secret\n"), path("refresh-token", " the token \n"));
    let anchor = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap().cert.pem();
    let ca = path("ca.pem", &anchor);
    let config = valid(&format!(
        "
poll_interval: 3h
poll_timeout: 90s
stale_after: 1d 12h
state_directory: /srv/state
thresholds:
  default_percent: 35.5
  overrides:
    - {{ service: o365, workload: Exchange, channel: reseller, percent: 60 }}
    - {{ service: crm, mute: true }}
accounts:
  - name: contoso
    tenant_id: {TENANT}
    client_id: {CLIENT}
    client_secret_file: {secret}
    refresh_token_file: {token}
    cloud: china
    locale: de-DE
    proxy_url: http://proxy.example:3128
    ca_file: {ca}
  - name: Fabrikam, Inc.
    tenant_id: fabrikam.onmicrosoft.com
    client_id: {CLIENT}
    client_secret: written here
    refresh_token: here too
    cloud: custom
    api_base_url: https://api.example/base/
    login_base_url: http://127.0.0.1:8080
",
        secret = secret.display(),
        token = token.display(),
        ca = ca.display(),
    ));
    assert_eq!(config.poll_interval, Duration::from_hours(3));
    assert_eq!(config.poll_timeout, Duration::from_secs(90));
    assert_eq!(config.stale_after, Some(Duration::from_hours(36)));
    assert_eq!(config.state_directory, Path::new("/srv/state"));

    let [contoso, fabrikam] = &config.accounts[..] else { panic!("{:?}", config.accounts) };
    assert_eq!(contoso.name.as_ref().map(crate::domain::account::AccountName::as_str), Some("contoso"));
    assert_eq!((contoso.tenant_id.as_str(), contoso.client_id.as_str()), (TENANT, CLIENT));
    assert_eq!(exposed_secret(contoso), "the secret");
    assert_eq!(exposed_token(contoso), "the token");
    assert_eq!(contoso.cloud.api_base_url, "https://partner.partnercenterapi.microsoftonline.cn");
    assert_eq!(contoso.cloud.login_base_url, "https://login.partner.microsoftonline.cn");
    assert_eq!(contoso.locale, "de-DE");
    assert_eq!(exposed(contoso.proxy_url.as_ref().unwrap()), "http://proxy.example:3128");
    assert_eq!(contoso.ca_file.as_ref(), Some(&ca));

    assert_eq!(fabrikam.display_name(), "Fabrikam, Inc.");
    assert_eq!(exposed_secret(fabrikam), "written here");
    assert_eq!(exposed_token(fabrikam), "here too");
    assert_eq!(fabrikam.cloud.api_base_url, "https://api.example/base");
    assert_eq!(fabrikam.cloud.login_base_url, "http://127.0.0.1:8080");
}

#[test]
fn a_price_applies_to_its_product_whatever_the_case_of_its_name() {
    let prices = "- {product: Microsoft 365 E3, per_month: 36.00, currency: EUR}\n\
                  - {product: 365, per_month: 0, currency: USD}\n";
    let prices = valid(&format!("prices:\n{prices}{}", file_of(&[]))).prices;
    for (product, price) in [
        (" MICROSOFT 365 e3", Some("36.00 EUR")),
        ("365", Some("0.00 USD")),
        ("Microsoft 365", None),
        ("", None),
    ] {
        assert_eq!(prices.of(product).map(ToString::to_string).as_deref(), price, "{product}");
    }
    assert!(valid(&file_of(&[])).prices.is_empty());
}

#[test]
fn every_key_that_the_shortest_file_omits_has_its_documented_default() {
    let config = valid(&file_of(&[]));
    assert_eq!(config.poll_interval, Duration::from_hours(6));
    assert_eq!(config.poll_timeout, Duration::from_mins(2));
    assert_eq!(config.stale_after, Some(Duration::from_hours(48)));
    assert_eq!(config.state_directory, Path::new("/var/lib/partner-license-exporter"));
    assert_eq!(config.thresholds, Thresholds::default());
    let [account] = &config.accounts[..] else { panic!("{:?}", config.accounts) };
    assert_eq!((account.name.as_ref(), account.display_name()), (None, "default"));
    assert_eq!(account.cloud.api_base_url, "https://api.partnercenter.microsoft.com");
    assert_eq!(account.cloud.login_base_url, "https://login.microsoftonline.com");
    assert_eq!(account.locale, "en-US");
    assert!(account.proxy_url.is_none() && account.ca_file.is_none());
    assert_eq!(config.warnings(Timestamp::UNIX_EPOCH), [""; 0]);
}

#[test]
fn a_stale_after_of_0s_means_that_rows_never_vanish() {
    assert_eq!(valid(&format!("stale_after: 0s\n{}", file_of(&[]))).stale_after, None);
}

#[test]
fn the_first_of_systemds_state_directories_is_used_unless_the_file_sets_one() {
    let systemd =
        |name: &str| (name == "STATE_DIRECTORY").then(|| "/var/lib/first:/var/lib/second".to_owned());
    let config = Config::parse(&file_of(&[]), &systemd).unwrap();
    assert_eq!(config.state_directory, Path::new("/var/lib/first"));
    let text = format!("state_directory: /srv/mine\n{}", file_of(&[]));
    assert_eq!(Config::parse(&text, &systemd).unwrap().state_directory, Path::new("/srv/mine"));
}

#[test]
fn each_cloud_has_its_own_addresses() {
    let global = "https://api.partnercenter.microsoft.com";
    let china = "https://partner.partnercenterapi.microsoftonline.cn";
    for (cloud, api, login) in [
        ("global", global, "https://login.microsoftonline.com"),
        ("us-government", global, "https://login.microsoftonline.us"),
        ("china", china, "https://login.partner.microsoftonline.cn"),
    ] {
        let config = valid(&file_of(&[&format!("cloud: {cloud}")]));
        let found = &config.accounts[0].cloud;
        assert_eq!((found.api_base_url.as_str(), found.login_base_url.as_str()), (api, login), "{cloud}");
    }
}

#[test]
fn plain_http_is_accepted_on_every_spelling_of_loopback() {
    for host in ["localhost:80", "127.0.0.1", "127.9.9.9:1", "[::1]:8080"] {
        let api = format!("api_base_url: http://{host}");
        valid(&file_of(&["cloud: custom", &api, "login_base_url: https://login.example"]));
    }
}

#[test]
fn a_short_interval_and_rows_that_vanish_between_polls_cause_warnings() {
    let config = valid(&format!("poll_interval: 5m\nstale_after: 4m\n{}", file_of(&[])));
    assert_eq!(
        config.warnings(Timestamp::UNIX_EPOCH),
        [
            "poll_interval is 5m: the data changes about once a day, and every request counts against the \
             partner's request limits; 6h is a good value",
            "stale_after (4m) is not longer than poll_interval (5m): rows vanish between two successful polls",
        ]
    );
    let config = valid(&format!("poll_interval: 15m\nstale_after: 0s\n{}", file_of(&[])));
    assert_eq!(config.warnings(Timestamp::UNIX_EPOCH), [""; 0]);
}

#[test]
fn a_configuration_with_a_secret_that_everybody_can_read_causes_a_warning() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let (path, secret) = (directory.path().join("config.yml"), directory.path().join("secret"));
    std::fs::write(&secret, "x").unwrap();
    set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let in_file = |key: &str| format!("{key}_file: {}", secret.display());
    let [client_secret, token] = ["client_secret", "refresh_token"].map(in_file);
    let nothing_inline = ["-client_secret", "-refresh_token", &client_secret, &token];
    let warnings = |mode, changes: &[&str]| {
        std::fs::write(&path, file_of(changes)).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        ConfigSource::File(path.clone()).load(&no_environment).unwrap().warnings(Timestamp::UNIX_EPOCH)
    };
    let wanted = [format!(
        "{} is readable by every user of this machine; use mode 0600, or 0640 with owner root and the exporter's \
         group",
        path.display()
    )];
    for inline in [
        &["-refresh_token", &token][..],
        &["-client_secret", &client_secret],
        &[&nothing_inline[..], &["proxy_url: http://user:x@proxy.example"]].concat(),
    ] {
        assert_eq!(warnings(0o644, inline), wanted, "{inline:?}");
        assert_eq!(warnings(0o600, inline), [""; 0], "{inline:?}");
    }
    let harmless = [&nothing_inline[..], &["proxy_url: http://proxy.example"]].concat();
    assert_eq!(warnings(0o644, &harmless), [""; 0]);
}

proptest! {
    #[test]
    fn any_text_is_either_valid_or_a_list_of_problems(text in "(?s).{0,300}") {
        if let Err(problems) = Config::parse(&text, &no_environment) {
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn any_value_under_any_known_key_is_either_valid_or_a_problem(
        key in prop::sample::select(vec![
            "poll_interval", "poll_timeout", "stale_after", "state_directory", "thresholds", "accounts",
        ]),
        value in prop_oneof![
            "[-+0-9.eE_xsmhdy ]{0,24}",
            "[\\[\\]{}:,a-z0-9\"'&*!|>%@ \n-]{0,40}",
        ],
        changed in any::<bool>(),
    ) {
        let text = if changed { file_of(&[&format!("name: {value}")]) } else { file_of(&[]) };
        if let Err(problems) = Config::parse(&format!("{text}{key}: {value}\n"), &no_environment) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| !problem.to_string().contains('\n')));
        }
    }
}
