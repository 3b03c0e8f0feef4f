//! Frames of HTTP/2: how to write and how to read them.

use std::io::{self, ErrorKind, Read as _};
use std::time::Duration;

use super::target::{Connection, Target};

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

/// The codes with which a connection or a stream is closed.
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// The first bytes of a client.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Returns a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()];
    [head.concat(), payload.to_vec()].concat()
}

/// Returns the preface and the settings, such as `(4, 0)` for an initial window of 0.
pub(crate) fn greeting(settings: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<_> = settings
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    [PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat()
}

/// Returns the encoded fields of a GET request.
pub(crate) fn fields(target: &Target, path: &str) -> Vec<u8> {
    // The static table has GET, https and the names of :path, :authority and authorization.
    let literal =
        |name: &[u8], value: &str| [name, &[u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    let credentials = target.authorization.trim_start_matches("Authorization: ").trim_end();
    [
        vec![0x82, 0x87],
        literal(&[0x04], path),
        literal(&[0x01], "localhost"),
        literal(&[0x0f, 0x08], credentials),
    ]
    .concat()
}

/// Returns a whole GET request.
pub(crate) fn get(target: &Target, stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields(target, path))
}

/// Returns the frame that cancels a request.
pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// Returns the numbers of the streams that a client may open, which are odd.
pub(crate) fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|n| 2 * n + 1)
}

/// A frame of the server.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Returns why a connection or a stream is closed.
    pub(crate) fn reason(&self) -> Option<u32> {
        let at = match self.kind {
            GOAWAY => 4..8,
            RST_STREAM => 0..4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(at)?.try_into().ok()?))
    }

    /// Returns whether it begins a response with status 200.
    pub(crate) fn is_ok(&self) -> bool {
        self.kind == HEADERS && self.payload.first() == Some(&0x88)
    }
}

/// Reads the next frame; `None` if the connection is closed.
pub(crate) fn read(connection: &mut Connection) -> Option<Frame> {
    try_read(connection).expect("the connection is still open")
}

/// Reads the next frame; `None` if the connection is closed, and an error if nothing has arrived in time.
pub(crate) fn try_read(connection: &mut Connection) -> io::Result<Option<Frame>> {
    let mut head = [0; 9];
    if !fill(connection, &mut head)? {
        return Ok(None);
    }
    let [a, b, c, kind, _flags, stream @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    let is_whole = fill(connection, &mut payload)?;
    Ok(is_whole.then(|| Frame { kind, stream: u32::from_be_bytes(stream), payload }))
}

/// Returns whether the connection is open, and an error if the bytes have not arrived in time.
fn fill(connection: &mut Connection, buffer: &mut [u8]) -> io::Result<bool> {
    match connection.read_exact(buffer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
        outcome => Ok(outcome.is_ok()),
    }
}

/// Sends bytes, and returns why the server closes the connection.
pub(crate) fn close_reason(target: &Target, bytes: &[u8]) -> Option<u32> {
    let mut connection = target.http2();
    // The server may close the connection before all of them have been sent.
    drop(connection.send(bytes, Duration::from_secs(2)));
    let mut reason = None;
    while let Some(frame) = read(&mut connection) {
        if frame.kind == GOAWAY {
            reason = frame.reason();
        }
    }
    reason
}
