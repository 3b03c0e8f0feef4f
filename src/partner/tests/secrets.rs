//! What holds a secret does not show it, not even where it is least expected.

use std::panic::{AssertUnwindSafe, catch_unwind};

use secrecy::ExposeSecret as _;

use super::*;
use crate::partner::credential::Proof;

/// The text of a panic that somebody raises with a value in hand.
fn panic_with(value: &dyn std::fmt::Debug) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| panic!("{value:?} {value:#?}"))).unwrap_err();
    *panic.downcast::<String>().unwrap()
}

#[tokio::test]
async fn a_panic_with_any_of_the_values_that_hold_secrets_shows_none() {
    let bed = Bed::new("device: {interval: 1s, polls: 0}").await;
    let (account, client) = (bed.account(REFRESH_TOKEN, "http"), bed.client());
    client.fetch().await.unwrap();
    let store = TokenStore::open(&bed.state_directory(), &account).unwrap();
    let stored = store.load().unwrap().unwrap();
    let bearer = client.tokens.bearer().await.unwrap();
    let proof = Proof::load(&account.client_credential, CLIENT_ID, "http://login.example/token").unwrap();
    let fields = proof.fields(START);
    let sign_in = client.sign_in();
    let mut code = sign_in.device_code().await.unwrap();
    let browser = sign_in.browser("http://localhost:1");
    let progress = sign_in.ask(&mut code).await.unwrap();
    let Progress::Done(signed_in) = &progress else { panic!("the simulator lets everybody in") };
    bed.scenario("token: {answer: bad_client_secret}");
    let refused = bed.client().fetch().await.unwrap_err();
    let first = account.refresh_token.as_ref().unwrap().read().unwrap();
    let values: [&dyn std::fmt::Debug; 13] = [
        &account, &client, &store, &stored, &bearer, &fields, &sign_in, &code, &browser, &signed_in,
        &progress, &refused, &first,
    ];
    let texts: Vec<String> = values.into_iter().map(panic_with).collect();
    let secrets = [
        REFRESH_TOKEN,
        CLIENT_SECRET,
        stored.token.expose_secret(),
        bearer.secret().expose_secret(),
        // Everything that the simulator issues begins with one of these.
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
    assert!(texts[0].contains(TENANT) && texts[7].contains("user_code"), "they show the rest");
}
