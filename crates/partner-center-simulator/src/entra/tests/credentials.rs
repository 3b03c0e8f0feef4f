//! Tests how an application authenticates.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PSS_SHA256, RsaKeyPair};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};
use serde_json::{Value, json};

use crate::testkit::{HOST, TestResponse, clock, exchange, refusal, simulator, summary};
use crate::{CLIENT_ID, Simulator};

const TYPE: (&str, &str) =
    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");

/// An application with a certificate, and the header and claims of its next assertion.
struct Application {
    key: KeyPair,
    certificate: rcgen::Certificate,
    header: Value,
    claims: Value,
}

impl Application {
    fn new(algorithm: &'static SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, certificate.der()));
        let alg = if *algorithm == PKCS_RSA_SHA256 { "PS256" } else { "ES256" };
        let now = clock().as_second();
        Self {
            key,
            certificate,
            header: json!({"alg": alg, "typ": "JWT", "x5t#S256": thumbprint}),
            claims: json!({
                "aud": format!("http://{HOST}/contoso/oauth2/v2.0/token"), "iss": CLIENT_ID, "sub": CLIENT_ID,
                "jti": "1", "nbf": now, "iat": now, "exp": now + 600
            }),
        }
    }

    fn elliptic() -> Self {
        Self::new(&PKCS_ECDSA_P256_SHA256)
    }

    fn simulator(&self) -> Simulator {
        simulator(&json!({"client_secret": null, "client_certificate": self.certificate.pem()}).to_string())
    }

    fn assertion(&self) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", part(&self.header), part(&self.claims));
        let (der, random) = (self.key.serialize_der(), SystemRandom::new());
        let signature = if self.key.is_compatible(&PKCS_RSA_SHA256) {
            let key = RsaKeyPair::from_pkcs8(&der).unwrap();
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign(&RSA_PSS_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
            signature
        } else {
            let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).unwrap();
            key.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec()
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

async fn present(simulator: &Simulator, assertion: &str) -> TestResponse {
    exchange(simulator, "contoso", &[("client_secret", ""), TYPE, ("client_assertion", assertion)]).await
}

#[tokio::test]
async fn an_assertion_signed_with_the_key_of_the_certificate_is_accepted() {
    for algorithm in [&PKCS_RSA_SHA256, &PKCS_ECDSA_P256_SHA256] {
        let application = Application::new(algorithm);
        let answer = present(&application.simulator(), &application.assertion()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn an_assertion_is_accepted_once() {
    let mut application = Application::elliptic();
    let simulator = application.simulator();
    let assertion = application.assertion();
    assert_eq!(present(&simulator, &assertion).await.status, 200);
    let again = present(&simulator, &assertion).await;
    assert_eq!(summary(&again), refusal(401, "invalid_client", 700_027));
    assert!(again.text().contains("The claim jti was used before."), "{}", again.text());
    application.claims["jti"] = json!("2");
    assert_eq!(present(&simulator, &application.assertion()).await.status, 200);
}

#[tokio::test]
async fn each_invalid_part_of_an_assertion_is_refused_and_named() {
    let now = clock().as_second();
    for (part, name, value, reason) in [
        ("header", "typ", json!("jwt"), "header typ"),
        ("header", "alg", json!("RS256"), "header alg"),
        ("header", "x5t#S256", json!("AAAA"), "x5t#S256"),
        ("claims", "aud", json!(format!("http://{HOST}/fabrikam/oauth2/v2.0/token")), "claim aud"),
        ("claims", "iss", json!("other"), "claim iss"),
        ("claims", "sub", json!("other"), "claim sub"),
        ("claims", "jti", json!(""), "claim jti"),
        ("claims", "jti", Value::Null, "jti"),
        ("claims", "nbf", json!(now + 60), "claim nbf"),
        ("claims", "exp", json!(now - 60), "claim exp"),
        ("claims", "exp", json!(now + 660), "good for 660 seconds"),
    ] {
        let mut application = Application::elliptic();
        let changed = if part == "header" { &mut application.header } else { &mut application.claims };
        changed[name] = value;
        if changed[name].is_null() {
            changed.as_object_mut().unwrap().remove(name);
        }
        let answer = present(&application.simulator(), &application.assertion()).await;
        assert_eq!(summary(&answer), refusal(401, "invalid_client", 700_027));
        assert!(answer.member("error_description").contains(reason), "{reason}: {}", answer.text());
    }
}

#[tokio::test]
async fn an_assertion_signed_with_another_key_is_refused() {
    let (application, mut other) = (Application::elliptic(), Application::elliptic());
    other.header = application.header.clone();
    let answer = present(&application.simulator(), &other.assertion()).await;
    assert_eq!(summary(&answer), refusal(401, "invalid_client", 700_027));
    assert!(answer.text().contains("verify the signature failed"), "{}", answer.text());
    assert_eq!(present(&application.simulator(), "an.assertion").await.status, 401);
}

/// An issuer with its next token, and a simulator that accepts the issuer.
fn federated() -> (Application, Simulator) {
    let mut issuer = Application::elliptic();
    issuer.header = json!({"alg": "ES256", "kid": "1"});
    issuer.claims = json!({
        "iss": "https://oidc.example", "sub": "system:serviceaccount:monitoring:exporter",
        "aud": ["api://AzureADTokenExchange"], "exp": clock().as_second() + 3600
    });
    let credential = json!({"certificate": issuer.certificate.pem(), "issuer": issuer.claims["iss"],
        "subject": issuer.claims["sub"]});
    let simulator =
        simulator(&json!({"client_secret": null, "federated_credential": credential}).to_string());
    (issuer, simulator)
}

#[tokio::test]
async fn a_federated_token_is_accepted_more_than_once() {
    let (mut issuer, simulator) = federated();
    for _ in 0..2 {
        let answer = present(&simulator, &issuer.assertion()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    issuer.claims["aud"] = json!("api://AzureADTokenExchange");
    assert_eq!(present(&simulator, &issuer.assertion()).await.status, 200);
    let untyped = [("client_secret", ""), ("client_assertion", &issuer.assertion())];
    assert_eq!(
        summary(&exchange(&simulator, "contoso", &untyped).await),
        refusal(400, "invalid_request", 900_144)
    );
}

#[tokio::test]
async fn each_invalid_part_of_a_federated_token_is_refused_and_named() {
    for (name, value, code, reason) in [
        ("iss", json!("https://other.example"), 700_211, "issuer"),
        ("sub", json!("other"), 700_213, "subject"),
        ("aud", json!("other"), 700_212, "audience"),
        ("exp", json!(clock().as_second() - 60), 70_021, "time"),
    ] {
        let (mut issuer, simulator) = federated();
        issuer.claims[name] = value;
        let answer = present(&simulator, &issuer.assertion()).await;
        assert_eq!(summary(&answer), refusal(401, "invalid_client", code));
        assert!(answer.member("error_description").contains(reason), "{}", answer.text());
    }
    let (issuer, simulator) = federated();
    let mut other = Application::elliptic();
    (other.header, other.claims) = (issuer.header, issuer.claims);
    assert_eq!(
        summary(&present(&simulator, &other.assertion()).await),
        refusal(401, "invalid_client", 70_021)
    );
    assert_eq!(present(&simulator, "a.federated.token").await.status, 401);
}

#[tokio::test]
async fn a_public_application_must_not_send_a_credential() {
    let simulator = simulator("public_client: true");
    assert_eq!(exchange(&simulator, "contoso", &[("client_secret", "")]).await.status, 200);
    assert_eq!(summary(&exchange(&simulator, "contoso", &[]).await), refusal(401, "invalid_client", 700_025));
    assert_eq!(summary(&present(&simulator, "a").await), refusal(401, "invalid_client", 700_025));
}

#[tokio::test]
async fn a_secret_is_refused_where_the_application_has_none() {
    let simulator = simulator("client_secret: null");
    assert_eq!(
        summary(&exchange(&simulator, "contoso", &[]).await),
        refusal(401, "invalid_client", 7_000_215)
    );
    assert_eq!(summary(&present(&simulator, "a").await), refusal(401, "invalid_client", 700_027));
}
