//! HTTP/2 by hand: frames as a client would send them, and those that come back.

use std::io::{ErrorKind, Read as _};
use std::time::Duration;

use super::door::{Door, Wire};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Reasons for which a connection or a stream is ended.
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// What a client begins with, without its settings.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()];
    [head.concat(), payload.to_vec()].concat()
}

/// Preface and settings, such as `(4, 0)` for a window of nothing.
pub(crate) fn greeting(settings: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<_> = settings
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    [PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat()
}

/// The fields of a GET request, compressed as little as possible.
pub(crate) fn fields(door: &Door, path: &str) -> Vec<u8> {
    // From the static table: GET, https, and the names of :path, :authority and authorization.
    let literal =
        |name: &[u8], value: &str| [name, &[u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    let password = door.authorization.trim_start_matches("Authorization: ").trim_end();
    [
        vec![0x82, 0x87],
        literal(&[0x04], path),
        literal(&[0x01], "localhost"),
        literal(&[0x0f, 0x08], password),
    ]
    .concat()
}

/// A whole GET request.
pub(crate) fn get(door: &Door, stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields(door, path))
}

/// Ends a stream.
pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// The streams that a client may open: odd numbers.
pub(crate) fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|n| 2 * n + 1)
}

/// A frame that came back.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Why a connection or a stream was ended.
    pub(crate) fn reason(&self) -> Option<u32> {
        let at = match self.kind {
            GOAWAY => 4..8,
            RST_STREAM => 0..4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(at)?.try_into().ok()?))
    }

    /// Is it the beginning of an answer with status 200?
    pub(crate) fn is_ok(&self) -> bool {
        self.kind == HEADERS && self.payload.first() == Some(&0x88)
    }
}

/// The next frame; none if the connection has ended.
pub(crate) fn read(wire: &mut Wire) -> Option<Frame> {
    let mut head = [0; 9];
    fill(wire, &mut head)?;
    let [a, b, c, kind, _flags, stream @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    fill(wire, &mut payload)?;
    Some(Frame { kind, stream: u32::from_be_bytes(stream), payload })
}

fn fill(wire: &mut Wire, buffer: &mut [u8]) -> Option<()> {
    wire.read_exact(buffer)
        .inspect_err(|error| assert_ne!(error.kind(), ErrorKind::WouldBlock, "no end"))
        .ok()
}

/// Sends, and reads until the connection ends: the reason that was given.
pub(crate) fn ends_for(door: &Door, bytes: &[u8]) -> Option<u32> {
    let mut wire = door.http2();
    // It may end before all was sent.
    drop(wire.send(bytes, Duration::from_secs(2)));
    let mut reason = None;
    while let Some(frame) = read(&mut wire) {
        if frame.kind == GOAWAY {
            reason = frame.reason();
        }
    }
    reason
}
