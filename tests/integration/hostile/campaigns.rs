//! Attacks with HTTP/1.1 or less, each a function. They check what becomes of the attacker; that others are
//! served meanwhile, is for [`Scrapes`] to see.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use super::door::{Door, Wire, is_over, shown, statuses};
use super::multiplexed;
use super::scrapes::Scrapes;
use super::shapes::SHAPES;
use crate::support::eventually;

/// As long as this passes between two bytes of somebody slow.
const DRIP: Duration = Duration::from_millis(100);
/// So many scrapes have to succeed while an attack holds.
const SCRAPES: usize = 20;

// === one by one ===

pub(crate) fn malformed_requests(door: &Door, _: &Scrapes) {
    let mut wrong = String::new();
    for (name, request, expected) in SHAPES {
        let mut wire = door.http1();
        // Whoever is refused may not be able to send all of it.
        drop(wire.send(&door.fill_in(request), Duration::from_secs(2)));
        let answers = wire.end();
        if answers.as_deref().map(statuses).as_deref() != Ok(*expected) {
            let answers = answers.as_deref().map_or_else(|some| shown(some) + " and no end", shown);
            writeln!(wrong, "{name}: not {expected:?} but {answers}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

pub(crate) fn heads_without_measure(door: &Door, _: &Scrapes) {
    for (size, may_be_lost) in [(20 << 10, false), (1 << 20, true)] {
        let big = "x".repeat(size);
        for (name, line) in [
            ("a long value", format!("GET / HTTP/1.1\r\nA: {big}")),
            ("a long name", format!("GET / HTTP/1.1\r\n{big}: a")),
            ("a long method", format!("{big} / HTTP/1.1")),
            ("a long path", format!("GET /{big} HTTP/1.1")),
            ("many lines", format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(size / 100))),
        ] {
            let mut wire = door.http1();
            drop(wire.send(format!("{line}\r\nHost: x\r\n\r\n").as_bytes(), Duration::from_secs(2)));
            let answers = wire.rest();
            // Whoever is still sending when the connection ends may not see the answer.
            let is_lost = may_be_lost && answers.is_empty();
            assert!(is_lost || statuses(&answers) == [431], "{name}, {size}: {}", shown(&answers));
        }
    }
}

pub(crate) fn half_a_connection(door: &Door, _: &Scrapes) {
    // All that is to be said was said: there is an answer.
    let mut wire = door.http1();
    wire.send(door.get("/-/healthy").as_bytes(), DRIP).unwrap();
    wire.finish();
    assert_eq!(statuses(&wire.rest()), [200]);
    // A request that will never be complete is none.
    let mut wire = door.http1();
    wire.send(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n", DRIP).unwrap();
    wire.finish();
    assert_eq!(shown(&wire.rest()), "");
    // Nothing at all.
    let mut tcp = door.tcp();
    tcp.shutdown(Shutdown::Write).unwrap();
    assert_eq!(tcp.read(&mut [0]).unwrap(), 0);
    // Gone before the answer, without a word.
    for _ in 0..50 {
        let mut wire = door.http1();
        wire.send(door.get("/metrics").as_bytes(), DRIP).unwrap();
        set_socket_linger(wire.tcp(), Some(Duration::ZERO)).unwrap();
    }
}

pub(crate) fn the_wrong_protocol(door: &Door, _: &Scrapes) {
    let mut answer = Vec::new();
    let mut tcp = door.tcp();
    if door.certificate.is_some() {
        tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        tcp.read_to_end(&mut answer).unwrap();
        let text = String::from_utf8(answer).unwrap();
        assert!(text.starts_with("HTTP/1.0 400 Bad Request\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"), "{text}");
    } else {
        // The beginning of a handshake.
        tcp.write_all(&hello()).unwrap();
        tcp.read_to_end(&mut answer).unwrap();
        assert_eq!(statuses(&answer), [400], "{}", shown(&answer));
    }
}

/// The beginning of a TLS handshake, cut off.
fn hello() -> Vec<u8> {
    [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 40]].concat()
}

pub(crate) fn garbage_instead_of_tls(door: &Door, _: &Scrapes) {
    if door.certificate.is_none() {
        return;
    }
    let records: &[&[u8]] = &[
        // Record types, versions and lengths that do not exist.
        &[0; 64],
        &[255; 64],
        &[22, 3, 3, 255, 255, 1, 2, 3],
        &[22, 3, 1, 0, 0, 22, 3, 1, 0, 0],
        // SSL 2.
        &[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10],
        // An alert, data and a change of ciphers before anything was agreed on.
        &[21, 3, 3, 0, 2, 2, 40],
        &[23, 3, 3, 0, 4, 1, 2, 3, 4],
        &[20, 3, 3, 0, 1, 1],
        // A handshake message that says it has 16 MiB.
        &[22, 3, 3, 0, 4, 1, 255, 255, 255],
    ];
    for record in records {
        let mut tcp = door.tcp();
        tcp.write_all(record).unwrap();
        tcp.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        drop(tcp.read_to_end(&mut answer));
        // At most an alert comes back.
        assert!(answer.is_empty() || answer[0] == 21, "{record:?}: {answer:?}");
    }
    // Garbage behind a handshake that was good.
    let mut wire = door.http1();
    wire.tcp().write_all(&[0; 64]).unwrap();
    assert_eq!(shown(&wire.rest()), "");
}

pub(crate) fn pipelining(door: &Door, scrapes: &Scrapes) {
    let mut wire = door.http1();
    wire.send(door.get("/-/healthy").repeat(500).as_bytes(), Duration::from_secs(5)).unwrap();
    assert_eq!(wire.answers(500), [200; 500]);
    // Whoever does not read the answers can sooner or later not send either.
    let mut wire = door.over(door.narrow_tcp(), "http/1.1").unwrap();
    let many = door.get("/").repeat(1000);
    let error = (0..1000).find_map(|_| wire.send(many.as_bytes(), DRIP).err()).unwrap();
    assert!([ErrorKind::WouldBlock, ErrorKind::WriteZero].contains(&error.kind()), "{error}");
    scrapes.more(SCRAPES);
}

// === many at a time ===

pub(crate) fn two_thousand_idle_connections(door: &Door, scrapes: &Scrapes) {
    let idle = idle_connections(door, 2000);
    scrapes.more(SCRAPES);
    let open = || idle.iter().filter(|wire| !is_over(wire.tcp())).count();
    eventually("an end of those that are too many", || (open() <= 512).then_some(()));
}

/// So many, of which one in fifty has asked for something before.
pub(crate) fn idle_connections(door: &Door, count: usize) -> Vec<Wire> {
    let connect = |n| {
        if n % 50 != 0 {
            return Wire::Plain(door.tcp());
        }
        let mut wire = door.http1();
        wire.send(door.get("/-/healthy").as_bytes(), DRIP).unwrap();
        assert_eq!(wire.answers(1), [200]);
        wire
    };
    (0..count).map(connect).collect()
}

pub(crate) fn churn(door: &Door, _: &Scrapes) {
    for turn in 0..2000 {
        let mut tcp = door.tcp();
        match turn % 4 {
            0 => {}
            1 => set_socket_linger(&tcp, Some(Duration::ZERO)).unwrap(),
            2 => tcp.write_all(&hello()).unwrap(),
            _ => tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap(),
        }
    }
}

pub(crate) fn readers_that_do_not_read(door: &Door, scrapes: &Scrapes) {
    // Those who scrape have one at a time.
    let files = door.files() + 2;
    let readers: Vec<_> = (0..150)
        .map(|_| {
            let mut wire = door.over(door.narrow_tcp(), "http/1.1").unwrap();
            let request = door.fill_in("GET /metrics{in}{end}");
            wire.send(&request, DRIP).unwrap();
            wire
        })
        .collect();
    scrapes.more(SCRAPES);
    // There are places for 40 answers. Whoever was too slow for one, or for the next in the line, was cut off.
    eventually("an end of those that are too many", || (door.files() <= files + 40).then_some(()));
    drop(readers);
}

pub(crate) fn wrong_passwords(door: &Door, scrapes: &Scrapes) {
    // More than there are places for answers, each with another password to check.
    let mut wires: Vec<_> = (0..100)
        .map(|n| {
            let mut wire = door.http1();
            let wrong = format!("Authorization: Basic {}YWxpY2U6d3Jvbmc=", "YWFh".repeat(n));
            wire.send(format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{wrong}\r\n\r\n").as_bytes(), DRIP)
                .unwrap();
            wire
        })
        .collect();
    scrapes.more(SCRAPES);
    for wire in &mut wires[..5] {
        assert_eq!(wire.answers(1), [401]);
    }
}

/// One that says nothing, one at rest, one in the middle of a request, and one in the middle of an answer; the same
/// with HTTP/2, where there is TLS.
pub(crate) fn of_all_kinds(door: &Door) -> Vec<Wire> {
    let mut wires = vec![Wire::Plain(door.tcp()), door.http1(), door.http1()];
    wires[1].send(door.get("/-/healthy").as_bytes(), DRIP).unwrap();
    assert_eq!(wires[1].answers(1), [200]);
    wires[2].send(b"GET / HTTP/1.1\r\n", DRIP).unwrap();
    let mut reader = door.over(door.narrow_tcp(), "http/1.1").unwrap();
    reader.send(door.get("/metrics").as_bytes(), DRIP).unwrap();
    assert!(reader.read(&mut [0; 100]).unwrap() > 0);
    wires.push(reader);
    if door.certificate.is_some() {
        wires.extend(multiplexed::of_all_kinds(door));
    }
    wires
}

// === slowly ===

pub(crate) fn nothing_at_all(door: &Door, _: &Scrapes) {
    let silent: Vec<_> = (0..20).map(|_| door.tcp()).collect();
    for mut tcp in silent {
        assert_eq!(tcp.read(&mut [0]).unwrap(), 0);
    }
}

/// Sends byte by byte, until the other side ends the connection; returns what it says.
fn drip(mut wire: Wire, bytes: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut said = Vec::new();
    wire.tcp().set_read_timeout(Some(DRIP)).unwrap();
    for byte in bytes.take(300) {
        let sent = wire.send(&[byte], DRIP);
        // That it has nothing to say yet is our pause.
        let mut buffer = [0; 1024];
        match wire.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && sent.is_ok() => {}
            Ok(length @ 1..) => said.extend_from_slice(&buffer[..length]),
            _ => return said,
        }
    }
    panic!("there is no end");
}

/// A head that has no end.
fn head() -> impl Iterator<Item = u8> {
    b"GET / HTTP/1.1\r\nHost: x\r\n".iter().chain(b"A: b\r\n".iter().cycle()).copied()
}

pub(crate) fn a_head_byte_by_byte(door: &Door, _: &Scrapes) {
    together(5, || assert_eq!(drip(door.http1(), head()), b""));
}

pub(crate) fn a_second_head_byte_by_byte(door: &Door, _: &Scrapes) {
    together(5, || {
        let mut wire = door.http1();
        wire.send(door.get("/-/healthy").as_bytes(), DRIP).unwrap();
        assert_eq!(wire.answers(1), [200]);
        assert_eq!(drip(wire, head()), b"");
    });
}

pub(crate) fn a_body_byte_by_byte(door: &Door, _: &Scrapes) {
    together(5, || {
        let head = door.fill_in("POST /-/reload{in}Content-Length: 1000\r\n\r\n");
        let mut wire = door.http1();
        wire.send(&head, DRIP).unwrap();
        assert_eq!(statuses(&drip(wire, std::iter::repeat(b'x'))), [408]);
    });
}

pub(crate) fn a_handshake_byte_by_byte(door: &Door, _: &Scrapes) {
    if door.certificate.is_none() {
        return;
    }
    together(5, || {
        assert_eq!(drip(Wire::Plain(door.tcp()), hello().into_iter().cycle()), b"");
    });
}

fn together(count: usize, one: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(&one);
        }
    });
}
