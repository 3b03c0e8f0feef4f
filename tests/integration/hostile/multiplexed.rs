//! Attacks with HTTP/2, which needs TLS: floods of what costs the sender little.

use std::fmt::Write as _;
use std::time::Duration;

use super::door::{Door, Wire};
use super::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR, HEADERS, PING, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    ends_for, fields, frame, get, greeting, read, reset, streams,
};
use super::scrapes::Scrapes;
use crate::support::eventually;

/// How long a flood is held against somebody who does not take it.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) fn frames_that_are_not_allowed(door: &Door, _: &Scrapes) {
    let mut wrong = String::new();
    let after = |frames: &[Vec<u8>]| [vec![greeting(&[])], frames.to_vec()].concat().concat();
    for (name, bytes, reason) in [
        ("another preface", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), None),
        ("a frame of a megabyte", after(&[vec![0x10, 0, 0, DATA, 0, 0, 0, 0, 1]]), Some(FRAME_SIZE_ERROR)),
        ("data of no stream", after(&[frame(DATA, 0, 1, b"x")]), Some(PROTOCOL_ERROR)),
        ("an even stream", after(&[get(door, 2, "/")]), Some(PROTOCOL_ERROR)),
        ("headers of no stream", after(&[get(door, 0, "/")]), Some(PROTOCOL_ERROR)),
        ("more of nothing", after(&[frame(CONTINUATION, 0, 1, b"")]), Some(PROTOCOL_ERROR)),
        ("no table has it", after(&[frame(HEADERS, 5, 1, &[0xff, 0x80, 0x01])]), Some(PROTOCOL_ERROR)),
        ("a short ping", after(&[frame(PING, 0, 0, b"1234")]), Some(PROTOCOL_ERROR)),
        (
            "a window too wide",
            after(&vec![frame(WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255]); 2]),
            Some(FLOW_CONTROL_ERROR),
        ),
    ] {
        let found = ends_for(door, &bytes);
        if found != reason {
            writeln!(wrong, "{name}: not {reason:?} but {found:?}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

pub(crate) fn rapid_reset(door: &Door, _: &Scrapes) {
    let flood: Vec<_> = streams(5000).flat_map(|n| [get(door, n, "/metrics"), reset(n)]).flatten().collect();
    let reason = ends_for(door, &[greeting(&[]), flood].concat());
    // Whoever is still sending when the connection ends may not see why.
    assert!([None, Some(ENHANCE_YOUR_CALM)].contains(&reason), "{reason:?}");
}

pub(crate) fn floods_of_small_frames(door: &Door, scrapes: &Scrapes) {
    // Whoever sends these and does not read what they cause is not read any more either.
    for (name, one) in
        [("pings", frame(PING, 0, 0, &[7; 8])), ("settings", frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]))]
    {
        let mut wire = door.over(door.narrow_tcp(), "h2").unwrap();
        wire.send(&[greeting(&[]), get(door, 1, "/-/healthy")].concat(), PATIENCE).unwrap();
        let many = one.repeat(10_000);
        let refused = (0..200).any(|_| wire.send(&many, PATIENCE / 5).is_err());
        assert!(refused, "{name}");
        scrapes.more(5);
    }
    // What causes nothing costs the sender as much. Where it has no sense it is not borne.
    let window = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let (nothing, known) = (frame(DATA, 0, 1, b""), frame(SETTINGS, ACK, 0, b""));
    let open = frame(HEADERS, END_HEADERS, 1, &fields(door, "/-/healthy"));
    for (name, one, is_borne) in
        [("windows", window, true), ("settings that are known", known, false), ("empty data", nothing, false)]
    {
        let mut wire = door.http2();
        let flood = [greeting(&[]), open.clone(), one.repeat(50_000), get(door, 3, "/-/healthy")].concat();
        drop(wire.send(&flood, Duration::from_secs(5)));
        let answer = std::iter::from_fn(|| read(&mut wire)).find(|frame| frame.stream == 3);
        assert_eq!(answer.is_some_and(|answer| answer.is_ok()), is_borne, "{name}");
    }
}

pub(crate) fn heads_without_end(door: &Door, _: &Scrapes) {
    let begin = frame(HEADERS, END_STREAM, 1, &fields(door, "/-/healthy"));
    let more = frame(CONTINUATION, 0, 1, &[[0x00, 1, b'a', 100].to_vec(), vec![b'b'; 100]].concat());
    let reason = ends_for(door, &[greeting(&[]), begin.clone(), more.repeat(10_000)].concat());
    assert!([None, Some(ENHANCE_YOUR_CALM)].contains(&reason), "{reason:?}");
    // One with an end, but too long.
    let mut wire = door.http2();
    let field = [[0x00, 1, b'a', 100].to_vec(), vec![b'b'; 100]].concat().repeat(150);
    let more = [frame(CONTINUATION, 0, 1, &field), frame(CONTINUATION, END_HEADERS, 1, &field)].concat();
    wire.send(&[greeting(&[]), begin, more].concat(), PATIENCE).unwrap();
    let answer = std::iter::from_fn(|| read(&mut wire)).find(|frame| frame.kind == HEADERS).unwrap();
    assert!(!answer.is_ok(), "{answer:?}");
}

pub(crate) fn streams_beyond_the_limit(door: &Door, _: &Scrapes) {
    let mut wire = door.http2();
    // None of these requests is complete.
    let open = streams(33).flat_map(|n| frame(HEADERS, END_HEADERS, n, &fields(door, "/-/healthy")));
    wire.send(&[greeting(&[]), open.collect()].concat(), PATIENCE).unwrap();
    let refused = std::iter::from_fn(|| read(&mut wire)).find(|frame| frame.kind == RST_STREAM).unwrap();
    assert_eq!((refused.stream, refused.reason()), (65, Some(REFUSED_STREAM)));
}

pub(crate) fn windows_that_stay_shut(door: &Door, scrapes: &Scrapes) {
    let files = door.files() + 2;
    let wires: Vec<_> = (0..10)
        .map(|_| {
            let mut wire = door.http2();
            let ask = streams(32).flat_map(|n| get(door, n, "/metrics"));
            wire.send(&[greeting(&[(4, 0)]), ask.collect()].concat(), PATIENCE).unwrap();
            wire
        })
        .collect();
    scrapes.more(20);
    eventually("an end of those that are too many", || (door.files() <= files + 4).then_some(()));
    drop(wires);
}

pub(crate) fn no_request_at_all(door: &Door, _: &Scrapes) {
    let begin = frame(HEADERS, END_STREAM, 1, &fields(door, "/-/healthy"));
    let wires = [greeting(&[]), [greeting(&[]), begin].concat()].map(|bytes| {
        let mut wire = door.http2();
        wire.send(&bytes, PATIENCE).unwrap();
        wire
    });
    for mut wire in wires {
        while read(&mut wire).is_some() {}
    }
}

/// One that has asked for nothing, one at rest, and one in the middle of an answer.
pub(crate) fn of_all_kinds(door: &Door) -> Vec<Wire> {
    let mut wires = vec![door.http2(), door.http2(), door.http2()];
    wires[0].send(&greeting(&[]), PATIENCE).unwrap();
    wires[1].send(&[greeting(&[]), get(door, 1, "/-/healthy")].concat(), PATIENCE).unwrap();
    wires[2].send(&[greeting(&[(4, 0)]), get(door, 1, "/metrics")].concat(), PATIENCE).unwrap();
    for wire in &mut wires[1..] {
        let answer = std::iter::from_fn(|| read(wire)).find(|frame| frame.kind == HEADERS).unwrap();
        assert!(answer.is_ok(), "{answer:?}");
    }
    wires
}
