//! Floods: hundreds of connections that send little, for seconds, and what ordinary scrapes notice of them.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::frames::{END_HEADERS, HEADERS, fields, frame, greeting, streams};
use super::target::{Target, statuses};

/// The time for which a flood lasts.
pub(crate) const DURATION: Duration = Duration::from_secs(8);
/// The time between two streams that a peer opens.
const STREAM_INTERVAL: Duration = Duration::from_secs(6);
/// The time after which a peer connects or asks again.
const PAUSE: Duration = Duration::from_millis(500);

/// A flood, which ends when the value is dropped.
pub(crate) struct Flood {
    _runtime: Runtime,
    /// What the peers have got: the number of closed connections or of responses.
    pub(crate) outcomes: Arc<AtomicUsize>,
}

/// What a peer needs to know.
#[derive(Clone)]
struct Aim {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    outcomes: Arc<AtomicUsize>,
}

impl Aim {
    async fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect(self.address).await
    }

    async fn connect_tls(&self) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + use<>> {
        let connector = self.tls.clone().ok_or(ErrorKind::Unsupported)?;
        connector.connect(ServerName::try_from("localhost").unwrap(), self.connect().await?).await
    }

    fn count(&self) {
        self.outcomes.fetch_add(1, Ordering::Relaxed);
    }
}

/// Starts a number of peers, each of which begins anew when it is done or its connection is closed.
fn start<F: Future<Output = io::Result<()>> + Send + 'static>(
    target: &Target,
    peers: usize,
    peer: impl Fn(Aim, usize) -> F + Clone + Send + Sync + 'static,
) -> Flood {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let outcomes = Arc::<AtomicUsize>::default();
    let tls = target.certificate.is_some().then(|| TlsConnector::from(Arc::new(target.tls("h2"))));
    for n in 0..peers {
        let address = target.example.addresses[n % target.example.addresses.len()];
        let aim = Aim { address, tls: tls.clone(), outcomes: Arc::clone(&outcomes) };
        let peer = peer.clone();
        runtime.spawn(async move {
            // They do not begin all at once.
            sleep(PAUSE * u32::try_from(n).unwrap() / u32::try_from(peers).unwrap()).await;
            loop {
                if peer(aim.clone(), n).await.is_err() {
                    aim.count();
                }
                tokio::task::yield_now().await;
            }
        });
    }
    Flood { _runtime: runtime, outcomes }
}

/// Reads until the connection is closed.
async fn until_closed(mut stream: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).await? > 0 {}
    Err(ErrorKind::UnexpectedEof.into())
}

/// Requests over HTTP/1.1 whose bodies do not come, or come byte by byte.
pub(crate) fn missing_bodies(target: &Target, peers: usize) -> Flood {
    let head = target.fill_in("POST /metrics{in}Content-Length: 1000\r\n\r\n");
    let chunked = target.fill_in("POST /metrics{in}{chunked}");
    start(target, peers, move |aim, n| {
        let head = if n % 2 == 0 { head.clone() } else { chunked.clone() };
        async move {
            let mut stream = aim.connect().await?;
            stream.write_all(&head).await?;
            let (reader, mut writer) = stream.split();
            let drip = async {
                loop {
                    sleep(PAUSE * 2).await;
                    if n % 4 == 0 {
                        writer.write_all(b"x").await?;
                    }
                }
            };
            tokio::select! {
                end = until_closed(reader) => end,
                end = drip => end,
            }
        }
    })
}

/// Connections over HTTP/2 that open a stream without its end every six seconds.
pub(crate) fn streams_without_end(target: &Target, peers: usize) -> Flood {
    let fields = fields(target, "/metrics");
    start(target, peers, move |aim, _| {
        let fields = fields.clone();
        async move {
            let stream = aim.connect_tls().await?;
            let (reader, mut writer) = tokio::io::split(stream);
            let open = async {
                writer.write_all(&greeting(&[])).await?;
                let mut ticks = interval(STREAM_INTERVAL);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                for number in streams(u32::MAX / 4) {
                    ticks.tick().await;
                    writer.write_all(&frame(HEADERS, END_HEADERS, number, &fields)).await?;
                    writer.flush().await?;
                }
                Ok(())
            };
            tokio::select! {
                end = until_closed(reader) => end,
                end = open => end,
            }
        }
    })
}

/// Returns a request with a password that nobody has used before.
fn with_a_new_password() -> Vec<u8> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let credentials = format!("alice:wrong {}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let credentials = BASE64_STANDARD.encode(credentials);
    format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\n\r\n").into_bytes()
}

/// Connections that try one password after the other.
pub(crate) fn ever_new_passwords(target: &Target, peers: usize) -> Flood {
    start(target, peers, |aim, _| async move {
        let mut stream = aim.connect().await?;
        let mut buffer = vec![0; 4096];
        loop {
            stream.write_all(&with_a_new_password()).await?;
            let mut response = Vec::new();
            while statuses(&response).is_empty() {
                let length = stream.read(&mut buffer).await?;
                if length == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                response.extend_from_slice(&buffer[..length]);
            }
            assert!([401, 503].contains(&statuses(&response)[0]));
            aim.count();
            sleep(PAUSE).await;
        }
    })
}

/// Sends requests with new passwords and hangs up.
pub(crate) fn hang_ups(target: &Target, peers: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut streams = Vec::new();
        for n in 0..peers {
            let address = target.example.addresses[n % target.example.addresses.len()];
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&with_a_new_password()).await.unwrap();
            streams.push(stream);
        }
        // The server has read the last request when it answers one that came later.
        let began = Instant::now();
        let mut last = TcpStream::connect(target.example.addresses[0]).await.unwrap();
        last.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        timeout(DURATION, last.read_u8()).await.unwrap().unwrap();
        assert!(began.elapsed() < DURATION);
    });
}
