//! The format of the file: what is refused, what is a warning, and what is taken from it.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use proptest::prelude::*;
use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::file::FileContent;
use super::*;

const EXTENSION: Extension = Extension { section: "example_exporter", health: &["/-/healthy", "/-/ready"] };

const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// Returns the problems of a file for which no other file need be read.
fn problems(text: &str) -> Vec<String> {
    let (content, mut problems) = FileContent::parse(text, Path::new("/etc/exporter"), EXTENSION.section);
    problems.extend(content.users.problems.iter().cloned());
    if content.tls.is_enabled() {
        problems.extend(content.tls.problems());
        problems.extend(content.tls.http2_problem().filter(|_| content.http2));
    }
    problems.iter().map(ToString::to_string).collect()
}

fn warnings(text: &str) -> Vec<String> {
    let (content, problems) = FileContent::parse(text, Path::new("/etc/exporter"), EXTENSION.section);
    assert_eq!(problems, [], "{text}");
    content.warnings().iter().map(ToString::to_string).collect()
}

fn assert_refused(table: &[(&str, &[&str])]) {
    for (text, expected) in table {
        assert_eq!(problems(text), *expected, "{text}");
    }
}

#[test]
fn a_file_in_another_encoding_says_how_to_save_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web.yml");
    let shown = path.display();
    let utf_16 = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| {
        mark.into_iter().chain("rate_limit: {}".encode_utf16().flat_map(bytes)).collect::<Vec<u8>>()
    };
    for (content, what) in [
        (utf_16([0xFF, 0xFE], u16::to_le_bytes), "is UTF-16"),
        (utf_16([0xFE, 0xFF], u16::to_be_bytes), "is UTF-16"),
        (b"# first\nrate_limit: {} # \xe9".to_vec(), "is not UTF-8 on line 2"),
    ] {
        std::fs::write(&path, content).unwrap();
        let error = WebConfig::open(&path, EXTENSION).unwrap_err().to_string();
        assert_eq!(error, format!("cannot read {shown}: the file {what}; save it as UTF-8"));
    }
    std::fs::write(&path, "\u{feff}rate_limit: {}").unwrap();
    WebConfig::open(&path, EXTENSION).unwrap();
}

#[test]
fn typographic_quotes_lists_and_mappings_in_the_wrong_place_are_named_as_in_every_file() {
    let quotes = "is in typographic quotation marks, which are no quotes in YAML; write \" instead";
    let key = format!("tls_server_config.cert_file: yaml: the key {quotes}");
    let value = format!("tls_server_config.cert_file: yaml: {quotes}");
    let found =
        problems("tls_server_config: { \u{201c}cert_file\u{201d}: \u{201e}c.pem\u{201c}, key_file: k }");
    assert_eq!(found[..2], [key, value]);
    assert_refused(&[
        (
            "- rate_limit: {}",
            &[
                "yaml: expected a mapping of keys, found a list; write its keys without dashes, as in `key: value`",
            ],
        ),
        (
            "\ttls_server_config: {}",
            &["yaml: line 1, column 1: tabs are not allowed for indentation; use spaces"],
        ),
    ]);
}

#[test]
fn unknown_keys_and_values_of_the_wrong_kind_are_refused() {
    assert_refused(&[
        ("{", &["yaml: this is not YAML at line 1, column 1"]),
        (
            "junk",
            &[
                "yaml: expected a mapping of keys, found a string; write keys with their values, as in `key: value`",
            ],
        ),
        (
            "basic_auth_user: {}",
            &[
                "basic_auth_user: yaml: unknown key; did you mean basic_auth_users? known here: tls_server_config, http_server_config, rate_limit, \
               basic_auth_users, example_exporter",
            ],
        ),
        ("rate_limit: {}\nrate_limit: {}", &["yaml: rate_limit occurs twice at line 2, column 1"]),
        ("basic_auth_users: { a: x, a: y }", &["yaml: a occurs twice at line 1, column 27"]),
        (
            "http_server_config: { http2: maybe, htp: 1 }",
            &[
                "http_server_config.http2: yaml: expected true or false, found a string",
                "http_server_config.htp: yaml: unknown key; known here: http2, headers",
            ],
        ),
        (
            "http_server_config: { http2: 'yes' }",
            &["http_server_config.http2: yaml: expected true or false, found a string"],
        ),
        (
            "example_exporter: { health_without_authentification: true }",
            &[
                "example_exporter.health_without_authentification: yaml: unknown key; did you mean health_without_authentication? known here: \
               health_without_authentication",
            ],
        ),
    ]);
}

#[test]
fn tls_is_enabled_by_a_certificate_a_key_a_client_ca_or_a_client_policy() {
    for (section, expected) in [
        ("", false),
        ("{}", false),
        ("{ min_version: TLS12, prefer_server_cipher_suites: true }", false),
        ("{ cert_file: server.crt, key_file: server.key }", true),
        ("{ cert: cert, key: key }", true),
        ("{ client_ca_file: client_ca.crt }", true),
        ("{ client_auth_type: RequireAndVerifyClientCert }", true),
        ("{ client_ca: x }", true),
        ("{ cert_file: '', key_file: '', cert: '', key: , client_ca: '', client_auth_type: '' }", false),
        ("{ client_allowed_sans: [a], curve_preferences: [X25519], max_version: TLS13 }", false),
    ] {
        let text = format!("tls_server_config: {section}");
        let (content, problems) = FileContent::parse(&text, Path::new(""), EXTENSION.section);
        assert_eq!((content.tls.is_enabled(), problems), (expected, Vec::new()), "{text}");
    }
    assert_eq!(
        warnings("tls_server_config: { cert_file: '', key_file: '' }"),
        ["tls_server_config: certificate and key are empty, so nothing is encrypted"]
    );
}

#[test]
fn tls_without_a_certificate_a_key_or_a_version_is_refused() {
    let (no_cert, no_key) = (
        "tls_server_config: missing one of cert or cert_file",
        "tls_server_config: missing one of key or key_file",
    );
    assert_refused(&[
        ("tls_server_config: { cert_file: c }", &[no_key]),
        ("tls_server_config: { cert: c, key_file: '' }", &[no_key]),
        ("tls_server_config: { key: k }", &[no_cert]),
        ("tls_server_config: { cert_file: , key: k }", &[no_cert]),
        (
            "tls_server_config: { client_auth_type: x }",
            &[no_cert, no_key, "tls_server_config.client_auth_type: invalid ClientAuth: x"],
        ),
        (
            "tls_server_config: { cert: c, key_file: \"-----BEGIN PRIVATE KEY-----\\nabc\" }",
            &[
                "tls_server_config.key_file: is no name of a file: it has several lines; PEM is written as key",
                no_key,
            ],
        ),
        (
            "tls_server_config: { cert_file: [c], key: k }",
            &[
                "tls_server_config.cert_file: yaml: expected a string, found a list; write a single value there",
                no_cert,
            ],
        ),
        (
            "tls_server_config: { min_version: TLS111, max_version: 'TLS 1.2' }",
            &[
                "tls_server_config.min_version: unknown TLS version: TLS111",
                "tls_server_config.max_version: unknown TLS version: (a long or unusual value)",
            ],
        ),
        ("tls_server_config: { min_version: '' }", &["tls_server_config.min_version: unknown TLS version: "]),
        (
            "tls_server_config: { cert: c, key: k, min_version: TLS13, max_version: TLS12 }",
            &["tls_server_config.min_version: no supported versions satisfy MinVersion and MaxVersion"],
        ),
    ]);
}

#[test]
fn unknown_names_of_ciphers_curves_and_policies_are_refused() {
    assert_refused(&[
        (
            "tls_server_config: { cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA2048, \
             TLS_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA257, ~, [x]] }",
            &[
                "tls_server_config.cipher_suites[4]: yaml: expected a string, found a list; write a single value there",
                "tls_server_config.cipher_suites[0]: unknown cipher: TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA2048",
                "tls_server_config.cipher_suites[1]: unknown cipher: TLS_RSA_WITH_AES_128_CBC_SHA",
                "tls_server_config.cipher_suites[2]: unknown cipher: TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA257",
                "tls_server_config.cipher_suites[3]: unknown cipher: ",
            ],
        ),
        (
            "tls_server_config: { curve_preferences: [CurveP256, x25519, CurveP257] }",
            &[
                "tls_server_config.curve_preferences[1]: unknown curve: x25519",
                "tls_server_config.curve_preferences[2]: unknown curve: CurveP257",
            ],
        ),
        (
            "tls_server_config: { curve_preferences: X25519, prefer_server_cipher_suites: 1 }",
            &[
                "tls_server_config.curve_preferences: yaml: expected a list, found a string; write each item on a line of its own, with a dash, as in `- item`",
                "tls_server_config.prefer_server_cipher_suites: yaml: expected true or false, found a number",
            ],
        ),
    ]);
    for policy in ["requireAnyClientCert", "'NoClientCert '", "require", HASH] {
        let found =
            problems(&format!("tls_server_config: {{ cert: c, key: k, client_auth_type: {policy} }}"));
        assert_eq!(found.len(), 1, "{policy}");
        assert!(found[0].contains("client_auth_type: invalid ClientAuth: "), "{found:?}");
        assert!(!found[0].contains("$2y"), "{found:?}");
    }
    for policy in [
        "",
        "NoClientCert",
        "RequestClientCert",
        "RequireAnyClientCert",
        "RequireClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ] {
        assert_refused(&[(
            &format!("tls_server_config: {{ cert: c, key: k, client_auth_type: {policy} }}"),
            &[],
        )]);
    }
}

#[test]
fn unsupported_versions_and_ciphers_are_a_warning_and_refused_without_an_alternative() {
    let tls = |keys: &str| format!("tls_server_config: {{ cert: c, key: k, {keys} }}");
    let (rsa, ecdsa) = ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA");
    let gcm = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    assert_eq!(
        warnings(&tls(&format!("min_version: TLS10, cipher_suites: [{rsa}, {gcm}, {ecdsa}]"))),
        [
            "tls_server_config.min_version: TLS 1.0 and 1.1 are not supported; the minimum is TLS 1.2"
                .to_owned(),
            format!("tls_server_config.cipher_suites: {rsa} is not offered: there are no CBC suites here"),
            format!("tls_server_config.cipher_suites: {ecdsa} is not offered: there are no CBC suites here"),
        ]
    );
    assert_eq!(
        problems(&tls(&format!("min_version: TLS13, cipher_suites: [{rsa}, {ecdsa}]"))),
        [format!("tls_server_config.cipher_suites: none of them can be offered here: {rsa}, {ecdsa}")]
    );
    for most in ["TLS10", "TLS11"] {
        assert_eq!(
            problems(&tls(&format!("min_version: TLS10, max_version: {most}"))),
            [
                "tls_server_config.max_version: no supported versions satisfy MinVersion and MaxVersion; TLS 1.0 and \
                 1.1 are not supported"
            ]
        );
    }
}

#[test]
fn http2_over_tls_1_2_requires_one_of_its_mandatory_ciphers() {
    let file = |least: &str, cipher: &str, http2: bool| {
        problems(&format!(
            "tls_server_config: {{ cert: c, key: k, min_version: {least}, cipher_suites: [{cipher}] }}\n\
             http_server_config: {{ http2: {http2} }}\n"
        ))
    };
    let (with, without) =
        ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384");
    let found = file("TLS12", without, true);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("http2: TLSConfig.CipherSuites is missing an HTTP/2-required"), "{found:?}");
    assert_eq!(file("TLS12", "TLS_AES_128_GCM_SHA256", true), found, "a cipher of TLS 1.3 does not help");
    assert!(file("TLS12", without, false).is_empty());
    assert!(file("TLS12", &format!("{without}, {with}"), true).is_empty());
    assert!(file("TLS13", without, true).is_empty());
}

#[test]
fn settings_that_admit_no_client_or_have_no_effect_are_a_warning() {
    for (text, expected) in [
        (
            "tls_server_config: { cert: c, key: k, client_auth_type: RequireAndVerifyClientCert }",
            Some(
                "tls_server_config.client_auth_type: without client_ca or client_ca_file no certificate of a client \
                 is trusted, not even one from an authority that the system trusts",
            ),
        ),
        (
            "tls_server_config: { cert: c, key: k, client_auth_type: RequireAnyClientCert, client_allowed_sans: [] }",
            Some("tls_server_config.client_allowed_sans: is an empty list: no client is accepted"),
        ),
        (
            "rate_limit: { interval: 1s }",
            Some("rate_limit.burst: is 0, so every request is refused; write how many may come at once"),
        ),
        (
            "rate_limit: { interval: 5, burst: 1 }",
            Some("rate_limit.interval: has no unit and counts nanoseconds; write it as 100ms, 1s or 1m30s"),
        ),
        ("rate_limit: { interval: 0, burst: 0 }", None),
        ("rate_limit: { interval: 1s, burst: 1 }", None),
        ("tls_server_config: { cert: c, key: k, client_auth_type: RequestClientCert }", None),
        (
            "tls_server_config: { cert: c, key: k, client_auth_type: VerifyClientCertIfGiven, client_ca: x, \
             client_allowed_sans: [a] }",
            None,
        ),
    ] {
        assert_eq!(warnings(text), expected.into_iter().collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn an_invalid_rate_limit_is_refused() {
    let no_duration = "rate_limit.interval: yaml: is no duration; write it as 100ms, 1s or 1m30s";
    assert_refused(&[
        ("rate_limit: { interval: 1x }", &[no_duration]),
        ("rate_limit: { interval: '' }", &[no_duration]),
        ("rate_limit: { interval: -1s }", &[no_duration]),
        ("rate_limit: { interval: 2562048h }", &[no_duration]),
        (
            "rate_limit: { interval: [1s] }",
            &["rate_limit.interval: yaml: expected a string, found a list; write a single value there"],
        ),
        (
            "rate_limit: { burst: -1 }",
            &["rate_limit.burst: yaml: expected a number of at least 0, found a number below 0"],
        ),
        ("rate_limit: { burst: 1.5 }", &["rate_limit.burst: yaml: expected a whole number"]),
        (
            "rate_limit: { burst: a }",
            &["rate_limit.burst: yaml: expected a number of at least 0, found a string"],
        ),
        (
            "rate_limit: { bursts: 1 }",
            &["rate_limit.bursts: yaml: unknown key; did you mean burst? known here: interval, burst"],
        ),
    ]);
    for (text, expected) in [
        ("{ interval: 1m30s, burst: 5 }", Some((90_000, 5))),
        ("{ interval: '0.5s', burst: 99999999999 }", Some((500, u32::MAX))),
        ("{ interval: 0, burst: 5 }", None),
        ("{ burst: 5 }", None),
        ("{ interval: , burst: }", None),
    ] {
        let (content, problems) =
            FileContent::parse(&format!("rate_limit: {text}"), Path::new(""), EXTENSION.section);
        let is_null = text.contains("burst: }");
        assert_eq!(problems.is_empty(), !is_null, "{text}");
        let rate = content.rate_limit.map(|rate| (rate.interval.as_millis(), rate.burst));
        assert_eq!(rate, expected, "{text}");
    }
}

#[test]
fn headers_and_values_that_are_not_allowed_are_refused() {
    assert_refused(&[
        (
            "http_server_config: { headers: { Content-Type: x, x-frame-options: deny, X-Frame-Options: foo } }",
            &[
                "http_server_config.headers.Content-Type: HTTP header \"Content-Type\" can not be configured",
                "http_server_config.headers.x-frame-options: HTTP header \"x-frame-options\" can not be \
                 configured",
                "http_server_config.headers.X-Frame-Options: invalid value for X-Frame-Options. \
                 Expected one of: [\"deny\", \"sameorigin\"], but got: \"foo\"",
            ],
        ),
        (
            "http_server_config: { headers: { X-Content-Type-Options: sniff, X-XSS-Protection: \"a\\nb\" } }",
            &[
                "http_server_config.headers.X-Content-Type-Options: invalid value for X-Content-Type-Options. \
                 Expected one of: [\"nosniff\"], but got: \"sniff\"",
                "http_server_config.headers.X-XSS-Protection: is not a valid HTTP header value: it contains a control \
                 character",
            ],
        ),
    ]);
}

#[test]
fn a_password_where_a_hash_should_be_is_refused() {
    for user in ["john: doe", "john: ''", "john:", "john: 123"] {
        let expected = "basic_auth_users.john: crypto/bcrypt: hashedSecret too short to be a bcrypted password; \
                        write the bcrypt hash of the password";
        assert_refused(&[(&format!("basic_auth_users: {{ {user} }}"), &[expected])]);
    }
    assert_refused(&[(
        "basic_auth_users: { john: [x] }",
        &["basic_auth_users.john: yaml: expected a string, found a list; write a single value there"],
    )]);
}

#[test]
fn an_invalid_hash_is_refused_and_never_shown() {
    let long = "x".repeat(60);
    for hash in [
        HASH.replace("$2y$10$", "$2z$10$"),
        HASH.replace("$2y$10$", "$2y$03$"),
        HASH.replace("$2y$10$", "$2y$32$"),
        HASH.replace('Q', "!"),
        HASH.replace('Q', "é"),
        long,
    ] {
        let found = problems(&format!("basic_auth_users: {{ alice: '{hash}' }}"));
        let expected =
            "basic_auth_users.alice: is no bcrypt hash; it has 60 characters and begins like $2y$12$";
        assert_eq!(found, [expected], "{hash}");
    }
    // The name and the hash are swapped.
    let found = problems(&format!("basic_auth_users: {{ '{HASH}': alice }}")).concat();
    assert!(!found.contains("QOauh") && found.contains("basic_auth_users."), "{found}");
}

#[test]
fn a_valid_file_is_parsed() {
    for empty in ["", "# nothing\n", "{}", "tls_server_config: {}\nbasic_auth_users:\n", "---\n"] {
        let (content, problems) = FileContent::parse(empty, Path::new(""), EXTENSION.section);
        assert!(problems.is_empty() && !content.tls.is_enabled() && content.headers.is_empty(), "{empty:?}");
        assert!(content.http2 && !content.open_health && content.rate_limit.is_none(), "{empty:?}");
    }

    let text = format!(
        "tls_server_config: {{ cert: inline, cert_file: c.pem, key: inline, max_version: TLS12, min_version: }}\n\
         http_server_config: {{ http2: No, headers: {{ X-XSS-Protection: 1, X-Frame-Options: sameorigin, \
         Content-Security-Policy: '', Strict-Transport-Security: 1.10 }} }}\n\
         basic_auth_users: {{ alice: '{HASH}', bob: '{HASH}' }}\n\
         example_exporter: {{ health_without_authentication: On }}\n"
    );
    let (content, problems) = FileContent::parse(&text, Path::new("/etc/exporter"), EXTENSION.section);
    assert_eq!(problems, []);
    let tls = &content.tls;
    assert_eq!(format!("{:?}", tls.cert), "Some(File(\"/etc/exporter/c.pem\"))", "the file takes precedence");
    assert_eq!(format!("{:?}", tls.key), "Some(Value(redacted))");
    assert_eq!(tls.versions(), [&rustls::version::TLS12]);
    assert!(!content.http2 && content.open_health);
    assert_eq!(content.headers.len(), 3, "an empty header is not set");
    assert_eq!(content.headers["X-XSS-Protection"], "1");
    assert_eq!(content.headers["Strict-Transport-Security"], "1.10", "as written");
    assert_eq!(format!("{:?}", content.users), "Users(2)");
    let shown = format!("{content:?}");
    assert!(!shown.contains("inline") && !shown.contains("$2y"), "{shown}");
}

#[test]
fn an_unusable_certificate_or_key_is_refused_and_never_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = generate_simple_self_signed(["localhost".to_owned()]).unwrap().signing_key;
    std::fs::write(path("cert.pem"), cert.pem()).unwrap();
    std::fs::write(path("key.pem"), signing_key.serialize_pem()).unwrap();
    std::fs::write(path("other.pem"), other.serialize_pem()).unwrap();
    std::fs::write(path("one-line.pem"), signing_key.serialize_pem().replace('\n', " ")).unwrap();
    std::fs::write(path("empty.pem"), "").unwrap();
    let web = path("web.yml");
    for (cert, key, expected) in [
        ("cert.pem", "key.pem", None),
        (
            "nowhere.pem",
            "key.pem",
            Some(
                "cert_file: failed to read cert_file (DIR/nowhere.pem): open DIR/nowhere.pem: no such file or \
                 directory",
            ),
        ),
        (
            "cert.pem",
            "nowhere.pem",
            Some(
                "key_file: failed to read key_file (DIR/nowhere.pem): open DIR/nowhere.pem: no such file or \
                 directory",
            ),
        ),
        ("cert.pem", "empty.pem", Some("key_file: failed to read key_file (DIR/empty.pem): it is empty")),
        (
            "cert.pem",
            "other.pem",
            Some("failed to load X509KeyPair: the private key is not that of the certificate"),
        ),
        ("key.pem", "key.pem", Some("failed to load X509KeyPair: there is no certificate in PEM")),
        ("cert.pem", "cert.pem", Some("failed to load X509KeyPair: there is no private key in PEM")),
        ("cert.pem", "one-line.pem", Some("failed to load X509KeyPair: there is no private key in PEM")),
        ("one-line.pem", "key.pem", Some("failed to load X509KeyPair: the certificate is no valid PEM")),
    ] {
        std::fs::write(&web, format!("tls_server_config: {{ cert_file: {cert}, key_file: {key} }}\n"))
            .unwrap();
        let error = WebConfig::open(&web, EXTENSION).err().map(|error| error.to_string());
        let Some(expected) = expected else {
            assert_eq!(error, None);
            continue;
        };
        let expected = expected.replace("DIR", directory.path().to_str().unwrap());
        let error = error.expect("it is refused");
        assert!(error.contains(&expected), "{cert} and {key}: {error}");
        assert!(!error.contains("PRIVATE"), "{error}");
    }
    std::fs::write(&web, "tls_server_config: { cert_file: no1.pem, key_file: no2.pem }\nrate_limits: {}\n")
        .unwrap();
    assert_eq!(
        WebConfig::open(&web, EXTENSION).unwrap_err().to_string().lines().count(),
        4,
        "all problems at once"
    );
    assert!(WebConfig::open(&path("no.yml"), EXTENSION).unwrap_err().to_string().contains("cannot read"));
}

proptest! {
    #[test]
    fn no_value_causes_a_panic_or_a_long_quotation(value in "[ -~]{41,60}|[^\\PC]{1,80}") {
        let quoted = serde_json::to_string(&value).unwrap();
        for key in [
            "KEY",
            "rate_limit: { interval: KEY, burst: KEY }",
            "basic_auth_users: { KEY: KEY }",
            "http_server_config: { http2: KEY, headers: { X-Frame-Options: KEY } }",
            "tls_server_config: { cert: KEY, key: KEY, client_auth_type: KEY, min_version: KEY }",
            "tls_server_config: { cipher_suites: [KEY], curve_preferences: [KEY], client_allowed_sans: [KEY] }",
        ] {
            for value_in_yaml in [&value, &quoted] {
                for problem in problems(&key.replace("KEY", value_in_yaml)) {
                    prop_assert!(!problem.contains('\n'), "{problem}");
                    let shown = value.len() > 40 && !value.contains(':') && problem.contains(&value);
                    let is_name = value.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
                    prop_assert!(!shown || is_name, "{problem}");
                }
            }
        }
    }
}

#[test]
fn a_file_is_parsed_again_only_when_its_content_has_changed() {
    let directory = tempfile::tempdir().unwrap();
    let web = directory.path().join("web.yml");
    let write = |value: &str| {
        std::fs::write(&web, format!("http_server_config: {{ headers: {{ X-XSS-Protection: {value} }} }}\n"))
            .unwrap();
    };
    write("1");
    let web_config = WebConfig::open(&web, EXTENSION).unwrap();
    let first = web_config.content().unwrap();
    assert!(Arc::ptr_eq(&first, &web_config.content().unwrap()));
    // The length is the same, and maybe the time stamp as well.
    write("0");
    assert_eq!(web_config.content().unwrap().headers["X-XSS-Protection"], "0");
    write("[");
    assert!(web_config.content().is_none());
    std::fs::remove_file(&web).unwrap();
    assert!(web_config.content().is_none());
    write("1");
    assert_eq!(web_config.content().unwrap().headers["X-XSS-Protection"], "1");
    assert!(!format!("{web_config:?}").contains("XSS"));
}

#[tokio::test]
async fn logins_beyond_the_queue_get_503_with_retry_after_and_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    let web = directory.path().join("web.yml");
    std::fs::write(&web, format!("basic_auth_users: {{ alice: {HASH} }}\n")).unwrap();
    let web_config = Arc::new(WebConfig::open(&web, EXTENSION).unwrap());
    let reported = Arc::<Mutex<Vec<String>>>::default();
    let paths = Arc::clone(&reported);
    let hook: RefusalHook = Arc::new(move |uri| paths.lock().unwrap().push(uri.path().to_owned()));
    let router = web_config.protect(Router::new().fallback(async || "secret"), hook);
    let service = TowerToHyperService::new(router);
    let mut responses = tokio::task::JoinSet::new();
    for n in 0..40 {
        let credentials = BASE64_STANDARD.encode(format!("alice:wrong {n}"));
        let request =
            Request::builder().uri("/metrics?x").header("authorization", format!("Basic {credentials}"));
        responses.spawn(service.call(request.body(axum::body::Body::empty()).unwrap()));
    }
    let responses: Vec<_> = responses.join_all().await.into_iter().map(Result::unwrap).collect();
    let with = |status: u16| responses.iter().filter(move |response| response.status() == status);
    assert_eq!((with(401).count(), with(503).count()), (17, 23));
    assert!(with(503).all(|response| response.headers()["retry-after"] == "1"));
    assert_eq!(*reported.lock().unwrap(), vec!["/metrics"; 23]);
}
