//! How much of this process its peers may use, and for how long.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// The number of connections, if the process may open enough files.
const MAX_CONNECTIONS: u64 = 512;
/// The number of connections, however few files the process may open.
const MIN_CONNECTIONS: u64 = 8;

/// The size of a request's head in bytes.
pub(super) const MAX_HEAD: u32 = 16 * 1024;
/// The size of a request's body in bytes; bodies are read and ignored.
pub(super) const MAX_BODY: u32 = 64 * 1024;
/// The number of bytes that the system keeps for all responses together besides those on their way, if the number of
/// requests is limited.
const UNSENT: usize = 2560 * 1024;
/// The most and the fewest of them for one response. With the most, a large response takes a tenth less time.
const MAX_UNSENT: u32 = 64 * 1024;
const MIN_UNSENT: u32 = 16 * 1024;
/// The size of the receive buffer in bytes, which Linux doubles.
pub(super) const RECEIVE_BUFFER: usize = 64 * 1024;
/// The size in bytes of the chunks in which a response is sent over HTTP/1.1; a response makes progress when one has been
/// sent. hyper keeps up to 16 of them, and hands them to the system at once.
pub(super) const CHUNK: usize = 20 * 1024;
/// The size in bytes of the chunks in which a response is sent over HTTP/2. With the 9 bytes of its header, a frame fits in
/// one TLS record, which holds 16 KiB.
pub(super) const CHUNK_OF_HTTP2: usize = 16 * 1024 - 9;
/// The number of concurrent requests on one HTTP/2 connection.
pub(super) const MAX_STREAMS: u32 = 32;
/// The number of streams that a peer may reset before they are accepted.
pub(super) const MAX_RESETS: usize = 20;
/// The number of consecutive requests that a peer may cancel before there is a response.
pub(super) const MAX_CANCELLED: u32 = 100;

/// The limits that tests change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The number of connections.
    pub(super) connections: usize,
    /// The number of concurrent requests; 0 means no limit.
    pub(super) requests: usize,
    /// The number of bytes that the system keeps for a peer besides those on their way to it. Without this limit it would
    /// keep megabytes for a peer that does not read. A limit on the whole send buffer instead would make each piece of a
    /// response wait for the delayed acknowledgement of the one before, which takes 40 ms.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux has such a limit"))]
    pub(super) unsent: u32,
    /// The time from the connection to the end of the first head, TLS handshake included; for later requests, from
    /// the first byte to the end of the head; and the same time again for a body.
    pub(super) request_timeout: Duration,
    /// The time from a response to the next request; Prometheus keeps idle connections for as long.
    pub(super) idle_timeout: Duration,
    /// The time from the start of a response until the system has taken its last byte.
    pub(super) response_timeout: Duration,
    /// The time for which a waiting connection is not evicted, since a request may be on its way. So many connections
    /// in this time are admitted as there are slots: if it were longer, new ones would wait longer when thousands of
    /// peers are slow.
    pub(super) eviction_grace: Duration,
    /// The time without progress after which a response is stalled, and may be evicted.
    pub(super) stall_timeout: Duration,
    /// The time for which a request waits while `requests` others are served. It is long enough to evict a stalled
    /// response on each connection in turn, and shorter than the usual scrape timeout.
    pub(super) queue_timeout: Duration,
    /// The time for which a connection without a request stays open when the server stops.
    pub(super) drain_timeout: Duration,
}

impl Limits {
    /// Returns the limits of a server with this number of concurrent requests.
    pub(super) fn new(requests: usize) -> Self {
        Self {
            connections: connections(getrlimit(Resource::Nofile).current),
            requests,
            unsent: unsent(requests),
            request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(5),
            response_timeout: Duration::from_secs(30),
            eviction_grace: Duration::from_millis(200),
            stall_timeout: Duration::from_millis(500),
            queue_timeout: Duration::from_secs(8),
            drain_timeout: Duration::from_millis(500),
        }
    }
}

/// Returns half of the number of files, within bounds; the rest is for listeners, files and outgoing connections.
fn connections(files: Option<u64>) -> usize {
    let half = files.map_or(MAX_CONNECTIONS, |files| files / 2);
    usize::try_from(half.clamp(MIN_CONNECTIONS, MAX_CONNECTIONS)).expect("it is small")
}

/// Returns the limit for one response, given the number of concurrent requests.
fn unsent(requests: usize) -> u32 {
    let share = UNSENT.checked_div(requests).and_then(|share| u32::try_from(share).ok());
    share.map_or(MIN_UNSENT, |share| share.clamp(MIN_UNSENT, MAX_UNSENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_share_what_the_system_keeps_for_them_and_without_a_limit_each_has_little() {
        let of = [(0, 16), (1, 64), (40, 64), (80, 32), (160, 16), (10_000, 16)];
        for (requests, expected) in of {
            assert_eq!(unsent(requests), expected * 1024, "{requests}");
        }
    }

    #[test]
    fn connections_have_half_of_the_files_within_bounds() {
        let of = [(None, 512), (Some(1 << 20), 512), (Some(1024), 512), (Some(64), 32), (Some(3), 8)];
        for (files, expected) in of {
            assert_eq!(connections(files), expected, "{files:?}");
        }
    }
}
