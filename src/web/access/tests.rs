//! The file's format, as a table of what is refused and what is not; and what is kept of it.

use std::path::Path;

use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::file::WebConfig;
use super::*;

const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

fn problems(text: &str) -> Vec<String> {
    let (_, problems) = WebConfig::parse(text, Path::new("/etc/exporter"));
    problems.iter().map(ToString::to_string).collect()
}

fn assert_refused(table: &[(&str, &[&str])]) {
    for (text, expected) in table {
        assert_eq!(problems(text), *expected, "{text}");
    }
}

#[test]
fn what_is_not_of_the_format_is_refused() {
    assert_refused(&[
        ("{", &["this is not YAML at line 1, column 1"]),
        ("junk", &["expected a mapping of keys, found a string"]),
        (
            "basic_auth_user: {}",
            &[
                "basic_auth_user: unknown key; known here: tls_server_config, http_server_config, rate_limit, \
               basic_auth_users",
            ],
        ),
        ("rate_limit: {}\nrate_limit: {}", &["rate_limit occurs twice at line 2, column 1"]),
        ("basic_auth_users: { a: x, a: y }", &["a occurs twice at line 1, column 27"]),
        (
            "http_server_config: { http2: maybe, htp: 1 }",
            &[
                "http_server_config.http2: expected true or false, found a string",
                "http_server_config.htp: unknown key; known here: http2, headers",
            ],
        ),
    ]);
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
        ("tls_server_config: { cert: '', key: '' }", &[no_cert, no_key]),
        (
            "tls_server_config: { cert_file: [c], key: k }",
            &["tls_server_config.cert_file: expected a string, found a list", no_cert],
        ),
        (
            "tls_server_config: { min_version: TLS111, max_version: 'TLS 1.2' }",
            &[
                "tls_server_config.min_version: unknown TLS version: TLS111",
                "tls_server_config.max_version: unknown TLS version: (a long or unusual value)",
            ],
        ),
        (
            "tls_server_config: { min_version: TLS13, max_version: TLS12 }",
            &["tls_server_config.min_version: no supported versions satisfy MinVersion and MaxVersion"],
        ),
    ]);
}

#[test]
fn what_is_not_honoured_yet_is_refused_by_name() {
    assert_refused(&[
        (
            "tls_server_config: { min_version: TLS10, max_version: TLS11 }",
            &[
                "tls_server_config.min_version: TLS10 is not supported by this version; use TLS12 or TLS13",
                "tls_server_config.max_version: TLS11 is not supported by this version; use TLS12 or TLS13",
            ],
        ),
        (
            "http_server_config: { http2: true }",
            &["http_server_config.http2: true is not supported by this version; remove it or write false"],
        ),
        ("rate_limit: { interval: 1s }", &["rate_limit: not supported by this version; remove it"]),
    ]);
    for key in [
        "client_auth_type",
        "client_ca",
        "client_ca_file",
        "client_allowed_sans",
        "cipher_suites",
        "prefer_server_cipher_suites",
        "curve_preferences",
    ] {
        let expected = format!("tls_server_config.{key}: not supported by this version; remove it");
        assert_refused(&[(&format!("tls_server_config: {{ {key}: x }}"), &[&expected])]);
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
                "http_server_config.headers.X-XSS-Protection: is no value of an HTTP header: it holds a control \
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
        &["basic_auth_users.john: expected a string, found a list"],
    )]);
}

#[test]
fn a_hash_that_bcrypt_cannot_work_with_is_refused_and_never_shown() {
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
    // Name and hash the wrong way round.
    let found = problems(&format!("basic_auth_users: {{ '{HASH}': alice }}")).concat();
    assert!(!found.contains("QOauh") && found.contains("basic_auth_users."), "{found}");
}

#[test]
fn what_is_valid_is_taken_as_it_is_meant() {
    for empty in ["", "# nothing\n", "{}", "tls_server_config: {}\nbasic_auth_users:\n", "---\n"] {
        let (config, problems) = WebConfig::parse(empty, Path::new(""));
        assert!(problems.is_empty() && config.tls.is_none() && config.headers.is_empty(), "{empty:?}");
    }
    // Versions alone do not switch TLS on.
    assert!(WebConfig::parse("tls_server_config: { min_version: TLS13 }", Path::new("")).0.tls.is_none());

    let text = format!(
        "tls_server_config: {{ cert: inline, cert_file: c.pem, key: inline, max_version: TLS12, min_version: '' }}\n\
         http_server_config: {{ http2: false, headers: {{ X-XSS-Protection: 1, X-Frame-Options: sameorigin, \
         Content-Security-Policy: '' }} }}\nbasic_auth_users: {{ alice: '{HASH}', bob: '{HASH}' }}\n"
    );
    let (config, problems) = WebConfig::parse(&text, Path::new("/etc/exporter"));
    assert_eq!(problems, []);
    let tls = config.tls.unwrap();
    assert_eq!(format!("{:?}", tls.cert), "File(\"/etc/exporter/c.pem\")", "the file wins");
    assert_eq!(format!("{:?}", tls.key), "Value(redacted)");
    assert_eq!(tls.versions, [&rustls::version::TLS12]);
    let (_, problems) = WebConfig::parse("http_server_config: { http2: off }", Path::new(""));
    assert_eq!(problems, []);
    assert_eq!(config.headers.len(), 2, "an empty header is not set");
    assert_eq!(config.headers["X-XSS-Protection"], "1");
    assert_eq!(format!("{:?}", config.users), "Users(2)");
}

#[test]
fn certificate_and_key_that_cannot_be_used_are_refused_and_never_quoted() {
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
            Some("cert_file: failed to read cert_file (DIR/nowhere.pem): no such file or directory"),
        ),
        (
            "cert.pem",
            "nowhere.pem",
            Some("key_file: failed to read key_file (DIR/nowhere.pem): no such file or directory"),
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
        let error = Access::open(&web).err().map(|error| error.to_string());
        let Some(expected) = expected else {
            assert_eq!(error, None);
            continue;
        };
        let expected = expected.replace("DIR", directory.path().to_str().unwrap());
        let error = error.expect("it is refused");
        assert!(error.contains(&expected), "{cert} and {key}: {error}");
        assert!(!error.contains("PRIVATE"), "{error}");
    }
    std::fs::write(&web, "tls_server_config: { cert_file: no1.pem, key_file: no2.pem }\nrate_limit: {}\n")
        .unwrap();
    assert_eq!(Access::open(&web).unwrap_err().to_string().lines().count(), 4, "all problems at once");
    assert!(Access::open(&path("no.yml")).unwrap_err().to_string().contains("cannot read"));
}

#[test]
fn a_file_is_parsed_again_when_its_content_changes_and_only_then() {
    let directory = tempfile::tempdir().unwrap();
    let web = directory.path().join("web.yml");
    let write = |value: &str| {
        std::fs::write(&web, format!("http_server_config: {{ headers: {{ X-XSS-Protection: {value} }} }}\n"))
            .unwrap();
    };
    write("1");
    let access = Access::open(&web).unwrap();
    let first = access.config().unwrap();
    assert!(Arc::ptr_eq(&first, &access.config().unwrap()));
    // The same length, and within the same tick of the file system's clock.
    write("0");
    assert_eq!(access.config().unwrap().headers["X-XSS-Protection"], "0");
    write("[");
    assert!(access.config().is_none());
    std::fs::remove_file(&web).unwrap();
    assert!(access.config().is_none());
    write("1");
    assert_eq!(access.config().unwrap().headers["X-XSS-Protection"], "1");
    assert!(!format!("{access:?}").contains("XSS"));
}
