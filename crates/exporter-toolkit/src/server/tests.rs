use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;

use axum::body::{Body, Bytes};
use axum::routing::get;
use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream as Client};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::listen::bind;

/// Far longer than any step of a test takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// A limit that is to be reached.
const SHORT: Duration = Duration::from_millis(100);
/// A limit that is to be reached, but only after other steps.
const SECOND: Duration = Duration::from_secs(1);
/// More than the system buffers for a peer that does not read.
const LARGE: usize = 32 << 20;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// Limits that no test reaches by accident.
fn ample() -> Limits {
    Limits {
        connections: 512,
        requests: 0,
        unsent: 16 * 1024,
        request_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        response_timeout: PATIENCE,
        eviction_grace: Duration::ZERO,
        stall_timeout: PATIENCE,
        queue_timeout: PATIENCE,
        drain_timeout: PATIENCE,
    }
}

/// A server of a small response and a large one.
struct Site {
    address: SocketAddr,
    stop: CancellationToken,
    /// The paths of the requests that were refused.
    refused: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<io::Result<()>>,
}

impl Site {
    fn start(limits: Limits) -> Self {
        let large = Bytes::from(vec![b'x'; LARGE]);
        let routes = Router::new()
            .route("/", get(async || "small"))
            .route("/-/healthy", get(async || "small"))
            .route("/large", get(move || std::future::ready(large.clone())));
        Self::with(routes, limits)
    }

    fn with(routes: Router, limits: Limits) -> Self {
        let refused = Arc::<Mutex<Vec<String>>>::default();
        let paths = Arc::clone(&refused);
        let hook = move |uri: &Uri| paths.lock().unwrap().push(uri.path().to_owned());
        Self::of(Server::with_limits(routes, None, limits, hook), refused)
    }

    fn of(server: Server, refused: Arc<Mutex<Vec<String>>>) -> Self {
        let listener = bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let server = tokio::spawn(async move { server.serve(vec![listener], stopping.cancelled()).await });
        Self { address, stop, refused, server }
    }

    async fn connect(&self) -> Client {
        Client::connect(self.address).await.unwrap()
    }

    /// A client that has sent a request and read only the beginning of the response.
    async fn slow_reader(&self, path: &str) -> Client {
        let mut client = self.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut beginning = [0; 15];
        client.read_exact(&mut beginning).await.unwrap();
        assert_eq!(&beginning, b"HTTP/1.1 200 OK");
        client
    }
}

/// Sends a request and reads the response, whose body is `small`.
async fn send(client: &mut Client, text: &str) -> String {
    client.write_all(text.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    let read = async {
        while !response.ends_with(b"\r\n\r\nsmall") {
            response.push(client.read_u8().await.unwrap());
        }
    };
    timeout(PATIENCE, read).await.unwrap();
    String::from_utf8(response).unwrap()
}

/// Returns everything that arrives until the server closes the connection.
async fn rest_of(mut client: Client) -> String {
    let mut bytes = Vec::new();
    // A connection that is closed with unread data is reset.
    drop(timeout(PATIENCE, client.read_to_end(&mut bytes)).await.unwrap());
    String::from_utf8(bytes).unwrap()
}

// === deadlines ===

#[tokio::test]
async fn a_connection_without_a_whole_request_is_closed() {
    let site = Site::start(Limits { request_timeout: SHORT, ..ample() });
    let mut half = site.connect().await;
    half.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(rest_of(site.connect().await).await, "");
    assert_eq!(rest_of(half).await, "");
}

#[tokio::test]
async fn a_later_request_has_as_much_time_as_the_first() {
    let site = Site::start(Limits { request_timeout: SECOND, ..ample() });
    let mut client = site.connect().await;
    send(&mut client, REQUEST).await;
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(rest_of(client).await, "");
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_a_while() {
    let site = Site::start(Limits { idle_timeout: SHORT, ..ample() });
    let mut client = site.connect().await;
    send(&mut client, REQUEST).await;
    assert_eq!(rest_of(client).await, "");
}

#[tokio::test]
async fn a_response_that_is_not_read_ends_the_connection() {
    let site = Site::start(Limits { response_timeout: SHORT, ..ample() });
    let client = site.slow_reader("/large").await;
    site.stop.cancel();
    // The server stops when the last connection is closed.
    timeout(PATIENCE, site.server).await.unwrap().unwrap().unwrap();
    assert!(rest_of(client).await.len() < LARGE);
}

/// A body without end that counts the bytes which were taken from it.
struct Endless(Arc<AtomicUsize>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static CHUNK: [u8; limits::CHUNK] = [b'x'; limits::CHUNK];
        self.0.fetch_add(CHUNK.len(), Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&CHUNK)))))
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn little_is_kept_for_a_peer_that_does_not_read() {
    let taken = Arc::<AtomicUsize>::default();
    let endless = Arc::clone(&taken);
    let routes = Router::new().route("/", get(async move || Body::new(Endless(endless))));
    let site = Site::with(routes, Limits { response_timeout: SECOND, ..ample() });
    let client = TcpSocket::new_v4().unwrap();
    client.set_recv_buffer_size(4096).unwrap();
    let mut client = client.connect(site.address).await.unwrap();
    client.write_all(REQUEST.as_bytes()).await.unwrap();
    let mut beginning = [0; 15];
    client.read_exact(&mut beginning).await.unwrap();
    site.stop.cancel();
    timeout(PATIENCE, site.server).await.unwrap().unwrap().unwrap();
    // hyper holds 16 chunks. By itself the system would take megabytes more.
    let kept = taken.load(Ordering::Relaxed);
    assert!((16 * limits::CHUNK..393_000).contains(&kept), "{kept} bytes");
}

// === eviction ===

#[tokio::test]
async fn the_connection_that_has_waited_longest_is_evicted_for_a_new_one() {
    let site = Site::start(Limits { connections: 2, ..ample() });
    let (mut first, mut second) = (site.connect().await, site.connect().await);
    send(&mut first, REQUEST).await;
    send(&mut second, REQUEST).await;
    send(&mut site.connect().await, REQUEST).await;
    assert_eq!(rest_of(first).await, "");
    send(&mut second, REQUEST).await;
}

#[tokio::test]
async fn a_connection_with_a_request_is_not_evicted() {
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
    first.write_all(REQUEST.as_bytes()).await.unwrap();
    second.write_all(REQUEST.as_bytes()).await.unwrap();
    held.wait_for(|count| *count == 2).await.unwrap();
    let mut third = site.connect().await;
    third.write_all(REQUEST.as_bytes()).await.unwrap();
    go_on.notify_waiters();
    for client in [&mut first, &mut second] {
        assert!(send(client, "").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    // The first two connections are idle now.
    held.wait_for(|count| *count == 3).await.unwrap();
    go_on.notify_waiters();
    send(&mut third, "").await;
}

#[tokio::test]
async fn a_connection_whose_body_does_not_come_is_evicted_for_a_new_one() {
    let site = Site::start(Limits { connections: 3, ..ample() });
    let mut incomplete = Vec::new();
    for rest in [
        "Content-Length: 9\r\n\r\n",
        "Content-Length: 9\r\n\r\nx",
        "Transfer-Encoding: chunked\r\n\r\n1\r\nx",
    ] {
        let mut client = site.connect().await;
        let request = format!("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{rest}");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut interim = [0; 25];
        client.read_exact(&mut interim).await.unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        incomplete.push(client);
    }
    let mut others = Vec::new();
    for client in incomplete {
        let mut other = site.connect().await;
        send(&mut other, REQUEST).await;
        others.push(other);
        assert_eq!(rest_of(client).await, "");
    }
}

#[tokio::test]
async fn a_request_that_is_not_authenticated_does_not_keep_its_connection_from_being_evicted() {
    let mut server = Server::with_limits(Router::new(), None, Limits { connections: 1, ..ample() }, |_| {});
    // It never comes to the layer that admits it.
    let authenticating = Router::new().fallback(std::future::pending::<()>);
    Arc::get_mut(&mut server.0).unwrap().router = TowerToHyperService::new(authenticating);
    let site = Site::of(server, Arc::default());
    let mut waiting = site.connect().await;
    waiting.write_all(REQUEST.as_bytes()).await.unwrap();
    let _other = site.connect().await;
    assert_eq!(rest_of(waiting).await, "");
}

#[tokio::test]
async fn a_stalled_response_is_evicted_for_a_queued_request() {
    let site = Site::start(Limits { requests: 1, stall_timeout: SHORT, ..ample() });
    let slow = site.slow_reader("/large").await;
    send(&mut site.connect().await, REQUEST).await;
    assert!(rest_of(slow).await.len() < LARGE);
}

#[tokio::test]
async fn a_request_that_waits_too_long_is_refused_and_the_response_before_it_is_finished() {
    let site = Site::start(Limits { requests: 1, queue_timeout: SHORT, ..ample() });
    let slow = site.slow_reader("/large").await;
    let mut refused = site.connect().await;
    refused.write_all(b"GET /?q HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let refusal = rest_of(refused).await;
    assert!(refusal.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refusal}");
    let text = "\r\n\r\nLimit of concurrent requests reached (1), try again later.\n";
    assert!(refusal.ends_with(text), "{refusal}");
    assert_eq!(*site.refused.lock().unwrap(), ["/"]);
    send(&mut site.connect().await, "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(rest_of(slow).await.ends_with('x'));
    send(&mut site.connect().await, REQUEST).await;
    assert_eq!(site.refused.lock().unwrap().len(), 1, "the permit is free again");
}

// === requests ===

#[tokio::test]
async fn a_body_is_read_and_the_connection_stays_open() {
    let site = Site::start(ample());
    let mut client = site.connect().await;
    let with_body = "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 27\r\n\r\nGET /large HTTP/1.1\r\nHost:x";
    for _ in 0..2 {
        assert!(send(&mut client, with_body).await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn a_large_slow_or_invalid_body_is_refused() {
    let site = Site::start(Limits { request_timeout: SECOND, ..ample() });
    let post = |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}");
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000)).repeat(17);
    for (request, status, text) in [
        (post("Content-Length: 65537", ""), "413 Payload Too Large", "The request has too large a body.\n"),
        (post("Transfer-Encoding: chunked", &chunk), "413 Payload Too Large", "too large a body.\n"),
        (post("Transfer-Encoding: chunked", "x"), "400 Bad Request", "The request body is malformed.\n"),
        (post("Content-Length: 2", "x"), "408 Request Timeout", "The request is incomplete.\n"),
    ] {
        let mut client = site.connect().await;
        client.write_all(request.as_bytes()).await.unwrap();
        let response = rest_of(client).await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}\r\n")) && response.ends_with(text),
            "{response}"
        );
    }
}

#[tokio::test]
async fn a_request_has_one_valid_host_which_may_be_empty() {
    let site = Site::start(ample());
    for (hosts, refused) in [
        ("Host: x\r\n", None),
        ("Host: exporter.example:9100\r\n", None),
        ("Host: [::1]:9100\r\n", None),
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
        let response = rest_of(client).await;
        assert_eq!(response.starts_with("HTTP/1.1 200 OK\r\n"), refused.is_none(), "{hosts}: {response}");
        assert!(response.ends_with(refused.unwrap_or("small")), "{hosts}: {response}");
    }
}

// === stopping ===

#[tokio::test]
async fn pending_requests_are_finished_when_the_server_stops() {
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
    client.write_all(REQUEST.as_bytes()).await.unwrap();
    arrival.wait_for(|arrived| *arrived).await.unwrap();
    site.stop.cancel();
    go_on.notify_one();
    let response = rest_of(client).await;
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nsmall"), "{response}");
    timeout(PATIENCE, site.server).await.unwrap().unwrap().unwrap();
    assert!(Client::connect(site.address).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn idle_connections_are_closed_at_once_when_the_server_stops() {
    let site = Site::start(ample());
    let (silent, mut idle) = (site.connect().await, site.connect().await);
    send(&mut idle, REQUEST).await;
    site.stop.cancel();
    timeout(PATIENCE / 2, site.server).await.unwrap().unwrap().unwrap();
    assert_eq!((rest_of(silent).await, rest_of(idle).await), (String::new(), String::new()));
}

#[tokio::test]
async fn an_incomplete_request_delays_the_stop_by_the_drain_timeout_only() {
    let site = Site::start(Limits { drain_timeout: SHORT, ..ample() });
    let mut client = site.connect().await;
    send(&mut client, REQUEST).await;
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    site.stop.cancel();
    timeout(PATIENCE / 2, site.server).await.unwrap().unwrap().unwrap();
    assert_eq!(rest_of(client).await, "");
}
