//! How much of this process peers may have, and for how long.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// As many connections are open at a time, if the system allows that many files.
const CONNECTIONS: u64 = 512;
/// Fewer would not do, however few files the system allows.
const FEWEST_CONNECTIONS: u64 = 8;

/// More is not read of a head: request line, names and values together.
pub(super) const HEAD: u32 = 16 * 1024;
/// More is not read of a request's body. Nothing here looks at one.
pub(super) const BODY: u32 = 64 * 1024;
/// The system keeps twice as much for a peer that does not read, and says so when a third of it is free again.
pub(super) const SEND_BUFFER: usize = 32 * 1024;
/// Answers are handed to it in pieces of this size. Where one is taken, an answer is not stuck.
pub(super) const PIECE: usize = 16 * 1024;
/// It keeps twice as much of what is not read here.
pub(super) const RECEIVE_BUFFER: usize = 64 * 1024;
/// As many requests may be under way on one HTTP/2 connection.
pub(super) const STREAMS: u32 = 32;
/// As many streams that were reset before we looked at them end an HTTP/2 connection.
pub(super) const RESETS: usize = 20;
/// More requests than this, one after the other, that the peer gives up before they are answered end a connection.
pub(super) const GIVEN_UP: u32 = 100;

/// The limits that tests have reason to change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at a time.
    pub(super) connections: usize,
    /// Answers under way at a time; 0 = any number.
    pub(super) answers: usize,
    /// From the connection to the end of the first request's head, TLS handshake included; for later requests, from
    /// the first byte to the end of the head; for a body, as much again.
    pub(super) ask: Duration,
    /// From an answer to the next request. Prometheus keeps a connection for five minutes, too.
    pub(super) rest: Duration,
    /// From an answer being ready to its last byte being handed to the system.
    pub(super) send: Duration,
    /// A connection that waits for its peer to ask is left alone for so long, though others need the place: it may be
    /// about to,
    pub(super) grace: Duration,
    /// and for so long if it has begun, perhaps with a handshake.
    pub(super) asking_grace: Duration,
    /// An answer of which nothing was taken for so long gives way to those who wait.
    pub(super) stuck: Duration,
    /// How long a request waits where `answers` are under way. Long enough for as many as there are connections to
    /// have had their turn and been found stuck, and shorter than a scrape takes at most.
    pub(super) turn: Duration,
    /// How long a connection without a request may take to end when the program stops.
    pub(super) farewell: Duration,
}

impl Limits {
    /// The limits of the program, of which `answers` may be under way at a time.
    pub(super) fn new(answers: usize) -> Self {
        Self {
            connections: connections(getrlimit(Resource::Nofile).current),
            answers,
            ask: Duration::from_secs(10),
            rest: Duration::from_mins(5),
            send: Duration::from_secs(30),
            grace: Duration::from_millis(200),
            asking_grace: Duration::from_millis(500),
            stuck: Duration::from_millis(500),
            turn: Duration::from_secs(8),
            farewell: Duration::from_millis(500),
        }
    }
}

/// Half of the files that may be open: the other half is for accounts, the disk and the listeners.
fn connections(files: Option<u64>) -> usize {
    let most = files.map_or(CONNECTIONS, |files| files / 2).clamp(FEWEST_CONNECTIONS, CONNECTIONS);
    usize::try_from(most).expect("it is small")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_have_half_of_the_files_within_bounds() {
        let of = [(None, 512), (Some(1 << 20), 512), (Some(1024), 512), (Some(64), 32), (Some(3), 8)];
        for (files, expected) in of {
            assert_eq!(connections(files), expected, "{files:?}");
        }
    }
}
