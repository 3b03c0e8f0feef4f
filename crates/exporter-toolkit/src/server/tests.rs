use axum::body::Bytes;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream as Client;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::listen::bind;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// For limits that are to be reached.
const SHORT: Duration = Duration::from_millis(100);
/// The same where something has to be done in time before.
const SECOND: Duration = Duration::from_secs(1);
/// More than the system takes on behalf of a peer that does not read.
const PAGE: usize = 32 << 20;

const ASK: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// Limits that nobody reaches by accident.
fn ample() -> Limits {
    Limits {
        connections: 512,
        answers: 0,
        ask: PATIENCE,
        rest: PATIENCE,
        send: PATIENCE,
        grace: Duration::ZERO,
        asking_grace: Duration::ZERO,
        stuck: PATIENCE,
        turn: PATIENCE,
        farewell: PATIENCE,
    }
}

/// A server of a small page and a large one.
struct Site {
    address: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<io::Result<()>>,
}

impl Site {
    fn start(limits: Limits) -> Self {
        let large = Bytes::from(vec![b'x'; PAGE]);
        let routes = Router::new()
            .route("/", get(async || "small"))
            .route("/large", get(move || std::future::ready(large.clone())));
        Self::with(routes, limits)
    }

    fn with(routes: Router, limits: Limits) -> Self {
        let listener = bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (server, stop) = (Server::with_limits(routes, None, limits), CancellationToken::new());
        let stopping = stop.clone();
        let server = tokio::spawn(async move { server.serve(listener, stopping).await });
        Self { address, stop, server }
    }

    async fn connect(&self) -> Client {
        Client::connect(self.address).await.unwrap()
    }

    /// A client that has asked for something and read nothing but the beginning of the answer.
    async fn reads_only_the_beginning(&self, path: &str) -> Client {
        let mut client = self.connect().await;
        let ask = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client.write_all(ask.as_bytes()).await.unwrap();
        let mut beginning = [0; 15];
        client.read_exact(&mut beginning).await.unwrap();
        assert_eq!(&beginning, b"HTTP/1.1 200 OK");
        client
    }
}

/// Sends and reads the one answer, whose body has no line of its own.
async fn send(client: &mut Client, text: &str) -> String {
    client.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        while !answer.ends_with(b"\r\n\r\nsmall") {
            answer.push(client.read_u8().await.unwrap());
        }
    };
    timeout(PATIENCE, read).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// What arrives until the connection ends, which it has to.
async fn rest_of(mut client: Client) -> String {
    let mut bytes = Vec::new();
    // A connection that is closed with something unread ends with an error.
    drop(timeout(PATIENCE, client.read_to_end(&mut bytes)).await.unwrap());
    String::from_utf8(bytes).unwrap()
}

// === deadlines ===

#[tokio::test]
async fn whoever_says_nothing_is_not_waited_for() {
    let site = Site::start(Limits { ask: SHORT, ..ample() });
    let mut half = site.connect().await;
    half.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(rest_of(site.connect().await).await, "");
    assert_eq!(rest_of(half).await, "");
}

#[tokio::test]
async fn a_later_request_has_to_end_as_soon_as_the_first() {
    let site = Site::start(Limits { ask: SECOND, ..ample() });
    let mut client = site.connect().await;
    send(&mut client, ASK).await;
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(rest_of(client).await, "");
}

#[tokio::test]
async fn a_connection_at_rest_is_closed_after_a_while() {
    let site = Site::start(Limits { rest: SHORT, ..ample() });
    let mut client = site.connect().await;
    send(&mut client, ASK).await;
    assert_eq!(rest_of(client).await, "");
}

#[tokio::test]
async fn an_answer_that_nobody_takes_ends_the_connection() {
    let site = Site::start(Limits { send: SHORT, ..ample() });
    let client = site.reads_only_the_beginning("/large").await;
    site.stop.cancel();
    // It ends once there are no connections any more.
    timeout(PATIENCE, site.server).await.unwrap().unwrap().unwrap();
    assert!(rest_of(client).await.len() < PAGE);
}

// === many at a time ===

#[tokio::test]
async fn when_there_is_no_place_left_whoever_waits_longest_goes() {
    let site = Site::start(Limits { connections: 2, ..ample() });
    let (mut first, mut second) = (site.connect().await, site.connect().await);
    send(&mut first, ASK).await;
    send(&mut second, ASK).await;
    send(&mut site.connect().await, ASK).await;
    assert_eq!(rest_of(first).await, "");
    send(&mut second, ASK).await;
}

#[tokio::test]
async fn whoever_is_being_answered_keeps_the_place() {
    let (go_on, held) = (Arc::new(Notify::new()), watch::Sender::new(0));
    let (wait, arrivals) = (Arc::clone(&go_on), held.clone());
    let hold = move || async move {
        let go_on = wait.notified();
        arrivals.send_modify(|count| *count += 1);
        go_on.await;
        "small"
    };
    let site = Site::with(Router::new().route("/", get(hold)), Limits { connections: 2, ..ample() });
    let mut held = held.subscribe();
    let (mut first, mut second) = (site.connect().await, site.connect().await);
    first.write_all(ASK.as_bytes()).await.unwrap();
    second.write_all(ASK.as_bytes()).await.unwrap();
    held.wait_for(|count| *count == 2).await.unwrap();
    let mut third = site.connect().await;
    third.write_all(ASK.as_bytes()).await.unwrap();
    go_on.notify_waiters();
    for client in [&mut first, &mut second] {
        assert!(send(client, "").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    // Now there is one that can be spared.
    held.wait_for(|count| *count == 3).await.unwrap();
    go_on.notify_waiters();
    send(&mut third, "").await;
}

#[tokio::test]
async fn an_answer_that_nobody_takes_gives_way_to_others() {
    let site = Site::start(Limits { answers: 1, stuck: SHORT, ..ample() });
    let slow = site.reads_only_the_beginning("/large").await;
    send(&mut site.connect().await, ASK).await;
    assert!(rest_of(slow).await.len() < PAGE);
}

#[tokio::test]
async fn an_answer_that_is_taken_gives_way_to_nobody() {
    // What waits too long for its turn is up to the routes, which do not mind here.
    let site = Site::start(Limits { answers: 1, turn: SHORT, ..ample() });
    let slow = site.reads_only_the_beginning("/large").await;
    send(&mut site.connect().await, ASK).await;
    assert!(rest_of(slow).await.ends_with('x'));
}

// === requests ===

#[tokio::test]
async fn a_body_is_read_and_the_connection_goes_on() {
    let site = Site::start(ample());
    let mut client = site.connect().await;
    let with_body = "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 27\r\n\r\nGET /large HTTP/1.1\r\nHost:x";
    for _ in 0..2 {
        assert!(send(&mut client, with_body).await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn a_body_that_is_large_slow_or_broken_is_refused() {
    let site = Site::start(Limits { ask: SECOND, ..ample() });
    let post = |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}");
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000)).repeat(17);
    for (request, status, said) in [
        (post("Content-Length: 65537", ""), "413 Payload Too Large", "The request has too large a body.\n"),
        (post("Transfer-Encoding: chunked", &chunk), "413 Payload Too Large", "too large a body.\n"),
        (post("Transfer-Encoding: chunked", "x"), "400 Bad Request", "The request has a bad body.\n"),
        (post("Content-Length: 2", "x"), "408 Request Timeout", "The request has no end.\n"),
    ] {
        let mut client = site.connect().await;
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = rest_of(client).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) && answer.ends_with(said), "{answer}");
    }
}

#[tokio::test]
async fn a_request_names_one_proper_host_and_may_leave_it_empty() {
    let site = Site::start(ample());
    for (hosts, refused) in [
        ("Host: x\r\n", None),
        ("Host: exporter.example:10365\r\n", None),
        ("Host: [::1]:10365\r\n", None),
        ("Host:\r\n", None),
        ("", Some("The request has no Host header.\n")),
        ("Host: x\r\nHost: x\r\n", Some("The request has more than one Host header.\n")),
        ("Host: x y\r\n", Some("The request has a bad Host header.\n")),
        ("Host: user@x\r\n", Some("The request has a bad Host header.\n")),
        ("Host: http://x/\r\n", Some("The request has a bad Host header.\n")),
        ("Host: b\u{fc}cher.example\r\n", Some("The request has a bad Host header.\n")),
    ] {
        let mut client = site.connect().await;
        let request = format!("GET / HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = rest_of(client).await;
        assert_eq!(answer.starts_with("HTTP/1.1 200 OK\r\n"), refused.is_none(), "{hosts}: {answer}");
        assert!(answer.ends_with(refused.unwrap_or("small")), "{hosts}: {answer}");
    }
}

// === the end ===

#[tokio::test]
async fn requests_in_flight_are_finished_when_the_server_stops() {
    let (arrived, mut arrival) = watch::channel(false);
    let go_on = Arc::new(Notify::new());
    let held = Arc::clone(&go_on);
    let hold = move || async move {
        arrived.send_replace(true);
        held.notified().await;
        "small"
    };
    let site = Site::with(Router::new().route("/", get(hold)), ample());
    let mut client = site.connect().await;
    client.write_all(ASK.as_bytes()).await.unwrap();
    arrival.wait_for(|arrived| *arrived).await.unwrap();
    site.stop.cancel();
    go_on.notify_one();
    let answer = rest_of(client).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nsmall"), "{answer}");
    timeout(PATIENCE, site.server).await.unwrap().unwrap().unwrap();
    assert!(Client::connect(site.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn connections_at_rest_are_closed_at_once_when_the_server_stops() {
    let site = Site::start(ample());
    let (silent, mut resting) = (site.connect().await, site.connect().await);
    send(&mut resting, ASK).await;
    site.stop.cancel();
    timeout(PATIENCE / 2, site.server).await.unwrap().unwrap().unwrap();
    assert_eq!((rest_of(silent).await, rest_of(resting).await), (String::new(), String::new()));
}

#[tokio::test]
async fn a_request_that_is_not_complete_delays_the_stop_by_the_farewell_only() {
    let site = Site::start(Limits { farewell: SHORT, ..ample() });
    let mut client = site.connect().await;
    send(&mut client, ASK).await;
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    site.stop.cancel();
    timeout(PATIENCE / 2, site.server).await.unwrap().unwrap().unwrap();
    assert_eq!(rest_of(client).await, "");
}
