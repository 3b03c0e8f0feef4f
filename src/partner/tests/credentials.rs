//! Tests of the client credential. Signatures are verified with public keys that openssl extracted from the certificates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use uuid::Uuid;

use super::*;
use crate::config::{ClientCredential, Secret};

const RSA_THUMBPRINT: &str = "JPOh59gkyMkeoubomWiwL1NOw5REc6_sqbH5mBWElto";
const EC_THUMBPRINT: &str = "AWhZY0Z7GXvlrzfHLAVQHKtMK2iEmpvf5Bmx-P3HDqc";
const NOT_AFTER: Timestamp = Timestamp::constant(4_949_023_396, 0);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/client-certificates").join(name)
}

/// A sign-in service and an API that accept every credential, the former after `outages` responses of 503.
async fn bed(outages: u32) -> TestBed {
    let rows = include_bytes!("../../../tests/fixtures/usage-documented-wire-bytes.json").as_slice();
    let requests = Arc::new(AtomicU32::new(0));
    let token = move || {
        let is_unavailable = requests.fetch_add(1, Ordering::Relaxed) < outages;
        async move {
            if is_unavailable {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            json!({"token_type": "Bearer", "expires_in": 3600, "access_token": "granted"})
                .to_string()
                .into_response()
        }
    };
    let routes = Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(token))
        .route(USAGE, get(move || async move { rows }));
    TestBed::with(routes).await
}

impl TestBed {
    fn client_with(&self, credential: ClientCredential) -> PartnerCenter {
        let account = Account { client_credential: credential, ..self.account(REFRESH_TOKEN, "http") };
        self.client_of(&account, Duration::from_mins(1))
    }

    /// The forms of the token requests.
    fn forms(&self) -> Vec<BTreeMap<String, String>> {
        let arrivals = self.arrivals().into_iter().filter(|arrival| arrival.path.ends_with("/token"));
        arrivals
            .map(|arrival| form_urlencoded::parse(arrival.form.as_bytes()).into_owned().collect())
            .collect()
    }
}

/// Verifies the assertion in a form, and returns its header and claims.
fn verified(form: &BTreeMap<String, String>) -> (Value, Value) {
    assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert!(!form.contains_key("client_secret"));
    let assertion = &form["client_assertion"];
    let (message, signature) = assertion.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let [header, claims] =
        [header, claims].map(|part| serde_json::from_slice::<Value>(&decoded(part)).unwrap());
    let public = |name| SubjectPublicKeyInfoDer::from_pem_file(fixture(name)).unwrap();
    let verified = match header["alg"].as_str().unwrap() {
        "PS256" => UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, public("rsa-public.pem"))
            .verify(message.as_bytes(), &decoded(signature)),
        "ES256" => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public("ec-public.pem"))
            .verify(message.as_bytes(), &decoded(signature)),
        other => panic!("{other}"),
    };
    assert!(verified.is_ok(), "{header}");
    (header, claims)
}

#[tokio::test]
async fn a_certificate_signs_an_assertion_as_microsoft_documents_it() {
    for (name, algorithm, thumbprint) in
        [("rsa.pem", "PS256", RSA_THUMBPRINT), ("ec-sec1.pem", "ES256", EC_THUMBPRINT)]
    {
        let bed = bed(0).await;
        bed.client_with(ClientCredential::Certificate(fixture(name))).usage().await.unwrap();
        let forms = bed.forms();
        let [form] = &forms[..] else { panic!("{forms:?}") };
        let (header, claims) = verified(form);
        assert_eq!(header, json!({"alg": algorithm, "typ": "JWT", "x5t#S256": thumbprint}));
        assert!(Uuid::try_parse(claims["jti"].as_str().unwrap()).is_ok(), "{claims}");
        let now = START.as_second();
        let expected = json!({
            "aud": format!("http://{}/{TENANT}/oauth2/v2.0/token", bed.address),
            "iss": CLIENT_ID, "sub": CLIENT_ID, "jti": claims["jti"], "nbf": now, "iat": now, "exp": now + 300,
        });
        assert_eq!(claims, expected);
        assert_eq!(form["grant_type"], "refresh_token");
        assert_eq!(form["refresh_token"], REFRESH_TOKEN);
        assert_eq!(bed.ledger.read().credentials.client_certificate_expires_at, Some(NOT_AFTER));
    }
}

#[tokio::test]
async fn each_attempt_has_an_assertion_of_its_own() {
    let bed = bed(2).await;
    bed.client_with(ClientCredential::Certificate(fixture("ec.pem"))).usage().await.unwrap();
    let ids: std::collections::BTreeSet<String> =
        bed.forms().iter().map(|form| text(&verified(form).1["jti"])).collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_renewed_certificate_is_used_at_the_next_sign_in() {
    let bed = bed(0).await;
    let path = bed.directory.path().join("client.pem");
    fs::copy(fixture("rsa.pem"), &path).unwrap();
    let client = bed.client_with(ClientCredential::Certificate(path.clone()));
    client.usage().await.unwrap();
    fs::copy(fixture("ec.pem"), &path).unwrap();
    advance(Duration::from_hours(1)).await;
    client.usage().await.unwrap();
    let used: Vec<String> = bed.forms().iter().map(|form| text(&verified(form).0["x5t#S256"])).collect();
    assert_eq!(used, [RSA_THUMBPRINT, EC_THUMBPRINT]);
}

#[tokio::test]
async fn a_certificate_that_has_become_unusable_has_the_reason_credentials() {
    let bed = bed(0).await;
    let path = bed.directory.path().join("client.pem");
    fs::copy(fixture("rsa.pem"), &path).unwrap();
    let client = bed.client_with(ClientCredential::Certificate(path.clone()));
    fs::copy(fixture("encrypted-pkcs8.pem"), &path).unwrap();
    let error = client.usage().await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::Credentials);
    let expected = format!(
        "client certificate: {} contains an encrypted private key; store it without a passphrase",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    fs::remove_file(&path).unwrap();
    let error = client.usage().await.unwrap_err();
    assert!(error.to_string().starts_with("client certificate: cannot read "), "{error}");
    assert!(
        error.remedy().starts_with("the file cannot be read: put a regular file there"),
        "{}",
        error.remedy()
    );
    assert!(bed.forms().is_empty(), "nothing was sent");
}

/// Makes accesses to a file fail as if its file system hung, until the sender is dropped.
fn hang(path: &Path) -> std::sync::mpsc::Sender<()> {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let work = move || {
        wait.recv().ok();
        Ok(())
    };
    exporter_toolkit::files::within(path, Duration::from_millis(10), work).unwrap_err();
    release
}

#[tokio::test]
async fn the_remedy_for_a_file_that_cannot_be_read_is_about_the_file_which_the_message_names() {
    type Kind = fn(PathBuf) -> ClientCredential;
    let bed = bed(0).await;
    let path = |name| bed.directory.path().join(name);
    let secret: Kind = |path| ClientCredential::Secret(Secret::File(path));
    for (name, kind) in [
        ("secret", secret),
        ("client.pem", ClientCredential::Certificate),
        ("federated", ClientCredential::FederatedToken),
    ] {
        let client = bed.client_with(kind(path(name)));
        let failure = async || {
            let error = client.usage().await.unwrap_err();
            assert!(error.to_string().contains(path(name).to_str().unwrap()), "{error}");
            assert_eq!(error.reason(), FailureReason::Credentials);
            error.remedy().to_owned()
        };
        assert!(failure().await.contains("put a regular file there"), "{name}: it is missing");
        fs::write(path(name), "").unwrap();
        assert!(failure().await.starts_with("write the credential to the file again"), "{name}: it is empty");
        let release = hang(&path(name));
        assert!(failure().await.contains("its file system hangs"), "{name}");
        drop(release);
    }
    // The configured refresh token is such a file, too.
    let token = path("token");
    fs::write(&token, REFRESH_TOKEN).unwrap();
    let account =
        Account { refresh_token: Some(Secret::File(token.clone())), ..bed.account(REFRESH_TOKEN, "http") };
    let client = bed.client_of(&account, Duration::from_mins(1));
    let _release = hang(&token);
    let error = client.usage().await.unwrap_err();
    let expected = format!("refresh token: cannot read {}: ", token.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(error.remedy().contains("its file system hangs"), "{}", error.remedy());
}

#[tokio::test]
async fn a_federated_token_is_read_anew_for_each_sign_in() {
    let bed = bed(0).await;
    let path = bed.directory.path().join("token");
    fs::write(&path, "first.federated.token\n").unwrap();
    let client = bed.client_with(ClientCredential::FederatedToken(path.clone()));
    client.usage().await.unwrap();
    fs::write(&path, "second.federated.token").unwrap();
    advance(Duration::from_hours(1)).await;
    client.usage().await.unwrap();
    let forms = bed.forms();
    let sent: Vec<&str> = forms.iter().map(|form| form["client_assertion"].as_str()).collect();
    assert_eq!(sent, ["first.federated.token", "second.federated.token"]);
    assert_eq!(forms[0]["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert!(!forms[0].contains_key("client_secret"));
}

#[tokio::test]
async fn a_file_with_a_credential_that_is_replaced_is_a_change_of_credentials() {
    let bed = bed(0).await;
    let path = bed.directory.path().join("token");
    fs::write(&path, "first.federated.token").unwrap();
    let client = bed.client_with(ClientCredential::FederatedToken(path.clone()));
    client.usage().await.unwrap();
    assert!(!client.credentials_changed().await);
    fs::write(&path, "a.longer.federated.token").unwrap();
    assert!(client.credentials_changed().await);
    fs::remove_file(&path).unwrap();
    assert!(client.credentials_changed().await);
    assert!(!client.credentials_changed().await, "each change is one");
}

#[tokio::test]
async fn a_public_client_sends_no_credential() {
    let bed = bed(0).await;
    bed.client_with(ClientCredential::None).usage().await.unwrap();
    let forms = bed.forms();
    let keys: Vec<&str> = forms[0].keys().map(String::as_str).collect();
    assert_eq!(keys, ["client_id", "grant_type", "refresh_token", "scope"]);
}

#[tokio::test]
async fn an_assertion_that_a_response_quotes_is_removed_from_the_message() {
    let echo = |form: String| async move {
        let form: BTreeMap<String, String> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let assertion = &form["client_assertion"];
        let signature = assertion.rsplit_once('.').unwrap().1;
        let text = format!("AADSTS700027: bad signature {signature} in {assertion}");
        let body = json!({"error": "invalid_client", "error_description": text}).to_string();
        (StatusCode::UNAUTHORIZED, body)
    };
    let bed = TestBed::with(Router::new().route("/{tenant}/oauth2/v2.0/token", post(echo))).await;
    let path = bed.directory.path().join("token");
    fs::write(&path, "aaaa.bbbb.canary").unwrap();
    for credential in
        [ClientCredential::Certificate(fixture("ec.pem")), ClientCredential::FederatedToken(path)]
    {
        let error = bed.client_with(credential).usage().await.unwrap_err();
        assert_eq!(error.reason(), FailureReason::Credentials);
        assert_eq!(
            error.to_string(),
            "the sign-in service answered 401 Unauthorized, invalid_client: AADSTS700027: bad signature \
             (secret) in (secret)"
        );
    }
}

#[tokio::test]
async fn the_error_without_any_refresh_token_says_how_to_obtain_one() {
    let bed = TestBed::new("").await;
    let account = Account { refresh_token: None, ..bed.account(REFRESH_TOKEN, "http") };
    let error = bed.client_of(&account, Duration::from_mins(1)).usage().await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::Credentials);
    assert_eq!(error.to_string(), "there is no refresh token in the configuration or in state_directory");
    assert!(
        error.remedy().starts_with("sign in with `partner-license-exporter login`"),
        "{}",
        error.remedy()
    );
    bed.client().usage().await.unwrap();
    // The fetch above has stored a successor in the state directory.
    bed.client_of(&account, Duration::from_mins(1)).usage().await.unwrap();
}
