use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

use super::*;

/// The thumbprints of the usable certificates, as computed by openssl.
const RSA: &str = "JPOh59gkyMkeoubomWiwL1NOw5REc6_sqbH5mBWElto";
const EC: &str = "AWhZY0Z7GXvlrzfHLAVQHKtMK2iEmpvf5Bmx-P3HDqc";

fn pem(name: &str) -> String {
    std::fs::read_to_string(fixture(name)).unwrap()
}

/// The key and the certificate of a PEM file.
fn parts(name: &str) -> (String, String) {
    let text = pem(name);
    let (key, certificate) = text.split_once("-----BEGIN CERTIFICATE-----").unwrap();
    (key.to_owned(), format!("-----BEGIN CERTIFICATE-----{certificate}"))
}

fn read(content: impl AsRef<[u8]>) -> Result<ClientCertificate, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    let path = file.path().display().to_string();
    ClientCertificate::read(file.path()).map_err(|error| error.to_string().replace(&path, "FILE"))
}

#[test]
fn a_key_in_every_usual_format_signs_what_its_certificate_verifies() {
    for (name, algorithm, thumbprint) in [
        ("rsa.pem", "PS256", RSA),
        ("rsa-pkcs1.pem", "PS256", RSA),
        ("ec.pem", "ES256", EC),
        ("ec-sec1.pem", "ES256", EC),
    ] {
        let certificate = ClientCertificate::read(&fixture(name)).unwrap();
        assert_eq!((certificate.algorithm(), certificate.thumbprint()), (algorithm, thumbprint), "{name}");
        assert_eq!(certificate.not_after().to_string(), "2126-10-30T08:43:16Z", "{name}");
        let public = fixture(if algorithm == "PS256" { "rsa-public.pem" } else { "ec-public.pem" });
        let public = SubjectPublicKeyInfoDer::from_pem_file(public).unwrap();
        let signature = certificate.sign(b"a message");
        let confirmed = match algorithm {
            "PS256" => {
                UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &public).verify(b"a message", &signature)
            }
            _ => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &public).verify(b"a message", &signature),
        };
        assert!(confirmed.is_ok(), "{name}");
    }
}

#[test]
fn the_certificate_may_come_before_the_key_and_among_others() {
    let ((key, rsa), (_, ec)) = (parts("rsa.pem"), parts("ec.pem"));
    for content in
        [format!("{rsa}{key}"), format!("{ec}{rsa}{key}"), format!("Bag Attributes\n{key}{rsa}{ec}")]
    {
        assert_eq!(read(content).unwrap().thumbprint(), RSA);
    }
    assert_eq!(read(pem("rsa.pem").replace('\n', "\r\n")).unwrap().thumbprint(), RSA);
}

#[test]
fn a_file_that_cannot_be_used_is_refused_in_one_line() {
    let ((rsa_key, rsa), (ec_key, ec)) = (parts("rsa.pem"), parts("ec.pem"));
    let encrypted = "FILE contains an encrypted private key; store it without a passphrase";
    let unfit = "FILE contains an unsupported private key: it must be RSA of 2048 to 8192 bits or EC P-256";
    let damaged = "FILE is damaged: it is not valid PEM";
    for (content, expected) in [
        (pem("encrypted-pkcs8.pem"), encrypted),
        (pem("encrypted-pkcs1.pem"), encrypted),
        (pem("rsa-1024.pem"), unfit),
        (pem("ec-p384.pem"), unfit),
        (pem("ed25519.pem"), unfit),
        (format!("{rsa_key}{ec_key}{rsa}"), "FILE contains several private keys; it must contain one"),
        (format!("{rsa_key}{rsa_key}{rsa}"), "FILE contains several private keys; it must contain one"),
        (format!("{rsa_key}{ec}"), "FILE contains a certificate and a private key that do not match"),
        (
            rsa_key.clone(),
            "FILE contains no certificate; it must contain the certificate and its private key, in PEM",
        ),
        (rsa, "FILE contains no private key; it must contain the certificate and its private key, in PEM"),
        (pem("rsa.pem").replace("-----END PRIVATE", "-----THE PRIVATE"), damaged),
        (pem("rsa.pem").replacen("MII", "M.I", 1), damaged),
        (
            format!("{ec_key}-----BEGIN CERTIFICATE-----\nMAAwAA==\n-----END CERTIFICATE-----\n"),
            "FILE contains a certificate that cannot be parsed",
        ),
        ("PK\u{3}\u{4}".to_owned(), "FILE is not a PEM file: it has no line that starts with -----BEGIN"),
        (
            "\u{30}\u{3}\u{2}\u{1}\u{3}".to_owned(),
            "FILE is PKCS#12; PEM is needed: openssl pkcs12 -in FILE -nodes -out FILE.pem",
        ),
        (" ".repeat((1 << 20) + 1), "cannot read FILE: it is larger than 1 MiB"),
    ] {
        assert_eq!(read(&content).unwrap_err(), expected, "{content:.60}");
    }
}

#[test]
fn a_file_without_end_is_refused() {
    let error = Secret::File("/dev/zero".into()).read().unwrap_err();
    assert_eq!(error.to_string(), "cannot read /dev/zero: this is a device, not a regular file");
    assert!(ClientCertificate::read(Path::new("/dev/zero")).is_err());
}

#[test]
fn an_account_has_one_credential_or_none() {
    let credential = |lines: &[&str]| {
        let config = valid(&file_of(&[&["-client_secret"], lines].concat()));
        config.accounts[0].client_credential.clone()
    };
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "header.claims.signature\n").unwrap();
    let certificate = format!("client_certificate_file: {}", fixture("ec.pem").display());
    let federated = format!("federated_token_file: {}", token.path().display());
    assert!(
        matches!(credential(&[&certificate]), ClientCredential::Certificate(path) if path == fixture("ec.pem"))
    );
    assert!(
        matches!(credential(&[&federated]), ClientCredential::FederatedToken(path) if path == token.path())
    );
    assert!(matches!(credential(&[]), ClientCredential::None));

    let path = "accounts[0]";
    for (lines, expected) in [
        (
            &[certificate.as_str()][..],
            format!("{path}.client_secret: set this or {path}.client_certificate_file, not both"),
        ),
        (
            &["-client_secret", &certificate, &federated],
            format!("{path}.client_certificate_file: set this or {path}.federated_token_file, not both"),
        ),
        (
            &[&certificate, &federated],
            format!(
                "{path}.client_secret: set this or {path}.client_certificate_file or \
                 {path}.federated_token_file, only one of them"
            ),
        ),
        (
            &["-client_secret", "client_certificate_file: /nowhere"],
            format!(
                "{path}.client_certificate_file: cannot read /nowhere: No such file or directory (os error 2)"
            ),
        ),
    ] {
        assert_eq!(problems_of(&file_of(lines)), [expected]);
    }
    std::fs::write(token.path(), "two words").unwrap();
    let expected =
        format!("{path}.federated_token_file: {} does not contain a token", token.path().display());
    assert_eq!(problems_of(&file_of(&["-client_secret", &federated])), [expected]);
}

#[test]
fn an_expired_or_not_yet_valid_certificate_causes_a_warning() {
    let line = format!("client_certificate_file: {}", fixture("rsa.pem").display());
    let config = valid(&file_of(&["-client_secret", &line]));
    let warnings_at = |now: &str| {
        let warnings = config.warnings(now.parse().unwrap());
        let about =
            warnings.into_iter().filter(|text| text.starts_with("account default: the certificate in "));
        about.map(|text| text.split_once(".pem ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(warnings_at("2027-01-01T00:00:00Z"), [""; 0]);
    assert_eq!(
        warnings_at("2126-10-30T08:43:16Z"),
        ["expired at 2126-10-30T08:43:16Z; Entra ID will refuse it"]
    );
    assert_eq!(
        warnings_at("2026-11-01T00:00:00Z"),
        ["is not valid before 2026-11-23T08:43:16Z; Entra ID will refuse it until then"]
    );
}

#[test]
fn a_public_client_causes_a_warning_and_needs_no_refresh_token_to_be_valid() {
    let config = valid(&file_of(&["-client_secret", "-refresh_token"]));
    assert!(config.accounts[0].refresh_token.is_none());
    let warnings = config.warnings(Timestamp::UNIX_EPOCH);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("account default: no client credential is configured"), "{warnings:?}");
}
