//! Scrapes: formats, codings, selections, and the count of refused ones.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use super::super::count_refusals;
use super::super::scrape::{failed, run_blocking};
use super::*;
use crate::domain::status::{Code, Endpoint};
use crate::polling::publish;
use exporter_toolkit::negotiation::Coding;
use tokio_util::sync::CancellationToken;

const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores";
const OPEN_0: &str = "application/openmetrics-text; version=0.0.1; charset=utf-8; escaping=underscores";
const DELIMITED: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=underscores";

async fn scrape(site: &TestSite, headers: &[(&str, &str)]) -> Received {
    let answer = send(&site.router, "GET", "/metrics", headers).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
    assert_eq!(answer.header("vary"), Some("Accept, Accept-Encoding"));
    answer
}

#[tokio::test]
async fn metrics_come_in_the_requested_format() {
    let site = site(accounts_with(ledgers(&["contoso"])));
    let open_1 = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let delimited =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    for (accept, content_type) in [
        (&[][..], CLASSIC),
        (&[("accept", "*/*")], CLASSIC),
        (&[("accept", open_1)], OPEN),
        (&[("accept", "text/plain;q=0.5"), ("accept", "application/openmetrics-text;version=1.0.0")], OPEN),
        (&[("accept", "application/openmetrics-text")], OPEN_0),
        (&[("accept", delimited)], DELIMITED),
    ] {
        let answer = scrape(&site, accept).await;
        assert_eq!(answer.header("content-type"), Some(content_type));
        assert_eq!(answer.header("content-encoding"), None);
        if content_type == DELIMITED {
            assert!(answer.body.windows(18).any(|part| part == b"partner_license_up"));
            continue;
        }
        let (body, open) = (answer.text(), content_type != CLASSIC);
        assert!(body.contains("\npartner_license_up{account=\"contoso\",collection=\"usage\"} 0"), "{body}");
        assert!(body.contains("\nprocess_cpu_seconds_total "), "{body}");
        assert_eq!(body.matches("# EOF").count(), usize::from(open));
        assert_eq!(body.ends_with("\n# EOF\n"), open);
    }
}

#[tokio::test]
async fn the_escaping_scheme_is_returned() {
    let site = site(accounts_with(ledgers(&["contoso"])));
    for (accept, escaping) in [
        ("text/plain;version=0.0.4;escaping=allow-utf-8", "allow-utf-8"),
        ("text/plain;version=0.0.4;escaping=dots", "dots"),
        ("text/plain;version=0.0.4;escaping=unheard-of", "underscores"),
    ] {
        let answer = scrape(&site, &[("accept", accept)]).await;
        let expected = format!("text/plain; version=0.0.4; charset=utf-8; escaping={escaping}");
        assert_eq!(answer.header("content-type"), Some(&*expected), "{accept}");
    }
}

#[tokio::test]
async fn bodies_are_compressed_on_request_without_a_change() {
    // Without the process' own families, which differ from scrape to scrape.
    let site = site_with(accounts_with(ledgers(&["contoso"])), false);
    let gunzip = |body: &[u8]| {
        let (mut member, mut out) = (flate2::bufread::GzDecoder::new(body), Vec::new());
        member.read_to_end(&mut out).unwrap();
        assert!(member.into_inner().is_empty(), "some clients read one member only");
        out
    };
    for query in ["", "?name[]=partner_license_up&name[]=partner_license_exporter_build_info"] {
        let path = format!("/metrics{query}");
        let open = ("accept", "application/openmetrics-text;version=1.0.0");
        let plain = send(&site.router, "GET", &path, &[open]).await;
        assert_eq!(plain.header("content-encoding"), None);
        for _ in 0..2 {
            let answer = send(&site.router, "GET", &path, &[open, ("accept-encoding", "gzip")]).await;
            assert_eq!(answer.header("content-encoding"), Some("gzip"));
            assert_eq!(gunzip(&answer.body), plain.body);
            assert!(!query.is_empty() || answer.body.len() < plain.body.len() / 3, "{}", answer.body.len());
            let answer =
                send(&site.router, "GET", &path, &[open, ("accept-encoding", "zstd, gzip;q=0.9")]).await;
            assert_eq!(answer.header("content-encoding"), Some("zstd"));
            assert_eq!(zstd::decode_all(&answer.body[..]).unwrap(), plain.body);
        }
    }
    for codings in ["br", "gzip;q=0", "identity", "*", ""] {
        let answer = scrape(&site, &[("accept-encoding", codings)]).await;
        assert_eq!(answer.header("content-encoding"), None, "{codings}");
    }
}

#[tokio::test]
async fn the_series_are_those_of_the_newest_snapshot() {
    let site = site(accounts_with(ledgers(&["contoso"])));
    scrape(&site, &[]).await;
    let changed = accounts_with(ledgers(&["fabrikam"]));
    site.snapshot.send_replace(Arc::new(changed.render(NOW)));
    let answer = scrape(&site, &[]).await;
    assert!(answer.text().starts_with(&changed.render(NOW).text(Format::Classic)), "{}", answer.text());
}

#[tokio::test]
async fn a_body_is_shared_by_all_scrapes() {
    let site = site(accounts_with(ledgers(&["contoso"])));
    scrape(&site, &[]).await;
    let snapshot = Arc::clone(&site.snapshot.borrow());
    let ready = snapshot.ready(Format::Classic, Coding::Identity).unwrap();
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let mut body = site.router.clone().oneshot(request).await.unwrap().into_body();
    let frame =
        std::future::poll_fn(|context| http_body::Body::poll_frame(std::pin::Pin::new(&mut body), context));
    let first = frame.await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first.as_ptr(), ready.bytes.as_ptr(), "the body is not copied");
}

#[tokio::test]
async fn only_named_families_are_sent() {
    let site = site(accounts_with(ledgers(&["contoso"])));
    let families = |answer: &Received| -> BTreeSet<String> {
        let types = answer.text().lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(|line| line.split_once(' ').unwrap().0.to_owned()).collect()
    };
    for (query, expected) in [
        ("name[]=partner_license_up", &["partner_license_up"][..]),
        ("name%5B%5D=partner_license%5fup&x=y", &["partner_license_up"]),
        ("name[]=process_open_fds&name[]=partner_license_up", &["partner_license_up", "process_open_fds"]),
        ("name[]=partner_license_up&name[]=partner_license_up", &["partner_license_up"]),
        ("name[]=partner_license_scrapes_total&name[]=nope", &["partner_license_scrapes_total"]),
        ("name[]=partner_license_scrapes", &[]),
        ("name[]=", &[]),
        ("name[]", &[]),
    ] {
        let answer = send(&site.router, "GET", &format!("/metrics?{query}"), &[]).await;
        assert_eq!(answer.status, 200);
        let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(families(&answer), expected, "{query}");
        if expected.is_empty() {
            assert_eq!(answer.text(), "");
            let open = [("accept", "application/openmetrics-text;version=1.0.0")];
            let answer = send(&site.router, "GET", &format!("/metrics?{query}"), &open).await;
            assert_eq!(answer.text(), "# EOF\n", "an empty exposition is valid");
        }
    }
    let all = families(&scrape(&site, &[]).await);
    for query in ["name=partner_license_up", "names[]=x", "name[=x", "&&", "%"] {
        let answer = send(&site.router, "GET", &format!("/metrics?{query}"), &[]).await;
        assert_eq!(families(&answer), all, "{query} selects nothing");
    }
}

#[tokio::test]
async fn a_head_request_gets_the_length_of_the_body() {
    let site = site_with(accounts_with(ledgers(&["contoso"])), false);
    for codings in ["gzip", "identity"] {
        let headers = [("accept-encoding", codings)];
        let get = scrape(&site, &headers).await;
        let head = send(&site.router, "HEAD", "/metrics", &headers).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        for name in ["content-type", "content-length", "content-encoding", "vary"] {
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
    }
}

#[tokio::test]
async fn no_response_can_be_cached() {
    let site = site(accounts_with(ledgers(&["contoso"])));
    for headers in
        [&[][..], &[("if-none-match", "*"), ("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")]]
    {
        let answer = scrape(&site, headers).await;
        assert_eq!((answer.header("etag"), answer.header("last-modified")), (None, None));
    }
}

#[tokio::test]
async fn malformed_headers_get_a_response_too() {
    let site = site(accounts_with(ledgers(&["contoso"])));
    for header in ["accept", "accept-encoding"] {
        for value in [
            &b"\xff\xfe"[..],
            b"\"",
            b"*/*;q=0",
            b",,;;==",
            b"gzip;q=9999999999999999999999",
            &b"a,".repeat(9000),
        ] {
            let request = Request::get("/metrics").header(header, value).body(Body::empty()).unwrap();
            let response = site.router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200, "{header}: {value:?}");
        }
    }
}

#[tokio::test]
async fn a_failure_to_encode_is_a_500_and_counted() {
    let own = Arc::new(OwnMetrics::new(true, &Clock::fixed(NOW)));
    assert_eq!(run_blocking(|| "done").await, Some("done"));
    let broken: Option<()> = run_blocking(|| panic!("on purpose")).await;
    assert_eq!(broken, None);
    let answer = receive(failed(&own)).await;
    assert_eq!((answer.status, answer.text()), (500, "The metrics could not be written.\n"));
    let text = own.text(Format::Classic);
    assert!(text.contains("\npromhttp_metric_handler_requests_total{code=\"500\"} 1\n"), "{text}");
}

#[tokio::test]
async fn refused_scrapes_are_counted_and_other_refused_requests_are_not() {
    let site = site(accounts_with(Vec::new()));
    let refuse = count_refusals(Arc::clone(&site.own), "/metrics".to_owned());
    for uri in ["/metrics", "/", "/metrics/", "/metrics?name[]=up"] {
        refuse(&uri.parse().unwrap());
    }
    assert_eq!(get_text(&site.router, "/metrics").await.0, 200);
    let text = site.own.text(Format::Classic);
    for line in [
        "promhttp_metric_handler_requests_total{code=\"200\"} 1",
        "promhttp_metric_handler_requests_total{code=\"503\"} 2",
        "promhttp_metric_handler_requests_in_flight 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn a_scrape_in_progress_counts_as_in_flight_and_not_yet_as_served() {
    let site = site(accounts_with(Vec::new()));
    let (_, body) = get_text(&site.router, "/metrics").await;
    assert!(body.contains("\npromhttp_metric_handler_requests_in_flight 1\n"), "{body}");
    assert!(
        body.contains("\npromhttp_metric_handler_requests_total{code=\"200\"} 0\n"),
        "it has not ended yet: {body}"
    );
    assert!(site.own.text(Format::Classic).contains("\npromhttp_metric_handler_requests_in_flight 0\n"));
}

#[test]
fn while_a_body_is_prepared_other_requests_are_answered() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let site = site(accounts_with(ledgers(&["contoso"])));
        let open: &[_] = &[("accept", "application/openmetrics-text;version=1.0.0")];
        scrape(&site, open).await;
        // Bodies are prepared on this thread, which now has something else to do.
        let (release, released) = std::sync::mpsc::channel();
        let busy = tokio::task::spawn_blocking(move || released.recv().unwrap());
        let gzip: &[_] = &[("accept-encoding", "gzip")];
        let mut first = std::pin::pin!(scrape(&site, gzip));
        let mut is_waiting = async || {
            std::future::poll_fn(|context| std::task::Poll::Ready(first.as_mut().poll(context).is_pending()))
                .await
        };
        assert!(is_waiting().await, "the first scrape was answered without a body");
        assert_eq!(get_text(&site.router, "/-/healthy").await.0, 200);
        scrape(&site, open).await;
        assert!(is_waiting().await);
        release.send(()).unwrap();
        busy.await.unwrap();
        assert_eq!(first.await.header("content-encoding"), Some("gzip"));
    });
}

#[tokio::test(start_paused = true)]
async fn after_each_change_the_bodies_that_scrapes_asked_for_within_a_minute_are_prepared() {
    let changed = Arc::new(tokio::sync::Notify::new());
    let ledger = Ledger::new(None, Arc::clone(&changed));
    let site = site(accounts_with(vec![ledger.clone()]));
    let (source, out) = (site.accounts.subscribe(), site.snapshot.clone());
    let publishing = publish(source, changed, out, Clock::from_tokio(NOW), CancellationToken::new());
    let publishing = tokio::spawn(publishing);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut snapshots = site.snapshot.subscribe();
    let mut change = async || {
        snapshots.mark_unchanged();
        succeed(&ledger);
        snapshots.changed().await.unwrap();
        let snapshot = Arc::clone(&snapshots.borrow());
        [Coding::Identity, Coding::Gzip].map(|coding| snapshot.ready(Format::Classic, coding).is_some())
    };
    assert_eq!(change().await, [false, false], "nobody has asked for one");
    scrape(&site, &[("accept-encoding", "gzip")]).await;
    for _ in 0..3 {
        assert_eq!(change().await, [false, true]);
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(change().await, [false, false], "nobody has asked for a minute");
    publishing.abort();
}

/// Scrapes every five seconds in each format and coding for ten minutes, and adds the bodies that were prepared.
async fn scrape_for_ten_minutes(
    site: &TestSite,
    bodies: &mut BTreeMap<(usize, usize), Vec<axum::body::Bytes>>,
) {
    let protobuf =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let formats = [
        ("text/plain", Format::Classic),
        ("application/openmetrics-text;version=1.0.0", Format::OpenMetrics),
        (protobuf, Format::Protobuf),
    ];
    for _ in 0..120 {
        for (accept, format) in formats {
            for (name, coding) in [("identity", Coding::Identity), ("gzip", Coding::Gzip)] {
                scrape(site, &[("accept", accept), ("accept-encoding", name)]).await;
                let snapshot = Arc::clone(&site.snapshot.borrow());
                let body = &snapshot.ready(format, coding).expect("a scrape has prepared it").bytes;
                // Bodies are kept, so that no other one gets their address.
                let known = bodies.entry((format as usize, coding as usize)).or_default();
                if known.iter().all(|known| known.as_ptr() != body.as_ptr()) {
                    known.push(body.clone());
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_prepared_once_and_once_more_after_a_poll() {
    let changed = Arc::new(tokio::sync::Notify::new());
    let ledger = Ledger::new(None, Arc::clone(&changed));
    succeed(&ledger);
    let mut accounts = accounts_with(vec![ledger.clone()]);
    // The rows would vanish a day later.
    accounts.stale_after = Some(Duration::from_hours(24));
    let site = site(accounts);
    let (source, out) = (site.accounts.subscribe(), site.snapshot.clone());
    let publishing = publish(source, changed, out, Clock::from_tokio(NOW), CancellationToken::new());
    let publishing = tokio::spawn(publishing);
    // The publisher renders at its start, and again for the poll before it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let prepared = |bodies: &BTreeMap<_, Vec<_>>| bodies.values().map(Vec::len).collect::<Vec<_>>();
    let mut bodies = BTreeMap::new();
    scrape_for_ten_minutes(&site, &mut bodies).await;
    assert_eq!(prepared(&bodies), [1; 6]);
    for polls in 2..=3 {
        // A poll writes more than once, and changes no row.
        ledger.write(|status| {
            *status.traffic.requests.entry((Endpoint::Usage, Code::Status(200))).or_insert(0) += 1;
        });
        succeed(&ledger);
        ledger.write(|status| status.usage_mut().next_poll_at = Some(NOW));
        tokio::time::sleep(Duration::from_secs(1)).await;
        scrape_for_ten_minutes(&site, &mut bodies).await;
        assert_eq!(prepared(&bodies), [polls; 6]);
    }
    publishing.abort();
}
