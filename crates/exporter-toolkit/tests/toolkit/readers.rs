//! A client that reads waits for nothing: a large scrape takes about as long as the same bytes from plain hyper.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Response;
use axum::routing::get;
use exporter_toolkit::server::Server;
use exporter_toolkit::web_config::{Extension, WebConfig};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Certificate, Client, ClientBuilder, Version};
use tokio::net::TcpListener;

/// The sizes of scrapes of 1,000 and of 10,000 rows.
const SIZES: [usize; 2] = [392_000, 3_800_000];
/// The number of scrapes on one connection.
const SCRAPES: usize = 5;
/// No scrape may take longer than that many times the slowest from plain hyper.
const FACTOR: u32 = 20;
/// Other tests run meanwhile, so one of several rounds must be calm.
const ROUNDS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_large_scrape_takes_20_times_as_long_as_from_plain_hyper() {
    let directory = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let inline = |pem: String| serde_json::Value::from(pem).to_string();
    let (certificate, key) = (inline(cert.pem()), inline(signing_key.serialize_pem()));
    let path = directory.path().join("web.yml");
    std::fs::write(&path, format!("tls_server_config: {{ cert: {certificate}, key: {key} }}\n")).unwrap();
    let authority = Certificate::from_der(cert.der()).unwrap();
    let tls = || client().tls_certs_only([authority.clone()]);

    let mut wrong = String::new();
    for size in SIZES {
        let body = Bytes::from(vec![b'x'; size]);
        let plain = plain_hyper(body.clone()).await;
        let open = format!("http://{}/", toolkit(body.clone(), None));
        let web_config = WebConfig::open(&path, Extension { section: "test", health: &[] }).unwrap();
        let with_tls = format!("https://localhost:{}/", toolkit(body, Some(web_config)).port());
        for (name, url, client_of, version) in [
            ("HTTP/1.1", &open, &client as &dyn Fn() -> ClientBuilder, Version::HTTP_11),
            ("HTTP/1.1 over TLS", &with_tls, &|| tls().http1_only(), Version::HTTP_11),
            ("HTTP/2 over TLS", &with_tls, &tls, Version::HTTP_2),
        ] {
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                let (ours, others) = (client_of().build().unwrap(), client().build().unwrap());
                let (mut slowest, mut plain_slowest) = (Duration::ZERO, Duration::ZERO);
                for _ in 0..SCRAPES {
                    plain_slowest = plain_slowest.max(scrape(&others, &plain, Version::HTTP_11, size).await);
                    slowest = slowest.max(scrape(&ours, url, version, size).await);
                }
                rounds.push((slowest, plain_slowest));
                if slowest <= FACTOR * plain_slowest {
                    break;
                }
            }
            if rounds.iter().all(|(slowest, plain)| *slowest > FACTOR * *plain) {
                writeln!(wrong, "{name}, {size} bytes: slowest and plain by round: {rounds:?}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[expect(clippy::disallowed_methods, reason = "it takes the place of Prometheus")]
fn client() -> ClientBuilder {
    Client::builder().no_proxy().no_gzip().timeout(Duration::from_secs(60))
}

/// Returns how long a scrape takes.
#[expect(clippy::disallowed_methods, reason = "it takes the place of Prometheus")]
async fn scrape(client: &Client, url: &str, version: Version, size: usize) -> Duration {
    let began = Instant::now();
    let response = client.get(url).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, version));
    assert_eq!(response.bytes().await.unwrap().len(), size);
    began.elapsed()
}

/// Starts the server of the toolkit in a task.
fn toolkit(body: Bytes, web_config: Option<WebConfig>) -> SocketAddr {
    let router = Router::new().route("/", get(move || ready(body.clone())));
    let server = Server::new(router, web_config, 0, |_| {});
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { server.serve(vec![listener], std::future::pending()).await.unwrap() });
    address
}

/// Starts a server without limits in a task, and returns its URL.
async fn plain_hyper(body: Bytes) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let respond = move |_| -> Ready<Result<Response<Body>, Infallible>> {
        ready(Ok(Response::new(Body::from(body.clone()))))
    };
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let service = service_fn(respond.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    url
}
