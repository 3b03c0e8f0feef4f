//! Tests of the requests that are sent.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use super::*;

#[tokio::test]
async fn the_documented_rows_are_fetched() {
    let bed = TestBed::new("").await;
    let report = bed.client().usage().await.unwrap();
    assert_eq!(report.rows().len(), 5);
    assert_eq!(report.rows()[0].key(), ("crm", "Microsoft Dynamics CRM", "reseller"));
    assert!(report.rejected().is_empty());
    assert_eq!(bed.ledger.read().credentials.mfa_compliant, Some(true), "the request asks for it");
}

#[tokio::test]
async fn a_usage_request_has_the_documented_headers_with_new_ids_for_each_fetch() {
    let bed = TestBed::new("").await;
    let client = bed.client();
    client.usage().await.unwrap();
    client.usage().await.unwrap();
    let requests = bed.log_of("usage").await;
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(request["accept"], "application/json");
        assert_eq!(request["locale"], "de-DE");
        assert_eq!(request["authorization"], "valid");
        assert_eq!(request["user_agent"], format!("partner-license-exporter/{}", env!("CARGO_PKG_VERSION")));
        for id in ["request_id", "correlation_id"] {
            assert!(Uuid::try_parse(&text(&request[id])).is_ok(), "{request}");
        }
        assert_ne!(request["request_id"], request["correlation_id"]);
    }
    assert_ne!(requests[0]["request_id"], requests[1]["request_id"]);
    assert_ne!(requests[0]["correlation_id"], requests[1]["correlation_id"]);
}

#[tokio::test]
async fn a_retry_repeats_the_request_id() {
    let bed = TestBed::new("usage: {answer: server_error, times: 2}").await;
    let client = bed.client();
    client.usage().await.unwrap();
    client.usage().await.unwrap();
    let ids: Vec<_> = bed.log_of("usage").await.iter().map(|request| text(&request["request_id"])).collect();
    let [first, second, third, next] = &ids[..] else { panic!("{ids:?}") };
    assert!(first == second && second == third && third != next, "{ids:?}");
    assert_eq!(bed.traffic(), "token 200: 1, usage 200: 2, usage 500: 2, usage retries: 2");
}

#[tokio::test]
async fn a_token_request_is_the_refresh_token_grant_of_v2() {
    let bed = TestBed::new("").await;
    bed.client().usage().await.unwrap();
    let [token, usage] = &bed.arrivals()[..] else { panic!("two requests") };
    assert_eq!((token.path.as_str(), usage.path.as_str()), ("/contoso.example/oauth2/v2.0/token", USAGE));
    let port = bed.address.port();
    let expected = format!(
        "grant_type=refresh_token&refresh_token={REFRESH_TOKEN}\
         &scope=http%3A%2F%2F127.0.0.1%3A{port}%2Fuser_impersonation+offline_access\
         &client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}"
    );
    assert_eq!(token.form, expected);
    assert_eq!(usage.form, "");
}

#[tokio::test]
async fn the_access_token_is_cached_between_fetches() {
    let bed = TestBed::new("").await;
    let client = bed.client();
    for _ in 0..3 {
        client.usage().await.unwrap();
    }
    assert_eq!(bed.log().await["totals"], serde_json::json!({"token": 1, "usage": 3}));
    assert_eq!(bed.traffic(), "token 200: 1, usage 200: 3");
}

#[tokio::test]
async fn concurrent_fetches_share_one_renewal() {
    let bed = TestBed::new("rotation: strict").await;
    let client = bed.client();
    let (one, other) = tokio::join!(client.usage(), client.usage());
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(bed.log().await["totals"]["token"], 1);
}

#[tokio::test]
async fn a_request_counts_as_an_error_if_its_fetch_is_dropped() {
    let bed = TestBed::new("usage: {delay: 1h}").await;
    let client = bed.client();
    tokio::select! {
        outcome = client.usage() => panic!("{outcome:?}"),
        () = bed.wait_for_arrivals(2) => {}
    }
    assert_eq!(bed.traffic(), "token 200: 1, usage error: 1");
}

#[tokio::test]
async fn the_duration_of_every_request_is_observed() {
    let bed = TestBed::new("usage: {answer: server_error, times: 1}").await;
    bed.client().usage().await.unwrap();
    let durations = bed.ledger.read().traffic.durations;
    let count = |endpoint| durations[&endpoint].buckets().map(|(_, count)| count).sum::<u64>();
    assert_eq!((count(Endpoint::Token), count(Endpoint::Usage)), (1, 2));
}

#[tokio::test]
async fn the_requests_of_a_poll_share_a_connection_which_is_closed_soon_after_it() {
    let mut bed = TestBed::new("").await;
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let simulator = std::mem::replace(&mut bed.address, relay.local_addr().unwrap());
    let client = bed.client();
    let relaying = async {
        let (mut connection, _) = relay.accept().await.unwrap();
        copy_bidirectional(&mut connection, &mut TcpStream::connect(simulator).await.unwrap()).await.unwrap()
    };
    let (report, (sent, _)) = tokio::join!(client.usage(), async {
        timeout(Duration::from_secs(30), relaying).await.expect("nobody else closes the connection")
    });
    report.unwrap();
    assert!(sent > 0);
    assert_eq!(bed.traffic(), "token 200: 1, usage 200: 1", "on one connection");
}
