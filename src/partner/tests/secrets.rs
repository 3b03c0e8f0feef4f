//! Tests that no value shows its secrets when it is formatted for debugging.

use std::panic::{AssertUnwindSafe, catch_unwind};

use secrecy::ExposeSecret as _;

use super::*;
use crate::partner::client_authentication::ClientAuthentication;

/// The message of a panic that formats a value.
fn panic_with(value: &dyn std::fmt::Debug) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| panic!("{value:?} {value:#?}"))).unwrap_err();
    *panic.downcast::<String>().unwrap()
}

#[tokio::test]
async fn a_panic_that_formats_a_value_with_secrets_shows_none() {
    let bed = TestBed::new("device: {interval: 1s, polls: 0}").await;
    let (account, client) = (bed.account(REFRESH_TOKEN, "http"), bed.client());
    client.usage().await.unwrap();
    let store = TokenStore::open(&bed.state_directory(), &account).unwrap();
    let stored = store.load().unwrap().unwrap();
    let access_token = client.access_tokens.token().await.unwrap();
    let endpoint = "http://login.example/token";
    let authentication = ClientAuthentication::load(&account.client_credential, CLIENT_ID, endpoint).unwrap();
    let fields = authentication.fields(START);
    let sign_in = client.sign_in();
    let mut code = sign_in.device_code().await.unwrap();
    let browser = sign_in.browser("http://localhost:1");
    let progress = sign_in.ask(&mut code).await.unwrap();
    let Progress::Done(signed_in) = &progress else { panic!("the simulator approves the sign-in") };
    bed.scenario("token: {answer: bad_client_secret}");
    let refused = bed.client().usage().await.unwrap_err();
    let configured = account.refresh_token.as_ref().unwrap().read().unwrap();
    let values: [&dyn std::fmt::Debug; 13] = [
        &account,
        &client,
        &store,
        &stored,
        &access_token,
        &fields,
        &sign_in,
        &code,
        &browser,
        &signed_in,
        &progress,
        &refused,
        &configured,
    ];
    let texts: Vec<String> = values.into_iter().map(panic_with).collect();
    let secrets = [
        REFRESH_TOKEN,
        CLIENT_SECRET,
        stored.token.expose_secret(),
        access_token.secret().expose_secret(),
        // The beginnings of everything that the simulator issues.
        "simulated-refresh-token",
        "simulated-access-token",
        "simulated-device-code",
        "eyJ",
    ];
    for text in &texts {
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    assert!(texts[0].contains(TENANT) && texts[7].contains("user_code"), "other fields are shown");
}
