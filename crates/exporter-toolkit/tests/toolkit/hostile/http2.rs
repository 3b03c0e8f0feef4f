//! Attacks over HTTP/2, which needs TLS.

use std::fmt::Write as _;
use std::time::Duration;

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR, GOAWAY, HEADERS, PING, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, close_reason, fields, frame, get, greeting, read, reset, streams, try_read,
};
use super::scrapes::Scrapes;
use super::target::{Connection, Target};
use crate::support::eventually;

/// The time within which the server takes bytes, unless it refuses them.
const TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) fn invalid_frames(target: &Target, _: &Scrapes) {
    let mut wrong = String::new();
    let after = |frames: &[Vec<u8>]| [vec![greeting(&[])], frames.to_vec()].concat().concat();
    for (name, bytes, reason) in [
        ("another preface", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), None),
        ("a frame of a megabyte", after(&[vec![0x10, 0, 0, DATA, 0, 0, 0, 0, 1]]), Some(FRAME_SIZE_ERROR)),
        ("data on no stream", after(&[frame(DATA, 0, 1, b"x")]), Some(PROTOCOL_ERROR)),
        ("an even stream", after(&[get(target, 2, "/")]), Some(PROTOCOL_ERROR)),
        ("headers on stream 0", after(&[get(target, 0, "/")]), Some(PROTOCOL_ERROR)),
        ("a continuation of nothing", after(&[frame(CONTINUATION, 0, 1, b"")]), Some(PROTOCOL_ERROR)),
        (
            "an unknown header index",
            after(&[frame(HEADERS, 5, 1, &[0xff, 0x80, 0x01])]),
            Some(PROTOCOL_ERROR),
        ),
        ("a short ping", after(&[frame(PING, 0, 0, b"1234")]), Some(PROTOCOL_ERROR)),
        (
            "a window beyond the maximum",
            after(&vec![frame(WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255]); 2]),
            Some(FLOW_CONTROL_ERROR),
        ),
    ] {
        let found = close_reason(target, &bytes);
        if found != reason {
            writeln!(wrong, "{name}: expected {reason:?}, found {found:?}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

pub(crate) fn rapid_reset(target: &Target, _: &Scrapes) {
    let flood: Vec<_> =
        streams(5000).flat_map(|n| [get(target, n, "/metrics"), reset(n)]).flatten().collect();
    let reason = close_reason(target, &[greeting(&[]), flood].concat());
    // A client that is still sending when the connection is closed may lose the reason.
    assert!([None, Some(ENHANCE_YOUR_CALM)].contains(&reason), "{reason:?}");
}

pub(crate) fn floods_of_small_frames(target: &Target, scrapes: &Scrapes) {
    // The server stops reading from a client that does not read the responses to these frames.
    for (name, one) in
        [("pings", frame(PING, 0, 0, &[7; 8])), ("settings", frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]))]
    {
        let mut connection = target.over(target.narrow_tcp(), "h2").unwrap();
        connection.send(&[greeting(&[]), get(target, 1, "/-/healthy")].concat(), TIMEOUT).unwrap();
        let many = one.repeat(10_000);
        let refused = (0..200).any(|_| connection.send(&many, TIMEOUT / 5).is_err());
        assert!(refused, "{name}");
        scrapes.more(5);
    }
    // These frames cause no response. They are tolerated where they may have a purpose.
    let window = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let (empty, acknowledged) = (frame(DATA, 0, 1, b""), frame(SETTINGS, ACK, 0, b""));
    let open = frame(HEADERS, END_HEADERS, 1, &fields(target, "/-/healthy"));
    for (name, one, is_tolerated) in [
        ("windows", window, true),
        ("acknowledged settings", acknowledged, false),
        ("empty data", empty, false),
    ] {
        let mut connection = target.http2();
        let flood = [greeting(&[]), open.clone(), one.repeat(50_000), get(target, 3, "/-/healthy")].concat();
        drop(connection.send(&flood, Duration::from_secs(5)));
        let response = std::iter::from_fn(|| read(&mut connection)).find(|frame| frame.stream == 3);
        assert_eq!(response.is_some_and(|response| response.is_ok()), is_tolerated, "{name}");
    }
}

pub(crate) fn endless_heads(target: &Target, _: &Scrapes) {
    let begin = frame(HEADERS, END_STREAM, 1, &fields(target, "/-/healthy"));
    let more = frame(CONTINUATION, 0, 1, &[[0x00, 1, b'a', 100].to_vec(), vec![b'b'; 100]].concat());
    let reason = close_reason(target, &[greeting(&[]), begin.clone(), more.repeat(10_000)].concat());
    assert!([None, Some(ENHANCE_YOUR_CALM)].contains(&reason), "{reason:?}");
    // This head has an end, but is too long.
    let mut connection = target.http2();
    let field = [[0x00, 1, b'a', 100].to_vec(), vec![b'b'; 100]].concat().repeat(150);
    let more = [frame(CONTINUATION, 0, 1, &field), frame(CONTINUATION, END_HEADERS, 1, &field)].concat();
    connection.send(&[greeting(&[]), begin, more].concat(), TIMEOUT).unwrap();
    let response = std::iter::from_fn(|| read(&mut connection)).find(|frame| frame.kind == HEADERS).unwrap();
    assert!(!response.is_ok(), "{response:?}");
}

pub(crate) fn streams_beyond_the_limit(target: &Target, _: &Scrapes) {
    let mut connection = target.http2();
    // None of these requests is complete.
    let open = streams(33).flat_map(|n| frame(HEADERS, END_HEADERS, n, &fields(target, "/-/healthy")));
    connection.send(&[greeting(&[]), open.collect()].concat(), TIMEOUT).unwrap();
    let refused =
        std::iter::from_fn(|| read(&mut connection)).find(|frame| frame.kind == RST_STREAM).unwrap();
    assert_eq!((refused.stream, refused.reason()), (65, Some(REFUSED_STREAM)));
}

pub(crate) fn closed_windows(target: &Target, scrapes: &Scrapes) {
    let files = target.files() + 2;
    let connections: Vec<_> = (0..10)
        .map(|_| {
            let mut connection = target.http2();
            let requests = streams(32).flat_map(|n| get(target, n, "/metrics"));
            connection.send(&[greeting(&[(4, 0)]), requests.collect()].concat(), TIMEOUT).unwrap();
            connection
        })
        .collect();
    scrapes.more(20);
    eventually("the closing of surplus connections", || (target.files() <= files + 4).then_some(()));
    drop(connections);
}

/// One of the peers is silent, the other one sends data now and then.
pub(crate) fn streams_without_end(target: &Target, _: &Scrapes) {
    let open = frame(HEADERS, END_HEADERS, 1, &fields(target, "/metrics"));
    std::thread::scope(|scope| {
        for drips in [false, true] {
            let open = &open;
            scope.spawn(move || {
                let mut connection = target.http2();
                connection.send(&[&greeting(&[]), &open[..]].concat(), TIMEOUT).unwrap();
                connection.tcp().set_read_timeout(Some(Duration::from_millis(500))).unwrap();
                let mut kinds = Vec::new();
                for _ in 0..60 {
                    match try_read(&mut connection) {
                        Ok(Some(frame)) => kinds.push((frame.kind, frame.is_ok())),
                        Ok(None) => break,
                        Err(_) if drips => drop(connection.send(&frame(DATA, 0, 1, b"x"), TIMEOUT)),
                        Err(_) => {}
                    }
                }
                // The request is refused, and the connection is closed with it.
                assert!(kinds.contains(&(HEADERS, false)) && kinds.contains(&(GOAWAY, false)), "{kinds:?}");
            });
        }
    });
}

pub(crate) fn no_whole_request(target: &Target, _: &Scrapes) {
    let begin = frame(HEADERS, END_STREAM, 1, &fields(target, "/-/healthy"));
    let connections = [greeting(&[]), [greeting(&[]), begin].concat()].map(|bytes| {
        let mut connection = target.http2();
        connection.send(&bytes, TIMEOUT).unwrap();
        connection
    });
    for mut connection in connections {
        while read(&mut connection).is_some() {}
    }
}

/// Opens a connection without a request, an idle one and one within a request.
pub(crate) fn connections_of_all_kinds(target: &Target) -> Vec<Connection> {
    let mut connections = vec![target.http2(), target.http2(), target.http2()];
    connections[0].send(&greeting(&[]), TIMEOUT).unwrap();
    connections[1].send(&[greeting(&[]), get(target, 1, "/-/healthy")].concat(), TIMEOUT).unwrap();
    let partial = frame(HEADERS, 0, 1, &fields(target, "/-/healthy"));
    connections[2].send(&[greeting(&[]), partial].concat(), TIMEOUT).unwrap();
    let response =
        std::iter::from_fn(|| read(&mut connections[1])).find(|frame| frame.kind == HEADERS).unwrap();
    assert!(response.is_ok(), "{response:?}");
    connections
}
