//! The web configuration files of the cases. They name the certificates of [`super::certificates`], and files that do
//! not exist.

pub(crate) const JUNK: &str = "Wd1OEtb0cXlmiSbV5QFZ\nx2V3kHh0aTqFZ9vGq7Jc\nkq0nYl8s3S5bqfXv0s1E\n";
pub(crate) const GOOD: &str = "\
tls_server_config:
  cert_file: server.crt
  key_file: \"server.key\"
  client_auth_type: \"VerifyClientCertIfGiven\"
";
pub(crate) const BLOCKING: &str = "\
tls_server_config:
  cert_file: \"server.crt\"
  key_file: \"server.key\"
  client_auth_type: \"RequireAndVerifyClientCert\"
";
/// `CERT` and `KEY` stand for indented PEM.
pub(crate) const INLINE: &str = "\
tls_server_config:
  cert: |
CERT
  key: |
KEY
  client_auth_type: \"VerifyClientCertIfGiven\"
";
pub(crate) const ALL_CIPHERS: &str = "\
tls_server_config:
  cert_file: \"server.crt\"
  key_file: \"server.key\"
  client_auth_type: \"VerifyClientCertIfGiven\"
  cipher_suites:
  - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
  - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
  - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
  - TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
  - TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
  - TLS_AES_128_GCM_SHA256
  - TLS_AES_256_GCM_SHA384
  - TLS_CHACHA20_POLY1305_SHA256
  - TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA
  - TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA
  - TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
  - TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA
";
pub(crate) const SOME_CIPHERS: &str = "\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: VerifyClientCertIfGiven
  cipher_suites:
  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
  - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
  min_version: TLS12
  max_version: TLS12
";
pub(crate) const SOME_CIPHERS_NO_ORDER: &str = "\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: VerifyClientCertIfGiven
  cipher_suites:
  - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
  prefer_server_cipher_suites: false
  min_version: TLS12
  max_version: TLS12
";
pub(crate) const ALL_CURVES: &str = "\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: VerifyClientCertIfGiven
  curve_preferences:
    - CurveP256
    - CurveP384
    - CurveP521
    - X25519
";
pub(crate) const SOME_CURVES: &str = "\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: VerifyClientCertIfGiven
  min_version: TLS13
  curve_preferences:
  - CurveP521
";
pub(crate) const NO_HTTP2_CIPHER: &str = "\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: VerifyClientCertIfGiven
  cipher_suites:
    - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
  max_version: TLS12
";
pub(crate) const NO_HTTP2: &str = "\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: VerifyClientCertIfGiven
  cipher_suites:
    - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
  max_version: TLS12
http_server_config:
  http2: false
";
pub(crate) const HEADERS: &str = "\
http_server_config:
  headers:
    X-Frame-Options: deny
    Strict-Transport-Security: max-age=31536000; includeSubDomains
    X-Content-Type-Options: nosniff
    X-XSS-Protection: 1
    Content-Security-Policy: \"default-src 'self' *.test.example.net\"
";
pub(crate) const ANY_CLIENT: &str = "\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: RequireAnyClientCert
";
pub(crate) const VERIFIED_CLIENT: &str = "\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: client_selfsigned.pem
";
pub(crate) const GOOD_SAN: &str = "\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: client2_selfsigned.pem
  client_allowed_sans:
    - one
    - test3
    - two
";
pub(crate) const BAD_SAN: &str = "\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: client2_selfsigned.pem
  client_allowed_sans:
    - bad
";
pub(crate) const USERS: &str = "\
basic_auth_users:
  alice: $2b$12$nJBhT//asb3dUK5nSIjSQ.qRQ6/q8HxtW0ms/jG/dZN995q73cjpu
  bob: $2b$18$otgviqqmgp.Ja3JecDdtG.jpzt56xAHtHveRkxhUQkUkG/kE8Qw0W
  carol: $2b$10$dYGyMZeqPtVlxtJD3d.eZOVBONo0aW9/rITDn//2ZTuLtTSHmg4zu
  dave: $2b$10$Smg/B9O1e/GccAcWzzQciu8dbj.klKTUQ3J8zoaRpX5A/TNR05gFu
";
/// The same users with TLS.
pub(crate) const USERS_TLS: &str = "\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
basic_auth_users:
  alice: $2b$12$nJBhT//asb3dUK5nSIjSQ.qRQ6/q8HxtW0ms/jG/dZN995q73cjpu
  bob: $2b$18$otgviqqmgp.Ja3JecDdtG.jpzt56xAHtHveRkxhUQkUkG/kE8Qw0W
  carol: $2b$10$dYGyMZeqPtVlxtJD3d.eZOVBONo0aW9/rITDn//2ZTuLtTSHmg4zu
  dave: $2b$10$Smg/B9O1e/GccAcWzzQciu8dbj.klKTUQ3J8zoaRpX5A/TNR05gFu
";
