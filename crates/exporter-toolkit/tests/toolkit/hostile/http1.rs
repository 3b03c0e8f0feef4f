//! Attacks over TCP, TLS and HTTP/1.1. They check what the attacker gets; [`Scrapes`] checks what others get.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use super::http2;
use super::malformed::REQUESTS;
use super::scrapes::Scrapes;
use super::target::{Connection, Target, is_closed, shown, statuses};
use crate::support::eventually;

/// The time between two bytes of a slow client, and the time limit of a short request.
const SHORT: Duration = Duration::from_millis(100);
/// The number of scrapes that must succeed during an attack.
const SCRAPES: usize = 20;

// === single connections ===

pub(crate) fn malformed_requests(target: &Target, _: &Scrapes) {
    let mut wrong = String::new();
    for (name, request, expected) in REQUESTS {
        let mut connection = target.http1();
        // The server may close the connection before all of it has been sent.
        drop(connection.send(&target.fill_in(request), Duration::from_secs(2)));
        let responses = connection.read_to_close();
        if responses.as_deref().map(statuses).as_deref() != Ok(*expected) {
            let found = responses.as_deref().map_or_else(|some| shown(some) + ", still open", shown);
            writeln!(wrong, "{name}: expected {expected:?}, found {found}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

pub(crate) fn oversized_heads(target: &Target, _: &Scrapes) {
    for (size, may_be_lost) in [(20 << 10, false), (1 << 20, true)] {
        let big = "x".repeat(size);
        for (name, line) in [
            ("a long value", format!("GET / HTTP/1.1\r\nA: {big}")),
            ("a long name", format!("GET / HTTP/1.1\r\n{big}: a")),
            ("a long method", format!("{big} / HTTP/1.1")),
            ("a long path", format!("GET /{big} HTTP/1.1")),
            ("many lines", format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(size / 100))),
        ] {
            let mut connection = target.http1();
            drop(connection.send(format!("{line}\r\nHost: x\r\n\r\n").as_bytes(), Duration::from_secs(2)));
            let responses = connection.rest();
            // A client that is still sending when the connection is closed may lose the response.
            let is_lost = may_be_lost && responses.is_empty();
            assert!(is_lost || statuses(&responses) == [431], "{name}, {size}: {}", shown(&responses));
        }
    }
}

pub(crate) fn half_closed_connections(target: &Target, _: &Scrapes) {
    // The request is complete, so there is a response.
    let mut connection = target.http1();
    connection.send(target.get("/-/healthy").as_bytes(), SHORT).unwrap();
    connection.finish();
    assert_eq!(statuses(&connection.rest()), [200]);
    // The request will never be complete.
    let mut connection = target.http1();
    connection.send(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n", SHORT).unwrap();
    connection.finish();
    assert_eq!(shown(&connection.rest()), "");
    // There is no request.
    let mut tcp = target.tcp();
    tcp.shutdown(Shutdown::Write).unwrap();
    assert_eq!(tcp.read(&mut [0]).unwrap(), 0);
    // The connection is reset before the response.
    for _ in 0..50 {
        let mut connection = target.http1();
        connection.send(target.get("/metrics").as_bytes(), SHORT).unwrap();
        set_socket_linger(connection.tcp(), Some(Duration::ZERO)).unwrap();
    }
}

pub(crate) fn the_wrong_protocol(target: &Target, _: &Scrapes) {
    let mut response = Vec::new();
    let mut tcp = target.tcp();
    if target.certificate.is_some() {
        tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        tcp.read_to_end(&mut response).unwrap();
        let text = String::from_utf8(response).unwrap();
        assert!(text.starts_with("HTTP/1.0 400 Bad Request\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"), "{text}");
    } else {
        tcp.write_all(&hello()).unwrap();
        tcp.read_to_end(&mut response).unwrap();
        assert_eq!(statuses(&response), [400], "{}", shown(&response));
    }
}

/// Returns the beginning of a TLS handshake.
fn hello() -> Vec<u8> {
    [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 40]].concat()
}

pub(crate) fn garbage_instead_of_tls(target: &Target, _: &Scrapes) {
    if target.certificate.is_none() {
        return;
    }
    let records: &[&[u8]] = &[
        // These have invalid types, versions and lengths.
        &[0; 64],
        &[255; 64],
        &[22, 3, 3, 255, 255, 1, 2, 3],
        &[22, 3, 1, 0, 0, 22, 3, 1, 0, 0],
        // This is SSL 2.
        &[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10],
        // An alert, data and a change of ciphers come before the handshake.
        &[21, 3, 3, 0, 2, 2, 40],
        &[23, 3, 3, 0, 4, 1, 2, 3, 4],
        &[20, 3, 3, 0, 1, 1],
        // A handshake message announces 16 MiB.
        &[22, 3, 3, 0, 4, 1, 255, 255, 255],
    ];
    for record in records {
        let mut tcp = target.tcp();
        tcp.write_all(record).unwrap();
        tcp.shutdown(Shutdown::Write).unwrap();
        let mut response = Vec::new();
        drop(tcp.read_to_end(&mut response));
        // At most an alert comes back.
        assert!(response.is_empty() || response[0] == 21, "{record:?}: {response:?}");
    }
    // Garbage follows a valid handshake.
    let mut connection = target.http1();
    connection.tcp().write_all(&[0; 64]).unwrap();
    assert_eq!(shown(&connection.rest()), "");
}

pub(crate) fn pipelining(target: &Target, scrapes: &Scrapes) {
    let mut connection = target.http1();
    connection.send(target.get("/-/healthy").repeat(500).as_bytes(), Duration::from_secs(5)).unwrap();
    assert_eq!(connection.responses(500), [200; 500]);
    // The server stops reading from a client that does not read its responses.
    let mut connection = target.over(target.narrow_tcp(), "http/1.1").unwrap();
    let many = target.get("/").repeat(1000);
    let error = (0..1000).find_map(|_| connection.send(many.as_bytes(), SHORT).err()).unwrap();
    assert!([ErrorKind::WouldBlock, ErrorKind::WriteZero].contains(&error.kind()), "{error}");
    scrapes.more(SCRAPES);
}

// === many connections ===

pub(crate) fn two_thousand_idle_connections(target: &Target, scrapes: &Scrapes) {
    let idle = idle_connections(target, 2000);
    scrapes.more(SCRAPES);
    let open = || idle.iter().filter(|connection| !is_closed(connection.tcp())).count();
    eventually("the closing of surplus connections", || (open() <= 512).then_some(()));
}

/// Opens idle connections, one in fifty of them after a request.
pub(crate) fn idle_connections(target: &Target, count: usize) -> Vec<Connection> {
    let connect = |n| {
        if n % 50 != 0 {
            return Connection::Plain(target.tcp());
        }
        let mut connection = target.http1();
        connection.send(target.get("/-/healthy").as_bytes(), SHORT).unwrap();
        assert_eq!(connection.responses(1), [200]);
        connection
    };
    (0..count).map(connect).collect()
}

pub(crate) fn churn(target: &Target, _: &Scrapes) {
    for n in 0..2000 {
        let mut tcp = target.tcp();
        match n % 4 {
            0 => {}
            1 => set_socket_linger(&tcp, Some(Duration::ZERO)).unwrap(),
            2 => tcp.write_all(&hello()).unwrap(),
            _ => tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap(),
        }
    }
}

pub(crate) fn readers_that_do_not_read(target: &Target, scrapes: &Scrapes) {
    // Two connections are those of the scrapers.
    let files = target.files() + 2;
    let readers: Vec<_> = (0..150)
        .map(|_| {
            let mut connection = target.over(target.narrow_tcp(), "http/1.1").unwrap();
            let request = target.fill_in("GET /metrics{in}{end}");
            connection.send(&request, SHORT).unwrap();
            connection
        })
        .collect();
    scrapes.more(SCRAPES);
    // At most 40 responses are pending; the others have been refused or evicted.
    eventually("the closing of surplus connections", || (target.files() <= files + 40).then_some(()));
    drop(readers);
}

pub(crate) fn wrong_passwords(target: &Target, scrapes: &Scrapes) {
    // There are more of them than concurrent requests, each with another password.
    let mut connections: Vec<_> = (0..100)
        .map(|n| {
            let mut connection = target.http1();
            let wrong = format!("Authorization: Basic {}YWxpY2U6d3Jvbmc=", "YWFh".repeat(n));
            connection
                .send(format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{wrong}\r\n\r\n").as_bytes(), SHORT)
                .unwrap();
            connection
        })
        .collect();
    scrapes.more(SCRAPES);
    for connection in &mut connections[..5] {
        assert_eq!(connection.responses(1), [401]);
    }
}

/// Opens a silent connection, an idle one and one within a request; with TLS, the same over HTTP/2.
pub(crate) fn connections_of_all_kinds(target: &Target) -> Vec<Connection> {
    let mut connections = vec![Connection::Plain(target.tcp()), target.http1(), target.http1()];
    connections[1].send(target.get("/-/healthy").as_bytes(), SHORT).unwrap();
    assert_eq!(connections[1].responses(1), [200]);
    connections[2].send(b"GET / HTTP/1.1\r\n", SHORT).unwrap();
    if target.certificate.is_some() {
        connections.extend(http2::connections_of_all_kinds(target));
    }
    connections
}

// === slow clients ===

pub(crate) fn silence(target: &Target, _: &Scrapes) {
    let silent: Vec<_> = (0..20).map(|_| target.tcp()).collect();
    for mut tcp in silent {
        assert_eq!(tcp.read(&mut [0]).unwrap(), 0);
    }
}

/// Sends byte by byte until the server closes the connection, and returns the response.
fn drip(mut connection: Connection, bytes: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut response = Vec::new();
    connection.tcp().set_read_timeout(Some(SHORT)).unwrap();
    for byte in bytes.take(300) {
        let sent = connection.send(&[byte], SHORT);
        // The wait for a response is the pause between two bytes.
        let mut buffer = [0; 1024];
        match connection.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && sent.is_ok() => {}
            Ok(length @ 1..) => response.extend_from_slice(&buffer[..length]),
            _ => return response,
        }
    }
    panic!("the connection is not closed");
}

/// Returns a head without an end.
fn endless_head() -> impl Iterator<Item = u8> {
    b"GET / HTTP/1.1\r\nHost: x\r\n".iter().chain(b"A: b\r\n".iter().cycle()).copied()
}

pub(crate) fn a_head_byte_by_byte(target: &Target, _: &Scrapes) {
    concurrently(5, || assert_eq!(drip(target.http1(), endless_head()), b""));
}

pub(crate) fn a_second_head_byte_by_byte(target: &Target, _: &Scrapes) {
    concurrently(5, || {
        let mut connection = target.http1();
        connection.send(target.get("/-/healthy").as_bytes(), SHORT).unwrap();
        assert_eq!(connection.responses(1), [200]);
        assert_eq!(drip(connection, endless_head()), b"");
    });
}

pub(crate) fn a_body_byte_by_byte(target: &Target, _: &Scrapes) {
    concurrently(5, || {
        let head = target.fill_in("POST /-/healthy{in}Content-Length: 1000\r\n\r\n");
        let mut connection = target.http1();
        connection.send(&head, SHORT).unwrap();
        assert_eq!(statuses(&drip(connection, std::iter::repeat(b'x'))), [408]);
    });
}

pub(crate) fn a_handshake_byte_by_byte(target: &Target, _: &Scrapes) {
    if target.certificate.is_none() {
        return;
    }
    concurrently(5, || {
        assert_eq!(drip(Connection::Plain(target.tcp()), hello().into_iter().cycle()), b"");
    });
}

fn concurrently(count: usize, one: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(&one);
        }
    });
}
