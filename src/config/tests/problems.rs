use super::*;

const ROOT_KEYS: &str = "poll_interval, poll_timeout, stale_after, state_directory, thresholds, prices, \
     collections, label_value_length_limit, accounts";
const ACCOUNT_KEYS: &str = "name, tenant_id, client_id, client_secret, client_secret_file, \
     client_certificate_file, federated_token_file, refresh_token, refresh_token_file, cloud, api_base_url, login_base_url, \
     locale, proxy_url, ca_file, collections";

fn check(table: &[(String, &[&str])]) {
    for (text, expected) in table {
        assert_eq!(problems_of(text), *expected, "{text}");
    }
}

/// The shortest valid file, preceded by top-level lines.
fn with(lines: &str) -> String {
    format!("{lines}\n{}", file_of(&[]))
}

#[test]
fn all_problems_of_a_file_are_reported_at_once() {
    let text = format!(
        "
poll_interval: 0.5s
poll_intervall: 6h
stale_after: 48
thresholds:
  default_percent: -1
  override: []
  overrides:
    - {{ service: o365 }}
    - {{ percent: 20, mute: true }}
accounts:
  - tenant_id: contoso
    client_id: {CLIENT}
    client_secret: s
    client_secret_file: /run/secrets/client-secret
  - name: b
    tenant_id: {TENANT}
    client_secret: s
    refresh_token_file: /nowhere
    cloud: mars
    api_base_url: https://api.example
    proxy_url: proxy.example
    ca_file: /nowhere
    colour: blue
"
    );
    let expected = [
        "poll_interval: \"0.5s\" is not between 1s and 1year".to_owned(),
        "stale_after: expected a duration such as 0s, 90s or 6h, found a number".to_owned(),
        "thresholds.default_percent: expected a number of at least 0, found a number below 0".to_owned(),
        "thresholds.overrides[0]: set percent or mute: true".to_owned(),
        "thresholds.overrides[1]: set percent or mute: true, not both".to_owned(),
        "thresholds.override: unknown key; did you mean overrides? known here: default_percent, overrides"
            .to_owned(),
        "accounts[0].name: is missing; with several accounts each needs a name".to_owned(),
        "accounts[0].tenant_id: is neither a GUID nor a domain name such as contoso.onmicrosoft.com"
            .to_owned(),
        "accounts[0].client_secret: set this or accounts[0].client_secret_file, not both".to_owned(),
        "accounts[1].client_id: is missing".to_owned(),
        "accounts[1].refresh_token_file: cannot read /nowhere: No such file or directory (os error 2)"
            .to_owned(),
        "accounts[1].cloud: must be one of global, us-government, china, custom".to_owned(),
        "accounts[1].proxy_url: is not a proxy URL; write it as http://proxy.example:3128".to_owned(),
        "accounts[1].ca_file: cannot read the file: No such file or directory (os error 2)".to_owned(),
        format!("accounts[1].colour: unknown key; did you mean cloud? known here: {ACCOUNT_KEYS}"),
        format!("poll_intervall: unknown key; did you mean poll_interval? known here: {ROOT_KEYS}"),
    ];
    assert_eq!(problems_of(&text), expected);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &text).unwrap();
    let error = ConfigSource::File(file.path().to_owned()).load(&no_environment).unwrap_err();
    let list = format!("{}: 16 problems\n  {}", file.path().display(), expected.join("\n  "));
    assert_eq!(error.to_string(), list);
}

#[test]
fn a_syntax_error_is_reported_with_its_position() {
    check(&[
        ("accounts: [\n".to_owned(), &["this is not YAML at line 1, column 11"]),
        (
            "a: b\n c: d\n".to_owned(),
            &["line 2, column 2: wrong indentation: deeper than the key above, which has a value already"],
        ),
        (
            "poll_interval: 6h\npoll_interval: 6h\n".to_owned(),
            &["poll_interval occurs twice at line 2, column 1"],
        ),
        (file_of(&["locale: de", "locale: en"]), &["locale occurs twice at line 7, column 5"]),
    ]);
}

#[test]
fn a_file_without_accounts_says_so_once() {
    let missing: &[&str] = &["accounts: is missing; list at least one account"];
    let empty: &[&str] = &["accounts: is empty; list at least one account"];
    check(&[
        (String::new(), missing),
        ("# nothing yet\n\n".to_owned(), missing),
        ("---\n".to_owned(), missing),
        ("poll_interval: 6h".to_owned(), missing),
        ("accounts:".to_owned(), empty),
        ("accounts: []".to_owned(), empty),
        (
            "accounts: 7".to_owned(),
            &[
                "accounts: expected a list, found a number; write each item on a line of its own, with a dash, as in `- item`",
            ],
        ),
        (
            "accounts: {}".to_owned(),
            &[
                "accounts: expected a list, found a mapping; put a dash before the first key of each item, as in `- key: …`",
            ],
        ),
    ]);
}

#[test]
fn a_list_in_the_place_of_a_mapping_and_a_mapping_in_the_place_of_a_list_say_so_with_an_example() {
    check(&[
        (
            "- tenant_id: contoso.example".to_owned(),
            &[
                "expected a mapping of keys, found a list; write its keys without dashes, as in `key: value`",
                "accounts: is missing; list at least one account",
            ],
        ),
        (
            "accounts: { tenant_id: contoso.example, client_id: x }".to_owned(),
            &[
                "accounts: expected a list, found a mapping; put a dash before the first key of each item, as in \
                 `- tenant_id: …`",
            ],
        ),
        (
            with("thresholds: [{ default_percent: 40 }]"),
            &["thresholds: expected a mapping of keys, found a list; write its keys without dashes, as in \
                 `key: value`"],
        ),
    ]);
}

#[test]
fn keys_and_values_in_typographic_quotation_marks_are_named_once() {
    let quotes = "is in typographic quotation marks, which are no quotes in YAML; write \" instead";
    for (open, close) in
        [('\u{201c}', '\u{201d}'), ('\u{201e}', '\u{201c}'), ('\u{2018}', '\u{2019}'), ('\u{ab}', '\u{bb}')]
    {
        let value = format!("poll_interval: {quotes}");
        check(&[(with(&format!("poll_interval: {open}6h{close}")), &[&value])]);
        let key = format!("poll_interval: the key {quotes}");
        check(&[(with(&format!("{open}poll_interval{close}: 6h")), &[&key])]);
    }
    check(&[(
        with("thresholds: { overrides: [{ workload: \u{201c}Teams\u{201d}, percent: 60 }] }"),
        &[&format!("thresholds.overrides[0].workload: {quotes}")],
    )]);
}

#[test]
fn a_value_of_the_wrong_type_is_one_problem_that_names_both_types() {
    check(&[
        (
            with("state_directory: [a]"),
            &["state_directory: expected a string, found a list; write a single value there"],
        ),
        (with("state_directory: ''"), &["state_directory: is empty; give it a value or remove the key"]),
        (
            with("thresholds: 5"),
            &[
                "thresholds: expected a mapping of keys, found a number; write keys with their values, as in `key: value`",
            ],
        ),
        (
            with("thresholds: {overrides: x}"),
            &[
                "thresholds.overrides: expected a list, found a string; write each item on a line of its own, with a dash, as in `- item`",
            ],
        ),
        (
            with("thresholds: {overrides: [x]}"),
            &[
                "thresholds.overrides[0]: expected a mapping of keys, found a string; write keys with their values, as in `key: value`",
                "thresholds.overrides[0]: set percent or mute: true",
            ],
        ),
        (
            with("thresholds: {overrides: [{percent: many}]}"),
            &["thresholds.overrides[0].percent: expected a number of at least 0, found a string"],
        ),
        (
            with("thresholds: {overrides: [{mute: 1}]}"),
            &["thresholds.overrides[0].mute: expected true or false, found a number"],
        ),
        (
            with("thresholds: {default_percent: }"),
            &["thresholds.default_percent: expected a number of at least 0, found nothing"],
        ),
        (file_of(&["name: 7"]), &["accounts[0].name: expected a string, found a number; put it in quotes"]),
        (
            file_of(&["client_secret: 12345"]),
            &["accounts[0].client_secret: expected a string, found a number; put it in quotes"],
        ),
        (
            file_of(&["refresh_token: true"]),
            &["accounts[0].refresh_token: expected a string, found true or false; put it in quotes"],
        ),
        (
            file_of(&["client_secret:"]),
            &["accounts[0].client_secret: is empty; give it a value or remove the key"],
        ),
        (
            file_of(&["tenant_id: 17"]),
            &["accounts[0].tenant_id: expected a string, found a number; put it in quotes"],
        ),
    ]);
}

#[test]
fn a_duration_has_a_unit_and_is_within_bounds() {
    let number: &[&str] = &["poll_timeout: expected a duration such as 0s, 90s or 6h, found a number"];
    check(&[
        (with("poll_timeout: 90"), number),
        (with("poll_timeout: 0"), number),
        (with("poll_timeout: soon"), &["poll_timeout: is no duration; write it as 90s, 15m, 6h or 2d"]),
        (with("poll_timeout: -5s"), &["poll_timeout: is no duration; write it as 90s, 15m, 6h or 2d"]),
        (with("poll_timeout: 0s"), &["poll_timeout: \"0s\" is not between 1s and 1year"]),
        (with("poll_interval: 999ms"), &["poll_interval: \"999ms\" is not between 1s and 1year"]),
        (with("poll_interval: 2y"), &["poll_interval: \"2y\" is not between 1s and 1year"]),
        (with("stale_after: 400d"), &["stale_after: \"400d\" is not between 0s and 1year"]),
    ]);
    valid(&with("poll_interval: 1s\nstale_after: 1y"));
}

#[test]
fn a_price_has_a_product_an_exact_amount_and_a_currency() {
    let amount = "prices[0].per_month: is not an amount of money; write it without sign and currency and with two \
                  decimals at most, as in 36.00";
    let price = |price: &str| with(&format!("prices: [{{{price}}}]"));
    let per_month = |amount: &str| price(&format!("product: E3, per_month: {amount}, currency: EUR"));
    for text in ["-1", ".nan", ".inf", "1e3", "36.005", "'36,00'", "many", "0x10"] {
        assert_eq!(problems_of(&per_month(text)), [amount], "{text}");
    }
    let currency =
        "prices[0].currency: is not a currency; write the three capital letters of ISO 4217, as in EUR";
    check(&[
        (per_month("1000000.01"), &["prices[0].per_month: is more than 1000000"]),
        (price("product: E3, per_month: 36, currency: eur"), &[currency]),
        (price("product: E3, per_month: 36, currency: Euro"), &[currency]),
        (
            price("product: ' '"),
            &[
                "prices[0].product: is missing or empty",
                "prices[0].per_month: is missing or empty",
                "prices[0].currency: is missing or empty",
            ],
        ),
        (
            price(
                "product: E3, per_month: 36, currency: EUR}, {product: E5, per_month: 1, currency: EUR}, \
                 {product: ' e3 ', per_month: 7, currency: USD",
            ),
            &["prices[2].product: is the product of prices[0] already"],
        ),
    ]);
}

#[test]
fn an_account_needs_valid_ids() {
    let client =
        "accounts[0].client_id: is not a GUID; set it to the application (client) ID of the app registration";
    let tenant = "accounts[0].tenant_id: is neither a GUID nor a domain name such as contoso.onmicrosoft.com";
    for id in
        ["contoso.example", "8a1c2b3d4e5f40619283a4b5c6d7e8f9", "'{8a1c2b3d-4e5f-4061-9283-a4b5c6d7e8f9}'"]
    {
        assert_eq!(problems_of(&file_of(&[&format!("client_id: {id}")])), [client], "{id}");
    }
    for id in
        ["contoso", "con toso.example", "contoso..example", "../etc.passwd", "-x.example", "a/b.example"]
    {
        assert_eq!(problems_of(&file_of(&[&format!("tenant_id: {id}")])), [tenant], "{id}");
    }
    check(&[
        (file_of(&["-tenant_id"]), &["accounts[0].tenant_id: is missing"]),
        (file_of(&["locale: en_US"]), &["accounts[0].locale: is not a locale; write it as en-US"]),
        (
            file_of(&[&format!("name: {}", "n".repeat(65))]),
            &["accounts[0].name: must have at most 64 characters and no control characters"],
        ),
        (
            file_of(&["name: \"a\\nb\""]),
            &["accounts[0].name: must have at most 64 characters and no control characters"],
        ),
    ]);
    valid(&file_of(&[&format!("name: {}", "ü".repeat(64))]));
}

#[test]
fn a_secret_is_set_once_and_its_file_must_be_readable() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    let path = empty.path().display();
    check(&[
        (
            file_of(&["refresh_token_file: /nowhere"]),
            &["accounts[0].refresh_token: set this or accounts[0].refresh_token_file, not both"],
        ),
        (
            file_of(&["-client_secret", "client_secret_file: /nowhere"]),
            &["accounts[0].client_secret_file: cannot read /nowhere: No such file or directory (os error 2)"],
        ),
        (
            file_of(&["-refresh_token", &format!("refresh_token_file: {path}")]),
            &[&format!("accounts[0].refresh_token_file: {path} is empty")],
        ),
    ]);
}

#[test]
fn a_custom_cloud_needs_addresses_to_which_a_token_may_be_sent() {
    let missing = "is missing; cloud: custom requires it";
    let both =
        [format!("accounts[0].api_base_url: {missing}"), format!("accounts[0].login_base_url: {missing}")];
    assert_eq!(problems_of(&file_of(&["cloud: custom"])), both);
    for (address, problem) in [
        ("api.example", "is not a URL; write it as https://api.example"),
        ("ftp://api.example", "must be an https URL"),
        ("unix:/run/api", "must be an https URL"),
        (
            "http://api.example",
            "must be https; plain http is allowed for loopback addresses only, since tokens are sent there",
        ),
        (
            "http://localhost.example",
            "must be https; plain http is allowed for loopback addresses only, since tokens are sent there",
        ),
        ("https://me:pass@api.example", "must have no user, password, query or fragment"),
        ("https://me@api.example", "must have no user, password, query or fragment"),
        ("https://api.example?key=1", "must have no user, password, query or fragment"),
        ("https://api.example/#top", "must have no user, password, query or fragment"),
    ] {
        let line = format!("api_base_url: {address}");
        let text = file_of(&["cloud: custom", "login_base_url: https://login.example", &line]);
        assert_eq!(problems_of(&text), [format!("accounts[0].api_base_url: {problem}")], "{address}");
    }
    let text = file_of(&["login_base_url: https://login.example"]);
    assert_eq!(problems_of(&text), ["accounts[0].login_base_url: is allowed with cloud: custom only"]);
}

#[test]
fn two_accounts_must_differ_in_name_and_in_tenant_or_application() {
    let one = |name: &str, tenant: &str| {
        file_of(&[&format!("name: {name}"), &format!("tenant_id: {tenant}")]).replace("accounts:\n", "")
    };
    let two = |a: String, b: String| format!("accounts:\n{a}{b}");
    check(&[
        (
            two(one("a", TENANT), one("a", "b.example")),
            &["accounts[1].name: \"a\" is the name of another account"],
        ),
        (
            two(one("a", TENANT), one("b", &TENANT.to_uppercase())),
            &["accounts[1]: has the same tenant_id and client_id as another account"],
        ),
        (
            two(one("7", TENANT), one("b", "b.example")),
            &["accounts[0].name: expected a string, found a number; put it in quotes"],
        ),
    ]);
    valid(&two(one("a", "a.example"), one("b", "b.example")));
}

#[test]
fn an_unknown_key_that_might_be_a_secret_is_not_shown() {
    let known = format!("unknown key; known here: {ROOT_KEYS}");
    let long = "k".repeat(41);
    for key in [long.as_str(), "has space", "'q/+='"] {
        let problems = problems_of(&with(&format!("{key}: 1")));
        assert_eq!(problems, [format!("(a long or unusual key): {known}")], "{key}");
    }
}

#[test]
fn an_unknown_key_names_the_section_to_which_it_belongs() {
    let problems = problems_of(&with("locale: en-US\npoll_intervl: 6h"));
    assert_eq!(
        problems,
        [
            format!("locale: unknown key; it belongs below accounts[0]; known here: {ROOT_KEYS}"),
            format!("poll_intervl: unknown key; did you mean poll_interval? known here: {ROOT_KEYS}"),
        ]
    );
    assert_eq!(
        problems_of(&file_of(&["stale_after: 48h"])),
        [format!(
            "accounts[0].stale_after: unknown key; it belongs at the top level, without indentation; known here: \
             {ACCOUNT_KEYS}"
        )]
    );
}

#[test]
fn an_unusable_proxy_of_the_environment_is_a_problem_unless_no_account_uses_it() {
    let environment = |name: &str| (name == "HTTPS_PROXY").then(|| "socks4://proxy.example".to_owned());
    let problem = "HTTPS_PROXY: has a scheme that is not supported; write it as http://proxy.example:3128";
    let problems = Config::parse(&file_of(&[]), &environment).unwrap_err();
    assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [problem]);
    Config::parse(&file_of(&["proxy_url: http://other.example"]), &environment).unwrap();
}

#[test]
fn the_limit_of_label_values_is_a_whole_number_up_to_1023() {
    let limit = |text: &str| valid(&with(text)).accounts[0].label_value_length_limit;
    assert_eq!(limit(""), 1023);
    assert_eq!(limit("label_value_length_limit: 1"), 1);
    assert_eq!(limit("label_value_length_limit: 1023"), 1023);
    for wrong in ["0", "1024", "1.5"] {
        let problem = "label_value_length_limit: is not a whole number between 1 and 1023";
        assert_eq!(problems_of(&with(&format!("label_value_length_limit: {wrong}"))), [problem], "{wrong}");
    }
    let text = format!("label_value_length_limit: 3\n{}", file_of(&["name: contoso"]));
    assert_eq!(problems_of(&text), ["accounts[0].name: is longer than label_value_length_limit"]);
}
