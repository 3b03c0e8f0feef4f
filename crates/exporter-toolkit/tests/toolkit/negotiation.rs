//! The format and the coding that a client gets, over real connections.

use std::io::Read as _;

use ureq::http::HeaderMap;

use crate::support::{Example, Listening, TIMEOUT};

const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores";

fn scrape(example: &Example, accept: &str, coding: &str) -> (HeaderMap, Vec<u8>) {
    let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).proxy(None).build();
    let request = ureq::Agent::from(config).get(format!("http://{}/metrics", example.addresses[0]));
    let mut response = request.header("Accept", accept).header("Accept-Encoding", coding).call().unwrap();
    let mut body = Vec::new();
    response.body_mut().as_reader().read_to_end(&mut body).unwrap();
    (response.headers().clone(), body)
}

#[test]
fn the_headers_name_the_format_and_the_coding_of_the_body() {
    let example = Example::start(Listening::Addresses, &["--padding=100000"]);
    for (accept, content_type, end) in [
        ("", CLASSIC, "\n"),
        ("*/*", CLASSIC, "\n"),
        ("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3", OPEN_METRICS, "\n# EOF\n"),
        ("application/openmetrics-text;version=1.0.0;q=0.1,text/plain;q=0.3", CLASSIC, "\n"),
        // The example does not offer protobuf.
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
            CLASSIC,
            "\n",
        ),
    ] {
        for coding in ["identity", "gzip", "zstd"] {
            let (headers, body) = scrape(&example, accept, coding);
            let header = |name| headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(header("content-type"), Some(content_type), "{accept}");
            assert_eq!(header("content-encoding").unwrap_or("identity"), coding, "{accept}");
            assert_eq!(header("vary"), Some("Accept, Accept-Encoding"), "{accept}");
            assert_eq!(header("content-length"), Some(&*body.len().to_string()), "{accept}");
            let mut text = String::new();
            match coding {
                "gzip" => flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap(),
                "zstd" => zstd::Decoder::new(&body[..]).unwrap().read_to_string(&mut text).unwrap(),
                _ => (&body[..]).read_to_string(&mut text).unwrap(),
            };
            assert_eq!(text.matches("\nscrapes_total{padding=\"xxx").count(), 1, "{accept}, {coding}");
            assert!(text.len() > 100_000 && text.ends_with(end), "{accept}, {coding}");
            assert_eq!(text.ends_with("# EOF\n"), content_type == OPEN_METRICS, "{accept}, {coding}");
            assert!(coding == "identity" || body.len() < 2_000, "{} bytes of {coding}", body.len());
        }
    }
}
