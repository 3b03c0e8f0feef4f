//! Tests of the choice between the stored, the configured and an unsaved refresh token.

use axum::http::StatusCode;
use axum::routing::{get, post};

use super::*;
use crate::config::{ClientCredential, Secret};

/// Marks the stored token as that of a sign-in with this ancestor, and returns it.
fn mark_as_signed_in(bed: &TestBed, ancestor: &str) -> String {
    let mut record = bed.stored().unwrap();
    record["ancestor_sha256"] = ancestor.into();
    record["signed_in_at"] = START.to_string().into();
    fs::write(bed.token_file(), record.to_string()).unwrap();
    text(&record["refresh_token"])
}

#[tokio::test]
async fn the_next_start_uses_the_successor() {
    let bed = TestBed::new("rotation: strict").await;
    bed.client().usage().await.unwrap();
    let successor = text(&bed.stored().unwrap()["refresh_token"]);
    bed.client().usage().await.unwrap();
    assert_eq!(bed.sent_tokens(), [REFRESH_TOKEN, &successor]);
    // Without the file, the configured token alone is refused.
    fs::remove_file(bed.token_file()).unwrap();
    assert_eq!(bed.client().usage().await.unwrap_err().reason(), FailureReason::Credentials);
}

#[tokio::test]
async fn another_configured_token_replaces_the_stored_one() {
    let bed = TestBed::new("").await;
    bed.client().usage().await.unwrap();
    bed.scenario("refresh_token: configured-second");
    let account = bed.account("configured-second", "http");
    for _ in 0..2 {
        bed.client_of(&account, Duration::from_mins(1)).usage().await.unwrap();
    }
    let sent = bed.sent_tokens();
    assert_eq!(sent[..2], [REFRESH_TOKEN, "configured-second"]);
    assert!(sent[2].starts_with("simulated-refresh-token-"), "then its successors are used: {sent:?}");
}

#[tokio::test]
async fn a_refused_configured_token_is_replaced_by_the_stored_one_permanently() {
    let bed = TestBed::new("rotation: strict").await;
    bed.client().usage().await.unwrap();
    // An old configuration is restored.
    let client = bed.client_with_token("an-old-token");
    for _ in 0..2 {
        client.usage().await.unwrap();
        advance(Duration::from_hours(1)).await;
    }
    let sent = bed.sent_tokens();
    assert_eq!(sent[..2], [REFRESH_TOKEN, "an-old-token"]);
    assert!(sent[2..].iter().all(|token| token.starts_with("simulated-refresh-token-")), "{sent:?}");
    assert_eq!(sent.len(), 4, "the refused token is not tried again");
}

#[tokio::test]
async fn the_token_of_a_new_sign_in_is_detected_and_used() {
    let bed = TestBed::new("").await;
    let client = bed.client();
    client.usage().await.unwrap();
    let mut record = bed.stored().unwrap();
    record["refresh_token"] = "another-one".into();
    record["signed_in_at"] = START.to_string().into();
    assert!(!client.credentials_changed().await);
    fs::write(bed.token_file(), record.to_string()).unwrap();
    assert!(client.credentials_changed().await);
    drop(client.usage().await);
    assert_eq!(bed.sent_tokens().last().unwrap(), "another-one");
}

#[tokio::test]
async fn only_a_credential_that_is_replaced_or_missing_has_changed_and_not_one_that_cannot_be_read() {
    let bed = TestBed::new("").await;
    let (secret, aside) = (bed.directory.path().join("secret"), bed.directory.path().join("aside"));
    fs::write(&secret, CLIENT_SECRET).unwrap();
    let mut account = bed.account(REFRESH_TOKEN, "http");
    account.client_credential = ClientCredential::Secret(Secret::File(secret.clone()));
    let client = bed.client_of(&account, Duration::from_mins(1));
    client.usage().await.unwrap();
    for path in [&secret, &bed.token_file()] {
        fs::rename(path, &aside).unwrap();
        // A link to itself cannot be followed.
        std::os::unix::fs::symlink(path, path).unwrap();
        assert!(!client.credentials_changed().await, "{} cannot be read", path.display());
        fs::rename(&aside, path).unwrap();
        assert!(!client.credentials_changed().await, "{} can be read again", path.display());
    }
    client.usage().await.unwrap();
    assert_eq!(bed.log().await["totals"]["token"], 1, "the access token is kept");
    fs::remove_file(&secret).unwrap();
    assert!(client.credentials_changed().await);
    fs::write(&secret, CLIENT_SECRET).unwrap();
    assert!(client.credentials_changed().await);
}

#[tokio::test]
async fn no_further_token_is_tried_after_the_fetch_is_dropped() {
    let bed = TestBed::new("").await;
    bed.client().usage().await.unwrap();
    // An old configuration is restored.
    let client = bed.client_with_token("an-old-token");
    bed.gate.send_replace(false);
    tokio::select! {
        outcome = client.usage() => panic!("{outcome:?}"),
        () = bed.wait_for_arrivals(3) => {}
    }
    bed.gate.send_replace(true);
    client.drain().await;
    assert_eq!(bed.sent_tokens(), [REFRESH_TOKEN, "an-old-token"]);
    assert!(!bed.ledger.read().credentials.refresh_token_refused, "the other one may be accepted");
    client.usage().await.unwrap();
}

#[tokio::test]
async fn a_successor_that_another_process_stores_is_not_a_change_of_credentials() {
    let bed = TestBed::new("").await;
    let (one, other) = (bed.client(), bed.client());
    one.usage().await.unwrap();
    other.usage().await.unwrap();
    assert_eq!(
        bed.log().await["totals"]["token"],
        2,
        "the second client has replaced the token of the first"
    );
    assert!(!one.credentials_changed().await);
}

#[tokio::test]
async fn a_sign_in_while_the_configured_token_is_unreadable_takes_precedence_over_it() {
    let bed = TestBed::new("").await;
    bed.client().usage().await.unwrap();
    let signed_in = mark_as_signed_in(&bed, "");
    bed.client().usage().await.unwrap();
    assert_eq!(bed.sent_tokens(), [REFRESH_TOKEN, &signed_in]);
    // A token that is configured later is newer still.
    bed.scenario("refresh_token: configured-later");
    bed.client_with_token("configured-later").usage().await.unwrap();
    assert_eq!(bed.sent_tokens().last().unwrap(), "configured-later");
}

#[tokio::test]
async fn the_next_token_is_tried_whatever_the_word_for_the_refusal_of_a_refresh_token() {
    for word in ["invalid_grant", "interaction_required", "invalid_request", "login_required"] {
        let answer = move |form: String| async move {
            if form.contains("refresh_token=an-old-token") {
                (StatusCode::BAD_REQUEST, format!(r#"{{"error":"{word}"}}"#))
            } else {
                let token = r#"{"expires_in":3599,"access_token":"a","refresh_token":"successor"}"#;
                (StatusCode::OK, token.to_owned())
            }
        };
        let routes = Router::new()
            .route(&format!("/{TENANT}/oauth2/v2.0/token"), post(answer))
            .route(USAGE, get(async || r#"{"items":[]}"#));
        let bed = TestBed::with(routes).await;
        bed.client().usage().await.unwrap();
        // An old configuration is restored.
        bed.client_with_token("an-old-token").usage().await.expect(word);
        assert_eq!(bed.sent_tokens(), [REFRESH_TOKEN, "an-old-token", "successor"], "{word}");
    }
}

#[tokio::test]
async fn a_refused_client_secret_does_not_mark_the_refresh_token_as_refused() {
    let bed = TestBed::new("").await;
    bed.client().usage().await.unwrap();
    bed.scenario("{refresh_token: configured-second, token: {answer: bad_client_secret, times: 1}}");
    let client = bed.client_with_token("configured-second");
    assert_eq!(client.usage().await.unwrap_err().reason(), FailureReason::Credentials);
    client.usage().await.unwrap();
    assert_eq!(bed.sent_tokens()[1..], ["configured-second"; 2], "the token is tried again");
}

#[tokio::test]
async fn a_refusal_of_every_refresh_token_is_known_until_one_is_accepted() {
    let bed = TestBed::new("").await;
    let client = bed.client();
    let refused = || bed.ledger.read().credentials.refresh_token_refused;
    for (token, expected) in [
        ("server_error, times: 3", false),
        ("bad_client_secret, times: 1", false),
        ("refresh_token_revoked, times: 1", true),
        ("server_error, times: 3", true),
        ("bad_client_secret, times: 1", true),
    ] {
        bed.scenario(&format!("token: {{answer: {token}}}"));
        assert!(client.usage().await.is_err());
        assert_eq!(refused(), expected, "after {token}");
    }
    client.usage().await.unwrap();
    assert!(!refused());
}

#[tokio::test]
async fn if_the_configured_and_the_stored_token_are_refused_both_are_tried_again() {
    let bed = TestBed::new("").await;
    bed.client().usage().await.unwrap();
    bed.scenario("{refresh_token: configured-second, token: {answer: consent_revoked, times: 2}}");
    let client = bed.client_with_token("configured-second");
    assert_eq!(client.usage().await.unwrap_err().reason(), FailureReason::Consent);
    client.usage().await.unwrap();
    let sent = bed.sent_tokens();
    assert_eq!(
        (sent.len(), &sent[1], &sent[3]),
        (4, &"configured-second".into(), &"configured-second".into())
    );
}

/// A client that has received a successor and could not save it.
async fn client_with_an_unsaved_successor(bed: &TestBed) -> PartnerCenter {
    let client = bed.client();
    fs::create_dir_all(bed.token_file().join("x")).unwrap();
    client.usage().await.unwrap();
    advance(Duration::from_hours(1)).await;
    client
}

#[tokio::test]
async fn a_successor_that_could_not_be_saved_is_used_if_the_old_token_is_refused() {
    let bed = TestBed::new("rotation: strict").await;
    let client = client_with_an_unsaved_successor(&bed).await;
    client.usage().await.unwrap();
    let sent = bed.sent_tokens();
    assert_eq!(sent[..2], [REFRESH_TOKEN; 2], "the configured token comes first, because it is kept");
    assert!(sent[2].starts_with("simulated-refresh-token-"), "{sent:?}");
    fs::remove_dir_all(bed.token_file()).unwrap();
    advance(Duration::from_hours(1)).await;
    client.usage().await.unwrap();
    assert!(bed.stored().is_some(), "its successor is on disk");
}

#[tokio::test]
async fn a_successor_that_could_not_be_saved_is_not_used_after_a_new_sign_in() {
    let bed = TestBed::new("rotation: strict").await;
    let client = client_with_an_unsaved_successor(&bed).await;
    fs::remove_dir_all(bed.token_file()).unwrap();
    let other = TestBed::new("").await;
    other.client().usage().await.unwrap();
    let mut record = other.stored().unwrap();
    record["owner"] = format!("http://{} {TENANT} {CLIENT_ID}", bed.address).into();
    record["signed_in_at"] = START.to_string().into();
    record["refresh_token"] = "refused-sign-in".into();
    fs::write(bed.token_file(), record.to_string()).unwrap();
    assert_eq!(client.usage().await.unwrap_err().reason(), FailureReason::Credentials);
    assert_eq!(bed.sent_tokens(), [REFRESH_TOKEN, "refused-sign-in"]);
}

#[tokio::test]
async fn an_outage_after_a_refused_configured_token_is_reported_as_an_outage() {
    let bed = TestBed::new("").await;
    bed.client().usage().await.unwrap();
    bed.scenario("token: {answer: server_error, skip: 1}");
    let client = bed.client_with_token("an-old-token");
    assert_eq!(client.usage().await.unwrap_err().reason(), FailureReason::Server);
    bed.scenario("");
    client.usage().await.unwrap();
}

#[tokio::test]
async fn a_token_configured_after_a_sign_in_without_one_is_the_newer_one() {
    let bed = TestBed::new("").await;
    bed.client().usage().await.unwrap();
    let signed_in = mark_as_signed_in(&bed, "none");
    bed.scenario("refresh_token: configured-later");
    bed.client_with_token("configured-later").usage().await.unwrap();
    assert_eq!(bed.sent_tokens().last().unwrap(), "configured-later");
    mark_as_signed_in(&bed, "none");
    bed.client_with_token("configured-wrongly").usage().await.unwrap();
    let sent = bed.sent_tokens();
    assert_eq!(sent[2], "configured-wrongly");
    assert!(sent[3].starts_with("simulated-refresh-token-") && sent[3] != signed_in, "{sent:?}");
}

#[tokio::test]
async fn the_configured_token_is_tried_when_a_sign_in_that_could_not_read_it_is_revoked() {
    let bed = TestBed::new("").await;
    bed.client().usage().await.unwrap();
    mark_as_signed_in(&bed, "");
    let mut record = bed.stored().unwrap();
    record["refresh_token"] = "revoked".into();
    fs::write(bed.token_file(), record.to_string()).unwrap();
    bed.client().usage().await.unwrap();
    assert_eq!(bed.sent_tokens()[1..], ["revoked", REFRESH_TOKEN]);
    assert!(text(&bed.stored().unwrap()["refresh_token"]).starts_with("simulated-refresh-token-"));
}
