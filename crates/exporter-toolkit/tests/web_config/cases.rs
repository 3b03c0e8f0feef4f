//! The test cases of the exporters of Prometheus, under the same names, with our own files and certificates.

use rustls::CipherSuite;

use super::files::{
    ALL_CIPHERS, ALL_CURVES, ANY_CLIENT, BAD_SAN, BLOCKING, GOOD, GOOD_SAN, HEADERS, JUNK, NO_HTTP2,
    NO_HTTP2_CIPHER, SOME_CIPHERS, SOME_CIPHERS_NO_ORDER, SOME_CURVES, USERS, USERS_TLS, VERIFIED_CLIENT,
};

/// One case.
pub(crate) struct Case {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) file: File<'static>,
    pub(crate) client: Client,
    /// The number of requests that are sent.
    pub(crate) requests: usize,
    pub(crate) login: Option<(&'static str, &'static str)>,
    /// The expected error, if any: alternatives are separated by `|`, and gaps are written as `.*`.
    pub(crate) error: Option<&'static str>,
}

/// The web configuration file.
#[derive(Clone, Copy)]
pub(crate) enum File<'a> {
    /// No file is configured.
    None,
    /// The file does not exist.
    Missing,
    /// The file has this content.
    Text(&'a str),
    /// The file is [`super::files::INLINE`] with the certificate and the key of the server.
    Inline,
}

/// The client.
#[derive(Clone, Copy)]
pub(crate) enum Client {
    /// There is no client, since the program does not start.
    None,
    /// The client speaks HTTP.
    Plain,
    /// The client speaks TLS, and may have a certificate.
    Tls(Option<Pem>),
    /// The client speaks TLS 1.1.
    Tls11,
    /// The client speaks TLS 1.2 with some suites, one of which must be chosen.
    Suites(&'static [CipherSuite], Option<CipherSuite>),
    P521,
    P384,
    /// The client speaks TLS, and tries again after the file has been replaced.
    Reload(&'static str),
}

#[derive(Clone, Copy)]
pub(crate) enum Pem {
    Client,
    Client2,
}

const NO_SUCH_FILE: &str = "no such file";
const YAML: &str = "yaml";
const NO_CERT: &str = "missing one of cert or cert_file";
const NO_KEY: &str = "missing one of key or key_file";
const HANDSHAKE: &str = "handshake failure";
const UNAUTHORIZED: &str = "Unauthorized";
const VERSION: &str =
    "protocol version not supported|no supported versions satisfy MinVersion and MaxVersion";

const AES_128: CipherSuite = CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
const AES_256: CipherSuite = CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384;
const AES_256_CBC: CipherSuite = CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA;

/// Returns all cases.
pub(crate) fn all() -> Vec<Case> {
    [yaml_files(), tls_behaviour(), client_behaviour(), http_behaviour(), users(), reloading()]
        .into_iter()
        .flatten()
        .collect()
}

/// The number of cases.
pub(crate) const COUNT: usize = 53;

fn case(group: &'static str, name: &'static str, file: File<'static>, client: Client) -> Case {
    Case { group, name, file, client, requests: 1, login: None, error: None }
}

fn yaml_files() -> Vec<Case> {
    let bad =
        |name, file, error| Case { error: Some(error), ..case("TestYAMLFiles", name, file, Client::None) };
    let text = |text| File::Text(text);
    vec![
        bad("path to config yml invalid", File::Missing, NO_SUCH_FILE),
        case("TestYAMLFiles", "empty config yml", File::Text(""), Client::Plain),
        bad("invalid config yml (invalid structure)", text(JUNK), YAML),
        bad(
            "invalid config yml (invalid key)",
            text("tls_server_config:\n  cert_filse: \"server.crt\"\n"),
            YAML,
        ),
        bad(
            "invalid config yml (cert path empty)",
            text("tls_server_config:\n  cert_file: \"\"\n  key_file: \"server.key\"\n"),
            NO_CERT,
        ),
        bad(
            "invalid config yml (cert empty)",
            text("tls_server_config:\n  cert: \"\"\n  key_file: \"server.key\"\n"),
            NO_CERT,
        ),
        bad(
            "invalid config yml (key path empty)",
            text("tls_server_config:\n  cert_file: \"server.crt\"\n  key_file: \"\"\n"),
            NO_KEY,
        ),
        bad(
            "invalid config yml (key empty)",
            text("tls_server_config:\n  cert_file: \"server.crt\"\n  key: \"\"\n"),
            NO_KEY,
        ),
        bad(
            "invalid config yml (cert path and key path empty)",
            text("tls_server_config:\n  cert_file: \"\"\n  key_file: \"\"\n  client_auth_type: \"x\"\n"),
            NO_CERT,
        ),
        bad(
            "invalid config yml (cert path invalid)",
            text("tls_server_config:\n  cert_file: \"somefile\"\n  key_file: \"server.key\"\n"),
            NO_SUCH_FILE,
        ),
        bad(
            "invalid config yml (key path invalid)",
            text("tls_server_config:\n  cert_file: \"server.cert\"\n  key_file: \"somefile\"\n"),
            NO_SUCH_FILE,
        ),
        bad(
            "invalid config yml (cert path and key path invalid)",
            text("tls_server_config:\n  cert_file: \"somefile\"\n  key_file: \"somefile\"\n"),
            NO_SUCH_FILE,
        ),
        bad(
            "invalid config yml (invalid ClientAuth)",
            text(
                "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_ca_file: /dev/null\n",
            ),
            "client CA's have been configured without a Client Auth Policy",
        ),
        bad(
            "invalid config yml (invalid ClientCAs filepath)",
            text(
                "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_ca_file: somefile\n",
            ),
            NO_SUCH_FILE,
        ),
        bad(
            "invalid config yml (invalid user list)",
            text(
                "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\nbasic_auth_users:\n  john: doe\n",
            ),
            "hashedSecret too short to be a bcrypted password",
        ),
        bad(
            "invalid config yml (bad cipher)",
            text(
                "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  cipher_suites:\n  \
                 - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA2048\n",
            ),
            "unknown cipher",
        ),
        bad(
            "invalid config yml (bad curves)",
            text(
                "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  curve_preferences:\n    \
                 - CurveP257\n",
            ),
            "unknown curve",
        ),
        bad(
            "invalid config yml (bad TLS version)",
            text(
                "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  min_version: TLS111\n",
            ),
            "unknown TLS version",
        ),
    ]
}

fn tls_behaviour() -> Vec<Case> {
    let good = |name, file, client| case("TestServerBehaviour", name, file, client);
    let bad = |name, file, client, error| Case { error: Some(error), ..good(name, file, client) };
    let text = |text| File::Text(text);
    let tls = Client::Tls(None);
    vec![
        good("empty string YAMLConfigPath and default client", File::None, Client::Plain),
        bad(
            "empty string YAMLConfigPath and TLS client",
            File::None,
            tls,
            "server gave HTTP response to HTTPS client",
        ),
        bad(
            "valid tls config yml and default client",
            text(GOOD),
            Client::Plain,
            "400 Client sent an HTTP request to an HTTPS server.",
        ),
        good("valid tls config yml and tls client", text(GOOD), tls),
        good("valid tls config yml (cert and key inline) and tls client", File::Inline, tls),
        bad("valid tls config yml with TLS 1.1 client", text(GOOD), Client::Tls11, VERSION),
        good("valid tls config yml with all ciphers", text(ALL_CIPHERS), tls),
        good(
            "valid tls config yml with some ciphers",
            text(SOME_CIPHERS),
            Client::Suites(&[AES_128], Some(AES_128)),
        ),
        bad(
            "valid tls config yml with no common cipher",
            text(SOME_CIPHERS),
            Client::Suites(&[AES_256_CBC], None),
            HANDSHAKE,
        ),
        good(
            "valid tls config yml with multiple client ciphers",
            text(SOME_CIPHERS),
            Client::Suites(&[AES_128, AES_256], Some(AES_128)),
        ),
        good(
            "valid tls config yml with multiple client ciphers, client chooses cipher",
            text(SOME_CIPHERS_NO_ORDER),
            Client::Suites(&[AES_128, AES_256], Some(AES_128)),
        ),
        good("valid tls config yml with all curves", text(ALL_CURVES), tls),
        good("valid tls config yml with some curves", text(SOME_CURVES), Client::P521),
        bad("valid tls config yml with no common curves", text(SOME_CURVES), Client::P384, HANDSHAKE),
        good("valid tls config yml with non-http2 ciphers", text(NO_HTTP2), tls),
        bad(
            "valid tls config yml with non-http2 ciphers but http2 enabled",
            text(NO_HTTP2_CIPHER),
            Client::None,
            "TLSConfig.CipherSuites is missing an HTTP/2-required",
        ),
    ]
}

fn client_behaviour() -> Vec<Case> {
    let good = |name, file, client| case("TestServerBehaviour", name, File::Text(file), client);
    vec![
        good(
            "valid tls config yml and tls client with RequireAnyClientCert (present certificate)",
            ANY_CLIENT,
            Client::Tls(Some(Pem::Client)),
        ),
        good(
            "valid tls config yml (cert from file, key inline) and tls client with RequireAnyClientCert \
             (present certificate)",
            ANY_CLIENT,
            Client::Tls(Some(Pem::Client)),
        ),
        good(
            "valid tls config yml and tls client with RequireAndVerifyClientCert (present certificate)",
            VERIFIED_CLIENT,
            Client::Tls(Some(Pem::Client)),
        ),
        good(
            "valid tls config yml and tls client with VerifyPeerCertificate (present good SAN DNS entry)",
            GOOD_SAN,
            Client::Tls(Some(Pem::Client2)),
        ),
        Case {
            error: Some("bad certificate"),
            ..good(
                "valid tls config yml and tls client with VerifyPeerCertificate (present invalid SAN DNS entries)",
                BAD_SAN,
                Client::Tls(Some(Pem::Client2)),
            )
        },
    ]
}

fn http_behaviour() -> Vec<Case> {
    let good = |name, file, client| case("TestServerBehaviour", name, file, client);
    let bad = |name, file, client, error| Case { error: Some(error), ..good(name, file, client) };
    let text = |text| File::Text(text);
    vec![
        good("valid headers config", text(HEADERS), Client::Plain),
        bad(
            "invalid X-Content-Type-Options headers config",
            text("http_server_config:\n  headers:\n    X-Content-Type-Options: sniff\n"),
            Client::None,
            "invalid value for",
        ),
        bad(
            "invalid X-Frame-Options headers config",
            text("http_server_config:\n  headers:\n    X-Frame-Options: foo\n"),
            Client::None,
            "invalid value for",
        ),
        bad(
            "HTTP header that can not be overridden",
            text("http_server_config:\n  headers:\n    Content-Type: foo\n"),
            Client::None,
            "HTTP header \".*\" can not be configured",
        ),
        Case {
            requests: 11,
            ..good(
                "valid rate limiter (no rate limiter set up) that doesn't block",
                text("rate_limit:\n  interval: 0\n  burst: 0\n"),
                Client::Plain,
            )
        },
        Case {
            requests: 11,
            ..bad(
                "valid rate limiter with an interval of one second",
                text("rate_limit:\n  interval: \"1s\"\n  burst: 0\n"),
                Client::Plain,
                "429 Too Many Requests",
            )
        },
    ]
}

fn users() -> Vec<Case> {
    let (plain, tls) = ((USERS, Client::Plain), (USERS_TLS, Client::Tls(None)));
    let good =
        |name, (file, client), login| Case { login, ..case("TestUsers", name, File::Text(file), client) };
    let bad = |name, how, login| Case { error: Some(UNAUTHORIZED), ..good(name, how, login) };
    vec![
        bad("without basic auth", plain, None),
        good("with correct basic auth", plain, Some(("dave", "dave123"))),
        bad("without basic auth and TLS", tls, None),
        good("with correct basic auth and TLS", tls, Some(("dave", "dave123"))),
        good("with another correct basic auth and TLS", tls, Some(("carol", "carol123"))),
        bad("with bad password and TLS", tls, Some(("dave", "bad"))),
        bad("with bad username and TLS", tls, Some(("nonexistent", "nonexistent"))),
    ]
}

fn reloading() -> Vec<Case> {
    vec![case(
        "TestConfigReloading",
        "the file is replaced while the program runs",
        File::Text(BLOCKING),
        Client::Reload(GOOD),
    )]
}
