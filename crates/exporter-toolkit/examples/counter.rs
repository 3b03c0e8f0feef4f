//! Serves a counter: `cargo run -p exporter-toolkit --example counter -- --web.listen-address=:9100`.
use axum::{Router, http::HeaderMap, response::Html, routing::get};
use exporter_toolkit::negotiation::{Coding, Format, NegotiatedFormat};
use exporter_toolkit::{listen, server::Server, web_config::Extension, web_config::WebConfig};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use std::{path::Path, sync::Arc};
use tokio::signal::{ctrl_c, unix::SignalKind, unix::signal};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::DEBUG);
    log.finish().with("exporter_toolkit=debug".parse::<Targets>()?).init();
    let flags: Vec<String> = std::env::args().skip(1).collect();
    let values = |name: &'static str| flags.iter().filter_map(move |flag| flag.strip_prefix(name));
    let addresses: Vec<String> = values("--web.listen-address=").map(str::to_owned).collect();
    let listeners = listen::open(&addresses, flags.iter().any(|flag| flag == "--web.systemd-socket"))?;
    let extension = Extension { section: "counter", health: &["/-/healthy", "/-/ready"] };
    let open = |path: &str| WebConfig::open(Path::new(path), extension);
    let web_config = values("--web.config.file=").next().map(open).transpose()?;
    let padding = "x".repeat(values("--padding=").next().unwrap_or("0").parse()?); // for large responses
    let mut registry = Registry::with_labels([("padding".into(), padding.into())].into_iter());
    let scrapes = Counter::<u64>::default();
    registry.register("scrapes", "Number of scrapes", scrapes.clone());
    let registry = Arc::new(registry);
    let metrics = async move |headers: HeaderMap| {
        scrapes.inc();
        let format = NegotiatedFormat::from_headers(&headers, &[Format::Classic, Format::OpenMetrics]);
        let encode = if format.format == Format::Classic { prometheus_text::encode } else { text::encode };
        let (coding, mut body) = (Coding::from_headers(&headers), String::new());
        encode(&mut body, &registry).expect("a string accepts every write");
        (format.response_headers(coding), coding.encode(body))
    };
    let page = async || Html("<html><a href=\"/metrics\">Metrics</a></html>");
    let router = Router::new().route("/", get(page)).route("/metrics", get(metrics));
    let server = Server::new(router.route("/-/{check}", get(async || "OK\n")), web_config, 40, |_| {});
    let mut stop = signal(SignalKind::terminate())?;
    Ok(server.serve(listeners, async { tokio::select!(_ = stop.recv() => (), _ = ctrl_c() => ()) }).await?)
}
